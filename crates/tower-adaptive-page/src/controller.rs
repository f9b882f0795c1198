//! The decision, free of clocks, locks, files and futures.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Memory, PageSample};

/// How many different page sizes are counted one by one.
const SIZES_KEPT: usize = 64;

/// A page may fill at most this part of the memory left below the pause
/// threshold: the bytes of an answer become several times as many when parsed.
const PAGE_SHARE: f64 = 0.25;

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
    /// The smaller of the upper bound and the server's maximum.
    pub(crate) max: u32,
    pub(crate) shrink: u8,
    pub(crate) alert: u8,
    pub(crate) pause: u8,
    /// No growth for so long after pages shrank.
    pub(crate) settle: Duration,
}

/// Turns memory figures into page sizes.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) settings: Settings,
    /// Always within the bounds.
    size: u32,
    /// No growth before.
    grow_from: Option<Instant>,
    pub(crate) memory: Option<Memory>,
    pub(crate) action: Action,
    /// Rises at once, falls slowly: the heavy pages are those that count.
    pub(crate) bytes_per_row: f64,
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
    pub(crate) too_large: u64,
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
        Self {
            settings,
            size: settings.max,
            grow_from: None,
            memory: None,
            action: Action::Go,
            bytes_per_row: 0.0,
            counts: Counts::default(),
        }
    }

    /// How many rows to ask for.
    pub(crate) fn size(&self) -> u32 {
        self.size.min(self.rows_that_fit()).max(self.settings.min)
    }

    /// How many rows of the weight seen so far fit into what is left.
    fn rows_that_fit(&self) -> u32 {
        let Some(memory) = self.memory else { return u32::MAX };
        if self.bytes_per_row < 1.0 {
            return u32::MAX;
        }
        let ceiling = memory.limit as f64 * f64::from(self.settings.pause) / 100.0;
        let left = (ceiling - memory.used as f64).max(0.0);
        // Saturates at both ends.
        (left * PAGE_SHARE / self.bytes_per_row) as u32
    }

    /// Takes a new figure in and says what it asks for; with the old action.
    pub(crate) fn sense(&mut self, memory: Option<Memory>, now: Instant) -> (Action, Action) {
        let before = self.action;
        let Some(memory) = memory else {
            // A probe that fails must not stop the work, nor grow the page.
            self.counts.blind += 1;
            self.memory = None;
            self.action = Action::Go;
            return (before, self.action);
        };
        self.counts.samples += 1;
        self.memory = Some(memory);
        let percent = memory.percent();
        self.action = self.action_at(percent);
        if self.action > Action::Go {
            self.shrink(percent, now);
        } else if percent < f64::from(self.settings.shrink.saturating_sub(20)) {
            self.grow(now);
        }
        if self.action >= Action::Alert && before < Action::Alert {
            self.counts.alerts += 1;
        }
        if self.action == Action::Pause && before < Action::Pause {
            self.counts.pauses += 1;
        }
        (before, self.action)
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
        self.grow_from = Some(now + self.settings.settle);
    }

    fn grow(&mut self, now: Instant) {
        let settled = self.grow_from.is_none_or(|from| now >= from);
        if settled && self.size < self.settings.max {
            let step = self.size.div_ceil(10);
            self.size = self.size.saturating_add(step).min(self.settings.max);
            self.counts.grows += 1;
        }
    }

    /// Learns from a page that came.
    pub(crate) fn observe(&mut self, sample: PageSample) {
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
        if let (Some(rows @ 1..), Some(bytes)) = (sample.rows, sample.bytes) {
            let seen = bytes as f64 / f64::from(rows);
            self.bytes_per_row = seen.max(0.9 * self.bytes_per_row + 0.1 * seen);
        }
    }

    /// An answer was larger than somebody could hold: half of what was asked.
    pub(crate) fn too_large(&mut self, asked: u32, now: Instant) {
        self.counts.too_large += 1;
        // Never larger than it is: a late complaint changes nothing.
        self.shrink_to(asked / 2, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(5);

    fn controller() -> Controller {
        let settings =
            Settings { min: 10, max: 500, shrink: 80, alert: 85, pause: 95, settle: SETTLE };
        Controller::new(settings)
    }

    fn percent(used: u64) -> Option<Memory> {
        Some(Memory { used: used * 1_000_000, limit: 100_000_000 })
    }

    fn sample(asked: u32) -> PageSample {
        PageSample { asked, rows: None, bytes: None, took: Duration::ZERO }
    }

    #[test]
    fn it_starts_at_the_maximum() {
        assert_eq!(controller().size(), 500);
    }

    #[test]
    fn exactly_at_a_threshold_nothing_happens_yet() {
        let now = Instant::now();
        let mut controller = controller();
        assert_eq!(controller.sense(percent(80), now).1, Action::Go);
        assert_eq!(controller.size(), 500);
        assert_eq!(controller.sense(percent(85), now).1, Action::Shrink);
        assert_eq!(controller.sense(percent(95), now).1, Action::Alert);
        assert_eq!(controller.sense(percent(96), now).1, Action::Pause);
    }

    #[test]
    fn above_the_threshold_it_shrinks_at_once_and_by_half_at_most() {
        let now = Instant::now();
        for used in 81..=130 {
            let mut controller = controller();
            controller.sense(percent(used), now);
            assert!((250..=450).contains(&controller.size()), "{used} %: {}", controller.size());
        }
        let mut controller = controller();
        controller.sense(percent(100), now);
        assert_eq!(controller.size(), 250);
    }

    #[test]
    fn under_lasting_pressure_it_reaches_the_smallest_page_and_stays() {
        let now = Instant::now();
        let mut controller = controller();
        for _ in 0..100 {
            controller.sense(percent(81), now);
        }
        assert_eq!(controller.size(), 10);
    }

    #[test]
    fn between_the_bands_it_neither_shrinks_nor_grows() {
        let now = Instant::now();
        let mut controller = controller();
        controller.sense(percent(100), now);
        for n in 0..1_000 {
            let used = 60 + n % 21;
            controller.sense(percent(used), now + SETTLE * 2);
            assert_eq!(controller.size(), 250, "{used} %");
        }
    }

    #[test]
    fn below_the_band_it_grows_a_tenth_at_a_time_back_to_the_maximum() {
        let now = Instant::now();
        let mut controller = controller();
        controller.sense(percent(100), now);
        let later = now + SETTLE;
        let mut sizes = Vec::new();
        for _ in 0..8 {
            controller.sense(percent(59), later);
            sizes.push(controller.size());
        }
        assert_eq!(sizes, [275, 303, 334, 368, 405, 446, 491, 500]);
        controller.sense(percent(0), later);
        assert_eq!(controller.size(), 500);
    }

    #[test]
    fn it_does_not_grow_right_after_it_shrank() {
        let now = Instant::now();
        let mut controller = controller();
        controller.sense(percent(100), now);
        controller.sense(percent(10), now + SETTLE - Duration::from_millis(1));
        assert_eq!(controller.size(), 250);
        controller.sense(percent(10), now + SETTLE);
        assert_eq!(controller.size(), 275);
    }

    #[test]
    fn from_the_smallest_page_it_finds_its_way_back() {
        let now = Instant::now();
        let mut controller = controller();
        for _ in 0..100 {
            controller.sense(percent(99), now);
        }
        for _ in 0..60 {
            controller.sense(percent(1), now + SETTLE);
        }
        assert_eq!(controller.size(), 500);
    }

    #[test]
    fn a_blind_probe_changes_no_size_and_stops_nothing() {
        let now = Instant::now();
        let mut controller = controller();
        controller.sense(percent(100), now);
        assert_eq!(controller.sense(None, now + SETTLE), (Action::Pause, Action::Go));
        assert_eq!(controller.size(), 250);
        assert_eq!(controller.counts.blind, 1);
    }

    #[test]
    fn heavy_rows_bound_the_page_by_the_memory_that_is_left() {
        let now = Instant::now();
        let mut controller = controller();
        controller.sense(percent(55), now);
        assert_eq!(controller.size(), 500);
        let heavy = PageSample { rows: Some(10), bytes: Some(1_000_000), ..sample(500) };
        controller.observe(heavy);
        // 40 MB are left, a quarter of them is 10 MB, a row weighs 100 kB.
        assert_eq!(controller.size(), 100);
        let light = PageSample { rows: Some(100), bytes: Some(100_000), ..sample(100) };
        for _ in 0..100 {
            controller.observe(light);
        }
        assert_eq!(controller.size(), 500);
    }

    #[test]
    fn absurd_figures_shrink_the_page_and_break_nothing() {
        let now = Instant::now();
        let mut controller = controller();
        for used in [0, u64::MAX] {
            controller.sense(Some(Memory { used, limit: 0 }), now);
            assert_eq!(controller.action, Action::Pause);
        }
        controller.sense(Some(Memory { used: 1, limit: u64::MAX }), now);
        assert_eq!(controller.action, Action::Go);
        let claimed = PageSample { rows: Some(1), bytes: Some(u64::MAX), ..sample(500) };
        controller.observe(claimed);
        controller.observe(claimed);
        assert_eq!((controller.size(), controller.counts.bytes), (10, u64::MAX));
    }

    #[test]
    fn an_answer_that_was_too_large_halves_what_was_asked() {
        let now = Instant::now();
        let mut controller = controller();
        controller.too_large(400, now);
        assert_eq!(controller.size(), 200);
        // A late complaint about a larger page changes nothing.
        controller.too_large(500, now);
        assert_eq!(controller.size(), 200);
        controller.too_large(1, now);
        assert_eq!(controller.size(), 10);
    }

    #[test]
    fn alerts_and_pauses_are_counted_once_each_time_they_begin() {
        let now = Instant::now();
        let mut controller = controller();
        for used in [86, 87, 96, 97, 86, 50, 99] {
            controller.sense(percent(used), now);
        }
        assert_eq!((controller.counts.alerts, controller.counts.pauses), (2, 2));
    }

    #[test]
    fn the_list_of_sizes_is_bounded() {
        let mut controller = controller();
        for asked in 0..1_000 {
            controller.observe(sample(asked));
        }
        assert_eq!(controller.counts.sizes.len(), SIZES_KEPT);
        assert_eq!(controller.counts.other_sizes, 1_000 - SIZES_KEPT as u64);
        assert_eq!((controller.counts.smallest, controller.counts.largest), (Some(0), Some(999)));
    }
}
