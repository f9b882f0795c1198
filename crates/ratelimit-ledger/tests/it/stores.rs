//! What only one of the stores can do, or fail at.

use std::time::Duration;

use crate::support::server::RedisServer;
use ratelimit_ledger::{
    Ask, Exchange, HeldUnits, Ledger, LedgerError, MemoryLedger, RedisLedger, SqliteLedger,
};
use redis::Commands;
use tokio::time::Instant;

const SECOND: u64 = 1_000_000;

fn ask(budget: &str, want: u64, held_units: HeldUnits) -> Ask {
    Ask {
        budget: budget.into(),
        limit: 100,
        want,
        first: 1,
        held: 0,
        life: SECOND / 2,
        ahead: SECOND / 4,
        even: false,
        quiet: SECOND,
        held_units,
    }
}

fn slots(want: u64) -> Ask {
    let counting = vec![];
    let held = HeldUnits::Slots { window: 2 * SECOND, transit: 0, counting, level: None };
    ask("burst", want, held)
}

fn day(want: u64, spent: u64) -> Ask {
    let held = HeldUnits::Counts {
        period: "2026-11-25".into(),
        ends_in: SECOND,
        spent,
        settled: spent,
        dead_after: 3 * SECOND,
        returned: false,
        level: None,
    };
    ask("day", want, held)
}

fn say(member: &str, seq: u64, ask: Ask) -> Exchange {
    Exchange { member: member.into(), seq, nonce: format!("nonce-{member}-{seq}"), asks: vec![ask] }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_open_a_new_file_at_once_share_it() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..40 {
        let path = folder.path().join(format!("new{round}.db"));
        let opened: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move { SqliteLedger::open(path, "acme").await })
            })
            .collect();
        let mut granted = 0;
        for (number, ledger) in opened.into_iter().enumerate() {
            let ledger = ledger.await.unwrap().unwrap();
            let said = say(&number.to_string(), 1, day(30, 0));
            granted += ledger.exchange(&said).await.unwrap().answers[0].granted;
        }
        assert_eq!(granted, 100);
    }
}

#[tokio::test]
async fn a_day_in_sqlite_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let before = SqliteLedger::open(&path, "acme").await.unwrap();
    let reply = before.exchange(&say("a", 1, day(70, 0))).await.unwrap();
    assert_eq!(reply.answers[0].granted, 70);
    drop(before);
    let after = SqliteLedger::open(&path, "acme").await.unwrap();
    let again = after.exchange(&say("b", 1, day(70, 0))).await.unwrap();
    assert_eq!((again.answers[0].granted, again.answers[0].used), (30, 100));
    assert_eq!(again.epoch, reply.epoch, "its memory is the same");
    // Another prefix is another ledger in the same file.
    let other = SqliteLedger::open(&path, "other").await.unwrap();
    assert_eq!(other.exchange(&say("b", 1, day(70, 0))).await.unwrap().answers[0].granted, 70);
}

#[tokio::test]
async fn sqlite_lives_beside_other_tables_and_refuses_another_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE deals (id INTEGER)").execute(&pool).await.unwrap();
    let ledger = SqliteLedger::with_pool(pool.clone(), "acme").await.unwrap();
    ledger.exchange(&say("a", 1, slots(1))).await.unwrap();
    sqlx::query("SELECT id FROM deals").execute(&pool).await.unwrap();
    sqlx::query("UPDATE ledger_state SET version = 99").execute(&pool).await.unwrap();
    for error in [
        SqliteLedger::open(&path, "acme").await.unwrap_err(),
        ledger.exchange(&say("a", 2, slots(1))).await.unwrap_err(),
    ] {
        assert!(matches!(&error, LedgerError::Version { found, known: 1 } if found == "99"));
        assert!(error.to_string().contains("version 99"), "{error}");
        assert!(!error.is_transient());
    }
    sqlx::query("UPDATE ledger_state SET version = 1, state = '{}'").execute(&pool).await.unwrap();
    let error = ledger.exchange(&say("a", 3, slots(1))).await.unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt(_)));
}

#[tokio::test]
async fn two_connections_to_one_file_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut tasks = Vec::new();
    for who in 0..4 {
        let ledger = SqliteLedger::open(&path, "acme").await.unwrap();
        tasks.push(tokio::spawn(async move {
            let mut got = 0;
            for spent in 0..30 {
                let ask = day(1, got);
                let said = ledger.exchange(&say(&format!("m{who}"), spent + 1, ask)).await.unwrap();
                got += said.answers[0].granted;
            }
            got
        }));
    }
    let mut got = 0;
    for task in tasks {
        got += task.await.unwrap();
    }
    assert_eq!(got, 100, "the limit, and not one more");
}

#[tokio::test]
async fn sqlite_says_what_is_wrong_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = SqliteLedger::open(folder.path(), "acme").await.unwrap_err();
    assert!(matches!(error, LedgerError::Setup(_)));
}

/// A file of its own, and one in memory. Each pool has one connection.
async fn files(folder: &tempfile::TempDir) -> Vec<sqlx::SqlitePool> {
    let file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.path().join("ledger.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let memory = sqlx::sqlite::SqliteConnectOptions::new().in_memory(true);
    let mut pools = Vec::new();
    for options in [file, memory] {
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
        // A connection whose test is dropped is closed, and with it what is in memory.
        let pool = pool.test_before_acquire(false);
        pools.push(pool.connect_with(options).await.unwrap());
    }
    pools
}

async fn sql(pool: &sqlx::SqlitePool, sql: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_was_full_is_written_again_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    for pool in files(&folder).await {
        let ledger = SqliteLedger::with_pool(pool.clone(), "acme").await.unwrap();
        let granted = ledger.exchange(&say("a", 1, day(60, 0))).await.unwrap();
        assert_eq!(granted.answers[0].granted, 60);
        for round in 0..3_u64 {
            let pages: i64 =
                sqlx::query_scalar("PRAGMA page_count").fetch_one(&pool).await.unwrap();
            sql(&pool, format!("PRAGMA max_page_count = {pages}")).await;
            for seq in 1..=2 {
                // More than there is room for.
                let asks =
                    (0..200).map(|budget| ask(&format!("{budget}"), 1, day(1, 0).held_units));
                let many =
                    Exchange { asks: asks.collect(), ..say("b", round * 10 + seq, day(1, 0)) };
                let error = ledger.exchange(&many).await.unwrap_err();
                assert!(matches!(error, LedgerError::Unreachable(_)) && error.is_transient());
                let source = std::error::Error::source(&error).unwrap().to_string();
                assert!(source.contains("full"), "{source}");
            }
            sql(&pool, "PRAGMA max_page_count = 1000000".to_owned()).await;
            let reply = ledger.exchange(&say("a", 2 + round, day(10, 0))).await.unwrap();
            let answer = &reply.answers[0];
            assert_eq!((answer.granted, reply.epoch == granted.epoch), (10, true), "{round}");
        }
    }
}

#[tokio::test]
async fn a_transaction_that_sqlite_ends_by_itself_is_not_the_last() {
    let folder = tempfile::tempdir().unwrap();
    for pool in files(&folder).await {
        let ledger = SqliteLedger::with_pool(pool.clone(), "acme").await.unwrap();
        ledger.exchange(&say("a", 1, day(60, 0))).await.unwrap();
        let ended = "CREATE TRIGGER ended BEFORE UPDATE ON ledger_state
                     BEGIN SELECT RAISE(ROLLBACK, 'by itself'); END";
        sql(&pool, ended.to_owned()).await;
        // Dropped anywhere on the way, too.
        for polls in 1..=30 {
            let said = say("a", 1 + polls, day(1, 60));
            let mut exchange = std::pin::pin!(ledger.exchange(&said));
            let mut left = polls;
            std::future::poll_fn(|cx| {
                left -= 1;
                match exchange.as_mut().poll(cx) {
                    std::task::Poll::Ready(done) => {
                        let text = format!("{polls} {done:?}");
                        assert!(text.contains("by itself"), "{text}");
                        std::task::Poll::Ready(())
                    }
                    std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(()),
                    std::task::Poll::Pending => std::task::Poll::Pending,
                }
            })
            .await;
        }
        sql(&pool, "DROP TRIGGER ended".to_owned()).await;
        let answer = ledger.exchange(&say("b", 1, day(50, 0))).await.unwrap().answers.remove(0);
        assert_eq!(answer.granted, 40);
        // Nobody is left in a transaction.
        let mut connection = pool.acquire().await.unwrap();
        assert!(!sqlx::Connection::is_in_transaction(&*connection));
        sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK").execute(&mut *connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_gone_or_another_grants_nothing_more() {
    for replaced in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let aside = folder.path().join("aside.db");
        let ledger = SqliteLedger::open(&path, "acme").await.unwrap();
        let granted = ledger.exchange(&say("a", 1, day(60, 0))).await.unwrap();
        assert_eq!(granted.answers[0].granted, 60);
        std::fs::rename(&path, &aside).unwrap();
        if replaced {
            std::fs::write(&path, "").unwrap();
        }
        for seq in 2..4 {
            let error = ledger.exchange(&say("a", seq, day(40, 60))).await.unwrap_err();
            assert!(matches!(error, LedgerError::Unreachable(_)) && error.is_transient());
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("was deleted or replaced while it was open"), "{source}");
            assert!(source.contains("ledger.db"), "{source}");
        }
        assert_eq!(path.exists(), replaced, "none is made");
        // The old one again.
        std::fs::rename(&aside, &path).unwrap();
        let reply = ledger.exchange(&say("a", 4, day(100, 60))).await.unwrap();
        assert_eq!((reply.answers[0].granted, reply.epoch), (40, granted.epoch));
    }
}

#[tokio::test]
async fn keys_in_redis_share_a_hash_tag_and_expire() {
    let Some(server) = RedisServer::start("the keys in Redis") else { return };
    let ledger = RedisLedger::new(&server.url(), "acme{1}").unwrap();
    let asks = vec![slots(1), day(1, 0)];
    let exchange = Exchange { member: "a".into(), seq: 1, nonce: "n".into(), asks };
    ledger.exchange(&exchange).await.unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = connection.keys("*").unwrap();
    assert!(keys.len() >= 3, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("{acme_1_}:ledger"), "{key}");
        let left: i64 = connection.pttl(&key).unwrap();
        assert!(left > 0, "{key} stays for ever");
    }
}

#[tokio::test]
async fn redis_heals_a_lost_script_and_refuses_another_version() {
    let Some(server) = RedisServer::start("versions in Redis") else { return };
    let ledger = RedisLedger::new(&server.url(), "acme").unwrap();
    ledger.exchange(&say("a", 1, slots(1))).await.unwrap();
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connection).unwrap();
    ledger.exchange(&say("a", 2, slots(1))).await.unwrap();
    let late = ledger.exchange(&say("a", 1, slots(1))).await.unwrap_err();
    assert!(matches!(late, LedgerError::Stale));
    let _: () = connection.hset("{acme}:ledger", "v", 99).unwrap();
    let error = ledger.exchange(&say("a", 3, slots(1))).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Version { found, .. } if found == "99"), "{error:?}");
    assert!(error.to_string().contains("version 99"), "{error}");
    let _: () = connection.hset("{acme}:ledger", "v", 1).unwrap();
    let _: () = connection.set("{acme}:ledger:budget:burst", "nonsense").unwrap();
    let error = ledger.exchange(&say("a", 4, slots(1))).await.unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn a_redis_that_was_emptied_waits_and_then_takes_the_survivors_word() {
    let Some(server) = RedisServer::start("an emptied Redis") else { return };
    let ledger = RedisLedger::new(&server.url(), "acme").unwrap();
    let start = 1_795_000_000 * SECOND;
    let at = |after: u64| ledger.clone().at(start + after);
    let first = at(0).exchange(&say("a", 1, day(10, 0))).await.unwrap();
    assert!(first.answers[0].quiet, "it may have had another memory before");
    assert_eq!(first.answers[0].retry_in, Some(SECOND));
    let granted = at(SECOND).exchange(&say("a", 2, day(10, 0))).await.unwrap();
    assert_eq!((granted.answers[0].granted, granted.answers[0].quiet), (10, false));
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    // B asks first, and gets nothing; A, who has spent 40, tells so in time.
    let reply = at(2 * SECOND).exchange(&say("b", 1, day(100, 0))).await.unwrap();
    assert!(reply.answers[0].quiet && reply.answers[0].granted == 0);
    assert_ne!(reply.epoch, first.epoch);
    at(2 * SECOND + SECOND / 2).exchange(&say("a", 3, day(0, 40))).await.unwrap();
    let reply = at(3 * SECOND).exchange(&say("b", 2, day(100, 0))).await.unwrap();
    assert_eq!(reply.answers[0].granted, 60);
}

#[tokio::test]
async fn a_redis_that_is_down_or_stands_still_fails_soon_and_is_found_again() {
    let Some(mut server) = RedisServer::start("a Redis that is down") else { return };
    let ledger = RedisLedger::new(&server.url(), "acme").unwrap();
    ledger.exchange(&say("a", 1, slots(1))).await.unwrap();
    server.signal("-STOP");
    let began = Instant::now();
    let error = ledger.exchange(&say("a", 2, slots(1))).await.unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable(_)) && error.is_transient());
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    server.signal("-CONT");
    server.kill();
    let mut seq = 2;
    let mut again = async || {
        seq += 1;
        ledger.exchange(&say("a", seq, slots(1))).await
    };
    let error = again().await.unwrap_err();
    let text = format!("{error:?} {error}");
    assert!(!text.contains("127.0.0.1"), "{text}");
    server.run();
    let began = Instant::now();
    while again().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "not found again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_password_in_the_url_is_in_no_debug_and_no_error() {
    let url = "redis://:hunter2@127.0.0.1:1/";
    let ledger = RedisLedger::new(url, "acme").unwrap();
    let error = ledger.exchange(&say("a", 1, slots(1))).await.unwrap_err();
    let mut text = format!("{ledger:?} {error:?} {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text += &format!(" {inner:?} {inner}");
        source = inner.source();
    }
    text += &format!("{:?}", RedisLedger::new("no url with hunter2", "acme"));
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_memory_that_was_lost_waits_too() {
    let ledger = MemoryLedger::new();
    assert!(!ledger.exchange(&say("a", 1, slots(1))).await.unwrap().answers[0].quiet);
    ledger.forget();
    let answer = ledger.exchange(&say("a", 2, slots(1))).await.unwrap().answers.remove(0);
    assert!(answer.quiet && answer.slots.is_empty());
}
