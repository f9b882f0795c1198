//! Walks over whole lists of a simulated account, on a paused clock.

use std::time::Duration;

use crate::support::{self, client, digest, sim, small, theirs, whole};
use futures_util::StreamExt as _;
use pipedrive_service::{Entity, Error, ErrorKind, ListQuery, RowId, RowsPage, WalkOptions};
use saas_sim::pipedrive::{Faults, LogEntry, SimConfig};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_page_too_long_to_be_held_is_asked_for_in_smaller_pieces() {
    let sim = sim(small());
    let client =
        client(&sim, &[("PIPEDRIVE_MAX_BODY", "24KiB"), ("PIPEDRIVE_MIN_BATCH_SIZE", "1")]);
    let (rows, errors) = whole(&client, Entity::Deals).await;
    assert!(errors.is_empty(), "{errors:?}");
    let truth = sim.digest(theirs(Entity::Deals));
    assert_eq!(digest(&rows), (truth.rows, truth.sha256));
    assert!(client.pages().status().too_large > 0);
    // Where even one row is too long, the error says so.
    let client =
        support::client(&sim, &[("PIPEDRIVE_MAX_BODY", "1KiB"), ("PIPEDRIVE_MIN_BATCH_SIZE", "1")]);
    let error = client.list(Entity::Deals, ListQuery::new()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::BodyTooLarge { limit: 1024 });
}

#[tokio::test(start_paused = true)]
async fn a_walk_goes_on_from_a_position() {
    let sim = sim(small());
    let client = client(&sim, &[]);
    for entity in [Entity::Deals, Entity::Notes, Entity::Files] {
        let options = || WalkOptions::new().limit(50);
        let mut walk = client.walk(entity, options().prefetch(0));
        let first = walk.next().await.unwrap().unwrap();
        drop(walk);
        let mut seen: Vec<_> = first.rows.iter().map(|row| row.id.clone()).collect();
        let mut rest = client.walk(entity, options().from(first.next));
        while let Some(page) = rest.next().await {
            seen.extend(page.unwrap().rows.into_iter().map(|row| row.id));
        }
        let all = whole(&client, entity).await.0.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all, "{entity}");
    }
}

/// How many requests were under way at most.
fn most_at_once(log: &[LogEntry]) -> usize {
    let under_way = |at: u64| {
        log.iter()
            .filter(|e| e.arrived_us <= at && e.answered_us.is_none_or(|end| end > at))
            .count()
    };
    log.iter().map(|entry| under_way(entry.arrived_us)).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn pages_by_offset_come_several_at_once_as_far_as_the_list_is_known_to_go() {
    let slow = || {
        let faults = Faults { latency_before_ms: [100, 100], ..Faults::none() };
        sim(SimConfig { faults, ..small() })
    };
    // What is known of so many in a hundred rows; twelve pages are all of them.
    for (entity, known, at_once, extra) in [
        (Entity::Notes, 0, 1, 0..=0),
        (Entity::Notes, 100, 4, 0..=0),
        (Entity::Notes, 50, 4, 0..=0),
        (Entity::Notes, 180, 4, 1..=3),
        (Entity::Deals, 100, 1, 0..=0),
    ] {
        let sim = slow();
        let client = client(&sim, &[]);
        let options = WalkOptions::new().limit(20).prefetch(0);
        let ids = |pages: Vec<Result<RowsPage, Error>>| -> Vec<RowId> {
            pages.into_iter().flat_map(|page| page.unwrap().rows).map(|row| row.id).collect()
        };
        let one_by_one = ids(client.walk(entity, options.clone()).collect().await);
        let rows = one_by_one.len() as u64 * known / 100;
        let (before, since) = (sim.truth().log.len(), Instant::now());
        let several = ids(client.walk(entity, options.at_once(4, rows)).collect().await);
        let took = since.elapsed();
        assert_eq!(several, one_by_one, "{entity} {known}: in the same order");
        let log = sim.truth().log;
        assert_eq!(most_at_once(&log[before..]), at_once, "{entity} {known}");
        let in_vain = log.len() - 2 * before;
        assert!(extra.contains(&in_vain), "{entity} {known}: {in_vain} in vain");
        if known == 100 && at_once == 4 {
            // The first alone, for it tells how far one page is from the next.
            assert!(took <= Duration::from_millis(450), "{took:?}");
        }
    }
}
