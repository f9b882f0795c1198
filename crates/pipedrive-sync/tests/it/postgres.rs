//! PostgreSQL as the destination: the program's main paths, what only a server has, and a server that goes away.
#![allow(missing_docs)]

use crate::common;

use std::time::Duration;

use crate::common::{World, config, kit::Kit, server::PostgresServer};
use pipedrive_service::{Client, Config, Entity, ListQuery, Sources};
use pipedrive_sync::store::{Database, Reader, Store, StoreError};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn every_command_does_with_a_server_what_it_does_with_a_file() {
    let Some(kit) = Kit::schemas("the program on PostgreSQL") else { return };
    let place = kit.place();
    // The server trusts everybody; what is given as a password must show nowhere.
    let name = place.name.replace("postgres@", "postgres:hunter2@");
    let world = World::new(config(60)).await.with_database(&name);
    let no_database = world.run("status", &[]).await;
    assert_eq!(no_database.code, Some(2), "{no_database:?}");
    assert!(no_database.err.contains("run `pipedrive sync` first"), "{no_database:?}");
    let ended = world.run("sync", &["--plan"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let mut said = String::new();
    let first = ["--entity", "deals,leads", "--limit", "25", "--max-batch-size", "10", "--json"];
    for args in [&first[..], &["--json", "-v"]] {
        let ended = world.run("sync", args).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        said += &format!("{}{}", ended.out, ended.err);
    }
    assert_eq!(world.differences().await, Vec::<String>::new());
    for (command, args) in [
        ("status", &["--json"][..]),
        ("status", &[]),
        ("limits", &["--ask"]),
        ("limits", &["--json"]),
        ("circuits", &["--json"]),
        ("circuits", &["reset"]),
        ("errors", &[]),
        ("health", &[]),
        ("health-check", &["--probe"]),
        ("verify", &["--json", "--sample", "2"]),
        ("sync", &["--plan", "--json"]),
        ("config", &[]),
    ] {
        let ended = world.run(command, args).await;
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
        said += &format!("{}{}", ended.out, ended.err);
    }
    let help = world.run("sync", &["--help"]).await;
    said += &help.out;
    assert!(!said.contains("hunter2"), "{said}");
    assert!(said.contains("postgres://postgres@127.0.0.1"), "{said}");
    assert!(said.contains("company"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_brings_a_server_s_copy_up_to_date() {
    let Some(server) = PostgresServer::start("an update on PostgreSQL") else { return };
    let world = World::new(config(600)).await.with_database(&server.url());
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    assert_eq!(world.differences().await, Vec::<String>::new());
    let sources = Sources::new()
        .set("connection.base_url", world.server.url())
        .set("connection.api_token", world.sim.api_token());
    let api = Client::new(Config::load(&sources).unwrap()).unwrap();
    let list = async |entity| api.list(entity, ListQuery::new()).await.unwrap().rows;
    let deals = list(Entity::Deals).await;
    let id = |index: usize| deals[index].id.clone();
    api.update(Entity::Deals, id(3), &json!({"title": "changed"})).await.unwrap();
    api.delete(Entity::Deals, id(5)).await.unwrap();
    api.update(Entity::Deals, id(7), &json!({"is_archived": true})).await.unwrap();
    let stages = list(Entity::Stages).await;
    api.delete(Entity::Stages, stages[2].id.clone()).await.unwrap();
    let ended = world.run("sync", &["--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.differences().await, Vec::<String>::new());
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["walks"]["deals:deleted"]["rows"], json!(1));
    assert_eq!(report["walks"]["stages"]["removed"], json!(1));
    let mut reader = Reader::open(&world.database()).await.unwrap();
    assert_eq!(reader.counts().await.unwrap()["deals"].1, 1);
    assert_eq!(world.run("sync", &["--full", "--quiet"]).await.code, Some(0));
    assert_eq!(world.differences().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_schema_of_somebody_else_and_a_newer_one_are_refused_and_not_touched() {
    let Some(kit) = Kit::schemas("strange schemas on PostgreSQL") else { return };
    for (tables, what) in [
        ("CREATE TABLE theirs (x int)", "another program"),
        ("CREATE TABLE meta (x int)", "another program"),
        ("CREATE TABLE meta (key text, value text)", "another program"),
        (
            "CREATE TABLE meta (key text, value text);
             INSERT INTO meta VALUES ('application', 'pipedrive-sync')",
            "not known",
        ),
    ] {
        let place = kit.place();
        let schema = place.name.rsplit('=').next().unwrap();
        place.sql(&format!("CREATE SCHEMA {schema}; {tables}")).await;
        let error = Store::open(&place.database).await.unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(what) && !error.to_string().contains('\n'), "{error}");
        let read = Reader::open(&place.database).await;
        assert!(matches!(read, Err(StoreError::Foreign { .. })));
        // Nothing was added: what is theirs is all there is.
        place.sql("DO $$ BEGIN ASSERT (SELECT count(*) = 1 FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'); END $$").await;
    }
    let place = kit.place();
    Store::open(&place.database).await.unwrap().close().await.unwrap();
    place.sql("UPDATE meta SET value = '99' WHERE key = 'schema_version'").await;
    let error = Store::open(&place.database).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert!(matches!(Reader::open(&place.database).await, Err(StoreError::Newer { .. })));
}

#[tokio::test]
async fn who_may_not_is_told_so_and_an_empty_schema_is_enough() {
    let Some(kit) = Kit::schemas("rights on PostgreSQL") else { return };
    let ours = kit.place();
    ours.sql("CREATE ROLE clerk LOGIN; CREATE SCHEMA given; GRANT ALL ON SCHEMA given TO clerk")
        .await;
    let as_clerk = |schema: &str| -> Database {
        let url = ours.name.replace("postgres@", "clerk:hunter2@");
        format!("{}={schema}", url.rsplit_once('=').unwrap().0).parse().unwrap()
    };
    let error = Store::open(&as_clerk("not_given")).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    Store::open(&as_clerk("given")).await.unwrap().close().await.unwrap();
    Reader::open(&as_clerk("given")).await.unwrap();
    // And what the clerk may not even look at.
    Store::open(&ours.database).await.unwrap().close().await.unwrap();
    let schema = ours.name.rsplit('=').next().unwrap();
    let error = Reader::open(&as_clerk(schema)).await.unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. } | StoreError::Refused { .. }), "{error:?}");

    let missing: Database = ours.name.replace("/postgres?", "/nowhere?").parse().unwrap();
    let error = Store::open(&missing).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    drop(kit);
    let error = Store::open(&ours.database).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }) && error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_under_a_sync_and_stays_away_loses_nothing() {
    let Some(mut server) = PostgresServer::start("a crash of PostgreSQL") else { return };
    let url = server.url().replace("postgres@", "postgres:hunter2@") + "?reconnect=1";
    let mut slow = config(300);
    slow.faults.latency_before_ms = [5, 10];
    let world = World::new(slow).await.with_database(&url);
    for _ in 0..2 {
        let mut program = world.pipedrive("sync");
        program.args(["--max-batch-size", "10", "--quiet"]);
        let running = tokio::spawn(common::ended(program));
        let asked = world.sim.truth().requests;
        while world.sim.truth().requests < asked + 60 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.crash();
        let ended = running.await.unwrap();
        assert_eq!(ended.code, Some(5), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(ended.err.contains("connection to the database was lost"), "{ended:?}");
        assert!(!ended.err.contains("hunter2"));
        // While it is down, the next run says so at once, and sends nothing.
        let asked = world.sim.truth().requests;
        let ended = world.run("sync", &[]).await;
        assert_eq!(ended.code, Some(5), "{ended:?}");
        assert!(ended.err.contains("cannot be reached"), "{ended:?}");
        assert_eq!(world.sim.truth().requests, asked);
        server.run();
    }
    let ended = world.run("sync", &["--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    world.is_whole_and_counted_once().await;
}
