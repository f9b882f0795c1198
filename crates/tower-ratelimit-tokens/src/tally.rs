//! Pure: units spent in one period, corrected by what the server counts.
//!
//! A server's count belongs to one moment between the sending of a request and
//! its answer. What we sent later is surely not in it; what was under way when
//! that request was sent may be in it or not. So the count of the newest
//! request `i` that was answered gives
//!
//! ```text
//! used = count(i) + sent after i + under way when i was sent
//! ```
//!
//! which is never below the truth. A request of the last group whose own answer
//! told a lower count than `i`'s was counted before `i`, so it is taken off
//! again. When nothing is under way any more, `used` is the server's number.

use crate::{
    budget::Slot,
    moment::{Nanos, nanos},
};
use std::time::Duration;

/// How many recent answers are remembered to take the doubtful ones off. With
/// more requests under way at once, `used` stays too high until they end.
const REMEMBERED: usize = 16;

/// A request that was dropped may still reach the server for this long.
const TRANSIT: Nanos = nanos(Duration::from_secs(1));

/// One answered request.
#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    seq: u64,
    /// The newest request that had been sent when this answer came.
    newest_sent: u64,
    counted: u64,
    n: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    limit: u64,
    used: u64,
    /// Admitted, not yet sent.
    reserved: u64,
    /// Sent, not yet answered.
    under_way: u64,
    /// Dropped after sending and perhaps still on the way: since the last turn,
    /// and before it.
    lost: [u64; 2],
    lost_turn: Nanos,
    /// All that was ever sent.
    total: u64,
    newest_sent: u64,
    /// The one before that.
    sent_before: u64,
    /// The server's count when nothing was under way, and the request that told it.
    quiet: Option<(u64, u64)>,
    /// What the last answer showed its request to have cost.
    shown: Option<u64>,
    /// The newest request whose count was taken over, and that count.
    newest: u64,
    newest_count: u64,
    /// Made when first needed: most keys of a scope never need it.
    recent: Option<Box<[Answer; REMEMBERED]>>,
    next_recent: usize,
    started: Nanos,
    foreign: u64,
    drift: i64,
}

impl Tally {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    #[inline]
    pub(crate) fn room(&self, n: u64, ceiling: u64) -> bool {
        self.used + self.reserved + n <= ceiling
    }

    #[inline]
    pub(crate) fn reserve(&mut self, n: u64) {
        self.reserved += n;
    }

    pub(crate) fn unreserve(&mut self, n: u64) {
        self.reserved = self.reserved.saturating_sub(n);
    }

    /// Returns a mark: all that was sent, less what was under way besides.
    #[inline]
    pub(crate) fn sent(&mut self, now: Nanos, n: u64, seq: u64, tracked: bool) -> u64 {
        self.reserved = self.reserved.saturating_sub(n);
        self.take(now, n, seq, tracked)
    }

    /// `reserve` and `sent` in one.
    #[inline(always)]
    pub(crate) fn take(&mut self, now: Nanos, n: u64, seq: u64, tracked: bool) -> u64 {
        self.spend(n, seq);
        if tracked { self.track(now, n) } else { self.total }
    }

    #[inline]
    fn track(&mut self, now: Nanos, n: u64) -> u64 {
        let others = self.under_way + self.lost(now);
        self.under_way += n;
        self.total.saturating_sub(others)
    }

    /// `reserve` and `sent` in one, of an untracked request.
    #[inline]
    pub(crate) fn spend(&mut self, n: u64, seq: u64) {
        self.used += n;
        self.total += n;
        self.sent_before = std::mem::replace(&mut self.newest_sent, seq);
    }

    /// What was dropped after sending and may not have been counted yet. Given
    /// up between one and two transit times after the drop.
    #[inline]
    fn lost(&mut self, now: Nanos) -> u64 {
        if self.lost == [0, 0] { 0 } else { self.still_lost(now) }
    }

    #[cold]
    fn still_lost(&mut self, now: Nanos) -> u64 {
        if now >= self.lost_turn {
            let older = if now >= self.lost_turn + TRANSIT { 0 } else { self.lost[0] };
            self.lost = [0, older];
            self.lost_turn = now + TRANSIT;
        }
        self.lost[0] + self.lost[1]
    }

    pub(crate) fn answered(&mut self, slot: &Slot, actual: u64, observed: bool) {
        if slot.tracked {
            self.under_way = self.under_way.saturating_sub(slot.n);
        }
        self.total = (self.total + actual).saturating_sub(slot.n);
        // What was under way when the period began counts in it, if we knew of it.
        let counts = slot.tracked || slot.sent_at >= self.started;
        if counts && !observed {
            self.used = (self.used + actual).saturating_sub(slot.n);
        }
    }

    /// As `answered` of a request that has cost what was paid and of which the server
    /// has said nothing.
    #[inline]
    pub(crate) fn paid(&mut self, n: u64, tracked: bool) {
        if tracked {
            self.under_way = self.under_way.saturating_sub(n);
        }
    }

    pub(crate) fn lose(&mut self, now: Nanos, slot: &Slot) {
        if !slot.tracked {
            return;
        }
        self.under_way = self.under_way.saturating_sub(slot.n);
        if now < slot.sent_at + TRANSIT {
            self.lost(now);
            if self.lost == [0, 0] {
                self.lost_turn = now + TRANSIT;
            }
            self.lost[0] += slot.n;
        }
    }

    /// Takes the server's count over. Returns whether `used` is now settled for
    /// this request, so that a settlement must not change it again.
    pub(crate) fn level(&mut self, slot: Option<&Slot>, counted: u64) -> bool {
        let Some(slot) = slot else {
            // Told from outside: taken for a count made just now.
            self.take_over(counted, self.total.saturating_sub(self.under_way), self.newest_sent);
            return false;
        };
        if slot.sent_at < self.started {
            return false; // it may belong to the period before
        }
        let others_under_way = self.under_way > slot.n;
        let alone = !others_under_way && self.newest_sent == slot.seq;
        let before = self.quiet.filter(|&(_, told_by)| alone && told_by == self.sent_before);
        self.shown = before.and_then(|(before, _)| counted.checked_sub(before));
        self.quiet = alone.then_some((counted, slot.seq));
        let settled = if slot.seq > self.newest {
            self.take_over(counted, slot.mark, slot.seq);
            true
        } else if counted < self.newest_count {
            // Under way when the newest was sent, and counted before it.
            self.used = self.used.saturating_sub(slot.n);
            true
        } else {
            false
        };
        if others_under_way {
            let recent = self.recent.get_or_insert_with(Box::default);
            recent[self.next_recent] =
                Answer { seq: slot.seq, newest_sent: self.newest_sent, counted, n: slot.n };
            self.next_recent = (self.next_recent + 1) % REMEMBERED;
        }
        settled
    }

    /// What was sent after the request of `slot`, or was under way when it was sent,
    /// that request apart; without one, what is under way now.
    pub(crate) fn later(&self, slot: Option<&Slot>) -> u64 {
        slot.map_or(self.under_way, |slot| self.total.saturating_sub(slot.mark))
    }

    fn take_over(&mut self, counted: u64, mark: u64, seq: u64) {
        let before = self.used;
        let doubtful = self.total.saturating_sub(mark);
        let included: u64 = self
            .recent
            .iter()
            .flat_map(|recent| recent.iter())
            .filter(|a| a.seq != 0 && a.seq < seq && a.newest_sent >= seq && a.counted < counted)
            .map(|a| a.n)
            .sum();
        self.used = (counted + doubtful).saturating_sub(included);
        self.foreign += counted.saturating_sub(before);
        self.drift = self.used as i64 - before as i64;
        self.newest = seq;
        self.newest_count = counted;
    }

    /// What the answer just taken in shows its request to have cost: the growth of
    /// the server's count since the answer before, if nothing else was sent in
    /// between. Others' spending shows as a cost too.
    pub(crate) fn take_shown(&mut self) -> Option<u64> {
        self.shown.take()
    }

    /// A new period: what is under way may be counted in it.
    pub(crate) fn start(&mut self, now: Nanos) {
        let lost = self.lost(now);
        self.used = self.under_way + lost;
        self.started = now;
        self.newest = 0;
        self.newest_count = 0;
        self.quiet = None;
        if let Some(recent) = &mut self.recent {
            **recent = [Answer::default(); REMEMBERED];
        }
        self.foreign = 0;
        self.drift = 0;
    }

    pub(crate) fn fill(&mut self) {
        self.used = self.used.max(self.limit);
    }

    /// All that was ever sent.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    pub(crate) fn set_used(&mut self, used: u64) {
        self.used = used;
    }

    /// Whether forgetting it would lose nothing.
    pub(crate) fn at_rest(&mut self, now: Nanos) -> bool {
        self.used == 0 && self.nothing_under_way(now)
    }

    /// Whether a new period would begin with nothing.
    pub(crate) fn nothing_under_way(&mut self, now: Nanos) -> bool {
        self.reserved == 0 && self.under_way == 0 && self.lost(now) == 0
    }

    /// Spent or spoken for.
    pub(crate) const fn committed(&self) -> u64 {
        self.used + self.reserved
    }

    pub(crate) const fn foreign(&self) -> u64 {
        self.foreign
    }

    pub(crate) const fn drift(&self) -> i64 {
        self.drift
    }

    pub(crate) const fn started(&self) -> Nanos {
        self.started
    }
}
