//! One member as a process of its own: a limiter, a driver and an HTTP client that
//! asks the simulator as often as its budgets allow.
#![allow(clippy::print_stdout, reason = "the test listens to it")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jiff::{civil::Time, tz::TimeZone};
use ratelimit_ledger::{Driver, Ledger, LedgerStatus, RedisLedger, SqliteLedger, WhenUnreachable};
use tokio::sync::watch;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_ratelimit_tokens::{
    Budget, Charge, HeadersOnly, Limiter, PipedriveDialect, TokenLimitLayer,
};

/// How long a request can be on its way to the simulator of the same machine, which
/// may be busy.
pub(crate) const TRANSIT: Duration = Duration::from_millis(500);
pub(crate) const SLOT_LIFE: Duration = Duration::from_millis(500);

/// What a member is told by its environment.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) store: String,
    pub(crate) sim: String,
    pub(crate) token: String,
    pub(crate) limit: u64,
    pub(crate) day: u64,
    /// `closed`, or how many units go without the ledger in a window.
    pub(crate) open: Option<u64>,
    pub(crate) workers: usize,
}

impl Orders {
    pub(crate) fn to_env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LEDGER_STORE", self.store.clone()),
            ("LEDGER_SIM", self.sim.clone()),
            ("LEDGER_TOKEN", self.token.clone()),
            ("LEDGER_LIMIT", self.limit.to_string()),
            ("LEDGER_DAY", self.day.to_string()),
            ("LEDGER_OPEN", self.open.map_or(String::new(), |n| n.to_string())),
            ("LEDGER_WORKERS", self.workers.to_string()),
        ]
    }

    /// `None` if this process is no member.
    pub(crate) fn from_env() -> Option<Self> {
        let var = |name: &str| std::env::var(name).ok();
        Some(Self {
            store: var("LEDGER_STORE")?,
            sim: var("LEDGER_SIM")?,
            token: var("LEDGER_TOKEN")?,
            limit: var("LEDGER_LIMIT")?.parse().ok()?,
            day: var("LEDGER_DAY")?.parse().ok()?,
            open: var("LEDGER_OPEN")?.parse().ok(),
            workers: var("LEDGER_WORKERS")?.parse().ok()?,
        })
    }
}

/// Runs until it is killed.
pub(crate) async fn run(orders: Orders) {
    let mut limits = Limiter::builder();
    let burst =
        Budget::rolling(orders.limit, Duration::from_secs(2)).freed_by_answer(TRANSIT).even();
    let burst = limits.budget("burst", burst.leased());
    let day = Budget::calendar_day(orders.day, TimeZone::UTC, Time::midnight());
    let day = limits.budget("day", day.leased());
    let limiter = limits.max_wait(Duration::from_secs(60)).build().unwrap();
    let status = match orders.store.strip_prefix("sqlite:") {
        Some(path) => drive(&limiter, SqliteLedger::open(path, "test").await.unwrap(), &orders),
        None => drive(&limiter, RedisLedger::new(&orders.store, "test").unwrap(), &orders),
    };
    let layer = TokenLimitLayer::new(limiter, Charge::new().with(burst, 1).with(day, 10))
        .dialect(HeadersOnly(PipedriveDialect::new(burst, day).burst_limit(orders.limit)));
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let service = ServiceBuilder::new().layer(layer).service(client);
    let sent = Arc::new(AtomicU64::new(0));
    for _ in 0..orders.workers {
        let (mut service, orders, sent) = (service.clone(), orders.clone(), Arc::clone(&sent));
        tokio::spawn(async move {
            loop {
                let request = http::Request::get(format!("{}/api/v2/deals?limit=1", orders.sim))
                    .header("x-api-token", &orders.token)
                    .body(Empty::new())
                    .unwrap();
                let ready = service.ready().await.unwrap();
                match ready.call(request).await {
                    Ok(response) => {
                        sent.fetch_add(1, Ordering::Relaxed);
                        let _ = response.into_body().collect().await;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
    }
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let status = status.borrow().clone();
        println!(
            "MEMBER {} {} {} {}",
            sent.load(Ordering::Relaxed),
            status.exchanges,
            status.budget("burst").map_or(0, |burst| burst.overshoot),
            status.failures,
        );
    }
}

fn drive(
    limiter: &Limiter,
    ledger: impl Ledger + 'static,
    orders: &Orders,
) -> watch::Receiver<LedgerStatus> {
    let policy = match orders.open {
        Some(at_most) => WhenUnreachable::Open { at_most },
        None => WhenUnreachable::Closed,
    };
    // The day is wide here: what may go alone is for the window to say.
    let whole = WhenUnreachable::Share { fraction: orders.open.map_or(0.0, |_| 1.0) };
    let driver = Driver::new(limiter, ledger)
        .slot_life(SLOT_LIFE)
        .when_unreachable(policy)
        .when_unreachable_for("day", whole);
    let status = driver.status();
    tokio::spawn(driver.run());
    status
}
