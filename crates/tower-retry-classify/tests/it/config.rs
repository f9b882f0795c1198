//! Configuration: presets, and everything wrong at once.

use std::time::Duration;

use crate::support::*;
use tower_retry_classify::{
    Backoff, Class, ClassPolicy, ConfigError, Jitter, Learning, Problem, Profile, Quota,
    RetryBudget, RetryBuilder, RetryPolicy, Share,
};

type Told = Vec<(String, Option<Class>, String, String)>;

fn told(error: &ConfigError) -> Told {
    let one =
        |it: &Problem| (it.field().into(), it.class(), it.value().into(), it.allowed().into());
    error.problems().iter().map(one).collect()
}

fn http() -> RetryBuilder<Request, Response> {
    RetryPolicy::http()
}

fn wrong(builder: RetryBuilder<Request, Response>) -> Told {
    told(&builder.build().unwrap_err())
}

#[test]
fn every_wrong_value_is_named_with_what_was_given_and_what_is_allowed() {
    let ms = Duration::from_millis;
    let one = |field: &str, value: &str, allowed: &str| {
        vec![(field.into(), None, value.into(), allowed.into())]
    };
    let backoff = |backoff| wrong(http().backoff(backoff));
    let exponential = |factor| Backoff::exponential(seconds(1), factor);

    for (factor, value) in
        [(0.99, "0.99"), (1_000.1, "1000.1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")]
    {
        assert_eq!(backoff(exponential(factor)), one("factor", value, "from 1 to 1000"));
    }
    let grows = "more than 0 s, up to the cap";
    assert_eq!(backoff(Backoff::exponential(ms(0), 2.0)), one("base", "0ns", grows));
    assert_eq!(backoff(Backoff::linear(ms(0))), one("base", "0ns", grows));
    let short = "at least the first delay, 31s";
    for longer in [Backoff::linear(seconds(31)), Backoff::constant(seconds(31))] {
        assert_eq!(backoff(longer), one("cap", "30s", short));
    }
    for (fraction, value) in [(-0.1, "-0.1"), (1.1, "1.1"), (f64::NAN, "NaN")] {
        let jittered = exponential(2.0).jitter(Jitter::Fraction(fraction));
        assert_eq!(backoff(jittered), one("jitter", value, "from 0 to 1"));
    }

    let quota = |quota| wrong(http().budget(RetryBudget::new(quota)));
    assert_eq!(quota(Quota::AWS.cost(501)), one("cost", "501", "from 0 to the capacity, 500"));
    let timeout = Quota::AWS.capacity(9);
    assert_eq!(quota(timeout), one("timeout_cost", "10", "from 0 to the capacity, 9"));
    // Outside of a runtime, so the share's clock is the system's.
    let share = |share| wrong(http().budget(RetryBudget::share(share)));
    for (ratio, value) in [(-0.1, "-0.1"), (1e9, "1000000000"), (f64::NAN, "NaN")] {
        assert_eq!(share(Share::FINAGLE.ratio(ratio)), one("ratio", value, "from 0 to 1000"));
    }
    for (window, value) in [(ms(999), "999ms"), (ms(60_001), "60.001s")] {
        assert_eq!(share(Share::FINAGLE.window(window)), one("window", value, "from 1 s to 60 s"));
    }

    let learning = |learning| wrong(http().learning(learning));
    for (half_life, value) in [(ms(999), "999ms"), (ms(86_400_001), "86400.001s")] {
        let given = learning(Learning::new().half_life(half_life));
        assert_eq!(given, one("half_life", value, "from 1 s to 86400 s"));
    }
    for (factor, value) in [(0.9, "0.9"), (100.5, "100.5"), (f64::NAN, "NaN")] {
        let given = learning(Learning::new().max_factor(factor));
        assert_eq!(given, one("max_factor", value, "from 1 to 100"));
    }

    let none = RetryPolicy::<Request, Response>::builder();
    assert_eq!(wrong(none), one("classify", "no classifier", "at least one"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let bad = Backoff::exponential(seconds(60), 0.5).jitter(Jitter::Fraction(2.0));
    let error = RetryPolicy::<Request, Response>::builder()
        .backoff(bad)
        .class(Class::Server, ClassPolicy::new().backoff(bad))
        .class(Class::Server, ClassPolicy::never())
        .budget(RetryBudget::new(Quota::AWS.capacity(3)))
        .build()
        .unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|it| (it.field(), it.class())).collect();
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
        ("cost", None),
        ("timeout_cost", None),
    ];
    assert_eq!(fields, expected);
    let text = error.to_string();
    let start = "the retry configuration cannot work: `classify` is no classifier, allowed is at least one; `factor` is 0.5";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains("`jitter` of class server is 2, allowed is from 0 to 1"), "{text}");
}

#[test]
fn the_edges_of_what_is_allowed_are_allowed() {
    for backoff in [
        Backoff::exponential(seconds(30), 1.0).jitter(Jitter::Fraction(0.0)),
        Backoff::exponential(Duration::from_nanos(1), 1_000.0).jitter(Jitter::Fraction(1.0)),
        Backoff::constant(Duration::ZERO),
        Backoff::none(),
    ] {
        assert!(http().backoff(backoff).build().is_ok(), "{backoff:?}");
    }
    for window in [1, 60] {
        let share = Share::FINAGLE.window(seconds(window)).ratio(1_000.0).per_second(0);
        assert!(http().budget(RetryBudget::share(share)).build().is_ok());
    }
    assert!(http().budget(RetryBudget::new(Quota::AWS.capacity(10))).build().is_ok());
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
