//! What a sync has seen of the API: what failed, and how it was doing; for `pipedrive errors` and `health`.

use std::time::Duration;

use pipedrive_service::{Client, host::Host};
use tokio::time::Instant;
use tower_health::{Health, State};
use tower_retry_classify::RecentHistory;

use crate::store::{Store, StoreError};

/// A state that does not change is written down this often.
const SAMPLES_EVERY: Duration = Duration::from_secs(20);

/// What the client has noted of one run.
#[derive(Debug)]
pub(crate) struct Seen {
    history: RecentHistory,
    health: Option<Health>,
    host: Option<Host>,
    /// What was written down last, and when.
    noted: Option<(State, Instant)>,
    run: i64,
}

impl Seen {
    pub(crate) fn of(client: &Client, run: i64) -> Self {
        // What failed before the run began is not its own.
        drop(client.failures().take());
        let (history, health) = (client.failures().clone(), client.health().cloned());
        let host = client.host().cloned();
        Self { history, health, host, noted: None, run }
    }

    /// Writes down what has failed since.
    pub(crate) async fn keep_failures(&self, store: &mut Store) -> Result<(), StoreError> {
        store.note_failures(self.run, &self.history.take()).await
    }

    /// Writes down how the API is doing: if its state is another, every now and then, and at the end.
    pub(crate) async fn keep_health(
        &mut self,
        store: &mut Store,
        last: bool,
        halted: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), StoreError> {
        let Some(health) = &self.health else { return Ok(()) };
        let (report, now) = (health.report(), Instant::now());
        let host = self.host.as_ref().map(Host::status);
        // In this order: what is broken off is broken off after the flag is set.
        if halted() {
            return Ok(());
        }
        let is_news =
            self.noted.is_none_or(|(state, at)| state != report.state || now - at >= SAMPLES_EVERY);
        if (last || is_news) && report.calls > 0 {
            store.note_health(self.run, &report).await?;
            if let Some(host) = &host {
                store.note_host(host).await?;
            }
            self.noted = Some((report.state, now));
        }
        Ok(())
    }
}
