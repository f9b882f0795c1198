use tower_ratelimit_tokens::HubspotDialect;

use super::*;

const DAILY: &str = r#"{"status":"error","message":"You have reached your daily limit.","errorType":"RATE_LIMIT","correlationId":"c033cdaa-2c40-4a64-ae48-b4cec88dad24","policyName":"DAILY","requestId":"3d3e35b7-0dae-4b9f-a6e3-9c230cbcf8dd"}"#;
const ROLLING: &str = r#"{"status":"error","message":"You have reached your ten_secondly_rolling limit.","errorType":"RATE_LIMIT","policyName":"TEN_SECONDLY_ROLLING"}"#;
const SECONDLY: &str = r#"{"status":"error","message":"You have reached your secondly limit.","errorType":"RATE_LIMIT","policyName":"SECONDLY"}"#;

const LEVELS: [(&str, &str); 7] = [
    ("x-hubspot-ratelimit-daily", "250000"),
    ("x-hubspot-ratelimit-daily-remaining", "249999"),
    ("x-hubspot-ratelimit-interval-milliseconds", "10000"),
    ("x-hubspot-ratelimit-max", "100"),
    ("x-hubspot-ratelimit-remaining", "99"),
    ("x-hubspot-ratelimit-secondly", "10"),
    ("x-hubspot-ratelimit-secondly-remaining", "9"),
];

#[tokio::test]
async fn all_levels_are_read() {
    let [ten, day, second] = budgets();
    let dialect = HubspotDialect::new(ten, day);
    let both = [level(day, 250_000, 249_999, None), level(ten, 100, 99, None)];
    assert_eq!(said(&dialect, 200, &LEVELS, "{}"), both);
    let found = said(&dialect.secondly(second), 200, &LEVELS, "{}");
    assert_eq!(found[2..], [level(second, 10, 9, None)]);
    // An OAuth app has no day.
    assert_eq!(said(&dialect, 200, &LEVELS[2..], "{}"), both[1..]);
}

#[tokio::test]
async fn the_policy_tells_which_limit_was_hit() {
    let [ten, day, second] = budgets();
    let dialect = HubspotDialect::new(ten, day);
    let refusal =
        |headers: &[(&str, &str)], body| *said(&dialect, 429, headers, body).last().unwrap();
    assert_eq!(refusal(&[], DAILY), exhausted(day, None));
    assert_eq!(refusal(&[("retry-after", "7200")], DAILY), exhausted(day, Some(7_200)));
    assert_eq!(refusal(&LEVELS, ROLLING), burst(ten, Some(10)));
    assert_eq!(refusal(&[], ROLLING), burst(ten, None));
    assert_eq!(refusal(&[("retry-after", "3")], ROLLING), burst(ten, Some(3)));
    // A long pause by second stays one.
    assert_eq!(refusal(&[("retry-after", "90")], ROLLING), burst(ten, Some(90)));
    assert_eq!(refusal(&[], SECONDLY), burst(ten, Some(1)));
    let search = r#"{"status":"error","message":"You have reached your secondly limit.","errorType":"RATE_LIMIT"}"#;
    let found = said(&dialect.secondly(second), 429, &[], search);
    assert_eq!(found, [burst(second, Some(1))]);
}

#[tokio::test]
async fn without_a_policy_the_headers_tell() {
    let [ten, day] = budgets();
    let dialect = HubspotDialect::new(ten, day);
    let refusal = |headers: &[(&str, &str)]| *said(&dialect, 429, headers, "").last().unwrap();
    assert_eq!(refusal(&[("x-hubspot-ratelimit-daily-remaining", "0")]), exhausted(day, None));
    assert_eq!(refusal(&[("retry-after", "60")]), exhausted(day, Some(60)));
    assert_eq!(refusal(&[("retry-after", "59")]), burst(ten, Some(59)));
    assert_eq!(refusal(&[]), burst(ten, None));
    let empty = [("x-hubspot-ratelimit-daily-remaining", "0"), ("retry-after", "60")];
    let second = r#"{"message":"You have reached your secondly limit."}"#;
    assert_eq!(said(&dialect, 429, &empty, second)[1..], [burst(ten, Some(60))]);
}

#[tokio::test]
async fn a_migration_parks_everything() {
    let [ten, day] = budgets();
    let dialect = HubspotDialect::new(ten, day);
    assert_eq!(said(&dialect, 477, &[("retry-after", "86400")], ""), [closed(86_400)]);
    assert_eq!(said(&dialect, 477, &[], ""), []);
    assert_eq!(said(&dialect, 503, &[("retry-after", "5")], ""), [closed(5)]);
    assert_eq!(said(&dialect, 502, &[("retry-after", "5")], ""), []);
}
