//! The circuit of a sync: taken up where the last one left it, kept, and reset when somebody asks for it.

use pipedrive_service::Client;
use tower_circuit::{Circuit, Mode, Snapshot, State};

use crate::{
    store::{Store, StoreError},
    wall,
};

/// Keeps the database and the circuit in step.
#[derive(Debug)]
pub(crate) struct Kept {
    circuit: Circuit,
    /// As it was last written down.
    noted: Option<Snapshot>,
}

impl Kept {
    /// Takes up an open circuit: what was down for the last run is down for this one too, until its time is over. A
    /// closed one starts with a clean slate, and one that the configuration or a program holds stays as it is.
    pub(crate) async fn take_up(client: &Client, store: &mut Store) -> Result<Self, StoreError> {
        let circuit = client.circuit().clone();
        // Of what is to be reset nothing was kept, or it is out of date.
        let resets = store.take_resets().await?;
        let mut kept = store.circuits().await?.into_iter();
        let noted = kept.find(|kept| kept.name == circuit.name());
        let noted = noted.filter(|kept| !resets.contains(&kept.name));
        if let Some(kept) = &noted
            && kept.state != State::Closed
            && [kept.mode, circuit.status().mode].iter().all(|mode| *mode == Mode::Automatic)
            && let Err(error) = circuit.restore(kept, wall::exact().into())
        {
            tracing::debug!(target: "pipedrive_sync::circuits", %error, "the circuit starts closed");
        }
        Ok(Self { circuit, noted })
    }

    /// Does what was asked for, and writes down where the circuit stands if that is news and work goes on.
    pub(crate) async fn keep(
        &mut self,
        store: &mut Store,
        halted: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), StoreError> {
        for name in store.take_resets().await? {
            if name == self.circuit.name() {
                self.circuit.reset();
                self.noted = None;
            }
        }
        // In this order: what is broken off is broken off after the flag is set.
        let now = self.circuit.snapshot(wall::exact().into());
        if halted() {
            return Ok(());
        }
        if self.noted.as_ref().is_none_or(|noted| is_news(noted, &now)) {
            store.note_circuits(std::slice::from_ref(&now)).await?;
            self.noted = Some(now);
        }
        Ok(())
    }
}

/// Whether more than time has passed.
fn is_news(noted: &Snapshot, now: &Snapshot) -> bool {
    (noted.state, noted.mode, noted.transitions, noted.refused, noted.consecutive_failures)
        != (now.state, now.mode, now.transitions, now.refused, now.consecutive_failures)
}
