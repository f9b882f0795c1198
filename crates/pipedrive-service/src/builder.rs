//! Builds a client out of a configuration.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_adaptive_page::{MemoryProbe, PageController, Price, detect};
use tower_circuit::{Circuit, OpenTime};
use tower_health::Health;
use tower_ratelimit_tokens::{Limiter, Priority, WallClock};
use tower_retry_classify::{Backoff, Class, ClassPolicy, Jitter, RecentHistory, RetryPolicy};
use tower_service::Service;

use crate::{
    BoxError, Client,
    auth::{AuthLayer, Origin},
    budgets::{self, Budgets, LimiterOptions},
    call::Call,
    circuits::ApiCircuits,
    classify::PipedriveClassifier,
    config::{self, Config, ConfigError, Problem},
    error_rules::ErrorRules,
    judge,
    plan::AuthKind,
    stack::{ApiRetry, Parts, stack},
    transport,
};

/// How many failed attempts are kept for who wants to write them down.
const FAILURES: usize = 10_000;

/// Pipedrive's header for an API token.
const X_API_TOKEN: HeaderName = HeaderName::from_static("x-api-token");

/// Builds a [`Client`]; see [`Client::builder`].
#[must_use]
pub struct ClientBuilder {
    config: Config,
    limiter: LimiterOptions,
    probe: Option<Arc<dyn MemoryProbe>>,
    purge: Option<Purge>,
    seed: Option<u64>,
    priority: Priority,
}

type Purge = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

impl ClientBuilder {
    pub(crate) fn new(config: Config) -> Self {
        let (limiter, priority) = (LimiterOptions::default(), Priority::NORMAL);
        Self { config, limiter, probe: None, purge: None, seed: None, priority }
    }

    /// The day's tokens are spent only as far as a lease allows; see [`Client::lease`]. Until the first grant every
    /// call waits. Default: no.
    pub fn leased(mut self, leased: bool) -> Self {
        self.limiter.leased = leased;
        self
    }

    /// All budgets are spent only as far as a ledger allows that other processes share: until its driver grants
    /// something, every call waits. The driver is the program's to run, over [`Client::limiter`]:
    ///
    /// ```no_run
    /// use pipedrive_service::{BoxError, Client, Config, Sources};
    /// use ratelimit_ledger::{Driver, RedisLedger};
    ///
    /// # async fn run() -> Result<(), BoxError> {
    /// let config = Config::load(&Sources::from_env())?;
    /// let ledger = config.rate_limiting.ledger.clone().expect("PIPEDRIVE_LEDGER_URL is set");
    /// let client = Client::builder(config).shared(true).build()?;
    /// let ledger = RedisLedger::new(ledger.url.expose(), "acme")?;
    /// tokio::spawn(Driver::new(client.limiter(), ledger).run());
    /// println!("{}", client.me().await?.name);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Default: no. A configuration that names a ledger is refused then, since without it two processes together would
    /// spend too much.
    pub fn shared(mut self, shared: bool) -> Self {
        self.limiter.shared = shared;
        self
    }

    /// The wall clock by which the day's budget is reset. Default: the system's.
    pub fn wall_clock(mut self, clock: impl WallClock + 'static) -> Self {
        self.limiter.clock = Some(Arc::new(clock));
        self
    }

    /// What knows how much memory is in use. Default: the configured limit, else the container's, else the machine's.
    pub fn memory_probe(mut self, probe: impl MemoryProbe + 'static) -> Self {
        self.probe = Some(Arc::new(probe));
        self
    }

    /// Gives memory that the program's allocator holds and does not need back to the system, and says how many bytes
    /// that were, if it knows. Called when memory is short, every 10 s at most, unless `PIPEDRIVE_FORCE_GC` is off.
    /// Default: nothing is given back.
    pub fn purge(mut self, purge: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        self.purge = Some(Arc::new(purge));
        self
    }

    /// Makes back-off repeatable. Default: by chance.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How urgent its calls are that say nothing of it; see [`Client::with_priority`]. Default: [`Priority::NORMAL`].
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Builds the client over HTTPS.
    ///
    /// # Errors
    ///
    /// If there is no token, or something that the configuration names cannot be used.
    pub fn build(self) -> Result<Client, ConfigError> {
        match transport::build(&self.config.transport) {
            Ok(transport) => self.build_over(transport),
            Err(error) => Err(said(&error)),
        }
    }

    /// Builds the client over a transport of the caller's.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_over<T, B>(self, transport: T) -> Result<Client, ConfigError>
    where
        T: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        T::Error: Into<BoxError>,
        T::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError> + Send,
    {
        let priority = self.priority;
        let (config, parts) = self.parts()?;
        let stack = stack(&parts, transport);
        Ok(Client::assemble(config, parts, stack)?.with_priority(priority))
    }

    /// Budgets, queue and gate alone, for who wants to look at or plan with them. Needs no token and sends nothing.
    ///
    /// # Errors
    ///
    /// If the limiter does not accept what the configuration says.
    ///
    /// ```
    /// use pipedrive_service::{Client, Config, Sources};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sources = Sources::new().set("account.plan", "lite").set("account.seats", "2");
    /// let (limiter, budgets) = Client::builder(Config::load(&sources)?).limiter()?;
    /// // 6,001 lists of 10 tokens each do not fit into one day.
    /// let plan = limiter.plan([(budgets.charge("/api/v2/deals", 10), 6_001)]);
    /// assert_eq!(plan.budget("day").map(|day| (day.needed, day.left)), Some((60_010, 60_000)));
    /// assert!(!plan.fits_now());
    /// # Ok(())
    /// # }
    /// ```
    pub fn limiter(self) -> Result<(Limiter, Budgets), ConfigError> {
        budgets::limiter(&self.config, self.limiter).map_err(|error| said(&error))
    }

    /// What the stack is made of, for a stack of one's own; see [`stack`](crate::stack).
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn parts(self) -> Result<(Config, Parts), ConfigError> {
        let Self { config, limiter, probe, purge, seed, priority: _ } = self;
        if let (Some(ledger), false) = (&config.rate_limiting.ledger, limiter.shared) {
            let text =
                "this program cannot share budgets; unset it, or build the client with `shared`";
            return Err(said(&format!("PIPEDRIVE_LEDGER_URL is {}, but {text}", ledger.url)));
        }
        let auth = auth(&config)?;
        let (limiter, budgets) =
            budgets::limiter(&config, limiter).map_err(|error| said(&error))?;
        let failures = RecentHistory::new(FAILURES);
        let rules = config.error_handling.error_categories.clone().map(ErrorRules::load);
        let rules = rules.transpose()?;
        let parts = Parts {
            limiter,
            budgets,
            circuits: circuits(&config)?,
            health: config.health_monitoring.enabled.then(|| health(&config)).transpose()?,
            pages: pages(&config, probe, purge)?,
            retry: retry(&config, seed, failures.clone(), rules.as_ref())?,
            rules,
            failures,
            auth,
            attempt_timeout: config.error_handling.request_timeout,
            max_body: config.max_body,
            limit: config.rate_limiting.enabled,
            on_limit: config.rate_limiting.on_limit,
            adapt_pages: config.memory_management.adaptive_pagination,
            timing: config.monitoring.enabled && config.monitoring.performance_logging,
        };
        Ok((config, parts))
    }
}

fn said(error: &impl fmt::Display) -> ConfigError {
    ConfigError::one(Problem::said(error.to_string()))
}

fn auth(config: &Config) -> Result<AuthLayer, ConfigError> {
    let missing = "PIPEDRIVE_API_TOKEN is not set, expected the API token";
    let token = config.api_token.as_ref().ok_or_else(|| said(&missing))?;
    let origin = Origin::of(&config.base_url).ok_or_else(|| said(&"the base URL has no host"))?;
    let layer = match config.auth {
        AuthKind::ApiToken => AuthLayer::header(origin, X_API_TOKEN, token),
        AuthKind::OAuth => AuthLayer::bearer(origin, token),
    };
    layer.map_err(|error| said(&format!("PIPEDRIVE_API_TOKEN cannot be sent: {error}")))
}

fn circuits(config: &Config) -> Result<ApiCircuits, ConfigError> {
    let settings = &config.error_handling;
    let each = |name: String| {
        Circuit::builder(name)
            .consecutive(settings.circuit_breaker_threshold)
            .open_for(open_time(settings))
            .half_open(settings.half_open_max_requests, 1)
            // A trial is one attempt, and that has a time-out of its own.
            .trial_time((settings.request_timeout * 2).max(Duration::from_secs(60)))
            .enabled(settings.circuit_breaker_enabled)
    };
    ApiCircuits::new(settings.circuit_breaker_scope, &config.base_url, each)
        .map_err(|error| said(&error))
}

/// A server that restarts is back in seconds, and one that is down for long is asked less and less often.
fn open_time(settings: &config::ErrorHandling) -> OpenTime {
    let longest = settings.circuit_breaker_timeout;
    let first = settings.circuit_breaker_first_timeout.min(longest);
    // Many programs that one outage has stopped do not come back at once.
    OpenTime::constant(first).growing(2.0, longest).jitter(0.1)
}

fn health(config: &Config) -> Result<Health, ConfigError> {
    let rate = config.monitoring.failure_rate_threshold;
    let slow = config.health_monitoring.degradation_threshold;
    let grave = rate.max(0.5);
    Health::builder("pipedrive")
        .degraded_at(rate, slow)
        .critical_at(grave, (10 * slow).min(std::time::Duration::from_secs(3600)))
        .unavailable_at(grave.max(0.9))
        .failure_threshold(config.health_monitoring.failure_threshold)
        .build()
        .map_err(|error| said(&error))
}

fn pages(
    config: &Config,
    probe: Option<Arc<dyn MemoryProbe>>,
    purge: Option<Purge>,
) -> Result<PageController, ConfigError> {
    let settings = &config.memory_management;
    let builder = PageController::builder()
        .bounds(settings.min_batch_size, settings.max_batch_size)
        .server_max(500)
        // A list costs the same for 10 rows as for 500, and no answer is held beyond this.
        .price(Price::per_page(20))
        .max_page_bytes(config.max_body)
        .thresholds(
            settings.memory_threshold_percent,
            settings.alert_threshold_percent,
            settings.critical_threshold_percent,
        );
    let builder = match probe {
        Some(probe) => builder.probe(move || probe.sample()),
        None => builder.probe(detect(settings.memory_limit)),
    };
    let builder = match purge.filter(|_| settings.force_gc) {
        Some(purge) => builder.purge(move || purge()),
        None => builder,
    };
    builder.build().map_err(|error| said(&error))
}

fn retry(
    config: &Config,
    seed: Option<u64>,
    failures: RecentHistory,
    rules: Option<&ErrorRules>,
) -> Result<ApiRetry, ConfigError> {
    let (settings, limiting) = (&config.error_handling, &config.rate_limiting);
    let base = settings.base_delay;
    let backoff = match settings.backoff {
        config::Backoff::Linear => Backoff::linear(base),
        config::Backoff::Constant => Backoff::constant(base),
        config::Backoff::Exponential => Backoff::exponential(base, 2.0),
    };
    let jitter = if limiting.jitter_enabled {
        Jitter::Fraction(settings.jitter_factor)
    } else {
        Jitter::None
    };
    let mut builder = RetryPolicy::builder()
        .classify(PipedriveClassifier::new())
        .max_retries(settings.max_retry_attempts)
        .backoff(backoff.cap(limiting.max_delay).jitter(jitter))
        // The day's 429 means, like the burst's, that the server did not act.
        .class(Class::Quota, ClassPolicy::new().untouched())
        .max_wait(limiting.queue_timeout)
        .local(judge::is_local_box)
        .history(failures)
        .idempotent(|request: &Request<Bytes>| {
            request.extensions().get::<Call>().is_some_and(Call::is_repeatable)
        })
        .deadline(|request: &Request<Bytes>| {
            request.extensions().get::<Call>().and_then(Call::deadline)
        });
    if let Some(rules) = rules {
        // Behind our own: its word is the last.
        builder = builder.classify(rules.rules().clone());
    }
    if let Some(seed) = seed {
        builder = builder.seed(seed);
    }
    builder.build().map_err(|error| said(&error))
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("config", &self.config)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}
