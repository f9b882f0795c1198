//! The whole stack against the bare hyper-util client, over the loopback,
//! against the simulator with its limits off, in a process of its own.
//!
//! Fifteen interleaved pairs of three seconds each; the order within a pair
//! alternates. Prints requests per second and CPU per request of this process
//! for each, and the median ratio. `BENCH_PAIRS` and `BENCH_SECONDS` change the size.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use pipedrive_service::{Call, Client, Config, Sources, transport};
use tower::{BoxError, Service, ServiceExt};

const WORKERS: usize = 32;
const PATH: &str = "/api/v2/deals/1";

fn main() -> Result<(), BoxError> {
    if std::env::var_os("BENCH_SERVER").is_some() {
        return serve();
    }
    let mut server = start_server()?;
    let measured = measure(&server.url);
    server.child.kill()?;
    server.child.wait()?;
    measured
}

/// Serves until it is killed; says where on its first line.
fn serve() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let config = saas_sim::pipedrive::SimConfig { records: 1_000, limits: false, ..Default::default() };
        let sim = saas_sim::pipedrive::Sim::new(config)?;
        let listen = saas_sim::Listen::http(([127, 0, 0, 1], 0));
        let server = saas_sim::serve(&sim, listen).await?;
        println!("{} {}", server.url(), sim.api_token());
        std::future::pending::<()>().await;
        Ok(())
    })
}

struct Server {
    child: Child,
    url: String,
}

fn start_server() -> Result<Server, BoxError> {
    let mut child = Command::new(std::env::current_exe()?)
        .env("BENCH_SERVER", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    Ok(Server { child, url: line.trim().to_owned() })
}

#[derive(Clone, Copy, Debug)]
struct Run {
    per_second: f64,
    cpu_us: f64,
}

fn measure(server: &str) -> Result<(), BoxError> {
    let (url, token) = server.split_once(' ').ok_or("no url")?;
    let pairs: usize = setting("BENCH_PAIRS", 15)?;
    let time = Duration::from_secs(setting("BENCH_SECONDS", 3)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let bare = bare(token)?;
        let stack = stack(url, token)?;
        let uri = format!("{url}{PATH}");

        run(&bare, bare_request, &uri, Duration::from_secs(1)).await?;
        run(&stack, stack_request, &uri, Duration::from_secs(1)).await?;
        let mut rows = Vec::new();
        for pair in 0..pairs {
            let (bare, stack) = if pair % 2 == 0 {
                let first = run(&bare, bare_request, &uri, time).await?;
                (first, run(&stack, stack_request, &uri, time).await?)
            } else {
                let first = run(&stack, stack_request, &uri, time).await?;
                (run(&bare, bare_request, &uri, time).await?, first)
            };
            let ratio = stack.per_second / bare.per_second;
            println!(
                "pair {:2}: bare {:6.0}/s {:5.1} us CPU, stack {:6.0}/s {:5.1} us CPU, ratio {ratio:.3}",
                pair + 1, bare.per_second, bare.cpu_us, stack.per_second, stack.cpu_us,
            );
            rows.push((ratio, bare, stack));
        }
        println!(
            "median: ratio {:.3}; bare {:.0}/s {:.1} us CPU; stack {:.0}/s {:.1} us CPU",
            median(rows.iter().map(|row| row.0)),
            median(rows.iter().map(|row| row.1.per_second)),
            median(rows.iter().map(|row| row.1.cpu_us)),
            median(rows.iter().map(|row| row.2.per_second)),
            median(rows.iter().map(|row| row.2.cpu_us)),
        );
        Ok(())
    })
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> Result<T, BoxError> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name} is not a number").into()),
        Err(_) => Ok(default),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a user without us writes: the token in a header, the body collected.
fn bare(
    token: &str,
) -> Result<
    impl Service<Request<Bytes>, Response = Response<Bytes>, Error = BoxError, Future: Send> + Clone + Send + 'static,
    BoxError,
> {
    let client = transport::build(&transport::TransportConfig::default())?;
    let token = http::HeaderValue::from_str(token)?;
    Ok(tower::service_fn(move |mut request: Request<Bytes>| {
        request.headers_mut().insert("x-api-token", token.clone());
        let response = client.request(request.map(Full::new));
        async move {
            let (head, body) = response.await?.into_parts();
            Ok::<_, BoxError>(Response::from_parts(head, body.collect().await?.to_bytes()))
        }
    }))
}

/// All our layers, as the program uses them, with budgets too large to bind.
fn stack(
    url: &str,
    token: &str,
) -> Result<
    impl Service<Request<Bytes>, Response = Response<Bytes>, Error = BoxError, Future: Send> + Clone + Send + 'static,
    BoxError,
> {
    let sources = Sources::new()
        .set("connection.base_url", url)
        .set("connection.api_token", token)
        .set("account.plan", "premium")
        .set("account.seats", "20000");
    let client = Client::builder(Config::load(&sources)?);
    let (_, parts) = client.parts()?;
    for budget in [parts.budgets.burst, parts.budgets.day] {
        parts.limiter.set_limit(budget, 4_000_000_000);
    }
    Ok(pipedrive_service::stack::stack(&parts, transport::build(&transport::TransportConfig::default())?))
}

fn bare_request(uri: &str) -> http::Result<Request<Bytes>> {
    Request::get(uri).body(Bytes::new())
}

/// As our client makes it: with what it knows of the call.
fn stack_request(uri: &str) -> http::Result<Request<Bytes>> {
    let call = Call::builder("/api/v2/deals/{id}").cost(1).build();
    Request::get(uri).extension(call).body(Bytes::new())
}

async fn run<S>(
    service: &S,
    request: fn(&str) -> http::Result<Request<Bytes>>,
    uri: &str,
    time: Duration,
) -> Result<Run, BoxError>
where
    S: Service<Request<Bytes>, Response = Response<Bytes>, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let done = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicU64::new(0));
    let cpu = cpu_time()?;
    let start = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let (mut service, uri) = (service.clone(), uri.to_owned());
        let (done, answers) = (Arc::clone(&done), Arc::clone(&answers));
        workers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let request = request(&uri)?;
                let response = service.ready().await?.call(request).await?;
                if !response.status().is_success() {
                    return Err(format!("answered {}", response.status()).into());
                }
                answers.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), BoxError>(())
        });
    }
    tokio::time::sleep(time).await;
    done.store(true, Ordering::Relaxed);
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let took = start.elapsed().as_secs_f64();
    let answers = answers.load(Ordering::Relaxed) as f64;
    Ok(Run { per_second: answers / took, cpu_us: (cpu_time()? - cpu).as_secs_f64() * 1e6 / answers })
}

/// User and system time of this process, from `/proc/self/stat` in ticks of 10 ms.
fn cpu_time() -> Result<Duration, BoxError> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("stat has no name")?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next().ok_or("no utime")?.parse()?;
    let system: u64 = fields.next().ok_or("no stime")?.parse()?;
    Ok(Duration::from_millis((user + system) * 10))
}
