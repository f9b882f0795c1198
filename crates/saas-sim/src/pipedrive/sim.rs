//! The handle of a simulated company account.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;
use tokio::time::Instant;

use super::churn::Churn;
use super::churn_state::ChurnState;
use super::clock::Clock;
use super::config::{AuthKind, ConfigError, SimConfig};
use super::data::{Account, Entity, OffsetPage, Sizes};
use super::digest::Digest;
use super::faults::Faults;
use super::faults_state::FaultState;
use super::limits::Limits;
use super::limits_day::Day;
use super::service::SimService;
use super::truth::{Answered, DayTruth, Ledger, Truth, WindowTruth};

type Hook = Arc<dyn Fn(&Answered) + Send + Sync>;

/// A simulated company account, with everything that happens to it. Clones are the same account.
///
/// # Examples
///
/// ```
/// use saas_sim::pipedrive::{Sim, SimConfig};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let sim = Sim::new(SimConfig { records: 1_000, ..SimConfig::default() })?;
/// let request = http::Request::get("/api/v2/deals?limit=100")
///     .header("x-api-token", sim.api_token())
///     .body(String::new())?;
/// let response = sim.service().oneshot(request).await?;
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.headers()["x-ratelimit-remaining"], "99");
/// assert_eq!(sim.truth().day.used, 10);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sim {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) config: SimConfig,
    pub(super) clock: Clock,
    state: Mutex<State>,
    pub(super) account: Account,
    churn: Mutex<ChurnState>,
    hooks: RwLock<Vec<Hook>>,
}

pub(super) struct State {
    pub(super) limits: Limits,
    pub(super) faults: FaultState,
    pub(super) faults_since: Instant,
    pub(super) ledger: Ledger,
    pub(super) tokens: Vec<Token>,
}

/// A token, its user being its place in the list.
pub(super) struct Token {
    kind: AuthKind,
    text: String,
    pub(super) expired: bool,
}

impl Sim {
    /// Makes the account. Its clock starts now; within a runtime, so that a paused clock holds.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which lists everything that is wrong with the settings.
    pub fn new(config: SimConfig) -> Result<Self, ConfigError> {
        let zone = config.check()?;
        let origin = Instant::now();
        let api = std::iter::once(&config.api_token).chain(&config.other_tokens);
        let tokens: Vec<Token> = api
            .map(|text| (AuthKind::ApiToken, text))
            .chain([(AuthKind::OAuth, &config.oauth_token)])
            .map(|(kind, text)| Token { kind, text: text.clone(), expired: false })
            .collect();
        let kinds: Vec<AuthKind> = tokens.iter().map(|token| token.kind).collect();
        let day = Day::new(zone, config.reset_time, config.start);
        let sizes = config.sizes.clone().unwrap_or_else(|| Sizes::total(config.records));
        let state = State {
            limits: Limits::new(&config, day, &kinds),
            faults: FaultState::new(config.faults.clone()),
            faults_since: origin,
            ledger: Ledger::new(origin, config.log, config.times_kept),
            tokens,
        };
        let shared = Shared {
            clock: Clock::new(origin, config.start),
            account: Account::with_options(config.seed, sizes, config.account_options()),
            state: Mutex::new(state),
            churn: Mutex::new(ChurnState::new(config.churn.clone(), origin)),
            hooks: RwLock::new(Vec::new()),
            config,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The account as a service in this process. Its latencies are sleeps on Tokio's clock.
    #[must_use]
    pub fn service(&self) -> SimService {
        SimService::new(self.clone())
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &SimConfig {
        &self.shared.config
    }

    /// The API token of the first user, as it is now.
    #[must_use]
    pub fn api_token(&self) -> String {
        self.shared.state().tokens[0].text.clone()
    }

    /// Gives the first user a new API token; the old one is refused. The same text again ends
    /// the expiry of a token.
    pub fn set_api_token(&self, token: impl Into<String>) {
        self.shared.state().tokens[0].replace(token.into());
    }

    /// As [`set_api_token`](Self::set_api_token), for the OAuth access token.
    pub fn set_oauth_token(&self, token: impl Into<String>) {
        if let Some(last) = self.shared.state().tokens.last_mut() {
            last.replace(token.into());
        }
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.shared.state().faults.faults().clone()
    }

    /// Puts other faults in force, from the next request on; their counts begin anew.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that lists what is wrong with them; the old ones stay then.
    pub fn set_faults(&self, faults: Faults) -> Result<(), ConfigError> {
        let faults = faults.checked()?;
        let mut state = self.shared.state();
        state.faults = FaultState::new(faults);
        state.faults_since = Instant::now();
        Ok(())
    }

    /// What changes by itself from now on.
    #[must_use]
    pub fn churn(&self) -> Churn {
        self.shared.churning().churn().clone()
    }

    /// Has other changes come by themselves from now on; their ticks begin anew.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that lists what is wrong with them; the old ones stay then.
    pub fn set_churn(&self, churn: Churn) -> Result<(), ConfigError> {
        let churn = churn.checked()?;
        let now = Instant::now();
        self.shared.catch_up(now);
        self.shared.churning().replace(churn, now);
        Ok(())
    }

    /// Makes the changes of one tick of `churn` now, once; the same again makes others.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that lists what is wrong with it; nothing changes then.
    pub fn change_now(&self, churn: Churn) -> Result<(), ConfigError> {
        let churn = churn.checked()?;
        let now = Instant::now();
        self.shared.catch_up(now);
        let second = self.shared.clock.wall(now).as_second();
        let account = &self.shared.account;
        self.shared.churning().apply(account, &churn, second, account.revision());
        Ok(())
    }

    /// Other integrations of the company spend so many of the day's tokens.
    pub fn spend_elsewhere(&self, tokens: u64) {
        let wall = self.shared.clock.wall(Instant::now());
        let mut state = self.shared.state();
        state.limits.day(wall).charge(tokens);
        state.ledger.elsewhere = state.ledger.elsewhere.saturating_add(tokens);
    }

    /// Has `hook` called with each answer, just before it goes out.
    pub fn on_answer(&self, hook: impl Fn(&Answered) + Send + Sync + 'static) {
        self.shared.hooks.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(hook));
    }

    /// What happened since the start.
    #[must_use]
    pub fn truth(&self) -> Truth {
        self.shared.truth()
    }

    /// Requests that the limits counted from `from` on and before `to`, all tokens together.
    ///
    /// Only the newest [`SimConfig::times_kept`] are known. With this, the share of the allowed
    /// burst that was used is `counted * window / (limit * (to - from))`.
    #[must_use]
    pub fn charged_between(&self, from: Instant, to: Instant) -> u64 {
        self.shared.state().ledger.charged_between(from, to)
    }

    /// When the account was made, on Tokio's clock.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.shared.clock.origin
    }

    /// The account's wall clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.wall(Instant::now())
    }

    /// The account's data, to read and to change behind the API's back: nothing of it is counted.
    #[must_use]
    pub fn account(&self) -> &Account {
        self.shared.catch_up(Instant::now());
        &self.shared.account
    }

    /// What the lists of an entity show now, as one figure.
    #[must_use]
    pub fn digest(&self, entity: Entity) -> Digest {
        self.account().digest(entity)
    }

    /// The digests of all entities, by name.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<&'static str, Digest> {
        Entity::ALL.into_iter().map(|entity| (entity.name(), self.digest(entity))).collect()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.shared.config.seed)
            .field("plan", &self.shared.config.plan)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, answered: &Answered) {
        let hooks = self.hooks.read().unwrap_or_else(PoisonError::into_inner).clone();
        for hook in hooks {
            hook(answered);
        }
    }

    fn churning(&self) -> MutexGuard<'_, ChurnState> {
        self.churn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due by the clock.
    pub(super) fn catch_up(&self, now: Instant) {
        let second = |at| self.clock.wall(at).as_second();
        self.churning().catch_up(&self.account, now, second);
    }

    /// A request was answered from the data.
    pub(super) fn served(&self, page: Option<OffsetPage>, wall: Timestamp) {
        self.churning().answered(&self.account, page, wall.as_second());
    }

    fn truth(&self) -> Truth {
        let now = Instant::now();
        self.catch_up(now);
        let churn = self.churning().done;
        let wall = self.clock.wall(now);
        let mut state = self.state();
        let day = state.limits.day(wall);
        let day = DayTruth {
            limit: self.config.tokens_a_day(),
            used: day.used(),
            used_ever: day.used_ever(),
            elsewhere: 0,
            resets_at: day.ends(),
            resets: day.resets(),
        };
        let (peak, search_peak) = state.limits.peaks();
        let ledger = &state.ledger;
        let operations = ledger.operations();
        let sum = |of: fn(&super::truth::OperationTruth) -> u64| operations.iter().map(of).sum();
        Truth {
            now: wall,
            elapsed_us: ledger.micros(now),
            requests: ledger.requests,
            asked: sum(|operation| operation.asked),
            charged: sum(|operation| operation.charged),
            answered: ledger.answered,
            refusals: ledger.refusals,
            day: DayTruth { elsewhere: ledger.elsewhere, ..day },
            window: WindowTruth {
                limit: self.config.burst_limit(AuthKind::ApiToken),
                search_limit: self.config.search_burst,
                window_ms: self.config.window_ms,
                peak,
                search_peak,
            },
            failed: ledger
                .faults
                .iter()
                .filter(|(kind, _)| kind.fails())
                .map(|(_, count)| count)
                .sum(),
            faults: ledger.faults.clone(),
            revision: self.account.revision(),
            churn,
            log: ledger.log(),
            operations,
        }
    }
}

impl State {
    /// The user whose token the request carries, whether expired or not.
    pub(super) fn user(&self, parts: &Parts, query_token: bool) -> Option<usize> {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let find = |kind, text: &str| {
            self.tokens.iter().position(|token| token.kind == kind && token.text == text)
        };
        if let Some(token) = header("x-api-token") {
            return find(AuthKind::ApiToken, token);
        }
        if let Some(value) = header(AUTHORIZATION.as_str()) {
            let (scheme, token) = value.split_once(' ')?;
            return scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| find(AuthKind::OAuth, token.trim()))
                .flatten();
        }
        let query = parts.uri.query().filter(|_| query_token)?;
        let (_, token) =
            url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "api_token")?;
        find(AuthKind::ApiToken, &token)
    }
}

impl Token {
    fn replace(&mut self, text: String) {
        self.text = text;
        self.expired = false;
    }
}
