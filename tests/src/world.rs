//! A simulated account and the real stack over it.

use std::{fmt, time::Duration};

use pipedrive_service::{Client, Config, Sources};
use saas_sim::pipedrive::{Faults, Rule, Sim, SimConfig};
use tower_adaptive_page::Memory;
use tower_health::Report;
use tower_ratelimit_tokens::{AnchoredClock, BudgetStatus, Status};

use crate::Wire;

/// The account, the stack, and the wire between them.
#[derive(Clone, Debug)]
pub struct World {
    /// The account.
    pub sim: Sim,
    /// The wire.
    pub wire: Wire,
    /// The stack, under the typed client.
    pub client: Client,
}

impl World {
    /// An account with these settings, and a client with the defaults but for these keys.
    ///
    /// The client knows the plan, and learns the day's tokens from the answers unless it is told the seats. Its
    /// calendar goes by the account's clock, and so by Tokio's.
    #[must_use]
    pub fn new(config: SimConfig, settings: &[(&str, &str)]) -> Self {
        let sim = Sim::new(config).expect("good settings of the simulator");
        Self::over(sim, settings)
    }

    /// The same over an account that exists.
    #[must_use]
    pub fn over(sim: Sim, settings: &[(&str, &str)]) -> Self {
        let wire = Wire::to(&sim);
        let client = client(&sim, &wire, settings);
        Self { sim, wire, client }
    }

    /// A small account on which nothing goes wrong.
    #[must_use]
    pub fn small(settings: &[(&str, &str)]) -> Self {
        Self::new(SimConfig { records: 500, ..SimConfig::default() }, settings)
    }

    /// A small account on which these rules go wrong.
    #[must_use]
    pub fn with_rules(rules: Vec<Rule>, settings: &[(&str, &str)]) -> Self {
        let faults = Faults { rules, ..Faults::none() };
        Self::new(SimConfig { records: 500, faults, ..SimConfig::default() }, settings)
    }

    /// What health says.
    #[must_use]
    pub fn health(&self) -> Report {
        self.client.health().expect("health is watched").report()
    }

    /// What the limiter says of itself.
    #[must_use]
    pub fn limiter(&self) -> Status {
        self.client.limiter().status()
    }

    /// What the limiter says of one budget.
    #[must_use]
    pub fn budget(&self, name: &str) -> BudgetStatus {
        self.limiter().budget(name).unwrap_or_else(|| panic!("no budget {name}")).clone()
    }
}

fn client(sim: &Sim, wire: &Wire, settings: &[(&str, &str)]) -> Client {
    let mut sources = Sources::new()
        .set("connection.api_token", sim.api_token())
        .set("connection.company_domain", "acme")
        .set("account.plan", "premium");
    for (key, value) in settings {
        sources = sources.set(*key, *value);
    }
    let config = Config::load(&sources).expect("good settings of the client");
    let clock = AnchoredClock::new(sim.now());
    // Not this machine's: on a full one pages would be shorter.
    let memory = || Some(Memory { used: 1, limit: 100 });
    let client = Client::builder(config).wall_clock(clock).memory_probe(memory).seed(1);
    client.build_over(wire.clone()).expect("a stack")
}

/// The seed of a random test: from the environment variable, or the default.
///
/// # Panics
///
/// If the variable is set and not a number.
#[must_use]
pub fn seed(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}"))
        }
        Err(_) => default,
    }
}

/// Lets that much time pass.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Tells a figure to whoever runs the tests with `--nocapture`.
#[allow(clippy::print_stdout, reason = "that is what it is for")]
pub fn say(figure: impl fmt::Display) {
    println!("{figure}");
}
