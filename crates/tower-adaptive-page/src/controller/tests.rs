use super::*;

use proptest::prelude::*;

const SETTLE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    Settings {
        min: 10,
        upper: 500,
        max: 500,
        shrink: 80,
        alert: 85,
        pause: 95,
        settle: SETTLE,
        grow_every: SECOND,
        page_time: None,
        page_bytes: None,
        price: Price::per_page(1),
        surcharge: 100,
    }
}

fn controller() -> Controller {
    Controller::new(settings())
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
    for (price, lowest) in [(Price::per_row(1), 60), (Price::per_page(1), 70)] {
        let mut controller = Controller::new(Settings { price, ..settings() });
        controller.sense(percent(100), now);
        for n in 0..1_000 {
            let used = lowest + n % (81 - lowest);
            controller.sense(percent(used), now + SETTLE * 2);
            assert_eq!(controller.size(), 250, "{used} %");
        }
        controller.sense(percent(lowest - 1), now + SETTLE * 2);
        assert_eq!(controller.size(), 275);
    }
}

#[test]
fn below_the_band_it_grows_a_tenth_each_second_back_to_the_maximum() {
    let now = Instant::now();
    let mut controller = controller();
    controller.sense(percent(100), now);
    let mut sizes = Vec::new();
    for quarter in 0..4 * 8 {
        controller.sense(percent(59), now + SETTLE + SECOND / 4 * quarter);
        sizes.push(controller.size());
    }
    let each_second: Vec<u32> = sizes.iter().copied().step_by(4).collect();
    assert_eq!(each_second, [275, 303, 334, 368, 405, 446, 491, 500]);
    assert_eq!(sizes[3], 275);
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
    for second in 0..60 {
        controller.sense(percent(1), now + SETTLE + SECOND * second);
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
    controller.observe(heavy, now);
    // 40 MB are left, a quarter of them is 10 MB, a row weighs 100 kB.
    assert_eq!(controller.size(), 100);
    let light = PageSample { rows: Some(100), bytes: Some(100_000), ..sample(100) };
    for second in 0..100 {
        controller.observe(light, now);
        controller.sense(percent(55), now + SETTLE + SECOND * second);
    }
    assert_eq!(controller.size(), 500);
}

#[test]
fn rows_of_unknown_number_are_weighed_by_what_was_asked() {
    let now = Instant::now();
    let mut controller = controller();
    controller.sense(percent(55), now);
    controller.observe(PageSample { bytes: Some(50_000_000), ..sample(500) }, now);
    assert_eq!(controller.size(), 100);
}

#[test]
fn the_bound_of_an_answer_bounds_the_page_once_the_weight_is_known() {
    let now = Instant::now();
    let settings = Settings { page_bytes: Some(32 << 20), ..settings() };
    let mut controller = Controller::new(settings);
    let mut cut_off = 0;
    // Rows of 1 MiB: two answers are cut off, and no third.
    for second in 0..600 {
        let asked = controller.size();
        let now = now + SECOND * second;
        controller.sense(Some(Memory { used: 0, limit: 1 << 40 }), now);
        if asked > 32 {
            cut_off += 1;
            controller.too_large(asked, now);
        } else {
            let bytes = Some(u64::from(asked) << 20);
            controller.observe(PageSample { rows: Some(asked), bytes, ..sample(asked) }, now);
        }
    }
    assert_eq!(cut_off, 2);
    assert!((16..=24).contains(&controller.size()), "{}", controller.size());
}

#[test]
fn time_shrinks_a_page_as_far_as_the_price_allows_and_memory_further() {
    let now = Instant::now();
    let slow = |price, surcharge| {
        let page_time = Some(SECOND);
        let settings = Settings { page_time, price, surcharge, ..settings() };
        let mut controller = Controller::new(settings);
        for _ in 0..50 {
            let asked = controller.size();
            let took = SECOND / 20 * asked;
            controller.observe(PageSample { took, ..sample(asked) }, now);
        }
        controller
    };
    assert_eq!(slow(Price::per_page(20), 100).size(), 250);
    assert_eq!(slow(Price::per_page(20), 0).size(), 500);
    assert!(slow(Price::per_row(1), 100).size() <= 20);
    let mut controller = slow(Price::per_page(20), 100);
    for _ in 0..100 {
        controller.sense(percent(81), now);
    }
    assert_eq!(controller.size(), 10);
}

#[test]
fn the_servers_maximum_may_be_learnt_later() {
    let now = Instant::now();
    let mut controller = controller();
    controller.server_max(100);
    assert_eq!(controller.size(), 100);
    controller.server_max(1_000);
    assert_eq!(controller.size(), 500, "the upper bound holds");
    controller.server_max(5);
    assert_eq!(controller.size(), 5, "below the smallest page, too");
    controller.server_max(0);
    assert_eq!(controller.size(), 1);
    let mut controller = self::controller();
    controller.sense(percent(100), now);
    controller.server_max(400);
    assert_eq!(controller.size(), 250, "what memory asks for stays");
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
    controller.observe(claimed, now);
    controller.observe(claimed, now);
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
    controller.too_large(200, now);
    assert_eq!(controller.size(), 10, "the second in a row asks for the smallest page");
}

/// A process whose memory is what it is without pages, and so much for each row of the page that
/// was asked for `lag` samples ago. Gives how often the size turned from growing to shrinking.
fn turns_within(base: u64, per_row: f64, lag: usize, noise: &[u64], time: Duration) -> u32 {
    let start = Instant::now();
    let mut controller = controller();
    let mut sizes = std::collections::VecDeque::from(vec![0; lag]);
    let (mut turns, mut grew, mut before) = (0, false, controller.size());
    for (n, step) in (0..).zip(0..time.as_millis() / 250) {
        sizes.push_back(controller.size());
        let rows = f64::from(sizes.pop_front().unwrap());
        let used = base + (rows * per_row) as u64 + noise[step as usize % noise.len()];
        let memory = Some(Memory { used, limit: 100_000 });
        controller.sense(memory, start + Duration::from_millis(250) * n);
        let size = controller.size();
        turns += u32::from(grew && size < before);
        grew = size > before || (grew && size == before);
        before = size;
    }
    turns
}

proptest! {
    #[test]
    fn whatever_a_page_does_to_memory_and_however_late_it_never_flaps(
        base in 0_u64..80_000,
        full in 10_000_u64..150_000,
        lag in 0_usize..200,
        noise in prop::collection::vec(0_u64..3_000, 1..50),
    ) {
        // The wait doubles from 5 s to 21 min: an hour has room for ten.
        let hour = Duration::from_secs(3600);
        let turns = turns_within(base, full as f64 / 500.0, lag, &noise, hour);
        prop_assert!(turns <= 10, "{turns} turns in an hour");
    }

    #[test]
    fn pages_grow_back_after_any_pressure_has_gone(
        pressures in prop::collection::vec(0_u64..1_200, 1..100),
    ) {
        let start = Instant::now();
        let mut controller = controller();
        let mut now = start;
        for pressure in pressures {
            now += SECOND;
            controller.sense(Some(Memory { used: pressure, limit: 1_000 }), now);
        }
        for _ in 0..2_000 {
            now += SECOND;
            controller.sense(percent(10), now);
        }
        prop_assert_eq!(controller.size(), 500);
    }

    #[test]
    fn more_pressure_never_gives_a_larger_page(
        history in prop::collection::vec(0_u64..1_200, 0..30),
        low in 0_u64..1_200,
        more in 0_u64..600,
    ) {
        let mut now = Instant::now();
        let (mut relaxed, mut pressed) = (controller(), controller());
        for used in history {
            now += SECOND;
            for controller in [&mut relaxed, &mut pressed] {
                controller.sense(Some(Memory { used, limit: 1_000 }), now);
            }
        }
        now += SECOND;
        relaxed.sense(Some(Memory { used: low, limit: 1_000 }), now);
        pressed.sense(Some(Memory { used: low + more, limit: 1_000 }), now);
        prop_assert!(pressed.size() <= relaxed.size());
    }
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
    let now = Instant::now();
    let mut controller = controller();
    for asked in 0..1_000 {
        controller.observe(sample(asked), now);
    }
    assert_eq!(controller.counts.sizes.len(), SIZES_KEPT);
    assert_eq!(controller.counts.other_sizes, 1_000 - SIZES_KEPT as u64);
    assert_eq!((controller.counts.smallest, controller.counts.largest), (Some(0), Some(999)));
}
