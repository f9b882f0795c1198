//! Processes that share one budget, against the simulator, which counts the truth:
//!
//! ```text
//! LEDGER_SECONDS=60 LEDGER_SEED=7 cargo test -p ratelimit-ledger --test shared -- --nocapture
//! ```
//!
//! Every five seconds one member is killed with -9 and another started. Redis is
//! stopped for three seconds, and later killed and started empty. Not one request may
//! be over the limit, and of the limit at least 85 % is used in all windows that start
//! a second after Redis grants and see no kill.

#![allow(clippy::print_stdout, reason = "a test prints its figures")]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use saas_sim::{
    Listen,
    pipedrive::{Sim, SimConfig},
    serve,
};
use support::{
    member::{self, Orders, SLOT_LIFE, TRANSIT},
    server::RedisServer,
};
use tokio::time::{Instant, sleep, sleep_until};

const WINDOW: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);
const DAY: u64 = 10_000_000;

fn seconds(short: u64) -> Duration {
    let set = std::env::var("LEDGER_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(set.unwrap_or(short))
}

fn seed() -> u64 {
    std::env::var("LEDGER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7)
}

/// Not a test of its own: what the members' processes run.
#[test]
fn member() {
    if let Some(orders) = Orders::from_env() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(member::run(orders));
    }
}

/// What a member last told: requests, round trips, overshoot, failed round trips.
type Told = Arc<Mutex<[u64; 4]>>;

struct Member {
    child: Child,
    told: Told,
}

impl Member {
    fn start(orders: &Orders) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "member", "--nocapture", "--test-threads=1"])
            .envs(orders.to_env())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let told = Told::default();
        let tell = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let Some(numbers) = line.strip_prefix("MEMBER ") else { continue };
                let numbers: Vec<u64> = numbers.split(' ').flat_map(str::parse).collect();
                if let Ok(numbers) = numbers.try_into() {
                    *tell.lock().unwrap() = numbers;
                }
            }
        });
        Self { child, told }
    }

    fn told(&self) -> [u64; 4] {
        *self.told.lock().unwrap()
    }
}

impl Drop for Member {
    /// SIGKILL.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The members, and what those told who are dead.
struct Team {
    orders: Orders,
    members: Vec<Member>,
    buried: [u64; 4],
    kills: Vec<Instant>,
    rng: fastrand::Rng,
}

impl Team {
    fn new(orders: Orders, members: usize) -> Self {
        let members = (0..members).map(|_| Member::start(&orders)).collect();
        let rng = fastrand::Rng::with_seed(seed());
        Self { orders, members, buried: [0; 4], kills: Vec::new(), rng }
    }

    fn kill_one(&mut self) {
        let who = self.rng.usize(0..self.members.len());
        let dead = std::mem::replace(&mut self.members[who], Member::start(&self.orders));
        self.kills.push(Instant::now());
        let told = dead.told();
        drop(dead);
        self.buried = std::array::from_fn(|at| self.buried[at] + told[at]);
    }

    fn told(&self) -> [u64; 4] {
        self.members.iter().fold(self.buried, |sum, member| {
            let told = member.told();
            std::array::from_fn(|at| sum[at] + told[at])
        })
    }
}

fn sim() -> Sim {
    let mut config = SimConfig { records: 100, day_tokens: Some(DAY), ..SimConfig::default() };
    // Requests over the limit are counted, however many.
    config.edge.enabled = false;
    Sim::new(config).unwrap()
}

fn orders(store: String, sim: &Sim, server: &saas_sim::Server) -> Orders {
    Orders {
        store,
        sim: server.url().trim_end_matches('/').to_owned(),
        token: sim.api_token(),
        limit: u64::from(sim.truth().window.limit),
        day: DAY,
        open: None,
        workers: 16,
    }
}

/// The share of the limit that was used in windows that see no kill.
struct Used {
    mean: f64,
    least: f64,
    windows: u32,
    /// Windows in which less than 85 % was used: when they began.
    poor: Vec<f64>,
}

fn utilisation(sim: &Sim, within: &[(Instant, Instant)], kills: &[Instant]) -> Used {
    let limit = f64::from(sim.truth().window.limit);
    let (mut sum, mut least, mut windows, mut poor) = (0.0, f64::MAX, 0, Vec::new());
    for &(from, to) in within {
        let mut start = from;
        while start + WINDOW <= to {
            if !kills.iter().any(|&kill| kill >= start && kill < start + WINDOW) {
                let used = sim.charged_between(start, start + WINDOW) as f64 / limit;
                (sum, least, windows) = (sum + used, f64::min(least, used), windows + 1);
                if used < 0.85 {
                    poor.push((start - sim.started()).as_secs_f64());
                }
            }
            start += Duration::from_millis(50);
        }
    }
    Used { mean: sum / f64::from(windows.max(1)), least, windows, poor }
}

fn report(name: &str, sim: &Sim, team: &Team, used: &Used) {
    let (truth, [asked, exchanges, overshoot, failures]) = (sim.truth(), team.told());
    println!(
        "{name}: {} requests, {} over the limit, peak {} of {}; {:.1} % used on average and \
         {:.1} % at least in {} windows; {} kills; {exchanges} round trips for {asked} answered \
         requests ({:.2} each), {failures} failed; overshoot reported {overshoot}",
        truth.charged,
        truth.refusals.caused(),
        truth.window.peak,
        truth.window.limit,
        100.0 * used.mean,
        100.0 * used.least,
        used.windows,
        team.kills.len(),
        exchanges as f64 / asked.max(1) as f64,
    );
    let kills: Vec<_> = team.kills.iter().map(|at| (*at - sim.started()).as_secs_f64()).collect();
    println!("  windows under 85 %: {:.1?}, kills at {kills:.1?}", used.poor);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_on_one_redis_are_never_over_and_waste_little() {
    let Some(mut redis) = RedisServer::start("eight processes on one Redis") else { return };
    let sim = sim();
    let server = serve(&sim, Listen::http(([127, 0, 0, 1], 0))).await.unwrap();
    let orders = orders(redis.url(), &sim, &server);
    // A Redis without memory waits for one window, with all that may be under way.
    let quiet = WINDOW + TRANSIT + SLOT_LIFE;
    let mut team = Team::new(orders, 8);
    sleep(SECOND / 2).await;
    let (start, run) = (Instant::now(), seconds(22));
    let (stopped, emptied) = (start + run / 5, start + run * 3 / 5);
    let mut good = Vec::new();
    let mut since = start + quiet + SECOND;
    let mut kill = start + 5 * SECOND;
    let mut left = vec![stopped, emptied];
    while Instant::now() < start + run {
        let next = left.first().copied().unwrap_or(start + run);
        sleep_until(kill.min(next).min(start + run)).await;
        if Instant::now() >= kill {
            team.kill_one();
            kill += 5 * SECOND;
        } else if !left.is_empty() && Instant::now() >= next {
            good.push((since, Instant::now()));
            if left.remove(0) == stopped {
                redis.signal("-STOP");
                sleep(3 * SECOND).await;
                redis.signal("-CONT");
                println!("  went on at {:.1?}", sim.started().elapsed());
                since = Instant::now() + SECOND;
            } else {
                tokio::task::block_in_place(|| {
                    redis.kill();
                    redis.run();
                });
                println!("  empty at {:.1?}", sim.started().elapsed());
                since = Instant::now() + quiet + SECOND;
            }
        }
    }
    good.push((since, Instant::now()));
    let used = utilisation(&sim, &good, &team.kills);
    report("redis, 8 processes", &sim, &team, &used);
    drop(team);
    let truth = sim.truth();
    assert_eq!(truth.refusals.caused(), 0, "over the limit");
    assert!(truth.window.peak <= 100);
    assert!(used.windows > 20, "too few windows to judge");
    assert!(used.least >= 0.85, "only {:.1} % used in one window", 100.0 * used.least);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_on_one_sqlite_file_are_never_over_and_waste_little() {
    let folder = tempfile::tempdir().unwrap();
    let sim = sim();
    let server = serve(&sim, Listen::http(([127, 0, 0, 1], 0))).await.unwrap();
    let store = format!("sqlite:{}", folder.path().join("budgets.db").display());
    let orders = Orders { workers: 32, ..orders(store, &sim, &server) };
    let mut team = Team::new(orders, 4);
    sleep(SECOND / 2).await;
    let (start, run) = (Instant::now(), seconds(12));
    let mut kill = start + 5 * SECOND;
    while kill < start + run {
        sleep_until(kill).await;
        team.kill_one();
        kill += 5 * SECOND;
    }
    sleep_until(start + run).await;
    let used = utilisation(&sim, &[(start + SECOND, start + run)], &team.kills);
    report("sqlite, 4 processes", &sim, &team, &used);
    drop(team);
    let truth = sim.truth();
    assert_eq!(truth.refusals.caused(), 0, "over the limit");
    assert!(truth.window.peak <= 100);
    assert!(used.least >= 0.85, "only {:.1} % used in one window", 100.0 * used.least);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fail_open_is_over_by_no_more_than_it_reports() {
    let Some(mut redis) = RedisServer::start("fail open without Redis") else { return };
    let sim = sim();
    let server = serve(&sim, Listen::http(([127, 0, 0, 1], 0))).await.unwrap();
    let orders = Orders { open: Some(30), ..orders(redis.url(), &sim, &server) };
    let team = Team::new(orders, 4);
    sleep(5 * SECOND).await;
    let before = (sim.truth().refusals.caused(), team.told()[2]);
    redis.kill();
    sleep(4 * SECOND).await;
    // Killed together, so that nothing is reported late.
    let used = utilisation(&sim, &[(Instant::now() - 2 * SECOND, Instant::now())], &[]);
    sleep(SECOND / 2).await;
    report("fail open, 4 processes", &sim, &team, &used);
    let (over, told) = (sim.truth().refusals.caused(), team.told()[2]);
    assert_eq!(before, (0, 0), "nothing goes alone while Redis answers");
    assert!(told > 0 && sim.truth().charged >= 200, "work went on");
    assert!(over <= told, "{over} over the limit, {told} reported");
}
