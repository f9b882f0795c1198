//! Settings: everything that is wrong, in one error.

use saas_sim::pipedrive::{AuthKind, Faults, Plan, Sim, SimConfig};

#[tokio::test]
async fn everything_that_is_wrong_is_listed_at_once() {
    let config = SimConfig::from_toml(
        r#"
        seats = 0
        burst = 0
        api_token = ""
        reset_zone = "Mars/Olympus"
        [edge]
        refusals = 0
        [faults]
        latency_before_ms = [10, 5]
        each_within = 1
        [faults.rates]
        html = 0.7
        reset = 0.5
        hang = -1.0
        [faults.drip]
        pieces = 0
        [[faults.rules]]
        nth = 0
        "#,
    )
    .expect("well-formed");
    let error = Sim::new(config).expect_err("it is all wrong");
    let text = error.to_string();
    for part in [
        "seats:",
        "burst:",
        "api_token:",
        "Mars/Olympus",
        "edge.refusals:",
        "latency_before_ms:",
        "each_within:",
        "rates.hang:",
        "rates: together",
        "drip.pieces:",
        "neither a fault",
        "counted from 1",
    ] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    assert_eq!(error.wrong().len(), 12, "{text}");
}

#[test]
fn an_unknown_name_is_an_error() {
    for text in ["sedes = 3", "plan = \"gold\"", "[faults.rates]\nmeteor = 0.1"] {
        assert!(SimConfig::from_toml(text).is_err(), "{text}");
    }
    assert!(Faults::from_toml("rates = { html = 2.0 }").is_err());
}

#[test]
fn settings_survive_toml() {
    let config = SimConfig { faults: Faults::storm(), ..SimConfig::default() };
    let text = toml::to_string(&config).expect("can be written");
    assert_eq!(SimConfig::from_toml(&text).expect("can be read"), config);
    assert_eq!(
        SimConfig::from_toml("plan = \"power\"").expect("an older name").plan,
        Plan::Premium
    );
}

#[test]
fn plans_have_the_published_figures() {
    for (plan, api, oauth, tokens) in [
        (Plan::Lite, 20, 80, 30_000),
        (Plan::Growth, 40, 160, 60_000),
        (Plan::Professional, 80, 320, 90_000),
        (Plan::Premium, 100, 400, 150_000),
        (Plan::Ultimate, 120, 480, 210_000),
    ] {
        let config = SimConfig { plan, ..SimConfig::default() };
        assert_eq!(config.burst_limit(AuthKind::ApiToken), api);
        assert_eq!(config.burst_limit(AuthKind::OAuth), oauth);
        assert_eq!(config.tokens_a_day(), tokens);
    }
}
