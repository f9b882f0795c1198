//! The order of the layers. No other file knows it.
//!
//! ```text
//!  trace ─ request id        one span and one id per call
//!    page size               how much to ask for
//!      retry                 what went wrong, and whether to try again
//!        circuit gate        refuses at once while open
//!          limiter           pays for each attempt; waits; reads what the server says
//!            circuit guard   asks again after the queue, measures, records
//!              health        outcomes and latency of real attempts only
//!                time-out    one attempt, its body included
//!                  inspect   notes what is wrong with a success
//!                    collect reads the body, up to a bound
//!                      auth  the token, for one host only
//!                        decompress ─ transport
//! ```
//!
//! The retry keeps a clone of what is below it for each call; a lazy clone between them makes that cheap. Each layer is
//! a public function or type, so that a stack of another order can be built from the same pieces.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{
    Service, ServiceBuilder,
    layer::util::{Identity, Stack},
    retry::RetryLayer,
    timeout::TimeoutLayer,
    util::{Either, option_layer},
};
use tower_adaptive_page::{AdaptivePageLayer, LearnBody, PageController};
use tower_circuit::{GateLayer, GuardLayer};
use tower_health::{Health, HealthLayer};
use tower_http::decompression::DecompressionLayer;
use tower_ratelimit_tokens::{
    BudgetId, Charge, EndpointId, Limiter, OnLimit, Outcome, Settle, Terms, TokenLimitLayer,
};
use tower_retry_classify::{Class, Classify as _, RecentHistory, RetryPolicy, Verdict};

use crate::{
    BoxError,
    auth::AuthLayer,
    budgets::{Budgets, BurstDialect},
    call::Call,
    circuits::{ApiCircuit, ApiCircuits},
    classify::{PipedriveClassifier, find},
    collect::{BodyTooLarge, CollectLayer},
    costs,
    error_rules::ErrorRules,
    inspect::InspectLayer,
    judge,
    lazy_clone::LazyCloneLayer,
    request_id::RequestIdLayer,
    trace::TraceLayer,
};

/// The request of the stack: its body is whole, so that it can be sent again.
pub type ApiRequest = Request<Bytes>;
/// The answer of the stack: its body is whole, and was within the attempt's time.
pub type ApiResponse = Response<Bytes>;
/// The retry policy of the stack.
pub type ApiRetry = RetryPolicy<ApiRequest, ApiResponse>;

/// What the layers of one stack are made of: their handles and their settings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parts {
    /// Budgets, queue and gate.
    pub limiter: Limiter,
    /// Which budget is which.
    pub budgets: Budgets,
    /// The circuit, or those of the configured scope.
    pub circuits: ApiCircuits,
    /// The passive score; none if it is switched off.
    pub health: Option<Health>,
    /// The page size.
    pub pages: PageController,
    /// The retry policy.
    pub retry: ApiRetry,
    /// Rules of a file by which the retry policy goes too, if there is one.
    pub rules: Option<ErrorRules>,
    /// The newest failed attempts, and what came of them.
    pub failures: RecentHistory,
    /// The credentials and where they may go.
    pub auth: AuthLayer,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// The longest answer that is held, in bytes.
    pub max_body: u64,
    /// Whether budgets are kept.
    pub limit: bool,
    /// Whether a call that says nothing of it waits for budget or is refused.
    pub on_limit: OnLimit,
    /// Whether the page size follows memory.
    pub adapt_pages: bool,
    /// Whether the time of each call is logged.
    pub timing: bool,
}

/// Puts all layers around a transport, in the one order that makes them work together.
pub fn stack<T, B>(
    parts: &Parts,
    transport: T,
) -> impl Service<ApiRequest, Response = ApiResponse, Error = BoxError, Future: Send>
+ Clone
+ Send
+ Sync
+ use<T, B>
where
    T: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    T::Error: Into<BoxError>,
    T::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError> + Send,
{
    ServiceBuilder::new()
        .layer(TraceLayer::new(parts.timing))
        .layer(RequestIdLayer::new().leave_calls())
        .layer(page_size(parts))
        .layer(RetryLayer::new(parts.retry.clone()))
        .layer(LazyCloneLayer::new())
        .layer(gate(&parts.circuits))
        .layer(limit(parts))
        .layer(guard(&parts.circuits))
        .layer(option_layer(parts.health.as_ref().map(health)))
        .layer(TimeoutLayer::new(parts.attempt_timeout))
        .layer(inspection())
        .layer(CollectLayer::new(parts.max_body))
        .layer(parts.auth.clone())
        .layer(decompression())
        .service(transport)
}

/// A question about a request.
pub type Ask<R> = fn(&ApiRequest) -> R;
/// What becomes of a charge, by the outcome.
pub type SettleFn = fn(Outcome<'_, ApiResponse>) -> Settle;
/// A verdict on an outcome.
pub type JudgeFn<V> = fn(Result<&ApiResponse, &BoxError>) -> V;
/// The limiter's layer with the price `C`.
pub type LimitLayer<C> = TokenLimitLayer<C, BurstDialect, SettleFn, CallTerms>;

/// Lets list requests ask for as many rows as memory allows, and halves the page when an answer was too long.
#[must_use]
pub fn page_size(parts: &Parts) -> AdaptivePageLayer<Ask<bool>, LearnBody> {
    AdaptivePageLayer::new(parts.pages.clone())
        .parameter("limit")
        .only(is_paged as Ask<bool>)
        .learn(LearnBody)
        .too_large(|error| find::<BodyTooLarge>(&**error).is_some())
        .enabled(parts.adapt_pages)
}

fn is_paged(request: &ApiRequest) -> bool {
    request.extensions().get::<Call>().is_some_and(Call::is_paged)
}

/// On what terms a request asks: as its [`Call`] says. Copies a few words; nothing is allocated.
///
/// A request without a call has normal priority and arrives with each attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallTerms(pub OnLimit);

impl tower_ratelimit_tokens::Ask<ApiRequest> for CallTerms {
    #[inline]
    fn terms(&self, request: &ApiRequest) -> Terms {
        match request.extensions().get::<Call>() {
            Some(call) => call.terms(self.0),
            None if self.0 == OnLimit::Reject => Terms::new().no_wait(),
            None => Terms::new(),
        }
    }
}

/// Makes each attempt pay, in the order of priority and first arrival, and tells the limiter what the server says.
///
/// A refusal of ours, and a connection that never came about, are refunded.
#[must_use = "a layer does nothing until it is applied"]
pub fn limit(
    parts: &Parts,
) -> LimitLayer<impl Fn(&ApiRequest) -> Charge + Clone + Send + Sync + use<>> {
    let price = price(&parts.limiter, &parts.budgets);
    TokenLimitLayer::new(parts.limiter.clone(), price)
        .dialect(parts.budgets.dialect())
        .settle(settle as SettleFn)
        .terms(CallTerms(parts.on_limit))
        .enabled(parts.limit)
}

/// What a request costs: one of the window that it falls into, and its tokens of the day.
///
/// It reads the request's [`Call`], or else the table of [`costs`] by method and path.
pub fn price(
    limiter: &Limiter,
    budgets: &Budgets,
) -> impl Fn(&ApiRequest) -> Charge + Clone + Send + Sync + use<> {
    let window = {
        let budgets = budgets.clone();
        move |template| if costs::is_search(template) { budgets.search } else { budgets.burst }
    };
    let mut known: HashMap<&'static str, (EndpointId, BudgetId)> = HashMap::new();
    for (_, template, _) in costs::TABLE {
        known.entry(template).or_insert_with(|| (limiter.endpoint(template), window(template)));
    }
    let (known, day) = (Arc::new(known), budgets.day);
    move |request| {
        let call = request.extensions().get::<Call>().map(|call| (call.template(), call.cost()));
        let (template, tokens) =
            call.unwrap_or_else(|| costs::matching(request.method(), request.uri().path()));
        let (endpoint, window) = known
            .get(template)
            .copied()
            .unwrap_or_else(|| (EndpointId::default(), window(template)));
        Charge::new().with(window, 1).with(day, tokens).at(endpoint)
    }
}

/// What becomes of a charge.
#[must_use]
pub fn settle(outcome: Outcome<'_, ApiResponse>) -> Settle {
    match outcome {
        Err(error) if judge::is_local(&**error) => Settle::Refund,
        Err(error) if unsent(error) => Settle::Refund,
        _ => Settle::Keep,
    }
}

/// Whether no connection came about, so that nothing was sent.
fn unsent(error: &BoxError) -> bool {
    let request = Request::new(Bytes::new());
    let verdict = PipedriveClassifier::new().classify(&request, Err(error));
    matches!(
        verdict,
        Verdict::Retry { class: Class::Connect, .. } | Verdict::Never { class: Class::Connect }
    )
}

/// The outer half of the circuits: what is refused now does not wait.
#[must_use]
pub fn gate(circuits: &ApiCircuits) -> ForEach<GateLayer<ApiCircuit>> {
    for_each(circuits, |circuit| GateLayer::new(circuit.clone()))
}

/// The inner half of the circuits.
#[must_use]
pub fn guard(
    circuits: &ApiCircuits,
) -> ForEach<GuardLayer<JudgeFn<tower_circuit::Verdict>, ApiCircuit>> {
    for_each(circuits, |circuit| GuardLayer::new(circuit.clone(), circuit.judge()))
}

/// One layer for each of up to four circuits.
pub type ForEach<L> = ServiceBuilder<
    Stack<
        L,
        Stack<
            Either<L, Identity>,
            Stack<Either<L, Identity>, Stack<Either<L, Identity>, Identity>>,
        >,
    >,
>;

fn for_each<L>(circuits: &ApiCircuits, layer: impl Fn(&ApiCircuit) -> L) -> ForEach<L> {
    let each = circuits.each();
    // The first is there always, and innermost: it makes one type of error of whatever the service has.
    ServiceBuilder::new()
        .option_layer(each.get(3).map(&layer))
        .option_layer(each.get(2).map(&layer))
        .option_layer(each.get(1).map(&layer))
        .layer(layer(&each[0]))
}

/// The passive score.
#[must_use]
pub fn health(health: &Health) -> HealthLayer<JudgeFn<tower_health::Verdict>> {
    HealthLayer::new(health.clone(), judge::health)
}

/// Notes what is wrong with a success, and the body of an error; see [`inspect`](crate::classify::inspect).
#[must_use]
pub const fn inspection() -> InspectLayer {
    InspectLayer::new()
}

/// Asks for gzip and unpacks it.
#[must_use]
pub fn decompression() -> DecompressionLayer {
    DecompressionLayer::new()
}
