//! The presets over a whole read of an account: what a client of the demo meets.

use std::time::Duration;

use crate::common::{request, sim};
use http_body_util::BodyExt;
use saas_sim::pipedrive::{Entity, FaultKind, Faults, Sim, SimConfig};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// One page, asked until it comes. Says how often it was asked.
async fn page(sim: &Sim, target: &str) -> (serde_json::Value, u32) {
    for attempt in 1..=20 {
        // Even pacing, so that no limit refuses.
        sleep(Duration::from_millis(25)).await;
        let asked = async {
            let response = sim.service().oneshot(request(sim, "GET", target)).await.ok()?;
            let good = response.status() == 200;
            let body = response.into_body().collect().await.ok()?.to_bytes();
            let json: serde_json::Value = serde_json::from_slice(&body).ok()?;
            let next = json["additional_data"]["next_cursor"].as_str().unwrap_or_default();
            let repeated = !next.is_empty() && target.ends_with(next);
            (good && !json["data"].is_null() && !repeated).then_some(json)
        };
        if let Ok(Some(json)) = timeout(Duration::from_secs(30), asked).await {
            return (json, attempt);
        }
    }
    panic!("{target} never came");
}

/// Reads all version 2 lists; returns pages and those that took more than four attempts.
async fn read(sim: &Sim) -> (u32, u32) {
    let (mut pages, mut hard) = (0, 0);
    for entity in Entity::ALL {
        let path = entity.list_path();
        if !path.starts_with("/api/v2/") {
            continue;
        }
        let mut rows = 0;
        let mut target = format!("{path}?limit=50");
        loop {
            let (json, attempts) = page(sim, &target).await;
            pages += 1;
            hard += u32::from(attempts > 4);
            rows += json["data"].as_array().map_or(0, Vec::len) as u64;
            match json["additional_data"]["next_cursor"].as_str() {
                Some(cursor) => target = format!("{path}?limit=50&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(rows, sim.digest(entity).rows, "{}", entity.name());
    }
    (pages, hard)
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_a_storm_and_can_be_weathered() {
    for seed in 1..=3 {
        let faults = Faults { seed, ..Faults::storm() };
        let sim = sim(SimConfig { seed, records: 8_000, faults, ..SimConfig::default() });
        let (pages, hard) = read(&sim).await;
        let truth = sim.truth();
        assert!(truth.share_failed() >= 0.1, "seed {seed}: {}", truth.share_failed());
        assert!(hard * 100 <= pages, "seed {seed}: {hard} of {pages} pages");
        for kind in FaultKind::ALL.into_iter().filter(|&kind| kind != FaultKind::ExpiredToken) {
            // The demo reads more than this test; here the last of the kinds may still be owed.
            assert!(truth.fault(kind) >= 1 || truth.asked < 120, "seed {seed}: {}", kind.name());
        }
        assert!(truth.fault(FaultKind::Hang) <= 3);
        assert_eq!(truth.refusals.caused(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_mix_fails_about_three_in_a_hundred() {
    let faults = Faults::default_mix();
    let sim = sim(SimConfig { records: 30_000, faults, ..SimConfig::default() });
    read(&sim).await;
    let share = sim.truth().share_failed();
    assert!((0.01..0.06).contains(&share), "{share}");
}
