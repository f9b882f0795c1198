use http::{HeaderName, StatusCode};
use tower_ratelimit_tokens::{GenericDialect, ResetForm};

use super::*;

#[tokio::test]
async fn both_presets_read_a_level_with_any_reset() {
    let [budget] = budgets();
    for (dialect, prefix) in [
        (GenericDialect::x_ratelimit(budget), "x-ratelimit"),
        (GenericDialect::x_rate_limit(budget), "x-rate-limit"),
    ] {
        let names = ["limit", "remaining", "reset"].map(|part| format!("{prefix}-{part}"));
        for reset in ["30", "1795435230", "1795435230000", "2026-11-23T12:00:30Z", "30s"] {
            let headers = [(&*names[0], "60"), (&*names[1], "59"), (&*names[2], reset)];
            assert_eq!(
                said(&dialect, 200, &headers, ""),
                [level(budget, 60, 59, Some(30))],
                "{reset}"
            );
        }
    }
}

#[tokio::test]
async fn used_stands_in_for_remaining_and_the_worse_counts() {
    let [budget] = budgets();
    let dialect = GenericDialect::x_ratelimit(budget);
    let (limit, used) = (("x-ratelimit-limit", "60"), ("x-ratelimit-used", "50"));
    assert_eq!(said(&dialect, 200, &[limit, used], ""), [level(budget, 60, 10, None)]);
    let fewer = [limit, used, ("x-ratelimit-remaining", "9")];
    assert_eq!(said(&dialect, 200, &fewer, ""), [level(budget, 60, 9, None)]);
    let more = [limit, used, ("x-ratelimit-remaining", "11")];
    assert_eq!(said(&dialect, 200, &more, ""), [level(budget, 60, 10, None)]);
    assert_eq!(said(&dialect, 200, &[used], ""), []);
}

#[tokio::test]
async fn a_refusal_waits_for_retry_after_or_for_the_reset() {
    let [budget] = budgets();
    let dialect = GenericDialect::x_ratelimit(budget);
    let refusal = |headers: &[(&str, &str)]| said(&dialect, 429, headers, "");
    let (empty, reset) = (("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30"));
    assert_eq!(refusal(&[empty, reset]), [burst(budget, Some(30))]);
    assert_eq!(refusal(&[reset]), [burst(budget, Some(30))]);
    assert_eq!(refusal(&[empty, reset, ("retry-after", "40")]), [burst(budget, Some(40))]);
    assert_eq!(refusal(&[empty, ("x-ratelimit-reset", "0")]), [burst(budget, None)]);
    assert_eq!(refusal(&[]), [burst(budget, None)]);
    // With units left it was something else: its reset is not waited for.
    let left = refusal(&[("x-ratelimit-remaining", "5"), reset]);
    assert_eq!(left[1..], [burst(budget, None)]);
}

#[tokio::test]
async fn of_several_windows_the_empty_ones_refuse() {
    let [minute, day] = budgets();
    let dialect = GenericDialect::new(minute)
        .remaining(HeaderName::from_static("x-minute"))
        .and(day)
        .remaining(HeaderName::from_static("x-day"))
        .reset(HeaderName::from_static("x-day-reset"), ResetForm::Seconds)
        .exhausts();
    let left =
        |budget, remaining| Observation::Level { budget, limit: None, remaining, reset: None };
    let headers = [("x-minute", "5"), ("x-day", "0"), ("x-day-reset", "3600")];
    assert_eq!(said(&dialect, 429, &headers, ""), [left(minute, 5), exhausted(day, Some(3_600))]);
    let headers = [("x-minute", "0"), ("x-day", "7")];
    assert_eq!(said(&dialect, 429, &headers, ""), [burst(minute, None), left(day, 7)]);
    assert_eq!(said(&dialect, 200, &headers, ""), [left(minute, 0), left(day, 7)]);
}

#[tokio::test]
async fn nine_windows_are_eight() {
    let ids: [BudgetId; 8] = budgets();
    let name = || HeaderName::from_static("x-left");
    let mut dialect = GenericDialect::new(ids[0]).remaining(name());
    for budget in &ids[1..] {
        dialect = dialect.and(*budget).remaining(name());
    }
    assert_eq!(said(&dialect, 200, &[("x-left", "1")], "").len(), 8);
    let dialect = dialect.and(ids[0]).remaining(name());
    let found = said(&dialect, 200, &[("x-left", "1")], "");
    let last = Observation::Level { budget: ids[0], limit: None, remaining: 1, reset: None };
    assert_eq!((found.len(), found.last()), (8, Some(&last)));
}

#[tokio::test]
async fn another_status_may_be_the_refusal() {
    let [budget] = budgets();
    let dialect = GenericDialect::new(budget).refused_with(StatusCode::FORBIDDEN).exhausts();
    assert_eq!(said(&dialect, 403, &[("retry-after", "9")], ""), [exhausted(budget, Some(9))]);
    assert_eq!(said(&dialect, 429, &[("retry-after", "9")], ""), []);
    assert_eq!(said(&dialect, 503, &[("retry-after", "9")], ""), [closed(9)]);
}

#[tokio::test]
async fn a_longer_pause_is_believed_if_told_so_but_never_beyond_a_year() {
    let [budget] = budgets();
    let dialect = GenericDialect::new(budget);
    let pause = |dialect: &GenericDialect, text| said(dialect, 429, &[("retry-after", text)], "");
    assert_eq!(pause(&dialect, "2764800"), [burst(budget, Some(2_764_800))]);
    assert_eq!(pause(&dialect, "2764801"), [burst(budget, None)]);
    let patient = dialect.clone().believe_up_to(Duration::MAX);
    assert_eq!(pause(&patient, "31622400"), [burst(budget, Some(31_622_400))]);
    assert_eq!(pause(&patient, "31622401"), [burst(budget, None)]);
    let hasty = dialect.believe_up_to(seconds(10));
    assert_eq!(pause(&hasty, "10"), [burst(budget, Some(10))]);
    assert_eq!(pause(&hasty, "11"), [burst(budget, None)]);
}
