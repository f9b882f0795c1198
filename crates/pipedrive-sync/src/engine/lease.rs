//! The day's lease: nothing is spent that is not on the disk as leased.

use std::future::Future;

use tower_ratelimit_tokens::{BudgetId, Lease, Limiter};

use crate::store::{Settled, Store, StoreError};

/// Leases the day's tokens from the database to the limiter, some at a time.
#[derive(Debug)]
pub struct DayLease {
    limiter: Limiter,
    lease: Lease,
    day: BudgetId,
    chunk: Option<u64>,
    granted: Granted,
}

/// What is on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Granted {
    day: String,
    tokens: u64,
}

impl DayLease {
    /// Takes up what the database says about the day: all that was leased counts as spent until the
    /// server says otherwise.
    ///
    /// `chunk` is how many tokens are leased at a time. Default: one hundredth of the day's limit, and
    /// at least 100.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn open(limiter: Limiter, day: BudgetId, chunk: Option<u64>, store: &mut Store) -> Result<Self, StoreError> {
        let lease = limiter.lease(day);
        let mut this = Self { limiter, lease, day, chunk, granted: Granted::default() };
        let today = this.lease.day().to_string();
        let leased = store.budget(&today).await?.map_or(0, |row| row.leased);
        if leased > 0 {
            this.limiter.set_used(day, leased);
            this.lease.grant(leased);
        }
        this.granted = Granted { day: today, tokens: leased };
        Ok(this)
    }

    /// The day's limit as the limiter knows it now.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limiter.status().budget(self.day).map_or(0, |budget| budget.limit)
    }

    /// Tokens spent today, as the limiter knows it now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lease.used()
    }

    fn chunk(&self) -> u64 {
        self.chunk.unwrap_or_else(|| (self.limit() / 100).max(100)).max(1)
    }

    /// Waits until more is wanted than was granted, and says how much in all.
    pub async fn wanted(&self) -> u64 {
        self.lease.wanted().await
    }

    /// Writes a larger lease and only then grants it.
    ///
    /// # Errors
    ///
    /// If the database cannot be written; then nothing is granted.
    pub async fn extend(&mut self, wanted: u64, store: &mut Store) -> Result<(), StoreError> {
        let day = self.lease.day().to_string();
        if day != self.granted.day {
            let leased = store.budget(&day).await?.map_or(0, |row| row.leased);
            self.granted = Granted { day: day.clone(), tokens: leased };
        }
        let limit = self.limit();
        // Whole chunks, not beyond the day's limit unless the server itself says that more was spent.
        let total = wanted.saturating_add(self.chunk()).min(limit.max(wanted)).max(self.granted.tokens);
        if total > self.granted.tokens {
            store.lease(&day, total, Some(limit)).await?;
            self.granted.tokens = total;
            tracing::debug!(target: "pipedrive_sync::lease", day, total, "leased");
        }
        self.lease.grant(total);
        Ok(())
    }

    /// What goes into the transaction of a page: what was spent, and a smaller lease where the server has
    /// shown that far less was spent than leased (after a kill, all that was leased counts as spent).
    pub fn settle(&mut self) -> Settled {
        let day = self.lease.day().to_string();
        let used = self.lease.used();
        let chunk = self.chunk();
        let mut leased = None;
        if day == self.granted.day && self.granted.tokens > used.saturating_add(chunk.saturating_mul(2)) {
            // First the limiter, then the disk: between the two the disk says too much, never too little.
            let lower = used + chunk;
            self.lease.grant(lower);
            if self.lease.used() <= lower {
                self.granted.tokens = lower;
                leased = Some(lower);
            } else {
                self.lease.grant(self.granted.tokens);
            }
        }
        Settled { day, used, leased, limit: self.limit() }
    }

    /// Runs something that sends requests, and leases what they want while they wait.
    ///
    /// # Errors
    ///
    /// If a lease cannot be written.
    pub async fn during<F: Future>(&mut self, store: &mut Store, future: F) -> Result<F::Output, StoreError> {
        let mut future = std::pin::pin!(future);
        loop {
            let wanted = tokio::select! {
                biased;
                output = &mut future => return Ok(output),
                wanted = self.lease.wanted() => wanted,
            };
            self.extend(wanted, store).await?;
        }
    }
}
