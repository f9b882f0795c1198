//! Lines: those who spend from the same accounts.

use std::cmp::Reverse;

use super::{Key, Order, Place, Queue, StopId, Want};
use crate::{Charge, Priority, accounts::At, charge::MAX_BUDGETS};

/// What makes two calls stand in one line: the same budgets, the same accounts,
/// the same right to touch reserves, and the same priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LineKey {
    mask: u8,
    class: u8,
    priority: u8,
    at: At,
}

#[derive(Debug)]
pub(super) struct Line {
    key: LineKey,
    len: u32,
    need: [u64; MAX_BUDGETS],
    /// Where it stands; nowhere until its head is looked at for the first time.
    place: Option<Place>,
    /// Units that it is known to take where it stands.
    counted: u64,
}

impl LineKey {
    /// Whether all that its calls need is where it stands, so that none of them can
    /// come to wait elsewhere.
    const fn has_one_budget(&self) -> bool {
        self.mask.is_power_of_two()
    }
}

impl Queue {
    fn key_of(want: &Want) -> LineKey {
        let mut at = At::default();
        for (budget, _) in want.charge.parts() {
            at.0[budget] = want.at.0[budget];
        }
        let priority = want.priority.index() as u8;
        LineKey { mask: want.charge.mask(), class: want.class, priority, at }
    }

    /// The line of a call; made if there is none.
    pub(super) fn line(&mut self, want: &Want) -> u32 {
        let key = Self::key_of(want);
        if let Some(&line) = self.line_of.get(&key) {
            return line;
        }
        let made = Line { key, len: 0, need: [0; MAX_BUDGETS], place: None, counted: 0 };
        let line = match self.free_lines.pop() {
            Some(line) => {
                self.lines[line as usize] = made;
                line
            }
            None => {
                self.lines.push(made);
                (self.lines.len() - 1) as u32
            }
        };
        self.line_of.insert(key, line);
        line
    }

    /// The keyed accounts of a call; those that all share are never forgotten.
    fn keyed(at: At, charge: &Charge) -> impl Iterator<Item = u32> + '_ {
        let accounts = charge.parts().map(move |(budget, _)| (budget, at.0[budget]));
        accounts.filter(|&(budget, at)| at as usize != budget).map(|(_, at)| at)
    }

    /// Whether `most` or more wait who will be paid from the same keyed account.
    pub(crate) fn is_crowded(&self, want: &Want, most: usize) -> bool {
        let waiting =
            |account| self.waiting_at.get(&account).map_or(0, |&waiting| waiting as usize);
        most < usize::MAX && Self::keyed(want.at, &want.charge).any(|at| waiting(at) >= most)
    }

    /// Units of each budget that are certain to be spent before a newcomer gets any.
    ///
    /// Those are what its like need who stand before it; or, if that is more, what
    /// is needed at its accounts: all that is charged to nothing else, and the
    /// first of every other line, as those behind that may come to wait elsewhere.
    /// Of a priority whose latest comer would stand behind it, nobody is counted.
    pub(crate) fn ahead(&self, want: &Want) -> [u64; MAX_BUDGETS] {
        let mut ahead = [0; MAX_BUDGETS];
        if self.is_empty() {
            return ahead;
        }
        let before =
            |priority: usize| self.by_priority[priority] > 0 && self.latest[priority] < want.order;
        let key = Self::key_of(want);
        for priority in (0..Priority::COUNT).filter(|&priority| before(priority)) {
            let like = LineKey { priority: priority as u8, ..key };
            if let Some(&line) = self.line_of.get(&like) {
                for (budget, _) in want.charge.parts() {
                    ahead[budget] += self.lines[line as usize].need[budget];
                }
            }
        }
        for (budget, _) in want.charge.parts() {
            let exempt = want.class & 1 << budget != 0;
            let stop = StopId(want.at.0[budget]);
            let counts = |(others, priority): (bool, usize)| match (others, exempt) {
                // Who may touch the reserve stands before who may not.
                (true, false) => true,
                (false, true) => false,
                _ => before(priority),
            };
            ahead[budget] = ahead[budget].max(self.stops.need(stop, counts));
        }
        ahead
    }

    /// Counts a waiter that has come or gone.
    pub(super) fn count(&mut self, at: u32, charge: &Charge, come: bool) {
        let line = &mut self.lines[at as usize];
        for account in Self::keyed(line.key.at, charge) {
            let waiting = self.waiting_at.entry(account).or_default();
            *waiting = if come { *waiting + 1 } else { *waiting - 1 };
            if *waiting == 0 {
                self.waiting_at.remove(&account);
            }
        }
        if come {
            line.len += 1;
        } else {
            line.len -= 1;
        }
        for (budget, n) in charge.parts() {
            for need in [&mut self.need[budget], &mut line.need[budget]] {
                if come {
                    *need += n;
                } else {
                    *need -= n;
                }
            }
        }
        // Of other lines the first counts alone, and leaves its place if that changes.
        if let Some(place) = line.place.filter(|_| line.key.has_one_budget()) {
            let n = place.budget.map_or(0, |budget| charge.amount(usize::from(budget)));
            line.counted = if come { line.counted + n } else { line.counted - n };
            self.stops.count(place, line.key.priority, n, come);
        }
    }

    /// The first in a line.
    pub(crate) fn head(&self, line: u32) -> Option<Key> {
        let mut from = self.in_line.range((line, Order::LEAST, 0)..);
        from.next().filter(|(of, ..)| *of == line).map(|&(.., slot)| Key(slot))
    }

    /// A line is to be looked at.
    fn call_line(&mut self, line: u32) {
        if let Some(head) = self.head(line) {
            self.up.push(Reverse((self.want(head).order, line)));
        }
    }

    /// Whoever is first at a stop is to be looked at.
    pub(crate) fn call(&mut self, stop: StopId) {
        if let Some((_, order, line)) = self.stops.first(stop) {
            self.up.push(Reverse((order, line)));
        }
    }

    /// The line that is to be looked at next, and its head: that of the first in
    /// order, wherever it stands.
    pub(crate) fn next_up(&mut self) -> Option<(u32, Key)> {
        while let Some(next) = self.up.pop() {
            while self.up.peek() == Some(&next) {
                self.up.pop();
            }
            let Reverse((order, line)) = next;
            match self.head(line) {
                Some(head) if self.want(head).order == order => return Some((line, head)),
                // It has got another head since; its turn comes with that.
                Some(_) => self.call_line(line),
                None => {}
            }
        }
        None
    }

    /// A line has got another head. That takes the place of the one before, and is
    /// looked at if it is the first there; or else whoever is now.
    pub(crate) fn new_head(&mut self, line: u32) {
        let Some((place, was_first)) = self.go(line) else {
            self.call_line(line);
            return;
        };
        if let Some(head) = self.head(line) {
            let order = self.want(head).order;
            self.stand(line, Place { order, due: None, ..place });
        } else {
            self.close_if_empty(line);
        }
        if was_first || self.first_at(place.stop) == Some(line) {
            self.call(place.stop);
        }
    }

    /// A line goes to a place. If it was the first where it stood, whoever is the
    /// first there now is to be looked at. Returns whether the place is another.
    pub(crate) fn move_to(&mut self, line: u32, place: Place) -> bool {
        let left = self.go(line);
        self.stand(line, place);
        let Some((left, was_first)) = left else { return true };
        if was_first && self.first_at(left.stop) != Some(line) {
            self.call(left.stop);
        }
        (left.stop, left.due) != (place.stop, place.due)
    }

    /// A line goes to a stop and waits there.
    fn stand(&mut self, line: u32, place: Place) {
        let head = self.head(line);
        let state = &mut self.lines[line as usize];
        let need = place.budget.map_or(0, |budget| match head {
            Some(_) if state.key.has_one_budget() => state.need[usize::from(budget)],
            Some(Key(slot)) => self.slots[slot as usize].want.charge.amount(usize::from(budget)),
            None => 0,
        });
        (state.place, state.counted) = (Some(place), need);
        self.stops.count(place, state.key.priority, need, true);
        self.stops.enter(place, line);
    }

    /// A line leaves its place; returns which, and whether it was the first there.
    fn go(&mut self, line: u32) -> Option<(Place, bool)> {
        let place = self.lines[line as usize].place?;
        let was_first = self.first_at(place.stop) == Some(line);
        let state = &mut self.lines[line as usize];
        state.place = None;
        let need = std::mem::take(&mut state.counted);
        self.stops.count(place, state.key.priority, need, false);
        self.stops.exit(place, line);
        Some((place, was_first))
    }

    /// The line that gets first what comes in at a stop.
    fn first_at(&self, stop: StopId) -> Option<u32> {
        self.stops.first(stop).map(|(.., line)| line)
    }

    /// Whether a line stands at `stop` before a call of that class and order.
    pub(crate) fn is_behind(&self, stop: StopId, exempt: bool, order: Order) -> bool {
        self.stops.first(stop).is_some_and(|(rest, first, _)| (rest, first) < (!exempt, order))
    }

    /// The stop that is due at `now` or before, with the time at which it was.
    pub(crate) fn due(&self, now: crate::moment::Nanos) -> Option<(crate::moment::Nanos, StopId)> {
        self.stops.next_due().filter(|&(due, _)| due <= now)
    }

    /// The timer of a stop has been heard.
    pub(crate) fn heard(&mut self, stop: StopId) {
        self.stops.set_due(stop, None);
    }

    /// A line in which nobody stands is given up.
    fn close_if_empty(&mut self, line: u32) {
        let state = &self.lines[line as usize];
        if state.len == 0 && state.place.is_none() && self.line_of.remove(&state.key).is_some() {
            self.free_lines.push(line);
        }
    }

    /// Whether anybody waits who will be paid from that keyed account, wherever he
    /// stands.
    pub(crate) fn needs(&self, account: u32) -> bool {
        self.waiting_at.contains_key(&account)
    }
}
