//! The circuits of a sync: taken up where the last one left them, kept, and reset when somebody asks for it.

use pipedrive_service::{Client, circuits::ApiCircuits};
use tower_circuit::{Mode, Snapshot, State};

use crate::{
    store::{Store, StoreError},
    wall,
};

/// Keeps the database and the circuits in step.
#[derive(Debug)]
pub(crate) struct Kept {
    circuits: ApiCircuits,
    /// As they were last written down.
    noted: Vec<Snapshot>,
}

impl Kept {
    /// Takes up open circuits: what was down for the last run is down for this one too, until its time is over. A
    /// closed one starts with a clean slate, and one that the configuration or a program holds stays as it is. Circuits
    /// that this configuration does not have, since it is of another scope or host, are forgotten.
    pub(crate) async fn take_up(client: &Client, store: &mut Store) -> Result<Self, StoreError> {
        let circuits = client.circuits().clone();
        // Of what is to be reset nothing was kept, or it is out of date.
        let resets = store.take_resets().await?;
        let mut noted = Vec::new();
        for kept in store.circuits().await? {
            let Some(circuit) = circuits.named(&kept.name) else {
                store.forget_circuit(&kept.name).await?;
                continue;
            };
            if resets.contains(&kept.name) {
                continue;
            }
            if kept.state != State::Closed
                && [kept.mode, circuit.status().mode].iter().all(|mode| *mode == Mode::Automatic)
                && let Err(error) = circuit.restore(&kept, wall::exact().into())
            {
                tracing::debug!(target: "pipedrive_sync::circuits", %error, "the circuit starts closed");
            }
            noted.push(kept);
        }
        Ok(Self { circuits, noted })
    }

    /// Does what was asked for, and writes down where the circuits stand if that is news and work goes on.
    pub(crate) async fn keep(
        &mut self,
        store: &mut Store,
        halted: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), StoreError> {
        for name in store.take_resets().await? {
            if let Some(circuit) = self.circuits.named(&name) {
                circuit.reset();
                self.noted.retain(|noted| noted.name != name);
            }
        }
        // In this order: what is broken off is broken off after the flag is set.
        let now = self.circuits.snapshot(wall::exact().into());
        if halted() {
            return Ok(());
        }
        let noted = |name: &str| self.noted.iter().find(|noted| noted.name == name);
        let is_new = |now: &Snapshot| noted(&now.name).is_none_or(|noted| is_news(noted, now));
        let news: Vec<_> = now.iter().filter(|now| is_new(now)).cloned().collect();
        if !news.is_empty() {
            store.note_circuits(&news).await?;
            self.noted = now;
        }
        Ok(())
    }
}

/// Whether more than time has passed.
fn is_news(noted: &Snapshot, now: &Snapshot) -> bool {
    (noted.state, noted.mode, noted.transitions, noted.refused, noted.consecutive_failures)
        != (now.state, now.mode, now.transitions, now.refused, now.consecutive_failures)
}
