//! One budget, four processes: 40 calls in any second, however they are divided. The
//! example starts a redis-server of its own and itself four times more; each member has
//! a limiter and a driver that leases from Redis, and calls as fast as it may. A server
//! here in the parent counts. Without a redis-server it shows the same with SQLite.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    net::TcpListener,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path as Segment, State},
    routing::get,
};
use examples::{BoxError, collect, hyper_client, serve};
use http::Request;
use http_body_util::Full;
use ratelimit_ledger::{Driver, Ledger, RedisLedger, SqliteLedger};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{ServiceBuilder, ServiceExt};
use tower_ratelimit_tokens::{Budget, Charge, Limiter, Refused, TokenLimitLayer};

const LIMIT: u64 = 40;
const WINDOW: Duration = Duration::from_secs(1);
/// How long a call can be on its way to the server.
const TRANSIT: Duration = Duration::from_secs(1);
/// In the first two and a half seconds a Redis that was started empty grants nothing: it
/// might have forgotten what it granted before.
const RUN: Duration = Duration::from_millis(7_500);
const MEMBERS: usize = 4;

/// What a member is told by its environment: its number, the ledger, the server.
const ORDERS: [&str; 3] = ["LIMITER_SHARED_MEMBER", "LIMITER_SHARED_LEDGER", "LIMITER_SHARED_URL"];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let [Ok(number), Ok(ledger), Ok(url)] = ORDERS.map(std::env::var) else {
        return parent().await;
    };
    match ledger.strip_prefix("sqlite:") {
        Some(file) => member(&number, SqliteLedger::open(file, "example").await?, &url).await,
        None => member(&number, RedisLedger::new(&ledger, "example")?, &url).await,
    }
}

/// One of the four: this is all that a program needs.
async fn member(number: &str, ledger: impl Ledger + 'static, url: &str) -> Result<(), BoxError> {
    let mut limits = Limiter::builder();
    let shared = Budget::rolling(LIMIT, WINDOW).freed_by_answer(TRANSIT).leased();
    let shared = limits.budget("shared", shared);
    let limiter = limits.build()?;
    let driver = Driver::new(&limiter, ledger);
    let (status, stopper) = (driver.status(), driver.stopper());
    let driver = tokio::spawn(driver.run());

    let until = Instant::now() + RUN;
    let client = ServiceBuilder::new()
        .layer(
            TokenLimitLayer::new(limiter.clone(), Charge::new().with(shared, 1))
                .terms(move |_: &Request<_>| Some(until)),
        )
        .service(hyper_client());
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (client, url) = (client.clone(), format!("{url}/{number}"));
        callers.spawn(async move {
            let mut answered = 0;
            loop {
                let request = Request::get(&url).body(Full::default())?;
                match client.clone().oneshot(request).await {
                    Ok(response) => answered += u64::from(collect(response).await?.status() == 200),
                    // The time is up.
                    Err(error) if error.is::<Refused>() => return Ok::<_, BoxError>(answered),
                    Err(error) => return Err(error),
                }
            }
        });
    }
    let mut answered = 0;
    while let Some(caller) = callers.join_next().await {
        answered += caller??;
    }
    // What is in hand goes back at once, not only when it has run out.
    stopper.stop();
    driver.await?;
    let status = status.borrow();
    let (trips, failed) = (status.exchanges, status.failures);
    println!(
        "  member {number}: {answered} answers, {trips} round trips to the ledger, {failed} failed"
    );
    Ok(())
}

/// When each call came, and whose it was.
type Calls = Arc<Mutex<Vec<(Instant, usize)>>>;

async fn count(Segment(member): Segment<usize>, State(calls): State<Calls>) {
    calls.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), member));
    sleep(Duration::from_millis(20)).await;
}

async fn parent() -> Result<(), BoxError> {
    let calls = Calls::default();
    let router = Router::new().route("/{member}", get(count)).with_state(Arc::clone(&calls));
    let url = serve(router).await?;
    let folder = tempfile::tempdir()?;
    let redis = start_redis(folder.path()).await?;
    let ledger = match &redis {
        Some((_, url)) => url.clone(),
        None if std::env::var("CI").as_deref() == Ok("true") => {
            return Err("redis-server is not installed: apt-get install redis-server".into());
        }
        None => {
            println!("redis-server is not installed: SQLite takes its place");
            format!("sqlite:{}", folder.path().join("budgets.db").display())
        }
    };
    println!("{MEMBERS} processes share {LIMIT} calls in any {WINDOW:?} by {ledger}");

    let mut members = Vec::new();
    for number in 0..MEMBERS {
        let orders = ORDERS.into_iter().zip([number.to_string(), ledger.clone(), url.clone()]);
        let program = std::env::current_exe()?;
        members.push(Command::new(program).envs(orders).kill_on_drop(true).spawn()?);
    }
    for mut member in members {
        assert!(member.wait().await?.success());
    }

    let calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    let fullest = fullest_window(&calls);
    let first_to_last = calls.last().map_or(WINDOW, |last| last.0 - calls[0].0);
    let allowed = LIMIT as f64 * (first_to_last + WINDOW).as_secs_f64() / WINDOW.as_secs_f64();
    println!(
        "the server: {} calls in {first_to_last:.1?}, {:.0} % of what may go; \
         the fullest window held {fullest} of {LIMIT}",
        calls.len(),
        100.0 * calls.len() as f64 / allowed,
    );
    assert!(fullest <= LIMIT, "{fullest} in one window");
    for number in 0..MEMBERS {
        let own = calls.iter().filter(|(_, member)| *member == number).count();
        assert!(own > 0, "member {number} got nothing");
    }
    Ok(())
}

/// The most calls in any window, wherever it begins.
fn fullest_window(calls: &[(Instant, usize)]) -> u64 {
    let within = |first: usize| {
        calls[first..].iter().take_while(|call| call.0 < calls[first].0 + WINDOW).count()
    };
    (0..calls.len()).map(within).max().unwrap_or(0) as u64
}

/// On a free port of the loopback, with nothing kept on the disk. `None` if the program
/// is not installed.
async fn start_redis(folder: &Path) -> Result<Option<(Child, String)>, BoxError> {
    if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        return Ok(None);
    }
    // Between our looking and its binding somebody else can take the port.
    for _ in 0..3 {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut redis = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .arg("--dir")
            .arg(folder)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        for _ in 0..200 {
            sleep(Duration::from_millis(25)).await;
            if redis.try_wait()?.is_some() {
                break;
            }
            if answers(port).await {
                return Ok(Some((redis, format!("redis://127.0.0.1:{port}/"))));
            }
        }
    }
    Err("redis-server does not start".into())
}

async fn answers(port: u16) -> bool {
    let ping = async {
        let mut redis = TcpStream::connect(("127.0.0.1", port)).await?;
        redis.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        redis.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer == *b"+PONG\r\n")
    };
    ping.await.unwrap_or(false)
}
