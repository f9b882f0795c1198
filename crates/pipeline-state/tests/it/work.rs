//! A worker that claims, works on several items at once and writes, on SQLite and real time.
#![allow(missing_docs)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::support::{Kit as _, PHASES, Sqlite, quiet};
use pipeline_state::{
    Counts, MAX_BATCH, Pipeline, PipelineConfig, PipelineConfigBuilder, SqliteStore, StateError,
    StateTracker, WorkOptions,
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

const MS: Duration = Duration::from_millis(1);

async fn pipeline(
    kit: &Sqlite,
    config: PipelineConfigBuilder,
    items: usize,
) -> Pipeline<SqliteStore> {
    let tracker = StateTracker::new(kit.store(), config.build().unwrap());
    let pipeline = tracker.initialize("work", &PHASES).await.unwrap();
    let names: Vec<_> = (0..items).map(|item| item.to_string()).collect();
    pipeline.add("search", &names).await.unwrap();
    pipeline
}

#[tokio::test]
async fn so_many_items_are_in_work_at_once_and_no_more() {
    let kit = Sqlite::new().await;
    let pipeline = pipeline(&kit, quiet(), 200).await;
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let options = WorkOptions { concurrency: 7, batch: 30, ..WorkOptions::default() };
    let worked = pipeline
        .work("search", options, async |item| {
            most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Relaxed);
            match item.name.parse::<u32>().unwrap() % 4 {
                0 => item.failed("net", "no"),
                1 => item.skipped(),
                _ => item.completed().produces("domains", [item.name.clone()]),
            }
        })
        .await
        .unwrap();
    assert_eq!(most.into_inner(), 7);
    assert_eq!((worked.applied, worked.stale, worked.produced), (200, 0, 100));
    let counts = pipeline.progress().await.unwrap().phase("search").unwrap();
    let expected = Counts { completed: 100, failed: 50, skipped: 50, ..Counts::default() };
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn updates_are_written_in_batches_and_none_waits_long() {
    let kit = Sqlite::new().await;
    // Each transaction that settles something makes a checkpoint.
    let config = PipelineConfig::builder().checkpoint_interval(1);
    let pipeline = pipeline(&kit, config, 60).await;
    let options = WorkOptions { concurrency: 4, batch: 30, ..WorkOptions::default() };
    pipeline.work("search", options, async |item| item.completed()).await.unwrap();
    let made = pipeline.read_checkpoint(None).await.unwrap().unwrap().seq;
    assert!((2..=8).contains(&made), "60 items in {made} transactions");

    // A slow one does not keep the finished from being written.
    pipeline.add("company", &["slow", "quick"]).await.unwrap();
    let options = WorkOptions { linger: 20 * MS, ..options };
    let seen = Arc::new(Notify::new());
    let slow = async {
        let work = async |item: pipeline_state::Item| {
            if item.name == "slow" {
                seen.notified().await;
            }
            item.completed()
        };
        pipeline.work("company", options, work).await.unwrap()
    };
    let look = async {
        while pipeline.progress().await.unwrap().phase("company").unwrap().completed == 0 {
            sleep(MS).await;
        }
        seen.notify_one();
    };
    let (worked, ()) = tokio::join!(slow, look);
    assert_eq!(worked.applied, 2);
}

#[tokio::test]
async fn work_that_outlasts_its_lease_is_not_given_to_others() {
    let kit = Sqlite::new().await;
    let config = quiet().lease(60 * MS);
    let pipeline = pipeline(&kit, config.clone(), 4).await;
    let tries = AtomicUsize::new(0);
    let work = || {
        pipeline.work(
            "search",
            WorkOptions { concurrency: 1, ..WorkOptions::default() },
            async |item| {
                tries.fetch_add(1, Relaxed);
                sleep(100 * MS).await;
                item.completed()
            },
        )
    };
    let (one, two) = tokio::join!(work(), work());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.applied + two.applied, one.stale + two.stale), (4, 0));
    assert_eq!(tries.into_inner(), 4);
}

#[tokio::test]
async fn groups_are_as_large_as_asked_and_so_many_at_once() {
    let kit = Sqlite::new().await;
    let pipeline = pipeline(&kit, quiet(), 110).await;
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let sizes = Mutex::new(Vec::new());
    let options = WorkOptions { concurrency: 2, batch: 50, ..WorkOptions::default() };
    let worked = pipeline
        .work_in_groups("search", options, 20, async |items| {
            sizes.lock().unwrap().push(items.len());
            most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
            sleep(MS).await;
            now.fetch_sub(1, Relaxed);
            items.iter().map(|item| item.completed().produces("domains", [&*item.name])).collect()
        })
        .await
        .unwrap();
    assert_eq!((worked.applied, worked.stale, worked.produced), (110, 0, 110));
    assert_eq!(most.into_inner(), 2);
    // A claim of 50 is cut into 20, 20 and 10.
    let mut sizes = sizes.into_inner().unwrap();
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 10, 10, 20, 20, 20, 20]);
}

#[tokio::test]
async fn an_item_that_a_group_says_nothing_of_has_failed_and_is_not_stuck() {
    let kit = Sqlite::new().await;
    let pipeline = pipeline(&kit, quiet(), 6).await;
    let working = pipeline.work_in_groups("search", WorkOptions::default(), 3, async |items| {
        vec![items[0].completed(), items[1].skipped()]
    });
    let worked = timeout(20_000 * MS, working).await.expect("not stuck").unwrap();
    assert_eq!((worked.applied, worked.stale), (6, 0));
    let counts = pipeline.progress().await.unwrap().phase("search").unwrap();
    assert_eq!((counts.completed, counts.skipped, counts.failed), (2, 2, 2));
    assert_eq!(pipeline.failures().await.unwrap(), [("no_update".to_owned(), 2)]);
}

#[tokio::test]
async fn an_item_alone_in_its_group_of_which_nothing_is_said_has_failed() {
    let kit = Sqlite::new().await;
    let pipeline = pipeline(&kit, quiet(), 2).await;
    let work = async |_: Vec<pipeline_state::Item>| Vec::new();
    let working = pipeline.work_in_groups("search", WorkOptions::default(), 1, work);
    let worked = timeout(20_000 * MS, working).await.expect("not stuck").unwrap();
    assert_eq!((worked.applied, worked.stale), (2, 0));
    assert_eq!(pipeline.failures().await.unwrap(), [("no_update".to_owned(), 2)]);
}

#[tokio::test]
async fn a_group_that_outlasts_its_lease_is_not_given_to_others() {
    let kit = Sqlite::new().await;
    let pipeline = pipeline(&kit, quiet().lease(60 * MS), 4).await;
    let work = || {
        pipeline.work_in_groups("search", WorkOptions::default(), 4, async |items| {
            sleep(200 * MS).await;
            items.iter().map(|item| item.completed()).collect()
        })
    };
    let (one, two) = tokio::join!(work(), work());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.applied + two.applied, one.stale + two.stale), (4, 0));
}

#[tokio::test]
async fn a_group_of_none_or_larger_than_a_batch_is_refused() {
    let kit = Sqlite::new().await;
    let pipeline = pipeline(&kit, quiet(), 1).await;
    for size in [0, 101] {
        let work = async |_: Vec<pipeline_state::Item>| Vec::new();
        let error = pipeline
            .work_in_groups("search", WorkOptions::default(), size, work)
            .await
            .unwrap_err();
        assert!(matches!(error, StateError::Input { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_worker_stays_until_what_a_dead_one_held_is_done() {
    let kit = Sqlite::new().await;
    let pipeline = pipeline(&kit, quiet().lease(80 * MS), 5).await;
    let dead = pipeline.claim("search", 3).await.unwrap();
    let worked = pipeline
        .work("search", WorkOptions::default(), async |item| item.completed())
        .await
        .unwrap();
    assert_eq!(worked.applied, 5);
    assert_eq!(pipeline.update(&[dead.items[0].skipped()]).await.unwrap().stale.len(), 1);
}

#[tokio::test]
async fn what_work_adds_to_its_own_phase_is_done_as_well() {
    let kit = Sqlite::new().await;
    let pipeline = pipeline(&kit, quiet(), 1).await;
    let worked = pipeline
        .work("search", WorkOptions::default(), async |item| {
            let next = item.name.parse::<u32>().unwrap() + 1;
            item.completed().produces("search", (next < 50).then(|| next.to_string()))
        })
        .await
        .unwrap();
    assert_eq!((worked.applied, worked.produced), (50, 49));
}

#[tokio::test]
async fn a_store_that_is_locked_for_a_while_costs_no_item() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let hasty = async || {
        let options = SqliteConnectOptions::new().filename(&path).busy_timeout(5 * MS);
        SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
    };
    let (mine, other) = (hasty().await, hasty().await);
    let store = SqliteStore::with_pool(mine).await.unwrap();
    let tracker = StateTracker::new(store, quiet().build().unwrap());
    let pipeline = tracker.initialize("work", &PHASES).await.unwrap();
    pipeline.add("search", &["a", "b", "c"]).await.unwrap();
    let (locked, tries) = (Notify::new(), AtomicUsize::new(0));
    let work = pipeline.work("search", WorkOptions::default(), async |item| {
        tries.fetch_add(1, Relaxed);
        locked.notified().await;
        locked.notify_one();
        item.completed()
    });
    let lock = async {
        while tries.load(Relaxed) < 3 {
            sleep(MS).await;
        }
        let tx = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        locked.notify_one();
        sleep(150 * MS).await;
        tx.rollback().await.unwrap();
    };
    let (worked, ()) = tokio::join!(work, lock);
    assert_eq!((worked.unwrap().applied, tries.into_inner()), (3, 3));
}

#[tokio::test]
async fn options_that_cannot_work_are_told_at_once() {
    let kit = Sqlite::new().await;
    let pipeline = pipeline(&kit, quiet(), 1).await;
    let options = WorkOptions { concurrency: 0, batch: MAX_BATCH + 1, ..WorkOptions::default() };
    let error = pipeline.work("search", options, async |item| item.completed()).await.unwrap_err();
    assert!(matches!(&error, StateError::Input { problems } if problems.len() == 2), "{error:?}");
    // And a worker can be spawned.
    let nowhere = tokio::spawn({
        let pipeline = pipeline.clone();
        async move {
            pipeline.work("nowhere", WorkOptions::default(), async |item| item.skipped()).await
        }
    });
    assert!(matches!(nowhere.await.unwrap(), Err(StateError::NoPhase { .. })));
}
