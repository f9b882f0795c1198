//! Rows that cannot be used stop nobody: they are kept apart with their reason, and asked for again.
#![allow(missing_docs)]

use crate::common::{Ended, World, ended, spoiler::Spoiler};
use pipedrive_sync::store::{QuarantineRow, Reader};
use saas_sim::pipedrive::{Entity, SimConfig, Sizes};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

fn config() -> SimConfig {
    SimConfig {
        sizes: Some(Sizes::each(60)),
        burst: Some(100_000),
        log: 100_000,
        ..SimConfig::default()
    }
}

async fn run(world: &World, spoiler: &Spoiler, args: &[&str]) -> Ended {
    let mut program = world.pipedrive(args[0]);
    program.args(&args[1..]).env("PIPEDRIVE_BASE_URL", spoiler.url());
    ended(program).await
}

async fn quarantine(world: &World) -> Vec<QuarantineRow> {
    Reader::open(&world.database()).await.unwrap().quarantine().await.unwrap()
}

/// The identifiers on a page.
fn ids(body: &[u8]) -> Vec<u64> {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["data"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

/// The first row loses its identifier, the second one's update time a number, in the third a byte is no UTF-8.
fn spoil_three(path: &str, body: &mut [u8]) {
    if !path.starts_with("/api/v2/persons?") || path.contains("cursor=") {
        return;
    }
    let ids = ids(body);
    let first = find_row(body, ids[0]);
    body[first..first + 4].copy_from_slice(b"\"xx\"");
    let second = find_row(body, ids[1]);
    let time = br#""update_time":""#;
    let at =
        second + body[second..].windows(time.len()).position(|w| w == time).unwrap() + time.len()
            - 1;
    body[at..at + 22].fill(b'7');
    let third = find_row(body, ids[2]);
    let name = br#""last_name":""#;
    let at =
        third + body[third..].windows(name.len()).position(|w| w == name).unwrap() + name.len();
    body[at] = 0xff;
}

fn find_row(body: &[u8], id: u64) -> usize {
    let start = format!("\"id\":{id},\"is_deleted\"");
    let found = body.windows(start.len()).position(|window| window == start.as_bytes());
    found.unwrap_or_else(|| panic!("no {start} in {}", String::from_utf8_lossy(&body[..900])))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_used_are_kept_apart_and_healed_later() {
    let world = World::new(config()).await;
    let spoiler = Spoiler::before(world.server.addr()).await;
    spoiler.by(spoil_three);
    let sync = ["sync", "--entity", "persons,notes", "--max-batch-size", "10", "--json"];
    let done = run(&world, &spoiler, &sync).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(report["walks"]["persons"]["rejected"], json!(3));
    let account = world.sim.digest(Entity::Persons).rows;
    assert_eq!(report["rows"]["persons"], json!(account - 3), "the others of the page are there");

    let kept = quarantine(&world).await;
    let mut reasons: Vec<_> = kept.iter().map(|row| (row.place, row.reason.as_str())).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, [(0, "no_id"), (1, "wrong_update_time"), (2, "not_utf8")]);
    assert!(
        kept.iter().all(|row| row.entity == "persons" && row.position == "start" && row.run == 1)
    );
    let utf8 = kept.iter().find(|row| row.reason == "not_utf8").unwrap();
    assert!(utf8.raw.contains(r"\xff") && utf8.note.as_deref() == Some("escaped"), "{utf8:?}");
    assert_eq!(utf8.row_id.as_deref(), Some(utf8.item.as_str()));
    assert!(kept.iter().any(|row| row.row_id.is_none() && row.item.starts_with('#')));

    // Seen again, they are not kept twice; a full walk leaves what it has seen.
    let mut again = sync.to_vec();
    again.push("--full");
    assert_eq!(run(&world, &spoiler, &again).await.code, Some(0));
    assert_eq!(quarantine(&world).await.len(), 3);
    let shown = run(&world, &spoiler, &["failed-items", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["rows"].as_array().unwrap().len(), 3);
    let text = run(&world, &spoiler, &["failed-items"]).await.out;
    assert!(text.contains("wrong_update_time") && text.contains("retry-failed"), "{text}");

    // Two can be asked for by their identifiers, at 1 token each; the third only shows when the whole list is read.
    spoiler.by(|_, _| {});
    let before = world.sim.truth().log.len();
    let retried = run(&world, &spoiler, &["retry-failed", "--json"]).await;
    assert_eq!(retried.code, Some(0), "{retried:?}");
    let retried: Value = serde_json::from_str(&retried.out).unwrap();
    assert_eq!(retried["rows"]["healed"], json!(2), "{retried}");
    assert_eq!(retried["rows"]["tokens_planned"], json!(2 + 2));
    let log = &world.sim.truth().log[before..];
    let single = log.iter().filter(|entry| entry.target.contains("/persons/")).count();
    assert_eq!(single, 2);
    assert!(quarantine(&world).await.is_empty());
    let differ = world.differences().await;
    assert!(
        !differ.iter().any(|line| line.starts_with("persons") || line.starts_with("notes")),
        "{differ:?}"
    );
    let nothing = run(&world, &spoiler, &["failed-items"]).await;
    assert!(nothing.out.contains("nothing has failed"), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_api_refuses_to_look_for_stops_none_of_the_others() {
    let world = World::new(config()).await;
    let spoiler = Spoiler::before(world.server.addr()).await;
    spoiler.by(spoil_three);
    let sync = ["sync", "--entity", "persons", "--quiet"];
    assert_eq!(run(&world, &spoiler, &sync).await.code, Some(0));
    spoiler.by(|_, _| {});
    // Before the others, and not by a number.
    let mut file = SqliteConnectOptions::new().filename(world.path()).connect().await.unwrap();
    let wrong = "DELETE FROM quarantine WHERE row_id IS NULL;
        INSERT INTO quarantine SELECT entity, '0', 'abc', position, place, reason, raw, raw_bytes, note, at, run
          FROM quarantine LIMIT 1";
    sqlx::raw_sql(wrong).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    let retried = run(&world, &spoiler, &["retry-failed", "--json"]).await;
    assert_eq!(retried.code, Some(1), "{retried:?}");
    let rows: Value = serde_json::from_str(retried.out.lines().next().unwrap()).unwrap();
    assert_eq!((&rows["rows"]["healed"], &rows["rows"]["left"]), (&json!(2), &json!(1)), "{rows}");
    assert_eq!(quarantine(&world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_of_a_row_that_can_no_longer_be_used_outlives_a_full_walk() {
    let world = World::new(config()).await;
    let spoiler = Spoiler::before(world.server.addr()).await;
    let sync = ["sync", "--entity", "persons", "--full", "--quiet"];
    assert_eq!(run(&world, &spoiler, &sync).await.code, Some(0));
    let all = world.sim.digest(Entity::Persons).rows;
    spoiler.by(spoil_three);
    assert_eq!(run(&world, &spoiler, &sync).await.code, Some(0));
    let held = Reader::open(&world.database()).await.unwrap().counts().await.unwrap()["persons"].0;
    // The one whose identifier cannot be read is not shown any more, for all that one can tell.
    assert_eq!(held, all - 1);
    // A good page heals what it shows, without being asked to.
    spoiler.by(|_, _| {});
    assert_eq!(run(&world, &spoiler, &sync).await.code, Some(0));
    assert!(quarantine(&world).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_failed_finally_is_noted_with_its_reason_and_walked_again() {
    let world = World::new(config()).await;
    let spoiler = Spoiler::before(world.server.addr()).await;
    spoiler.hide(Some("/api/v2/persons"));
    let ended = run(&world, &spoiler, &["sync", "--entity", "persons,stages", "--quiet"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let shown = world.run("failed-items", &["--json"]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["walks"][0]["walk"], json!("persons"), "{shown}");
    assert_eq!(shown["walks"].as_array().unwrap().len(), 1);
    assert!(shown["walks"][0]["reason"].as_str().unwrap().contains("/api/v2/persons"));

    spoiler.hide(None);
    let retried = run(&world, &spoiler, &["retry-failed", "--json"]).await;
    assert_eq!(retried.code, Some(0), "{retried:?}");
    let shown = world.run("failed-items", &[]).await;
    assert!(shown.out.contains("nothing has failed"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_goes_on_with_the_entities_and_options_of_the_run_that_was_cut_short() {
    let world = World::new(SimConfig { day_tokens: Some(300), ..config() }).await;
    let nothing = world.run("resume", &[]).await;
    assert_eq!(nothing.code, Some(2), "{nothing:?}");

    let cut =
        ["--entity", "persons,notes,files", "--across-days", "--max-batch-size", "2", "--quiet"];
    assert_eq!(world.run("sync", &cut).await.code, Some(4));
    let before = world.sim.truth().log.len();
    // The day is still spent, but it is seen what would go on.
    assert_eq!(world.run("resume", &["--quiet"]).await.code, Some(4));
    let log = world.sim.truth().log;
    assert!(
        log[before..].iter().all(|entry| entry.target.contains("users/me")),
        "{:?}",
        &log[before..]
    );
    let runs = world.run("runs", &["--json"]).await;
    let runs: Value = serde_json::from_str(&runs.out).unwrap();
    assert_eq!(runs["runs"][0]["command"], json!("resume"), "{runs}");
    assert_eq!(runs["runs"][0]["options"]["entities"], json!(["persons", "notes", "files"]));
    assert_eq!(runs["runs"][0]["options"]["across_days"], json!(true));
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2);

    let world = World::new(config()).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let ended = world.run("resume", &[]).await;
    assert_eq!((ended.code, ended.err.contains("nothing to resume")), (Some(2), true), "{ended:?}");
}
