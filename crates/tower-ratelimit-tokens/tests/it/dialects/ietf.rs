use tower_ratelimit_tokens::{IetfDialect, QuotaUnit};

use super::*;

fn left(budget: BudgetId, remaining: u64, reset: Option<u64>) -> Observation {
    Observation::Level { budget, limit: None, remaining, reset: reset.map(seconds) }
}

#[tokio::test]
async fn the_examples_of_the_draft_are_read() {
    let [budget] = budgets();
    let dialect = IetfDialect::new().default_policy(budget);
    let read = |fields: &[(&str, &str)]| said(&dialect, 200, fields, "");
    let limit = |text| ("ratelimit", text);
    assert_eq!(read(&[limit(r#""default";r=50;t=30"#)]), [left(budget, 50, Some(30))]);
    let partition = r#""default";r=999;pk=:dHJpYWwxMjEzMjM=:"#;
    assert_eq!(read(&[limit(partition)]), [left(budget, 999, None)]);
    let fixed = limit(r#""fixedwindow";r=99;t=50"#);
    let policy = ("ratelimit-policy", r#""fixedwindow";q=100;w=60"#);
    assert_eq!(read(&[fixed, policy]), [level(budget, 100, 99, Some(50))]);
    let other = ("ratelimit-policy", r#""hour";q=1000;w=3600"#);
    assert_eq!(read(&[fixed, other]), [left(budget, 99, Some(50))]);
}

#[tokio::test]
async fn policies_go_to_budgets_by_name() {
    let [burst, daily] = budgets();
    let dialect = IetfDialect::new().policy("burst", burst).policy("daily", daily);
    let policy = ("ratelimit-policy", r#""burst";q=100;w=60,"daily";q=1000;w=86400"#);
    let both = [level(burst, 100, 7, Some(30)), level(daily, 1_000, 900, Some(36_000))];
    let one = ("ratelimit", r#""daily";r=900;t=36000, "burst";r=7;t=30"#);
    assert_eq!(said(&dialect, 200, &[policy, one], ""), both);
    // In two lines, with a policy that nobody knows.
    let lines = [
        ("ratelimit", r#""burst";r=7;t=30"#),
        ("ratelimit", r#""more";r=0, "daily";r=900;t=36000"#),
    ];
    assert_eq!(said(&dialect, 200, &[policy, lines[0], lines[1]], ""), both);
    // Of two items of one policy, and of two parameters of one name.
    let twice = ("ratelimit", r#""burst";r=9;t=1, "burst";r=8;r=7;t=30, "burst";r=8;t=1"#);
    assert_eq!(said(&dialect, 200, &[policy, twice], ""), both[..1]);
}

#[tokio::test]
async fn the_default_is_for_the_only_one_that_nobody_knows() {
    let [burst, other] = budgets();
    let dialect = IetfDialect::new().policy("burst", burst).default_policy(other);
    let read = |text| said(&dialect, 200, &[("ratelimit", text)], "");
    assert_eq!(read(r#""x";r=3"#), [left(other, 3, None)]);
    assert_eq!(read(r#""burst";r=3"#), [left(burst, 3, None)]);
    assert_eq!(read(r#""x";r=3, "burst";r=4"#), [left(burst, 4, None)]);
    assert_eq!(read(r#""x";r=3, "y";r=4"#), []);
    assert_eq!(read("x;r=3"), [left(other, 3, None)]);
    assert_eq!(read("17;r=3"), []);
}

#[tokio::test]
async fn units_are_respected() {
    let [calls, bytes, places, tokens] = budgets();
    let dialect = IetfDialect::new()
        .policy("a", calls)
        .policy_in("b", bytes, QuotaUnit::ContentBytes)
        .policy_in("c", places, QuotaUnit::ConcurrentRequests)
        .policy_in("d", tokens, QuotaUnit::Other("tokens"));
    let limits = ("ratelimit", r#""a";r=1, "b";r=2, "c";r=3, "d";r=4"#);
    let read = |units: [&str; 4]| {
        let [a, b, c, d] = units;
        let policy = format!(r#""a";q=9{a}, "b";q=9{b}, "c";q=9{c}, "d";q=9{d}"#);
        said(&dialect, 200, &[limits, ("ratelimit-policy", &policy)], "")
    };
    let right = ["", r#";qu="content-bytes""#, r#";qu="concurrent-requests""#, r#";qu="tokens""#];
    let all = [
        level(calls, 9, 1, None),
        level(bytes, 9, 2, None),
        level(places, 9, 3, None),
        level(tokens, 9, 4, None),
    ];
    assert_eq!(read(right), all);
    assert_eq!(read([r#";qu="requests""#, "", "", ""]), all[..1]);
    assert_eq!(read([r#";qu="request""#, "", "", ""]), all[..1]);
    assert_eq!(read([right[1], right[2], right[3], right[1]]), []);
    // Without the policies the units are taken for right.
    assert_eq!(said(&dialect, 200, &[limits], "").len(), 4);
}

#[tokio::test]
async fn another_partition_is_left_out() {
    let [budget] = budgets();
    let any = IetfDialect::new().policy("peruser", budget);
    let ours = any.clone().partition(b"trial121323");
    let two = r#""peruser";r=5;pk=:QXBwLTk5OQ==:, "peruser";r=9;pk=:dHJpYWwxMjEzMjM=:"#;
    let policy = r#""peruser";q=20;pk=:QXBwLTk5OQ:, "peruser";q=10;pk=:dHJpYWwxMjEzMjM=:"#;
    let fields = [("ratelimit", two), ("ratelimit-policy", policy)];
    assert_eq!(said(&any, 200, &fields, ""), [left(budget, 5, None)]);
    assert_eq!(said(&ours, 200, &fields, ""), [level(budget, 10, 9, None)]);
    let unsaid = [("ratelimit", r#""peruser";r=4"#)];
    assert_eq!(said(&ours, 200, &unsaid, ""), [left(budget, 4, None)]);
    let text = [("ratelimit", r#""peruser";r=4;pk="trial121323""#)];
    assert_eq!(said(&ours, 200, &text, ""), []);
}

#[tokio::test]
async fn older_drafts_are_read() {
    let [budget] = budgets();
    let dialect = IetfDialect::new().default_policy(budget);
    let triple = |limit| {
        let rest = [("ratelimit-remaining", "50"), ("ratelimit-reset", "5")];
        said(&dialect, 200, &[("ratelimit-limit", limit), rest[0], rest[1]], "")
    };
    for limit in ["100", "100, 100;w=60", "100;w=60"] {
        assert_eq!(triple(limit), [level(budget, 100, 50, Some(5))], "{limit}");
    }
    assert_eq!(triple("many"), [left(budget, 50, Some(5))]);
    let draft_7 = [
        ("ratelimit", "limit=100, remaining=80, reset=54"),
        ("ratelimit-policy", "100;w=60"),
        ("ratelimit-remaining", "1"),
    ];
    assert_eq!(said(&dialect, 200, &draft_7, ""), [level(budget, 100, 80, Some(54))]);
    let named = IetfDialect::new().policy("a", budget);
    assert_eq!(said(&named, 200, &draft_7, ""), []);
}

#[tokio::test]
async fn what_is_malformed_or_stale_is_ignored() {
    let [budget] = budgets();
    let dialect = IetfDialect::new().policy("a", budget);
    let good = ("ratelimit", r#""a";r=1;t=5"#);
    let read = |fields: &[(&str, &str)]| said(&dialect, 200, fields, "");
    assert_eq!(read(&[good, ("age", "0")]), [left(budget, 1, Some(5))]);
    assert_eq!(read(&[good, ("age", "3")]), []);
    assert_eq!(read(&[good, ("ratelimit", r#""b";r=1,"#)]), []);
    for text in [
        r#""a";t=5"#,
        r#""a";r=-1"#,
        r#""a";r=1.5"#,
        r#""a";r="1""#,
        r#""a";r=9999999999999999"#,
        r#"a r=1"#,
        "",
    ] {
        assert_eq!(read(&[("ratelimit", text)]), [], "{text}");
    }
    let far = ("ratelimit", r#""a";r=1;t=999999999999999"#);
    assert_eq!(read(&[far]), [left(budget, 1, None)]);
    let many: Vec<_> = (0..16).map(|_| good).collect();
    assert_eq!(read(&many), [left(budget, 1, Some(5))]);
    let more: Vec<_> = (0..17).map(|_| good).collect();
    assert_eq!(read(&more), []);
}

#[tokio::test]
async fn a_refusal_is_that_of_the_violated_policies() {
    let [short, daily, other] = budgets();
    let dialect = IetfDialect::new().policy("burst", short).policy("daily", daily);
    let policy = ("ratelimit-policy", r#""burst";q=100;w=10,"daily";q=1000;w=86400"#);
    let limits = ("ratelimit", r#""burst";r=7;t=5, "daily";r=0;t=40"#);
    let body = r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title":"Request cannot be satisfied as assigned quota has been exceeded",
        "violated-policies":["burst","bandwidth"]}"#;
    let found = said(&dialect, 429, &[policy, limits], body);
    assert_eq!(found, [burst(short, Some(5)), level(daily, 1_000, 0, Some(40))]);
    // Retry-After stands above t; a long window exhausts.
    let found = said(&dialect, 429, &[policy, limits, ("retry-after", "50")], "");
    assert_eq!(found, [level(short, 100, 7, Some(5)), exhausted(daily, Some(50))]);
    // So does a long pause; the body alone is enough.
    let found = said(&dialect, 429, &[("retry-after", "60")], body);
    assert_eq!(found, [exhausted(short, Some(60))]);
    let found = said(&dialect.clone().long(seconds(61)), 429, &[("retry-after", "60")], body);
    assert_eq!(found, [burst(short, Some(60))]);
    // The only one told, or else the default, or else all.
    let only = ("ratelimit", r#""burst";r=3;t=2"#);
    assert_eq!(said(&dialect, 429, &[only], ""), [burst(short, Some(2))]);
    let default = dialect.clone().default_policy(other);
    assert_eq!(said(&default, 429, &[], ""), [burst(other, None)]);
    assert_eq!(said(&dialect, 429, &[("retry-after", "9")], ""), [closed(9)]);
    assert_eq!(said(&dialect, 429, &[], ""), []);
}

#[tokio::test]
async fn the_throttled_response_of_the_draft_is_read() {
    let [budget] = budgets();
    let dialect = IetfDialect::new().default_policy(budget);
    let fields =
        [("retry-after", "Mon, 23 Nov 2026 12:00:05 GMT"), ("ratelimit", r#""default";r=0;t=5"#)];
    assert_eq!(said(&dialect, 429, &fields, ""), [burst(budget, Some(5))]);
}

#[tokio::test]
async fn abnormal_use_and_reduced_capacity_close_the_gate() {
    let [budget] = budgets();
    let dialect = IetfDialect::new().default_policy(budget);
    let abnormal =
        r#"{"type":"https://iana.org/assignments/http-problem-types#abnormal-usage-detected"}"#;
    assert_eq!(said(&dialect, 429, &[], abnormal), [closed(60)]);
    assert_eq!(said(&dialect, 429, &[("retry-after", "7")], abnormal), [closed(7)]);
    assert_eq!(said(&dialect, 503, &[("retry-after", "7")], ""), [closed(7)]);
}
