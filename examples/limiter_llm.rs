//! The budgets of an LLM API: so many requests and so many tokens a minute, and a
//! bound of our own on the tokens of an hour. A call pays what it may use at most
//! before it goes, and what it has really used once the answer tells. Around a
//! hyper-util client, against a server that keeps such limits; other programs have
//! spent most of the minute before we begin, and yet nothing is refused.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response as Answer},
    routing::post,
};
use bytes::Bytes;
use examples::{BoxError, collect, hyper_client, serve};
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};
use tower::{ServiceBuilder, ServiceExt};
use tower_ratelimit_tokens::{
    Budget, Charge, Cost, Limiter, OpenAiDialect, Outcome, Settle, TokenLimitLayer,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const REQUESTS: u32 = 3_000;
const TOKENS: u32 = 60_000;
/// The longest answer that we ask for.
const MAX_TOKENS: usize = 200;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let api = Api::new(30.0, 3_000.0);
    let url = serve(Router::new().route("/", post(complete)).with_state(Arc::clone(&api))).await?;

    // Such limits are refilled bit by bit, so they are buckets.
    let mut limits = Limiter::builder();
    let requests = Budget::bucket(REQUESTS.into(), REQUESTS.into(), MINUTE);
    let requests = limits.budget("requests", requests);
    let tokens = Budget::bucket(TOKENS.into(), TOKENS.into(), MINUTE);
    let tokens = limits.budget("tokens", tokens);
    let hour = limits.budget("hour", Budget::fixed(20_000, HOUR));
    let limiter = limits.build()?;

    // Four bytes are about a token, and the answer may be as long as we allow.
    let estimate = move |request: &Request<Bytes>| {
        let most = (request.body().len() / 4 + MAX_TOKENS) as u32;
        Charge::new().with(requests, 1).with(tokens, most).with(hour, most)
    };
    // The dialect settles the budget that it was told is the server's tokens. What
    // is ours we settle ourselves.
    let settle = move |outcome: Outcome<'_, Response<Bytes>>| match outcome.map(used) {
        Ok(Some(used)) => Settle::Actual(Charge::new().with(hour, used)),
        _ => Settle::Keep,
    };
    let client = ServiceBuilder::new()
        .layer(
            TokenLimitLayer::new(limiter.clone(), estimate)
                .dialect(OpenAiDialect::new(requests, tokens))
                .settle(settle),
        )
        // The limiter reads the usage in the body, so the body is collected below it.
        .and_then(collect)
        .map_err(Into::<BoxError>::into)
        .map_request(|request: Request<Bytes>| request.map(Full::new))
        .service(hyper_client());

    // The first call goes alone: its answer tells what others have left to us.
    let status = client.clone().oneshot(ask(&url, 0)?).await?.status();
    println!("{status}: {}", levels(&limiter));
    assert!(limiter.status().budget("tokens").is_some_and(|tokens| tokens.remaining < 30_000));

    let begun = Instant::now();
    let mut calls = JoinSet::new();
    let mut estimated = estimate.cost(&ask(&url, 0)?).of(hour);
    for number in 1..=40 {
        let (client, request) = (client.clone(), ask(&url, number)?);
        estimated += estimate.cost(&request).of(hour);
        calls.spawn(client.oneshot(request));
    }
    let mut tick = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            answer = calls.join_next() => match answer {
                Some(answer) => assert_eq!(answer??.status(), 200),
                None => break,
            },
            _ = tick.tick() => println!("{} s: {}", begun.elapsed().as_secs(), levels(&limiter)),
        }
    }
    println!("40 more calls took {:.1} s; {}", begun.elapsed().as_secs_f32(), levels(&limiter));
    let used = limiter.status().budget("hour").map_or(0, |hour| hour.used);
    println!("{estimated} tokens were paid at first, {used} when the answers had come");

    let forecast = limiter.forecast(hour).ok_or("too early to tell")?;
    println!(
        "at this pace the hour's tokens are gone in {:.0} s, the hour ends in {:.0} s",
        (forecast.gone_at - Instant::now()).as_secs_f32(),
        (forecast.resets_at - Instant::now()).as_secs_f32(),
    );
    assert!(forecast.is_short());

    let api = lock(&api);
    println!("the server: {} served, {} tokens, {} refused", api.served, api.used, api.refused);
    assert_eq!((api.served, api.refused), (41, 0));
    assert_eq!(used, api.used);
    assert!(begun.elapsed() > Duration::from_secs(1), "nobody had to wait");
    Ok(())
}

/// A request to sum something up that is long, or short.
fn ask(url: &str, number: usize) -> Result<Request<Bytes>, BoxError> {
    let text = "word ".repeat(20 + number * 37 % 160);
    let body =
        json!({ "max_tokens": MAX_TOKENS, "messages": [{ "role": "user", "content": text }] });
    let request = Request::post(url).header("content-type", "application/json");
    Ok(request.body(Bytes::from(body.to_string()))?)
}

fn used(response: &Response<Bytes>) -> Option<u32> {
    let answer: Value = serde_json::from_slice(response.body()).ok()?;
    u32::try_from(answer["usage"]["total_tokens"].as_u64()?).ok()
}

fn levels(limiter: &Limiter) -> String {
    let status = limiter.status();
    let budgets = status.budgets.iter();
    let left: Vec<_> =
        budgets.map(|b| format!("{} {} of {} left", b.name, b.remaining, b.limit)).collect();
    format!("{}, {} calls wait", left.join(", "), status.waiting)
}

/// One of the server's limits: refilled bit by bit.
struct Level {
    limit: f64,
    left: f64,
    /// Up to when it is refilled; from the first request on.
    at: Option<Instant>,
}

impl Level {
    fn new(limit: u32, left: f64) -> Self {
        Self { limit: limit.into(), left, at: None }
    }

    /// Whether so many more are left now.
    fn has(&mut self, units: f64) -> bool {
        let now = Instant::now();
        let passed = self.at.replace(now).map_or(Duration::ZERO, |at| now - at);
        let refill = self.limit * passed.as_secs_f64() / MINUTE.as_secs_f64();
        self.left = (self.left + refill).min(self.limit);
        self.left >= units
    }

    /// What is left, of how much, and how long until it is whole, as headers say it.
    fn said(&mut self) -> [String; 3] {
        self.has(0.0);
        let whole = (self.limit - self.left) / self.limit * MINUTE.as_secs_f64();
        [self.limit.to_string(), self.left.floor().to_string(), format!("{whole:.3}s")]
    }
}

/// What the server keeps and counts.
struct Api {
    requests: Level,
    tokens: Level,
    served: u64,
    refused: u64,
    used: u64,
}

type Shared = Arc<Mutex<Api>>;

fn lock(api: &Shared) -> MutexGuard<'_, Api> {
    api.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Api {
    /// So much others have left of this minute.
    fn new(requests: f64, tokens: f64) -> Shared {
        let (requests, tokens) = (Level::new(REQUESTS, requests), Level::new(TOKENS, tokens));
        Arc::new(Mutex::new(Self { requests, tokens, served: 0, refused: 0, used: 0 }))
    }

    fn admit(&mut self, most: f64) -> bool {
        let admitted = self.requests.has(1.0) & self.tokens.has(most);
        if admitted {
            self.requests.left -= 1.0;
            self.tokens.left -= most;
        } else {
            self.refused += 1;
        }
        admitted
    }

    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (of, level) in [("requests", &mut self.requests), ("tokens", &mut self.tokens)] {
            for (what, value) in ["limit", "remaining", "reset"].into_iter().zip(level.said()) {
                let name = HeaderName::try_from(format!("x-ratelimit-{what}-{of}"));
                if let (Ok(name), Ok(value)) = (name, value.try_into()) {
                    headers.insert(name, value);
                }
            }
        }
        headers
    }
}

/// Like the APIs of its kind, the server counts what a request may use at most when
/// it comes, and gives back what it did not use.
async fn complete(State(api): State<Shared>, Json(asked): Json<Value>) -> Answer {
    let text = asked["messages"][0]["content"].as_str().unwrap_or_default();
    let prompt = text.len().div_ceil(4) as u64;
    let most = prompt + asked["max_tokens"].as_u64().unwrap_or(4_096);
    if !lock(&api).admit(most as f64) {
        return (StatusCode::TOO_MANY_REQUESTS, lock(&api).headers(), "too fast").into_response();
    }
    let answer = 40 + prompt / 4;
    sleep(Duration::from_millis(2 * answer)).await;
    let used = prompt + answer;
    let mut api = lock(&api);
    api.tokens.left += (most - used) as f64;
    (api.served, api.used) = (api.served + 1, api.used + used);
    let usage = json!({ "prompt_tokens": prompt, "total_tokens": used });
    (api.headers(), Json(json!({ "choices": [], "usage": usage }))).into_response()
}
