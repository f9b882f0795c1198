//! `pipedrive circuits`: what one run found to be down, the next one leaves alone, until its time is over or somebody
//! says else.
#![allow(missing_docs)]

use crate::common;

use std::{collections::BTreeMap, time::Duration};

use crate::common::{Ended, World};
use pipedrive_sync::store::{Reader, Store, reset_circuits};
use saas_sim::pipedrive::{FaultKind, Faults, SimConfig, Sizes};
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

fn config(each: u64) -> SimConfig {
    SimConfig { sizes: Some(Sizes::each(each)), burst: Some(100_000), ..SimConfig::default() }
}

fn down() -> Faults {
    Faults { rates: BTreeMap::from([(FaultKind::Error503, 1.0)]), ..Faults::none() }
}

/// Opens at the third failure and stays open for five minutes.
const EAGER: [(&str, &str); 3] = [
    ("PIPEDRIVE_CIRCUIT_BREAKER_THRESHOLD", "3"),
    ("PIPEDRIVE_CIRCUIT_BREAKER_FIRST_TIMEOUT", "300"),
    ("PIGEON_RETRY_BASE_DELAY_MS", "1"),
];

async fn run(world: &World, args: &[&str]) -> Ended {
    let mut program = world.pipedrive(args[0]);
    program.args(&args[1..]).envs(EAGER);
    common::ended(program).await
}

async fn circuit(world: &World) -> Value {
    let ended = run(world, &["circuits", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(found["circuits"].as_array().unwrap().len(), 1, "{found}");
    found["circuits"][0].clone()
}

/// State and reason of one part of `pipedrive health`, and the overall state.
async fn part(world: &World, name: &str) -> (String, String, String) {
    let ended = run(world, &["health", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    let part = found["parts"].as_array().unwrap().iter().find(|part| part["name"] == name).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&part["state"]), text(&part["reason"]), text(&found["overall"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn health_sums_up_what_the_last_sync_has_seen() {
    let world = World::new(config(40)).await;
    assert_eq!(run(&world, &["sync", "--quiet"]).await.code, Some(0));
    for name in ["api", "circuit", "day's tokens", "copy"] {
        let (state, reason, overall) = part(&world, name).await;
        assert_eq!((state.as_str(), overall.as_str()), ("healthy", "healthy"), "{name}: {reason}");
    }
    let text = run(&world, &["health"]).await.out;
    assert!(text.contains("p95") && text.contains("complete"), "{text}");
    let host = format!("host {}", world.server.url().strip_prefix("http://").unwrap());
    let (state, reason, _) = part(&world, &host).await;
    assert_eq!(state, "healthy", "{reason}");
    world.sim.set_faults(down()).unwrap();
    assert_eq!(run(&world, &["sync", "--full", "--quiet"]).await.code, Some(5));
    let (state, reason, _) = part(&world, &host).await;
    assert_eq!(state, "unavailable", "{reason}");
    assert!(reason.starts_with("unhealthy: 3 operations failed in a row"), "{reason}");
    let (state, reason, overall) = part(&world, "circuit").await;
    assert_eq!((state.as_str(), overall.as_str()), ("unavailable", "unavailable"), "{reason}");
    assert!(reason.ends_with("3 failures in a row"), "{reason}");
    assert_ne!(part(&world, "api").await.0, "healthy");
    assert_eq!(part(&world, "copy").await.0, "healthy", "it is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_down_is_left_alone_by_the_next_run_until_it_is_reset() {
    let world = World::new(config(20)).await;
    world.sim.set_faults(down()).unwrap();
    let ended = run(&world, &["sync"]).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let seen = circuit(&world).await;
    assert_eq!((&seen["name"], &seen["state"]), (&"pipedrive".into(), &"open".into()), "{seen}");
    assert_eq!(seen["reason"], "3 failures in a row");
    assert!(seen["opens_at"].is_string(), "{seen}");

    world.sim.set_faults(Faults::none()).unwrap();
    let before = world.sim.truth().requests;
    let ended = run(&world, &["sync"]).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert_eq!(world.sim.truth().requests, before, "nothing was sent");
    assert!(ended.err.contains("the circuit is open"), "{ended:?}");
    assert!(ended.err.contains("reset the circuit"), "{ended:?}");

    let ended = run(&world, &["circuits", "reset", "pipe"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("no circuit is called \"pipe\": there is pipedrive"), "{ended:?}");
    let ended = run(&world, &["circuits", "reset", "pipedrive"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("pipedrive is reset"), "{ended:?}");
    let again = run(&world, &["circuits", "reset", "pipedrive"]).await;
    assert_eq!((again.code, &again.out), (Some(0), &ended.out), "it is still to be reset");
    let ended = run(&world, &["sync"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(circuit(&world).await["state"], "closed");
    assert_eq!(world.differences().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn circuits_of_classes_and_hosts_are_kept_shown_and_reset_each_by_name() {
    let world = World::new(config(20)).await;
    world.sim.set_faults(down()).unwrap();
    // Its one circuit is of another scope, and so forgotten by what follows.
    assert_eq!(run(&world, &["sync", "--quiet"]).await.code, Some(5));
    let scoped = async |args: &[&str]| {
        let mut program = world.pipedrive(args[0]);
        program.args(&args[1..]).envs(EAGER);
        program.env("PIPEDRIVE_CIRCUIT_BREAKER_SCOPE", "host_and_class");
        common::ended(program).await
    };
    let ended = scoped(&["sync"]).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let shown = || async {
        let ended = run(&world, &["circuits", "--json"]).await;
        let found: Value = serde_json::from_str(&ended.out).unwrap();
        let circuits = found["circuits"].as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        circuits.iter().map(|one| (text(&one["name"]), text(&one["state"]))).collect::<Vec<_>>()
    };
    let base = world.server.url().to_owned();
    let host = base.strip_prefix("http://").unwrap();
    let of = |class: &str| format!("pipedrive/{class}/{host}");
    let with_server = |state: &str| {
        ["body", "connection", "server", "timeout"]
            .map(|class| (of(class), if class == "server" { state } else { "closed" }.to_owned()))
    };
    assert_eq!(shown().await, with_server("open"));
    let text = run(&world, &["health"]).await.out;
    assert!(text.contains(&format!("circuit {}", of("server"))), "{text}");
    assert_eq!(part(&world, &format!("circuit {}", of("server"))).await.0, "unavailable");
    assert_eq!(part(&world, &format!("circuit {}", of("body"))).await.0, "healthy");

    world.sim.set_faults(Faults::none()).unwrap();
    let before = world.sim.truth().requests;
    let ended = scoped(&["sync"]).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert_eq!(world.sim.truth().requests, before, "nothing was sent");
    assert!(ended.err.contains(&of("server")), "the one that refuses is named: {ended:?}");
    // Another class's is none of its business.
    assert_eq!(run(&world, &["circuits", "reset", &of("body")]).await.code, Some(0));
    assert_eq!(scoped(&["sync"]).await.code, Some(5));
    assert_eq!(run(&world, &["circuits", "reset", &of("server")]).await.code, Some(0));
    let ended = scoped(&["sync"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(shown().await, with_server("closed"));
    assert_eq!(world.differences().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_reaches_a_sync_that_runs() {
    let world = World::new(config(400)).await;
    // The start goes well; then nothing does.
    let rule = "[[rules]]\nfrom = 2\nfault = \"error_503\"\n";
    world.sim.set_faults(Faults::from_toml(rule).unwrap()).unwrap();
    let mut program = world.pipedrive("sync");
    program.envs(EAGER);
    let sync = tokio::spawn(common::ended(program));
    let open = async {
        loop {
            if let Ok(mut reader) = Reader::open(&world.database()).await
                && let Ok(kept) = reader.circuits().await
                && kept.iter().any(|kept| kept.state == tower_circuit::State::Open)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), open).await.unwrap();
    world.sim.set_faults(Faults::none()).unwrap();
    assert_eq!(reset_circuits(&world.database(), None).await.unwrap(), ["pipedrive"]);
    let ended = tokio::time::timeout(Duration::from_secs(60), sync)
        .await
        .expect("five minutes are not waited for");
    assert_eq!(ended.unwrap().code, Some(0));
    assert_eq!(world.differences().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_before_there_were_circuits_is_read_and_brought_up_to_date() {
    let world = World::new(config(0)).await;
    Store::open(&world.database()).await.unwrap().close().await.unwrap();
    let mut conn = SqliteConnectOptions::new().filename(world.path()).connect().await.unwrap();
    let back = "DROP TABLE circuits; DROP TABLE circuit_resets; DROP TABLE retry_history; DROP TABLE health_samples; DROP TABLE quarantine; DROP TABLE failed_walks; DROP TABLE sweeps; DROP TABLE seen; ALTER TABLE runs DROP COLUMN options; PRAGMA user_version = 1";
    sqlx::raw_sql(back).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    assert_eq!(reset_circuits(&world.database(), None).await.unwrap(), [""; 0]);
    let ended = run(&world, &["circuits"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("no sync has said anything of its circuits yet"), "{ended:?}");
    let ended = run(&world, &["errors"]).await;
    assert!(ended.out.contains("no attempt failed"), "{ended:?}");
    assert_eq!(part(&world, "api").await.0, "unknown");
    let (state, reason, _) = part(&world, "copy").await;
    assert_eq!((state.as_str(), reason.as_str()), ("critical", "nothing has been copied yet"));
    let mut store = Store::open(&world.database()).await.unwrap();
    assert_eq!(store.circuits().await.unwrap().len(), 0);
    assert_eq!(store.take_resets().await.unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_told_afterwards_with_how_it_ended() {
    let world = World::new(config(40)).await;
    let rules = "[[rules]]\npath = \"/api/v2/deals\"\nnth = 1\nfault = \"error_500\"\n";
    world.sim.set_faults(Faults::from_toml(rules).unwrap()).unwrap();
    assert_eq!(run(&world, &["sync", "--entity", "deals", "--quiet"]).await.code, Some(0));
    let mut wrong = world.pipedrive("sync");
    wrong.args(["--quiet"]).env("PIPEDRIVE_API_TOKEN", "another");
    assert_eq!(common::ended(wrong).await.code, Some(3));
    let ended = run(&world, &["errors", "--last", "10m", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(found["failed"], 2, "{found}");
    assert_eq!((&found["recovered"], &found["lost"]), (&1.into(), &1.into()), "{found}");
    assert_eq!(found["recovered_with"]["2"], 1, "{found}");
    let of = |n: usize| found["endpoints"][n]["endpoint"].as_str();
    assert_eq!(
        (of(0), of(1)),
        (Some("GET /api/v1/users/me"), Some("GET /api/v2/deals")),
        "{found}"
    );
    let text = run(&world, &["errors"]).await.out;
    assert!(text.contains("2 attempts failed; 1 calls succeeded after that, 1 did not"), "{text}");
    assert!(text.contains("auth"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_meets_the_end_of_a_sync_is_not_undone_by_it() {
    let world = World::new(config(20)).await;
    let wall = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let circuit = tower_circuit::Circuit::builder("pipedrive").consecutive(1).build().unwrap();
    circuit.admit().unwrap().record(tower_circuit::Verdict::Down(Duration::from_secs(300)));
    let open = [circuit.snapshot(wall)];
    let mut store = Store::open(&world.database()).await.unwrap();
    store.note_circuits(&open).await.unwrap();
    assert_eq!(reset_circuits(&world.database(), None).await.unwrap(), ["pipedrive"]);
    // What the sync saw before it could hear of it.
    store.note_circuits(&open).await.unwrap();
    assert_eq!(circuit_states(&world).await, [""; 0]);
    store.close().await.unwrap();
    assert_eq!(run(&world, &["sync", "--quiet"]).await.code, Some(0));
    assert_eq!(circuit_states(&world).await, ["closed"]);
}

async fn circuit_states(world: &World) -> Vec<String> {
    let mut reader = Reader::open(&world.database()).await.unwrap();
    let kept = reader.circuits().await.unwrap();
    kept.iter().map(|kept| kept.state.to_string()).collect()
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_signal_breaks_off_says_nothing_of_the_api() {
    let world = World::new(config(100)).await;
    // Broken off at the first request, and in the middle of the walks.
    for from in [1, 3] {
        let rule = format!("[[rules]]\nfrom = {from}\nfault = \"hang\"\n");
        world.sim.set_faults(Faults::from_toml(&rule).unwrap()).unwrap();
        let before = world.sim.truth().requests;
        let mut program = world.pipedrive("sync");
        program.args(["--quiet", "--full"]).env("PIPEDRIVE_CIRCUIT_BREAKER_THRESHOLD", "1");
        program.env("PIPEDRIVE_CIRCUIT_BREAKER_FIRST_TIMEOUT", "300");
        let child = program.spawn().unwrap();
        while world.sim.truth().requests < before + from {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        assert_eq!(Ended::from(ended.await.unwrap()).code, Some(1));
        let (state, reason, _) = part(&world, "api").await;
        assert!(matches!(state.as_str(), "unknown" | "healthy"), "{state}: {reason}");
        world.sim.set_faults(Faults::none()).unwrap();
        let ended = run(&world, &["sync", "--quiet"]).await;
        assert_eq!(ended.code, Some(0), "{from}: {ended:?}");
    }
}
