//! When something that shrank may grow again; pure.

use std::time::Duration;

use tokio::time::Instant;

/// The wait after a shrinking doubles so often at most: 5 s become 21 minutes.
const MOST_STRIKES: u32 = 8;
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Holds growth back after each shrinking, and for twice as long each time a growth turned out to
/// be a mistake: what swings once does not go on swinging.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    settle: Duration,
    /// From one growth to the next.
    pace: Duration,
    strikes: u32,
    /// Whether it grew since it shrank last.
    grown: bool,
    from: Option<Instant>,
}

impl Hold {
    pub(crate) const fn new(settle: Duration, pace: Duration) -> Self {
        Self { settle, pace, strikes: 0, grown: false, from: None }
    }

    /// It had to shrink.
    pub(crate) fn shrank(&mut self, now: Instant) {
        if std::mem::take(&mut self.grown) {
            self.strikes = (self.strikes + 1).min(MOST_STRIKES);
        }
        self.wait(now, self.strikes);
    }

    /// It shrank, and that was of no use: for long, nothing changes.
    pub(crate) fn in_vain(&mut self, now: Instant) {
        self.grown = false;
        self.wait(now, MOST_STRIKES);
    }

    fn wait(&mut self, now: Instant, doublings: u32) {
        let wait = self.settle.saturating_mul(1 << doublings).min(LONGEST);
        self.from = Some(now + wait);
    }

    pub(crate) fn may_grow(&self, now: Instant) -> bool {
        self.from.is_none_or(|from| now >= from)
    }

    pub(crate) fn grew(&mut self, now: Instant) {
        self.grown = true;
        self.from = Some(now + self.pace);
    }

    /// It is as large as it can be, and nothing speaks against it. Once that has lasted for as long
    /// as the longest wait, what was is forgotten: what growth does may be seen late.
    pub(crate) fn at_the_top(&mut self, now: Instant) {
        let Some(from) = self.from else { return };
        let wait = self.settle.saturating_mul(1 << MOST_STRIKES).min(LONGEST);
        if now >= from + wait {
            (self.strikes, self.grown, self.from) = (0, false, None);
        }
    }
}
