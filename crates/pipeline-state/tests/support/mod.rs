//! What the tests of this crate share: a clock that a test sets, and stores that it can tamper with.
#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations)]

pub mod model;
pub mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::Timestamp;
use pipeline_state::{
    Pipeline, PipelineConfig, PipelineConfigBuilder, PostgresStore, SqliteStore, StateTracker,
    Store,
};
use sqlx::{
    AssertSqlSafe, PgPool, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tempfile::TempDir;

/// A clock that stands until a test moves it.
#[derive(Clone)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_795_000_000_000_000)))
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Relaxed)).unwrap()
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Relaxed);
    }
}

/// A store, and a way to write into it behind its back.
pub trait Kit {
    type Store: Store;

    fn store(&self) -> Self::Store;
    fn sql(&self, sql: &str) -> impl Future<Output = ()>;
    fn number(&self, sql: &str) -> impl Future<Output = i64>;

    fn tracker(&self, clock: &Clock, config: PipelineConfigBuilder) -> StateTracker<Self::Store> {
        let clock = clock.clone();
        StateTracker::new(self.store(), config.build().unwrap()).clock(move || clock.now())
    }
}

pub struct Sqlite {
    pub store: SqliteStore,
    pub pool: SqlitePool,
    _folder: TempDir,
}

impl Sqlite {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("state.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Off);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
        let pool = pool.await.unwrap();
        Self { store: SqliteStore::with_pool(pool.clone()).await.unwrap(), pool, _folder: folder }
    }
}

impl Kit for Sqlite {
    type Store = SqliteStore;

    fn store(&self) -> SqliteStore {
        self.store.clone()
    }

    async fn sql(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await.unwrap()
    }
}

#[derive(Clone)]
pub struct Postgres {
    pub store: PostgresStore,
    pub pool: PgPool,
}

impl Postgres {
    pub async fn new(url: &str) -> Self {
        let store = PostgresStore::open(url).await.unwrap();
        Self { store, pool: PgPool::connect(url).await.unwrap() }
    }
}

impl Kit for Postgres {
    type Store = PostgresStore;

    fn store(&self) -> PostgresStore {
        self.store.clone()
    }

    async fn sql(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await.unwrap()
    }
}

pub const PHASES: [&str; 3] = ["search", "domains", "company"];

/// The defaults, without checkpoints by themselves.
pub fn quiet() -> PipelineConfigBuilder {
    PipelineConfig::builder().enable_checkpoints(false)
}

/// A pipeline whose first phase holds `items` items, named `0`, `1` and so on.
pub async fn filled<K: Kit>(kit: &K, clock: &Clock, items: usize) -> Pipeline<K::Store> {
    let pipeline = kit.tracker(clock, quiet()).initialize("nightly", &PHASES).await.unwrap();
    let names: Vec<_> = (0..items).map(|item| item.to_string()).collect();
    assert_eq!(pipeline.add("search", &names).await.unwrap().added, items as u64);
    pipeline
}
