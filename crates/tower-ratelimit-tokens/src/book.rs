//! Pure: what a ledger has leased to this limiter, for one budget.
//!
//! Rolling and fixed windows hold dated send slots: units that may be sent from
//! one moment to another. Calendar days hold a count. A unit that was leased
//! counts in the ledger from the grant on, as if it were sent at the last
//! moment at which it may be; what we state later can only bring that forward.

mod counts;
mod slots;

use std::{collections::VecDeque, time::Duration};

use jiff::civil::Date;

use crate::{
    budget::{Account, Fit, Slot, State},
    moment::{Nanos, nanos},
    rolling::Rolling,
};

pub(crate) use self::{
    counts::Counts,
    slots::{Slice, Slots},
};

/// Over how long the rate of spending is averaged.
const MEMORY: f64 = 0.5;

/// How much is held in hand, see [`Sizing`](crate::Sizing).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) ahead: Nanos,
    pub(crate) least: u64,
    pub(crate) most: u64,
}

/// The server's count, and what of ours is surely in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    pub(crate) counted: u64,
    pub(crate) sent_at: Nanos,
    pub(crate) ours: u64,
    seq: u64,
}

#[derive(Debug)]
pub(crate) enum Holding {
    Slots(Box<Slots>),
    Counts(Counts),
}

#[derive(Debug)]
pub(crate) struct LeaseBook {
    pub(crate) holding: Holding,
    pub(crate) size: Size,
    /// When the ledger may have more; 0 if that is not known.
    retry_at: Nanos,
    /// Units taken since the last report, and units per second before it.
    taken: u64,
    rate: f64,
    reported: Nanos,
}

impl LeaseBook {
    pub(crate) fn slots(
        limit: u64,
        window: Duration,
        transit: Option<Duration>,
        least: u64,
    ) -> Self {
        let sent = Rolling::new(limit, window, transit, false, window / 256, false);
        let slots = Slots {
            free: VecDeque::new(),
            reserved: Vec::new(),
            sent,
            transit: transit.map_or(0, nanos),
            window: nanos(window),
            level: None,
        };
        Self::new(Holding::Slots(Box::new(slots)), Duration::from_millis(200), least)
    }

    pub(crate) fn counts(least: u64) -> Self {
        Self::new(Holding::Counts(Counts::default()), Duration::from_millis(1_500), least)
    }

    fn new(holding: Holding, ahead: Duration, least: u64) -> Self {
        let size = Size { ahead: nanos(ahead), least, most: u64::MAX };
        Self { holding, size, retry_at: 0, taken: 0, rate: 0.0, reported: 0 }
    }

    #[inline]
    pub(crate) fn room(&mut self, now: Nanos, n: u64) -> bool {
        match &mut self.holding {
            Holding::Slots(slots) => slots.room(now, n),
            Holding::Counts(counts) => now < counts.until && counts.left() >= n,
        }
    }

    /// When `n` more can be taken after `ahead` others.
    pub(crate) fn when(&mut self, now: Nanos, n: u64, ahead: u64) -> Fit {
        let found = match &mut self.holding {
            Holding::Slots(slots) => slots.when(now, ahead.saturating_add(n)),
            Holding::Counts(counts) => {
                (now < counts.until && counts.left() >= ahead.saturating_add(n)).then_some(now)
            }
        };
        match found {
            Some(at) if at <= now => Fit::Now,
            Some(at) => Fit::At(at),
            // Short until then, as far as the ledger has said; or unknown.
            None if self.retry_at > now => Fit::Leased(self.retry_at),
            None => Fit::Leased(Nanos::MAX),
        }
    }

    /// Takes `n` units that [`room`](Self::room) has found, to be sent before the
    /// moment that is returned. Hold them with [`hold`](Self::hold).
    #[inline]
    pub(crate) fn take(&mut self, n: u64) -> Nanos {
        self.taken += n;
        match &mut self.holding {
            Holding::Slots(slots) => slots.take(n),
            Holding::Counts(counts) => {
                counts.spent += n;
                counts.until
            }
        }
    }

    /// What was taken is to be sent before `until`.
    #[inline]
    pub(crate) fn hold(&mut self, until: Nanos, n: u64) {
        match &mut self.holding {
            Holding::Slots(slots) => match slots.reserved.iter_mut().find(|r| r.0 == until) {
                Some(known) => known.1 += n,
                None => slots.reserved.push((until, n)),
            },
            Holding::Counts(counts) => counts.reserved += n,
        }
    }

    /// What was held until `until` is sent now.
    #[inline]
    pub(crate) fn sent(&mut self, now: Nanos, until: Nanos, n: u64, tracked: bool) {
        match &mut self.holding {
            Holding::Slots(slots) => {
                slots.release(until, n);
                slots.sent.sent(now, n);
            }
            Holding::Counts(counts) => {
                counts.reserved = counts.reserved.saturating_sub(n);
                if tracked {
                    counts.under_way += n;
                }
            }
        }
    }

    /// What was held until `until` will not be sent.
    pub(crate) fn give_back(&mut self, now: Nanos, until: Nanos, n: u64) {
        self.taken = self.taken.saturating_sub(n);
        match &mut self.holding {
            Holding::Slots(slots) => {
                slots.release(until, n);
                if until > now {
                    slots.put(Slice { from: 0, until, units: n, dated: 0 });
                }
            }
            Holding::Counts(counts) => {
                counts.reserved = counts.reserved.saturating_sub(n);
                counts.spent = counts.spent.saturating_sub(n);
            }
        }
    }

    pub(crate) fn answered(&mut self, now: Nanos, slot: &Slot, actual: u64) {
        match &mut self.holding {
            Holding::Slots(slots) => slots.sent.answered(now, slot, actual),
            Holding::Counts(counts) => {
                counts.ended(slot);
                if let Some(level) = counts.level.as_mut().filter(|level| level.seq == slot.seq) {
                    level.ours += actual;
                }
                // What was under way when the period began counts in it, if we
                // knew of it.
                if slot.tracked || slot.sent_at >= counts.started {
                    counts.spent = (counts.spent + actual).saturating_sub(slot.n);
                }
            }
        }
    }

    pub(crate) fn lost(&mut self, slot: &Slot) {
        if let Holding::Counts(counts) = &mut self.holding {
            counts.ended(slot);
        }
    }

    /// The server has said how many units it counts, to the request of `slot`.
    /// `later`: what of ours may not be in that count, of the period's spending,
    /// that request itself apart.
    pub(crate) fn level(&mut self, now: Nanos, slot: Option<&Slot>, counted: u64, later: u64) {
        let (sent_at, seq, n) = slot.map_or((now, 0, 0), |slot| (slot.sent_at, slot.seq, slot.n));
        let mut said = Level { counted, sent_at, ours: 0, seq };
        let level = match &mut self.holding {
            Holding::Slots(slots) => &mut slots.level,
            Holding::Counts(counts) if sent_at < counts.started => return,
            Holding::Counts(counts) => {
                let spent = counts.spent.saturating_sub(counts.reserved);
                said.ours = spent.saturating_sub(later).saturating_sub(n);
                &mut counts.level
            }
        };
        if level.is_none_or(|known| known.sent_at <= sent_at) {
            *level = Some(said);
        }
    }

    /// The server says that nothing is left: so much is stated as ours.
    pub(crate) fn exhausted(&mut self, now: Nanos, limit: u64, until: Option<Nanos>) {
        match &mut self.holding {
            Holding::Slots(slots) => slots.sent.fill(now, until),
            Holding::Counts(counts) => {
                counts.level = Some(Level { counted: limit, sent_at: now, ours: 0, seq: 0 });
            }
        }
    }

    /// A count's period, and when it began here; a new one begins with nothing.
    #[inline]
    pub(crate) fn period(&mut self, day: Option<Date>, started: Nanos) {
        if let Holding::Counts(counts) = &mut self.holding {
            if counts.started != started || counts.period.is_none() {
                let (under_way, reserved) = (counts.under_way, counts.reserved);
                let spent = under_way + reserved;
                *counts = Counts {
                    period: day,
                    started,
                    spent,
                    under_way,
                    reserved,
                    ..Counts::default()
                };
            }
        }
    }

    /// Units that can be sent now or, dated, soon.
    pub(crate) fn in_hand(&mut self, now: Nanos) -> u64 {
        match &mut self.holding {
            Holding::Slots(slots) => {
                slots.advance(now);
                slots.free.iter().map(|slice| slice.units).sum()
            }
            Holding::Counts(counts) if now < counts.until => counts.left(),
            Holding::Counts(_) => 0,
        }
    }

    /// What the present rate spends in the time ahead.
    fn target(&self) -> u64 {
        let ahead = self.size.ahead as f64 / 1e9;
        let target = (self.rate * ahead).ceil() as u64;
        target.clamp(self.size.least.min(self.size.most), self.size.most)
    }

    /// How many more units are wanted, if what is in hand is short. `waiting`:
    /// what queued calls need.
    pub(crate) fn wanted(&mut self, now: Nanos, waiting: u64) -> Option<u64> {
        let (hand, target) = (self.in_hand(now), self.target());
        let low = waiting.saturating_add(target.div_ceil(2));
        (hand < low).then(|| waiting.saturating_add(target).saturating_sub(hand))
    }

    /// As [`wanted`](Self::wanted) for a report: whatever is missing, and the
    /// rate is brought up to date.
    pub(crate) fn reckon(&mut self, now: Nanos, waiting: u64) -> u64 {
        let passed = now.saturating_sub(self.reported) as f64 / 1e9;
        if passed > 0.001 {
            let latest = self.taken as f64 / passed;
            self.rate += (latest - self.rate) * (passed / (passed + MEMORY));
            if self.rate < 0.05 {
                self.rate = 0.0;
            }
            (self.taken, self.reported) = (0, now);
        }
        let target = self.target();
        if let Holding::Counts(counts) = &mut self.holding {
            if now >= counts.until {
                counts.granted = counts.granted.min(counts.spent);
            }
            // Far more than is needed goes back.
            let most = waiting.saturating_add(target.saturating_mul(3));
            counts.granted = counts.granted.min(counts.spent.saturating_add(most));
        }
        waiting.saturating_add(target).saturating_sub(self.in_hand(now))
    }

    /// Gives up what is in hand and was not admitted.
    pub(crate) fn empty(&mut self) {
        match &mut self.holding {
            Holding::Slots(slots) => slots.free.clear(),
            Holding::Counts(counts) => counts.granted = counts.granted.min(counts.spent),
        }
    }

    pub(crate) fn grant_slice(&mut self, now: Nanos, slice: Slice) {
        if let Holding::Slots(slots) = &mut self.holding {
            if slice.until > now && slice.from < slice.until && slice.units > 0 {
                slots.put(slice);
            }
        }
    }

    /// `units` more for `period`; all that is not spent may be sent until `until`.
    pub(crate) fn grant_count(&mut self, period: Date, units: u64, until: Nanos) -> bool {
        match &mut self.holding {
            Holding::Counts(counts) if counts.period == Some(period) => {
                // What was spent beyond the grants is not granted twice.
                counts.granted = counts.granted.max(counts.spent).saturating_add(units);
                counts.until = counts.until.max(until);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn spent_elsewhere(&mut self, period: Date, units: u64) {
        match &mut self.holding {
            Holding::Counts(counts) if counts.period == Some(period) => counts.elsewhere = units,
            _ => {}
        }
    }

    /// Whether `units` more cannot be had of this period's `limit`, whoever holds
    /// leases gives them back.
    pub(crate) fn is_gone(&self, limit: u64, units: u64) -> bool {
        match &self.holding {
            Holding::Slots(_) => false,
            Holding::Counts(counts) => {
                counts.spent.saturating_add(counts.elsewhere).saturating_add(units) > limit
            }
        }
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        if let Holding::Slots(slots) = &mut self.holding {
            slots.sent.set_limit(limit);
        }
    }

    pub(crate) fn retry_at(&mut self, at: Nanos) {
        self.retry_at = at;
    }
}

impl Account {
    /// The book, if the budget is leased by a ledger, with its period up to date.
    #[inline]
    pub(crate) fn book_at(&mut self, now: Nanos) -> Option<&mut LeaseBook> {
        let book = self.book.as_deref_mut()?;
        match &mut self.state {
            State::Day(day) => book.period(day.day(), day.tally.started()),
            State::Fixed(fixed) => fixed.advance(now),
            State::Rolling(_) | State::Bucket(_) | State::Concurrency(_) => {}
        }
        Some(book)
    }

    pub(crate) const fn is_even(&self) -> bool {
        match &self.state {
            State::Rolling(rolling) => rolling.is_even(),
            _ => false,
        }
    }

    #[inline]
    pub(crate) fn leased_room(&mut self, now: Nanos, n: u64) -> bool {
        self.book_at(now).is_none_or(|book| book.room(now, n))
    }
}

/// The one that binds longer.
pub(crate) fn worse(a: Fit, b: Fit) -> Fit {
    match (a, b) {
        (Fit::Never, _) | (_, Fit::Now) => a,
        (_, Fit::Never) | (Fit::Now, _) => b,
        (Fit::Exhausted(x), Fit::Exhausted(y)) => Fit::Exhausted(x.max(y)),
        (Fit::Exhausted(_), _) => a,
        (_, Fit::Exhausted(_)) => b,
        (Fit::Leased(_), _) => a,
        (_, Fit::Leased(_)) => b,
        (Fit::At(x), Fit::At(y)) => Fit::At(x.max(y)),
        (Fit::Event | Fit::Behind, _) | (_, Fit::Event | Fit::Behind) => Fit::Event,
    }
}
