//! What the options of a sync do.
#![allow(missing_docs)]

use crate::common;

use std::collections::BTreeSet;

use crate::common::{World, client, config};
use futures_util::TryStreamExt as _;
use pipedrive_service::Entity;
use pipedrive_sync::{progress::Event, store::Reader};
use saas_sim::pipedrive::{Churn, SimConfig};
use serde_json::{Value, json};

async fn first(world: &World, entity: Entity) -> pipedrive_service::RowId {
    let page = client(world).list(entity, pipedrive_service::ListQuery::new()).await.unwrap();
    page.rows[0].id.clone()
}

fn object(ended: &common::Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_done_and_neither_asks_nor_writes() {
    let world = World::new(config(60)).await;
    let dry = world.run("sync", &["--dry-run", "--json", "--entity", "persons,notes"]).await;
    assert_eq!(dry.code, Some(0), "{dry:?}");
    let plan = object(&dry);
    assert_eq!((&plan["dry_run"], &plan["asked_tokens"]), (&json!(true), &json!(0)));
    assert_eq!(plan["walks"].as_array().unwrap().len(), 2);
    assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 0);
    assert_eq!(world.sim.truth().requests, 0);
    let text = world.run("sync", &["--dry-run"]).await.out;
    assert!(text.contains("asked      nobody"), "{text}");

    // Beside a copy it knows its rows, and leaves it as it is.
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let (before, asked) = (std::fs::read(world.path()).unwrap(), world.sim.truth().requests);
    let plan = object(&world.run("sync", &["--dry-run", "--json", "--full-data"]).await);
    assert_eq!(plan["exact"], json!(true), "{plan}");
    assert_eq!(std::fs::read(world.path()).unwrap(), before);
    assert_eq!(world.sim.truth().requests, asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_by_offsets_that_was_read_before_is_read_several_pages_at_once() {
    let mut config = config(120);
    config.faults.latency_before_ms = [30, 30];
    let world = World::new(config).await;
    let sync = ["--quiet", "--full-data", "--entity", "notes", "--max-batch-size", "10"];
    let mut asked = Vec::new();
    for _ in 0..2 {
        let before = world.sim.truth().log.len();
        assert_eq!(world.run("sync", &sync).await.code, Some(0));
        let log = world.sim.truth().log;
        let notes = log[before..].iter().filter(|entry| entry.target.contains("/notes"));
        let times: Vec<_> =
            notes.map(|entry| (entry.arrived_us, entry.answered_us.unwrap())).collect();
        let most =
            times.iter().map(|(at, _)| times.iter().filter(|(a, b)| a <= at && at < b).count());
        asked.push((times.len(), most.max().unwrap() > 1));
    }
    let pages = asked[0].0;
    assert_eq!(asked, [(pages, false), (pages, true)], "as many requests, and none in vain");
    let differ = world.differences().await;
    assert!(!differ.iter().any(|line| line.starts_with("notes")), "{differ:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_at_a_limit_is_not_called_complete() {
    let world = World::new(config(60)).await;
    let cut = world.run("sync", &["--entity", "deals,stages", "--limit", "40"]).await;
    assert_eq!(cut.code, Some(0), "{cut:?}");
    assert!(cut.out.starts_with("stopped at --limit in "), "{}", cut.out);
    let health = world.run("health-check", &[]).await;
    assert!(health.err.contains("not every entity is complete; stopped at --limit"), "{health:?}");
    let all = world.run("sync", &["--entity", "deals,stages"]).await;
    assert!(all.out.starts_with("complete in "), "{}", all.out);
    // What fits into the limit is complete.
    let small = world.run("sync", &["--entity", "stages", "--limit", "4000", "--full"]).await;
    assert!(small.out.starts_with("complete in "), "{}", small.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn across_days_begins_with_a_day_that_does_not_pay_for_a_page_of_each_list() {
    let world = World::new(SimConfig { day_tokens: Some(60), ..config(20) }).await;
    let refused = world.run("sync", &[]).await;
    assert_eq!((refused.code, world.sim.truth().day.used), (Some(4), 2), "{refused:?}");
    let begun = world.run("sync", &["--across-days"]).await;
    assert_eq!(begun.code, Some(4), "{begun:?}");
    assert!(begun.out.starts_with("not complete after "), "{}", begun.out);
    let truth = world.sim.truth();
    assert!((20..=60).contains(&truth.day.used) && truth.refusals.caused() == 0, "{truth:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn force_begins_anew_where_a_walk_was_under_way() {
    let world = World::new(config(60)).await;
    let some = ["--entity", "persons", "--max-batch-size", "10", "--json"];
    let cut = world.run("sync", &[&some[..], &["--limit", "20"]].concat()).await;
    assert_eq!(object(&cut)["rows"]["persons"], json!(20));
    let forced = object(&world.run("sync", &[&some[..], &["--force"]].concat()).await);
    let account = world.sim.digest(saas_sim::pipedrive::Entity::Persons).rows;
    assert_eq!(forced["walks"]["persons"]["rows"], json!(account), "all of them again");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_objects_on_standard_output_and_nothing_else_is() {
    let world = World::new(config(40)).await;
    let sync = ["--entity", "persons,stages", "--max-batch-size", "10", "--events", "jsonl"];
    let ended = world.run("sync", &sync).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let events: Vec<Event> =
        ended.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(matches!(&events[0], Event::Note { text } if text.starts_with("plan:")), "{events:?}");
    let done = |name: &str| {
        events
            .iter()
            .any(|event| matches!(event, Event::Committed { walk, done: true, .. } if walk == name))
    };
    assert!(done("persons") && done("stages"), "{events:?}");
    let last = Event::Finished { outcome: "complete".into(), exit_code: 0 };
    assert_eq!(events.last(), Some(&last));
    assert!(ended.err.contains("complete in"), "the report is on standard error: {ended:?}");

    for taken in [["--json"].as_slice(), &["--progress", "json"]] {
        let refused = world.run("sync", &[&sync[..], taken].concat()).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
    }
    let file = world.dir.path().join("events");
    let to = format!("jsonl:{}", file.display());
    let ended = world.run("sync", &["--entity", "persons", "--json", "--events", &to]).await;
    assert_eq!(object(&ended)["exit_code"], json!(0));
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.lines().last().unwrap().contains(r#""event":"finished""#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_waits_is_parked_until_the_next_day_and_ends_cleanly_at_a_signal() {
    for signal in ["-INT", "-TERM"] {
        is_parked_until_it_is_told(signal).await;
    }
}

async fn is_parked_until_it_is_told(signal: &str) {
    // The day is spent, and its end lies half a day ahead, whenever the test runs.
    let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(12);
    let reset_time = ends.to_zoned(jiff::tz::TimeZone::UTC).time();
    let reset = reset_time.strftime("%H:%M").to_string();
    let reset_time = reset.parse().unwrap();
    let world = World::new(SimConfig { day_tokens: Some(200), reset_time, ..config(200) }).await;
    let sync = ["--entity", "persons,notes", "--max-batch-size", "10", "--quiet"];
    let mut program = world.pipedrive("sync");
    let events = world.dir.path().join("events");
    program.args(sync).args(["--wait", "--events", &format!("jsonl:{}", events.display())]);
    let mut child = program.env("PIPEDRIVE_RESET_TIME", &reset).spawn().unwrap();
    let parked = async {
        loop {
            let text = std::fs::read_to_string(&events).unwrap_or_default();
            let parked = text.lines().find(|line| line.contains(r#""event":"parked""#));
            if let Some(line) = parked {
                return line.to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let line = tokio::time::timeout(std::time::Duration::from_secs(60), parked).await.unwrap();
    let Event::Parked { until, reason } = serde_json::from_str(&line).unwrap() else {
        panic!("{line}")
    };
    assert!(until.parse::<jiff::Timestamp>().unwrap() > jiff::Timestamp::now(), "{until}");
    assert!(reason.contains("it can go on at"), "{reason}");
    assert!(child.try_wait().unwrap().is_none(), "it sleeps");
    // What it has is there, and its place is free for others who only read.
    let counts = Reader::open(&world.database()).await.unwrap().counts().await.unwrap();
    assert!(counts["persons"].0 > 0, "{counts:?}");
    let spent = world.sim.truth().requests;
    assert_eq!(world.sim.truth().requests, spent, "nothing is asked meanwhile");
    std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(1), "{signal}");
    assert_eq!(world.sim.truth().requests, spent, "nothing is asked on the way out");

    let mut again = world.pipedrive("sync");
    again.args(sync).env("PIPEDRIVE_RESET_TIME", &reset);
    let not = common::ended(again).await;
    assert_eq!(not.code, Some(4), "{not:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_rows_of_other_kinds_are_found_by_recents_for_one_request() {
    let world = World::new(config(60)).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let api = client(&world);
    for entity in [Entity::Persons, Entity::Notes, Entity::Activities] {
        api.delete(entity, first(&world, entity).await).await.unwrap();
    }
    let before = world.sim.truth().log.len();
    let ended = world.run("sync", &["--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(object(&ended)["walks"]["recents"]["removed"], json!(3));
    let log = &world.sim.truth().log[before..];
    assert_eq!(log.iter().filter(|entry| entry.target.contains("/recents?")).count(), 1);
    assert!(log.last().unwrap().target.contains("/recents?"), "after all others");
    assert_eq!(world.differences().await, Vec::<String>::new());
    let counts = Reader::open(&world.database()).await.unwrap().counts().await.unwrap();
    assert_eq!((counts["persons"].1, counts["notes"].1), (1, 1), "kept, and marked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_without_a_trace_is_found_by_a_sweep_and_nothing_else_goes_with_it() {
    let world = World::new(config(120)).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let gone = Churn { removals: 8.0, even: true, ..Churn::none() };
    world.sim.change_now(gone).unwrap();
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    assert_ne!(world.differences().await, Vec::<String>::new(), "no list of changes shows it");
    let not_due = world.run("sync", &["--quiet", "--sweep-every", "1h"]).await;
    assert_eq!(not_due.code, Some(0));
    assert_ne!(world.differences().await, Vec::<String>::new());

    // Its price is in the plan. Rows shift and come while it is under way.
    let plan = object(&world.run("sync", &["--sweep-every", "0h", "--plan", "--json"]).await);
    let sweeps =
        plan["walks"].as_array().unwrap().iter().filter(|walk| walk["sweep"] == json!(true));
    // Fourteen lists that else would be asked for changes, or left to recents.
    assert_eq!(sweeps.count(), 14, "{plan}");
    let busy = Churn {
        creates: 1.0,
        shifts: 1.0,
        every_requests: 1,
        ticks: Some(60),
        even: true,
        ..Churn::none()
    };
    world.sim.set_churn(busy).unwrap();
    let sweep = ["--quiet", "--sweep-every", "0h", "--max-batch-size", "10"];
    assert_eq!(world.run("sync", &sweep).await.code, Some(0));
    world.sim.set_churn(Churn::none()).unwrap();
    // What came behind the walk's back is brought by the next one.
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let mut differ = world.differences().await;
    // A lead that was shown and then deleted is seen by the next sweep only.
    differ.retain(|line| !line.starts_with("leads"));
    assert_eq!(differ, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_shift_under_a_walk_by_offset_are_neither_missed_nor_lost() {
    let world = World::new(config(200)).await;
    let shifting = Churn { seed: 7, shifts: 1.0, even: true, ..Churn::none() };
    let from = world.sim.account().revision();
    world.sim.set_churn(shifting).unwrap();
    let sync = ["--entity", "notes,files,leads", "--full", "--quiet", "--max-batch-size", "10"];
    assert_eq!(world.run("sync", &sync).await.code, Some(0));
    let to = world.sim.account().revision();
    assert!(world.sim.truth().churn.shifts > 20, "{:?}", world.sim.truth().churn);
    let mut reader = Reader::open(&world.database()).await.unwrap();
    for theirs in ["notes", "files", "leads"] {
        let theirs = saas_sim::pipedrive::Entity::by_name(theirs).unwrap();
        let rows: Vec<(String, String)> =
            reader.rows(common::ours(theirs).name()).try_collect().await.unwrap();
        let held: BTreeSet<String> = rows.into_iter().map(|(id, _)| id).collect();
        let throughout = world.sim.account().throughout(theirs, from, to);
        let missed: Vec<_> = throughout.iter().filter(|id| !held.contains(*id)).collect();
        assert!(missed.is_empty(), "of {} {missed:?} were missed", throughout.len());
    }
}
