use std::{sync::Arc, time::Duration};

use crate::{Mode, Reason, Transition};

/// How other processes see the same service: the optional quorum view of a circuit.
///
/// The rule is small, so that one bad node poisons nobody: while at least a
/// [share](crate::CircuitBuilder::peers) of the other processes see the service down, one
/// failure of our own opens the circuit, whatever its other rules say. Without a failure of our own nothing
/// happens, and what others made us believe we do not pass on.
///
/// How votes travel is the user's: a table, a gossip, a channel of Redis. Both methods are called outside every lock, in
/// the thread of a call, and must not block: keep the others' votes at hand, and send our own from a task.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_circuit::{Circuit, Peers, State, Verdict, View};
///
/// struct Board; // read from wherever the votes are kept
/// impl Peers for Board {
///     fn view(&self, _circuit: &str) -> View { View { voters: 4, down: 3 } }
///     fn tell(&self, _circuit: &str, _down: Option<Duration>) {}
/// }
///
/// let circuit = Circuit::builder("api").consecutive(5).peers(Board, 0.5, 3).build()?;
/// circuit.admit()?.record(Verdict::Success);
/// assert_eq!(circuit.state(), State::Closed);
/// circuit.admit()?.record(Verdict::Failure);
/// assert_eq!(circuit.state(), State::Open);
/// let reason = circuit.status().last.reason.to_string();
/// assert_eq!(reason, "a call failed, and 3 of 4 peers see the service down");
/// # Ok(())
/// # }
/// ```
pub trait Peers: Send + Sync {
    /// How the other processes, without this one, see the service of the circuit of this name now. Asked at each failure
    /// while the circuit is closed.
    fn view(&self, circuit: &str) -> View;

    /// This process has found the service down, and will try it again after that time; or, with `None`, has found it
    /// well again. A vote is worth nothing when its time is over.
    fn tell(&self, circuit: &str, down: Option<Duration>);
}

/// How other processes see a service; see [`Peers`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Other processes that call it.
    pub voters: u32,
    /// Those that see it down.
    pub down: u32,
}

/// Peers, and when they are believed.
#[derive(Clone)]
pub(crate) struct Quorum {
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) share: f64,
    pub(crate) min_voters: u32,
}

impl Quorum {
    pub(crate) fn is_reached(&self, view: View) -> bool {
        let needed = self.share * f64::from(view.voters) - 1e-9;
        view.down > 0 && view.voters >= self.min_voters && f64::from(view.down) >= needed
    }

    /// Passes on what this process has seen itself.
    pub(crate) fn tell(&self, circuit: &str, change: &Transition) {
        let open_for = || change.until.map(|until| until.duration_since(change.at));
        match change.reason {
            _ if !matches!(change.mode, Mode::Automatic | Mode::Observing) => {}
            Reason::Consecutive { .. }
            | Reason::FailureRatio { .. }
            | Reason::SlowRatio { .. }
            | Reason::TrialFailed
            | Reason::TrialSlow { .. }
            | Reason::TrialHung { .. }
            | Reason::Named { .. } => self.peers.tell(circuit, open_for()),
            Reason::TrialsSucceeded { .. } | Reason::Reset => self.peers.tell(circuit, None),
            _ => {}
        }
    }
}

impl std::fmt::Debug for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { share, min_voters, .. } = self;
        f.debug_struct("Quorum")
            .field("share", share)
            .field("min_voters", min_voters)
            .finish_non_exhaustive()
    }
}
