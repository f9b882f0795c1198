//! What failed in a sync goes into the database, for `pipedrive errors`.

use pipedrive_service::Client;
use tower_retry_classify::RecentHistory;

use crate::store::Store;

/// What the client has noted of one run.
#[derive(Debug)]
pub(crate) struct Failures {
    history: RecentHistory,
    run: i64,
}

impl Failures {
    pub(crate) fn of(client: &Client, run: i64) -> Self {
        // What failed before the run began is not its own.
        drop(client.failures().take());
        Self { history: client.failures().clone(), run }
    }

    /// Writes down what is new. That it cannot be done is no reason to end.
    pub(crate) async fn keep(&self, store: &mut Store) {
        if let Err(error) = store.note_failures(self.run, &self.history.take()).await {
            tracing::debug!(target: "pipedrive_sync::failures", %error, "failures were not kept");
        }
    }
}
