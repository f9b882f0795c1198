//! What can be set, from where, and what came of it.
//!
//! A value comes from the weakest to the strongest of: its default, a profile, a TOML file, a generic variable
//! (`PIGEON_*`), a variable of this crate (`PIPEDRIVE_*`), the program itself. Everything that is wrong is reported
//! at once, by name; nothing is silently ignored.

mod checks;
mod error;
mod ledger;
mod load;
mod sources;
pub(crate) mod syntax;
mod table;
mod tree;
mod value;
mod view;

use std::path::PathBuf;

use http::Uri;
use jiff::{civil::Time, tz::TimeZone};
use secrecy::SecretString;
use tower_ratelimit_tokens::{OnLimit, Pace, Priority, WhenFull};

pub use self::{
    error::{ConfigError, Problem},
    ledger::{LedgerConfig, LedgerUrl},
    load::{EnvName, Resolved, Setting, Source},
    sources::Sources,
    table::SETTINGS,
    tree::{
        Account, Backoff, CircuitScope, ErrorHandling, FailureDetection, HealthMonitoring,
        MemoryManagement, Monitoring, RateLimiting,
    },
    value::{Kind, Unit, Value},
    view::Effective,
};
use crate::{
    Entity,
    auth::Origin,
    plan::{AuthKind, Plan},
    transport::{ProxySettings, ProxyUri, TransportConfig},
};

/// The variable that chooses a profile.
pub const PROFILE_VARIABLE: &str = "PIPEDRIVE_PROFILE";
/// The variable that names a TOML file.
pub const FILE_VARIABLE: &str = "PIPEDRIVE_CONFIG";

/// Everything that this crate can be told; see [`SETTINGS`] for the meaning and default of each.
///
/// Its `Debug` shows no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The profile in use: `production` unless another was chosen.
    pub profile: String,
    /// The token, if one was given.
    pub api_token: Option<SecretString>,
    /// How the token is sent.
    pub auth: AuthKind,
    /// Scheme, host and port of the API.
    pub base_url: Uri,
    /// How connections are made and kept.
    pub transport: TransportConfig,
    /// The longest answer that is held, in bytes.
    pub max_body: u64,
    /// What the account may spend.
    pub account: Account,
    /// `robustness.rate_limiting`.
    pub rate_limiting: RateLimiting,
    /// `robustness.error_handling`.
    pub error_handling: ErrorHandling,
    /// `robustness.memory_management`.
    pub memory_management: MemoryManagement,
    /// `robustness.health_monitoring`.
    pub health_monitoring: HealthMonitoring,
    /// `robustness.failure_detector`.
    pub failure_detector: FailureDetection,
    /// `robustness.monitoring`.
    pub monitoring: Monitoring,
    /// Which entities a program copies unless it is told.
    pub enabled_entities: Vec<Entity>,
    resolved: Resolved,
    unknown: Vec<String>,
}

impl Config {
    /// Lays the sources over one another.
    ///
    /// A token is not asked for here, so that a configuration can be shown without one;
    /// [`Client::new`](crate::Client::new) does ask.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once. A file that cannot be read or is not TOML is reported alone.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let file = sources::read_file(sources, sources.variable(FILE_VARIABLE))?;
        let mut problems = Vec::new();
        let in_file =
            file.as_ref().and_then(|(_, root)| root.get("profile")).and_then(toml::Value::as_str);
        let profile =
            sources.profile.as_deref().or_else(|| sources.variable(PROFILE_VARIABLE)).or(in_file);
        let profile = match profile.unwrap_or("production") {
            "prod" => "production",
            "dev" => "development",
            other => other,
        };
        let sections = file
            .as_ref()
            .and_then(|(_, root)| root.get("profiles"))
            .and_then(toml::Value::as_table);
        let known = table::PROFILES.iter().any(|(name, _)| *name == profile)
            || sections.is_some_and(|sections| sections.contains_key(profile));
        if !known {
            problems.push(Problem::said(format!(
                "profile {profile:?} is neither development nor production, nor defined in a file"
            )));
        }
        let file = file.as_ref().map(|(name, root)| (name.as_str(), root));
        let resolved =
            Resolved::new(SETTINGS, table::PROFILES, profile, file, sources, &mut problems);
        let unknown = view::unknown_variables(sources);
        // Values that fit alone may not fit together; values that do not fit fall back to their defaults, which do.
        let config = Self::assemble(profile.to_owned(), resolved, unknown, &mut problems);
        ConfigError::check(problems)?;
        Ok(config)
    }

    fn assemble(
        profile: String,
        r: Resolved,
        unknown: Vec<String>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let base_url = base_url(&r, problems);
        let percent = |key| u8::try_from(r.number(key)).unwrap_or(100);
        let small = |key| u32::try_from(r.number(key)).unwrap_or(u32::MAX);
        let text = |key| r.text(key).unwrap_or_default();
        let proxy = {
            use secrecy::ExposeSecret as _;
            r.secret("connection.proxy").and_then(|text| ProxyUri::parse(text.expose_secret()).ok())
        };
        let config = Self {
            profile,
            api_token: r.secret("connection.api_token").cloned(),
            auth: if text("connection.auth") == "oauth" {
                AuthKind::OAuth
            } else {
                AuthKind::ApiToken
            },
            base_url,
            transport: TransportConfig {
                ca_file: r.text("connection.ca_file").map(PathBuf::from),
                proxy: ProxySettings { uri: proxy, except: text("connection.no_proxy").to_owned() },
                connect_timeout: r.time("connection.connect_timeout"),
                pool_idle_timeout: r.time("connection.pool_idle_timeout"),
                pool_max_idle: small("connection.pool_max_idle") as usize,
                http2: r.flag("connection.http2"),
                ..TransportConfig::default()
            },
            max_body: r.number("connection.max_body"),
            account: Account {
                plan: r.text("account.plan").and_then(Plan::named),
                seats: r.maybe_number("account.seats"),
                reset_time_zone: TimeZone::get(text("account.reset_time_zone"))
                    .unwrap_or(TimeZone::UTC),
                reset_time: text("account.reset_time").parse().unwrap_or(Time::midnight()),
            },
            rate_limiting: RateLimiting {
                enabled: r.flag("robustness.rate_limiting.enabled"),
                daily_budget: r.number("robustness.rate_limiting.daily_budget"),
                max_delay: r.time("robustness.rate_limiting.max_delay"),
                jitter_enabled: r.flag("robustness.rate_limiting.jitter_enabled"),
                token_costs: r.numbers("robustness.rate_limiting.token_costs"),
                max_queue_size: small("robustness.rate_limiting.max_queue_size") as usize,
                queue_timeout: r.time("robustness.rate_limiting.queue_timeout"),
                even: text("robustness.rate_limiting.pacing") == "even",
                on_limit: match text("robustness.rate_limiting.on_limit") {
                    "reject" => OnLimit::Reject,
                    _ => OnLimit::Wait,
                },
                when_full: match text("robustness.rate_limiting.when_full") {
                    "evict_lowest" => WhenFull::EvictLowest,
                    _ => WhenFull::RefuseNewcomer,
                },
                level_every: r.time("robustness.rate_limiting.level_every"),
                reserve: r.fraction("robustness.rate_limiting.reserve"),
                reserve_from: Priority::new(
                    u8::try_from(r.number("robustness.rate_limiting.reserve_from")).unwrap_or(10),
                ),
                shed_degraded: Priority::new(
                    u8::try_from(r.number("robustness.rate_limiting.shed_degraded")).unwrap_or(0),
                ),
                shed_critical: Priority::new(
                    u8::try_from(r.number("robustness.rate_limiting.shed_critical")).unwrap_or(0),
                ),
                warn_at: r.fractions("robustness.rate_limiting.warn_at"),
                day_pace: match text("robustness.rate_limiting.day_pacing") {
                    "even" => Pace::Even,
                    "predictive" => Pace::Predictive,
                    "steps" => Pace::autotask(),
                    _ => Pace::None,
                },
                ledger: ledger_of(&r),
                burst_limit: r.maybe_number("robustness.rate_limiting.burst_limit"),
                burst_margin: r.time("robustness.rate_limiting.burst_margin_ms"),
            },
            error_handling: ErrorHandling {
                max_retry_attempts: small("robustness.error_handling.max_retry_attempts"),
                base_delay: r.time("robustness.error_handling.base_delay_ms"),
                backoff: match text("robustness.error_handling.backoff_strategy") {
                    "linear" => Backoff::Linear,
                    "constant" => Backoff::Constant,
                    _ => Backoff::Exponential,
                },
                jitter_factor: r.fraction("robustness.error_handling.jitter_factor"),
                circuit_breaker_enabled: r
                    .flag("robustness.error_handling.circuit_breaker_enabled"),
                circuit_breaker_threshold: small(
                    "robustness.error_handling.circuit_breaker_threshold",
                ),
                circuit_breaker_timeout: r
                    .time("robustness.error_handling.circuit_breaker_timeout"),
                circuit_breaker_first_timeout: r
                    .time("robustness.error_handling.circuit_breaker_first_timeout"),
                circuit_breaker_scope: match text("robustness.error_handling.circuit_breaker_scope")
                {
                    "host" => CircuitScope::Host,
                    "class" => CircuitScope::Class,
                    "host_and_class" => CircuitScope::HostAndClass,
                    _ => CircuitScope::Api,
                },
                half_open_max_requests: small("robustness.error_handling.half_open_max_requests"),
                request_timeout: r.time("robustness.error_handling.request_timeout"),
                error_categories: r
                    .text("robustness.error_handling.error_categories")
                    .map(PathBuf::from),
            },
            memory_management: MemoryManagement {
                adaptive_pagination: r.flag("robustness.memory_management.adaptive_pagination"),
                memory_threshold_percent: percent(
                    "robustness.memory_management.memory_threshold_percent",
                ),
                alert_threshold_percent: percent(
                    "robustness.memory_management.alert_threshold_percent",
                ),
                critical_threshold_percent: percent(
                    "robustness.memory_management.critical_threshold_percent",
                ),
                min_batch_size: small("robustness.memory_management.min_batch_size"),
                max_batch_size: small("robustness.memory_management.max_batch_size"),
                force_gc: r.flag("robustness.memory_management.force_gc"),
                memory_limit: r.maybe_number("robustness.memory_management.memory_limit"),
            },
            health_monitoring: HealthMonitoring {
                enabled: r.flag("robustness.health_monitoring.enabled"),
                check_interval: r.time("robustness.health_monitoring.check_interval"),
                health_endpoint: text("robustness.health_monitoring.health_endpoint")
                    .parse()
                    .unwrap_or(Entity::Currencies),
                check_timeout: r.time("robustness.health_monitoring.check_timeout"),
                failure_threshold: small("robustness.health_monitoring.failure_threshold"),
                degradation_threshold: r
                    .time("robustness.health_monitoring.degradation_threshold_ms"),
                cache_ttl: r.time("robustness.health_monitoring.cache_ttl"),
            },
            failure_detector: FailureDetection {
                heartbeat_interval: r.time("robustness.failure_detector.heartbeat_interval_ms"),
                failure_threshold: small("robustness.failure_detector.failure_threshold"),
                response_timeout: r.time("robustness.failure_detector.response_timeout_ms"),
            },
            monitoring: Monitoring {
                enabled: r.flag("robustness.monitoring.enabled"),
                performance_logging: r.flag("robustness.monitoring.performance_logging"),
                failure_rate_threshold: r.number("robustness.monitoring.failure_rate_threshold")
                    as f64
                    / 100.0,
            },
            enabled_entities: entities(&r.names("sync.enabled_entities")),
            resolved: r,
            unknown,
        };
        config.check(problems);
        config
    }

    /// What fits alone but not together.
    fn check(&self, problems: &mut Vec<Problem>) {
        let memory = &self.memory_management;
        let mut below = |low: &str, low_value: u128, high: &str, high_value: u128, equal: bool| {
            if low_value > high_value || (low_value == high_value && !equal) {
                let relation = if equal { "at most" } else { "below" };
                problems.push(Problem::said(format!(
                    "{low} ({low_value}) must be {relation} {high} ({high_value})"
                )));
            }
        };
        let (shrink, alert, pause) = (
            memory.memory_threshold_percent.into(),
            memory.alert_threshold_percent.into(),
            memory.critical_threshold_percent.into(),
        );
        below(
            "PIPEDRIVE_MEMORY_THRESHOLD",
            shrink,
            "PIPEDRIVE_MEMORY_ALERT_THRESHOLD",
            alert,
            false,
        );
        below(
            "PIPEDRIVE_MEMORY_ALERT_THRESHOLD",
            alert,
            "PIPEDRIVE_MEMORY_CRITICAL_THRESHOLD",
            pause,
            false,
        );
        let (least, most) = (memory.min_batch_size.into(), memory.max_batch_size.into());
        below("PIPEDRIVE_MIN_BATCH_SIZE", least, "PIPEDRIVE_MAX_BATCH_SIZE", most, true);
        let base = self.error_handling.base_delay.as_millis();
        let cap = self.rate_limiting.max_delay.as_millis();
        below("the first back-off in milliseconds", base, "the longest back-off", cap, true);
    }
}

fn ledger_of(r: &Resolved) -> Option<LedgerConfig> {
    use secrecy::ExposeSecret as _;
    let url = r.secret("robustness.rate_limiting.ledger_url")?;
    Some(LedgerConfig {
        url: LedgerUrl::parse(url.expose_secret())?,
        name: r.text("robustness.rate_limiting.ledger_name").map(str::to_owned),
        alone: r.fraction("robustness.rate_limiting.ledger_alone"),
    })
}

fn entities(names: &[String]) -> Vec<Entity> {
    let mut wanted: Vec<Entity> =
        names.iter().filter_map(|name| Entity::named(name)).flatten().collect();
    wanted.sort_unstable();
    wanted.dedup();
    Entity::ALL.into_iter().filter(|entity| wanted.contains(entity)).collect()
}

fn base_url(r: &Resolved, problems: &mut Vec<Problem>) -> Uri {
    let text = match (r.text("connection.base_url"), r.text("connection.company_domain")) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(company)) => {
            format!(
                "https://{}.pipedrive.com",
                company.strip_suffix(".pipedrive.com").unwrap_or(company)
            )
        }
        (None, None) => "https://api.pipedrive.com".to_owned(),
    };
    let uri: Uri = text.parse().unwrap_or_else(|_| Uri::from_static("https://api.pipedrive.com"));
    let local = |host: &str| {
        matches!(host, "localhost" | "127.0.0.1" | "[::1]") || host.starts_with("127.")
    };
    if uri.scheme_str() == Some("http")
        && !uri.host().is_some_and(local)
        && !r.flag("connection.allow_http")
    {
        let origin = Origin::of(&uri).map_or_else(String::new, |origin| origin.to_string());
        problems.push(Problem::said(format!(
            "{origin} would get the token without TLS; use https, or set PIPEDRIVE_ALLOW_HTTP"
        )));
    }
    uri
}
