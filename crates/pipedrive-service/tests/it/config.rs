//! Where settings come from, which wins, and what is said about wrong ones.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use pipedrive_service::{
    AuthKind, Client, Config, Entity, Plan, Sources,
    config::{Kind, SETTINGS, Source, Unit},
};
use tower_adaptive_page::Memory;

/// Every variable that must be known, with a value that is not its default and what the setting then shows.
const VARIABLES: &[(&str, &str, &str, &str)] = &[
    ("PIPEDRIVE_RATE_LIMITING_ENABLED", "false", "robustness.rate_limiting.enabled", "false"),
    ("PIPEDRIVE_DAILY_TOKEN_BUDGET", "12345", "robustness.rate_limiting.daily_budget", "12345"),
    ("PIPEDRIVE_RATE_LIMIT_MAX_DELAY", "8", "robustness.rate_limiting.max_delay", "8s"),
    ("PIPEDRIVE_RATE_LIMIT_JITTER", "false", "robustness.rate_limiting.jitter_enabled", "false"),
    ("PIPEDRIVE_RATE_LIMIT_QUEUE_SIZE", "50", "robustness.rate_limiting.max_queue_size", "50"),
    ("PIPEDRIVE_RATE_LIMIT_QUEUE_TIMEOUT", "60", "robustness.rate_limiting.queue_timeout", "60s"),
    ("PIPEDRIVE_RATE_LIMIT_PACING", "none", "robustness.rate_limiting.pacing", "none"),
    ("PIPEDRIVE_RATE_LIMIT_ON_LIMIT", "reject", "robustness.rate_limiting.on_limit", "reject"),
    (
        "PIPEDRIVE_RATE_LIMIT_WHEN_FULL",
        "evict_lowest",
        "robustness.rate_limiting.when_full",
        "evict_lowest",
    ),
    ("PIPEDRIVE_RATE_LIMIT_LEVEL_EVERY", "0", "robustness.rate_limiting.level_every", "0ns"),
    ("PIPEDRIVE_RATE_LIMIT_RESERVE", "0.05", "robustness.rate_limiting.reserve", "0.05"),
    ("PIPEDRIVE_RATE_LIMIT_RESERVE_FROM", "6", "robustness.rate_limiting.reserve_from", "6"),
    ("PIPEDRIVE_RATE_LIMIT_WARN_AT", "0.5, 0.9", "robustness.rate_limiting.warn_at", "0.5,0.9"),
    ("PIPEDRIVE_RATE_LIMIT_DAY_PACING", "even", "robustness.rate_limiting.day_pacing", "even"),
    (
        "PIPEDRIVE_LEDGER_URL",
        "redis://u:hunter2@redis.test:6379/1",
        "robustness.rate_limiting.ledger_url",
        "redis://redis.test:6379/1",
    ),
    ("PIPEDRIVE_LEDGER_NAME", "acme", "robustness.rate_limiting.ledger_name", "acme"),
    ("PIPEDRIVE_LEDGER_ALONE", "0.5", "robustness.rate_limiting.ledger_alone", "0.5"),
    ("PIPEDRIVE_TOKEN_COSTS", "deals=1", "robustness.rate_limiting.token_costs", "deals=1"),
    ("PIPEDRIVE_BURST_LIMIT", "7", "robustness.rate_limiting.burst_limit", "7"),
    ("PIPEDRIVE_BURST_MARGIN_MS", "250", "robustness.rate_limiting.burst_margin_ms", "250ms"),
    (
        "PIPEDRIVE_CIRCUIT_BREAKER_THRESHOLD",
        "7",
        "robustness.error_handling.circuit_breaker_threshold",
        "7",
    ),
    (
        "PIPEDRIVE_CIRCUIT_BREAKER_TIMEOUT",
        "60",
        "robustness.error_handling.circuit_breaker_timeout",
        "60s",
    ),
    (
        "PIGEON_CB_FAILURE_THRESHOLD",
        "9",
        "robustness.error_handling.circuit_breaker_threshold",
        "9",
    ),
    ("PIGEON_CB_TIMEOUT_MS", "15000", "robustness.error_handling.request_timeout", "15s"),
    (
        "PIGEON_CB_RECOVERY_TIMEOUT_MS",
        "60000",
        "robustness.error_handling.circuit_breaker_timeout",
        "60s",
    ),
    (
        "PIGEON_CB_HALF_OPEN_MAX_REQUESTS",
        "2",
        "robustness.error_handling.half_open_max_requests",
        "2",
    ),
    ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "5", "robustness.error_handling.max_retry_attempts", "5"),
    ("PIPEDRIVE_REQUEST_TIMEOUT", "20", "robustness.error_handling.request_timeout", "20s"),
    ("PIGEON_RETRY_MAX_RETRIES", "4", "robustness.error_handling.max_retry_attempts", "4"),
    ("PIGEON_RETRY_BASE_DELAY_MS", "250", "robustness.error_handling.base_delay_ms", "250ms"),
    ("PIGEON_RETRY_MAX_DELAY_MS", "30000", "robustness.rate_limiting.max_delay", "30s"),
    ("PIGEON_RETRY_JITTER_FACTOR", "0.2", "robustness.error_handling.jitter_factor", "0.2"),
    (
        "PIGEON_RETRY_BACKOFF_STRATEGY",
        "linear",
        "robustness.error_handling.backoff_strategy",
        "linear",
    ),
    (
        "PIPEDRIVE_HEALTH_MONITORING_ENABLED",
        "false",
        "robustness.health_monitoring.enabled",
        "false",
    ),
    (
        "PIPEDRIVE_HEALTH_CHECK_INTERVAL",
        "120",
        "robustness.health_monitoring.check_interval",
        "120s",
    ),
    ("PIPEDRIVE_HEALTH_ENDPOINT", "users", "robustness.health_monitoring.health_endpoint", "users"),
    ("PIPEDRIVE_HEALTH_CHECK_TIMEOUT", "5", "robustness.health_monitoring.check_timeout", "5s"),
    (
        "PIPEDRIVE_HEALTH_FAILURE_THRESHOLD",
        "2",
        "robustness.health_monitoring.failure_threshold",
        "2",
    ),
    (
        "PIPEDRIVE_HEALTH_DEGRADATION_THRESHOLD",
        "700",
        "robustness.health_monitoring.degradation_threshold_ms",
        "700ms",
    ),
    ("PIPEDRIVE_HEALTH_CACHE_TTL", "30", "robustness.health_monitoring.cache_ttl", "30s"),
    (
        "PIGEON_FD_HEARTBEAT_INTERVAL_MS",
        "10000",
        "robustness.failure_detector.heartbeat_interval_ms",
        "10s",
    ),
    (
        "PIPEDRIVE_CIRCUIT_BREAKER_SCOPE",
        "class",
        "robustness.error_handling.circuit_breaker_scope",
        "class",
    ),
    (
        "PIPEDRIVE_ERROR_CATEGORIES",
        "rules.toml",
        "robustness.error_handling.error_categories",
        "rules.toml",
    ),
    ("PIGEON_FD_FAILURE_THRESHOLD", "5", "robustness.failure_detector.failure_threshold", "5"),
    (
        "PIGEON_FD_RESPONSE_TIMEOUT_MS",
        "5000",
        "robustness.failure_detector.response_timeout_ms",
        "5s",
    ),
    (
        "PIPEDRIVE_ADAPTIVE_PAGINATION",
        "false",
        "robustness.memory_management.adaptive_pagination",
        "false",
    ),
    (
        "PIPEDRIVE_MEMORY_THRESHOLD",
        "70",
        "robustness.memory_management.memory_threshold_percent",
        "70",
    ),
    ("PIPEDRIVE_MIN_BATCH_SIZE", "20", "robustness.memory_management.min_batch_size", "20"),
    ("PIPEDRIVE_MAX_BATCH_SIZE", "200", "robustness.memory_management.max_batch_size", "200"),
    ("PIPEDRIVE_FORCE_GC", "false", "robustness.memory_management.force_gc", "false"),
    (
        "PIPEDRIVE_MEMORY_ALERT_THRESHOLD",
        "90",
        "robustness.memory_management.alert_threshold_percent",
        "90",
    ),
    (
        "PIPEDRIVE_MEMORY_CRITICAL_THRESHOLD",
        "97",
        "robustness.memory_management.critical_threshold_percent",
        "97",
    ),
    ("PIPEDRIVE_MONITORING_ENABLED", "false", "robustness.monitoring.enabled", "false"),
    (
        "PIPEDRIVE_PERFORMANCE_LOGGING",
        "false",
        "robustness.monitoring.performance_logging",
        "false",
    ),
    (
        "PIPEDRIVE_FAILURE_RATE_THRESHOLD",
        "25",
        "robustness.monitoring.failure_rate_threshold",
        "25",
    ),
    ("PIPEDRIVE_SYNC_QUEUE", "a", "jobs.sync_queue", "a"),
    ("PIPEDRIVE_WEBHOOK_QUEUE", "b", "jobs.webhook_queue", "b"),
    ("PIPEDRIVE_RETRY_QUEUE", "c", "jobs.retry_queue", "c"),
    ("PIPEDRIVE_JOB_TIMEOUT", "60", "jobs.timeout", "60s"),
    ("PIPEDRIVE_JOB_MAX_TRIES", "4", "jobs.max_tries", "4"),
    ("PIPEDRIVE_PREFER_ASYNC", "true", "jobs.prefer_async", "true"),
    ("PIPEDRIVE_BATCH_PROCESSING", "false", "jobs.batch_processing", "false"),
    ("PIPEDRIVE_ALERTING_ENABLED", "true", "alerting.enabled", "true"),
    ("PIPEDRIVE_ALERT_MAIL_ENABLED", "true", "alerting.channels.mail.enabled", "true"),
    ("PIPEDRIVE_ALERT_MAIL_TO", "ops@acme.test", "alerting.channels.mail.to", "ops@acme.test"),
    ("PIPEDRIVE_ALERT_MAIL_FROM", "bot@acme.test", "alerting.channels.mail.from", "bot@acme.test"),
    ("PIPEDRIVE_ALERT_SLACK_ENABLED", "true", "alerting.channels.slack.enabled", "true"),
    (
        "PIPEDRIVE_ALERT_SLACK_WEBHOOK",
        "https://hooks.test/x",
        "alerting.channels.slack.webhook",
        "(secret)",
    ),
    ("PIPEDRIVE_ALERT_SLACK_CHANNEL", "#ops", "alerting.channels.slack.channel", "#ops"),
    ("PIPEDRIVE_ENABLED_ENTITIES", "deals,persons", "sync.enabled_entities", "deals,persons"),
    ("PIPEDRIVE_API_TOKEN", "hunter2", "connection.api_token", "(secret)"),
    ("PIPEDRIVE_AUTH", "oauth", "connection.auth", "oauth"),
    ("PIPEDRIVE_COMPANY_DOMAIN", "acme", "connection.company_domain", "acme"),
    ("PIPEDRIVE_BASE_URL", "http://127.0.0.1:1", "connection.base_url", "http://127.0.0.1:1"),
    ("PIPEDRIVE_PLAN", "premium", "account.plan", "premium"),
    ("PIPEDRIVE_SEATS", "3", "account.seats", "3"),
    ("PIPEDRIVE_CA_FILE", "ca.pem", "connection.ca_file", "ca.pem"),
    (
        "PIPEDRIVE_PROXY",
        "http://u:hunter2@proxy.test:3128",
        "connection.proxy",
        "http://proxy.test:3128",
    ),
    ("HTTPS_PROXY", "http://other.test:3128", "connection.proxy", "http://other.test:3128"),
    ("NO_PROXY", "localhost", "connection.no_proxy", "localhost"),
    ("PIPEDRIVE_MAX_BODY", "1MiB", "connection.max_body", "1048576"),
    ("PIPEDRIVE_RESET_TIME_ZONE", "UTC", "account.reset_time_zone", "UTC"),
];

fn one(name: &str, value: &str) -> Sources {
    Sources::new().env([(name, value)])
}

fn shown(config: &Config, key: &str) -> (String, Source) {
    let line = config
        .effective()
        .into_iter()
        .find(|line| line.key == key)
        .unwrap_or_else(|| panic!("{key}"));
    (line.value, line.source)
}

#[test]
fn every_variable_is_read_and_named_as_the_source() {
    for (name, value, key, expected) in VARIABLES {
        let config =
            Config::load(&one(name, value)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (value, source) = shown(&config, key);
        assert_eq!(value, *expected, "{name}");
        assert_eq!(source.to_string(), format!("variable {name}"));
    }
}

#[test]
fn every_default_is_a_value_that_its_own_setting_accepts() {
    let config = Config::load(&Sources::new()).unwrap();
    for setting in SETTINGS {
        let (value, source) = shown(&config, setting.key);
        assert_eq!(source, Source::Default);
        assert_eq!(value == "(not set)", setting.default.is_empty(), "{}", setting.key);
    }
    assert_eq!(config.error_handling.circuit_breaker_timeout, Duration::from_secs(300));
    assert_eq!(config.rate_limiting.daily_budget, 10_000);
    assert_eq!(config.enabled_entities.len(), Entity::ALL.len());
    assert_eq!(config.base_url, "https://api.pipedrive.com");
}

#[test]
fn no_key_and_no_variable_is_listed_twice() {
    let mut seen = BTreeMap::new();
    for setting in SETTINGS {
        assert!(seen.insert(setting.key, ()).is_none(), "{}", setting.key);
        for env in setting.env {
            assert!(seen.insert(env.name, ()).is_none(), "{}", env.name);
            // The suffix decides the unit; one name of the first seed is in milliseconds without saying so.
            let millis =
                env.name.ends_with("_MS") || env.name == "PIPEDRIVE_HEALTH_DEGRADATION_THRESHOLD";
            if matches!(setting.kind, Kind::Time(..)) {
                assert_eq!(env.unit == Unit::Millis, millis, "{}", env.name);
            }
        }
    }
}

#[test]
fn the_specific_variable_wins_over_the_generic_and_the_program_over_both() {
    let sources = Sources::new()
        .file_text("a.toml", "[robustness.error_handling]\nmax_retry_attempts = 9\n")
        .env([("PIGEON_RETRY_MAX_RETRIES", "1"), ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "2")]);
    assert_eq!(Config::load(&sources).unwrap().error_handling.max_retry_attempts, 2);
    let sources = sources.set("robustness.error_handling.max_retry_attempts", "0");
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.error_handling.max_retry_attempts, 0);
    assert_eq!(shown(&config, "robustness.error_handling.max_retry_attempts").1, Source::Builder);
}

#[test]
fn a_profile_lies_over_defaults_and_under_the_file() {
    let development = Config::load(&Sources::new().profile("dev")).unwrap();
    assert_eq!(
        (development.profile.as_str(), development.error_handling.max_retry_attempts),
        ("development", 2)
    );
    let text = "profile = 'development'\n[robustness.error_handling]\nmax_retry_attempts = 6\n";
    let config = Config::load(&Sources::new().file_text("a.toml", text)).unwrap();
    assert_eq!(config.error_handling.max_retry_attempts, 6);
    assert_eq!(config.error_handling.circuit_breaker_threshold, 2);
}

#[test]
fn a_profile_of_ones_own_stands_in_the_file() {
    let text = "
        [robustness.rate_limiting]
        max_delay = 4
        token_costs = { deals = 1, files = 2, webhooks = 1, custom_fields = 1 }
        [profiles.staging.robustness.rate_limiting]
        max_delay = '500ms'
        [profiles.other.jobs]
        max_tries = 4
    ";
    let config = Config::load(&Sources::new().file_text("a.toml", text)).unwrap();
    assert_eq!(config.rate_limiting.max_delay, Duration::from_secs(4));
    assert_eq!(config.rate_limiting.token_costs["files"], 2);
    // The first back-off of a second would pass the cap of the profile.
    let sources = Sources::new()
        .file_text("a.toml", text)
        .profile("staging")
        .env([("PIGEON_RETRY_BASE_DELAY_MS", "100")]);
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.rate_limiting.max_delay, Duration::from_millis(500));
    let (_, source) = shown(&config, "robustness.rate_limiting.max_delay");
    assert_eq!(source.to_string(), "file a.toml, profile staging");
    assert!(Config::load(&Sources::new().profile("nowhere")).is_err());
}

#[test]
fn every_wrong_variable_is_named_with_its_value_and_what_is_expected() {
    let wrong = [
        ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "-1"),
        ("PIPEDRIVE_CIRCUIT_BREAKER_TIMEOUT", "0"),
        ("PIPEDRIVE_MEMORY_THRESHOLD", "180"),
        ("PIGEON_CB_TIMEOUT_MS", "soon"),
        ("PIPEDRIVE_RATE_LIMIT_JITTER", "maybe"),
        ("PIPEDRIVE_RATE_LIMIT_RESERVE", "1"),
        ("PIPEDRIVE_PLAN", "gold"),
        ("PIPEDRIVE_BASE_URL", "acme.pipedrive.com/v1"),
        ("PIPEDRIVE_ENABLED_ENTITIES", "deals,dael"),
        ("PIPEDRIVE_RESET_TIME_ZONE", "Mars/Olympus"),
        ("PIPEDRIVE_PROXY", "socks5://user:hunter2@proxy.test"),
        ("PIPEDRIVE_LEDGER_URL", "http://user:hunter2@redis.test"),
    ];
    let error = Config::load(&Sources::new().env(wrong)).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.problems().len(), wrong.len(), "{text}");
    for (name, value) in wrong {
        let line = text
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("{name} in {text}"));
        assert!(line.contains("expected"), "{line}");
        let veiled = matches!(name, "PIPEDRIVE_PROXY" | "PIPEDRIVE_LEDGER_URL");
        assert_eq!(line.contains(value), !veiled, "{line}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let reserve =
        r#"PIPEDRIVE_RATE_LIMIT_RESERVE is "1", expected a number of at least 0 and below 1"#;
    assert!(text.contains(reserve), "{text}");
}

#[test]
fn a_wrong_generic_variable_is_reported_though_the_specific_one_wins() {
    let sources = Sources::new()
        .env([("PIGEON_RETRY_MAX_RETRIES", "many"), ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "2")]);
    let error = Config::load(&sources).unwrap_err();
    assert_eq!(error.problems()[0].variable(), Some("PIGEON_RETRY_MAX_RETRIES"));
}

#[test]
fn unknown_keys_of_a_file_are_errors_with_a_suggestion() {
    let text = "
        [robustness.rate_limiting]
        max_dealy = 4
        [robustnes]
        x = 1
        [robustness.error_handling]
        max_retry_attempts = '3'
        [connection]
        api_token = 5
    ";
    let error = Config::load(&Sources::new().file_text("a.toml", text)).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.problems().len(), 4, "{text}");
    assert!(text.contains("did you mean robustness.rate_limiting.max_delay?"), "{text}");
    assert!(
        text.contains("robustness.error_handling.max_retry_attempts (file a.toml) is"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_not_toml_is_named_by_line_without_its_text() {
    let text = "[connection]\napi_token = 'hunter2\n";
    let error = Config::load(&Sources::new().file_text("a.toml", text)).unwrap_err().to_string();
    assert!(error.contains("a.toml is not TOML at line 2, column "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let missing = Config::load(&Sources::new().env([("PIPEDRIVE_CONFIG", "/nonexistent/p.toml")]))
        .unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/p.toml"));
}

#[test]
fn values_that_do_not_fit_together_are_reported_together() {
    let sources = Sources::new().env([
        ("PIPEDRIVE_MIN_BATCH_SIZE", "300"),
        ("PIPEDRIVE_MAX_BATCH_SIZE", "200"),
        ("PIPEDRIVE_MEMORY_THRESHOLD", "90"),
        ("PIGEON_RETRY_BASE_DELAY_MS", "20000"),
        ("PIPEDRIVE_BASE_URL", "http://crm.example"),
    ]);
    let error = Config::load(&sources).unwrap_err();
    assert_eq!(error.problems().len(), 4, "{error}");
    assert!(error.to_string().contains("without TLS"), "{error}");
}

#[test]
fn the_token_is_in_no_debug_and_no_view() {
    let config = Config::load(&one("PIPEDRIVE_API_TOKEN", "hunter2")).unwrap();
    let sources = one("PIPEDRIVE_API_TOKEN", "hunter2").set("connection.api_token", "hunter2");
    let all = format!("{config:?} {:?} {sources:?}", config.effective());
    assert!(!all.contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn the_programs_purge_is_called_when_memory_is_short_unless_that_is_switched_off() {
    for (switch, expected) in [("true", 1), ("false", 0)] {
        let sources = one("PIPEDRIVE_FORCE_GC", switch).env([("PIPEDRIVE_API_TOKEN", "token")]);
        let purges = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&purges);
        let client = Client::builder(Config::load(&sources).unwrap())
            .memory_probe(|| Some(Memory { used: 90, limit: 100 }))
            .purge(move || {
                counted.fetch_add(1, SeqCst);
                None
            })
            .build()
            .unwrap();
        assert!(client.pages().size() < 500);
        assert_eq!(purges.load(SeqCst), expected, "{switch}");
    }
}

#[test]
fn a_ledger_is_not_passed_over_and_its_password_is_nowhere() {
    let sources = one("PIPEDRIVE_LEDGER_URL", "redis://me:hunter2@redis.test/0")
        .env([("PIPEDRIVE_API_TOKEN", "token"), ("PIPEDRIVE_LEDGER_NAME", "acme")]);
    let config = Config::load(&sources).unwrap();
    let all = format!("{config:?} {:?} {sources:?}", config.effective());
    assert!(!all.contains("hunter2"), "{all}");
    let ledger = config.rate_limiting.ledger.as_ref().unwrap();
    assert_eq!((ledger.name.as_deref(), ledger.alone), (Some("acme"), 0.0));
    // Who does not share says so, rather than spend what is another's.
    let error = Client::new(config.clone()).unwrap_err().to_string();
    assert!(error.contains("PIPEDRIVE_LEDGER_URL is redis://redis.test/0, but"), "{error}");
    let client = Client::builder(config).shared(true).build().unwrap();
    let status = client.limiter().status();
    assert!(!client.can_make_request(Entity::Deals), "nothing is granted: {status:?}");
}

#[test]
fn a_misspelt_variable_is_pointed_out() {
    let config = Config::load(&one("PIPEDRIVE_MAX_RETRY_ATEMPTS", "2")).unwrap();
    let hints = config.unknown_variables();
    assert!(hints[0].contains("did you mean PIPEDRIVE_MAX_RETRY_ATTEMPTS?"), "{hints:?}");
}

#[test]
fn plan_seats_and_kind_of_token_are_understood() {
    let sources = Sources::new().env([
        ("PIPEDRIVE_PLAN", "Premium"),
        ("PIPEDRIVE_SEATS", "2"),
        ("PIPEDRIVE_AUTH", "oauth"),
        ("PIPEDRIVE_COMPANY_DOMAIN", "acme.pipedrive.com"),
    ]);
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.account.plan, config.account.seats), (Some(Plan::Premium), Some(2)));
    assert_eq!(config.auth, AuthKind::OAuth);
    assert_eq!(config.base_url, "https://acme.pipedrive.com");
}

#[test]
fn an_empty_variable_is_no_variable() {
    assert!(Config::load(&one("PIPEDRIVE_MAX_RETRY_ATTEMPTS", " ")).is_ok());
}

/// The README's table, from the settings themselves.
fn table() -> String {
    let mut text =
        String::from("| key | variables | default | meaning |\n| --- | --- | --- | --- |\n");
    for setting in SETTINGS {
        let names: Vec<_> = setting.env.iter().map(|env| format!("`{}`", env.name)).collect();
        let default = if setting.default.is_empty() {
            String::new()
        } else {
            format!("`{}`", setting.default)
        };
        text.push_str(&format!(
            "| `{}` | {} | {default} | {} |\n",
            setting.key,
            names.join(", "),
            setting.doc
        ));
    }
    text
}

#[test]
fn the_readme_lists_every_setting() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("<!-- settings -->\n").expect("the mark is there");
    let (listed, _) = rest.split_once("<!-- /settings -->").expect("the mark is there");
    assert!(listed == table(), "put this between the marks:\n{}", table());
}
