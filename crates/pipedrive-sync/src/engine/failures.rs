//! What failed in a sync, and how the API was doing, go into the database: for `pipedrive errors` and `health`.

use std::time::Duration;

use pipedrive_service::Client;
use tokio::{sync::watch, time::Instant};
use tower_health::{Health, State};
use tower_retry_classify::RecentHistory;

use crate::store::{Store, StoreError};

/// A state that does not change is written down this often.
const SAMPLES_EVERY: Duration = Duration::from_secs(20);

/// What the client has noted of one run.
#[derive(Debug)]
pub(crate) struct Failures {
    history: RecentHistory,
    health: Option<Health>,
    /// What was written down last, and when.
    noted: Option<(State, Instant)>,
    run: i64,
    /// Set when walks are broken off.
    halted: Option<watch::Receiver<bool>>,
}

impl Failures {
    pub(crate) fn of(client: &Client, run: i64) -> Self {
        // What failed before the run began is not its own.
        drop(client.failures().take());
        let (history, health) = (client.failures().clone(), client.health().cloned());
        Self { history, health, noted: None, run, halted: None }
    }

    /// From the moment at which walks are broken off, no sample is written down: the attempts that are dropped then
    /// count as bad, and say nothing of the API.
    pub(crate) fn until(&mut self, halted: watch::Receiver<bool>) {
        self.halted = Some(halted);
    }

    /// Writes down what is new. That it cannot be done is no reason to end.
    pub(crate) async fn keep(&mut self, store: &mut Store) {
        if let Err(error) = self.try_keep(store).await {
            tracing::debug!(target: "pipedrive_sync::failures", %error, "failures were not kept");
        }
    }

    /// The same at the end, whenever the last sample was.
    pub(crate) async fn keep_last(&mut self, store: &mut Store) {
        self.noted = None;
        self.keep(store).await;
    }

    async fn try_keep(&mut self, store: &mut Store) -> Result<(), StoreError> {
        store.note_failures(self.run, &self.history.take()).await?;
        let Some(health) = &self.health else { return Ok(()) };
        if self.halted.as_ref().is_some_and(|halted| *halted.borrow()) {
            return Ok(());
        }
        let (report, now) = (health.report(), Instant::now());
        let is_news =
            self.noted.is_none_or(|(state, at)| state != report.state || now - at >= SAMPLES_EVERY);
        if is_news && report.calls > 0 {
            store.note_health(self.run, &report).await?;
            self.noted = Some((report.state, now));
        }
        Ok(())
    }
}
