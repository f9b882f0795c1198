//! Configuration: presets, and everything wrong at once.

mod cases;

use std::time::Duration;

use tower_retry_classify::{
    Backoff, Class, ClassPolicy, ConfigError, Fault, FaultBuilder, FaultLayer, Jitter, Learning,
    Profile, Quota, ReplayLog, RetryBudget, RetryPolicy, Share,
};

use self::cases::{http, rule, rules, wrong, wrong_rules};
use crate::support::*;

const MAX: Duration = Duration::MAX;

fn fields(error: &ConfigError) -> Vec<(&str, Option<Class>)> {
    error.problems().iter().map(|it| (it.field(), it.class())).collect()
}

#[test]
fn every_wrong_value_is_named_with_what_was_given_and_what_is_allowed() {
    let all = cases::all();
    assert_eq!(all.len(), 146);
    for (error, field, class, value, allowed) in all {
        let [problem] = error.problems() else { panic!("{field}: {error}") };
        let given = (problem.class(), problem.value(), problem.allowed());
        assert_eq!(given, (class, value, allowed), "{field}");
        let of_rule = problem.field().strip_prefix("error_categories[1].");
        assert_eq!(of_rule.unwrap_or(problem.field()), field);
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let bad = Backoff::exponential(seconds(60), 0.5).jitter(Jitter::Fraction(2.0));
    let builder = RetryPolicy::<Request, Response>::builder()
        .backoff(bad)
        .class(Class::Server, ClassPolicy::new().backoff(bad))
        .class(Class::Server, ClassPolicy::never())
        .class(Class::Custom(""), ClassPolicy::never())
        .learning(Learning::new().half_life(Duration::ZERO).max_factor(0.0));
    let server = Some(Class::Server);
    let expected = [
        ("classify", None),
        ("factor", None),
        ("cap", None),
        ("jitter", None),
        ("factor", server),
        ("cap", server),
        ("jitter", server),
        ("class", server),
        ("class", None),
        ("cost", None),
        ("timeout_cost", None),
        ("half_life", None),
        ("max_factor", None),
    ];
    let error = wrong(builder.budget(RetryBudget::new(Quota::AWS.capacity(3))));
    assert_eq!(fields(&error), expected);
    let text = error.to_string();
    let start = "the retry configuration cannot work: `classify` is no classifier, allowed is at least one; `factor` is 0.5";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains("`jitter` of class server is 2, allowed is from 0 to 1"), "{text}");

    let share = Share::FINAGLE.ratio(f64::NAN).window(Duration::ZERO);
    let error =
        wrong(http().budget(RetryBudget::share(share)).backoff(Backoff::linear(MAX).cap(MAX)));
    let expected = ["base", "cap", "ratio", "window"].map(|field| (field, None));
    assert_eq!(fields(&error), expected);
    assert_eq!(error.problems()[1].allowed(), "at most 86400 s");
}

#[test]
fn everything_wrong_with_faults_logs_and_rules_is_told_at_once() {
    let faults = FaultLayer::<Response>::builder().chance(-0.5, Fault::Hang);
    let faults = faults.chance(1.5, Fault::Hang).chance(f64::NAN, Fault::Hang);
    let values = |error: &ConfigError| -> Vec<_> {
        error.problems().iter().map(|it| it.value().to_owned()).collect()
    };
    assert_eq!(values(&faults.build().unwrap_err()), ["-0.5", "1.5", "NaN"]);

    let error = ReplayLog::<()>::new(0, MAX).unwrap_err();
    assert_eq!(fields(&error), [("capacity", None), ("max_age", None)]);

    let mut bad: Vec<_> = rules().into_iter().map(|(rule, ..)| rule).collect();
    let most = bad.len();
    bad.resize(1_001, rule(|_| {}));
    let own = ["server", "mine", "other"].map(Class::Custom);
    let error = wrong_rules(bad, &own);
    let expected = ["own[0]", "own[2]", "error_categories"];
    let found = error.problems();
    assert_eq!([0, 1, 2].map(|n| found[n].field()), expected);
    assert_eq!(found.len(), 3 + most);
    for (place, (problem, (_, field, ..))) in found[3..].iter().zip(rules()).enumerate() {
        assert_eq!(problem.field(), format!("error_categories[{place}].{field}"));
    }
}

#[test]
fn the_edges_of_what_is_allowed_are_allowed() {
    for backoff in [
        Backoff::exponential(seconds(30), 1.0).jitter(Jitter::Fraction(0.0)),
        Backoff::exponential(Duration::from_nanos(1), 1_000.0).jitter(Jitter::Fraction(1.0)),
        Backoff::constant(Duration::ZERO),
        Backoff::constant(seconds(86_400)).cap(seconds(86_400)),
        Backoff::none().cap(Duration::ZERO),
    ] {
        assert!(http().backoff(backoff).build().is_ok(), "{backoff:?}");
    }
    for window in [1, 60] {
        let share = Share::FINAGLE.window(seconds(window)).ratio(1_000.0).per_second(0);
        assert!(http().budget(RetryBudget::share(share)).build().is_ok());
    }
    let reserve = Share::FINAGLE.ratio(0.0).per_second(1);
    for share in [reserve, Share::FINAGLE.ratio(0.001).per_second(u32::MAX)] {
        assert!(http().budget(RetryBudget::share(share)).build().is_ok());
    }
    for quota in [Quota::AWS.capacity(10), Quota::AWS.capacity(0).cost(0).timeout_cost(0)] {
        assert!(http().budget(RetryBudget::new(quota)).build().is_ok());
    }
    for (half_life, factor) in [(1, 1.0), (86_400, 100.0)] {
        let learning = Learning::new().half_life(seconds(half_life)).max_factor(factor);
        assert!(http().learning(learning).max_wait(MAX).max_retries(u32::MAX).build().is_ok());
    }
    let tenth = |faults: FaultBuilder<Response>, _| faults.chance(0.1, Fault::Hang);
    assert!((0..10).fold(FaultLayer::builder(), tenth).build().is_ok());
    let log = ReplayLog::<()>::new;
    assert!(log(1, Duration::from_nanos(1)).is_ok() && log(100_000, seconds(86_400)).is_ok());
}

#[test]
fn the_seeds_profiles_are_as_they_name_them() {
    for (profile, retries, first, cap) in [
        (Profile::GENERIC, 3, 1, 30),
        (Profile::LARAVEL, 3, 1, 16),
        (Profile::AUTOTASK, 5, 1, 60),
        (Profile::PIGEON_HTTP, 3, 1, 10),
        (Profile::AWS, 5, 2, 60),
    ] {
        assert_eq!(profile.max_retries, retries);
        let plain = profile.backoff.jitter(Jitter::None);
        assert_eq!(plain.delay(0, Duration::ZERO, 0.0), Some(seconds(first)));
        assert_eq!(plain.delay(1, Duration::ZERO, 0.0), Some(seconds(2 * first)));
        assert_eq!(plain.delay(99, Duration::ZERO, 0.0), Some(seconds(cap)));
        assert_eq!(
            profile.backoff.delay(0, Duration::ZERO, 0.0),
            Some(seconds(first).mul_f64(0.9))
        );
    }
}
