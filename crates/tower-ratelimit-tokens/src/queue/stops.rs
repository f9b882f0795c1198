//! Stops: what lines wait for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Order;
use crate::moment::Nanos;

/// What a line waits for: an account, by its number, or one of those below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StopId(pub(crate) u32);

/// The gate.
pub(crate) const GATE: StopId = StopId(u32::MAX);

/// Numbers from here on are not those of accounts.
const LINES: u32 = 1 << 31;

impl StopId {
    /// A line's own latency: nobody else waits there.
    pub(crate) const fn own(line: u32) -> Self {
        Self(line | LINES)
    }
}

/// Where a line stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) stop: StopId,
    /// The budget of the account; `None` for the gate and for latency.
    pub(crate) budget: Option<u8>,
    /// Whether it may touch the budget's reserve: it stands before those who may not.
    pub(crate) exempt: bool,
    pub(crate) order: Order,
    /// When its head could go; `None` if that depends on an event.
    pub(crate) due: Option<Nanos>,
}

#[derive(Debug, Default)]
struct Stop {
    lines: u32,
    due: Option<Nanos>,
}

#[derive(Debug, Default)]
pub(super) struct Stops {
    stops: HashMap<StopId, Stop>,
    /// By stop: those who may touch the reserve first, then in order.
    standing: BTreeSet<(StopId, bool, Order, u32)>,
    dues: BTreeSet<(Nanos, StopId)>,
    /// Units that are needed at a stop by those who may, or may not, touch the
    /// reserve, by priority.
    needs: BTreeMap<(StopId, bool, u8), u64>,
}

impl Stops {
    pub(super) fn enter(&mut self, place: Place, line: u32) {
        self.standing.insert((place.stop, !place.exempt, place.order, line));
        let stop = self.stops.entry(place.stop).or_default();
        stop.lines += 1;
        if self.first(place.stop).is_some_and(|(.., first)| first == line) {
            self.set_due(place.stop, place.due);
        }
    }

    pub(super) fn exit(&mut self, place: Place, line: u32) {
        self.standing.remove(&(place.stop, !place.exempt, place.order, line));
        let Some(stop) = self.stops.get_mut(&place.stop) else { return };
        stop.lines -= 1;
        if stop.lines == 0 {
            self.set_due(place.stop, None);
            self.stops.remove(&place.stop);
        }
    }

    /// Units that are needed where a line of that priority stands.
    pub(super) fn count(&mut self, place: Place, priority: u8, n: u64, come: bool) {
        if n == 0 {
            return;
        }
        let key = (place.stop, place.exempt, priority);
        let need = self.needs.entry(key).or_default();
        *need = if come { *need + n } else { *need - n };
        if *need == 0 {
            self.needs.remove(&key);
        }
    }

    /// Units that are needed at a stop by those of whom `counts` says so: whether
    /// they may touch the reserve, and their priority.
    pub(super) fn need(&self, stop: StopId, counts: impl Fn((bool, usize)) -> bool) -> u64 {
        let of = self.needs.range((stop, false, 0)..=(stop, true, u8::MAX));
        let counted =
            of.filter(|&(&(_, exempt, priority), _)| counts((exempt, usize::from(priority))));
        counted.map(|(_, need)| need).sum()
    }

    /// Whether the first may not touch the reserve, its order, and its line.
    pub(super) fn first(&self, stop: StopId) -> Option<(bool, Order, u32)> {
        let mut from = self.standing.range((stop, false, Order::LEAST, 0)..);
        let &(of, rest, order, line) = from.next()?;
        (of == stop).then_some((rest, order, line))
    }

    pub(super) fn set_due(&mut self, id: StopId, due: Option<Nanos>) {
        let Some(stop) = self.stops.get_mut(&id) else { return };
        if let Some(old) = std::mem::replace(&mut stop.due, due) {
            self.dues.remove(&(old, id));
        }
        if let Some(due) = due {
            self.dues.insert((due, id));
        }
    }

    pub(super) fn next_due(&self) -> Option<(Nanos, StopId)> {
        self.dues.first().copied()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.stops.len() + self.standing.len() + self.dues.len() + self.needs.len()
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.stops.capacity()
    }
}
