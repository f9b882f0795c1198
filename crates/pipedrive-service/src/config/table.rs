//! Every setting of this crate. The README's table is written from it.

use super::{
    checks::{company, entity, ledger, origin, proxy, time_of_day, time_zone, token_cost},
    load::{EnvName, Setting},
    value::{Kind, Unit},
};

const DAY: u64 = 24 * 60 * 60 * 1000;
const HOUR: u64 = 60 * 60 * 1000;
const SWITCH: Kind = Kind::Switch;
const PERCENT: Kind = Kind::Number(1, 100);
const ANY_TEXT: Kind = Kind::Text("a text that is not empty", |text| !text.is_empty());

const fn sec(name: &'static str) -> EnvName {
    EnvName { name, unit: Unit::Seconds }
}

const fn ms(name: &'static str) -> EnvName {
    EnvName { name, unit: Unit::Millis }
}

const fn setting(
    key: &'static str,
    env: &'static [EnvName],
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { key, env, kind, default, doc }
}

/// Every setting: its key, variables, kind, default and meaning.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    // Where to, and as whom.
    setting("connection.api_token", &[sec("PIPEDRIVE_API_TOKEN")], Kind::Secret, "", "The API token, or the access token of an OAuth app."),
    setting("connection.auth", &[sec("PIPEDRIVE_AUTH")], Kind::Choice(&["api_token", "oauth"]), "api_token", "How the token is sent: `x-api-token`, or `Authorization: Bearer`."),
    setting("connection.company_domain", &[sec("PIPEDRIVE_COMPANY_DOMAIN")], Kind::Text("a company domain such as acme", company), "", "The company's part of the host name; without it `api.pipedrive.com` is used."),
    setting("connection.base_url", &[sec("PIPEDRIVE_BASE_URL")], Kind::Text("scheme://host or scheme://host:port, without a path", origin), "", "Another server, such as a simulator; wins over the company domain."),
    setting("connection.allow_http", &[sec("PIPEDRIVE_ALLOW_HTTP")], SWITCH, "false", "Send the token without TLS to a host other than this machine."),
    setting("connection.ca_file", &[sec("PIPEDRIVE_CA_FILE")], ANY_TEXT, "", "A PEM file of certificates to trust besides the public ones."),
    setting("connection.proxy", &[sec("PIPEDRIVE_PROXY"), sec("HTTPS_PROXY"), sec("https_proxy")], Kind::Veiled("http://host:port", proxy), "", "An HTTP proxy, used by CONNECT."),
    setting("connection.no_proxy", &[sec("PIPEDRIVE_NO_PROXY"), sec("NO_PROXY"), sec("no_proxy")], ANY_TEXT, "", "Hosts reached without the proxy, separated by commas."),
    setting("connection.max_body", &[sec("PIPEDRIVE_MAX_BODY")], Kind::Size(1024, 1 << 32), "32MiB", "The longest answer that is held in memory."),
    setting("connection.connect_timeout", &[sec("PIPEDRIVE_CONNECT_TIMEOUT")], Kind::Time(100, 10 * 60 * 1000), "10", "How long connecting may take."),
    setting("connection.pool_idle_timeout", &[sec("PIPEDRIVE_POOL_IDLE_TIMEOUT")], Kind::Time(1000, HOUR), "60", "How long an idle connection is kept."),
    setting("connection.pool_max_idle", &[sec("PIPEDRIVE_POOL_MAX_IDLE")], Kind::Number(1, 1000), "32", "How many idle connections are kept."),
    setting("connection.http2", &[sec("PIPEDRIVE_HTTP2")], SWITCH, "true", "Offer HTTP/2 besides HTTP/1.1."),
    // What the account may spend.
    setting("account.plan", &[sec("PIPEDRIVE_PLAN")], Kind::Choice(&["lite", "growth", "premium", "ultimate", "essential", "advanced", "professional", "power", "enterprise"]), "", "The plan; it gives the burst limit and, with the seats, the day's tokens."),
    setting("account.seats", &[sec("PIPEDRIVE_SEATS")], Kind::Number(1, 100_000), "", "The seats of the company; 30,000 tokens a day for each, times the plan's factor."),
    setting("account.reset_time_zone", &[sec("PIPEDRIVE_RESET_TIME_ZONE")], Kind::Text("a time zone such as UTC or Europe/Tallinn", time_zone), "UTC", "Where it is midnight when the day's tokens come back; Pipedrive does not say."),
    setting("account.reset_time", &[sec("PIPEDRIVE_RESET_TIME")], Kind::Text("a time of day such as 00:00", time_of_day), "00:00", "The time of day when the day's tokens come back."),
    // Section 1 of the tree: rate limiting.
    setting("robustness.rate_limiting.enabled", &[sec("PIPEDRIVE_RATE_LIMITING_ENABLED")], SWITCH, "true", "Whether budgets are kept at all."),
    setting("robustness.rate_limiting.daily_budget", &[sec("PIPEDRIVE_DAILY_TOKEN_BUDGET")], Kind::Number(1, 10_000_000_000), "10000", "Tokens a day, where neither plan and seats nor the server tell."),
    setting("robustness.rate_limiting.max_delay", &[sec("PIPEDRIVE_RATE_LIMIT_MAX_DELAY"), ms("PIGEON_RETRY_MAX_DELAY_MS")], Kind::Time(1, HOUR), "16", "The longest back-off of our own; what the server asks for is never shortened."),
    setting("robustness.rate_limiting.jitter_enabled", &[sec("PIPEDRIVE_RATE_LIMIT_JITTER")], SWITCH, "true", "Whether back-off is spread at random."),
    setting("robustness.rate_limiting.token_costs", &[sec("PIPEDRIVE_TOKEN_COSTS")], Kind::Numbers("entity=tokens pairs such as deals=1,files=2", token_cost), "", "Costs by entity, laid over the true cost of each operation."),
    setting("robustness.rate_limiting.max_queue_size", &[sec("PIPEDRIVE_RATE_LIMIT_QUEUE_SIZE")], Kind::Number(1, 1_000_000), "1000", "How many calls may wait for budget."),
    setting("robustness.rate_limiting.queue_timeout", &[sec("PIPEDRIVE_RATE_LIMIT_QUEUE_TIMEOUT")], Kind::Time(1, DAY), "300", "How long a call may wait for budget."),
    setting("robustness.rate_limiting.pacing", &[sec("PIPEDRIVE_RATE_LIMIT_PACING")], Kind::Choice(&["even", "none"]), "even", "Whether requests are spread evenly over the burst window."),
    setting("robustness.rate_limiting.on_limit", &[sec("PIPEDRIVE_RATE_LIMIT_ON_LIMIT")], Kind::Choice(&["wait", "reject"]), "wait", "Whether a call that finds no budget waits or is refused; a call of its own can say otherwise."),
    setting("robustness.rate_limiting.when_full", &[sec("PIPEDRIVE_RATE_LIMIT_WHEN_FULL")], Kind::Choice(&["refuse_newcomer", "evict_lowest"]), "refuse_newcomer", "Whom to refuse when the queue is full: the newcomer, or the least urgent of all."),
    setting("robustness.rate_limiting.level_every", &[sec("PIPEDRIVE_RATE_LIMIT_LEVEL_EVERY")], Kind::Time(0, DAY), "30", "A call that has waited this much longer goes before one a level of priority above it; 0: priorities do not count."),
    setting("robustness.rate_limiting.reserve", &[sec("PIPEDRIVE_RATE_LIMIT_RESERVE")], Kind::Part, "0", "The share of the day's tokens that is kept for urgent calls; below 1."),
    setting("robustness.rate_limiting.reserve_from", &[sec("PIPEDRIVE_RATE_LIMIT_RESERVE_FROM")], Kind::Number(1, 10), "8", "The least priority that may spend what is kept."),
    setting("robustness.rate_limiting.shed_degraded", &[sec("PIPEDRIVE_RATE_LIMIT_SHED_DEGRADED")], Kind::Number(0, 10), "0", "Calls below this priority are turned away while the API is degraded; 0: none."),
    setting("robustness.rate_limiting.shed_critical", &[sec("PIPEDRIVE_RATE_LIMIT_SHED_CRITICAL")], Kind::Number(0, 10), "0", "The same while it is critical or unavailable."),
    setting("robustness.rate_limiting.warn_at", &[sec("PIPEDRIVE_RATE_LIMIT_WARN_AT")], Kind::Fractions, "0.8", "Shares of the day's tokens at whose use a warning is given."),
    setting("robustness.rate_limiting.day_pacing", &[sec("PIPEDRIVE_RATE_LIMIT_DAY_PACING")], Kind::Choice(&["none", "even", "predictive", "steps"]), "none", "How the day's tokens are spread over the day: not at all; evenly; evenly once the last hour's speed would not last; by a wait of half a second from 50 % on and a whole one from 75 % on."),
    setting("robustness.rate_limiting.ledger_url", &[sec("PIPEDRIVE_LEDGER_URL")], Kind::Veiled("redis://host:port, with user, password and database if need be", ledger), "", "A Redis by which processes share the budgets of one token; for programs that can."),
    setting("robustness.rate_limiting.ledger_name", &[sec("PIPEDRIVE_LEDGER_NAME")], ANY_TEXT, "", "What the budgets are called there; without it, something made of the host and the token."),
    setting("robustness.rate_limiting.ledger_alone", &[sec("PIPEDRIVE_LEDGER_ALONE")], Kind::Fraction, "0", "The share of each limit that this process may spend while that Redis cannot be reached."),
    setting("robustness.rate_limiting.burst_limit", &[sec("PIPEDRIVE_BURST_LIMIT")], Kind::Number(1, 100_000), "", "Requests per 2 seconds, if not the plan's."),
    setting("robustness.rate_limiting.burst_margin_ms", &[ms("PIPEDRIVE_BURST_MARGIN_MS")], Kind::Time(0, 10_000), "1000ms", "How long a request may be under way to the server: the transit bound of the rolling window."),
    // Section 2: errors.
    setting("robustness.error_handling.max_retry_attempts", &[sec("PIPEDRIVE_MAX_RETRY_ATTEMPTS"), sec("PIGEON_RETRY_MAX_RETRIES")], Kind::Number(0, 100), "3", "Retries after the first attempt; 0 for none."),
    setting("robustness.error_handling.base_delay_ms", &[ms("PIGEON_RETRY_BASE_DELAY_MS")], Kind::Time(1, HOUR), "1s", "The first back-off."),
    setting("robustness.error_handling.backoff_strategy", &[sec("PIGEON_RETRY_BACKOFF_STRATEGY")], Kind::Choice(&["exponential", "linear", "constant"]), "exponential", "How back-off grows."),
    setting("robustness.error_handling.jitter_factor", &[sec("PIGEON_RETRY_JITTER_FACTOR")], Kind::Fraction, "0.1", "By which part back-off is spread at random."),
    setting("robustness.error_handling.circuit_breaker_enabled", &[sec("PIPEDRIVE_CIRCUIT_BREAKER_ENABLED")], SWITCH, "true", "Whether a failing API is left alone for a while."),
    setting("robustness.error_handling.circuit_breaker_threshold", &[sec("PIPEDRIVE_CIRCUIT_BREAKER_THRESHOLD"), sec("PIGEON_CB_FAILURE_THRESHOLD")], Kind::Number(1, 100_000), "5", "Failures in a row that open the circuit."),
    setting("robustness.error_handling.circuit_breaker_timeout", &[sec("PIPEDRIVE_CIRCUIT_BREAKER_TIMEOUT"), ms("PIGEON_CB_RECOVERY_TIMEOUT_MS")], Kind::Time(1, DAY), "300", "How long the circuit stays open at the longest."),
    setting("robustness.error_handling.circuit_breaker_first_timeout", &[sec("PIPEDRIVE_CIRCUIT_BREAKER_FIRST_TIMEOUT")], Kind::Time(1, DAY), "10", "How long the circuit stays open the first time; each time in a row twice as long as the one before, up to the longest."),
    setting("robustness.error_handling.circuit_breaker_scope", &[sec("PIPEDRIVE_CIRCUIT_BREAKER_SCOPE")], Kind::Choice(&["api", "host", "class", "host_and_class"]), "api", "How many circuits there are: one for all, one for each host, one for each class of failure (connection, timeout, server, body), or one for each of both."),
    setting("robustness.error_handling.half_open_max_requests", &[sec("PIGEON_CB_HALF_OPEN_MAX_REQUESTS")], Kind::Number(1, 1000), "3", "Trials at a time while the circuit is half-open."),
    setting("robustness.error_handling.request_timeout", &[sec("PIPEDRIVE_REQUEST_TIMEOUT"), ms("PIGEON_CB_TIMEOUT_MS")], Kind::Time(1, HOUR), "30", "How long one attempt may take, its body included."),
    setting("robustness.error_handling.error_categories", &[sec("PIPEDRIVE_ERROR_CATEGORIES")], ANY_TEXT, "", "A TOML file of rules by which failures are classified, over those of this crate; a running program reads it again when it changes."),
    // Section 3: memory.
    setting("robustness.memory_management.adaptive_pagination", &[sec("PIPEDRIVE_ADAPTIVE_PAGINATION")], SWITCH, "true", "Whether the page size follows memory."),
    setting("robustness.memory_management.memory_threshold_percent", &[sec("PIPEDRIVE_MEMORY_THRESHOLD")], PERCENT, "80", "Percent of memory above which pages shrink."),
    setting("robustness.memory_management.alert_threshold_percent", &[sec("PIPEDRIVE_MEMORY_ALERT_THRESHOLD")], PERCENT, "85", "Percent of memory above which a warning is given."),
    setting("robustness.memory_management.critical_threshold_percent", &[sec("PIPEDRIVE_MEMORY_CRITICAL_THRESHOLD")], PERCENT, "95", "Percent of memory above which walks pause."),
    setting("robustness.memory_management.min_batch_size", &[sec("PIPEDRIVE_MIN_BATCH_SIZE")], Kind::Number(1, 500), "10", "The smallest page."),
    setting("robustness.memory_management.max_batch_size", &[sec("PIPEDRIVE_MAX_BATCH_SIZE")], Kind::Number(1, 500), "500", "The largest page."),
    setting("robustness.memory_management.force_gc", &[sec("PIPEDRIVE_FORCE_GC")], SWITCH, "true", "Whether free memory is given back to the system when it is short; for programs that can."),
    setting("robustness.memory_management.memory_limit", &[sec("PIPEDRIVE_MEMORY_LIMIT")], Kind::Size(16 << 20, 1 << 50), "", "Memory that may be used, if not what the container or the machine has."),
    // Section 4: health.
    setting("robustness.health_monitoring.enabled", &[sec("PIPEDRIVE_HEALTH_MONITORING_ENABLED")], SWITCH, "true", "Whether outcomes and latency are watched."),
    setting("robustness.health_monitoring.check_interval", &[sec("PIPEDRIVE_HEALTH_CHECK_INTERVAL")], Kind::Time(1000, DAY), "300", "How often a running program probes."),
    setting("robustness.health_monitoring.health_endpoint", &[sec("PIPEDRIVE_HEALTH_ENDPOINT")], Kind::Text("an entity such as currencies", |text| entity(text) && text != "all"), "currencies", "The list that a probe reads."),
    setting("robustness.health_monitoring.check_timeout", &[sec("PIPEDRIVE_HEALTH_CHECK_TIMEOUT")], Kind::Time(1, HOUR), "10", "How long a probe may take."),
    setting("robustness.health_monitoring.failure_threshold", &[sec("PIPEDRIVE_HEALTH_FAILURE_THRESHOLD")], Kind::Number(1, 1000), "3", "Probes in a row that must fail before the API is called unavailable."),
    setting("robustness.health_monitoring.degradation_threshold_ms", &[ms("PIPEDRIVE_HEALTH_DEGRADATION_THRESHOLD")], Kind::Time(1, HOUR), "1000ms", "Latency above which the API is called degraded."),
    setting("robustness.health_monitoring.cache_ttl", &[sec("PIPEDRIVE_HEALTH_CACHE_TTL")], Kind::Time(1, DAY), "60", "How long the outcome of a probe is believed."),
    // The failure detector: of the API's host here, of whatever else a program watches by these settings.
    setting("robustness.failure_detector.heartbeat_interval_ms", &[ms("PIGEON_FD_HEARTBEAT_INTERVAL_MS")], Kind::Time(1, DAY), "30000ms", "How often a host or worker that has work should be heard of."),
    setting("robustness.failure_detector.failure_threshold", &[sec("PIGEON_FD_FAILURE_THRESHOLD")], Kind::Number(1, 1000), "3", "Heartbeats that may be missed, and failures in a row, before it is unhealthy."),
    setting("robustness.failure_detector.response_timeout_ms", &[ms("PIGEON_FD_RESPONSE_TIMEOUT_MS")], Kind::Time(1, HOUR), "10000ms", "How long it may take to answer on average before it is degraded."),
    // Section 5: monitoring.
    setting("robustness.monitoring.enabled", &[sec("PIPEDRIVE_MONITORING_ENABLED")], SWITCH, "true", "Whether events of the stack are reported; for programs."),
    setting("robustness.monitoring.performance_logging", &[sec("PIPEDRIVE_PERFORMANCE_LOGGING")], SWITCH, "true", "Whether the time of each call is logged."),
    setting("robustness.monitoring.failure_rate_threshold", &[sec("PIPEDRIVE_FAILURE_RATE_THRESHOLD")], PERCENT, "10", "Percent of failed attempts above which health is degraded."),
    // Jobs and alerts belong to programs; this crate reads and checks them.
    setting("jobs.sync_queue", &[sec("PIPEDRIVE_SYNC_QUEUE")], ANY_TEXT, "pipedrive-sync", "Queue of synchronisation jobs; not used yet."),
    setting("jobs.webhook_queue", &[sec("PIPEDRIVE_WEBHOOK_QUEUE")], ANY_TEXT, "pipedrive-webhooks", "Queue of webhook jobs; not used yet."),
    setting("jobs.retry_queue", &[sec("PIPEDRIVE_RETRY_QUEUE")], ANY_TEXT, "pipedrive-retry", "Queue of jobs to try again; not used yet."),
    setting("jobs.timeout", &[sec("PIPEDRIVE_JOB_TIMEOUT")], Kind::Time(1000, 7 * DAY), "3600", "How long a job may take; not used yet."),
    setting("jobs.max_tries", &[sec("PIPEDRIVE_JOB_MAX_TRIES")], Kind::Number(1, 1000), "3", "How often a job is tried in all; not used yet."),
    setting("jobs.prefer_async", &[sec("PIPEDRIVE_PREFER_ASYNC")], SWITCH, "false", "Whether commands queue jobs instead of doing the work; not used yet."),
    setting("jobs.batch_processing", &[sec("PIPEDRIVE_BATCH_PROCESSING")], SWITCH, "true", "Whether jobs are taken in batches; not used yet."),
    setting("alerting.enabled", &[sec("PIPEDRIVE_ALERTING_ENABLED")], SWITCH, "false", "Whether alerts are sent; not used yet."),
    setting("alerting.channels.mail.enabled", &[sec("PIPEDRIVE_ALERT_MAIL_ENABLED")], SWITCH, "false", "Alerts by mail; not used yet."),
    setting("alerting.channels.mail.to", &[sec("PIPEDRIVE_ALERT_MAIL_TO")], ANY_TEXT, "", "Who gets them; not used yet."),
    setting("alerting.channels.mail.from", &[sec("PIPEDRIVE_ALERT_MAIL_FROM")], ANY_TEXT, "", "From whom they come; not used yet."),
    setting("alerting.channels.slack.enabled", &[sec("PIPEDRIVE_ALERT_SLACK_ENABLED")], SWITCH, "false", "Alerts to Slack; not used yet."),
    setting("alerting.channels.slack.webhook", &[sec("PIPEDRIVE_ALERT_SLACK_WEBHOOK")], Kind::Secret, "", "Slack's webhook address, which is a secret; not used yet."),
    setting("alerting.channels.slack.channel", &[sec("PIPEDRIVE_ALERT_SLACK_CHANNEL")], ANY_TEXT, "", "Slack's channel; not used yet."),
    setting("alerting.conditions.circuit_breaker_open", &[], SWITCH, "true", "Alert when the circuit opens; not used yet."),
    setting("alerting.conditions.high_failure_rate", &[], SWITCH, "true", "Alert when too many attempts fail; not used yet."),
    setting("alerting.conditions.memory_threshold", &[], SWITCH, "true", "Alert when memory is short; not used yet."),
    setting("alerting.conditions.rate_limit_exhaustion", &[], SWITCH, "true", "Alert when a budget is spent; not used yet."),
    setting("alerting.conditions.health_check_failure", &[], SWITCH, "true", "Alert when a probe fails; not used yet."),
    setting("sync.enabled_entities", &[sec("PIPEDRIVE_ENABLED_ENTITIES")], Kind::Names("entities separated by commas, or all", entity), "all", "Which entities a program copies unless it is told."),
];

/// The profiles that are built in, and what they change. `production` is the defaults.
pub(super) const PROFILES: &[(&str, &[(&str, &str)])] = &[
    ("production", &[]),
    (
        "development",
        &[
            ("robustness.error_handling.max_retry_attempts", "2"),
            ("robustness.error_handling.base_delay_ms", "500ms"),
            ("robustness.error_handling.circuit_breaker_threshold", "2"),
            ("robustness.error_handling.circuit_breaker_timeout", "30s"),
            ("robustness.error_handling.request_timeout", "10s"),
        ],
    ),
];
