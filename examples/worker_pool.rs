//! A coordinator and three worker processes over HTTP, in the way of Pigeon: workers beat, each has a circuit, one of
//! them is killed, and its jobs go to the others. None is lost.
//!
//! The program starts itself again as `worker NAME COORDINATOR`. How soon a worker is given up is a matter of settings:
//! `PIGEON_FD_HEARTBEAT_INTERVAL_MS=50 PIGEON_FD_FAILURE_THRESHOLD=5 cargo run --example worker_pool`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, State},
    routing::post,
};
use bytes::Bytes;
use examples::{BoxError, HyperClient, collect, hyper_client, serve};
use http::{Request, StatusCode};
use http_body_util::Full;
use pipedrive_service::{Config, Sources, config::FailureDetection};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::ServiceExt;
use tower_circuit::{Circuit, Circuits};
use tower_health::{FailureDetector, FailureKind, TargetState};

const JOBS: u64 = 300;
/// An example has no half minutes to wait. A variable of the environment wins over this.
const SETTINGS: &str = "[robustness.failure_detector]\nheartbeat_interval_ms = 100\n";
/// How often those look who wait for something.
const TICK: Duration = Duration::from_millis(10);

/// What the coordinator knows; the detector keeps where each worker listens.
#[derive(Clone)]
struct Pool {
    workers: FailureDetector<String>,
    circuits: Circuits<String>,
    client: HyperClient,
    open: Arc<Mutex<VecDeque<u64>>>,
    done: Arc<Mutex<BTreeMap<u64, u64>>>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [role, name, coordinator] if role == "worker" => work(name, coordinator).await,
        _ => coordinate().await,
    }
}

async fn coordinate() -> Result<(), BoxError> {
    let detection = detection()?;
    let workers = detection.builder("workers").build()?;
    let (watching, watch) = workers.watch_over();
    tokio::spawn(watch);
    let open_for = 10 * detection.heartbeat_interval;
    let circuits = Circuit::builder("workers").consecutive(3).open_for(open_for).keyed().build()?;
    let pool = Pool {
        workers,
        circuits,
        client: hyper_client(),
        open: Arc::new(Mutex::new((0..JOBS).collect())),
        done: Arc::default(),
    };
    let routes = Router::new()
        .route("/register", post(register))
        .route("/heartbeat", post(heartbeat))
        .with_state(pool.clone());
    let here = serve(routes).await?;
    let mut processes = ["ada", "bob", "cyd"]
        .map(|name| (name, start(name, &here)))
        .into_iter()
        .collect::<Vec<_>>();
    while pool.workers.healthy().len() < processes.len() {
        sleep(TICK).await;
    }

    // Six jobs are under way at any time, on whoever is well.
    let mut dispatchers = JoinSet::new();
    for turn in 0..6 {
        dispatchers.spawn(pool.clone().dispatch(turn));
    }
    while pool.done.lock().expect("nobody panics").len() < JOBS as usize / 4 {
        sleep(TICK).await;
    }
    let (name, process) = &mut processes[0];
    process.as_mut().map_err(|error| format!("{name} did not start: {error}"))?.kill().await?;
    println!("{name} was killed");
    let killed = Instant::now();
    while pool.workers.health(name).is_some_and(|found| found.state != TargetState::Unhealthy) {
        sleep(TICK).await;
    }
    println!("found dead after {:?}", killed.elapsed());

    while dispatchers.join_next().await.transpose()?.is_some() {}
    let done = pool.done.lock().expect("nobody panics").clone();
    assert_eq!(done.len() as u64, JOBS, "none is lost");
    assert!(done.iter().all(|(job, result)| *result == job * job));
    assert_eq!(pool.workers.healthy().len(), 2);
    for status in pool.circuits.status() {
        println!("{}: {}, {} refused", status.name, status.state, status.refused);
    }
    println!("{JOBS} jobs done, none lost");
    watching.stop();
    Ok(())
}

fn detection() -> Result<FailureDetection, BoxError> {
    let sources = Sources::from_env().file_text("worker_pool", SETTINGS);
    Ok(Config::load(&sources)?.failure_detector)
}

fn start(name: &str, coordinator: &str) -> std::io::Result<Child> {
    let program = std::env::current_exe()?;
    Command::new(program).args(["worker", name, coordinator]).kill_on_drop(true).spawn()
}

impl Pool {
    /// Takes jobs until all are done. A job that failed goes back, to be done by somebody else.
    async fn dispatch(self, mut turn: usize) {
        while (self.done.lock().expect("nobody panics").len() as u64) < JOBS {
            let job = self.open.lock().expect("nobody panics").pop_front();
            let healthy = self.workers.healthy();
            let (Some(job), false) = (job, healthy.is_empty()) else {
                // Whatever is left is under way elsewhere, and may come back.
                self.open.lock().expect("nobody panics").extend(job);
                sleep(TICK).await;
                continue;
            };
            turn += 1;
            let worker = &healthy[turn % healthy.len()];
            match self.ask(worker, job).await {
                Ok(result) => drop(self.done.lock().expect("nobody panics").insert(job, result)),
                Err(_) => self.open.lock().expect("nobody panics").push_back(job),
            }
        }
    }

    async fn ask(&self, worker: &str, job: u64) -> Result<u64, BoxError> {
        let found = self.workers.health(worker).ok_or("deregistered")?;
        let url = format!("{}/job?job={job}", found.info);
        let request = Request::post(url).body(Full::<Bytes>::default())?;
        let since = Instant::now();
        let answer = self.circuits.get(worker).call(self.client.clone().oneshot(request)).await;
        match answer {
            Ok(answer) => {
                self.workers.record_success(worker, "job", since.elapsed())?;
                Ok(std::str::from_utf8(collect(answer).await?.body())?.parse()?)
            }
            Err(error) => {
                let kind = FailureKind::Connection;
                self.workers.record_failure(worker, "job", kind, since.elapsed())?;
                Err(error.into())
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    url: String,
}

async fn register(State(pool): State<Pool>, Query(who): Query<Named>) -> StatusCode {
    match pool.workers.register(who.name, who.url) {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn heartbeat(State(pool): State<Pool>, Query(who): Query<Named>) -> StatusCode {
    // One that is not known is to register again.
    pool.workers.heartbeat(&who.name).map_or(StatusCode::GONE, |_| StatusCode::OK)
}

#[derive(serde::Deserialize)]
struct Job {
    job: u64,
}

/// A worker: squares numbers, slowly, and says that it lives.
async fn work(name: &str, coordinator: &str) -> Result<(), BoxError> {
    let square = async |Query(Job { job }): Query<Job>| {
        sleep(Duration::from_millis(10)).await;
        (job * job).to_string()
    };
    let here = serve(Router::new().route("/job", post(square))).await?;
    let client = hyper_client();
    let say = async |path: String| {
        let request = Request::post(format!("{coordinator}{path}")).body(Full::default())?;
        Ok::<_, BoxError>(client.clone().oneshot(request).await?.status())
    };
    say(format!("/register?name={name}&url={here}")).await?;
    // Ends with the coordinator.
    let beat = detection()?.heartbeat_interval;
    while say(format!("/heartbeat?name={name}")).await? == StatusCode::OK {
        sleep(beat).await;
    }
    Ok(())
}
