use crate::{Circuit, Open, Permit, Verdict, breaker::Pass};

/// A trial place that was taken before the call. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Place {
    circuit: Circuit,
    pass: Option<Pass>,
}

impl Place {
    pub(crate) const fn new(circuit: Circuit, pass: Pass) -> Self {
        Self { circuit, pass: Some(pass) }
    }

    /// Turns it into leave to make the call; asks anew if it was lost.
    pub(crate) fn send(mut self) -> Result<Permit, Open> {
        match self.pass.take() {
            Some(pass) => self.circuit.send(pass),
            None => self.circuit.admit(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pass) = self.pass {
            self.circuit.record(pass, Verdict::Ignore);
        }
    }
}
