//! The arithmetic, for any input.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tower_retry_classify::{Backoff, Jitter, Quota, Strategy as Growth, retry_after};

/// The last number below 1.
const ALMOST_ONE: f64 = 1.0 - f64::EPSILON / 2.0;

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0u64..10_000).prop_map(Duration::from_millis),
        (any::<u64>(), 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n)),
    ]
}

fn growths() -> impl Strategy<Value = Growth> {
    prop_oneof![
        (durations(), 1.0..1e6).prop_map(|(base, factor)| Growth::Exponential { base, factor }),
        durations().prop_map(|base| Growth::Linear { base }),
        durations().prop_map(|delay| Growth::Constant { delay }),
    ]
}

fn jitters() -> impl Strategy<Value = Jitter> {
    prop_oneof![
        Just(Jitter::None),
        Just(Jitter::Full),
        Just(Jitter::Equal),
        Just(Jitter::Decorrelated),
        (0.0..=1.0).prop_map(Jitter::Fraction),
    ]
}

fn randoms() -> impl Strategy<Value = f64> {
    // 1 is not allowed, and does no harm.
    prop_oneof![Just(0.0), Just(ALMOST_ONE), Just(1.0), 0.0..1.0]
}

/// Floats are exact to about 16 digits.
fn about(a: Duration, b: Duration) -> bool {
    a.abs_diff(b).as_secs_f64() <= 1e-8 + a.as_secs_f64() * 1e-14
}

proptest! {
    #[test]
    fn no_delay_passes_the_cap_and_nothing_overflows(
        growth in growths(), jitter in jitters(), cap in durations(),
        retry in any::<u32>(), last in durations(), random in randoms(),
    ) {
        let backoff = Backoff::new(growth).cap(cap).jitter(jitter);
        prop_assert!(backoff.delay(retry, last, random).unwrap() <= cap);
    }

    #[test]
    fn decorrelated_delays_without_a_cap_do_not_overflow(
        first in durations(), last in durations(), random in randoms(),
    ) {
        let backoff = Backoff::constant(first).cap(Duration::MAX).jitter(Jitter::Decorrelated);
        prop_assert!(backoff.delay(1, last, random).unwrap() >= first);
    }

    #[test]
    fn plain_delays_never_shrink(growth in growths(), cap in durations(), retry in 0u32..10_000) {
        let backoff = Backoff::new(growth).cap(cap).jitter(Jitter::None);
        let delay = |retry| backoff.delay(retry, Duration::ZERO, 0.0);
        prop_assert!(delay(retry) <= delay(retry + 1));
    }

    #[test]
    fn each_jitter_keeps_its_bounds(
        base in (1u64..10_000).prop_map(Duration::from_millis), retry in 0u32..20,
        part in 0.0..=1.0, random in randoms(),
    ) {
        let backoff = Backoff::exponential(base, 2.0).cap(Duration::from_secs(3_600));
        let delay = |jitter, random| backoff.jitter(jitter).delay(retry, Duration::ZERO, random).unwrap();
        let plain = delay(Jitter::None, random);
        prop_assert_eq!(delay(Jitter::Full, 0.0), Duration::ZERO);
        prop_assert!(about(delay(Jitter::Full, ALMOST_ONE), plain));
        prop_assert!(about(delay(Jitter::Equal, 0.0), plain / 2));
        prop_assert!(about(delay(Jitter::Equal, ALMOST_ONE), plain));
        prop_assert!(about(delay(Jitter::Fraction(part), 0.0), plain.mul_f64(1.0 - part)));
        prop_assert!(about(delay(Jitter::Fraction(part), ALMOST_ONE), plain));
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::Fraction(part)] {
            prop_assert!(delay(jitter, random) <= plain);
        }
    }

    #[test]
    fn decorrelated_delays_lie_between_the_first_and_three_times_the_last(
        base in 1u64..10_000, last in 0u64..100_000, retry in any::<u32>(), random in randoms(),
    ) {
        let [base, last] = [base, last].map(Duration::from_millis);
        let cap = Duration::from_secs(60);
        let backoff = Backoff::exponential(base, 2.0).cap(cap).jitter(Jitter::Decorrelated);
        let delay = backoff.delay(retry, last, random).unwrap();
        prop_assert!(delay >= base);
        prop_assert!(delay <= (last.max(base) * 3).min(cap));
        let most = backoff.delay(retry, last, 1.0).unwrap();
        prop_assert!(about(most, (last.max(base) * 3).min(cap)), "{most:?}");
    }

    #[test]
    fn nothing_however_often_multiplied_stays_nothing(
        retry in any::<u32>(), factor in 1.0..1e6, jitter in jitters(), random in randoms(),
    ) {
        let backoff = Backoff::exponential(Duration::ZERO, factor).jitter(jitter);
        prop_assert_eq!(backoff.delay(retry, Duration::ZERO, random), Some(Duration::ZERO));
    }

    #[test]
    fn no_strategy_no_delay(retry in any::<u32>(), random in randoms()) {
        prop_assert_eq!(Backoff::none().delay(retry, Duration::ZERO, random), None);
    }

    #[test]
    fn what_the_server_asks_for_is_never_shortened(
        after in durations(), jitter in jitters(), random in randoms(),
    ) {
        let spread = Backoff::default().jitter(jitter).spread(after, random);
        prop_assert!(spread >= after);
        prop_assert!(spread <= after.saturating_add(Duration::from_secs(1)));
    }

    #[test]
    fn seconds_are_read_as_they_are(seconds in 0u64..10_000_000, pad in "[ \t]{0,3}") {
        let text = format!("{pad}{seconds}{pad}");
        let max = Duration::from_secs(10_000_000);
        let parsed = retry_after::parse(&text, SystemTime::UNIX_EPOCH, max);
        prop_assert_eq!(parsed, Some(Duration::from_secs(seconds)));
    }

    #[test]
    fn any_number_of_digits_is_a_wait_of_at_most_max(digits in "[0-9]{1,60}") {
        let max = Duration::from_secs(3_600);
        prop_assert!(retry_after::parse(&digits, SystemTime::UNIX_EPOCH, max).unwrap() <= max);
    }

    #[test]
    fn a_date_is_the_time_until_then(now in 0u64..4_000_000_000, ahead in -1_000_000i64..1_000_000) {
        let then = now.saturating_add_signed(ahead);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let text = httpdate::fmt_http_date(at(then));
        let parsed = retry_after::parse(&text, at(now), Duration::MAX);
        prop_assert_eq!(parsed, Some(Duration::from_secs(then.saturating_sub(now))));
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}") {
        let _ = retry_after::parse(&text, SystemTime::UNIX_EPOCH, Duration::MAX);
    }

    #[test]
    fn a_purse_stays_within_its_bounds(
        capacity in any::<u32>(), moves in prop::collection::vec((any::<bool>(), any::<u32>()), 0..50),
    ) {
        let quota = Quota::AWS.capacity(capacity);
        let mut purse = capacity;
        for (pay, tokens) in moves {
            if pay {
                match quota.pay(purse, tokens) {
                    Some(left) => { prop_assert_eq!(left + tokens, purse); purse = left; }
                    None => prop_assert!(tokens > purse),
                }
            } else {
                let filled = quota.put(purse, tokens);
                prop_assert!(filled >= purse && filled <= capacity);
                purse = filled;
            }
        }
    }
}
