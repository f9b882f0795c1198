//! Whatever a server sends: nothing panics, no pause is longer than is believed,
//! no budget is named that was not given, and nothing is allocated.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::{prelude::*, sample::select};
use tower_ratelimit_tokens::{
    AutotaskDialect, BELIEVED_PAUSE, GenericDialect, GithubDialect, HttpDialect, HubspotDialect,
    IetfDialect, MAX_PAUSE, Observations, OpenAiDialect, PipedriveDialect, QuotaUnit, ResetForm,
    RetryAfterDialect, ShopifyDialect,
};

use super::*;

type AnyDialect = (&'static str, Box<dyn HttpDialect>);

/// Every dialect, with every budget named.
fn dialects(believed: Option<Duration>) -> Vec<AnyDialect> {
    let [a, b, c]: [BudgetId; 3] = budgets();
    let mut all: Vec<AnyDialect> = Vec::new();
    macro_rules! add {
        ($($dialect:expr),+ $(,)?) => {$({
            let mut dialect = $dialect;
            if let Some(pause) = believed {
                dialect = dialect.believe_up_to(pause);
            }
            all.push((stringify!($dialect), Box::new(dialect)));
        })+};
    }
    let reset = || HeaderName::from_static("x-ratelimit-reset");
    add![
        AutotaskDialect::new(a).threads(b),
        GenericDialect::x_ratelimit(a).and(b).reset(reset(), ResetForm::EpochMillis).exhausts(),
        GenericDialect::x_rate_limit(a),
        GenericDialect::new(a).reset(reset(), ResetForm::Seconds),
        GenericDialect::new(a).reset(reset(), ResetForm::Millis),
        GenericDialect::new(a).reset(reset(), ResetForm::EpochSeconds),
        GenericDialect::new(a).reset(reset(), ResetForm::HttpDate),
        GenericDialect::new(a).reset(reset(), ResetForm::Iso8601),
        GenericDialect::new(a).reset(reset(), ResetForm::Units),
        GithubDialect::new(a).resource("search", b),
        HubspotDialect::new(a, b).secondly(c),
        IetfDialect::new()
            .policy("a", a)
            .policy_in("b", b, QuotaUnit::ContentBytes)
            .default_policy(c),
        IetfDialect::new().policy("a", a).partition(b"a"),
        OpenAiDialect::new(a, b),
        PipedriveDialect::new(a, b),
        RetryAfterDialect::new().too_many(seconds(1)),
        ShopifyDialect::new().rest(a).graphql(b),
        ShopifyDialect::new().graphql(b),
    ];
    all
}

const NAMES: [&str; 40] = [
    "age",
    "content-type",
    "date",
    "ratelimit",
    "ratelimit-limit",
    "ratelimit-policy",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "retry-after-ms",
    "x-daily-ratelimit-token-limit",
    "x-daily-ratelimit-token-remaining",
    "x-hubspot-ratelimit-daily",
    "x-hubspot-ratelimit-daily-remaining",
    "x-hubspot-ratelimit-interval-milliseconds",
    "x-hubspot-ratelimit-max",
    "x-hubspot-ratelimit-remaining",
    "x-hubspot-ratelimit-secondly",
    "x-hubspot-ratelimit-secondly-remaining",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
    "x-rate-limit-used",
    "x-ratelimit-limit",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-resource",
    "x-ratelimit-used",
    "x-shopify-shop-api-call-limit",
    "ratelimit",
    "ratelimit",
    "retry-after",
    "date",
    "x-ratelimit-reset",
];

fn value() -> impl Strategy<Value = HeaderValue> {
    let bytes = prop::collection::vec(any::<u8>(), 0..24);
    let bytes = bytes.prop_filter_map("no header", |bytes| HeaderValue::from_bytes(&bytes).ok());
    let text = |text: String| HeaderValue::from_str(&text).unwrap();
    prop_oneof![
        2 => bytes,
        4 => select(vec![
            "0", "-1", "NaN", "inf", "1e400", "0.5", "30", "40/40", "core", "search", "graphql", "",
            "9223372036854775807", "18446744073709551615", "340282366920938463463374607431768211456",
            "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT",
            "Mon, 23 Nov 2026 12:00:00 GMT", "9999-12-31T23:59:59Z", "99999999999h", "6m0s",
            "\"a\";r=0;t=5", "\"a\";r=1;pk=:YQ==:, \"b\";r=2;t=999999999999999", "text/html",
            "limit=1, remaining=0, reset=999999999999999", "\"a\";q=5;w=10;qu=\"content-bytes\"",
        ]).prop_map(HeaderValue::from_static),
        2 => any::<u64>().prop_map(move |n| text(n.to_string())),
        2 => (1_700_000_000_u64..1_900_000_000).prop_map(move |n| text(n.to_string())),
        1 => (any::<i64>(), any::<u32>()).prop_map(move |(n, m)| text(format!("{n}.{m}"))),
        1 => r#"["a-c;=,:?@%0-9. *()-]{0,30}"#.prop_map(text),
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let number = || {
        prop_oneof![
            any::<u64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|n| n.to_string()),
            Just("null".to_owned()),
        ]
    };
    let cut = |text: String| (Just(text), any::<prop::sample::Index>());
    let known = (number(), number(), number(), number()).prop_flat_map(move |(a, b, c, d)| {
        let all = [
            format!(
                r#"{{"errors":[{{"message":"Throttled"}}],"extensions":{{"cost":{{"requestedQueryCost":{a},"actualQueryCost":{b},"throttleStatus":{{"maximumAvailable":{c},"currentlyAvailable":{d},"restoreRate":{a}}}}}}}}}"#
            ),
            format!(r#"{{"errors":[{{"extensions":{{"code":"THROTTLED"}}}}],"extensions":{{"cost":{{"requestedQueryCost":{a},"throttleStatus":{{"currentlyAvailable":1,"restoreRate":1}}}}}}}}"#),
            format!(r#"{{"usage":{{"total_tokens":{a}}}}}"#),
            format!(r#"{{"error":{{"type":"tokens","message":"Please try again in {b}s."}}}}"#),
            r#"{"error":{"code":"insufficient_quota"}}"#.to_owned(),
            format!(r#"{{"externalRequestThreshold":{a},"currentTimeframeRequestCount":{b}}}"#),
            r#"{"errors":["thread threshold exceeded"]}"#.to_owned(),
            r#"{"errors":["threshold exceeded","secondary rate limit"]}"#.to_owned(),
            r#"{"policyName":"DAILY","violated-policies":["a","b","c"]}"#.to_owned(),
            r#"{"type":"abnormal-usage-detected","message":"your secondly limit"}"#.to_owned(),
        ];
        select(all.to_vec()).prop_flat_map(cut)
    });
    prop_oneof![
        2 => known.prop_map(|(text, cut)| {
            let end = cut.index(2 * text.len() + 1).min(text.len());
            text.into_bytes()[..end].to_vec()
        }),
        1 => prop::collection::vec(any::<u8>(), 0..80),
        1 => "[{}\\[\\]\",:\\\\ a1]{0,60}".prop_map(String::into_bytes),
    ]
}

fn response() -> impl Strategy<Value = (StatusCode, HeaderMap, Vec<u8>)> {
    let status = select(vec![200_u16, 200, 204, 301, 403, 403, 429, 429, 429, 477, 500, 503, 999]);
    let header = (select(NAMES.to_vec()).prop_map(HeaderName::from_static), value());
    (status, prop::collection::vec(header, 0..14), body()).prop_map(|(status, headers, body)| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        (StatusCode::from_u16(status).unwrap(), map, body)
    })
}

fn longest(observation: &Observation) -> Option<Duration> {
    match *observation {
        Observation::Level { reset, .. } => reset,
        Observation::Burst { retry_after, .. } | Observation::Exhausted { retry_after, .. } => {
            retry_after
        }
        Observation::Closed { retry_after, .. } => Some(retry_after),
        _ => None,
    }
}

fn budget(observation: &Observation) -> Option<BudgetId> {
    match *observation {
        Observation::Level { budget, .. }
        | Observation::Burst { budget, .. }
        | Observation::Exhausted { budget, .. }
        | Observation::Cost { budget, .. } => Some(budget),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_answer_panics_allocates_or_pauses_for_longer_than_is_believed(
        (status, headers, body) in response(),
        believed in prop_oneof![
            3 => Just(None),
            1 => (0..100_000_u64).prop_map(|s| Some(seconds(s))),
            1 => Just(Some(Duration::MAX)),
        ],
        now in -30_000_000_000_i64..200_000_000_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).build();
        let runtime = runtime.unwrap();
        let _entered = runtime.enter();
        let clock = AnchoredClock::new(jiff::Timestamp::from_second(now).unwrap());
        let bound = believed.map_or(BELIEVED_PAUSE, |pause| pause.min(MAX_PAUSE));
        // What a dialect waits for by itself, when it is told nothing.
        let bound = bound.max(seconds(300));
        for (name, dialect) in dialects(believed) {
            let mut said = Observations::none();
            let allocated = allocation_counter::measure(|| {
                said = dialect.read(status, &headers, &body, &clock);
            });
            prop_assert_eq!(allocated.count_total, 0, "{} allocates", name);
            for observation in said.iter() {
                prop_assert!(longest(observation) <= Some(bound), "{name}: {observation:?}");
                let index = budget(observation).map_or(0, BudgetId::index);
                prop_assert!(index < 3, "{name}: {observation:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// One after the other, through a limiter that has a budget of each kind.
    #[test]
    fn a_limiter_survives_every_answer(responses in prop::collection::vec(response(), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).build();
        let runtime = runtime.unwrap();
        let _entered = runtime.enter();
        let clock = AnchoredClock::new("2026-11-23T12:00:00Z".parse().unwrap());
        for kind in 0..4 {
            let mut limits = Limiter::builder();
            let minute = seconds(60);
            let ids = ["a", "b", "c"].map(|name| limits.budget(name, match kind {
                0 => Budget::rolling(10, minute).freed_by_answer(seconds(1)),
                1 => Budget::fixed(10, minute).learns_limit(),
                2 => Budget::bucket(10, 1, minute),
                _ => Budget::calendar_day(
                    10, jiff::tz::TimeZone::UTC, jiff::civil::Time::midnight(),
                ),
            }));
            let limiter = limits.wall_clock(clock).build().unwrap();
            let charge = ids.iter().fold(
                tower_ratelimit_tokens::Charge::new(), |charge, id| charge.with(*id, 1),
            );
            for (_, dialect) in dialects(None) {
                for (status, headers, body) in &responses {
                    let said = dialect.read(*status, headers, body, &clock);
                    if let Ok(ticket) = limiter.try_acquire(charge, None) {
                        let now = tokio::time::Instant::now();
                        ticket.observed(now, &said, tower_ratelimit_tokens::Settle::Keep);
                    } else {
                        said.iter().for_each(|observation| limiter.observe(observation));
                    }
                    prop_assert!(limiter.status().budgets.iter().all(|b| b.remaining <= b.limit));
                }
            }
        }
    }
}
