use crate::{Circuit, Open, Permit, Verdict, breaker::Pass};

/// A trial place that was taken before the call. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Place {
    circuit: Circuit,
    pass: Pass,
    sent: bool,
}

impl Place {
    pub(crate) const fn new(circuit: Circuit, pass: Pass) -> Self {
        Self { circuit, pass, sent: false }
    }

    /// Turns it into leave to make the call; asks anew if it was lost.
    pub(crate) fn send(mut self) -> Result<Permit, Box<Open>> {
        self.sent = true;
        self.circuit.send(self.pass)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.sent {
            self.circuit.record(self.pass, Verdict::Ignore);
        }
    }
}
