//! What the policy does, seen from outside.

use std::{io::ErrorKind, time::Duration};

use crate::support::*;
use http::{Method, header::HeaderName};
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::retry::RetryLayer;
use tower_retry_classify::{
    Backoff, BoxError, Class, ClassPolicy, GaveUp, Jitter, NotRetried, Quota, Reason, RetryBudget,
    RetryBuilder, RetryPolicy, Strategy, Transport, Verdict,
};
use tower_test::{assert_request_eq, mock};

type Policy = RetryPolicy<Request, Response>;

/// Generic, without jitter.
fn plain() -> RetryBuilder<Request, Response> {
    let backoff = Backoff::exponential(seconds(1), 2.0).jitter(Jitter::None);
    RetryPolicy::http().backoff(backoff).local(is_local)
}

fn policy() -> Policy {
    plain().build().unwrap()
}

fn why(outcome: &Outcome) -> Option<Reason> {
    let why = match outcome {
        Ok(response) => NotRetried::of(response),
        Err(error) => GaveUp::find(&**error).map(GaveUp::why),
    };
    why.map(NotRetried::reason)
}

// ===== when and how often =====

#[tokio::test(start_paused = true)]
async fn waits_double_until_the_call_succeeds() {
    let script = Script::new([status(500), status(502), status(503), status(200)]);
    let answer = script.run(&policy(), get()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(script.waits(), [1_000, 2_000, 4_000]);
}

#[tokio::test(start_paused = true)]
async fn max_retries_counts_retries_after_the_first_attempt() {
    let script = Script::new([status(500), status(500), status(500), status(504)]);
    let outcome = script.run(&policy(), get()).await;
    assert_eq!(script.calls(), 4);
    assert_eq!(why(&outcome), Some(Reason::Exhausted));
    let answer = outcome.unwrap();
    assert_eq!(answer.status(), 504, "the newest outcome is the caller's");
    assert_eq!(NotRetried::of(&answer).unwrap().retries(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_retries_means_that_nothing_is_copied() {
    let policy = RetryPolicy::<Request, Response>::builder_with(|_| panic!("copied"))
        .classify(Transport::new())
        .max_retries(0)
        .build()
        .unwrap();
    let script = Script::new([io(ErrorKind::ConnectionRefused)]);
    assert!(script.run(&policy, get()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_get_better_is_final_and_untouched() {
    for code in [400, 401, 402, 403, 404, 405, 410, 415, 422, 501] {
        let script = Script::new([status(code)]);
        let outcome = script.run(&policy(), get()).await;
        assert_eq!(why(&outcome), None, "{code}");
        assert_eq!(outcome.unwrap().status(), code);
    }
    let script = Script::new([Err("of no known kind".into())]);
    assert_eq!(script.run(&policy(), get()).await.unwrap_err().to_string(), "of no known kind");
}

#[tokio::test(start_paused = true)]
async fn every_transient_status_is_tried_again() {
    for code in [408, 429, 500, 502, 503, 504, 524] {
        let script = Script::new([status(code), status(200)]);
        assert_eq!(script.run(&policy(), get()).await.unwrap().status(), 200, "{code}");
    }
}

/// Not in a runtime, so a timer would panic.
#[test]
fn a_wait_of_nothing_sets_no_timer() {
    let policy = plain().backoff(Backoff::constant(Duration::ZERO)).build().unwrap();
    let script = Script::new([status(500), status(500), status(200)]);
    let mut call = task::spawn(script.run(&policy, get()));
    assert_eq!(assert_ready_ok!(call.poll()).status(), 200);
}

#[tokio::test(start_paused = true)]
async fn while_it_waits_it_holds_no_readiness_and_calls_nobody() {
    let policy = RetryPolicy::builder_with(|request: &&'static str| Some(*request))
        .classify(|_: &&'static str, outcome: Result<&&'static str, &BoxError>| match outcome {
            Ok(&"busy") => Verdict::retry(Class::RateLimit),
            _ => Verdict::NoOpinion,
        })
        .backoff(Backoff::constant(seconds(1)).jitter(Jitter::None))
        .build()
        .unwrap();
    let (mut retry, mut inner) = mock::spawn_layer(RetryLayer::new(policy));
    inner.allow(2);
    assert_ready_ok!(retry.poll_ready());
    let mut call = task::spawn(retry.call("a"));
    assert_request_eq!(inner, "a").send_response("busy");
    assert_pending!(call.poll());
    // Somebody else can have the place.
    assert_ready_ok!(retry.poll_ready());
    let mut other = task::spawn(retry.call("b"));
    assert_request_eq!(inner, "b").send_response("B");
    assert_ready_ok!(other.poll(), "B");

    tokio::time::advance(seconds(1) + Duration::from_millis(1)).await;
    assert!(call.is_woken());
    assert_pending!(call.poll());
    inner.allow(1);
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert_request_eq!(inner, "a").send_response("A");
    assert_ready_ok!(call.poll(), "A");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_not_tried_again() {
    let script = Script::new([status(500)]);
    let policy = policy();
    let call = script.run(&policy, get());
    assert!(tokio::time::timeout(Duration::from_millis(500), call).await.is_err());
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(script.calls(), 1);
}

// ===== classes =====

#[tokio::test(start_paused = true)]
async fn a_class_has_delays_and_retries_of_its_own() {
    let slow = Backoff::linear(seconds(5)).jitter(Jitter::None);
    let policy = plain()
        .class(Class::RateLimit, ClassPolicy::new().backoff(slow).max_retries(5))
        .class(Class::Server, ClassPolicy::new().max_retries(1))
        .build()
        .unwrap();
    let script = Script::new([status(429), status(429), status(200)]);
    assert_eq!(script.run(&policy, get()).await.unwrap().status(), 200);
    assert_eq!(script.waits(), [5_000, 10_000]);

    let script = Script::new([status(500), status(500)]);
    assert_eq!(why(&script.run(&policy, get()).await), Some(Reason::Exhausted));
}

#[tokio::test(start_paused = true)]
async fn a_class_whose_strategy_is_none_is_final() {
    let policy = plain()
        .class(Class::Server, ClassPolicy::new().backoff(Backoff::new(Strategy::None)))
        .class(Class::Timeout, ClassPolicy::never())
        .build()
        .unwrap();
    for code in [500, 408] {
        let script = Script::new([status(code)]);
        let outcome = script.run(&policy, get()).await;
        assert_eq!(why(&outcome), None);
        assert_eq!(outcome.unwrap().status(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_classifier_overrules_an_earlier_one() {
    let quota = |_: &Request, outcome: Result<&Response, &BoxError>| match outcome {
        Ok(answer) if answer.status() == 429 => Verdict::never(Class::Quota),
        Ok(answer) if answer.status() == 202 => Verdict::retry(Class::Custom("pending")),
        _ => Verdict::NoOpinion,
    };
    let policy = plain().classify(quota).build().unwrap();
    let script = Script::new([status(429)]);
    assert_eq!(script.run(&policy, get()).await.unwrap().status(), 429);
    let script = Script::new([status(202), status(200)]);
    assert_eq!(script.run(&policy, get()).await.unwrap().status(), 200);
    let stats = policy.stats().snapshot();
    assert_eq!(stats.failed_with(Class::Quota), 1);
    assert_eq!(stats.failed_with(Class::Custom("pending")), 1);
}

#[tokio::test(start_paused = true)]
async fn a_later_classifier_may_overrule_a_never() {
    let odd = |_: &Request, outcome: Result<&Response, &BoxError>| match outcome {
        Ok(answer) if answer.status() == 400 => Verdict::retry(Class::RateLimit),
        _ => Verdict::NoOpinion,
    };
    let policy = plain().classify(odd).build().unwrap();
    let script = Script::new([status(400), status(404)]);
    assert_eq!(script.run(&policy, get()).await.unwrap().status(), 404);
    let stats = policy.stats().snapshot();
    assert_eq!(stats.failed_with(Class::RateLimit), 1);
    assert_eq!(stats.failed_with(Class::NotFound), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_must_not_be_done_twice_is_not() {
    for outcome in [status(500), status(503), status(408), io(ErrorKind::ConnectionReset)] {
        let script = Script::new([outcome]);
        let outcome = script.run(&policy(), request(Method::POST)).await;
        assert_eq!(why(&outcome), Some(Reason::NotIdempotent));
        assert_eq!(script.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_never_acted_on_may_always_be_repeated() {
    for outcome in [status(429), io(ErrorKind::ConnectionRefused)] {
        let script = Script::new([outcome, status(201)]);
        let answer = script.run(&policy(), request(Method::POST)).await.unwrap();
        assert_eq!(answer.status(), 201);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_header_or_a_mark_makes_a_request_repeatable() {
    let policy = plain()
        .key_header(HeaderName::from_static("idempotency-key"))
        .idempotent(|request| request.uri().path() == "/search")
        .build()
        .unwrap();
    let mut keyed = request(Method::POST);
    keyed.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
    let mut marked = request(Method::POST);
    *marked.uri_mut() = "/search".parse().unwrap();
    for request in [keyed.clone(), marked] {
        let script = Script::new([status(500), status(200)]);
        assert_eq!(script.run(&policy, request).await.unwrap().status(), 200);
    }
    // Nobody trusts the header unless told to.
    let script = Script::new([status(500)]);
    assert_eq!(why(&script.run(&self::policy(), keyed).await), Some(Reason::NotIdempotent));
}

#[tokio::test(start_paused = true)]
async fn a_class_of_one_s_own_can_be_declared_untouched() {
    let maintenance = |_: &Request, outcome: Result<&Response, &BoxError>| match outcome {
        Ok(answer) if answer.status() == 503 => Verdict::retry(Class::Custom("maintenance")),
        _ => Verdict::NoOpinion,
    };
    let class = Class::Custom("maintenance");
    let policy = plain()
        .classify(maintenance)
        .class(class, ClassPolicy::new().untouched())
        .class(Class::RateLimit, ClassPolicy::new().touched())
        .build()
        .unwrap();
    let script = Script::new([status(503), status(200)]);
    assert_eq!(script.run(&policy, request(Method::POST)).await.unwrap().status(), 200);
    let script = Script::new([status(429)]);
    assert_eq!(why(&script.run(&policy, request(Method::POST)).await), Some(Reason::NotIdempotent));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_copied_is_sent_once() {
    let policy = RetryPolicy::<Request, Response>::builder_with(|_| None)
        .classify(Transport::new())
        .idempotent(|_| true)
        .build()
        .unwrap();
    let script = Script::new([io(ErrorKind::ConnectionRefused)]);
    let error = script.run(&policy, get()).await.unwrap_err();
    assert!(error.is::<std::io::Error>(), "it arrives as it was");
    assert_eq!(script.calls(), 1);
    assert_eq!(policy.stats().snapshot().uncloneable, 1);
}

// ===== the server's wish, and the caller's deadline =====

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_beyond_our_own_cap() {
    let script = Script::new([told(429, "90"), told(503, "0"), status(200)]);
    assert_eq!(script.run(&policy(), get()).await.unwrap().status(), 200);
    assert_eq!(script.waits(), [90_000, 2_000], "zero seconds leave it to our own delay");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_never_shortened_by_jitter() {
    let policy =
        RetryPolicy::http().backoff(Backoff::default().jitter(Jitter::Full)).build().unwrap();
    for _ in 0..50 {
        let script = Script::new([told(429, "7"), status(200)]);
        script.run(&policy, get()).await.unwrap();
        assert!((7_000..=7_701).contains(&script.waits()[0]), "{:?}", script.waits());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_end_before_the_deadline_does_not_begin() {
    let start = Instant::now();
    let policy = plain().deadline(move |_| Some(start + seconds(2))).build().unwrap();
    for outcome in [told(429, "2"), told(503, "3600")] {
        let script = Script::new([outcome]);
        let outcome = script.run(&policy, get()).await;
        assert_eq!(why(&outcome), Some(Reason::Deadline));
        assert!(NotRetried::of(&outcome.unwrap()).unwrap().retry_after() >= Some(seconds(2)));
    }
    assert_eq!(Instant::now(), start, "the caller waits for nothing");
    // One second fits, the two after that do not.
    let script = Script::new([status(500), io(ErrorKind::BrokenPipe)]);
    let outcome = script.run(&policy, get()).await;
    assert_eq!(why(&outcome), Some(Reason::Deadline));
    assert!(Instant::now() < start + Duration::from_millis(1_100));
    let error = outcome.unwrap_err();
    let source = std::error::Error::source(&*error).unwrap();
    assert!(source.is::<std::io::Error>(), "the real error is the source");
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_day_is_not_slept_through() {
    let script = Script::new([told(429, "86400")]);
    let outcome = script.run(&policy(), get()).await;
    assert_eq!(why(&outcome), Some(Reason::WaitTooLong));
    let retry_after = NotRetried::of(&outcome.unwrap()).unwrap().retry_after();
    assert_eq!(retry_after, Some(seconds(86_400)));
    // With one, the deadline alone decides.
    let deadline = Instant::now() + seconds(100_000);
    let patient = plain().deadline(move |_| Some(deadline)).build().unwrap();
    let script = Script::new([told(429, "86400"), status(200)]);
    assert_eq!(script.run(&patient, get()).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_wait_is_left_to_our_own_delay() {
    for absurd in
        ["-5", "1.5", "1e9", "+3", "", "soon", "Thu, 01 Jan 1970 00:00:00 GMT", "\u{fc}ber morgen"]
    {
        let value = http::HeaderValue::from_bytes(absurd.as_bytes()).unwrap();
        let mut busy = status(429);
        busy.as_mut().unwrap().headers_mut().insert(http::header::RETRY_AFTER, value);
        let script = Script::new([busy, status(200)]);
        assert_eq!(script.run(&policy(), get()).await.unwrap().status(), 200);
        assert_eq!(script.waits(), [1_000], "{absurd}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_can_ask_for_a_year_at_most_and_get_it() {
    for absurd in ["99999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let script = Script::new([told(503, absurd)]);
        assert_eq!(why(&script.run(&policy(), get()).await), Some(Reason::WaitTooLong));
        let patient = plain().max_wait(Duration::MAX).build().unwrap();
        let script = Script::new([told(503, absurd), status(200)]);
        assert_eq!(script.run(&patient, get()).await.unwrap().status(), 200);
        assert_eq!(script.waits(), [366 * 86_400_000], "{absurd}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_past_lets_the_first_attempt_go_and_no_other() {
    let past = Instant::now() - seconds(5);
    let policy = plain().deadline(move |_| Some(past)).build().unwrap();
    let script = Script::new([status(503)]);
    assert_eq!(why(&script.run(&policy, get()).await), Some(Reason::Deadline));
    assert_eq!(script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_panics_leaves_policy_and_budget_usable() {
    let policy = plain()
        .classify(|request: &Request, _: Result<&Response, &BoxError>| {
            assert_ne!(request.method(), Method::DELETE, "as if it had a bug");
            Verdict::NoOpinion
        })
        .build()
        .unwrap();
    let full = policy.budget().available();
    for _ in 0..100 {
        let script = Script::new([status(503)]);
        let mut call = task::spawn(script.run(&policy, request(Method::DELETE)));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call.poll()));
        assert!(caught.is_err());
    }
    let script = Script::new([status(503), status(200)]);
    assert_eq!(script.run(&policy, get()).await.unwrap().status(), 200);
    assert_eq!(policy.budget().available(), full);
}

// ===== local refusals =====

#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_first_attempt_arrives_as_it_is() {
    let script = Script::new([Err(Local.into())]);
    let error = script.run(&policy(), get()).await.unwrap_err();
    assert!(error.is::<Local>());
    assert_eq!(script.calls(), 1);
    assert_eq!(policy().stats().snapshot().attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_retried_even_if_a_classifier_would() {
    let eager = |_: &Request, outcome: Result<&Response, &BoxError>| match outcome {
        Ok(_) => Verdict::NoOpinion,
        Err(_) => Verdict::retry(Class::Connect),
    };
    let policy = plain().classify(eager).build().unwrap();
    let script = Script::new([Err(Local.into())]);
    assert!(script.run(&policy, get()).await.unwrap_err().is::<Local>());
    assert_eq!(script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_response_the_caller_gets_it_with_the_refusal_attached() {
    let policy = policy();
    let script = Script::new([status(500), told(503, "1"), Err(Local.into())]);
    let answer = script.run(&policy, get()).await.unwrap();
    assert_eq!(answer.status(), 503, "the last real outcome");
    let why = NotRetried::of(&answer).unwrap();
    assert_eq!((why.reason(), why.class(), why.retries()), (Reason::Refused, Class::Server, 1));
    assert!(why.refusal().unwrap().is::<Local>());
    let stats = policy.stats().snapshot();
    assert_eq!((stats.refused, stats.gave_up_for(Reason::Refused)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn after_an_error_the_caller_gets_it_with_the_refusal_beside_it() {
    let script = Script::new([io(ErrorKind::ConnectionReset), Err(Local.into())]);
    let error = script.run(&policy(), get()).await.unwrap_err();
    let found = GaveUp::find(&*error).unwrap();
    assert!(found.why().refusal().unwrap().is::<Local>());
    let source = std::error::Error::source(found).unwrap();
    assert!(source.is::<std::io::Error>());
    assert_eq!(error.to_string(), "gave up after 0 retries: the retry was refused locally");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_found_wherever_it_stands() {
    let found = |outcome: &Result<Response, BoxError>| {
        NotRetried::refusal_in::<Local, _>(outcome).is_some()
    };
    for before in [None, Some(status(500)), Some(io(ErrorKind::ConnectionReset))] {
        let steps: Vec<_> = before.into_iter().chain([Err(Local.into())]).collect();
        assert!(found(&Script::new(steps).run(&policy(), get()).await));
    }
    let wrapped: BoxError = std::io::Error::other(Local).into();
    assert!(found(&Err(wrapped)));
    let exhausted = Script::new([status(500), status(500), status(500), status(500)]);
    let outcome = exhausted.run(&policy(), get()).await;
    assert!(why(&outcome).is_some() && !found(&outcome), "given up, and not for a refusal");
    assert!(!found(&status(200)) && !found(&io(ErrorKind::ConnectionReset)));
}

#[tokio::test(start_paused = true)]
async fn without_kept_responses_the_caller_gets_the_refusal() {
    let policy = plain().forget_responses().build().unwrap();
    let script = Script::new([status(500), Err(Local.into())]);
    assert!(script.run(&policy, get()).await.unwrap_err().is::<Local>());
    // An error kept from an older attempt must not come back in its place.
    let script = Script::new([io(ErrorKind::ConnectionReset), status(500), Err(Local.into())]);
    assert!(script.run(&policy, get()).await.unwrap_err().is::<Local>());
}

// ===== the budget =====

#[tokio::test(start_paused = true)]
async fn an_empty_budget_ends_retries_and_successes_fill_it() {
    let budget = RetryBudget::new(Quota::AWS.capacity(10));
    let policy = plain().budget(budget.clone()).build().unwrap();
    let script = Script::new([status(500), status(500), status(500)]);
    assert_eq!(why(&script.run(&policy, get()).await), Some(Reason::Budget));
    assert_eq!(budget.available(), 0);
    for filled in 1..=5 {
        Script::new([status(200)]).run(&policy, get()).await.unwrap();
        assert_eq!(budget.available(), filled);
    }
    // A success after a retry brings back what that retry cost.
    let script = Script::new([status(500), status(200)]);
    script.run(&policy, get()).await.unwrap();
    assert_eq!(budget.available(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_was_refused_locally_costs_nothing() {
    let policy = policy();
    let script = Script::new([status(500), Err(Local.into())]);
    script.run(&policy, get()).await.unwrap();
    assert_eq!(policy.budget().available(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_costs_more() {
    let policy = policy();
    let script = Script::new([io(ErrorKind::TimedOut), status(404)]);
    script.run(&policy, get()).await.unwrap();
    assert_eq!(policy.budget().available(), 490);
}

// ===== chance =====

async fn waits(policy: &Policy) -> Vec<u128> {
    let script = Script::new([status(500), status(500), status(500), status(200)]);
    script.run(policy, get()).await.unwrap();
    script.waits()
}

#[tokio::test(start_paused = true)]
async fn each_session_has_chance_of_its_own() {
    let policy = RetryPolicy::http()
        .backoff(Backoff::default().jitter(Jitter::Full))
        .seed(1)
        .build()
        .unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        seen.insert(waits(&policy).await);
    }
    assert!(seen.len() > 18, "sessions repeat each other: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_the_same_waits() {
    let policy = || {
        let full = Backoff::default().jitter(Jitter::Full);
        RetryPolicy::http().backoff(full).seed(7).build().unwrap()
    };
    let (one, other) = (policy(), policy());
    for _ in 0..5 {
        assert_eq!(waits(&one).await, waits(&other).await);
    }
}

// ===== statistics =====

#[tokio::test(start_paused = true)]
async fn the_counters_add_up() {
    let policy = policy();
    let scripts = [
        (get(), vec![status(200)]),
        (get(), vec![status(500), status(200)]),
        (get(), vec![status(429), status(503), io(ErrorKind::TimedOut), status(404)]),
        (request(Method::POST), vec![status(500)]),
        (get(), vec![Err("unknown".into())]),
        (get(), vec![Err(Local.into())]),
    ];
    for (request, outcomes) in scripts {
        let _ = Script::new(outcomes).run(&policy, request).await;
    }
    let stats = policy.stats().snapshot();
    assert_eq!(stats.succeeded_at[..3], [1, 1, 0]);
    assert_eq!((stats.succeeded(), stats.recovered()), (2, 1));
    assert_eq!(stats.failed_with(Class::Server), 3);
    assert_eq!(stats.failed_with(Class::RateLimit), 1);
    assert_eq!(stats.failed_with(Class::Timeout), 1);
    assert_eq!(stats.failed_with(Class::NotFound), 1);
    assert_eq!(stats.failed_with(Class::Other), 1);
    assert_eq!((stats.retries, stats.refused), (4, 1));
    assert_eq!(stats.gave_up, [(Reason::NotIdempotent, 1)]);
    assert_eq!(stats.attempts(), 9);
}

// ===== configuration =====

#[test]
fn policies_can_cross_threads_whatever_the_response_is() {
    fn sync<T: Send + Sync>() {}
    sync::<RetryPolicy<Request, http::Response<std::cell::Cell<u8>>>>();
}
