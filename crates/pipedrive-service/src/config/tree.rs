//! The parts of the configuration.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::{civil::Time, tz::TimeZone};
use tower_health::{DetectorBuilder, FailureDetector};
use tower_ratelimit_tokens::{OnLimit, Pace, Priority, WhenFull};

use super::LedgerConfig;
use crate::{Entity, plan::Plan};

/// What the account may spend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Account {
    /// The plan, if known.
    pub plan: Option<Plan>,
    /// The seats, if known.
    pub seats: Option<u64>,
    /// Where it is midnight when the day's tokens come back.
    pub reset_time_zone: TimeZone,
    /// When they come back.
    pub reset_time: Time,
}

/// `robustness.rate_limiting`.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is described in SETTINGS")]
pub struct RateLimiting {
    pub enabled: bool,
    pub daily_budget: u64,
    pub max_delay: Duration,
    pub jitter_enabled: bool,
    /// By entity; the five field lists may be given as `custom_fields`.
    pub token_costs: BTreeMap<String, u64>,
    pub max_queue_size: usize,
    pub queue_timeout: Duration,
    /// Whether requests are spread evenly over the window.
    pub even: bool,
    pub on_limit: OnLimit,
    pub when_full: WhenFull,
    pub level_every: Duration,
    /// At least 0 and below 1.
    pub reserve: f64,
    pub reserve_from: Priority,
    pub shed_degraded: Priority,
    pub shed_critical: Priority,
    /// From 0 to 1, in rising order.
    pub warn_at: Vec<f64>,
    /// How the day's tokens are spread over the day.
    pub day_pace: Pace,
    /// Where budgets are shared with other processes, if they are.
    pub ledger: Option<LedgerConfig>,
    pub burst_limit: Option<u64>,
    pub burst_margin: Duration,
}

impl RateLimiting {
    /// Of a day of `limit` tokens, what a call of this priority must leave for more urgent ones.
    ///
    /// ```
    /// use pipedrive_service::{Config, Priority, Sources};
    ///
    /// let sources = Sources::new().set("robustness.rate_limiting.reserve", "0.1");
    /// let limiting = Config::load(&sources)?.rate_limiting;
    /// assert_eq!(limiting.kept(30_000, Priority::LOW), 3_000);
    /// assert_eq!(limiting.kept(30_000, Priority::HIGH), 0);
    /// # Ok::<(), pipedrive_service::ConfigError>(())
    /// ```
    #[must_use]
    pub fn kept(&self, limit: u64, priority: Priority) -> u64 {
        if priority >= self.reserve_from {
            return 0;
        }
        // As the limiter counts it: in millionths, rounded down.
        (u128::from(limit) * ((self.reserve * 1e6) as u128) / 1_000_000) as u64
    }
}

/// How back-off grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backoff {
    /// 1, 2, 4, 8 … times the base.
    Exponential,
    /// 1, 2, 3, 4 … times the base.
    Linear,
    /// Always the base.
    Constant,
}

/// How many circuits there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitScope {
    /// One for all requests.
    #[default]
    Api,
    /// One for each host.
    Host,
    /// One for each class of failure; see [`Fault`](crate::judge::Fault).
    Class,
    /// One for each class of failure at each host.
    HostAndClass,
}

impl CircuitScope {
    /// Whether hosts have circuits of their own.
    #[must_use]
    pub const fn by_host(self) -> bool {
        matches!(self, Self::Host | Self::HostAndClass)
    }

    /// Whether classes of failure have circuits of their own.
    #[must_use]
    pub const fn by_class(self) -> bool {
        matches!(self, Self::Class | Self::HostAndClass)
    }
}

/// `robustness.error_handling`.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is described in SETTINGS")]
pub struct ErrorHandling {
    pub max_retry_attempts: u32,
    pub base_delay: Duration,
    pub backoff: Backoff,
    pub jitter_factor: f64,
    pub circuit_breaker_enabled: bool,
    pub circuit_breaker_threshold: u32,
    pub circuit_breaker_timeout: Duration,
    pub circuit_breaker_first_timeout: Duration,
    pub circuit_breaker_scope: CircuitScope,
    pub half_open_max_requests: u32,
    pub request_timeout: Duration,
    /// The file.
    pub error_categories: Option<PathBuf>,
}

/// `robustness.memory_management`.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is described in SETTINGS")]
pub struct MemoryManagement {
    pub adaptive_pagination: bool,
    pub memory_threshold_percent: u8,
    pub alert_threshold_percent: u8,
    pub critical_threshold_percent: u8,
    pub min_batch_size: u32,
    pub max_batch_size: u32,
    pub force_gc: bool,
    pub memory_limit: Option<u64>,
}

/// `robustness.health_monitoring`.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is described in SETTINGS")]
pub struct HealthMonitoring {
    pub enabled: bool,
    pub check_interval: Duration,
    pub health_endpoint: Entity,
    pub check_timeout: Duration,
    pub failure_threshold: u32,
    pub degradation_threshold: Duration,
    pub cache_ttl: Duration,
}

/// `robustness.failure_detector`.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is described in SETTINGS")]
pub struct FailureDetection {
    pub heartbeat_interval: Duration,
    pub failure_threshold: u32,
    pub response_timeout: Duration,
}

impl FailureDetection {
    /// A detector by these settings, of the API's hosts or of anything else; whatever they do not say is as
    /// [`DetectorBuilder`] has it.
    ///
    /// ```
    /// use pipedrive_service::{Config, Sources};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = Config::load(&Sources::new().env([("PIGEON_FD_HEARTBEAT_INTERVAL_MS", "500")]))?;
    /// let workers = config.failure_detector.builder("workers").build()?;
    /// workers.register("worker-1", ())?;
    /// tokio::time::advance(std::time::Duration::from_millis(1_500)).await;
    /// assert_eq!(workers.health("worker-1").unwrap().reason.to_string(), "silent for 2s, allowed are 2s");
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder<I>(&self, name: &str) -> DetectorBuilder<I> {
        FailureDetector::builder(name)
            .heartbeat_interval(self.heartbeat_interval)
            .misses(self.failure_threshold)
            .failure_threshold(self.failure_threshold)
            .degraded_at(0.1, self.response_timeout)
    }
}

/// `robustness.monitoring`.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is described in SETTINGS")]
pub struct Monitoring {
    pub enabled: bool,
    pub performance_logging: bool,
    /// From 0 to 1.
    pub failure_rate_threshold: f64,
}
