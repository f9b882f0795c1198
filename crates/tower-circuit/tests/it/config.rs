//! Every value that cannot work is named, with what it was and what would work.

use std::time::Duration;

use tower_circuit::{
    Circuit, CircuitBuilder, CircuitsBuilder, ConfigError, Mode, OpenTime, Peers, Problem, State,
    Verdict, View, Window,
    presets::{self, Preset, Trip},
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const LONG: Duration = Duration::from_nanos(86_400_000_000_001);
const TOLD: &str = "86400.000000001s";
const TIME: &str = "above zero and at most a day";
const SHARE: &str = "above 0 and at most 1";
const COUNT: &str = "1 to 1,000";
const CAP: &str = "the first open time to a day";
const LEAST: &str = "at least 1 and no more than the window holds";

struct Nobody;

impl Peers for Nobody {
    fn view(&self, _: &str) -> View {
        View::default()
    }
    fn tell(&self, _: &str, _: Option<Duration>) {}
}

/// Neither a share of a whole, nor none of it.
const NO_SHARES: [(f64, &str); 6] = [
    (0.0, "0.0"),
    (-0.5, "-0.5"),
    (1.0 + f64::EPSILON, "1.0000000000000002"),
    (f64::NAN, "NaN"),
    (f64::INFINITY, "inf"),
    (f64::NEG_INFINITY, "-inf"),
];
const NO_TIMES: [(Duration, &str); 2] = [(Duration::ZERO, "0ns"), (LONG, TOLD)];
const NO_COUNTS: [(u32, &str); 2] = [(0, "0"), (1_001, "1001")];

type Case = (ConfigError, &'static str, &'static str, &'static str);

fn base() -> CircuitBuilder {
    Circuit::builder("x")
}

fn wrong(builder: CircuitBuilder) -> ConfigError {
    builder.build().unwrap_err()
}

fn wrong_registry(builder: CircuitsBuilder) -> ConfigError {
    builder.build::<u32>().unwrap_err()
}

fn told(error: &ConfigError) -> Vec<(&str, &str, &str)> {
    error.problems().iter().map(|it| (it.field(), it.value(), it.allowed())).collect()
}

fn fields(error: &ConfigError) -> Vec<&str> {
    error.problems().iter().map(Problem::field).collect()
}

fn single_values() -> Vec<Case> {
    let window = |window| wrong(base().window(window, 1));
    let least = |window, calls| wrong(base().window(window, calls));
    let time = Duration::from_millis(10) - Duration::from_nanos(1);
    let mut cases = vec![
        (wrong(Circuit::builder("")), "name", "\"\"", "any text but none"),
        (wrong(base().consecutive(0)), "consecutive", "0", "at least 1"),
        (window(Window::Time(Duration::ZERO)), "window", "0ns", "10 ms to a day"),
        (window(Window::Time(time)), "window", "9.999999ms", "10 ms to a day"),
        (window(Window::Time(LONG)), "window", TOLD, "10 ms to a day"),
        (window(Window::Calls(0)), "window", "0", "1 to 1,000,000 calls"),
        (window(Window::Calls(1_000_001)), "window", "1000001", "1 to 1,000,000 calls"),
        (least(Window::Time(SECOND), 0), "min_calls", "0", LEAST),
        (least(Window::Calls(10), 0), "min_calls", "0", LEAST),
        (least(Window::Calls(10), 11), "min_calls", "11", LEAST),
        (wrong(base().peers(Nobody, 0.5, 0)), "peers.min_voters", "0", "at least 1"),
    ];
    for (ratio, value) in NO_SHARES {
        cases.push((wrong(base().failure_ratio(ratio)), "failure_ratio", value, SHARE));
        cases.push((wrong(base().slow_ratio(ratio, SECOND)), "slow_ratio", value, SHARE));
        cases.push((wrong(base().peers(Nobody, ratio, 1)), "peers.share", value, SHARE));
    }
    for (time, value) in NO_TIMES {
        cases.push((wrong(base().slow_ratio(0.5, time)), "slow_ratio.from", value, TIME));
        cases.push((wrong(base().open_for(time)), "open_for", value, TIME));
        cases.push((wrong(base().longest_named(time)), "longest_named", value, TIME));
        cases.push((wrong(base().trial_time(time)), "trial_time", value, TIME));
    }
    for (count, value) in NO_COUNTS {
        cases.push((wrong(base().half_open(count, 1)), "half_open.trials", value, COUNT));
        cases.push((wrong(base().half_open(1, count)), "half_open.successes", value, COUNT));
    }
    cases
}

fn open_times() -> Vec<Case> {
    let constant = OpenTime::constant(SECOND);
    let open_for = |time: OpenTime| wrong(base().open_for(time));
    let mut cases = Vec::new();
    for (factor, value) in
        [(0.9, "0.9"), (100.1, "100.1"), (-1.0, "-1.0"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")]
    {
        let error = open_for(constant.growing(factor, SECOND));
        cases.push((error, "open_for.factor", value, "1 to 100"));
    }
    for (cap, value) in [(Duration::ZERO, "0ns"), (SECOND / 2, "500ms"), (LONG, TOLD)] {
        cases.push((open_for(constant.growing(2.0, cap)), "open_for.cap", value, CAP));
    }
    for (jitter, value) in [(1.1, "1.1"), (-0.1, "-0.1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")]
    {
        cases.push((open_for(constant.jitter(jitter)), "open_for.jitter", value, "0 to 1"));
    }
    let no_time = OpenTime::constant(Duration::ZERO).growing(2.0, SECOND);
    cases.push((open_for(no_time), "open_for", "0ns", TIME));
    cases
}

fn registries() -> Vec<Case> {
    let keys = |keys| wrong_registry(base().keyed().max_keys(keys));
    let most = "1 to 100,000,000";
    let mut cases = vec![
        (keys(0), "max_keys", "0", most),
        (keys(100_000_001), "max_keys", "100000001", most),
        (wrong_registry(Circuit::builder("").keyed()), "name", "\"\"", "any text but none"),
        (wrong_registry(base().consecutive(0).keyed()), "consecutive", "0", "at least 1"),
    ];
    for (time, value) in NO_TIMES {
        cases.push((wrong_registry(base().keyed().idle(time)), "idle", value, TIME));
    }
    cases
}

fn changed_presets() -> Vec<Case> {
    let change = |change: fn(&mut Preset)| {
        let mut preset = presets::WORKER;
        change(&mut preset);
        wrong(preset.builder())
    };
    let ratio = change(|it| it.trip = Trip::FailureRatio(1.5));
    vec![
        (change(|it| it.name = ""), "name", "\"\"", "any text but none"),
        (change(|it| it.trip = Trip::Consecutive(0)), "consecutive", "0", "at least 1"),
        (ratio, "failure_ratio", "1.5", SHARE),
        (change(|it| it.open_for = LONG), "open_for", TOLD, TIME),
        (change(|it| it.successes = 0), "half_open.successes", "0", COUNT),
    ]
}

#[test]
fn each_wrong_value_gives_one_problem_that_names_field_value_and_range() {
    let tables = [single_values(), open_times(), registries(), changed_presets()];
    let cases = tables.concat();
    assert_eq!(cases.len(), 65);
    for (error, field, value, allowed) in cases {
        assert_eq!(told(&error), [(field, value, allowed)]);
    }
}

#[test]
fn all_wrong_values_are_told_at_once() {
    let builder = Circuit::builder("")
        .consecutive(0)
        .failure_ratio(f64::NAN)
        .slow_ratio(2.0, Duration::ZERO)
        .window(Window::Calls(5), 6)
        .open_for(OpenTime::constant(SECOND).growing(0.5, Duration::ZERO).jitter(2.0))
        .longest_named(Duration::ZERO)
        .half_open(0, 0)
        .trial_time(Duration::ZERO)
        .peers(Nobody, 0.0, 0);
    let error = wrong(builder.clone());
    let text = error.to_string();
    assert!(
        text.starts_with(
            "circuit cannot be built: name is \"\", allowed: any text but none; \
             consecutive is 0, allowed: at least 1; failure_ratio is NaN"
        ),
        "{text}"
    );
    let expected = [
        "name",
        "consecutive",
        "failure_ratio",
        "slow_ratio",
        "slow_ratio.from",
        "min_calls",
        "open_for.factor",
        "open_for.cap",
        "open_for.jitter",
        "longest_named",
        "half_open.trials",
        "half_open.successes",
        "trial_time",
        "peers.share",
        "peers.min_voters",
    ];
    assert_eq!(fields(&error), expected);
    // A registry tells what is wrong with its circuits, too.
    let error = wrong_registry(builder.keyed().max_keys(0).idle(Duration::ZERO));
    assert_eq!(fields(&error), [&expected[..], &["max_keys", "idle"]].concat());
}

#[test]
fn the_ends_of_the_ranges_work() {
    let day = DAY;
    let builders = [
        base().consecutive(1).failure_ratio(1.0).slow_ratio(f64::MIN_POSITIVE, day),
        base().window(Window::Time(Duration::from_millis(10)), u64::MAX),
        base().window(Window::Time(day), 1),
        base().window(Window::Calls(1_000_000), 1_000_000),
        base().window(Window::Calls(1), 1),
        base().open_for(OpenTime::constant(day).growing(100.0, day).jitter(1.0)),
        base().longest_named(day).half_open(1_000, 1_000).trial_time(day),
    ];
    for builder in builders {
        assert!(builder.build().is_ok());
    }
    for shares in [f64::MIN_POSITIVE, 1.0] {
        assert!(base().peers(Nobody, shares, u32::MAX).build().is_ok());
    }
    for keys in [1, 100_000_000] {
        assert!(base().keyed().max_keys(keys).idle(DAY).build::<u32>().is_ok());
    }
    assert!(presets::ALL.iter().all(|preset| preset.builder().build().is_ok()));
}

#[test]
fn a_circuit_may_start_switched_off() {
    let circuit = base().consecutive(1).enabled(false).build().unwrap();
    circuit.admit().unwrap().record(Verdict::Failure);
    assert_eq!((circuit.state(), circuit.status().mode), (State::Closed, Mode::Disabled));
    circuit.reset();
    circuit.admit().unwrap().record(Verdict::Failure);
    assert_eq!(circuit.state(), State::Open);
}
