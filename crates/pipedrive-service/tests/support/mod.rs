//! A simulated account and a client on it, in one process, on one clock.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fmt::Write as _;

use futures_util::StreamExt;
use pipedrive_service::{Client, Config, Entity, Error, Row, RowId, Sources, WalkOptions};
use saas_sim::pipedrive::{self as pd, Sim, SimConfig, Sizes};
use sha2::{Digest as _, Sha256};
use tower_ratelimit_tokens::AnchoredClock;

/// A small account: every kind has rows, the large ones more than one page of 100.
pub(crate) fn small() -> SimConfig {
    SimConfig { sizes: Some(Sizes::each(230)), seats: 10, log: 10_000, ..SimConfig::default() }
}

pub(crate) fn sim(config: SimConfig) -> Sim {
    Sim::new(config).expect("the settings are good")
}

/// Settings of a client for the simulator; later ones win.
pub(crate) fn config(more: &[(&str, &str)]) -> Config {
    let sources = Sources::new()
        .env([
            ("PIPEDRIVE_API_TOKEN", pd::DEFAULT_API_TOKEN),
            ("PIPEDRIVE_BASE_URL", "https://acme.test"),
            ("PIPEDRIVE_PLAN", "premium"),
            ("PIPEDRIVE_SEATS", "10"),
        ])
        .env(more.iter().copied());
    Config::load(&sources).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn client(sim: &Sim, more: &[(&str, &str)]) -> Client {
    Client::builder(config(more))
        .wall_clock(AnchoredClock::new(sim.now()))
        .seed(7)
        .build_over(sim.service())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Walks a whole list; goes on after an error from where the walk stood. Says how many errors there were.
pub(crate) async fn whole(client: &Client, entity: Entity) -> (Vec<Row>, Vec<Error>) {
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    let mut from = None;
    'again: loop {
        let mut walk = client.walk(entity, WalkOptions::new().from(from.clone()));
        while let Some(page) = walk.next().await {
            match page {
                Ok(page) => {
                    rows.extend(page.rows);
                    from = page.next;
                }
                Err(error) => {
                    assert!(error.is_retryable(), "{entity}: {error:?}");
                    let wait = error.retry_after().unwrap_or_default();
                    errors.push(error);
                    assert!(errors.len() < 100, "{entity}: {errors:?}");
                    tokio::time::sleep(wait).await;
                    continue 'again;
                }
            }
        }
        return (rows, errors);
    }
}

/// The digest that the simulator computes, computed anew.
pub(crate) fn digest(rows: &[Row]) -> (u64, String) {
    let mut lines: Vec<(&RowId, String)> = rows
        .iter()
        .map(|row| {
            let sorted = serde_json::to_string(&row.value()).unwrap();
            (&row.id, format!("{}\t{}\n", row.id, hex(&Sha256::digest(sorted))))
        })
        .collect();
    lines.sort();
    let mut all = Sha256::new();
    for (_, line) in &lines {
        all.update(line);
    }
    (rows.len() as u64, hex(&all.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The simulator's name for an entity.
pub(crate) fn theirs(entity: Entity) -> pd::Entity {
    let plain = |name: &str| name.replace(['-', '/', '_'], "").to_lowercase();
    pd::Entity::ALL
        .iter()
        .copied()
        .find(|other| plain(other.name()) == plain(entity.name()))
        .unwrap_or_else(|| panic!("{entity}"))
}
