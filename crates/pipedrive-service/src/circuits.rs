//! The circuits of the stack: one for all requests, or one for each host, each class of failure, or each of both.
//!
//! | scope | names |
//! | --- | --- |
//! | `api` | `pipedrive` |
//! | `host` | `pipedrive/acme.pipedrive.com` |
//! | `class` | `pipedrive/connection`, `pipedrive/timeout`, `pipedrive/server`, `pipedrive/body` |
//! | `host_and_class` | `pipedrive/server/acme.pipedrive.com` and so on |
//!
//! A class is a class of *failure*, a [`Fault`]: Pipedrive's other refusals (401, 402, 403, 404, 429) show that it works
//! and open no circuit. A request goes through if all circuits of its host let it through, and the one that does not is
//! named in the refusal. Each opens by its own failures in a row; a success ends every row, a failure of another class
//! none. So whatever failures are mixed, without a success between them one of the four opens after
//! four times as many as would open the one of scope `api`, at the latest.

use std::{fmt, sync::Arc, time::SystemTime};

use http::uri::Authority;
use tower_circuit::{
    Circuit, CircuitBuilder, Circuits, ConfigError, SelectCircuit, Snapshot, State, Status, Verdict,
};

use crate::{
    config::CircuitScope,
    judge::{self, Fault},
    stack::{ApiRequest, JudgeFn},
};

const NAME: &str = "pipedrive";
/// A client has one host; a stack of somebody's own may have more.
const MOST_HOSTS: usize = 1_000;

/// The circuits of one stack. Clones are the same circuits.
#[derive(Clone)]
pub struct ApiCircuits {
    /// One, or one for each class; never empty.
    each: Arc<[ApiCircuit]>,
    /// Those of the client's own host, in the same order. Held, so that they are never forgotten as idle.
    home: Arc<[Circuit]>,
}

/// One of the circuits that a request must get through; of several hosts, the one of its host.
#[derive(Clone, Debug)]
pub struct ApiCircuit {
    fault: Option<Fault>,
    which: Which,
}

#[derive(Clone, Debug)]
enum Which {
    One(Circuit),
    OfHost(Circuits<Authority>),
}

impl ApiCircuit {
    /// What its outcomes are judged by.
    pub(crate) fn judge(&self) -> JudgeFn<Verdict> {
        self.fault.map_or(judge::circuit, Fault::judge)
    }

    fn of(&self, host: &Authority) -> Circuit {
        match &self.which {
            Which::One(circuit) => circuit.clone(),
            Which::OfHost(circuits) => circuits.get(host),
        }
    }

    fn all(&self) -> Vec<Circuit> {
        match &self.which {
            Which::One(circuit) => vec![circuit.clone()],
            Which::OfHost(circuits) => {
                circuits.all().into_iter().map(|(_, circuit)| circuit).collect()
            }
        }
    }
}

impl SelectCircuit<ApiRequest> for ApiCircuit {
    #[inline]
    fn with<T>(&self, request: &ApiRequest, act: impl FnOnce(&Circuit) -> T) -> T {
        match &self.which {
            Which::One(circuit) => act(circuit),
            Which::OfHost(circuits) => act(&circuits.get(&host(request.uri()))),
        }
    }
}

/// Host and port, without what else may stand before them: names of circuits are shown.
fn host(uri: &http::Uri) -> Authority {
    let none = || Authority::from_static("no-host");
    match uri.authority() {
        None => none(),
        Some(authority) => match authority.as_str().rsplit_once('@') {
            None => authority.clone(),
            Some((_, host)) => host.parse().unwrap_or_else(|_| none()),
        },
    }
}

impl ApiCircuits {
    /// Circuits of a scope, each built as `each` makes it for a name, for a client of the host of `home`.
    ///
    /// # Errors
    ///
    /// What `each` refuses.
    pub(crate) fn new(
        scope: CircuitScope,
        home: &http::Uri,
        each: impl Fn(String) -> CircuitBuilder,
    ) -> Result<Self, ConfigError> {
        let home = host(home);
        let faults = Fault::ALL.map(Some);
        let faults: &[Option<Fault>] = if scope.by_class() { &faults } else { &[None] };
        let one = |fault: &Option<Fault>| {
            let name = fault.map_or(NAME.into(), |fault| format!("{NAME}/{}", fault.as_str()));
            let mut builder = each(name);
            if fault.is_some_and(|fault| fault != Fault::Timeout) {
                // Who gives up has waited too long: that is a time-out, and says nothing of the rest.
                builder = builder.cancelled(Verdict::Ignore);
            }
            let which = if scope.by_host() {
                Which::OfHost(builder.keyed().max_keys(MOST_HOSTS).build()?)
            } else {
                Which::One(builder.build()?)
            };
            Ok(ApiCircuit { fault: *fault, which })
        };
        let each: Arc<[ApiCircuit]> = faults.iter().map(one).collect::<Result<_, _>>()?;
        let home = each.iter().map(|circuit| circuit.of(&home)).collect();
        Ok(Self { each, home })
    }

    /// The layers' view: each circuit that a request must get through.
    pub(crate) fn each(&self) -> &[ApiCircuit] {
        &self.each
    }

    /// The circuit of the client's host; where each class of failure has its own, that of `connection`.
    #[must_use]
    pub fn first(&self) -> &Circuit {
        &self.home[0]
    }

    /// Those of the client's own host, which every call of the client must get through.
    #[must_use]
    pub fn home(&self) -> &[Circuit] {
        &self.home
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Circuit> {
        let mut all: Vec<Circuit> = self.each.iter().flat_map(ApiCircuit::all).collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// A picture of each, by name.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.all().iter().map(Circuit::status).collect()
    }

    /// What outlives the process, of each, by name.
    #[must_use]
    pub fn snapshot(&self, wall: SystemTime) -> Vec<Snapshot> {
        self.all().iter().map(|circuit| circuit.snapshot(wall)).collect()
    }

    /// The circuit of that name, if there is one.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Circuit> {
        self.all().into_iter().find(|circuit| circuit.name() == name)
    }

    /// What the client's calls meet: open if any of the circuits of its host is, else half-open if any is, else closed.
    ///
    /// ```
    /// use pipedrive_service::{Client, Config, Sources};
    /// use tower_circuit::State;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sources = Sources::new()
    ///     .set("connection.api_token", "secret")
    ///     .set("robustness.error_handling.circuit_breaker_scope", "class");
    /// let client = Client::new(Config::load(&sources)?)?;
    /// let names: Vec<_> = client.circuits().status().iter().map(|one| one.name.to_string()).collect();
    /// assert_eq!(names, ["pipedrive/body", "pipedrive/connection", "pipedrive/server", "pipedrive/timeout"]);
    ///
    /// client.circuits().named("pipedrive/server").expect("it is there").force_open(None);
    /// assert_eq!(client.circuits().state(), State::Open);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn state(&self) -> State {
        worst(self.home.iter().map(Circuit::state))
    }

    /// Resolves when no circuit of the client's host is open or half-open any more, by itself or by hand.
    ///
    /// # Cancellation
    ///
    /// Nothing is held.
    pub async fn closed(&self) {
        loop {
            // Before they are looked at, so that no change is missed.
            let mut watches: Vec<_> = self.home.iter().map(Circuit::watch).collect();
            let shut = watches.iter_mut().find(|watch| watch.borrow().to != State::Closed);
            let Some(shut) = shut else { return };
            if shut.wait_for(|change| change.to == State::Closed).await.is_err() {
                return;
            }
        }
    }
}

/// The worst of states.
#[must_use]
pub fn worst(states: impl IntoIterator<Item = State>) -> State {
    let rank = |state: &State| match state {
        State::Closed => 0,
        State::HalfOpen => 1,
        State::Open => 2,
    };
    states.into_iter().max_by_key(rank).unwrap_or(State::Closed)
}

impl fmt::Debug for ApiCircuits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.home.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_host_is_in_no_name() {
        let uri = http::Uri::from_static("https://anna:secret@acme.test:8443/v1");
        assert_eq!(host(&uri), "acme.test:8443");
        assert_eq!(host(&http::Uri::from_static("/v1")), "no-host");
    }
}
