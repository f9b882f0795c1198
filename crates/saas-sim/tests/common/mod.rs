//! What the tests have in common.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use saas_sim::pipedrive::{Faults, Sim, SimConfig, SimError};
use serde_json::Value;
use tower::ServiceExt;

pub const DEALS: &str = "/api/v2/deals?limit=1";

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub fn number(&self, name: &str) -> u64 {
        self.header(name).unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A small account.
pub fn small() -> SimConfig {
    SimConfig { records: 500, ..SimConfig::default() }
}

pub fn sim(config: SimConfig) -> Sim {
    Sim::new(config).expect("good settings")
}

pub fn with_faults(toml: &str) -> Sim {
    let faults = Faults::from_toml(toml).expect("good faults");
    sim(SimConfig { faults, ..small() })
}

pub fn request(sim: &Sim, method: &str, target: &str) -> Request<String> {
    Request::builder()
        .method(method)
        .uri(target)
        .header("x-api-token", sim.api_token())
        .body(String::new())
        .expect("a request")
}

pub async fn send(sim: &Sim, request: Request<String>) -> Result<Answer, SimError> {
    let (head, body) = sim.service().oneshot(request).await?.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

pub async fn get(sim: &Sim, target: &str) -> Answer {
    send(sim, request(sim, "GET", target)).await.expect("an answer")
}

/// Sends so many and returns the statuses.
pub async fn burst(sim: &Sim, target: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(get(sim, target).await.status);
    }
    statuses
}
