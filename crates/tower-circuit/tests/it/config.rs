//! Every value that cannot work is named, with what it was and what would work.

use std::time::Duration;

use tower_circuit::{Circuit, CircuitBuilder, Mode, OpenTime, State, Verdict, Window};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(86_401);

fn base() -> CircuitBuilder {
    Circuit::builder("x")
}

fn problems(builder: CircuitBuilder) -> Vec<(&'static str, String, &'static str)> {
    let error = builder.build().unwrap_err();
    let told = |problem: &tower_circuit::Problem| {
        (problem.field(), problem.value().to_owned(), problem.allowed())
    };
    error.problems().iter().map(told).collect()
}

#[test]
fn each_wrong_value_gives_one_problem_that_names_field_value_and_range() {
    const TIME: &str = "above zero and at most a day";
    const SHARE: &str = "above 0 and at most 1";
    const COUNT: &str = "1 to 1,000";
    const CAP: &str = "the first open time to a day";
    const LEAST: &str = "at least 1 and no more than the window holds";
    let grow = |factor, cap| OpenTime::constant(SECOND).growing(factor, cap);
    let cases: Vec<(CircuitBuilder, &str, &str, &str)> = vec![
        (Circuit::builder(""), "name", "\"\"", "any text but none"),
        (base().consecutive(0), "consecutive", "0", "at least 1"),
        (base().failure_ratio(0.0), "failure_ratio", "0.0", SHARE),
        (base().failure_ratio(-0.5), "failure_ratio", "-0.5", SHARE),
        (base().failure_ratio(1.1), "failure_ratio", "1.1", SHARE),
        (base().failure_ratio(f64::NAN), "failure_ratio", "NaN", SHARE),
        (base().slow_ratio(0.0, SECOND), "slow_ratio", "0.0", SHARE),
        (base().slow_ratio(f64::INFINITY, SECOND), "slow_ratio", "inf", SHARE),
        (base().slow_ratio(0.5, Duration::ZERO), "slow_ratio.from", "0ns", TIME),
        (base().slow_ratio(0.5, LONG), "slow_ratio.from", "86401s", TIME),
        (base().window(Window::Time(SECOND / 101), 1), "window", "9.90099ms", "10 ms to a day"),
        (base().window(Window::Time(LONG), 1), "window", "86401s", "10 ms to a day"),
        (base().window(Window::Calls(0), 1), "window", "0", "1 to 1,000,000 calls"),
        (base().window(Window::Calls(1_000_001), 1), "window", "1000001", "1 to 1,000,000 calls"),
        (base().window(Window::Time(SECOND), 0), "min_calls", "0", LEAST),
        (base().window(Window::Calls(10), 11), "min_calls", "11", LEAST),
        (base().open_for(Duration::ZERO), "open_for", "0ns", TIME),
        (base().open_for(LONG), "open_for", "86401s", TIME),
        (base().open_for(grow(0.9, SECOND)), "open_for.factor", "0.9", "1 to 100"),
        (base().open_for(grow(f64::NAN, SECOND)), "open_for.factor", "NaN", "1 to 100"),
        (base().open_for(grow(2.0, SECOND / 2)), "open_for.cap", "500ms", CAP),
        (base().open_for(grow(2.0, LONG)), "open_for.cap", "86401s", CAP),
        (base().open_for(grow(2.0, SECOND).jitter(1.5)), "open_for.jitter", "1.5", "0 to 1"),
        (base().open_for(grow(2.0, SECOND).jitter(-0.1)), "open_for.jitter", "-0.1", "0 to 1"),
        (base().longest_named(Duration::ZERO), "longest_named", "0ns", TIME),
        (base().half_open(0, 1), "half_open.trials", "0", COUNT),
        (base().half_open(1_001, 1), "half_open.trials", "1001", COUNT),
        (base().half_open(1, 0), "half_open.successes", "0", COUNT),
        (base().half_open(1, 1_001), "half_open.successes", "1001", COUNT),
        (base().trial_time(Duration::ZERO), "trial_time", "0ns", TIME),
        (base().trial_time(LONG), "trial_time", "86401s", TIME),
    ];
    for (builder, field, value, allowed) in cases {
        let mut found = problems(builder);
        // A time that is too long is above its cap, too.
        found.dedup_by_key(|problem| {
            problem.0.split('.').next() == Some("open_for") && problem.1 == value
        });
        assert_eq!(found, [(field, value.to_owned(), allowed)]);
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
        .trial_time(Duration::ZERO);
    let text = builder.clone().build().unwrap_err().to_string();
    assert!(
        text.starts_with(
            "circuit cannot be built: name is \"\", allowed: any text but none; \
             consecutive is 0, allowed: at least 1; failure_ratio is NaN"
        ),
        "{text}"
    );
    let fields: Vec<_> = problems(builder).into_iter().map(|problem| problem.0).collect();
    assert_eq!(
        fields,
        [
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
        ]
    );
}

#[test]
fn the_ends_of_the_ranges_work() {
    let day = Duration::from_secs(86_400);
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
