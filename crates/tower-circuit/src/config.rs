use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    Circuit, ConfigError, Verdict,
    breaker::{Breaker, Ratio, Rules},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Configures a [`Circuit`]; see [`Circuit::builder`].
///
/// | setting | default | where the figure is from |
/// | --- | --- | --- |
/// | [`consecutive`](Self::consecutive) | 5, unless only a ratio is set | the common default of the programs this replaces |
/// | [`ratio`](Self::ratio) | none | |
/// | [`open_for`](Self::open_for) | 60 s | a common recovery time-out |
/// | [`half_open`](Self::half_open) | 3 trials at once, 1 success | the same |
/// | [`cancelled`](Self::cancelled) | [`Verdict::Failure`] | a time-out further out drops the call |
#[derive(Clone, Debug)]
#[must_use]
pub struct CircuitBuilder {
    name: Arc<str>,
    consecutive: Option<u32>,
    ratio: Option<Ratio>,
    open_for: Duration,
    trials: u32,
    successes: u32,
    cancelled: Verdict,
}

impl CircuitBuilder {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            consecutive: None,
            ratio: None,
            open_for: Duration::from_secs(60),
            trials: 3,
            successes: 1,
            cancelled: Verdict::Failure,
        }
    }

    /// Opens after so many failures in a row. At least 1. Default: 5 if no ratio is set, else off.
    ///
    /// Set together with [`ratio`](Self::ratio), whichever comes first opens the circuit.
    pub const fn consecutive(mut self, failures: u32) -> Self {
        self.consecutive = Some(failures);
        self
    }

    /// Opens when at least `ratio` of the calls within `window` failed and there
    /// were at least `min_calls` of them. Judged at every outcome, so the call that
    /// makes enough of them may be a success. Default: off.
    ///
    /// `ratio` lies above 0 and is at most 1; `window` lies between 10 ms and a day;
    /// `min_calls` is at least 1. The window slides in ten steps: at any time it
    /// covers the running tenth and the nine before it.
    pub const fn ratio(mut self, ratio: f64, window: Duration, min_calls: u64) -> Self {
        self.ratio = Some(Ratio { ratio, window, min_calls });
        self
    }

    /// How long the circuit stays open before it lets a trial through. Default: 60 s.
    /// Above zero and at most a day.
    pub const fn open_for(mut self, open_for: Duration) -> Self {
        self.open_for = open_for;
        self
    }

    /// While half-open, at most `trials` calls are on their way at once, and
    /// `successes` of them close the circuit. Default: 3 and 1. Both at least 1.
    pub const fn half_open(mut self, trials: u32, successes: u32) -> Self {
        self.trials = trials;
        self.successes = successes;
        self
    }

    /// What a call counts for that was dropped before its answer. Default: [`Verdict::Failure`],
    /// since a time-out further out shows itself in no other way.
    ///
    /// With [`Verdict::Ignore`] a dropped trial gives its place back and the circuit
    /// stays half-open. Choose it when every time-out lies inside this layer.
    pub const fn cancelled(mut self, verdict: Verdict) -> Self {
        self.cancelled = verdict;
        self
    }

    /// Builds the circuit. Clones of it, and all layers made with it, share one state.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work.
    pub fn build(self) -> Result<Circuit, ConfigError> {
        let mut faults = Vec::new();
        let mut check = |right: bool, fault: &dyn Fn() -> String| {
            if !right {
                faults.push(fault());
            }
        };
        check(!self.name.is_empty(), &|| "name is empty".into());
        check(self.consecutive != Some(0), &|| "consecutive must be at least 1".into());
        if let Some(Ratio { ratio, window, min_calls }) = self.ratio {
            check(ratio > 0.0 && ratio <= 1.0, &|| {
                format!("ratio must lie above 0 and be at most 1, not {ratio}")
            });
            check((Duration::from_millis(10)..=DAY).contains(&window), &|| {
                format!("ratio window must lie between 10 ms and a day, not {window:?}")
            });
            check(min_calls > 0, &|| "minimum calls of the ratio must be at least 1".into());
        }
        check(!self.open_for.is_zero() && self.open_for <= DAY, &|| {
            format!("open time must lie above zero and within a day, not {:?}", self.open_for)
        });
        check(self.trials > 0, &|| "half-open trials must be at least 1".into());
        check(self.successes > 0, &|| "half-open successes must be at least 1".into());
        if !faults.is_empty() {
            return Err(ConfigError { faults });
        }
        let consecutive = match (self.consecutive, self.ratio) {
            (None, None) => Some(5),
            (given, _) => given,
        };
        let rules = Rules {
            consecutive,
            ratio: self.ratio,
            open_for: self.open_for,
            trials: self.trials,
            successes: self.successes,
        };
        Ok(Circuit::from_breaker(self.name, Breaker::new(rules, Instant::now()), self.cancelled))
    }
}
