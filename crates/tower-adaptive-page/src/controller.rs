//! The decision, free of clocks, locks, files and futures.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Memory, PageSample, Price,
    hold::Hold,
    pace::{Pace, Step},
};

/// How many different page sizes are counted one by one.
const SIZES_KEPT: usize = 64;

/// A page may fill at most this part of the memory left below the pause
/// threshold: the bytes of an answer become several times as many when parsed.
const PAGE_SHARE: f64 = 0.25;

/// A page may fill this part of what an answer may hold: not all rows weigh the same.
const BODY_SHARE: f64 = 0.75;

/// What memory asks of those who want a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Action {
    /// Enough memory; pages grow back, or stay as they are.
    Go,
    /// Above the first threshold: pages shrink.
    Shrink,
    /// Above the second: pages shrink, and an operator should look.
    Alert,
    /// Above the third: no page is asked for.
    Pause,
}

/// The settings of a controller, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) min: u32,
    /// The upper bound, whatever the server allows.
    pub(crate) upper: u32,
    /// The smaller of the upper bound and the server's maximum.
    pub(crate) max: u32,
    pub(crate) shrink: u8,
    pub(crate) alert: u8,
    pub(crate) pause: u8,
    /// No growth for so long after pages shrank.
    pub(crate) settle: Duration,
    /// From one growth to the next.
    pub(crate) grow_every: Duration,
    pub(crate) page_time: Option<Duration>,
    pub(crate) page_bytes: Option<u64>,
    pub(crate) price: Price,
    /// How much dearer a row may become for the sake of time, in percent.
    pub(crate) surcharge: u32,
}

/// Turns memory figures, and what came of the pages before, into page sizes.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) settings: Settings,
    /// What memory and bytes allow; always within the bounds.
    size: u32,
    /// What time allows.
    pub(crate) pace: Pace,
    hold: Hold,
    pub(crate) memory: Option<Memory>,
    pub(crate) action: Action,
    /// Rises at once, falls slowly: the heavy pages are those that count.
    pub(crate) bytes_per_row: f64,
    /// Answers in a row that were too large to be held.
    cut_off: u32,
    pub(crate) counts: Counts,
}

/// What a controller has seen and done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) samples: u64,
    pub(crate) blind: u64,
    pub(crate) shrinks: u64,
    pub(crate) grows: u64,
    pub(crate) alerts: u64,
    pub(crate) pauses: u64,
    pub(crate) purges: u64,
    pub(crate) purged_bytes: u64,
    pub(crate) peak: u64,
    pub(crate) too_large: u64,
    /// Pages that took longer than they may, and so made the next ones smaller.
    pub(crate) slow: u64,
    pub(crate) pages: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) smallest: Option<u32>,
    pub(crate) largest: Option<u32>,
    /// Ascending by size, at most [`SIZES_KEPT`].
    pub(crate) sizes: Vec<(u32, u64)>,
    pub(crate) other_sizes: u64,
}

impl Controller {
    pub(crate) fn new(settings: Settings) -> Self {
        let hold = Hold::new(settings.settle, settings.grow_every);
        Self {
            settings,
            size: settings.max,
            pace: Pace::new(settings.page_time, settings.floor(), settings.max, hold),
            hold,
            memory: None,
            action: Action::Go,
            bytes_per_row: 0.0,
            cut_off: 0,
            counts: Counts::default(),
        }
    }

    /// How many rows to ask for. Memory may ask for less than time does, and not the other way
    /// round where rows would be too dear.
    pub(crate) fn size(&self) -> u32 {
        self.size.min(self.pace.rows()).max(self.settings.min)
    }

    /// How many rows of the weight seen so far fit into what is left, and into one answer.
    fn rows_that_fit(&self) -> f64 {
        if self.bytes_per_row < 1.0 {
            return f64::INFINITY;
        }
        let mut bytes = f64::INFINITY;
        if let Some(memory) = self.memory {
            let ceiling = memory.limit as f64 * f64::from(self.settings.pause) / 100.0;
            bytes = (ceiling - memory.used as f64).max(0.0) * PAGE_SHARE;
        }
        if let Some(most) = self.settings.page_bytes {
            bytes = bytes.min(most as f64 * BODY_SHARE);
        }
        bytes / self.bytes_per_row
    }

    /// The server says what it gives at most.
    pub(crate) fn server_max(&mut self, rows: u32) {
        let whole = self.size == self.settings.max;
        let rows = rows.max(1);
        self.settings.max = self.settings.upper.min(rows);
        // What the server does not give cannot be asked for, whatever was configured.
        self.settings.min = self.settings.min.min(self.settings.max);
        let Settings { min, max, .. } = self.settings;
        self.size = if whole { max } else { self.size.clamp(min, max) };
        self.pace.rebound(self.settings.floor(), max);
    }

    /// Takes a new figure in and says what it asks for; with the old action.
    pub(crate) fn sense(&mut self, memory: Option<Memory>, now: Instant) -> (Action, Action) {
        let before = self.action;
        let Some(memory) = memory else {
            // A probe that fails must not stop the work, nor grow the page.
            self.counts.blind += 1;
            self.memory = None;
            self.action = Action::Go;
            self.fit(now);
            return (before, self.action);
        };
        self.counts.samples += 1;
        self.memory = Some(memory);
        self.counts.peak = self.counts.peak.max(memory.used);
        let percent = memory.percent();
        self.action = self.action_at(percent);
        if self.action > Action::Go {
            self.shrink(percent, now);
        } else if percent < self.grows_below() {
            self.grow(now);
        }
        self.fit(now);
        if self.action >= Action::Alert && before < Action::Alert {
            self.counts.alerts += 1;
        }
        if self.action == Action::Pause && before < Action::Pause {
            self.counts.pauses += 1;
        }
        (before, self.action)
    }

    /// The allocator was purged. Who waits may go on at once; no page shrinks or grows by it.
    pub(crate) fn purged(&mut self, returned: u64, memory: Option<Memory>) {
        self.counts.purges += 1;
        self.counts.purged_bytes = self.counts.purged_bytes.saturating_add(returned);
        if let Some(memory) = memory {
            self.memory = Some(memory);
            self.action = self.action_at(memory.percent());
        }
    }

    fn action_at(&self, percent: f64) -> Action {
        let above = |threshold: u8| percent > f64::from(threshold);
        match self.settings {
            Settings { pause, .. } if above(pause) => Action::Pause,
            Settings { alert, .. } if above(alert) => Action::Alert,
            Settings { shrink, .. } if above(shrink) => Action::Shrink,
            Settings { .. } => Action::Go,
        }
    }

    /// By a tenth just above the first threshold, by half at the third.
    fn shrink(&mut self, percent: f64, now: Instant) {
        let first = f64::from(self.settings.shrink);
        let span = f64::from(self.settings.pause) - first;
        let cut = 0.1 + 0.4 * ((percent - first) / span).clamp(0.0, 1.0);
        let rows = ((f64::from(self.size) * cut).ceil() as u32).min(self.size / 2);
        self.shrink_to(self.size.saturating_sub(rows.max(1)), now);
    }

    fn shrink_to(&mut self, size: u32, now: Instant) {
        let size = size.max(self.settings.min);
        if size < self.size {
            self.size = size;
            self.counts.shrinks += 1;
        }
        self.hold.shrank(now);
    }

    /// Shrinks to what the weight of the rows allows.
    fn fit(&mut self, now: Instant) {
        let fit = self.rows_that_fit();
        if fit < f64::from(self.size) && self.size > self.settings.min {
            self.shrink_to(fit as u32, now);
        }
    }

    /// Pages grow below so many percent: 20 below the first threshold, and up to 10 where small
    /// pages make rows dear.
    fn grows_below(&self) -> f64 {
        let Settings { price, max, shrink, .. } = self.settings;
        let dear = (price.times(self.size, max) - 1.0).min(1.0);
        f64::from(shrink) - 20.0 + 10.0 * dear
    }

    fn grow(&mut self, now: Instant) {
        if self.size >= self.settings.max {
            return self.hold.at_the_top(now);
        }
        let step = self.size.div_ceil(10);
        let size = self.size.saturating_add(step).min(self.settings.max);
        // Not up to the brim, so that the next row that is a bit heavier does not shrink it again.
        let fits = f64::from(size) <= 0.8 * self.rows_that_fit();
        if fits && self.hold.may_grow(now) {
            self.size = size;
            self.hold.grew(now);
            self.counts.grows += 1;
        }
    }

    /// Learns from a page that came.
    pub(crate) fn observe(&mut self, sample: PageSample, now: Instant) {
        self.cut_off = 0;
        let counts = &mut self.counts;
        counts.pages += 1;
        counts.rows += u64::from(sample.rows.unwrap_or(0));
        // A header can claim anything.
        counts.bytes = counts.bytes.saturating_add(sample.bytes.unwrap_or(0));
        counts.smallest = Some(counts.smallest.map_or(sample.asked, |n| n.min(sample.asked)));
        counts.largest = Some(counts.largest.map_or(sample.asked, |n| n.max(sample.asked)));
        match counts.sizes.binary_search_by_key(&sample.asked, |&(size, _)| size) {
            Ok(at) => counts.sizes[at].1 += 1,
            Err(at) if counts.sizes.len() < SIZES_KEPT => {
                counts.sizes.insert(at, (sample.asked, 1))
            }
            Err(_) => counts.other_sizes += 1,
        }
        // Whoever does not know the rows asked for more than came, if anything: a lower bound, so
        // what is known already falls more slowly.
        let (rows, trust) = sample.rows.map_or((sample.asked, 0.02), |rows| (rows, 0.1));
        if let (1.., Some(bytes)) = (rows, sample.bytes) {
            let seen = bytes as f64 / f64::from(rows);
            self.bytes_per_row = seen.max((1.0 - trust) * self.bytes_per_row + trust * seen);
            self.fit(now);
        }
        match self.pace.came(sample.asked, sample.took, now) {
            Step::Same => {}
            Step::Shrank => self.counts.slow += 1,
            Step::Grew => self.counts.grows += 1,
        }
    }

    /// An answer was larger than somebody could hold: half of what was asked, and if that is again
    /// too large the smallest page, which shows what a row weighs.
    pub(crate) fn too_large(&mut self, asked: u32, now: Instant) {
        self.counts.too_large += 1;
        // A late complaint about what is no longer asked for changes nothing.
        if asked <= self.size {
            self.cut_off += 1;
        }
        let size = if self.cut_off > 1 { self.settings.min } else { asked / 2 };
        self.shrink_to(size, now);
    }
}

impl Settings {
    /// The smallest page that time may ask for.
    fn floor(&self) -> u32 {
        self.price.smallest(self.max, self.surcharge).max(self.min)
    }
}

#[cfg(test)]
mod tests;
