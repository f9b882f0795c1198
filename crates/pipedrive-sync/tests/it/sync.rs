//! The program against a simulated account: going on, bringing up to date, ending cleanly, and what it says.
#![allow(missing_docs)]

use crate::common;

use std::{
    io::{BufRead as _, BufReader},
    process::Command,
};

use crate::common::{World, client, config};
use pipedrive_service::Entity;
use pipedrive_sync::store::{Reader, Store};
use saas_sim::pipedrive::{FaultKind, Faults, Rule, SimConfig};
use serde_json::{Value, json};

async fn counts(world: &World) -> pipedrive_sync::store::Counts {
    Reader::open(&world.database()).await.unwrap().counts().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_stops_each_entity_and_the_next_run_goes_on_from_there() {
    let world = World::new(config(60)).await;
    let ended = world
        .run(
            "sync",
            &["--entity", "deals,notes,users", "--limit", "25", "--max-batch-size", "10", "--json"],
        )
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (report["rows"]["deals"].clone(), report["rows"]["notes"].clone()),
        (json!(25), json!(25))
    );
    assert_eq!(report["walks"]["deals"]["done"], json!(false));

    let ended = world
        .run("sync", &["--entity", "deals,notes,users", "--max-batch-size", "10", "--json"])
        .await;
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let account = world.sim.digest(saas_sim::pipedrive::Entity::Deals).rows;
    assert_eq!(report["rows"]["deals"], json!(account));
    assert_eq!(report["walks"]["deals"]["rows"], json!(account - 25), "nothing was read again");
    assert!(
        report["walks"].get("users").is_none(),
        "users were complete in the run that was cut short"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_brings_the_copy_up_to_date_by_what_has_changed() {
    let world = World::new(config(600)).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    assert_eq!(world.differences().await, Vec::<String>::new());

    let api = client(&world);
    let ids = |entity: Entity| {
        let api = api.clone();
        async move {
            api.list(entity, pipedrive_service::ListQuery::new())
                .await
                .unwrap()
                .rows
                .into_iter()
                .map(|row| row.id)
                .collect::<Vec<_>>()
        }
    };
    let deals = ids(Entity::Deals).await;
    api.update(Entity::Deals, deals[3].clone(), &json!({"title": "changed"})).await.unwrap();
    api.delete(Entity::Deals, deals[5].clone()).await.unwrap();
    api.update(Entity::Deals, deals[7].clone(), &json!({"is_archived": true})).await.unwrap();
    api.create(Entity::Persons, &json!({"name": "Someone New"})).await.unwrap();
    let stages = ids(Entity::Stages).await;
    api.delete(Entity::Stages, stages[2].clone()).await.unwrap();

    let before = world.sim.truth().log.len();
    let ended = world.run("sync", &["--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.differences().await, Vec::<String>::new());
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["walks"]["deals:deleted"]["rows"], json!(1));
    assert_eq!(report["walks"]["stages"]["removed"], json!(1));
    assert!(
        report["walks"]["deals"]["rows"].as_u64().unwrap() < 10,
        "only what has changed: {report}"
    );
    assert_eq!(counts(&world).await["deals"].1, 1, "the deleted deal is kept, and marked");
    let log = &world.sim.truth().log[before..];
    let asked = log.iter().filter(|entry| entry.target.contains("/v2/deals?")).collect::<Vec<_>>();
    assert!(asked.iter().all(|entry| entry.target.contains("updated_since=")), "{asked:?}");

    // A full run finds the same, and leaves alone what is held as it came.
    let ended = world.run("sync", &["--full", "--json"]).await;
    assert_eq!(world.differences().await, Vec::<String>::new());
    assert_eq!(counts(&world).await["deals"].1, 0);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    for (name, walk) in report["walks"].as_object().unwrap() {
        assert_eq!(walk["unchanged"], walk["rows"], "{name}");
    }
    assert!(report["walks"]["deals"]["rows"].as_u64().unwrap() > 500, "{report}");
    let text = world.run("sync", &["--full"]).await.out;
    assert!(text.contains("in this run 0 written, "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fails_finally_is_asked_again_while_the_others_go_on() {
    let rule = Rule {
        path: Some("/api/v2/persons".into()),
        from: Some(3),
        to: Some(4),
        fault: Some(FaultKind::Error500),
        ..Rule::default()
    };
    let faults = Faults { rules: vec![rule], ..Faults::none() };
    let world = World::new(SimConfig { faults, ..config(100) }).await;
    let mut program = world.pipedrive("sync");
    program.args(["--json", "--max-batch-size", "10"]).env("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0");
    let ended = common::ended(program).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["pages"]["failed"], json!(2), "{report}");
    assert!(ended.err.contains("persons: asked again in"), "{}", ended.err);
    assert_eq!(world.differences().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_ends_in_the_middle_says_when_it_can_go_on_and_keeps_what_it_has() {
    let world = World::new(SimConfig { day_tokens: Some(700), ..config(400) }).await;
    let ended = world.run("sync", &["--across-days", "--quiet", "--max-batch-size", "10"]).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("it can go on at"), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    assert_eq!(
        world.sim.truth().refusals.day,
        0,
        "the limiter knew before the server had to say it"
    );
    // How many rows 700 tokens bring depends on which lists get them: a page of version 1 costs twice as much.
    assert!(counts(&world).await.values().map(|(rows, _)| rows).sum::<u64>() > 150);
    // Without --across-days it says so before anything is spent on the plan.
    let world = World::new(SimConfig { day_tokens: Some(700), ..config(400) }).await;
    assert_eq!(world.run("sync", &["--quiet", "--max-batch-size", "10"]).await.code, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_syncs_on_one_database_are_refused() {
    let world = World::new(config(20)).await;
    let held = Store::open(&world.database()).await.unwrap();
    for command in ["sync", "verify"] {
        let ended = world.run(command, &["--quiet"]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("another sync"), "{}", ended.err);
    }
    assert_eq!(world.sim.truth().requests, 0);
    drop(held);
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_cleanly_and_the_next_run_goes_on() {
    for signal in ["-INT", "-TERM"] {
        let mut faults = Faults::none();
        faults.latency_after_ms = [20, 20];
        let world = World::new(SimConfig { faults, ..config(300) }).await;
        let mut program = world.pipedrive("sync");
        program.args(["--progress", "json", "--quiet", "--max-batch-size", "10"]);
        let ended = tokio::task::spawn_blocking(move || {
            let mut child = program.spawn().unwrap();
            let out = child.stdout.take().unwrap();
            let mut commits = 0;
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                commits += u32::from(line.contains("\"committed\""));
                if commits == 5 {
                    commits += 1;
                    Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
                }
            }
            common::Ended::from(child.wait_with_output().unwrap())
        })
        .await
        .unwrap();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(
            ended.err.trim(),
            "pipedrive: interrupted; what was committed stays, and the same command goes on from there"
        );
        let runs = Reader::open(&world.database()).await.unwrap().runs(1).await.unwrap();
        assert_eq!(runs[0].exit_code, Some(1), "the end was noted");
        assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
        assert_eq!(world.differences().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_verify_and_health_check_tell_what_is() {
    let world = World::new(config(60)).await;
    let ended = world.run("health-check", &[]).await;
    assert_eq!(ended.code, Some(2), "no database yet: {ended:?}");
    assert_eq!(world.run("sync", &["--limit", "10", "--quiet"]).await.code, Some(0));
    let ended = world.run("health-check", &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("not every entity is complete"), "{}", ended.err);
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));

    // A walk that is under way counts by the one before it.
    assert_eq!(
        world.run("sync", &["--full", "--limit", "1", "--entity", "persons", "--quiet"]).await.code,
        Some(0)
    );
    let ended = world.run("health-check", &["--probe", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(serde_json::from_str::<Value>(&ended.out).unwrap()["healthy"], json!(true));
    let ended = world.run("health-check", &["--max-age", "0s"]).await;
    assert!(matches!(ended.code, Some(0 | 1)));

    let ended = world.run("status", &["--json"]).await;
    let status: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(status["walks"].as_array().unwrap().len(), 21);
    assert!(status["budget"]["leased"].as_u64().unwrap() >= world.sim.truth().day.used);
    assert!(world.run("status", &[]).await.out.contains("archived_deals"));

    let before = world.sim.truth().day.used;
    let ended = world.run("verify", &["--json", "--sample", "3"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let verified: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(verified["equal"], json!(true));
    assert_eq!(
        verified["tokens_planned"].as_u64().unwrap(),
        world.sim.truth().day.used - before,
        "the price was the planned one"
    );
    assert!(ended.err.contains("will cost about"), "{}", ended.err);

    let api = client(&world);
    let deals = api.list(Entity::Deals, pipedrive_service::ListQuery::new()).await.unwrap();
    api.update(Entity::Deals, deals.rows[0].id.clone(), &json!({"title": "changed"}))
        .await
        .unwrap();
    let ended = world.run("verify", &["--quiet", "--entity", "deals"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("differs"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_with_its_sources_and_without_secrets() {
    let world = World::new(config(20)).await;
    let mut program = world.pipedrive("config");
    program.env("PIPEDRIVE_REQUEST_TIMEOUT", "7");
    let ended = common::ended(program).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("request_timeout = 7s  (variable PIPEDRIVE_REQUEST_TIMEOUT)"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("api_token = (secret)"));
    assert!(!ended.out.contains(&world.sim.api_token()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_nowhere_in_all_that_a_sync_prints_and_writes() {
    let world = World::new(SimConfig { faults: Faults::default_mix(), ..config(60) }).await;
    let token = world.sim.api_token();
    for command in
        ["sync", "verify", "status", "config", "health-check", "limits --ask", "sync --plan"]
    {
        let mut words = command.split(' ');
        let mut program = world.pipedrive(words.next().unwrap());
        program.args(words).env("RUST_LOG", "trace").arg("-vv");
        let ended = common::ended(program).await;
        assert_eq!(
            ended.code,
            Some(0),
            "{command}: {}",
            &ended.err[ended.err.len().saturating_sub(300)..]
        );
        assert!(
            !ended.out.contains(&token) && !ended.err.contains(&token),
            "{command} shows the token"
        );
        if command == "sync" {
            assert!(ended.err.lines().count() > 100, "trace is on");
        }
    }
    for entry in std::fs::read_dir(world.dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_company_is_refused() {
    let world = World::new(config(20)).await;
    Store::open(&world.database()).await.unwrap().claim("another").await.unwrap();
    let ended = world.run("sync", &["--quiet"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("company another"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_ends_the_run_and_keeps_what_was_read() {
    let expire = Some(saas_sim::pipedrive::Expire { after_requests: Some(30), after_ms: None });
    let world =
        World::new(SimConfig { faults: Faults { expire, ..Faults::none() }, ..config(300) }).await;
    let ended = world.run("sync", &["--quiet", "--max-batch-size", "10"]).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    world.sim.set_faults(Faults::none()).unwrap();
    world.sim.set_api_token(world.sim.api_token());
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    assert_eq!(world.differences().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_proves_equality_and_says_so() {
    let mut program = common::pipedrive();
    program.args([
        "demo",
        "--records",
        "1500",
        "--faults",
        "storm",
        "--seed",
        "3",
        "--json",
        "--progress",
        "none",
    ]);
    let ended = common::ended(program).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["equal"], json!(true));
    assert_eq!(report["refusals_caused"], json!(0));
    assert!(report["rows_in_all"].as_u64().unwrap() >= 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ban_of_the_edge_is_told_apart_and_nothing_is_sent_while_it_lasts() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let edge =
        saas_sim::pipedrive::Edge { enabled: true, refusals: 3, within_s: 60, block_s: 3600 };
    let world = World::new(SimConfig { edge, burst: Some(5), ..config(20) }).await;
    // Another program abuses the token until the edge has had enough.
    for _ in 0..10 {
        let mut stream = tokio::net::TcpStream::connect(world.server.addr()).await.unwrap();
        let request = format!(
            "GET /api/v1/users/me HTTP/1.1\r\nhost: x\r\nx-api-token: {}\r\nconnection: close\r\n\r\n",
            world.sim.api_token()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
    let before = world.sim.truth().requests;
    let ended = world.run("sync", &["--quiet"]).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.err.contains("blocked"), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    assert_eq!(world.sim.truth().requests, before + 1, "asked once, and not again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_leased_counts_as_spent_until_the_server_says_otherwise() {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    for server_tells in [false, true] {
        let world = World::new(SimConfig { token_headers: server_tells, ..config(20) }).await;
        let mut store = Store::open(&world.database()).await.unwrap();
        store.lease(&today, 149_900, Some(150_000)).await.unwrap();
        store.close().await.unwrap();
        let mut program = world.pipedrive("sync");
        program.arg("--quiet").env("PIPEDRIVE_PLAN", "premium").env("PIPEDRIVE_SEATS", "1");
        let ended = common::ended(program).await;
        if server_tells {
            assert_eq!(ended.code, Some(0), "{ended:?}");
        } else {
            assert_eq!(ended.code, Some(4), "{ended:?}");
            assert!(ended.err.contains("98 of 150000 tokens are left today"), "{}", ended.err);
            assert!(ended.err.contains("it can go on at"), "{}", ended.err);
            assert_eq!(world.sim.truth().requests, 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_that_the_server_told_is_known_at_the_next_start() {
    // 60,000 a day, of which 12,000 are spent: more than the 10,000 that are assumed of an unknown account.
    let world = World::new(SimConfig { day_tokens: Some(60_000), ..config(20) }).await;
    world.sim.spend_elsewhere(12_000);
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let ended = world.run("sync", &["--quiet"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_in_the_middle_is_one_line_and_keeps_what_it_has() {
    // A small day means small leases: walks are waiting for tokens when the writer ends, and must end too.
    let world = World::new(SimConfig { day_tokens: Some(20_000), ..config(200) }).await;
    Store::open(&world.database()).await.unwrap().close().await.unwrap();
    let sql = "CREATE TRIGGER full BEFORE INSERT ON notes BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    let mut conn = sqlx::ConnectOptions::connect(
        &sqlx::sqlite::SqliteConnectOptions::new().filename(world.path()),
    )
    .await
    .unwrap();
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    sqlx::Connection::close(conn).await.unwrap();
    let ended = world.run("sync", &["--quiet", "--max-batch-size", "10"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    assert!(ended.err.contains("the disk is full"), "{}", ended.err);
    let walks = Reader::open(&world.database()).await.unwrap().walks().await.unwrap();
    let notes = walks.iter().find(|walk| walk.walk == "notes").unwrap();
    assert_eq!((notes.pages, notes.rows, &notes.done_at), (0, 0, &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_api_knows_no_longer_begins_the_walk_again() {
    let world = World::new(config(60)).await;
    assert_eq!(
        world.run("sync", &["--entity", "deals", "--limit", "10", "--quiet"]).await.code,
        Some(0)
    );
    let mut conn = sqlx::ConnectOptions::connect(
        &sqlx::sqlite::SqliteConnectOptions::new().filename(world.path()),
    )
    .await
    .unwrap();
    sqlx::raw_sql("UPDATE sync_state SET position = 'cursor:gone'")
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::Connection::close(conn).await.unwrap();
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    assert_eq!(world.differences().await, Vec::<String>::new());
}
