//! Processes that share the budgets of one token by a Redis.
#![allow(missing_docs)]

use crate::common;
#[path = "../../../ratelimit-ledger/tests/support/server.rs"]
#[allow(dead_code, reason = "the ledger's own tests use the rest")]
mod server;

use std::time::Duration;

use crate::common::{Ended, World};
use pipedrive_sync::store::Reader;
use saas_sim::pipedrive::{SimConfig, Sizes};
use serde_json::{Value, json};
use server::RedisServer;

/// With the password `hunter2`, which nobody is to see.
fn redis(what_is_skipped: &str) -> Option<RedisServer> {
    RedisServer::start_with(what_is_skipped, Some("hunter2"))
}

fn config(each: u64) -> SimConfig {
    SimConfig { sizes: Some(Sizes::each(each)), log: 1_000_000, ..SimConfig::default() }
}

async fn run(world: &World, redis: &str, database: &str, args: &[&str]) -> Ended {
    let mut program = world.pipedrive(args[0]);
    program
        .args(&args[1..])
        .env("PIPEDRIVE_LEDGER_URL", redis)
        .env("PIPEDRIVE_DATABASE", world.dir.path().join(database));
    common::ended(program).await
}

#[track_caller]
fn object(ended: &Ended, code: i32) -> Value {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_copies_at_once_never_pass_the_window_that_they_share() {
    let Some(redis) = redis("three copies at once") else { return };
    let world = World::new(SimConfig { burst: Some(20), ..config(40) }).await;
    let url = redis.url();
    let copy = |database| {
        let args = ["sync", "--json", "--quiet", "--progress", "none", "--max-batch-size", "10"];
        let (world, url) = (&world, &url);
        async move { object(&run(world, url, database, &args).await, 0) }
    };
    let reports = tokio::join!(copy("a.sqlite"), copy("b.sqlite"), copy("c.sqlite"));
    for report in [&reports.0, &reports.1, &reports.2] {
        assert_eq!(report["refused_by_server"], json!([0, 0]), "{report}");
    }
    let truth = world.sim.truth();
    assert_eq!(truth.refusals.caused(), 0, "{:?}", truth.refusals);
    assert!(truth.window.peak <= 20, "{:?}", truth.window);

    // What each has spent is in its database, and what all have in the ledger.
    let mut reader = Reader::open(&world.dir.path().join("a.sqlite").into()).await.unwrap();
    let noted = reader.last_budget().await.unwrap().unwrap();
    assert!(noted.leased >= noted.settled && noted.settled > 0, "{noted:?}");
    let limits = object(&run(&world, &url, "a.sqlite", &["limits", "--ask", "--json"]).await, 0);
    assert_eq!(limits["server"]["day_remaining"], json!(150_000 - truth.day.used - 2));
    let ledger = &limits["now"]["ledger"];
    assert_eq!((&ledger["connected"], &ledger["failures"]), (&json!(true), &json!(0)), "{limits}");
    let day = ledger["budgets"].as_array().unwrap().iter().find(|budget| budget["name"] == "day");
    assert!(day.unwrap()["used"].as_u64().unwrap() >= truth.day.used, "{ledger}");
    let kept = &limits["run"]["picture"]["ledger"];
    assert_eq!(kept["connected"], json!(true), "the sync's picture has it too: {limits}");
    assert_eq!(kept["failures"], json!(0));
    assert!(!limits.to_string().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_takes_nothing_from_the_others_for_good() {
    let Some(redis) = redis("a copy that is killed") else { return };
    let world = World::new(SimConfig { burst: Some(20), ..config(60) }).await;
    let url = redis.url();
    let args = ["sync", "--quiet", "--max-batch-size", "10"];
    let other = run(&world, &url, "b.sqlite", &args);
    let killed = async {
        let mut program = world.pipedrive("sync");
        program.args(&args[1..]).env("PIPEDRIVE_LEDGER_URL", &url);
        let mut child = program.spawn().unwrap();
        // The first to come waits for one window of an empty ledger; then both are in the middle.
        while world.sim.truth().requests < 60 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let (other, ()) = tokio::join!(other, killed);
    assert_eq!(other.code, Some(0), "{other:?}");
    let mut program = world.pipedrive("sync");
    program.args(&args[1..]).env("PIPEDRIVE_LEDGER_URL", &url);
    let again = common::ended(program).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(world.differences().await, Vec::<String>::new());
    let truth = world.sim.truth();
    assert_eq!(truth.refusals.caused(), 0, "{:?}", truth.refusals);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_shared_is_not_overspent_and_every_command_takes_part() {
    let Some(redis) = redis("a shared day") else { return };
    let world = World::new(SimConfig { day_tokens: Some(900), ..config(20) }).await;
    let url = redis.url();
    let copy = |database| {
        let (world, url) = (&world, &url);
        async move { run(world, url, database, &["sync", "--quiet", "--max-batch-size", "10"]).await }
    };
    let (one, two) = tokio::join!(copy("a.sqlite"), copy("b.sqlite"));
    let codes = [one.code, two.code];
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 4))), "{one:?} {two:?}");
    assert!(codes.contains(&Some(4)), "one day is not enough for both: {one:?} {two:?}");
    let truth = world.sim.truth();
    assert_eq!((truth.refusals.caused(), truth.day.used <= 900), (0, true), "{truth:?}");

    let world = World::new(config(20)).await;
    let all: [&[&str]; 5] = [
        &["sync", "--quiet"],
        &["sync", "--plan"],
        &["verify", "--quiet", "--sample", "1"],
        &["health-check", "--probe"],
        &["limits", "--ask"],
    ];
    for args in all {
        let ended = run(&world, &url, "a.sqlite", args).await;
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    }
    assert_eq!(world.sim.truth().refusals.caused(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_reached_is_one_line_and_nothing_is_sent() {
    let world = World::new(config(20)).await;
    let nobody = "redis://me:hunter2@127.0.0.1:1/3";
    for args in [&["sync", "--quiet"][..], &["limits", "--ask"], &["sync", "--plan"]] {
        let ended = run(&world, nobody, "a.sqlite", args).await;
        assert_eq!(ended.code, Some(5), "{args:?}: {ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        assert!(ended.err.contains("the ledger redis://127.0.0.1:1/3: "), "{}", ended.err);
        assert!(!ended.err.contains("hunter2"), "{}", ended.err);
    }
    assert_eq!(world.sim.truth().requests, 0);
    // Who asks nobody needs no ledger.
    for args in [&["limits"][..], &["config"], &["status"]] {
        let ended = run(&world, nobody, "a.sqlite", args).await;
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        assert!(!ended.out.contains("hunter2"));
        assert_eq!(ended.out.contains("redis://127.0.0.1:1/3"), args[0] != "status", "{ended:?}");
    }
    let ended = run(&world, "http://127.0.0.1:1", "a.sqlite", &["sync"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("PIPEDRIVE_LEDGER_URL expected redis://"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_spend_a_share_alone_goes_on_without_the_ledger() {
    let world = World::new(config(20)).await;
    let mut program = world.pipedrive("sync");
    program
        .args(["--json", "--quiet", "--progress", "none"])
        .envs([("PIPEDRIVE_LEDGER_URL", "redis://127.0.0.1:1"), ("PIPEDRIVE_LEDGER_ALONE", "0.5")]);
    let ended = common::ended(program).await;
    assert_eq!(object(&ended, 0)["refused_by_server"], json!([0, 0]));
    assert_eq!(world.differences().await, Vec::<String>::new());
    let truth = world.sim.truth();
    assert!(truth.window.peak <= 50, "half of 100: {:?}", truth.window);
    let text = world.run("limits", &[]).await.out;
    assert!(text.contains("not reached: ") && text.contains(" units allowed without it"), "{text}");
}
