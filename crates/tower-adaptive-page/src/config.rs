use std::{fmt, sync::Arc, time::Duration};

use crate::{
    ConfigError, MemoryProbe, PageController, Problem,
    controller::{Controller, Settings},
    detect,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Configures a [`PageController`]; see [`PageController::builder`].
#[derive(Clone)]
#[must_use]
pub struct PageControllerBuilder {
    min: u32,
    max: u32,
    server_max: u32,
    thresholds: (u8, u8, u8),
    probe: Option<Arc<dyn MemoryProbe>>,
    sample_every: Duration,
    settle: Duration,
    max_pause: Duration,
}

impl PageControllerBuilder {
    pub(crate) const fn new() -> Self {
        Self {
            min: 10,
            max: 500,
            server_max: 500,
            thresholds: (80, 85, 95),
            probe: None,
            sample_every: Duration::from_millis(250),
            settle: Duration::from_secs(5),
            max_pause: Duration::from_secs(30),
        }
    }

    /// The smallest and the largest page, in rows. Default: 10 and 500.
    pub const fn bounds(mut self, min: u32, max: u32) -> Self {
        (self.min, self.max) = (min, max);
        self
    }

    /// The most rows that the server gives at once. Pages start at this size if
    /// the bounds allow it. Default: 500.
    pub const fn server_max(mut self, rows: u32) -> Self {
        self.server_max = rows;
        self
    }

    /// Above which percentage of the limit pages shrink, an alert is raised,
    /// and no page is asked for. Pages grow below the first less 20.
    /// Default: 80, 85, 95.
    pub const fn thresholds(mut self, shrink: u8, alert: u8, pause: u8) -> Self {
        self.thresholds = (shrink, alert, pause);
        self
    }

    /// Where the memory figures come from. Default: [`detect`] without a limit
    /// of your own.
    pub fn probe(mut self, probe: impl MemoryProbe + 'static) -> Self {
        self.probe = Some(Arc::new(probe));
        self
    }

    /// How often memory is read at most; the reading is done by whichever call
    /// comes next. Default: 250 ms.
    pub const fn sample_every(mut self, interval: Duration) -> Self {
        self.sample_every = interval;
        self
    }

    /// How long pages do not grow after they shrank. Default: 5 s.
    pub const fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// How long a call waits for memory before it is refused. Default: 30 s.
    pub const fn max_pause(mut self, time: Duration) -> Self {
        self.max_pause = time;
        self
    }

    /// Builds the controller.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong.
    pub fn build(self) -> Result<PageController, ConfigError> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let (shrink, alert, pause) = self.thresholds;
        let max = self.max.min(self.server_max);
        let settings =
            Settings { min: self.min, max, shrink, alert, pause, settle: self.settle.min(DAY) };
        let probe = self.probe.unwrap_or_else(|| Arc::new(detect(None)));
        let core = Controller::new(settings);
        Ok(PageController::new(core, probe, self.sample_every, self.max_pause))
    }

    fn problems(&self) -> Vec<Problem> {
        let Self { min, max, server_max, sample_every, max_pause, .. } = *self;
        let (shrink, alert, pause) = self.thresholds;
        let mut problems = Vec::new();
        if min == 0 {
            problems.push(Problem::SmallestIsZero);
        }
        if min > max {
            problems.push(Problem::BoundsCross { min, max });
        }
        if server_max < min {
            problems.push(Problem::ServerMaximum { min, server_max });
        }
        if !(0 < shrink && shrink < alert && alert < pause && pause <= 100) {
            problems.push(Problem::Thresholds { shrink, alert, pause });
        }
        if sample_every < Duration::from_millis(1) || sample_every > HOUR {
            problems.push(Problem::SampleInterval(sample_every));
        }
        if max_pause > DAY {
            problems.push(Problem::MaxPause(max_pause));
        }
        problems
    }
}

impl fmt::Debug for PageControllerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageControllerBuilder")
            .field("min", &self.min)
            .field("max", &self.max)
            .field("server_max", &self.server_max)
            .field("thresholds", &self.thresholds)
            .field("sample_every", &self.sample_every)
            .field("settle", &self.settle)
            .field("max_pause", &self.max_pause)
            .finish_non_exhaustive()
    }
}
