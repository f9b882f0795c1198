use tower_ratelimit_tokens::ShopifyDialect;

use super::*;

const CALLS: &str = "x-shopify-shop-api-call-limit";
const THROTTLED: &str = r#"{
  "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED",
    "documentation": "https://shopify.dev/api/usage/rate-limits"}}],
  "extensions": {"cost": {"requestedQueryCost": 752, "actualQueryCost": null,
    "throttleStatus": {"maximumAvailable": 1000.0, "currentlyAvailable": 666, "restoreRate": 50.0}}}
}"#;

fn cost(budget: BudgetId, units: u32) -> Observation {
    Observation::Cost { budget, units }
}

#[tokio::test]
async fn the_rest_header_tells_used_and_limit() {
    let [rest] = budgets();
    let dialect = ShopifyDialect::new().rest(rest);
    for (text, left) in [
        ("32/40", Some((40, 8))),
        (" 1 / 80 ", Some((80, 79))),
        ("41/40", Some((40, 0))),
        ("40", None),
        ("/40", None),
        ("-1/40", None),
        ("1/2/3", None),
    ] {
        let expected: Vec<_> =
            left.into_iter().map(|(limit, left)| level(rest, limit, left, None)).collect();
        assert_eq!(said(&dialect, 200, &[(CALLS, text)], "{}"), expected, "{text}");
    }
}

#[tokio::test]
async fn a_rest_refusal_takes_retry_after() {
    let [rest, points] = budgets();
    let dialect = ShopifyDialect::new().rest(rest).graphql(points);
    let full = [(CALLS, "40/40"), ("retry-after", "2.0")];
    assert_eq!(said(&dialect, 429, &full, ""), [level(rest, 40, 0, None), burst(rest, Some(2))]);
    assert_eq!(said(&dialect, 429, &[], ""), [burst(rest, None)]);
    // The body of a REST answer is not looked at.
    let looks_so = said(&dialect, 200, &[(CALLS, "1/40")], THROTTLED);
    assert_eq!(looks_so, [level(rest, 40, 39, None)]);
    let graphql = ShopifyDialect::new().graphql(points);
    assert_eq!(said(&graphql, 429, &[], ""), [burst(points, None)]);
    assert_eq!(said(&ShopifyDialect::new(), 429, &[("retry-after", "3")], ""), [closed(3)]);
}

#[tokio::test]
async fn a_query_is_settled_to_its_actual_cost() {
    let [points] = budgets();
    let dialect = ShopifyDialect::new().graphql(points);
    let body = r#"{"data":{"products":{"nodes":[{"title":"{\"extensions\":{\"cost\":9}}"}]}},
        "extensions":{"cost":{"requestedQueryCost":101,"actualQueryCost":46,
        "throttleStatus":{"maximumAvailable":2000.0,"currentlyAvailable":1953.9,"restoreRate":100.0}}}}"#;
    let expected = [cost(points, 46), level(points, 2_000, 1_953, None)];
    assert_eq!(said(&dialect, 200, &[], body), expected);
    // Errors of the query's own are no throttling.
    let partial = body.replacen('{', r#"{"errors":[{"message":"Throttled"}],"#, 1);
    assert_eq!(said(&dialect, 200, &[], &partial), expected);
}

#[tokio::test]
async fn a_throttled_query_costs_nothing_and_waits_for_the_points_it_lacks() {
    let [points] = budgets();
    let dialect = ShopifyDialect::new().graphql(points);
    let all = |pause| [cost(points, 0), level(points, 1_000, 666, None), burst(points, pause)];
    for status in [200, 429] {
        // 86 points at 50 a second.
        assert_eq!(said(&dialect, status, &[], THROTTLED), all(Some(2)));
        assert_eq!(said(&dialect, status, &[("retry-after", "4")], THROTTLED), all(Some(4)));
        for lie in ["0", "-50", "null", "1e400"] {
            let body = THROTTLED.replace("50.0", lie);
            assert_eq!(said(&dialect, status, &[], &body), all(None), "{lie}");
        }
        let body = THROTTLED.replace("752", "99999999999999");
        assert_eq!(said(&dialect, status, &[], &body), all(None));
    }
}

#[tokio::test]
async fn a_query_too_dear_says_nothing() {
    let [points] = budgets();
    let body = r#"{"errors":[{"message":"Query cost is 2003, which exceeds the single query max cost limit (1000).","extensions":{"code":"MAX_COST_EXCEEDED","cost":2003,"maxCost":1000}}]}"#;
    assert_eq!(said(&ShopifyDialect::new().graphql(points), 200, &[], body), []);
}
