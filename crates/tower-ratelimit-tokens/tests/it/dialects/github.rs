use tower_ratelimit_tokens::GithubDialect;

use super::*;

const SECONDARY: &str = r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}"#;
const PRIMARY: &str = r#"{"message":"API rate limit exceeded for user ID 1."}"#;

fn headers<'a>(
    resource: &'a str,
    remaining: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("x-ratelimit-limit", "5000"),
        ("x-ratelimit-remaining", remaining),
        ("x-ratelimit-reset", "1795437000"),
        ("x-ratelimit-resource", resource),
    ];
    all.extend_from_slice(more);
    all
}

#[tokio::test]
async fn a_level_is_that_of_its_resource() {
    let [core, search] = budgets();
    let dialect = GithubDialect::new(core).resource("search", search);
    for (resource, budget) in [("core", Some(core)), ("search", Some(search)), ("graphql", None)] {
        let found = said(&dialect, 200, &headers(resource, "4999", &[]), "[]");
        let expected = budget.map(|budget| level(budget, 5_000, 4_999, Some(1_800)));
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{resource}");
    }
    // An older Enterprise Server names no resource.
    let found = said(&dialect, 200, &headers("core", "7", &[])[..3], "[]");
    assert_eq!(found, [level(core, 5_000, 7, Some(1_800))]);
    // One that contradicts itself is nobody's.
    let twice = headers("core", "7", &[("x-ratelimit-resource", "search")]);
    assert_eq!(said(&dialect, 200, &twice, ""), []);
}

#[tokio::test]
async fn of_remaining_and_used_the_worse_counts() {
    let [core] = budgets();
    let dialect = GithubDialect::new(core);
    for (used, left) in [("1", 4_900), ("200", 4_800), ("6000", 0), ("-1", 4_900)] {
        let found =
            said(&dialect, 200, &headers("core", "4900", &[("x-ratelimit-used", used)]), "");
        assert_eq!(found, [level(core, 5_000, left, Some(1_800))], "{used}");
    }
}

#[tokio::test]
async fn a_primary_limit_exhausts_its_budget_until_the_reset() {
    let [core, search] = budgets();
    let dialect = GithubDialect::new(core).resource("search", search);
    for status in [403, 429] {
        let found = said(&dialect, status, &headers("search", "0", &[]), PRIMARY);
        let gone = exhausted(search, Some(1_800));
        assert_eq!(found, [level(search, 5_000, 0, Some(1_800)), gone]);
        // The later of two times counts; a resource without a budget closes the gate.
        let found = said(&dialect, status, &headers("core", "0", &[("retry-after", "2000")]), "");
        assert_eq!(found[1], exhausted(core, Some(2_000)));
        let found = said(&dialect, status, &headers("code_search", "0", &[]), PRIMARY);
        assert_eq!(found, [closed(1_800)]);
    }
    let found = said(&dialect, 403, &[("x-ratelimit-remaining", "0")], PRIMARY);
    assert_eq!(found[1], exhausted(core, None));
}

#[tokio::test]
async fn a_secondary_limit_closes_the_gate() {
    let [core] = budgets();
    let dialect = GithubDialect::new(core);
    let refusal = |status, headers: &[(&str, &str)], body: &str| {
        said(&dialect, status, headers, body).last().copied()
    };
    for status in [403, 429] {
        let headers = |remaining, more| headers("core", remaining, more);
        let told = headers("4999", &[("retry-after", "30")]);
        assert_eq!(refusal(status, &told, SECONDARY), Some(closed(30)));
        assert_eq!(refusal(status, &told, "{}"), Some(closed(30)));
        assert_eq!(refusal(status, &headers("4999", &[]), SECONDARY), Some(closed(60)));
        assert_eq!(refusal(status, &headers("0", &[]), SECONDARY), Some(closed(1_800)));
        let old = r#"{"message":"You have triggered an abuse detection mechanism."}"#;
        assert_eq!(refusal(status, &[], old), Some(closed(60)));
        let garbage = headers("4999", &[("retry-after", "99999999999")]);
        assert_eq!(refusal(status, &garbage, SECONDARY), Some(closed(60)));
        let date = headers("4999", &[("retry-after", "Mon, 23 Nov 2026 12:01:30 GMT")]);
        assert_eq!(refusal(status, &date, "{}"), Some(closed(90)));
    }
    assert_eq!(refusal(429, &[], "{}"), Some(closed(60)));
    let longer = GithubDialect::new(core).secondary_for(seconds(300));
    assert_eq!(said(&longer, 429, &[], ""), [closed(300)]);
}

#[tokio::test]
async fn a_403_about_rights_says_nothing() {
    let [core] = budgets();
    let body = r#"{"message":"Resource not accessible by integration"}"#;
    let found = said(&GithubDialect::new(core), 403, &headers("core", "4990", &[]), body);
    assert_eq!(found, [level(core, 5_000, 4_990, Some(1_800))]);
}

#[tokio::test]
async fn the_graphql_api_refuses_with_200() {
    let [core, points] = budgets();
    let dialect = GithubDialect::new(core).resource("graphql", points);
    let limited = r#"{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded for user ID 1."}]}"#;
    let found = said(&dialect, 200, &headers("graphql", "0", &[]), limited);
    assert_eq!(found, [level(points, 5_000, 0, Some(1_800)), exhausted(points, Some(1_800))]);
    let found = said(&dialect, 200, &headers("graphql", "4000", &[]), SECONDARY);
    assert_eq!(found, [level(points, 5_000, 4_000, Some(1_800)), closed(60)]);
    // What somebody wrote about limits is no limit.
    let text = r#"{"data":{"issue":{"title":"secondary rate limit","type":"RATE_LIMITED"}}}"#;
    let found = said(&dialect, 200, &headers("graphql", "4000", &[]), text);
    assert_eq!(found, [level(points, 5_000, 4_000, Some(1_800))]);
    let found = said(&dialect, 200, &headers("core", "4000", &[]), SECONDARY);
    assert_eq!(found, [level(core, 5_000, 4_000, Some(1_800))]);
    // The last query that was let through is no refusal.
    let last = said(&dialect, 200, &headers("graphql", "0", &[]), r#"{"data":{},"errors":[]}"#);
    assert_eq!(last, [level(points, 5_000, 0, Some(1_800))]);
    // Nor is a long answer looked through.
    let long = format!(r#"{{"data":"{}","errors":["secondary rate limit"]}}"#, " ".repeat(4_096));
    let found = said(&dialect, 200, &headers("graphql", "4000", &[]), &long);
    assert_eq!(found, [level(points, 5_000, 4_000, Some(1_800))]);
}

#[tokio::test]
async fn a_reset_in_another_unit_is_not_believed() {
    let [core] = budgets();
    let dialect = GithubDialect::new(core);
    for reset in ["1795437000000", "99999999999999999999", "-5", "soon", ""] {
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)];
        let found = said(&dialect, 403, &headers, PRIMARY);
        assert_eq!(found[1], exhausted(core, None), "{reset}");
    }
}
