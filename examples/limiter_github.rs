//! GitHub's two limits, around reqwest. The primary one, so many requests an hour, is
//! kept by what the headers say, so that nothing is refused though others spend of it
//! too. The secondary one is told by a refusal alone: it closes the gate for all.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response as Answer},
    routing::get,
};
use bytes::Bytes;
use examples::{BoxError, collect, serve};
use http::{Request, Response};
use tokio::{task::JoinSet, time::Instant};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_ratelimit_tokens::{
    Budget, Charge, GithubDialect, Limiter, Refused, SystemClock, Terms, TermsFromExtensions,
    TokenLimitLayer, WallClock,
};

const HOUR: Duration = Duration::from_secs(3_600);
/// What GitHub allows those who say no token.
const LIMIT: u64 = 60;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Others at our address have spent 50, and the hour ends soon.
    let github = Shared::default();
    let routes = get(read).post(write);
    let url = serve(Router::new().route("/issues", routes).with_state(Arc::clone(&github))).await?;
    let url = url + "/issues";

    let mut limits = Limiter::builder();
    let core = limits.budget("core", Budget::fixed(LIMIT, HOUR));
    // After a pause, calls go 20 ms apart for a second. By default they would go at the
    // pace of the hour.
    let limiter = limits.after_gate(Duration::from_millis(20), Duration::from_secs(1)).build()?;
    let reqwest = reqwest::Client::new();
    let client = ServiceBuilder::new()
        .layer(
            TokenLimitLayer::new(limiter.clone(), Charge::new().with(core, 1))
                .dialect(GithubDialect::new(core))
                .terms(TermsFromExtensions),
        )
        .service(service_fn(move |request: Request<Bytes>| {
            let reqwest = reqwest.clone();
            async move {
                let request = reqwest::Request::try_from(request)?;
                // The dialect looks into the body, so it is read to its end below it.
                collect(Response::from(reqwest.execute(request).await?)).await
            }
        }));

    // What is left is not known before the first answer.
    let response = client.clone().oneshot(Request::get(&url).body(Bytes::new())?).await?;
    assert_eq!(response.status(), 200);
    println!("primary: {}", level(&limiter));

    // Nine of these go at once. The others wait for the next hour.
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..15 {
        calls.spawn(client.clone().oneshot(Request::get(&url).body(Bytes::new())?));
    }
    let mut times = Vec::new();
    while let Some(response) = calls.join_next().await {
        assert_eq!(response??.status(), 200);
        times.push(begun.elapsed());
        if times.len() == 9 {
            // Who cannot wait hears when to come back.
            let impatient = Request::get(&url).extension(Terms::new().no_wait());
            let error = client.clone().oneshot(impatient.body(Bytes::new())?).await.unwrap_err();
            let refused = error.downcast_ref::<Refused>().ok_or("not our refusal")?;
            println!("primary: {refused}");
            assert_eq!(refused.budget(), Some("core"));
        }
    }
    println!("primary: nine went within {:.0?}, the last after {:.1?}", times[8], times[14]);
    assert!(times[9] - times[8] > Duration::from_millis(500));
    println!("primary: {}", level(&limiter));

    // Who writes too fast is told so in words, whatever is left of the hour.
    let begun = Instant::now();
    let response = client.clone().oneshot(Request::post(&url).body(Bytes::new())?).await?;
    println!("secondary: {}; the gate: {:?}", response.status(), limiter.status().gate);
    assert_eq!(response.status(), 403);
    // All clones wait, also those who only read.
    let response = client.clone().oneshot(Request::get(&url).body(Bytes::new())?).await?;
    println!("secondary: {} after {:.0?}", response.status(), begun.elapsed());
    assert!(response.status() == 200 && begun.elapsed() >= Duration::from_secs(1));

    // Others spend the rest at once: that only a refusal can tell. The next call is
    // refused here, without asking.
    lock(&github).used = LIMIT;
    let response = client.clone().oneshot(Request::get(&url).body(Bytes::new())?).await?;
    assert_eq!(response.status(), 403);
    let error = client.oneshot(Request::get(&url).body(Bytes::new())?).await.unwrap_err();
    println!("exhausted: {}; then: {error}", response.status());
    assert!(error.is::<Refused>());

    let github = lock(&github);
    println!("the server: {} served, refused {:?}", github.served, github.refused);
    // One of each kind, and both on purpose.
    assert_eq!((github.served, github.refused), (17, Refusals { primary: 1, secondary: 1 }));
    assert_eq!(limiter.status().refusals.exhausted, 1);
    Ok(())
}

fn level(limiter: &Limiter) -> String {
    let status = limiter.status();
    let core = &status.budgets[0];
    format!(
        "{} of {} used, {} of them by others; whole in {:.1?}",
        core.used,
        core.limit,
        core.foreign,
        core.resets_in.unwrap_or_default()
    )
}

/// The limits of one address, and what the server counts.
#[derive(Default)]
struct Github {
    used: u64,
    /// Seconds since 1970; not known before the first request.
    resets_at: Option<i64>,
    wrote: bool,
    /// After a secondary refusal: nothing is to come before that.
    quiet_until: Option<Instant>,
    served: u64,
    refused: Refusals,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Refusals {
    primary: u32,
    secondary: u32,
}

type Shared = Arc<Mutex<Github>>;

fn lock(github: &Shared) -> MutexGuard<'_, Github> {
    github.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wall time, as headers name it.
fn seconds() -> i64 {
    SystemClock.now().as_second()
}

impl Github {
    fn answer(&mut self, status: StatusCode, text: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-resource", "core".try_into().expect("it is text"));
        headers.insert("x-ratelimit-limit", LIMIT.into());
        headers.insert("x-ratelimit-used", self.used.into());
        headers.insert("x-ratelimit-remaining", (LIMIT - self.used).into());
        headers.insert("x-ratelimit-reset", self.resets_at.unwrap_or_default().into());
        (status, headers, text).into_response()
    }

    fn ask(&mut self) -> Answer {
        match self.resets_at {
            // Three or four seconds from now.
            None => (self.used, self.resets_at) = (50, Some(seconds() + 4)),
            Some(at) if seconds() >= at => {
                (self.used, self.resets_at) = (0, Some(at + HOUR.as_secs() as i64));
            }
            Some(_) => {}
        }
        assert!(self.quiet_until.is_none_or(|until| Instant::now() >= until), "came too early");
        if self.used == LIMIT {
            self.refused.primary += 1;
            return self.answer(StatusCode::FORBIDDEN, r#"{"message":"API rate limit exceeded"}"#);
        }
        (self.used, self.served) = (self.used + 1, self.served + 1);
        self.answer(StatusCode::OK, "[]")
    }
}

async fn read(State(github): State<Shared>) -> Answer {
    lock(&github).ask()
}

/// The first that comes is one too many.
async fn write(State(github): State<Shared>) -> Answer {
    let mut github = lock(&github);
    if std::mem::replace(&mut github.wrote, true) {
        return github.ask();
    }
    github.refused.secondary += 1;
    github.quiet_until = Some(Instant::now() + Duration::from_secs(1));
    let text = r#"{"message":"You have exceeded a secondary rate limit. Please wait."}"#;
    ([("retry-after", "1")], github.answer(StatusCode::FORBIDDEN, text)).into_response()
}
