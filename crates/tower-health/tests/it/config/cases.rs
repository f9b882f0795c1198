//! A row for every value that is refused.

use std::time::Duration;

use tower::{Service, service_fn};
use tower_health::{
    Assessment, BoxError, ConfigError, DetectorBuilder, ErrorsBad, FailureDetector, Health,
    HealthBuilder, HealthGateLayer, Prober, ProberBuilder, SampleBuffer, State, SystemHealth,
};

pub(super) const DAY: Duration = Duration::from_secs(86_400);
const ZERO: Duration = Duration::ZERO;
const MILLI: Duration = Duration::from_millis(1);
const NANO: Duration = Duration::from_nanos(1);
const HOUR: Duration = Duration::from_secs(3_600);
const LONG: Duration = Duration::from_nanos(86_400_000_000_001);
const TOLD: &str = "86400.000000001s";
const TEXT: &str = "any text but an empty one";
const SOME: &str = "at least 1";
const SHARE: &str = "above 0, at most 1";
const TIME: &str = "above zero, at most a day";
const WINDOW: &str = "10 ms to a day";

/// What is wrong, what was given, what is allowed.
pub(super) type Case = (ConfigError, &'static str, &'static str, &'static str);

/// Neither a share of a whole, nor none of it.
const NO_SHARES: [(f64, &str); 6] = [
    (0.0, "0.0"),
    (-0.1, "-0.1"),
    (1.0 + f64::EPSILON, "1.0000000000000002"),
    (f64::NAN, "NaN"),
    (f64::INFINITY, "inf"),
    (f64::NEG_INFINITY, "-inf"),
];
const NO_TIMES: [(Duration, &str); 2] = [(ZERO, "0ns"), (LONG, TOLD)];
const NO_WINDOWS: [(Duration, &str); 3] =
    [(ZERO, "0ns"), (Duration::from_nanos(9_999_999), "9.999999ms"), (LONG, TOLD)];

pub(super) fn healthy() -> Assessment {
    Assessment::new(State::Healthy, "")
}

pub(super) fn nobody() -> impl Service<()> + Clone {
    service_fn(|()| async { Ok::<_, BoxError>(()) })
}

fn healths() -> Vec<Case> {
    let new = || Health::builder("x");
    let wrong = |builder: HealthBuilder| builder.build().unwrap_err();
    let short = "above zero, at most an hour, or none";
    let after = "0.1 or above, that of the state before";
    let unavailable = wrong(new().unavailable_at(0.4));
    let without = wrong(new().degraded_at(0.1, None));
    let mut cases = vec![
        (wrong(Health::builder("")), "name", "\"\"", TEXT),
        (wrong(new().min_calls(0)), "min_calls", "0", SOME),
        (wrong(new().failure_threshold(0)), "failure_threshold", "0", SOME),
        (wrong(new().hysteresis(0, LONG)), "hysteresis.time", TOLD, "at most a day"),
        (wrong(new().critical_at(0.05, HOUR)), "critical_at.error_rate", "0.05", after),
        (unavailable, "unavailable_at.error_rate", "0.4", "0.5 or above, that of the state before"),
        (
            wrong(new().critical_at(0.5, MILLI)),
            "critical_at.latency",
            "1ms",
            "1s or above, that of degraded",
        ),
        (without, "critical_at.latency", "10s", "none, as degraded has no limit of latency"),
    ];
    for (rate, value) in NO_SHARES {
        let error = wrong(new().degraded_at(rate, MILLI));
        cases.push((error, "degraded_at.error_rate", value, SHARE));
        let error = wrong(new().critical_at(rate, HOUR));
        cases.push((error, "critical_at.error_rate", value, SHARE));
        let error = wrong(new().unavailable_at(rate));
        cases.push((error, "unavailable_at.error_rate", value, SHARE));
    }
    for (time, value) in [(ZERO, "0ns"), (HOUR + NANO, "3600.000000001s")] {
        let error = wrong(new().degraded_at(0.1, time));
        cases.push((error, "degraded_at.latency", value, short));
        let error = wrong(new().critical_at(0.5, time));
        cases.push((error, "critical_at.latency", value, short));
    }
    for (time, value) in NO_TIMES {
        cases.push((wrong(new().idle_after(time)), "idle_after", value, TIME));
    }
    for (time, value) in NO_WINDOWS {
        cases.push((wrong(new().window(time)), "window", value, WINDOW));
    }
    cases
}

fn detectors() -> Vec<Case> {
    let new = || FailureDetector::<()>::builder("x");
    let wrong = |builder: DetectorBuilder| builder.build().unwrap_err();
    let (misses, phi, targets) = ("1 to 1,000", "1 to 100", "1 to 1,000,000");
    let latency = "above zero, at most a day, or none";
    let forget = "above zero, at most a week, or none";
    let week = wrong(new().forget_after(7 * DAY + NANO));
    let interval = "1 ms to a day";
    let quick = wrong(new().heartbeat_interval(MILLI - NANO));
    let mut cases = vec![
        (wrong(FailureDetector::builder("")), "name", "\"\"", TEXT),
        (quick, "heartbeat_interval", "999.999µs", interval),
        (wrong(new().misses(0)), "misses", "0", misses),
        (wrong(new().misses(1_001)), "misses", "1001", misses),
        (wrong(new().acceptable_pause(LONG)), "acceptable_pause", TOLD, "at most a day"),
        (wrong(new().failure_threshold(0)), "failure_threshold", "0", SOME),
        (wrong(new().recover_after(0)), "recover_after", "0", SOME),
        (wrong(new().min_calls(0)), "min_calls", "0", SOME),
        (wrong(new().max_targets(0)), "max_targets", "0", targets),
        (wrong(new().max_targets(1_000_001)), "max_targets", "1000001", targets),
        (wrong(new().forget_after(ZERO)), "forget_after", "0ns", forget),
        (week, "forget_after", "604800.000000001s", forget),
    ];
    for (threshold, value) in
        [(0.9, "0.9"), (100.1, "100.1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-8.0, "-8.0")]
    {
        cases.push((wrong(new().phi(threshold)), "phi", value, phi));
    }
    for (rate, value) in NO_SHARES {
        let error = wrong(new().degraded_at(rate, None));
        cases.push((error, "degraded_at.error_rate", value, SHARE));
    }
    for (time, value) in NO_TIMES {
        let error = wrong(new().heartbeat_interval(time));
        cases.push((error, "heartbeat_interval", value, interval));
        cases.push((wrong(new().least_deviation(time)), "least_deviation", value, TIME));
        let error = wrong(new().degraded_at(0.1, time));
        cases.push((error, "degraded_at.latency", value, latency));
    }
    for (time, value) in NO_WINDOWS {
        cases.push((wrong(new().window(time)), "window", value, WINDOW));
    }
    cases
}

fn probes() -> Vec<Case> {
    let new = || Prober::builder("x", nobody(), || ());
    fn wrong<S, M>(builder: ProberBuilder<S, M, ErrorsBad>) -> ConfigError {
        builder.build().err().unwrap()
    }
    let week = "above zero, at most a week";
    let long = wrong(new().stale_after(7 * DAY + NANO));
    let mut cases = vec![
        (wrong(Prober::builder("", nobody(), || ())), "name", "\"\"", TEXT),
        (wrong(new().ttl(LONG)), "ttl", TOLD, "at most a day"),
        (wrong(new().start_within(LONG)), "start_within", TOLD, "at most a day"),
        (wrong(new().stale_after(ZERO)), "stale_after", "0ns", week),
        (long, "stale_after", "604800.000000001s", week),
        (wrong(new().failure_threshold(0)), "failure_threshold", "0", SOME),
        (wrong(new().history(0)), "history", "0", "1 to 10,000"),
        (wrong(new().history(10_001)), "history", "10001", "1 to 10,000"),
    ];
    for (time, value) in NO_WINDOWS {
        cases.push((wrong(new().interval(time)), "interval", value, WINDOW));
    }
    for (time, value) in NO_TIMES {
        cases.push((wrong(new().timeout(time)), "timeout", value, TIME));
        cases.push((wrong(new().degraded_over(time)), "degraded_over", value, TIME));
    }
    cases
}

fn gates_and_wholes() -> Vec<Case> {
    let gate = || HealthGateLayer::builder(Health::builder("x").build().unwrap());
    let mut cases = Vec::new();
    for (state, value) in [(State::Unknown, "Unknown"), (State::Healthy, "Healthy")] {
        let error = gate().refuse_from(state).build().unwrap_err();
        cases.push((error, "refuse_from", value, "Degraded, Critical or Unavailable"));
    }
    for (time, value) in NO_TIMES {
        let error = gate().trial_every(time).build().unwrap_err();
        cases.push((error, "trial_every", value, TIME));
        let error = gate().admit(|_: &(), _: State| true).trial_every(time).build().err().unwrap();
        cases.push((error, "trial_every", value, TIME));
    }
    let whole = |name: &str, parts: Vec<String>| {
        let add = |whole, part| tower_health::SystemHealthBuilder::optional(whole, part, healthy);
        parts.into_iter().fold(SystemHealth::builder(name), add).build().unwrap_err()
    };
    let parts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let many = (0..1_001).map(|n| n.to_string()).collect();
    let other = "a text that no other part has";
    cases.extend([
        (whole("", parts(&["a"])), "name", "\"\"", TEXT),
        (whole("x", parts(&[])), "parts", "0", "1 to 1,000"),
        (whole("x", many), "parts", "1001", "1 to 1,000"),
        (whole("x", parts(&["a", ""])), "part.name", "\"\"", other),
        (whole("x", parts(&["a", "b", "a"])), "part.name", "\"a\"", other),
    ]);
    cases
}

fn samples() -> Vec<Case> {
    let mut cases = Vec::new();
    for (capacity, value) in [(0, "0"), (1_000_001, "1000001")] {
        let error = SampleBuffer::new(capacity).unwrap_err();
        cases.push((error, "capacity", value, "1 to 1,000,000"));
    }
    let health = Health::builder("x").build().unwrap();
    for (time, value) in NO_WINDOWS {
        let error = health.sample_every(time, |_| {}).err().unwrap();
        cases.push((error, "every", value, WINDOW));
    }
    cases
}

pub(super) fn all() -> Vec<Case> {
    [healths(), detectors(), probes(), gates_and_wholes(), samples()].concat()
}
