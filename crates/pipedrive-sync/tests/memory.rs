//! A large account in little memory. The simulator and the program each run in a process of their own; the program
//! in a memory cgroup where this machine lets us make one, else with the limit in its settings alone.
//!
//! Short by default. At full length, with release builds:
//!
//! ```sh
//! MEMORY_ROWS=5000000 MEMORY_LARGE_ROWS=2000 cargo test --release -p pipedrive-sync --test memory -- \
//!   --nocapture --test-threads 1
//! ```
#![allow(missing_docs, clippy::print_stdout)]
#![cfg(target_os = "linux")]

mod cage;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
    str::FromStr as _,
};

use cage::Cage;
use pipedrive_service::Entity;
use saas_sim::{
    Listen,
    pipedrive::{Sim, SimConfig, ops},
    serve,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

const MIB: u64 = 1024 * 1024;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn account(records: u64, row_bytes: usize) -> SimConfig {
    SimConfig {
        records,
        row_bytes,
        burst: Some(1_000_000),
        day_tokens: Some(1_000_000_000),
        log: 200_000,
        ..SimConfig::default()
    }
}

/// Not a test: what the tests below start as their simulator. Ends when nobody holds its standard input.
#[test]
#[ignore = "the simulator of the other tests"]
fn simulator() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bytes = number("SIMULATOR_ROW_BYTES", 0) as usize;
    runtime.block_on(async {
        let sim = Sim::new(account(number("SIMULATOR_RECORDS", 1), bytes)).unwrap();
        let server = serve(&sim, Listen::http((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        println!("\nurl {} {}", server.url(), sim.api_token());
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
            .await
            .unwrap()
            .unwrap();
    });
}

/// The simulator in a process of its own.
struct Simulator {
    child: Child,
    url: String,
    token: String,
}

impl Simulator {
    fn start(records: u64, row_bytes: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["simulator", "--exact", "--ignored", "--nocapture"])
            .env("SIMULATOR_RECORDS", records.to_string())
            .env("SIMULATOR_ROW_BYTES", row_bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let line = lines.find_map(|line| line.strip_prefix("url ").map(str::to_owned)).unwrap();
        let (url, token) = line.split_once(' ').unwrap();
        // The harness goes on talking, and ends when nobody listens.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: url.to_owned(), token: token.to_owned() }
    }

    /// What one of its own paths says.
    fn ask(&self, path: &str) -> Value {
        let host = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET /__sim/{path} HTTP/1.0\r\nhost: {host}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        serde_json::from_slice(&answer[head + 4..]).unwrap()
    }

    /// Resident memory now, in bytes.
    fn resident(&self) -> u64 {
        resident(self.child.id()).unwrap_or(0)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resident(process: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// What a run of the program came to.
struct Ran {
    report: Value,
    /// Seconds after which so many rows were in the database.
    course: Vec<(f64, u64)>,
    /// Where its memory was bounded, and the most that was used there.
    bound: String,
}

impl Ran {
    fn peak(&self) -> u64 {
        self.report["peak_memory"].as_u64().unwrap()
    }

    /// Seconds that it took from one row count to another.
    fn between(&self, from: u64, to: u64) -> f64 {
        let at = |rows: u64| {
            let place = self.course.partition_point(|(_, seen)| *seen < rows);
            self.course.get(place).or(self.course.last()).map_or(0.0, |(at, _)| *at)
        };
        at(to) - at(from)
    }
}

fn sync(sim: &Simulator, limit: u64) -> Ran {
    let dir = TempDir::new().unwrap();
    let cage = Cage::new(limit);
    let (program, bound) = match &cage {
        Some(cage) => (cage.command(env!("CARGO_BIN_EXE_pipedrive")), cage.kind()),
        None => (Command::new(env!("CARGO_BIN_EXE_pipedrive")), "the limit in the settings"),
    };
    let mut program = program;
    program
        .args(["sync", "--progress", "json", "--json"])
        .env_clear()
        .env("PIPEDRIVE_API_TOKEN", &sim.token)
        .env("PIPEDRIVE_BASE_URL", &sim.url)
        .env("PIPEDRIVE_DATABASE", dir.path().join("account.sqlite"))
        .env("PIPEDRIVE_BURST_LIMIT", "100000")
        .env("PIPEDRIVE_DAILY_TOKEN_BUDGET", "1000000000")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if cage.is_none() {
        program.env("PIPEDRIVE_MEMORY_LIMIT", limit.to_string());
    }
    let begun = Instant::now();
    let mut child = program.spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (mut report, mut course) = (String::new(), Vec::new());
    let mut walks: BTreeMap<String, u64> = BTreeMap::new();
    for line in out.lines().map_while(Result::ok) {
        let Some(event) =
            serde_json::from_str::<Value>(&line).ok().filter(|v| v["event"].is_string())
        else {
            report.push_str(&line);
            continue;
        };
        if event["event"] == "committed" {
            let walk = event["walk"].as_str().unwrap().to_owned();
            walks.insert(walk, event["rows"].as_u64().unwrap());
            course.push((begun.elapsed().as_secs_f64(), walks.values().sum()));
        }
    }
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{:?}\n{said}\n{report}", ended.status);
    let bound = match cage.and_then(|cage| cage.most()) {
        Some(most) => format!("{bound}, {} MiB with files in the page cache", most / MIB),
        None => bound.to_owned(),
    };
    Ran { report: serde_json::from_str(&report).unwrap(), course, bound }
}

/// Whether the database holds as many rows of everything as the account shows.
fn complete(sim: &Simulator, ran: &Ran) {
    for (name, list) in sim.ask("price")["full"]["lists"].as_object().unwrap() {
        let entity = Entity::from_str(name).unwrap();
        assert_eq!(ran.report["rows"][entity.name()], list["rows"], "{name}");
    }
}

#[test]
fn a_large_account_needs_no_more_memory_and_no_more_time_a_row_than_a_small_one() {
    let (rows, limit) = (number("MEMORY_ROWS", 40_000), number("MEMORY_LIMIT_MIB", 256) * MIB);
    let sim = Simulator::start(rows, 0);
    let before = sim.resident();
    let ran = sync(&sim, limit);
    complete(&sim, &ran);
    let all = ran.report["rows_in_all"].as_u64().unwrap();
    let fifth = all / 5;
    let (first, last) = (ran.between(0, fifth), ran.between(all - fifth, all));
    println!(
        "{all} rows in {:.1} s, at most {} MiB of {} resident, {}; first fifth {first:.1} s, last {last:.1} s; pages {}; the simulator grew by {} MiB",
        ran.report["seconds"].as_f64().unwrap(),
        ran.peak() / MIB,
        limit / MIB,
        ran.bound,
        ran.report["page_sizes"],
        sim.resident().saturating_sub(before) / MIB,
    );
    assert!(ran.peak() <= limit);
    // Few walks are left at the end, so the last fifth has less to do at once; it must not be by much.
    if rows >= 1_000_000 {
        assert!(last <= 1.5 * first, "{last} s after {first} s");
    }
}

#[test]
fn rows_of_a_mebibyte_fit_and_few_answers_are_cut_off() {
    let (rows, limit) = (number("MEMORY_LARGE_ROWS", 40), number("MEMORY_LIMIT_MIB", 256) * MIB);
    let sim = Simulator::start(rows, MIB);
    let ran = sync(&sim, limit);
    complete(&sim, &ran);
    // What was asked again from the same position was cut off before.
    let mut asked: BTreeMap<String, (u64, BTreeSet<String>)> = BTreeMap::new();
    for entry in sim.ask("truth")["log"].as_array().unwrap() {
        let target = entry["target"].as_str().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let position =
            query.split('&').filter(|part| !part.starts_with("limit=")).collect::<Vec<_>>();
        let (count, positions) = asked.entry(path.to_owned()).or_default();
        *count += 1;
        positions.insert(position.join("&"));
    }
    let cut: BTreeMap<_, _> = asked
        .iter()
        .map(|(path, (count, positions))| (path.as_str(), count - positions.len() as u64))
        .filter(|(_, cut)| *cut > 0)
        .collect();
    println!(
        "{} rows in {:.1} s, at most {} MiB of {} resident, {}; cut off: {cut:?}; pages {}",
        ran.report["rows_in_all"],
        ran.report["seconds"].as_f64().unwrap(),
        ran.peak() / MIB,
        limit / MIB,
        ran.bound,
        ran.report["page_sizes"],
    );
    assert!(ran.peak() <= limit);
    assert!(cut.values().all(|cut| *cut <= 2), "{cut:?}");
}

/// Not a bound, a figure: whether the simulator may be what the runs above wait for.
#[tokio::test]
async fn the_simulator_makes_rows_faster_than_anybody_writes_them() {
    let sim = Sim::new(account(1_000_000, 0)).unwrap();
    let deals = ops::find(&http::Method::GET, "/api/v2/deals").unwrap();
    let (mut bytes, begun) = (0, Instant::now());
    let pages = number("MEMORY_SERVED_PAGES", 40);
    for _ in 0..pages {
        bytes += sim.account().handle(&deals, "limit=500", &[], sim.now()).body.len();
    }
    let (rows, took) = (pages * 500, begun.elapsed().as_secs_f64());
    println!(
        "the simulator makes {:.0} rows/s on one core, {:.0} MB/s",
        rows as f64 / took,
        bytes as f64 / 1e6 / took
    );
}
