//! The day's lease: nothing is spent that is not on the disk as leased.
//!
//! Where a ledger shares the budgets, it grants, and the disk only notes what was spent.

use std::future::{self, Future};

use jiff::{SignedDuration, Timestamp};
use pipedrive_service::{Budgets, Client, Config, Priority, config::RateLimiting};
use tower_ratelimit_tokens::{Lease, Limiter};

use crate::{
    store::{Settled, Store, StoreError},
    wall,
};

/// Tells a limiter what a database knows of the day: the limit that the server named last, and what counts as spent.
pub(crate) fn take_up(
    config: &Config,
    limiter: &Limiter,
    budgets: &Budgets,
    known_limit: Option<u64>,
    leased: u64,
) {
    let told = config.is_set("account.plan") && config.is_set("account.seats");
    if let Some(limit) = known_limit.filter(|_| !told) {
        // Else a day of more than the default would look spent.
        limiter.set_limit(budgets.day, limit);
    }
    if leased > 0 {
        limiter.set_used(budgets.day, leased);
    }
}

/// Leases the day's tokens from the database to the limiter, some at a time.
#[derive(Debug)]
pub struct DayLease {
    limiter: Limiter,
    limiting: RateLimiting,
    priority: Priority,
    /// None where no budget is kept; then nothing is written either.
    lease: Option<Lease>,
    /// A ledger grants, and knows what was spent before.
    shared: bool,
    chunk: Option<u64>,
    /// What is on the disk: a day, and tokens of it.
    written: (String, u64),
}

impl DayLease {
    /// Takes up what the database says about the day: all that was leased counts as spent until the
    /// server says otherwise.
    ///
    /// `chunk` is how many tokens are leased at a time. Default: one hundredth of the day's limit, and
    /// at least 100; the limiter may ask for more.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn open(
        client: &Client,
        chunk: Option<u64>,
        store: &mut Store,
    ) -> Result<Self, StoreError> {
        let limiter = client.limiter().clone();
        let lease = client.lease();
        let mut written = (String::new(), 0);
        let known_limit = store.known_limit().await?;
        let today = lease.as_ref().map(Lease::day);
        if let Some(today) = today {
            let leased = store.budget(&today.to_string()).await?.map_or(0, |row| row.leased);
            written = (today.to_string(), leased);
        }
        let shared = client.config().rate_limiting.ledger.is_some();
        let spent = if shared { 0 } else { written.1 };
        take_up(client.config(), &limiter, client.budgets(), known_limit, spent);
        if let (Some(lease), Some(today), 1..) = (&lease, today, spent) {
            lease.grant_for(today, spent);
        }
        let (limiting, priority) = (client.config().rate_limiting.clone(), client.priority());
        Ok(Self { limiter, limiting, priority, lease, shared, chunk, written })
    }

    /// The day's limit as the limiter knows it now.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limiter.status().budget("day").map_or(u64::MAX, |day| day.limit)
    }

    /// Of the limit, what this client must leave for more urgent calls.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.limiting.kept(self.limit(), self.priority)
    }

    /// Tokens spent today, as the limiter knows it now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.lease.as_ref().map_or(0, Lease::used)
    }

    /// Tokens left today for this client.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.limit().saturating_sub(self.kept()).saturating_sub(self.used())
    }

    /// When the day's tokens come back, if that is known.
    pub(crate) fn resets_at(&self) -> Option<Timestamp> {
        let after = self.limiter.status().budget("day").and_then(|day| day.resets_in);
        after.and_then(|after| SignedDuration::try_from(after).ok()).map(wall::after)
    }

    fn chunk(&self) -> u64 {
        self.chunk.unwrap_or_else(|| (self.limit() / 100).max(100))
    }

    /// Waits until more is wanted than was granted, and says how much in all. May be dropped at any time.
    pub(crate) async fn wanted(&self) -> u64 {
        match &self.lease {
            Some(lease) if !self.shared => lease.wanted().await,
            _ => future::pending().await,
        }
    }

    /// Writes a larger lease and only then grants it.
    pub(crate) async fn extend(
        &mut self,
        wanted: u64,
        store: &mut Store,
    ) -> Result<(), StoreError> {
        let Some(lease) = &self.lease else { return Ok(()) };
        let today = lease.day();
        let day = today.to_string();
        if day != self.written.0 {
            let leased = store.budget(&day).await?.map_or(0, |row| row.leased);
            self.written = (day.clone(), leased);
        }
        let limit = self.limit();
        let total =
            wanted.max(lease.used().saturating_add(self.chunk()).min(limit)).max(self.written.1);
        if total > self.written.1 {
            store.lease(&day, total, Some(limit)).await?;
            self.written.1 = total;
            tracing::debug!(target: "pipedrive_sync::lease", day, total, "leased");
        }
        lease.grant_for(today, total);
        Ok(())
    }

    /// What goes into the transaction of a page: what was spent, and a smaller lease where the server has
    /// shown that far less was spent than leased (after a kill, all that was leased counts as spent).
    pub(crate) fn settle(&mut self) -> Option<Settled> {
        let lease = self.lease.as_ref()?;
        let today = lease.day();
        if self.shared {
            let used = lease.used();
            return Some(self.note(today.to_string(), used));
        }
        if today.to_string() != self.written.0 {
            // A day has just begun: nothing of it is leased, so nothing of it is spent.
            return None;
        }
        let (used, limit) = (lease.used(), self.limit());
        let step = self.chunk().max(limit / 100).max(100);
        let mut leased = None;
        if self.written.1 > used.saturating_add(2 * step) {
            // First the limiter, then the disk: between the two the disk says too much, never too little.
            let lower = used + step;
            if lease.grant_for(today, lower) && lease.used() <= lower {
                self.written.1 = lower;
                leased = Some(lower);
            } else {
                lease.grant_for(today, self.written.1);
            }
        }
        Some(Settled { day: self.written.0.clone(), used, leased, limit })
    }

    /// What a ledger has granted and this process has spent, for who looks at the database; and for a later run
    /// without a ledger, until the server tells it more.
    fn note(&mut self, day: String, used: u64) -> Settled {
        let before = if day == self.written.0 { self.written.1 } else { 0 };
        let leased = before.max(used);
        self.written = (day.clone(), leased);
        Settled { day, used, leased: Some(leased), limit: self.limit() }
    }

    /// Gives back what was leased and not spent. What is still under way counts as spent.
    ///
    /// # Errors
    ///
    /// If the database cannot be written; then it says too much, never too little.
    pub async fn close(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let Some(lease) = &self.lease else { return Ok(()) };
        let (today, used) = (lease.day(), lease.used());
        if self.shared {
            let noted = self.note(today.to_string(), used);
            return store.lease(&noted.day, self.written.1, Some(noted.limit)).await;
        }
        if today.to_string() != self.written.0 || used >= self.written.1 {
            return Ok(());
        }
        // First the limiter, which from now on grants nothing more, then the disk.
        if lease.grant_for(today, used) && lease.used() <= used {
            store.lease(&self.written.0, used, Some(self.limit())).await?;
            self.written.1 = used;
        }
        Ok(())
    }

    /// Runs something that sends requests, and leases what they want while they wait.
    ///
    /// # Errors
    ///
    /// If a lease cannot be written.
    pub async fn during<F: Future>(
        &mut self,
        store: &mut Store,
        future: F,
    ) -> Result<F::Output, StoreError> {
        let mut future = std::pin::pin!(future);
        loop {
            let wanted = tokio::select! {
                biased;
                output = &mut future => return Ok(output),
                wanted = self.wanted() => wanted,
            };
            self.extend(wanted, store).await?;
        }
    }
}
