//! A day in the life of a service: each step gives the documented state, once, and none flickers.

use std::{ops::Range, time::Duration};

use tokio::time::{Instant, advance};
use tower_health::{Change, Health, Reason, State, Trend, Verdict};

/// Calls come with some scatter, and bad ones at random places in each twenty. Seeded.
struct Traffic {
    health: Health,
    seed: u64,
    per_second: u64,
    watch: tokio::sync::watch::Receiver<Change>,
}

impl Traffic {
    fn new(seed: u64, per_second: u64) -> Self {
        let health = Health::builder("scenario").build().unwrap();
        Self { watch: health.watch(), health, seed, per_second }
    }

    fn random(&mut self, range: Range<u64>) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        range.start + (self.seed >> 33) % (range.end - range.start)
    }

    /// Runs a step and gives the states entered in it, in order, with their reasons.
    async fn step(&mut self, seconds: u64, millis: u64, bad_percent: u64) -> Vec<(State, Reason)> {
        let mut entered = Vec::new();
        let gap = 1_000_000 / self.per_second;
        let (mut left, mut bad_left) = (0, 0);
        for n in 0..seconds * self.per_second {
            let scattered = self.random(gap * 8 / 10..gap * 12 / 10 + 1);
            advance(Duration::from_micros(scattered)).await;
            // Among each twenty as many bad ones as asked for, at random places.
            if n % 20 == 0 {
                (left, bad_left) = (20, bad_percent / 5);
            }
            let bad = self.random(0..left) < bad_left;
            left -= 1;
            bad_left -= u64::from(bad);
            let took = Duration::from_millis(self.random(millis * 8 / 10..millis * 12 / 10 + 1));
            self.health.record(if bad { Verdict::Bad } else { Verdict::Good }, took);
            self.heard(&mut entered);
        }
        entered
    }

    async fn silence(&mut self, seconds: u64) -> Vec<(State, Reason)> {
        let mut entered = Vec::new();
        for _ in 0..seconds {
            advance(Duration::from_secs(1)).await;
            let _ = self.health.state();
            self.heard(&mut entered);
        }
        entered
    }

    fn heard(&mut self, entered: &mut Vec<(State, Reason)>) {
        if self.watch.has_changed().unwrap() {
            let change = self.watch.borrow_and_update().clone();
            entered.push((change.to, change.reason));
        }
    }
}

fn states(entered: &[(State, Reason)]) -> Vec<State> {
    entered.iter().map(|(state, _)| *state).collect()
}

async fn scenario(seed: u64, per_second: u64) {
    let mut traffic = Traffic::new(seed, per_second);
    let place = format!("seed {seed}, {per_second} calls per second");
    use State::{Critical, Degraded, Healthy, Unavailable, Unknown};

    // All is well.
    assert_eq!(states(&traffic.step(120, 600, 0).await), [Healthy], "{place}");

    // Latency doubles: the average passes 1,000 ms within the minute of the window.
    let entered = traffic.step(120, 1_200, 0).await;
    assert_eq!(states(&entered), [Degraded], "{place}");
    assert!(matches!(entered[0].1, Reason::Latency { .. }), "{entered:?}");
    assert_eq!(states(&traffic.step(120, 600, 0).await), [Healthy], "{place}");

    // One call in twenty fails: that is under a tenth, and nothing to wake anybody for.
    assert_eq!(states(&traffic.step(300, 600, 5).await), [], "{place}");
    assert!((0.03..0.07).contains(&traffic.health.report().error_rate), "{place}");

    // Three in ten: over a tenth, under half.
    let entered = traffic.step(300, 600, 30).await;
    assert_eq!(states(&entered), [Degraded], "{place}");
    assert!(
        matches!(entered[0].1, Reason::ErrorRate { .. } | Reason::Streak { .. }),
        "{entered:?}"
    );

    // All of them: half of the window, then nine tenths of it.
    let begun = Instant::now();
    let entered = traffic.step(10, 600, 100).await;
    assert!(entered.is_empty() && traffic.health.report().trend == Trend::Worsening, "{place}");
    let entered = traffic.step(110, 600, 100).await;
    assert_eq!(states(&entered), [Critical, Unavailable], "{place}");
    assert!(traffic.health.report().since - begun <= Duration::from_secs(60), "{place}");

    // Silence: nobody knows, after a minute.
    let entered = traffic.silence(300).await;
    assert_eq!(states(&entered), [Unknown], "{place}");
    assert_eq!(entered[0].1, Reason::Idle { after: Duration::from_secs(60) });

    // It is back, and the old minute is forgotten.
    assert_eq!(states(&traffic.step(300, 600, 0).await), [Healthy], "{place}");

    // An outage with no silence after it gets better step by step.
    let entered = traffic.step(120, 600, 100).await;
    assert_eq!(states(&entered), [Degraded, Critical, Unavailable], "{place}");
    let begun = Instant::now();
    let entered = traffic.step(300, 600, 0).await;
    assert_eq!(states(&entered), [Critical, Degraded, Healthy], "{place}");
    let took = traffic.health.report().since - begun;
    assert!(
        (Duration::from_secs(50)..Duration::from_secs(70)).contains(&took),
        "{place}: {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn each_step_of_an_outage_gives_its_state_and_none_flickers() {
    for seed in 0..10 {
        for per_second in [5, 10, 50] {
            scenario(seed, per_second).await;
        }
    }
}

/// On the very edge of a limit it may change, but never back within five seconds.
#[tokio::test(start_paused = true)]
async fn a_service_on_the_edge_of_a_limit_does_not_flicker() {
    for seed in 0..10 {
        let mut traffic = Traffic::new(seed, 10);
        let mut last = (Instant::now(), State::Unknown);
        let mut changes = 0;
        for _ in 0..600 {
            for (state, reason) in traffic.step(1, 600, 10).await {
                let since = traffic.health.report().since;
                if last.1 == State::Degraded {
                    assert!(since - last.0 >= Duration::from_secs(5), "{reason}");
                }
                last = (since, state);
                changes += 1;
            }
        }
        // Unguarded it is some hundreds.
        assert!(changes <= 60, "seed {seed}: {changes} changes in ten minutes");
    }
}
