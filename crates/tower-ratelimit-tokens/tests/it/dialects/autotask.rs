use http::StatusCode;
use tower_ratelimit_tokens::AutotaskDialect;

use super::*;

const THREADS: &str = r#"{"errors":["Itgenatr005: The Autotask API thread threshold of 3 threads has been exceeded."]}"#;
const THRESHOLD: &str =
    r#"{"errors":["The Autotask API request threshold of 10000 has been exceeded."]}"#;

#[tokio::test]
async fn threshold_information_is_a_level() {
    let [hour] = budgets();
    let dialect = AutotaskDialect::new(hour);
    for (count, left) in [("0", 10_000), ("7400", 2_600), ("10001", 0)] {
        let body = format!(
            r#"{{"externalRequestThreshold":10000,"requestThresholdTimeframe":60,"currentTimeframeRequestCount":{count}}}"#
        );
        assert_eq!(said(&dialect, 200, &[], &body), [level(hour, 10_000, left, None)]);
    }
    for body in [
        r#"{"externalRequestThreshold":null,"currentTimeframeRequestCount":1}"#,
        r#"{"externalRequestThreshold":10000}"#,
        r#"{"items":[{"externalRequestThreshold":10000,"currentTimeframeRequestCount":1}]}"#,
        r#"{"items":[],"pageDetails":{"count":0}}"#,
        "",
    ] {
        assert_eq!(said(&dialect, 200, &[], body), [], "{body}");
    }
}

#[tokio::test]
async fn too_many_threads_close_the_gate_for_a_moment() {
    let [hour, threads] = budgets();
    let dialect = AutotaskDialect::new(hour);
    let reason = GateReason::Burst;
    for status in [429, 500] {
        let found = said(&dialect, status, &[], THREADS);
        assert_eq!(found, [Observation::Closed { reason, retry_after: seconds(1) }]);
        let known = dialect.threads(threads).threads_for(seconds(3));
        assert_eq!(said(&known, status, &[], THREADS), [burst(threads, Some(3))]);
        let asked = said(&known, status, &[("retry-after", "9")], THREADS);
        assert_eq!(asked, [burst(threads, Some(9))]);
    }
}

#[tokio::test]
async fn a_spent_hour_is_exhausted_whatever_the_status() {
    let [hour] = budgets();
    let dialect = AutotaskDialect::new(hour);
    for status in [429, 500] {
        assert_eq!(said(&dialect, status, &[], THRESHOLD), [exhausted(hour, Some(60))]);
        let asked = said(&dialect, status, &[("retry-after", "300")], THRESHOLD);
        assert_eq!(asked, [exhausted(hour, Some(300))]);
    }
    assert_eq!(said(&dialect, 429, &[], ""), [exhausted(hour, Some(60))]);
    let other = dialect.refused_with(StatusCode::CONFLICT).refused_for(seconds(5));
    assert_eq!(said(&other, 409, &[], ""), [exhausted(hour, Some(5))]);
    assert_eq!(said(&other, 429, &[], ""), []);
}

#[tokio::test]
async fn other_errors_say_nothing() {
    let [hour] = budgets();
    let dialect = AutotaskDialect::new(hour);
    assert_eq!(said(&dialect, 500, &[], r#"{"errors":["Unable to find Tickets."]}"#), []);
    assert_eq!(said(&dialect, 401, &[("retry-after", "9")], ""), []);
    assert_eq!(said(&dialect, 503, &[("retry-after", "9")], ""), [closed(9)]);
    let wrong = r#"{"errors":["The threshold must be a number."]}"#;
    assert_eq!(said(&dialect, 500, &[], wrong), []);
    assert_eq!(said(&dialect, 302, &[], THRESHOLD), []);
    let long = format!(
        r#"{{"x":"{}","externalRequestThreshold":9,"currentTimeframeRequestCount":1}}"#,
        " ".repeat(4_096)
    );
    assert_eq!(said(&dialect, 200, &[], &long), []);
    // A ticket may speak of thresholds.
    assert_eq!(said(&dialect, 200, &[], THRESHOLD), []);
}
