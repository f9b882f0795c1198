//! Changes that come by themselves: when, how many, always the same, and what is known of them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{get, request, send, sim};
use saas_sim::pipedrive::{Churn, Entity, Sim, SimConfig};
use serde_json::Value;

const CHANGING: [Entity; 9] = [
    Entity::Deals,
    Entity::ArchivedDeals,
    Entity::Persons,
    Entity::Organizations,
    Entity::Activities,
    Entity::Products,
    Entity::Notes,
    Entity::Files,
    Entity::Leads,
];

fn with(churn: Churn) -> Sim {
    sim(SimConfig { records: 2_000, limits: false, churn, ..SimConfig::default() })
}

fn ids(body: &Value) -> Vec<String> {
    let name = |row: &Value| row["id"].as_str().map_or(row["id"].to_string(), str::to_owned);
    body["data"].as_array().expect("a list").iter().map(name).collect()
}

/// Ids of a walk by offset, in the order seen.
async fn by_offset(sim: &Sim, path: &str, limit: u64) -> Vec<String> {
    let (mut seen, mut start) = (Vec::new(), 0);
    loop {
        let body = get(sim, &format!("{path}?start={start}&limit={limit}")).await.json();
        seen.extend(ids(&body));
        match body["additional_data"]["pagination"]["next_start"].as_u64() {
            Some(next) => start = next,
            None => return seen,
        }
    }
}

async fn by_cursor(sim: &Sim, path: &str) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let body = get(sim, &format!("{path}&cursor={cursor}")).await.json();
        seen.extend(ids(&body));
        match body["additional_data"]["next_cursor"].as_str() {
            Some(next) => cursor = next.replace('+', "%2B").replace('=', "%3D"),
            None => return seen,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_requests_meet_the_same_changes() {
    let mut digests = Vec::new();
    for seed in [4, 4, 5] {
        let sim = with(Churn { seed, ..Churn::busy() });
        for _ in 0..40 {
            get(&sim, "/v1/notes?limit=50").await;
            get(&sim, "/api/v2/deals?limit=50").await;
        }
        assert_eq!(sim.truth().churn.ticks, 80);
        digests.push(sim.digests());
    }
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

#[tokio::test(start_paused = true)]
async fn ticks_come_by_answers_and_by_the_clock_until_they_are_told_to_stop() {
    let sim = with(Churn { every_requests: 3, updates: 2.0, ..Churn::default() });
    for _ in 0..10 {
        get(&sim, "/api/v2/persons?limit=1").await;
    }
    // Neither an unknown path nor the simulator's own is answered from the data.
    get(&sim, "/api/v2/nothing").await;
    let truth = sim.truth();
    assert_eq!((truth.churn.ticks, truth.churn.updates, truth.revision), (3, 6, 6));

    let timed = Churn { every_ms: 250, creates: 1.0, ticks: Some(9), ..Churn::default() };
    sim.set_churn(timed).expect("good");
    tokio::time::advance(Duration::from_millis(1_100)).await;
    assert_eq!(sim.truth().churn.creates, 4);
    let rows: u64 = CHANGING.iter().map(|entity| sim.digest(*entity).rows).sum();
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(sim.truth().churn.creates, 9, "nine ticks, however long");
    let now: u64 = CHANGING.iter().map(|entity| sim.digest(*entity).rows).sum();
    assert_eq!(now, rows + 5);

    sim.set_churn(Churn::none()).expect("good");
    let before = sim.digests();
    get(&sim, "/api/v2/persons?limit=1").await;
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(sim.digests(), before);
}

#[tokio::test(start_paused = true)]
async fn several_rows_of_a_tick_bear_the_same_second_or_a_late_one() {
    let sim = with(Churn::none());
    sim.change_now(Churn { updates: 30.0, ..Churn::default() }).expect("good");
    let since = "/v1/recents?since_timestamp=2026-03-02%2008:59:00&limit=500";
    let body = get(&sim, since).await.json();
    let times = |body: &Value| -> BTreeSet<String> {
        let rows = body["data"].as_array().expect("a list");
        rows.iter().map(|row| row["data"]["update_time"].to_string()).collect()
    };
    assert!(ids(&body).len() > 20);
    assert_eq!(times(&body).len(), 1, "{:?}", times(&body));
    sim.change_now(Churn { updates: 30.0, late_s: 20, ..Churn::default() }).expect("good");
    let late = times(&get(&sim, since).await.json());
    assert!(late.len() > 5 && late.iter().all(|at| at.as_str() <= "\"2026-03-02 09:00:00\""));
}

#[tokio::test(start_paused = true)]
async fn amounts_are_kept_on_average_and_of_every_kind() {
    let sim = with(Churn::none());
    for _ in 0..200 {
        sim.change_now(Churn { removals: 0.25, merges: 0.5, archives: 1.0, ..Churn::busy() })
            .expect("good");
    }
    let done = sim.truth().churn;
    assert_eq!(done.updates, 400);
    assert!((80..120).contains(&done.creates), "{done:?}");
    assert!((60..100).contains(&done.deletes), "{done:?}");
    assert!((30..70).contains(&done.removals), "{done:?}");
    assert!((80..120).contains(&done.merges), "{done:?}");
    assert!(done.archives > 190, "{done:?}");
    for entity in CHANGING {
        assert!(!sim.account().changed(entity, 0, u64::MAX - 1).is_empty(), "{}", entity.name());
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_without_a_trace_is_told_by_no_list_and_no_recents() {
    let sim = with(Churn::none());
    sim.change_now(Churn { removals: 60.0, ..Churn::default() }).expect("good");
    let gone: Vec<_> = sim.account().changed(Entity::Deals, 0, 1_000);
    assert!(gone.len() > 5);
    let body = get(&sim, "/v1/recents?since_timestamp=2026-03-02%2000:00:00").await.json();
    assert_eq!(ids(&body).len(), 0);
    let mut shown = by_cursor(&sim, "/api/v2/deals?limit=500").await;
    shown.extend(by_cursor(&sim, "/api/v2/deals?limit=500&status=deleted").await);
    shown.extend(by_cursor(&sim, "/api/v2/deals?limit=500&sort_by=update_time").await);
    for id in gone {
        assert!(!shown.contains(&id), "{id}");
        assert_eq!(get(&sim, &format!("/api/v2/deals/{id}")).await.status, 404);
    }
}

#[tokio::test(start_paused = true)]
async fn the_account_knows_what_was_there_throughout() {
    let sim = with(Churn::none());
    let account = sim.account();
    let mut moments = Vec::new();
    for tick in 0..60 {
        let all: Vec<BTreeSet<String>> = CHANGING
            .iter()
            .map(|entity| account.throughout(*entity, account.revision(), account.revision()))
            .map(BTreeSet::from_iter)
            .collect();
        moments.push((account.revision(), all));
        sim.change_now(Churn { seed: tick, updates: 3.0, deletes: 2.0, ..Churn::busy() })
            .expect("good");
    }
    for (from, to) in [(0, 59), (10, 20), (5, 5), (58, 59)] {
        for (nth, entity) in CHANGING.into_iter().enumerate() {
            let mut always = moments[from].1[nth].clone();
            for (_, shown) in &moments[from..=to] {
                always.retain(|id| shown[nth].contains(id));
            }
            let told = account.throughout(entity, moments[from].0, moments[to].0);
            let told: BTreeSet<_> = told.into_iter().collect();
            // Between two moments a row may have gone and come back: the account knows it, the
            // moments do not.
            assert!(told.is_subset(&always), "{} {from}-{to}", entity.name());
            assert!(always.len() - told.len() <= 2, "{} {from}-{to}", entity.name());
        }
    }
    let rows = sim.digest(Entity::Leads).rows as usize;
    let now = account.revision();
    assert_eq!(account.throughout(Entity::Leads, now, now).len(), rows);
}

#[tokio::test(start_paused = true)]
async fn a_walk_by_cursor_sees_what_was_there_throughout_whatever_changes() {
    let sim = with(Churn::busy());
    for (entity, path) in [
        (Entity::Deals, "/api/v2/deals?limit=20"),
        (Entity::Persons, "/api/v2/persons?limit=20&sort_by=update_time"),
    ] {
        let from = sim.account().revision();
        let seen: BTreeSet<_> = by_cursor(&sim, path).await.into_iter().collect();
        let to = sim.account().revision();
        assert!(to > from + 50);
        let there = sim.account().throughout(entity, from, to);
        assert!(there.len() > 100);
        for id in there {
            assert!(seen.contains(&id), "{path}: {id}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shifts_make_a_naive_walk_by_offset_miss_and_repeat_rows() {
    let sim = with(Churn { shifts: 1.0, ..Churn::default() });
    let from = sim.account().revision();
    for (entity, path) in [(Entity::Notes, "/v1/notes"), (Entity::Files, "/v1/files")] {
        let seen = by_offset(&sim, path, 5).await;
        let distinct: BTreeSet<_> = seen.iter().cloned().collect();
        assert!(distinct.len() < seen.len(), "{path}: some row came twice");
        let there = sim.account().throughout(entity, from, sim.account().revision());
        let missed = there.iter().filter(|id| !distinct.contains(*id)).count();
        assert!(missed > 0, "{path}: some row was missed");
    }
    let shifts = sim.truth().churn.shifts;
    assert!(shifts > 30, "{shifts}");
    // When it is quiet, a walk by offset is right again: the counts behind the offsets are kept.
    sim.set_churn(Churn::none()).expect("good");
    for (entity, path) in [(Entity::Notes, "/v1/notes"), (Entity::Files, "/v1/files")] {
        let seen = by_offset(&sim, path, 7).await;
        let now = sim.account().revision();
        assert_eq!(seen, sim.account().throughout(entity, now, now), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn churn_is_set_and_asked_from_outside() {
    let sim = with(Churn::none());
    let post = async |path: &str, body: &str| {
        let mut request = request(&sim, "POST", path);
        *request.body_mut() = body.to_owned();
        send(&sim, request).await.expect("an answer").status
    };
    assert_eq!(post("/__sim/churn", "every_requests = 2\nupdates = 1.0").await, 200);
    assert_eq!(sim.churn().every_requests, 2);
    assert_eq!(post("/__sim/churn", r#"{"every_ms": 5, "deletes": 0.5}"#).await, 200);
    assert_eq!(post("/__sim/churn", "busy").await, 200);
    assert_eq!(get(&sim, "/__sim/churn").await.json()["shifts"], 0.5);
    for wrong in ["updates = -1.0", "shifts = 2.0", "entities = [\"goals\"]", "often = 1", "{}x"] {
        assert_eq!(post("/__sim/churn", wrong).await, 400, "{wrong}");
    }
    assert_eq!(sim.churn(), Churn::busy());
    assert_eq!(post("/__sim/churn", "none").await, 200);

    let before = sim.account().revision();
    assert_eq!(post("/__sim/change", "creates = 4.0\nentities = [\"leads\"]").await, 200);
    let told = get(&sim, &format!("/__sim/changed?entity=leads&from={before}")).await.json();
    assert_eq!(told["ids"].as_array().map(Vec::len), Some(4));
    let told = get(&sim, &format!("/__sim/throughout?entity=leads&from={before}")).await.json();
    assert_eq!(
        told["ids"].as_array().map(Vec::len),
        Some(sim.digest(Entity::Leads).rows as usize - 4)
    );
    assert_eq!(get(&sim, "/__sim/throughout?entity=leads").await.status, 400);
    assert_eq!(sim.truth().requests, 0, "none of this is counted");
}
