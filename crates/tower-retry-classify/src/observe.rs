//! Everything that is counted or kept about calls.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::{
    Class, ErrorPattern, ErrorStats, Event, History, Learning, RetryRecord,
    error_log::{ErrorLog, MINUTES},
    error_stats::patterns,
    http::wall_clock,
    learn::Learner,
    stats::Counters,
};

/// What all clones of a policy share of it.
pub(crate) struct Observer {
    pub(crate) counters: Counters,
    origin: Instant,
    log: Mutex<ErrorLog>,
    learner: Option<Mutex<Learner>>,
    history: Option<Box<dyn History + Send + Sync>>,
    wall: fn() -> SystemTime,
}

impl Observer {
    pub(crate) fn new() -> Self {
        Self {
            counters: Counters::default(),
            origin: Instant::now(),
            log: Mutex::default(),
            learner: None,
            history: None,
            wall: wall_clock,
        }
    }

    pub(crate) fn set_history(&mut self, history: Box<dyn History + Send + Sync>) {
        self.history = Some(history);
    }

    pub(crate) fn set_wall(&mut self, wall: fn() -> SystemTime) {
        self.wall = wall;
    }

    pub(crate) fn set_learning(&mut self, learning: Learning) {
        self.learner = Some(Mutex::new(Learner::new(learning)));
    }

    /// An attempt failed, or made good an earlier one.
    pub(crate) fn note(&self, endpoint: &str, class: Class, attempt: u32, event: Event) {
        let now = self.origin.elapsed();
        self.log().note(now, endpoint, class, event);
        if let Some(history) = &self.history {
            let at = (self.wall)();
            history.record(&RetryRecord { at, endpoint: endpoint.into(), class, attempt, event });
        }
    }

    pub(crate) const fn learns(&self) -> bool {
        self.learner.is_some()
    }

    /// By what the first delay is multiplied.
    pub(crate) fn factor(&self, endpoint: &str, class: Class) -> f64 {
        let now = self.origin.elapsed();
        self.learner.as_ref().map_or(1.0, |learner| {
            let mut learner = learner.lock().unwrap_or_else(PoisonError::into_inner);
            learner.failed(now, endpoint, class)
        })
    }

    pub(crate) fn errors(&self, window: Duration) -> ErrorStats {
        let (now, minutes) = (self.origin.elapsed(), minutes(window));
        // The lock, which failing calls take, is given back before the sums are drawn up.
        let cells = self.log().cells(now, minutes);
        ErrorStats::of(&cells, minutes)
    }

    pub(crate) fn patterns(&self, window: Duration) -> Vec<ErrorPattern> {
        let (now, minutes) = (self.origin.elapsed(), minutes(window));
        let cells = self.log().cells(now, minutes);
        patterns(&cells, minutes)
    }

    fn log(&self) -> std::sync::MutexGuard<'_, ErrorLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole minutes, from 1 to 60.
fn minutes(window: Duration) -> u64 {
    window.as_secs().div_ceil(60).clamp(1, MINUTES)
}

impl Default for Observer {
    fn default() -> Self {
        Self::new()
    }
}
