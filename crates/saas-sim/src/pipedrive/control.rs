//! The simulator's own paths, below `/__sim/`. They are neither limited nor counted.

use std::collections::HashMap;

use http::request::Parts;
use http::{Method, Response};
use serde::Deserialize;

use super::answer;
use super::body::SimBody;
use super::churn::Churn;
use super::config::ConfigError;
use super::data::{Account, Entity};
use super::faults::Faults;
use super::sim::Sim;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spent {
    tokens: u64,
}

pub(super) fn respond(sim: &Sim, parts: &Parts, path: &str, body: &[u8]) -> Response<SimBody> {
    match (&parts.method, path) {
        (&Method::GET, "truth") => json(&sim.truth()),
        (&Method::GET, "digest") => digest(sim, parts.uri.query().unwrap_or("")),
        (&Method::GET, "throughout") => between(sim, parts.uri.query(), Account::throughout),
        (&Method::GET, "changed") => between(sim, parts.uri.query(), Account::changed),
        (&Method::GET, "price") => price(sim, parts.uri.query().unwrap_or("")),
        (&Method::GET, "churn") => json(&sim.churn()),
        (&Method::POST, "churn") => set_churn(body, |churn| sim.set_churn(churn)),
        (&Method::POST, "change") => set_churn(body, |churn| sim.change_now(churn)),
        (&Method::GET, "faults") => json(&sim.faults()),
        (&Method::POST, "faults") => set_faults(sim, body),
        (&Method::POST, "token") => parsed(body, |NewToken { token }| sim.set_api_token(token)),
        (&Method::POST, "spend") => parsed(body, |Spent { tokens }| sim.spend_elsewhere(tokens)),
        _ => answer::error(404, "the simulator has no such path"),
    }
}

fn json(value: &impl serde::Serialize) -> Response<SimBody> {
    match serde_json::to_vec(value) {
        Ok(body) => answer::json(200, body),
        Err(error) => answer::error(500, &error.to_string()),
    }
}

fn digest(sim: &Sim, query: &str) -> Response<SimBody> {
    let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "entity");
    match asked {
        None => json(&sim.digests()),
        Some((_, name)) => match Entity::by_name(&name) {
            Some(entity) => json(&sim.digest(entity)),
            None => answer::error(400, "no such entity"),
        },
    }
}

/// The least that a copy costs: of everything, or of what changed since.
fn price(sim: &Sim, query: &str) -> Response<SimBody> {
    let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "since");
    let account = sim.account();
    let Some((_, since)) = asked else {
        return json(&serde_json::json!({ "full": account.price_full() }));
    };
    match since.parse() {
        Ok(since) => json(&serde_json::json!({
            "lists": account.price_since(since),
            "recents": account.price_since_by_recents(since),
        })),
        Err(_) => answer::error(400, "since must be an RFC 3339 time"),
    }
}

/// Faults as TOML or JSON, or the name of a preset.
fn set_faults(sim: &Sim, body: &[u8]) -> Response<SimBody> {
    let text = String::from_utf8_lossy(body);
    let faults = match text.trim() {
        "none" => Ok(Faults::none()),
        "default" => Ok(Faults::default_mix()),
        "storm" => Ok(Faults::storm()),
        text if text.starts_with('{') => {
            serde_json::from_str(text).map_err(|error| error.to_string())
        }
        text => Faults::from_toml(text).map_err(|error| error.to_string()),
    };
    match faults.and_then(|faults| sim.set_faults(faults).map_err(|error| error.to_string())) {
        Ok(()) => done(),
        Err(error) => answer::error(400, &error),
    }
}

/// Churn as TOML or JSON, or the name of a preset.
fn set_churn(
    body: &[u8],
    then: impl FnOnce(Churn) -> Result<(), ConfigError>,
) -> Response<SimBody> {
    let text = String::from_utf8_lossy(body);
    let churn = match text.trim() {
        "none" => Ok(Churn::none()),
        "busy" => Ok(Churn::busy()),
        text if text.starts_with('{') => {
            serde_json::from_str(text).map_err(|error| error.to_string())
        }
        text => Churn::from_toml(text).map_err(|error| error.to_string()),
    };
    match churn.and_then(|churn| then(churn).map_err(|error| error.to_string())) {
        Ok(()) => done(),
        Err(error) => answer::error(400, &error),
    }
}

/// Names of rows that have to do with the time between two revisions.
fn between(
    sim: &Sim,
    query: Option<&str>,
    ids: fn(&Account, Entity, u64, u64) -> Vec<String>,
) -> Response<SimBody> {
    let query: HashMap<_, _> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect();
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let account = sim.account();
    let entity = query.get("entity").and_then(|name| Entity::by_name(name));
    let (Some(entity), Some(from)) = (entity, number("from")) else {
        return answer::error(400, "entity and from are required, to is possible");
    };
    let to = number("to").unwrap_or_else(|| account.revision());
    json(&serde_json::json!({ "from": from, "to": to, "ids": ids(account, entity, from, to) }))
}

fn parsed<T: for<'a> Deserialize<'a>>(body: &[u8], then: impl FnOnce(T)) -> Response<SimBody> {
    match serde_json::from_slice(body) {
        Ok(value) => {
            then(value);
            done()
        }
        Err(error) => answer::error(400, &error.to_string()),
    }
}

fn done() -> Response<SimBody> {
    answer::json(200, r#"{"success":true}"#)
}
