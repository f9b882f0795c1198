//! A thousand callers, retry around circuit, and an upstream that fails for half a minute.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use stack_tests::say;
use tokio::{
    task::LocalSet,
    time::{Instant, sleep},
};
use tower::{Service as _, ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
use tower_circuit::{BoxError, Circuit, CircuitLayer, Open, Verdict};
use tower_retry_classify::{Backoff, Jitter, RetryBudget, RetryPolicy, Share};

const CALLERS: u64 = 1_000;
const OPEN: Duration = Duration::from_secs(5);
const BEGINS: Duration = Duration::from_secs(10);
const ENDS: Duration = Duration::from_secs(40);
const OVER: Duration = Duration::from_secs(60);

/// Since the start: when attempts arrived, and calls began.
#[derive(Debug, Default)]
struct Seen {
    attempts: Vec<Duration>,
    calls: Vec<Duration>,
    recovered: Option<Duration>,
}

impl Seen {
    fn in_outage(times: &[Duration]) -> u64 {
        times.iter().filter(|at| (BEGINS..ENDS).contains(*at)).count() as u64
    }
}

fn judge(outcome: Result<&Response<()>, &BoxError>) -> Verdict {
    match outcome {
        Ok(response) if response.status().is_success() => Verdict::Success,
        _ => Verdict::Failure,
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_left_alone_and_its_end_is_noticed_within_one_open_time() {
    let start = Instant::now();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let arrivals = Arc::clone(&seen);
    let upstream = service_fn(move |_: Request<()>| {
        let arrivals = Arc::clone(&arrivals);
        async move {
            let at = start.elapsed();
            arrivals.lock().unwrap().attempts.push(at);
            sleep(Duration::from_millis(20)).await;
            let fails = (BEGINS..ENDS).contains(&at);
            if at >= ENDS {
                arrivals.lock().unwrap().recovered.get_or_insert(at);
            }
            Ok::<_, BoxError>(Response::builder().status(if fails { 503 } else { 200 }).body(())?)
        }
    });
    let circuit = Circuit::builder("upstream").consecutive(5).open_for(OPEN).build().unwrap();
    let share = Share::FINAGLE;
    let policy = RetryPolicy::http()
        .backoff(Backoff::exponential(Duration::from_secs(1), 2.0).jitter(Jitter::Full))
        .budget(RetryBudget::share(share))
        .local(|error: &BoxError| error.is::<Open>())
        .seed(7)
        .build()
        .unwrap();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(CircuitLayer::new(circuit.clone(), judge))
        .service(upstream);

    let local = LocalSet::new();
    for n in 0..CALLERS {
        let (mut service, seen) = (service.clone(), Arc::clone(&seen));
        local.spawn_local(async move {
            let mut chance = fastrand::Rng::with_seed(n);
            while start.elapsed() < OVER {
                sleep(Duration::from_millis(500 + chance.u64(..1_000))).await;
                seen.lock().unwrap().calls.push(start.elapsed());
                let request = Request::get("/deals").body(()).unwrap();
                let _ = service.ready().await.unwrap().call(request).await;
            }
        });
    }
    local.await;

    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let (attempts, calls) = (Seen::in_outage(&seen.attempts), Seen::in_outage(&seen.calls));
    let seconds = (ENDS - BEGINS).as_secs();
    let promise = calls / 5 + 10 * seconds;
    let late = seen.recovered.expect("it came back") - ENDS;
    say(format_args!(
        "{calls} calls and {attempts} attempts in the outage, {} refused; {promise} retries promised; noticed after {late:?}",
        circuit.status().refused
    ));
    // Far less than what the budget alone would allow: those under way when it began, and trials.
    assert!(attempts * 5 <= promise * 6, "{attempts} attempts, {promise} promised");
    assert!(attempts <= 5 + 60 + 3 * (seconds / OPEN.as_secs() + 1), "{attempts} into the void");
    assert!(attempts >= 5 + seconds / OPEN.as_secs() - 1, "trials are made: {attempts}");
    assert!(late <= OPEN + Duration::from_millis(100), "{late:?}");
    // Nobody waits for anybody else, so that no wave goes through once it is back.
    for second in 46..OVER.as_secs() {
        let mut tenths = [0; 10];
        for at in seen.attempts.iter().filter(|at| at.as_secs() == second) {
            tenths[at.subsec_millis() as usize / 100] += 1;
        }
        say(format_args!("second {second}: {tenths:?}"));
        assert!(tenths.iter().all(|&n| n > 0 && n < CALLERS / 5), "a wave: {tenths:?}");
    }
}
