//! When a silence is long, and when it is too long. Free of clocks and locks.

use std::time::Duration;

use tokio::time::Instant;

use super::phi;
use crate::config::DAY;

/// About so many of the newest intervals are remembered; older ones fade.
const HORIZON: f64 = 100.0;

/// How the silence is judged. What the builder has checked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Alarm {
    /// So many intervals without a beat.
    Misses(u32),
    /// See [`Phi`].
    Phi(Phi),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Phi {
    /// Deviations beyond the mean at which the threshold is reached, and half of it.
    dead: f64,
    late: f64,
    /// A silence that is forgiven on top.
    pause: Duration,
    /// Intervals are never taken for more regular than this.
    least_deviation: Duration,
}

impl Phi {
    pub(crate) fn new(threshold: f64, pause: Duration, least_deviation: Duration) -> Self {
        let [dead, late] = [threshold, threshold / 2.0].map(phi::deviations);
        Self { dead, late, pause, least_deviation }
    }
}

/// How long a silence may last: until it is long, and until it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spans {
    pub(crate) late: Duration,
    pub(crate) dead: Duration,
}

/// What is known of the beats of one target.
#[derive(Clone, Debug)]
pub(crate) struct Beats {
    last: Option<Instant>,
    /// Seconds.
    mean: f64,
    variance: f64,
    /// How many intervals the mean stands for, up to [`HORIZON`].
    weight: f64,
    spans: Spans,
}

impl Beats {
    pub(crate) fn new(interval: Duration, alarm: Alarm) -> Self {
        let mean = interval.as_secs_f64();
        // Before anything is known: as promised, give or take a quarter.
        let mut beats = Self {
            last: None,
            mean,
            variance: (mean / 4.0).powi(2),
            weight: 2.0,
            spans: Spans { late: interval, dead: interval },
        };
        beats.spans = beats.spans_by(interval, alarm);
        beats
    }

    /// A beat came. An interval so long that it ended in an alarm teaches nothing: it was an outage.
    pub(crate) fn beat(&mut self, now: Instant, interval: Duration, alarm: Alarm) {
        let Some(last) = self.last else {
            self.last = Some(now);
            return;
        };
        let passed = now.saturating_duration_since(last);
        self.last = Some(last.max(now));
        if passed >= self.spans.dead {
            return;
        }
        self.weight = (self.weight + 1.0).min(HORIZON);
        // Divisions are what a beat would cost most; this has none once it has learned.
        let share = if self.weight < HORIZON { 1.0 / self.weight } else { 1.0 / HORIZON };
        let seconds = passed.as_secs() as f64 + f64::from(passed.subsec_nanos()) * 1e-9;
        let difference = seconds - self.mean;
        let step = share * difference;
        self.mean += step;
        self.variance = (1.0 - share) * (self.variance + difference * step);
        if let Alarm::Phi(_) = alarm {
            self.spans = self.spans_by(interval, alarm);
        }
    }

    fn spans_by(&self, interval: Duration, alarm: Alarm) -> Spans {
        match alarm {
            Alarm::Misses(beats) => {
                let dead = interval.saturating_mul(beats);
                // One that may miss a single beat only is never late, only dead.
                Spans { late: if beats > 1 { dead * 2 / 3 } else { dead }, dead }
            }
            Alarm::Phi(phi) => {
                let deviation = self.variance.sqrt().max(phi.least_deviation.as_secs_f64());
                let span = |deviations: f64| {
                    let seconds =
                        (self.mean + deviations * deviation).clamp(0.0, DAY.as_secs_f64());
                    // Nobody is suspected before the interval that was promised has passed.
                    (Duration::from_nanos((seconds * 1e9) as u64) + phi.pause).max(interval)
                };
                Spans { late: span(phi.late), dead: span(phi.dead) }
            }
        }
    }

    pub(crate) const fn spans(&self) -> Spans {
        self.spans
    }

    /// Phi after a silence of `silent`; by the misses' rule with no pause and no least deviation.
    pub(crate) fn phi(&self, silent: Duration, interval: Duration, alarm: Alarm) -> f64 {
        let (pause, least) = match alarm {
            Alarm::Phi(phi) => (phi.pause, phi.least_deviation),
            Alarm::Misses(_) => (Duration::ZERO, interval / 10),
        };
        let deviation = self.variance.sqrt().max(least.as_secs_f64());
        phi::phi((silent.saturating_sub(pause).as_secs_f64() - self.mean) / deviation)
    }

    pub(crate) fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.mean.max(0.0))
    }

    pub(crate) fn deviation(&self) -> Duration {
        Duration::from_secs_f64(self.variance.max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn phi_of(threshold: f64) -> Alarm {
        Alarm::Phi(Phi::new(threshold, Duration::ZERO, SECOND))
    }

    #[test]
    fn three_misses_are_three_intervals() {
        let beats = Beats::new(30 * SECOND, Alarm::Misses(3));
        assert_eq!(beats.spans(), Spans { late: 60 * SECOND, dead: 90 * SECOND });
        let beats = Beats::new(30 * SECOND, Alarm::Misses(1));
        assert_eq!(beats.spans(), Spans { late: 30 * SECOND, dead: 30 * SECOND });
    }

    #[test]
    fn phi_learns_how_regular_the_beats_are() {
        let (start, interval) = (Instant::now(), 30 * SECOND);
        let mut regular = Beats::new(interval, phi_of(8.0));
        let at_first = regular.spans();
        for n in 0..500 {
            regular.beat(start + n * interval, interval, phi_of(8.0));
        }
        assert!(regular.deviation() < SECOND, "{regular:?}");
        assert!(regular.spans().dead < at_first.dead && regular.spans().late < at_first.late);
        // The least deviation of one second, 5.5 times.
        let margin = regular.spans().dead - interval;
        assert!((5 * SECOND..6 * SECOND).contains(&margin), "{margin:?}");
        // The deadline is where phi reaches its threshold.
        let phi = regular.phi(regular.spans().dead, interval, phi_of(8.0));
        assert!((phi - 8.0).abs() < 0.001, "{phi}");
        let phi = regular.phi(regular.spans().late, interval, phi_of(8.0));
        assert!((phi - 4.0).abs() < 0.001, "{phi}");
    }

    #[test]
    fn an_outage_teaches_nothing() {
        let (start, interval) = (Instant::now(), 30 * SECOND);
        let mut beats = Beats::new(interval, phi_of(8.0));
        for n in 0..100 {
            beats.beat(start + n * interval, interval, phi_of(8.0));
        }
        let before = beats.spans();
        beats.beat(start + 200 * interval, interval, phi_of(8.0));
        assert_eq!(beats.spans(), before);
        // But the next interval counts from there.
        beats.beat(start + 201 * interval, interval, phi_of(8.0));
        assert!(beats.mean().abs_diff(interval) < SECOND);
    }

    #[test]
    fn a_beat_that_lost_a_race_makes_the_next_interval_no_longer() {
        let (start, interval) = (Instant::now() + 100 * SECOND, 30 * SECOND);
        let mut beats = Beats::new(interval, Alarm::Misses(3));
        for at in [0, 30, 20, 60] {
            beats.beat(start + at * SECOND, interval, Alarm::Misses(3));
        }
        // 22.5 and 37.5 to begin with, then 30, none, 30.
        assert!(beats.mean().abs_diff(24 * SECOND) < SECOND / 1_000, "{beats:?}");
    }

    #[test]
    fn old_intervals_fade() {
        let (start, interval) = (Instant::now(), 30 * SECOND);
        let mut beats = Beats::new(interval, phi_of(8.0));
        let mut now = start;
        for n in 0..1_300 {
            now += if n < 1_000 { 30 } else { 33 } * SECOND;
            beats.beat(now, interval, phi_of(8.0));
        }
        // Three horizons later a twentieth of the difference is left.
        assert!((32_800..33_000).contains(&beats.mean().as_millis()), "{beats:?}");
    }

    #[test]
    fn phi_is_told_by_misses_too_and_never_by_less_than_a_tenth() {
        let (start, interval) = (Instant::now(), 30 * SECOND);
        let mut beats = Beats::new(interval, Alarm::Misses(3));
        for n in 0..2_000 {
            beats.beat(start + n * interval, interval, Alarm::Misses(3));
        }
        // Ten deviations of a tenth after the mean.
        let phi = beats.phi(2 * interval, interval, Alarm::Misses(3));
        assert!((phi - phi::phi(10.0)).abs() < 0.01, "{phi}");
    }

    proptest! {
        /// Whatever comes, in whatever order: finite, late before dead, never before the promise.
        #[test]
        fn deadlines_stay_sane(
            steps in vec(0_u64..200_000, 0..200),
            backwards in 0_u64..50_000,
            threshold in 1.0..100.0,
        ) {
            let (start, interval) = (Instant::now() + 100 * SECOND, 30 * SECOND);
            let mut beats = Beats::new(interval, phi_of(threshold));
            let mut now = start;
            for (n, step) in steps.into_iter().enumerate() {
                now += Duration::from_millis(step);
                let racing = if n % 7 == 3 { backwards } else { 0 };
                beats.beat(now - Duration::from_millis(racing), interval, phi_of(threshold));
                let Spans { late, dead } = beats.spans();
                prop_assert!(interval <= late && late <= dead && dead <= 2 * DAY, "{:?}", beats);
                prop_assert!(beats.variance >= 0.0 && beats.mean.is_finite());
            }
        }

        /// The running figures are those of the list, as long as all of it counts.
        #[test]
        fn mean_and_deviation_are_those_of_the_intervals(steps in vec(20_000_u64..40_000, 30..90)) {
            let (start, interval) = (Instant::now(), 30 * SECOND);
            let mut beats = Beats::new(interval, Alarm::Misses(3));
            let mut now = start;
            beats.beat(now, interval, Alarm::Misses(3));
            // The two that it starts from: as promised, give or take a quarter.
            let mut list = vec![30.0 - 7.5, 30.0 + 7.5];
            for step in steps {
                now += Duration::from_millis(step);
                beats.beat(now, interval, Alarm::Misses(3));
                list.push(step as f64 / 1_000.0);
            }
            let mean = list.iter().sum::<f64>() / list.len() as f64;
            let variance = list.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / list.len() as f64;
            prop_assert!((beats.mean - mean).abs() < 1e-6);
            prop_assert!((beats.variance - variance).abs() < 1e-6, "{} {}", beats.variance, variance);
        }
    }
}
