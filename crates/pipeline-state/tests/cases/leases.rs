use std::{collections::HashSet, time::Duration};

use pipeline_state::{Counts, Lease, Resume, StateError};
use tokio::task::JoinSet;

use crate::support::{Clock, Kit, PHASES, filled, quiet};

const LEASE: Duration = Duration::from_secs(300);

pub async fn no_item_is_given_to_two_workers(kit: &impl Kit) {
    let pipeline = filled(kit, &Clock::new(), 400).await;
    let mut workers = JoinSet::new();
    for worker in 0..6 {
        let pipeline = pipeline.clone();
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let claim = pipeline.claim("search", 7 + worker).await.unwrap();
                if claim.items.is_empty() {
                    return done;
                }
                let updates: Vec<_> = claim.items.iter().map(|item| item.completed()).collect();
                let settled = pipeline.update(&updates).await.unwrap();
                assert!(settled.stale.is_empty(), "{settled:?}");
                done.extend(claim.items.into_iter().map(|item| item.name));
            }
        });
    }
    let done: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!(done.len(), 400);
    assert_eq!(done.into_iter().collect::<HashSet<_>>().len(), 400);
    assert_eq!(pipeline.progress().await.unwrap().whole().completed, 400);
}

pub async fn what_a_dead_worker_held_comes_back_and_its_late_word_is_not_taken(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 3).await;
    let dead = pipeline.claim("search", 3).await.unwrap();
    assert_eq!(dead.lease.unwrap().until, clock.now() + LEASE);
    // One it has settled in time, and that stays.
    assert_eq!(pipeline.update(&[dead.items[2].completed()]).await.unwrap().applied, 1);
    clock.advance(LEASE - Duration::from_micros(1));
    assert!(pipeline.claim("search", 3).await.unwrap().items.is_empty(), "it may live yet");
    clock.advance(Duration::from_micros(1));
    let alive = pipeline.claim("search", 1).await.unwrap();
    assert_eq!((alive.items[0].name.as_str(), alive.items[0].attempt), ("0", 2));

    let late = [
        dead.items[0].completed().produces("domains", ["late"]),
        dead.items[1].failed("net", "late"),
        dead.items[2].completed(),
        alive.items[0].completed().produces("domains", ["in time"]),
        alive.items[0].skipped(),
    ];
    let settled = pipeline.update(&late).await.unwrap();
    assert_eq!((settled.applied, settled.produced), (1, 1));
    let mut stale = settled.stale;
    stale.sort_unstable();
    let mut expected: Vec<_> = dead.items.iter().map(|item| item.id).collect();
    expected.push(alive.items[0].id);
    expected.sort_unstable();
    assert_eq!(stale, expected);
    let progress = pipeline.progress().await.unwrap();
    let search = Counts { pending: 1, completed: 2, ..Counts::default() };
    assert_eq!(progress.phase("search"), Some(search));
    assert_eq!(pipeline.claim("domains", 9).await.unwrap().items[0].name, "in time");
}

pub async fn a_renewed_lease_holds_and_a_lost_one_cannot_be_renewed(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 2).await;
    let claim = pipeline.claim("search", 2).await.unwrap();
    let mut lease = claim.lease.unwrap();
    for _ in 0..3 {
        clock.advance(LEASE - Duration::from_secs(1));
        let renewed = pipeline.renew(lease).await.unwrap();
        assert_eq!(renewed, Lease { until: clock.now() + LEASE, ..lease });
        assert!(pipeline.claim("search", 2).await.unwrap().items.is_empty());
        lease = renewed;
    }
    clock.advance(LEASE);
    assert_eq!(pipeline.claim("search", 1).await.unwrap().items.len(), 1);
    assert!(matches!(pipeline.renew(lease).await.unwrap_err(), StateError::LeaseLost));
    // Nor one whose items are all settled, nor that of another pipeline.
    let claim = pipeline.claim("search", 1).await.unwrap();
    let other = filled(kit, &clock, 1).await;
    assert!(matches!(other.renew(claim.lease.unwrap()).await.unwrap_err(), StateError::LeaseLost));
    pipeline.update(&[claim.items[0].completed()]).await.unwrap();
    assert!(matches!(
        pipeline.renew(claim.lease.unwrap()).await.unwrap_err(),
        StateError::LeaseLost
    ));
}

pub async fn an_item_whose_workers_die_too_often_counts_as_failed(kit: &impl Kit) {
    let clock = Clock::new();
    let tracker = kit.tracker(&clock, quiet().max_lost_leases(2));
    let pipeline = tracker.initialize("poison", &PHASES).await.unwrap();
    pipeline.add("search", &["poison", "fine"]).await.unwrap();
    pipeline.checkpoint("begin", None).await.unwrap();
    for round in 1..=2 {
        let items = pipeline.claim("search", 1).await.unwrap().items;
        assert_eq!((items[0].name.as_str(), items[0].attempt), ("poison", round));
        clock.advance(LEASE);
    }
    let items = pipeline.claim("search", 9).await.unwrap().items;
    assert_eq!(items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["fine"]);
    let failed = pipeline.failed(None, None, 9).await.unwrap();
    assert_eq!((failed[0].name.as_str(), failed[0].attempts), ("poison", 2));
    assert_eq!(failed[0].failure.category, "abandoned");
    let counts = Counts { failed: 1, processing: 1, ..Counts::default() };
    assert_eq!(pipeline.progress().await.unwrap().whole(), counts);
    // It was settled after the checkpoint that is gone back to here.
    assert_eq!(pipeline.revoke(None).await.unwrap(), 1);
    tracker.resume(pipeline.id(), &Resume::Checkpoint(1)).await.unwrap();
    assert_eq!(pipeline.progress().await.unwrap().whole().pending, 2);
    for _ in 0..2 {
        pipeline.claim("search", 1).await.unwrap();
        clock.advance(LEASE);
    }
    pipeline.claim("search", 9).await.unwrap();
    assert_eq!(pipeline.progress().await.unwrap().whole(), counts);
    // Who resets it gives it as many new chances.
    assert_eq!(pipeline.reset_failed(None, Some("abandoned")).await.unwrap(), 1);
    pipeline.claim("search", 1).await.unwrap();
    clock.advance(LEASE);
    let items = pipeline.claim("search", 9).await.unwrap().items;
    assert!(items.iter().any(|item| item.name == "poison"), "{items:?}");
}

pub async fn an_idle_worker_is_told_when_to_look_again(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 2).await;
    let first = pipeline.claim("search", 1).await.unwrap();
    clock.advance(Duration::from_secs(10));
    let second = pipeline.claim("search", 1).await.unwrap();
    let idle = pipeline.claim("search", 1).await.unwrap();
    assert_eq!((idle.lease, idle.others_until), (None, Some(first.lease.unwrap().until)));
    assert_eq!(pipeline.claim("domains", 1).await.unwrap().others_until, None);
    let updates = [first.items[0].completed(), second.items[0].completed()];
    pipeline.update(&updates).await.unwrap();
    let over = pipeline.claim("search", 1).await.unwrap();
    assert_eq!((over.items.len(), over.others_until), (0, None));
    assert!(pipeline.progress().await.unwrap().whole().is_finished());
}

pub async fn a_worker_known_to_be_dead_gives_its_items_back_at_once(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 6).await;
    let named = |name: &str| kit.tracker(&clock, quiet().max_lost_leases(1)).worker(name);
    let a = named("a").join(pipeline.id()).await.unwrap();
    let b = named("b").join(pipeline.id()).await.unwrap();
    let lost = a.claim("search", 2).await.unwrap().items;
    a.claim("search", 2).await.unwrap();
    b.claim("search", 1).await.unwrap();
    assert_eq!(pipeline.revoke(Some("nobody")).await.unwrap(), 0);
    assert_eq!(pipeline.revoke(Some("a")).await.unwrap(), 4);
    assert_eq!(pipeline.update(&[lost[0].completed()]).await.unwrap().stale, [lost[0].id]);
    let counts = pipeline.progress().await.unwrap().whole();
    assert_eq!((counts.pending, counts.processing, counts.failed), (5, 1, 0), "nobody is to blame");
    assert_eq!(pipeline.revoke(None).await.unwrap(), 1);
    assert_eq!(pipeline.progress().await.unwrap().whole().pending, 6);
}

pub async fn an_item_that_is_released_is_pending_at_once(kit: &impl Kit) {
    let pipeline = filled(kit, &Clock::new(), 2).await;
    let items = pipeline.claim("search", 2).await.unwrap().items;
    pipeline.update(&[items[0].released(), items[1].completed()]).await.unwrap();
    let again = pipeline.claim("search", 2).await.unwrap();
    assert_eq!(again.items.len(), 1);
    assert_eq!((again.items[0].name.as_str(), again.items[0].attempt), ("0", 2));
    assert_ne!(again.items[0].lease, items[0].lease);
}
