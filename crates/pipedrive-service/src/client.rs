//! The typed client.

mod limits;
mod me;

pub use self::me::{Me, ServerCount};

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;
use tower::util::BoxCloneSyncService;
use tower_adaptive_page::{PageController, Position};
use tower_circuit::Circuit;
use tower_health::{Check, Health, LoopHandle, ProbeStatus, State};
use tower_ratelimit_tokens::{Lease, Limiter, Priority, Status};
use tower_retry_classify::{RecentHistory, RetryStats};
use tower_service::Service;

use crate::{
    BoxError,
    api::Api,
    budgets::Budgets,
    builder::ClientBuilder,
    circuits::ApiCircuits,
    config::{Config, ConfigError},
    entity::{Action, Entity},
    error::{Context, Error},
    error_rules::ErrorRules,
    holdings::Holdings,
    page::{self, Row, RowId, RowsPage},
    probe::HealthProbe,
    query::{ListQuery, WalkOptions},
    requests::{Requests, json},
    stack::Parts,
    walk::RowsWalk,
};

/// How often health is looked at for who is turned away.
const SHED_EVERY: Duration = Duration::from_secs(1);

/// A Pipedrive account, through the whole stack.
///
/// Clones are the same client: they share budgets, circuit, health, page size, statistics and connections. Each
/// method may be called from any number of tasks at once.
#[derive(Clone)]
pub struct Client {
    pub(crate) api: Api,
    pub(crate) requests: Requests,
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) parts: Parts,
    pub(crate) probe: HealthProbe,
}

impl Client {
    /// A client over HTTPS.
    ///
    /// # Errors
    ///
    /// If there is no token, or something that the configuration names cannot be used. Nothing is sent.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::builder(config).build()
    }

    /// A client over a transport of the caller's: another HTTP client, or a simulator in the same process.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn with_transport<T, B>(config: Config, transport: T) -> Result<Self, ConfigError>
    where
        T: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError> + Send,
    {
        Self::builder(config).build_over(transport)
    }

    /// More than a configuration can say: leased budget, clock, memory probe.
    pub fn builder(config: Config) -> ClientBuilder {
        ClientBuilder::new(config)
    }

    /// The configuration in effect.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Budgets, queue and gate. Names of the budgets: `burst`, `search`, `day`.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.shared.parts.limiter
    }

    /// Which budget is which.
    #[must_use]
    pub fn budgets(&self) -> &Budgets {
        &self.shared.parts.budgets
    }

    /// The lease on the day's tokens, if the client was built with [`ClientBuilder::leased`].
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.limiter().lease(self.budgets().day)
    }

    /// The circuit; with one for each class of failure, the first of them. See [`circuits`](Self::circuits).
    #[must_use]
    pub fn circuit(&self) -> &Circuit {
        self.circuits().first()
    }

    /// All circuits, as many as `robustness.error_handling.circuit_breaker_scope` says.
    #[must_use]
    pub fn circuits(&self) -> &ApiCircuits {
        &self.shared.parts.circuits
    }

    /// The passive score, if health monitoring is on.
    #[must_use]
    pub fn health(&self) -> Option<&Health> {
        self.shared.parts.health.as_ref()
    }

    /// What was tried, and how it went.
    #[must_use]
    pub fn retry_stats(&self) -> RetryStats {
        self.shared.parts.retry.stats()
    }

    /// The newest failed attempts, 10,000 at most, and what came of them.
    #[must_use]
    pub fn failures(&self) -> &RecentHistory {
        &self.shared.parts.failures
    }

    /// The page size.
    #[must_use]
    pub fn pages(&self) -> &PageController {
        &self.shared.parts.pages
    }

    /// Asks the configured health endpoint, unless it was asked a moment ago. It costs tokens like any other call.
    pub async fn check_health(&self) -> Check {
        self.shared.probe.check().await
    }

    /// A loop that asks the health endpoint every `check_interval`, before
    /// all other work, and not while the budget is gone. Spawn the future; it stops when the handle is dropped.
    pub fn watch_health(&self) -> (LoopHandle, impl Future<Output = ()> + Send + 'static + use<>) {
        self.shared.probe.watch_over()
    }

    /// A loop by which health drives the limiter: while the API is degraded, or worse, calls below the priorities
    /// `shed_degraded` and `shed_critical` of the configuration are turned away, those who wait included. None if
    /// neither is set, or health is not watched.
    ///
    /// It looks once a second. Calls that are let through show when the API is well again; if there are none, health is
    /// unknown after a while, and all are let through. Spawn the future; dropped, it leaves the level as it is.
    ///
    /// ```
    /// use pipedrive_service::{Client, Config, Sources};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sources = Sources::new().set("connection.api_token", "secret");
    /// assert!(Client::new(Config::load(&sources)?)?.shed_by_health().is_none());
    ///
    /// let sources = sources.set("robustness.rate_limiting.shed_critical", "5");
    /// let client = Client::new(Config::load(&sources)?)?;
    /// let shedding = tokio::spawn(client.shed_by_health().expect("5 is above the lowest"));
    /// assert_eq!(client.limiter().status().shedding, None, "nothing is known to be wrong");
    /// shedding.abort();
    /// # Ok(())
    /// # }
    /// ```
    pub fn shed_by_health(&self) -> Option<impl Future<Output = ()> + Send + 'static + use<>> {
        let limiting = &self.config().rate_limiting;
        let (degraded, critical) =
            (limiting.shed_degraded, limiting.shed_critical.max(limiting.shed_degraded));
        let health = self.health().filter(|_| critical > Priority::LOWEST)?.clone();
        let limiter = self.limiter().clone();
        Some(async move {
            let level = |_: &Status| {
                let state = health.state();
                let below = match state {
                    State::Degraded => degraded,
                    State::Critical | State::Unavailable => critical,
                    State::Unknown | State::Healthy => Priority::LOWEST,
                };
                (below > Priority::LOWEST).then(|| (below, format!("the API is {state}").into()))
            };
            limiter.shed_while(SHED_EVERY, level).await;
        })
    }

    /// A loop that reads the file of `robustness.error_handling.error_categories` again when it has changed; see
    /// [`ErrorRules::watch`](crate::error_rules::ErrorRules::watch). None if no file is configured. Spawn the future;
    /// dropped, the rules stay as they are.
    pub fn watch_error_categories(
        &self,
    ) -> Option<impl Future<Output = ()> + Send + 'static + use<>> {
        self.shared.parts.rules.clone().map(ErrorRules::watch)
    }

    /// What the probe knows.
    #[must_use]
    pub fn probe_status(&self) -> ProbeStatus {
        self.shared.probe.status()
    }

    /// What one page of a list, or another operation, costs in tokens of the day.
    ///
    /// None where the API has no such operation.
    #[must_use]
    pub fn cost(&self, entity: Entity, action: Action) -> Option<u32> {
        entity.operation(action).map(|operation| self.requests.cost(entity, &operation))
    }

    /// One page of a list.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn list(&self, entity: Entity, query: ListQuery) -> Result<RowsPage, Error> {
        let position = query.from.clone().unwrap_or(Position::Start);
        let rows = query.limit.unwrap_or(u32::MAX);
        let request = self.requests.page(entity, &query, &position, rows)?;
        let list = self.fetch(request, |body| page::list(entity, body)).await?;
        Ok(list.at(position))
    }

    /// All pages of a list, from a position on.
    ///
    /// With [`prefetch`](WalkOptions::prefetch) above zero a task is spawned that asks for pages while the caller is
    /// at work on one; it ends when the walk is dropped.
    ///
    /// # Panics
    ///
    /// With prefetch above zero, if called outside of a Tokio runtime.
    pub fn walk(&self, entity: Entity, options: WalkOptions) -> RowsWalk {
        RowsWalk::new(self.api.clone(), self.requests.clone(), entity, options)
    }

    /// One record.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound); [`Unsupported`](crate::ErrorKind::Unsupported) where the API cannot
    /// give one; see [`Error`].
    pub async fn get(&self, entity: Entity, id: impl Into<RowId>) -> Result<Row, Error> {
        let request = self.requests.record(entity, Action::Get, Some(&id.into()), None)?;
        self.fetch(request, page::one).await
    }

    /// A new record. It is sent once only, unless the server surely did not act on it.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn create(
        &self,
        entity: Entity,
        record: &(impl Serialize + Sync),
    ) -> Result<Row, Error> {
        self.write(entity, Action::Create, None, record).await
    }

    /// A change of a record: the fields that are given, and no others. Version 2 takes it by PATCH, which is sent
    /// once only; version 1 by PUT.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn update(
        &self,
        entity: Entity,
        id: impl Into<RowId>,
        change: &(impl Serialize + Sync),
    ) -> Result<Row, Error> {
        self.write(entity, Action::Update, Some(&id.into()), change).await
    }

    /// Removes a record; most kinds can be brought back for 30 days.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn delete(&self, entity: Entity, id: impl Into<RowId>) -> Result<(), Error> {
        let request = self.requests.record(entity, Action::Delete, Some(&id.into()), None)?;
        self.api.clone().send(request).await.map(drop)
    }

    /// Any other request, through the same stack. A URI without a host goes to the configured one.
    ///
    /// # Errors
    ///
    /// [`WrongHost`](crate::ErrorKind::WrongHost) for another host, since the token would go along; see [`Error`].
    pub async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        self.api.clone().send(self.requests.adopt(request)?).await
    }

    async fn write(
        &self,
        entity: Entity,
        action: Action,
        id: Option<&RowId>,
        record: &(impl Serialize + Sync),
    ) -> Result<Row, Error> {
        let body = json(entity, action, record)?;
        let request = self.requests.record(entity, action, id, Some(body))?;
        self.fetch(request, page::one).await
    }

    pub(crate) async fn fetch<T>(
        &self,
        request: Request<Bytes>,
        read: impl FnOnce(&Bytes) -> Result<T, BoxError>,
    ) -> Result<T, Error> {
        self.fetch_whole(request, |response| read(response.body())).await
    }

    async fn fetch_whole<T>(
        &self,
        request: Request<Bytes>,
        read: impl FnOnce(&Response<Bytes>) -> Result<T, BoxError>,
    ) -> Result<T, Error> {
        let call = request.extensions().get::<crate::Call>().cloned();
        let method = request.method().clone();
        let response = self.api.clone().send(request).await?;
        read(&response).map_err(|error| {
            let context = call.map_or_else(Context::default, |call| Context {
                method,
                template: call.template(),
                attempts: call.attempts(),
                request_id: call.request_id().to_str().unwrap_or_default().to_owned(),
            });
            crate::error::from_box(error, context)
        })
    }
}

impl Client {
    pub(crate) fn assemble<S>(config: Config, parts: Parts, stack: S) -> Result<Self, ConfigError>
    where
        S: Service<Request<Bytes>, Response = Response<Bytes>, Error = BoxError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let secret = config.api_token.clone();
        let holdings = Holdings::new(parts.pages.clone(), parts.max_body);
        let stack = BoxCloneSyncService::new(stack);
        let api = Api::new(stack, parts.pages.clone(), holdings, secret);
        let requests = Requests::new(&config);
        let probe = HealthProbe::new(&config, &parts, api.clone(), requests.clone())?;
        Ok(Self { api, requests, shared: Arc::new(Shared { config, parts, probe }) })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.shared.config.base_url)
            .field("circuit", &self.circuits().state())
            .finish_non_exhaustive()
    }
}
