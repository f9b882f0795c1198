use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Exchange, Ledger, LedgerError, Reply, state::State};

/// A ledger in this process: for several limiters that share budgets, and for
/// tests. Its clock is Tokio's.
///
/// # What is shared
///
/// All clones are one ledger.
#[derive(Clone, Debug)]
pub struct MemoryLedger {
    state: Arc<Mutex<State>>,
    started: Instant,
    /// Instead of Tokio's clock; for tests.
    clock: Option<u64>,
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLedger {
    /// A ledger that has granted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let epoch = format!("{:016x}", fastrand::u64(..));
        let state = Arc::new(Mutex::new(State::new(0, &epoch, false)));
        Self { state, started: Instant::now(), clock: None }
    }

    /// Forgets everything, as a server that was started anew. For tests: the
    /// ledger waits then as one does that lost its memory.
    pub fn forget(&self) {
        let epoch = format!("{:016x}", fastrand::u64(..));
        let now = self.now();
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::new(now, &epoch, true);
    }

    #[doc(hidden)]
    #[must_use]
    pub fn at(mut self, micros: u64) -> Self {
        self.clock = Some(micros);
        self
    }

    /// Microseconds; never 0.
    fn now(&self) -> u64 {
        if let Some(now) = self.clock {
            return now;
        }
        let passed = self.started.elapsed() + Duration::from_secs(1_000);
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Ledger for MemoryLedger {
    async fn exchange(&self, exchange: &Exchange) -> Result<Reply, LedgerError> {
        let now = self.now();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).exchange(now, exchange)
    }
}
