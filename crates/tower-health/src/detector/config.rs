use std::{fmt, sync::Arc, time::Duration};

use super::{
    FailureDetector, Listener,
    beats::{Alarm, Phi},
    target::Rules,
};
use crate::{ConfigError, TargetChange, TargetState, config::DAY, error::Problems};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Configures a [`FailureDetector`]; see [`FailureDetector::builder`].
///
/// | setting | default |
/// | --- | --- |
/// | [`heartbeat_interval`](Self::heartbeat_interval) | 30 s |
/// | [`misses`](Self::misses) | 3 |
/// | [`phi`](Self::phi) | not used |
/// | [`failure_threshold`](Self::failure_threshold) | 3 in a row |
/// | [`recover_after`](Self::recover_after) | 3 signs of life |
/// | [`degraded_at`](Self::degraded_at) | 10 % failures, whatever the latency |
/// | [`min_calls`](Self::min_calls) | 10 |
/// | [`window`](Self::window) | 5 minutes |
/// | [`max_targets`](Self::max_targets) | 10,000 |
/// | [`forget_after`](Self::forget_after) | a day |
#[must_use]
pub struct DetectorBuilder<I = ()> {
    name: Arc<str>,
    interval: Duration,
    misses: u32,
    phi: Option<f64>,
    pause: Option<Duration>,
    least_deviation: Option<Duration>,
    failures: u32,
    recover_after: u32,
    window: Duration,
    min_calls: u64,
    error_rate: f64,
    latency: Option<Duration>,
    max_targets: usize,
    forget_after: Option<Duration>,
    listeners: Vec<Listener>,
    info: std::marker::PhantomData<fn(I)>,
}

impl<I> DetectorBuilder<I> {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            interval: Duration::from_secs(30),
            misses: 3,
            phi: None,
            pause: None,
            least_deviation: None,
            failures: 3,
            recover_after: 3,
            window: Duration::from_secs(300),
            min_calls: 10,
            error_rate: 0.1,
            latency: None,
            max_targets: 10_000,
            forget_after: Some(DAY),
            listeners: Vec::new(),
            info: std::marker::PhantomData,
        }
    }

    /// How often a target promises to beat. Default: 30 s; 1 ms to a day.
    pub const fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// So many intervals of silence make a target unhealthy, two thirds of that degraded.
    /// Default: 3; 1 to 1,000. With 1, every beat that is a little late is an alarm.
    pub const fn misses(mut self, beats: u32) -> Self {
        self.misses = beats;
        self
    }

    /// Judges silence by phi accrual and not by misses: a target is unhealthy when the chance
    /// that its next beat comes later than now falls below one in 10 to the `threshold`, and
    /// degraded at half of it. Default: not used. 1 to 100; 8 is what others use.
    ///
    /// So a target that beats regularly is found sooner than an irregular one. It needs some
    /// beats to learn from: at first the promised interval is assumed, give or take a quarter.
    pub const fn phi(mut self, threshold: f64) -> Self {
        self.phi = Some(threshold);
        self
    }

    /// With [`phi`](Self::phi): a silence that is forgiven on top, as for a beat that got lost.
    /// Default: one interval; at most a day.
    pub const fn acceptable_pause(mut self, pause: Duration) -> Self {
        self.pause = Some(pause);
        self
    }

    /// With [`phi`](Self::phi): beats are never taken for more regular than this.
    /// Default: a tenth of the interval; above zero and at most a day.
    pub const fn least_deviation(mut self, deviation: Duration) -> Self {
        self.least_deviation = Some(deviation);
        self
    }

    /// So many failed operations in a row make a target unhealthy, though it beats. Default: 3; at least 1.
    pub const fn failure_threshold(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// What was unhealthy is whole again with this sign of life, heartbeat or success; until
    /// then it is recovering, and any failure makes it unhealthy again. Default: the 3rd; at least 1.
    pub const fn recover_after(mut self, signs: u32) -> Self {
        self.recover_after = signs;
        self
    }

    /// Degraded from this part of failed operations (above 0, at most 1), or above this
    /// average latency (above zero, at most a day; `None`: whatever the latency).
    /// It ends a fifth below the limit. Default: 0.1 and `None`.
    pub fn degraded_at(mut self, error_rate: f64, latency: impl Into<Option<Duration>>) -> Self {
        self.error_rate = error_rate;
        self.latency = latency.into();
        self
    }

    /// So many operations must be in the window before their failures and latency are
    /// believed. Default: 10; at least 1.
    pub const fn min_calls(mut self, calls: u64) -> Self {
        self.min_calls = calls;
        self
    }

    /// How far back operations are looked at, in ten steps. Default: 5 minutes; 10 ms to a day.
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How many targets there may be; each takes about 900 bytes. Default: 10,000; 1 to 1,000,000.
    pub const fn max_targets(mut self, targets: usize) -> Self {
        self.max_targets = targets;
        self
    }

    /// What has been unhealthy for so long is deregistered, so that the names of the dead do not
    /// fill the table. `None`: never. Default: a day; above zero and at most a week.
    pub fn forget_after(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.forget_after = time.into();
        self
    }

    /// Calls `listener` at every change of state of a target, outside every lock, in the thread
    /// that found it. It should be quick: send to a channel if there is work to do.
    ///
    /// A panic of a listener reaches whoever found the change, and the changes found with it
    /// are not told.
    pub fn on_change(mut self, listener: impl Fn(&TargetChange) + Send + Sync + 'static) -> Self {
        self.listeners.push(Box::new(listener));
        self
    }

    /// Like [`on_change`](Self::on_change), but only when a target became unhealthy.
    pub fn on_failure(self, listener: impl Fn(&TargetChange) + Send + Sync + 'static) -> Self {
        self.on_change(move |change| {
            if change.to == TargetState::Unhealthy {
                listener(change);
            }
        })
    }

    /// Builds the detector.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work.
    pub fn build(self) -> Result<FailureDetector<I>, ConfigError> {
        let mut problems = Problems::default();
        let within_a_day = |time: Duration| !time.is_zero() && time <= DAY;
        let Self { interval, misses, failures, recover_after, window, min_calls, .. } = self;
        let Self { error_rate, latency, max_targets, forget_after, .. } = self;
        let name = &self.name;
        problems.unless(!name.is_empty(), "name", name, "any text but an empty one");
        let milli = Duration::from_millis(1);
        let right = (milli..=DAY).contains(&interval);
        problems.unless(right, "heartbeat_interval", interval, "1 ms to a day");
        problems.unless((1..=1_000).contains(&misses), "misses", misses, "1 to 1,000");
        let pause = self.pause.unwrap_or(interval);
        let least_deviation = self.least_deviation.unwrap_or(interval / 10);
        if let Some(threshold) = self.phi {
            problems.unless((1.0..=100.0).contains(&threshold), "phi", threshold, "1 to 100");
        }
        let given = self.pause.is_none_or(|pause| pause <= DAY);
        problems.unless(given, "acceptable_pause", pause, "at most a day");
        let given = self.least_deviation.is_none_or(within_a_day);
        problems.unless(given, "least_deviation", least_deviation, "above zero, at most a day");
        problems.unless(failures > 0, "failure_threshold", failures, "at least 1");
        problems.unless(recover_after > 0, "recover_after", recover_after, "at least 1");
        let right = error_rate > 0.0 && error_rate <= 1.0;
        problems.unless(right, "degraded_at.error_rate", error_rate, "above 0, at most 1");
        if let Some(limit) = latency {
            let allowed = "above zero, at most a day, or none";
            problems.unless(within_a_day(limit), "degraded_at.latency", limit, allowed);
        }
        problems.unless(min_calls > 0, "min_calls", min_calls, "at least 1");
        let right = (Duration::from_millis(10)..=DAY).contains(&window);
        problems.unless(right, "window", window, "10 ms to a day");
        let right = (1..=1_000_000).contains(&max_targets);
        problems.unless(right, "max_targets", max_targets, "1 to 1,000,000");
        if let Some(time) = forget_after {
            let right = !time.is_zero() && time <= WEEK;
            problems.unless(right, "forget_after", time, "above zero, at most a week, or none");
        }
        problems.into_result("failure detector")?;
        let alarm = match self.phi {
            Some(threshold) => Alarm::Phi(Phi::new(threshold, pause, least_deviation)),
            None => Alarm::Misses(misses),
        };
        let rules = Rules {
            interval,
            alarm,
            failures,
            recover_after,
            window,
            min_calls,
            error_rate,
            latency,
        };
        Ok(FailureDetector::new(self.name, rules, max_targets, forget_after, self.listeners))
    }
}

impl<I> fmt::Debug for DetectorBuilder<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetectorBuilder")
            .field("name", &self.name)
            .field("heartbeat_interval", &self.interval)
            .field("misses", &self.misses)
            .field("phi", &self.phi)
            .finish_non_exhaustive()
    }
}
