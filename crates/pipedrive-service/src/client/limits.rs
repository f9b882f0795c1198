//! How urgent a client's calls are, and what can be asked about them beforehand.

use tower_circuit::State;
use tower_ratelimit_tokens::{Admission, Charge, OnLimit, Priority};

use super::Client;
use crate::entity::{Action, Entity};

impl Client {
    /// The same client, whose calls are as urgent as this unless they say otherwise. In the queue a more urgent call
    /// goes first; a share of the day can be kept for urgent ones, see `robustness.rate_limiting.reserve`.
    ///
    /// [`Client::check_health`] is of [`Priority::CRITICAL`] always. Default: what
    /// [`ClientBuilder::priority`](crate::ClientBuilder::priority) said.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        let mut client = self.clone();
        client.requests.priority = priority;
        client
    }

    /// How urgent its calls are that say nothing of it.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.requests.priority
    }

    /// The same client, whose calls wait for budget, or are refused at once, unless they say otherwise. Default: as
    /// `robustness.rate_limiting.on_limit` says.
    #[must_use]
    pub fn with_on_limit(&self, on_limit: OnLimit) -> Self {
        let mut client = self.clone();
        client.requests.on_limit = Some(on_limit);
        client
    }

    /// What one such call pays, for the limiter's `plan` and `would_admit`.
    ///
    /// None where the API has no such operation.
    #[must_use]
    pub fn charge(&self, entity: Entity, action: Action) -> Option<Charge> {
        let operation = entity.operation(action)?;
        Some(self.budgets().charge(operation.template, self.requests.cost(entity, &operation)))
    }

    /// Whether, or when, such a call could be paid if it were made now by this client. Spends nothing.
    ///
    /// None where the API has no such operation.
    ///
    /// ```
    /// use pipedrive_service::{Action, Client, Config, Entity, Priority, Sources};
    /// use tower_ratelimit_tokens::Admission;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let settings = Sources::new()
    ///     .set("connection.api_token", "secret")
    ///     .set("robustness.rate_limiting.daily_budget", "100")
    ///     .set("robustness.rate_limiting.reserve", "0.5");
    /// let client = Client::new(Config::load(&settings)?)?;
    /// client.limiter().set_used(client.budgets().day, 50);
    /// // The half that is left is kept for urgent calls.
    /// assert!(!client.can_make_request(Entity::Deals));
    /// let urgent = client.with_priority(Priority::HIGH);
    /// assert_eq!(urgent.would_admit(Entity::Deals, Action::List), Some(Admission::Now));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn would_admit(&self, entity: Entity, action: Action) -> Option<Admission> {
        let charge = self.charge(entity, action)?;
        Some(self.limiter().would_admit(&charge, self.requests.priority))
    }

    /// Whether a page of this list would be sent at once: there is budget for it, nobody stands before it, and neither
    /// gate nor circuit is shut. True if no budgets are kept.
    #[must_use]
    pub fn can_make_request(&self, entity: Entity) -> bool {
        let admitted = !self.shared.parts.limit
            || self.would_admit(entity, Action::List) == Some(Admission::Now);
        admitted && self.circuits().state() != State::Open
    }
}
