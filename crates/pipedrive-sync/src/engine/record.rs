//! What a sync leaves behind besides rows, for the commands that ask about it: the limits, the circuit, what failed, and
//! how the API was doing.

use std::fmt;

use tokio::sync::watch;

use super::{Job, circuits::Kept, seen::Seen};
use crate::{
    exit::Failure,
    limits::{Camera, kept_picture},
    store::{Store, StoreError},
    wall,
};

/// Writes it all down.
pub(crate) struct Record {
    limits: Box<dyn Fn() -> String + Send + Sync>,
    circuit: Kept,
    seen: Seen,
    /// Set when work is broken off. The attempts that are dropped then count as failures and say nothing of the API, so
    /// nothing is written down of circuit and health from that moment on.
    halted: watch::Receiver<bool>,
}

impl Record {
    /// Takes up what the last sync has left.
    pub(crate) async fn take_up(job: &mut Job, run: i64) -> Result<Self, Failure> {
        let circuit = Kept::take_up(&job.client, &mut job.store).await?;
        let camera = Camera::of(&job.client)?.with_ledger(job.ledger.clone());
        let command = job.command;
        let limits = move || kept_picture(run, command, camera.take(wall::exact()));
        let seen = Seen::of(&job.client, run);
        Ok(Self { limits: Box::new(limits), circuit, seen, halted: job.stop.clone() })
    }

    /// From here on another flag breaks work off.
    pub(crate) fn until(&mut self, halted: watch::Receiver<bool>) {
        self.halted = halted;
    }

    /// Writes down what is news.
    pub(crate) async fn keep(&mut self, store: &mut Store) {
        self.write(store, false).await;
    }

    /// The same at the end, when all is news.
    pub(crate) async fn keep_last(&mut self, store: &mut Store) {
        self.write(store, true).await;
    }

    /// That something cannot be written is no reason to end: what matters fails by itself.
    async fn write(&mut self, store: &mut Store, last: bool) {
        let flag = self.halted.clone();
        let halted = || *flag.borrow();
        said("limits", store.note_limits(&(self.limits)()).await);
        said("circuit", self.circuit.keep(store, &halted).await);
        said("failures", self.seen.keep_failures(store).await);
        said("health", self.seen.keep_health(store, last, &halted).await);
    }
}

fn said(what: &str, written: Result<(), StoreError>) {
    if let Err(error) = written {
        tracing::debug!(target: "pipedrive_sync::record", %error, what, "not written down");
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("circuit", &self.circuit).finish_non_exhaustive()
    }
}
