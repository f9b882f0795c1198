//! Every form of `Retry-After`, under a paused clock and a fixed date.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tower_retry_classify::{
    Backoff, HttpStatus, Jitter, NotRetried, Reason, RetryBuilder, RetryPolicy,
};

use crate::support::*;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: Duration = Duration::from_secs(784_111_777);
const YEAR: u64 = 366 * 86_400;

fn policy() -> RetryBuilder<Request, Response> {
    RetryPolicy::builder()
        .classify(HttpStatus::new().wall_clock(|| SystemTime::UNIX_EPOCH + NOW))
        .backoff(Backoff::constant(seconds(3)).jitter(Jitter::None))
}

/// What is said, and how many seconds are waited: 3 is our own delay.
const TABLE: [(&str, u64); 14] = [
    ("7", 7),
    ("90", 90),
    (" 8\t", 8),
    ("Sun, 06 Nov 1994 08:51:07 GMT", 90),
    ("Sunday, 06-Nov-94 08:51:07 GMT", 90),
    ("Sun Nov  6 08:51:07 1994", 90),
    ("0", 3),
    ("Sun, 06 Nov 1994 08:49:37 GMT", 3),
    ("Sun, 06 Nov 1994 08:00:00 GMT", 3),
    ("-5", 3),
    ("1.5", 3),
    ("soon", 3),
    ("99999999999999999999999", YEAR),
    ("Fri, 31 Dec 9999 23:59:59 GMT", YEAR),
];

#[tokio::test(start_paused = true)]
async fn each_form_is_waited_for_as_documented() {
    let patient = policy().max_wait(Duration::MAX).build().unwrap();
    for code in [429, 503] {
        for (said, waited) in TABLE {
            let script = Script::new([told(code, said), status(200)]);
            assert_eq!(script.run(&patient, get()).await.unwrap().status(), 200);
            assert_eq!(script.waits(), [u128::from(waited) * 1_000], "{said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_form_is_refused_at_once_where_it_does_not_fit() {
    for (said, waited) in TABLE {
        let start = Instant::now();
        let hurried = policy().deadline(move |_| Some(start + seconds(waited))).build().unwrap();
        let impatient =
            policy().max_wait(seconds(waited) - Duration::from_nanos(1)).build().unwrap();
        for (policy, reason) in [(hurried, Reason::Deadline), (impatient, Reason::WaitTooLong)] {
            let script = Script::new([told(429, said)]);
            let answer = script.run(&policy, get()).await.unwrap();
            let why = NotRetried::of(&answer).unwrap();
            assert_eq!(why.reason(), reason, "{said}");
            assert_eq!(why.retry_after(), Some(seconds(waited)));
        }
        assert_eq!(Instant::now(), start, "nobody waits for nothing: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_form_fits_if_the_deadline_is_a_moment_later_or_the_longest_wait_as_long() {
    for (said, waited) in TABLE {
        let deadline = Instant::now() + seconds(waited) + Duration::from_millis(1);
        let later = policy().deadline(move |_| Some(deadline)).build().unwrap();
        let patient = policy().max_wait(seconds(waited)).build().unwrap();
        for policy in [later, patient] {
            let script = Script::new([told(429, said), status(200)]);
            assert_eq!(script.run(&policy, get()).await.unwrap().status(), 200, "{said}");
        }
    }
}
