use std::fmt;

use crate::{Circuit, Verdict, breaker::Pass};

/// Leave to make one call; see [`Circuit::admit`].
///
/// While the circuit is half-open it is a trial place. Give it a verdict with
/// [`record`](Self::record). Dropped without one it counts as what
/// [`cancelled`](crate::CircuitBuilder::cancelled) says, a failure by default,
/// and a trial place is free again.
#[must_use = "dropping it at once counts as a cancelled call"]
pub struct Permit {
    circuit: Circuit,
    pass: Pass,
    recorded: bool,
}

impl Permit {
    pub(crate) const fn new(circuit: Circuit, pass: Pass) -> Self {
        Self { circuit, pass, recorded: false }
    }

    /// Whether the call is a trial of a half-open circuit.
    #[must_use]
    pub const fn is_trial(&self) -> bool {
        self.pass.trial.is_some()
    }

    /// Records how the call ended.
    pub fn record(mut self, verdict: Verdict) {
        self.recorded = true;
        self.circuit.record(self.pass, verdict);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.recorded {
            self.circuit.record(self.pass, self.circuit.cancelled());
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("circuit", &self.circuit.name())
            .field("trial", &self.is_trial())
            .finish_non_exhaustive()
    }
}
