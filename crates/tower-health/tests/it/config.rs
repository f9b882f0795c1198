//! Every value that cannot work is named, with what it was and what would work.

mod cases;

use std::time::Duration;

use tower_health::{
    Assessment, ConfigError, FailureDetector, Health, HealthGateLayer, Prober, Problem,
    SampleBuffer, State, SystemHealth,
};

use self::cases::{DAY, healthy, nobody};

const ZERO: Duration = Duration::ZERO;

fn fields(error: &ConfigError) -> Vec<&str> {
    error.problems().iter().map(Problem::field).collect()
}

#[test]
fn each_wrong_value_names_itself_and_what_it_may_be() {
    let all = cases::all();
    assert_eq!(all.len(), 98);
    for (error, field, value, allowed) in all {
        let [problem] = error.problems() else { panic!("{field}: {error}") };
        assert_eq!((problem.field(), problem.value(), problem.allowed()), (field, value, allowed));
    }
}

#[test]
fn everything_wrong_with_a_health_is_listed_at_once() {
    let error = Health::builder("")
        .window(ZERO)
        .min_calls(0)
        .failure_threshold(0)
        .hysteresis(5, Duration::MAX)
        .idle_after(Duration::MAX)
        .degraded_at(0.0, ZERO)
        .critical_at(2.0, Duration::MAX)
        .unavailable_at(f64::NAN)
        .build()
        .unwrap_err();
    let expected = [
        "name",
        "window",
        "min_calls",
        "failure_threshold",
        "hysteresis.time",
        "idle_after",
        "degraded_at.error_rate",
        "critical_at.error_rate",
        "unavailable_at.error_rate",
        "degraded_at.latency",
        "critical_at.latency",
    ];
    assert_eq!(fields(&error), expected, "{error}");
    let begins = "health cannot be built: name is \"\", allowed is any text but an empty one; window is 0ns, ";
    assert!(error.to_string().starts_with(begins), "{error}");
}

#[test]
fn everything_wrong_with_a_detector_is_listed_at_once() {
    let error = FailureDetector::<()>::builder("")
        .heartbeat_interval(ZERO)
        .misses(0)
        .phi(f64::NAN)
        .acceptable_pause(Duration::MAX)
        .least_deviation(ZERO)
        .failure_threshold(0)
        .recover_after(0)
        .degraded_at(1.5, ZERO)
        .min_calls(0)
        .window(ZERO)
        .max_targets(0)
        .forget_after(ZERO)
        .build()
        .unwrap_err();
    let expected = [
        "name",
        "heartbeat_interval",
        "misses",
        "phi",
        "acceptable_pause",
        "least_deviation",
        "failure_threshold",
        "recover_after",
        "degraded_at.error_rate",
        "degraded_at.latency",
        "min_calls",
        "window",
        "max_targets",
        "forget_after",
    ];
    assert_eq!(fields(&error), expected, "{error}");
    assert!(error.to_string().starts_with("failure detector cannot be built: name is"), "{error}");
}

#[test]
fn everything_wrong_with_a_probe_is_listed_at_once() {
    let error = Prober::builder("", nobody(), || ())
        .ttl(Duration::MAX)
        .interval(ZERO)
        .start_within(Duration::MAX)
        .stale_after(ZERO)
        .timeout(ZERO)
        .failure_threshold(0)
        .degraded_over(ZERO)
        .history(0)
        .build()
        .unwrap_err();
    let said = "probe cannot be built: name is \"\", allowed is any text but an empty one; \
        ttl is 18446744073709551615.999999999s, allowed is at most a day; \
        interval is 0ns, allowed is 10 ms to a day; \
        start_within is 18446744073709551615.999999999s, allowed is at most a day; \
        stale_after is 0ns, allowed is above zero, at most a week; \
        timeout is 0ns, allowed is above zero, at most a day; \
        failure_threshold is 0, allowed is at least 1; \
        degraded_over is 0ns, allowed is above zero, at most a day; \
        history is 0, allowed is 1 to 10,000";
    assert_eq!(error.to_string(), said);
}

#[test]
fn everything_wrong_with_a_gate_and_a_whole_is_listed_at_once() {
    let gate = HealthGateLayer::builder(Health::builder("x").build().unwrap());
    let error = gate.refuse_from(State::Unknown).trial_every(ZERO).build().unwrap_err();
    assert_eq!(fields(&error), ["refuse_from", "trial_every"]);
    let error = SystemHealth::builder("").build().unwrap_err();
    assert_eq!(fields(&error), ["name", "parts"]);
    let twice = SystemHealth::builder("x").required("a", healthy).optional("a", healthy);
    let error = twice.optional("", healthy).build().unwrap_err();
    assert_eq!(fields(&error), ["part.name", "part.name"]);
}

#[test]
fn the_ends_of_the_ranges_work() {
    let nano = Duration::from_nanos(1);
    let hour = Duration::from_secs(3_600);
    let health = || Health::builder("x");
    for builder in [
        health().window(Duration::from_millis(10)).min_calls(1).failure_threshold(1),
        health().window(DAY).idle_after(DAY).hysteresis(u32::MAX, DAY),
        health().idle_after(nano).hysteresis(0, ZERO).min_calls(u64::MAX),
        health().degraded_at(1.0, hour).critical_at(1.0, hour).unavailable_at(1.0),
        health().degraded_at(f64::MIN_POSITIVE, nano),
        health().degraded_at(0.1, None).critical_at(0.5, None),
    ] {
        assert!(builder.build().is_ok());
    }
    let detector = || FailureDetector::<()>::builder("x");
    for builder in [
        detector().phi(100.0).max_targets(1_000_000).forget_after(None).misses(1_000),
        detector().phi(1.0).acceptable_pause(ZERO).least_deviation(nano).max_targets(1).misses(1),
        detector().heartbeat_interval(DAY).acceptable_pause(DAY).least_deviation(DAY).window(DAY),
        detector().heartbeat_interval(Duration::from_millis(1)).forget_after(7 * DAY),
        detector().degraded_at(1.0, DAY).failure_threshold(1).recover_after(1).min_calls(1),
    ] {
        assert!(builder.build().is_ok());
    }
    let probe = || Prober::builder("x", nobody(), || ());
    for builder in [
        probe().ttl(ZERO).interval(Duration::from_millis(10)).start_within(ZERO).stale_after(nano),
        probe().ttl(DAY).interval(DAY).start_within(DAY).stale_after(7 * DAY).timeout(DAY),
        probe().timeout(nano).degraded_over(nano).failure_threshold(1).history(1),
        probe().degraded_over(DAY).history(10_000),
    ] {
        assert!(builder.build().is_ok());
    }
    for time in [nano, DAY] {
        let gate = HealthGateLayer::builder(health().build().unwrap());
        assert!(gate.refuse_from(State::Degraded).trial_every(time).build().is_ok());
    }
    assert!(SampleBuffer::new(1).is_ok() && SampleBuffer::new(1_000_000).is_ok());
}

#[test]
fn a_figure_or_a_limit_that_is_no_number_says_nothing() {
    for (value, degraded_at, critical_at) in
        [(f64::NAN, 0.8, 0.9), (0.5, f64::NAN, 0.9), (0.85, 0.8, f64::NAN)]
    {
        let said = Assessment::of_value(value, degraded_at, critical_at);
        assert_eq!(said.state, State::Unknown);
    }
}
