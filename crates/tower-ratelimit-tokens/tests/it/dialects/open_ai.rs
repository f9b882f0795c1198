use tower_ratelimit_tokens::OpenAiDialect;

use super::*;

const LEVELS: [(&str, &str); 6] = [
    ("x-ratelimit-limit-requests", "60"),
    ("x-ratelimit-limit-tokens", "150000"),
    ("x-ratelimit-remaining-requests", "59"),
    ("x-ratelimit-remaining-tokens", "149984"),
    ("x-ratelimit-reset-requests", "1s"),
    ("x-ratelimit-reset-tokens", "6m0s"),
];

fn refusal(message: &str, kind: &str, code: &str) -> String {
    format!(r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":"{code}"}}}}"#)
}

#[tokio::test]
async fn the_documented_headers_are_two_levels() {
    let [requests, tokens] = budgets();
    let dialect = OpenAiDialect::new(requests, tokens);
    let both = [level(requests, 60, 59, Some(1)), level(tokens, 150_000, 149_984, Some(360))];
    assert_eq!(said(&dialect, 200, &LEVELS, ""), both);
    assert_eq!(said(&dialect, 500, &LEVELS, ""), both);
    // As others send it.
    let groq = [("x-ratelimit-remaining-tokens", "17997"), ("x-ratelimit-reset-tokens", "7.66s")];
    let found = said(&dialect, 200, &groq, "");
    let reset = Some(Duration::from_millis(7_660));
    let expected = Observation::Level { budget: tokens, limit: None, remaining: 17_997, reset };
    assert_eq!(found, [expected]);
    let azure = [("x-ratelimit-limit-tokens", "-1"), ("x-ratelimit-remaining-tokens", "-1")];
    assert_eq!(said(&dialect, 200, &azure, ""), []);
}

#[tokio::test]
async fn usage_is_what_a_request_cost() {
    let [requests, tokens] = budgets();
    let dialect = OpenAiDialect::new(requests, tokens);
    let body = r#"{"id":"chatcmpl-1","object":"chat.completion","choices":[{"message":
        {"role":"assistant","content":"{\"usage\":{\"total_tokens\":9}}"}}],
        "usage":{"prompt_tokens":13,"completion_tokens":5,"total_tokens":18}}"#;
    let cost = |units| Observation::Cost { budget: tokens, units };
    assert_eq!(said(&dialect, 200, &[], body), [cost(18)]);
    assert_eq!(said(&dialect, 500, &[], body), []);
    assert_eq!(said(&dialect.without_usage(), 200, &[], body), []);
    let huge = body.replace(":18}", ":99999999999}");
    assert_eq!(said(&dialect, 200, &[], &huge), [cost(u32::MAX)]);
    assert_eq!(said(&dialect, 200, &[], &body.replace(":18}", ":-18}")), []);
}

#[tokio::test]
async fn no_money_left_is_told_from_too_fast() {
    let [requests, tokens] = budgets();
    let dialect = OpenAiDialect::new(requests, tokens);
    let message = "You exceeded your current quota, please check your plan and billing details.";
    for body in [
        refusal(message, "insufficient_quota", "insufficient_quota"),
        refusal(message, "insufficient_quota", ""),
        refusal("", "billing_not_active", "billing_not_active"),
    ] {
        assert_eq!(said(&dialect, 429, &[], &body), [closed(300)]);
        assert_eq!(said(&dialect, 429, &[("retry-after", "900")], &body), [closed(900)]);
        assert_eq!(said(&dialect.quota_for(seconds(7)), 429, &[], &body), [closed(7)]);
    }
}

#[tokio::test]
async fn a_refusal_is_about_the_budget_that_it_names() {
    let [requests, tokens] = budgets();
    let dialect = OpenAiDialect::new(requests, tokens);
    let of_tokens = refusal(
        "Rate limit reached for gpt-4 in organization org-1 on tokens per min (TPM): Limit 10000, Used 8554, Requested 3082. Please try again in 9.816s. Visit https://platform.openai.com/account/rate-limits to learn more.",
        "tokens",
        "rate_limit_exceeded",
    );
    let pause = |budget, millis| Observation::Burst {
        budget,
        retry_after: Some(Duration::from_millis(millis)),
    };
    assert_eq!(said(&dialect, 429, &[], &of_tokens), [pause(tokens, 9_816)]);
    assert_eq!(
        said(&dialect, 429, &[("retry-after", "12")], &of_tokens),
        [burst(tokens, Some(12))]
    );
    let millis = [("retry-after", "12"), ("retry-after-ms", "11500")];
    assert_eq!(said(&dialect, 429, &millis, &of_tokens), [pause(tokens, 11_500)]);
    let of_requests =
        refusal("Rate limit reached on requests per day (RPD). Please try again in 7m12s.", "", "");
    assert_eq!(said(&dialect, 429, &[], &of_requests), [burst(requests, Some(432))]);
    let garbage = refusal("Please try again in 9999h.", "tokens", "");
    assert_eq!(said(&dialect, 429, &[], &garbage), [burst(tokens, None)]);
}

#[tokio::test]
async fn without_words_the_empty_budget_refuses() {
    let [requests, tokens] = budgets();
    let dialect = OpenAiDialect::new(requests, tokens);
    let mut headers = LEVELS;
    headers[3].1 = "0";
    let found = said(&dialect, 429, &headers, "");
    assert_eq!(found[1..], [level(tokens, 150_000, 0, Some(360)), burst(tokens, Some(360))]);
    assert_eq!(said(&dialect, 429, &[], "busy"), [burst(requests, None)]);
    assert_eq!(said(&dialect, 503, &[("retry-after", "8")], ""), [closed(8)]);
}
