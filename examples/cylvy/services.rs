//! The six services, on the loopback: each with a quota, an upper bound on calls at once, and
//! failures. They count what they charge: that is the truth which the books are compared with.
//!
//! A request has a key. One that has been charged is answered again without a charge, as
//! services do that bill by the call; so an answer that was lost costs nothing twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{AppendHeaders, IntoResponse, Response},
    routing::post,
};
use examples::{BoxError, serve};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::world::{self, Site};

/// What a service allows: units in the month, and calls at once.
const ALLOWED: [(&str, u64, u32); 6] = [
    ("google_ads", 500, 4),
    ("scale_serp", 400, 8),
    ("youtube", 20_000, 8),
    ("scrapingbee", 1_500, 5),
    ("openai", 120_000, 8),
    ("cognism", 300, 3),
];

#[derive(Default)]
pub(crate) struct Service {
    /// What was answered, by key, and what it cost.
    pub(crate) charged: BTreeMap<String, (u64, Value)>,
    pub(crate) units: u64,
    /// Requests that were answered again without a charge.
    pub(crate) again: u64,
    /// Answers that never arrived, on purpose.
    pub(crate) lost: u64,
    /// Refusals for want of quota, or for too many at once.
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    asked: u64,
    under_way: u32,
    most: u32,
}

#[derive(Default)]
pub(crate) struct Services {
    pub(crate) of: BTreeMap<&'static str, Service>,
    /// Whether the broken sites answer again.
    pub(crate) mended: bool,
}

pub(crate) type Shared = Arc<Mutex<Services>>;

pub(crate) fn lock(services: &Shared) -> MutexGuard<'_, Services> {
    services.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts them and says where they are.
pub(crate) async fn start(services: &Shared) -> Result<String, BoxError> {
    lock(services).of.extend(ALLOWED.map(|(name, ..)| (name, Service::default())));
    let routes = Router::new().route("/{service}/{endpoint}", post(answer));
    serve(routes.with_state(Arc::clone(services))).await
}

/// What an item of this endpoint costs and is answered with.
fn work(endpoint: &str, of: &str, mended: bool) -> Done {
    Ok(match endpoint {
        "metrics" => (1, json!({ "volume": world::volume(of) })),
        "search" => (1, json!({ "domains": world::found(of) })),
        "videos" => {
            let ids: Vec<_> = world::videos(of).into_iter().map(|(id, _)| id).collect();
            (100, json!({ "ids": ids }))
        }
        "channels" => {
            let domains: Vec<_> = world::videos(of).into_iter().map(|(_, site)| site).collect();
            (1, json!({ "domains": domains }))
        }
        "page" | "page-js" => match (world::site(of), endpoint) {
            (Site::Gone, _) => (1, Value::Null),
            (Site::Broken, _) if !mended => return Err(StatusCode::INTERNAL_SERVER_ERROR),
            (Site::Scripted, "page") => (1, json!({ "text": "" })),
            (_, "page") => (1, json!({ "text": format!("welcome to {of}") })),
            _ => (5, json!({ "text": format!("welcome to {of}") })),
        },
        "classify" => {
            let kind = if world::sells(of) { "company" } else { "other" };
            (80 + world::chance("tokens", of, 120), json!({ "kind": kind }))
        }
        "summary" => (200, json!({ "text": format!("What is new in {of}.") })),
        "company" => (1, json!(world::company(of))),
        _ => return Err(StatusCode::NOT_FOUND),
    })
}

impl Service {
    /// Fails one call in seventeen before it is charged. For a while Cognism fails them all.
    fn is_down(&mut self, name: &str) -> bool {
        self.asked += 1;
        let down = self.asked % 17 == 5 || (name == "cognism" && (3..12).contains(&self.asked));
        self.failed += u64::from(down);
        down
    }

    /// What one item costs and gives; all that was charged before is free.
    fn charge(&mut self, key: String, work: impl FnOnce() -> Done) -> Done {
        if let Some(known) = self.charged.get(&key) {
            self.again += 1;
            return Ok(known.clone());
        }
        let (units, answer) = work()?;
        self.units += units;
        self.charged.insert(key, (units, answer.clone()));
        Ok((units, answer))
    }
}

/// What something costs, and what comes of it.
type Done = Result<(u64, Value), StatusCode>;

async fn answer(
    State(services): State<Shared>,
    Path((name, endpoint)): Path<(String, String)>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Response {
    let Some((_, quota, most)) = ALLOWED.into_iter().find(|(known, ..)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    {
        let mut services = lock(&services);
        let Some(service) = services.of.get_mut(name.as_str()) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        if service.under_way == most {
            service.refused += 1;
            return (StatusCode::TOO_MANY_REQUESTS, "too many at once").into_response();
        }
        service.under_way += 1;
        service.most = service.most.max(service.under_way);
    }
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.unwrap_or_default().to_owned();
    // It goes on although the caller may be dead.
    let done = tokio::spawn(async move {
        sleep(Duration::from_millis(4)).await;
        let mut services = lock(&services);
        let mended = services.mended;
        let Some(service) = services.of.get_mut(name.as_str()) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        service.under_way -= 1;
        service.respond((&name, &endpoint), quota, key, &asked, mended)
    });
    done.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

impl Service {
    fn respond(
        &mut self,
        (name, endpoint): (&str, &str),
        quota: u64,
        key: String,
        asked: &Value,
        mended: bool,
    ) -> Response {
        if self.is_down(name) {
            return (StatusCode::SERVICE_UNAVAILABLE, "not now").into_response();
        }
        if self.units >= quota {
            self.refused += 1;
            return (StatusCode::TOO_MANY_REQUESTS, "the quota is used up").into_response();
        }
        let before = self.units;
        let done = match asked["all"].as_array() {
            // Each item of a batch is charged once, whatever the batch.
            Some(all) => Ok(all.iter().filter_map(Value::as_str).fold(
                (0, json!({})),
                |(sum, mut answers), of| match self
                    .charge(format!("{endpoint}/{of}"), || work(endpoint, of, mended))
                {
                    Ok((units, answer)) => {
                        answers[of] = answer;
                        (sum + units, answers)
                    }
                    Err(_) => (sum, answers),
                },
            )),
            None => {
                let of = asked["of"].as_str().unwrap_or_default();
                self.charge(key, || work(endpoint, of, mended))
            }
        };
        let (cost, answer) = match done {
            Ok(done) => done,
            Err(status) => {
                self.failed += 1;
                return status.into_response();
            }
        };
        if self.asked % 41 == 7 {
            self.lost += 1;
            let cut = async { Err::<String, _>(std::io::Error::other("cut")) };
            return Body::from_stream(futures_util::stream::once(cut)).into_response();
        }
        let told = AppendHeaders([
            ("x-quota-limit", quota.to_string()),
            ("x-quota-remaining", quota.saturating_sub(self.units).to_string()),
            ("x-quota-cost", cost.to_string()),
            ("x-quota-charged", (self.units - before).to_string()),
        ]);
        let status = if answer.is_null() { StatusCode::NOT_FOUND } else { StatusCode::OK };
        (status, told, Json(answer)).into_response()
    }
}
