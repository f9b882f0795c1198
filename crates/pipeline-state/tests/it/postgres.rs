//! What only a server can do to us: go away in the middle of a transaction, come back, refuse.
#![allow(missing_docs)]

use std::{collections::HashSet, time::Duration};

use crate::support::{Clock, Kit as _, PHASES, Postgres, filled, quiet, server::PostgresServer};
use pipeline_state::{
    AnyStore, Pipeline, PipelineConfig, PostgresStore, SCHEMA_VERSION, StateError, StateTracker,
};
use sqlx::{AssertSqlSafe, Executor as _, PgPool, postgres::PgPoolOptions};
use tokio::task::JoinSet;

async fn wait_until(pool: &PgPool, sql: &'static str) {
    for _ in 0..400 {
        if sqlx::query_scalar::<_, bool>(sql).fetch_one(pool).await.unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {sql}");
}

#[tokio::test]
async fn a_connection_that_is_lost_in_mid_transaction_loses_nothing() {
    let Some(server) = PostgresServer::start("a lost connection") else { return };
    let kit = Postgres::new(&server.url()).await;
    let pipeline = filled(&kit, &Clock::new(), 6).await;
    let items = pipeline.claim("search", 6).await.unwrap().items;
    let before = pipeline.progress().await.unwrap();
    let id = pipeline.id();
    for (at, table) in ["pipeline_runs", "pipeline_state", "pipeline_phases"].iter().enumerate() {
        // Somebody holds the rows, so the update stands in the middle of its statements.
        let mut other = kit.pool.begin().await.unwrap();
        let lock = match *table {
            "pipeline_runs" => format!("SELECT id FROM {table} WHERE id = {id} FOR UPDATE"),
            "pipeline_state" => {
                format!("SELECT id FROM {table} WHERE id = {} FOR UPDATE", items[2 * at].id)
            }
            _ => format!("SELECT id FROM {table} WHERE pipeline = {id} FOR UPDATE"),
        };
        other.execute(AssertSqlSafe(lock)).await.unwrap();
        let updates = [
            items[2 * at].completed().produces("domains", [format!("{at}.org")]),
            items[2 * at + 1].failed("net", "no"),
        ];
        let updating = {
            let (pipeline, updates) = (pipeline.clone(), updates.clone());
            tokio::spawn(async move {
                pipeline.update_with_checkpoint(&updates, "page", Some(b"cursor")).await
            })
        };
        wait_until(
            &kit.pool,
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'pipeline-state'",
        )
        .await;
        kit.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'pipeline-state'",
        )
        .await;
        let error = updating.await.unwrap().unwrap_err();
        assert!(matches!(error, StateError::Unreachable(_)) && error.is_transient(), "{error:?}");
        other.rollback().await.unwrap();
        if at == 0 {
            assert_eq!(pipeline.progress().await.unwrap(), before);
        }
        assert_eq!(pipeline.checkpoints().await.unwrap().len(), at);
        // Said again, it is there once.
        let again =
            pipeline.update_with_checkpoint(&updates, "page", Some(b"cursor")).await.unwrap();
        assert_eq!((again.applied, again.produced), (2, 1), "{table}");
    }
    let counts = pipeline.progress().await.unwrap();
    assert_eq!(
        counts.phase("search").map(|c| (c.completed, c.failed, c.processing)),
        Some((3, 3, 0))
    );
    assert_eq!(counts.phase("domains").map(|c| c.pending), Some(3));
}

/// Works until nothing is left, saying again whatever was not heard.
async fn work(pipeline: Pipeline<PostgresStore>) -> Vec<String> {
    let mut done = Vec::new();
    for phase in ["search", "domains"] {
        loop {
            let claim = match pipeline.claim(phase, 5).await {
                Ok(claim) => claim,
                Err(error) if error.is_transient() => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                Err(error) => panic!("{error:?}"),
            };
            if claim.items.is_empty() {
                let counts = pipeline.progress().await.map(|p| p.phase(phase).unwrap());
                if counts.is_ok_and(|counts| counts.is_finished()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            let updates: Vec<_> = claim
                .items
                .iter()
                .map(|item| match phase {
                    "search" => {
                        item.completed().produces("domains", [format!("{}.org", item.name)])
                    }
                    _ => item.completed(),
                })
                .collect();
            loop {
                match pipeline.update(&updates).await {
                    Ok(settled) => {
                        let stale: HashSet<_> = settled.stale.into_iter().collect();
                        let ours = claim.items.iter().filter(|item| !stale.contains(&item.id));
                        done.extend(ours.map(|item| item.name.clone()));
                        break;
                    }
                    Err(error) if error.is_transient() => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    }
    done
}

#[tokio::test]
async fn a_server_that_crashes_again_and_again_loses_and_repeats_nothing() {
    let Some(mut server) = PostgresServer::start("a server that crashes") else { return };
    let store = PostgresStore::open(&server.url()).await.unwrap();
    let config = quiet().lease(Duration::from_millis(300)).max_lost_leases(100);
    let tracker = StateTracker::new(store, config.build().unwrap());
    let pipeline = tracker.initialize("storm", &PHASES).await.unwrap();
    let names: Vec<_> = (0..300).map(|item| item.to_string()).collect();
    pipeline.add("search", &names).await.unwrap();
    let mut workers = JoinSet::new();
    for _ in 0..4 {
        workers.spawn(work(pipeline.clone()));
    }
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(60 + 30 * round)).await;
        server.crash();
        server.run();
    }
    let told = tokio::time::timeout(Duration::from_secs(60), workers.join_all()).await;
    let told: Vec<_> = told.expect("an item is stuck").into_iter().flatten().collect();
    let progress = pipeline.progress().await.unwrap();
    assert_eq!(progress.phase("search").unwrap().completed, 300);
    assert_eq!(progress.phase("domains").unwrap().completed, 300);
    assert_eq!(progress.whole().total(), 600);
    // What a worker was told was written was written once. (A commit whose answer was lost is told
    // to nobody.)
    assert_eq!(told.iter().collect::<HashSet<_>>().len(), told.len());
    let (_, resumed) = tracker.resume(pipeline.id(), &Default::default()).await.unwrap();
    assert!(resumed.recounted.is_empty(), "{resumed:?}");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_as_what_it_is() {
    let Some(server) = PostgresServer::start("refusals") else { return };
    let kit = Postgres::new(&server.url()).await;
    let pipeline = filled(&kit, &Clock::new(), 3).await;
    let items = pipeline.claim("search", 1).await.unwrap().items;
    let before = pipeline.progress().await.unwrap();

    // Full: the server says so at the last statement of the batch.
    kit.sql("CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$").await;
    kit.sql("CREATE TRIGGER no_space BEFORE INSERT ON pipeline_checkpoints FOR EACH ROW EXECUTE FUNCTION no_space()").await;
    let update = [items[0].completed().produces("domains", ["a"])];
    let error = pipeline.update_with_checkpoint(&update, "page", None).await.unwrap_err();
    assert!(matches!(error, StateError::Full(_)), "{error:?}");
    assert_eq!(pipeline.progress().await.unwrap(), before);
    kit.sql("DROP TRIGGER no_space ON pipeline_checkpoints").await;

    // Locked.
    let mut other = kit.pool.begin().await.unwrap();
    let lock = format!("SELECT id FROM pipeline_runs WHERE id = {} FOR UPDATE", pipeline.id());
    other.execute(AssertSqlSafe(lock)).await.unwrap();
    let hasty = PgPoolOptions::new().after_connect(|conn, _| {
        Box::pin(async move { conn.execute("SET lock_timeout = '20ms'").await.map(|_| ()) })
    });
    let hasty =
        PostgresStore::with_pool(hasty.connect(&server.url()).await.unwrap()).await.unwrap();
    let hasty =
        StateTracker::new(hasty, PipelineConfig::default()).join(pipeline.id()).await.unwrap();
    let error = hasty.claim("search", 1).await.unwrap_err();
    assert!(matches!(error, StateError::Busy(_)) && error.is_transient(), "{error:?}");
    // Reading waits for nobody, and others' pipelines neither.
    assert_eq!(hasty.progress().await.unwrap(), before);
    filled(&kit, &Clock::new(), 1).await;
    other.rollback().await.unwrap();
    assert_eq!(hasty.claim("search", 1).await.unwrap().items.len(), 1);

    // Read only.
    kit.sql("CREATE ROLE reader LOGIN").await;
    kit.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader").await;
    let reader = PostgresStore::open(&server.url().replace("postgres@", "reader@")).await.unwrap();
    let reader = StateTracker::new(reader, PipelineConfig::default());
    let error = reader.initialize("mine", &PHASES).await.unwrap_err();
    assert!(matches!(error, StateError::ReadOnly(_)), "{error:?}");
    assert!(reader.join(pipeline.id()).await.unwrap().progress().await.is_ok());

    // Newer.
    kit.sql(&format!("UPDATE pipeline_schema SET version = {}", SCHEMA_VERSION + 1)).await;
    let error = AnyStore::open(&server.url()).await.unwrap_err();
    assert!(matches!(error, StateError::Newer { .. }), "{error:?}");

    // Not there at all.
    let url = server.url().replace("postgres@", "postgres:secret@");
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_millis(200));
    let pool = pool.connect_lazy(&url).unwrap();
    drop(server);
    let error = PostgresStore::with_pool(pool).await.unwrap_err();
    assert!(matches!(error, StateError::Unreachable(_)) && error.is_transient(), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn tables_are_made_once_and_in_the_schema_that_was_asked_for() {
    let Some(server) = PostgresServer::start("schemas") else { return };
    let url = server.url();
    let opened: JoinSet<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            async move { AnyStore::open(&url).await }
        })
        .collect();
    for store in opened.join_all().await {
        store.unwrap();
    }
    let kit = Postgres::new(&url).await;
    let pipeline = filled(&kit, &Clock::new(), 1).await;
    kit.sql("CREATE SCHEMA other").await;
    let store =
        PostgresStore::open(&format!("{url}?options=-c%20search_path%3Dother")).await.unwrap();
    let tracker = StateTracker::new(store, PipelineConfig::default());
    assert!(tracker.pipelines(None, 9).await.unwrap().is_empty());
    assert!(matches!(tracker.join(pipeline.id()).await, Err(StateError::NoPipeline(_))));
    // Leases run by the server's clock.
    let now = pipeline_state::Store::now(&kit.store).await.unwrap();
    let sql = "SELECT abs(extract(epoch FROM clock_timestamp()) * 1000000 - $1) < 5000000";
    let close: bool =
        sqlx::query_scalar(sql).bind(now.as_microsecond()).fetch_one(&kit.pool).await.unwrap();
    assert!(close, "{now}");
}
