//! The loop of a probe, on a paused clock.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower::{service_fn, util::BoxCloneSyncService};
use tower_health::{BoxError, Change, CheckOutcome, ErrorsBad, Prober, ProberBuilder, State};

const SECOND: Duration = Duration::from_secs(1);

type Inner = BoxCloneSyncService<(), (), BoxError>;
type Builder = ProberBuilder<Inner, fn(), ErrorsBad>;

/// When it was asked. Answers after `seconds`; fails while `down`.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<Instant>>>,
    seconds: Arc<AtomicU32>,
    down: Arc<AtomicBool>,
}

impl Server {
    fn prober(&self) -> Builder {
        let server = self.clone();
        let answer = move |()| {
            let server = server.clone();
            async move {
                server.asked.lock().unwrap().push(Instant::now());
                sleep(server.seconds.load(Relaxed) * SECOND).await;
                if server.down.load(Relaxed) { Err(BoxError::from("down")) } else { Ok(()) }
            }
        };
        let request: fn() = || ();
        Prober::builder("test", BoxCloneSyncService::new(service_fn(answer)), request)
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn run(builder: Builder) -> (Prober<Inner, fn()>, tower_health::LoopHandle) {
    let prober = builder.build().unwrap();
    let (handle, watching) = prober.watch_over();
    tokio::spawn(watching);
    (prober, handle)
}

#[tokio::test(start_paused = true)]
async fn it_asks_each_interval_until_its_handle_is_dropped() {
    let server = Server::default();
    let (prober, handle) = run(server.prober());
    sleep(3_000 * SECOND).await;
    // The first within 30 s, then every 300 s.
    assert_eq!(server.asked(), 10);
    let asked = server.asked.lock().unwrap().clone();
    assert!(asked.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(300 * SECOND) < SECOND / 10));
    assert_eq!(prober.state(), State::Healthy);
    drop(handle);
    sleep(3_000 * SECOND).await;
    assert_eq!(server.asked(), 10);
    // Nobody asked for fifteen minutes: nobody knows.
    assert_eq!(prober.state(), State::Unknown);
    assert_eq!(prober.status().reason.to_string(), "no check for 900s");
}

#[tokio::test(start_paused = true)]
async fn stopping_gives_up_the_check_on_its_way() {
    let server = Server::default();
    server.seconds.store(5, Relaxed);
    let (prober, handle) = run(server.prober().start_within(Duration::ZERO));
    sleep(SECOND).await;
    assert_eq!(server.asked(), 1);
    handle.stop();
    sleep(10 * SECOND).await;
    assert_eq!((prober.status().checks, prober.state()), (0, State::Unknown));
    // And its turn is free for the next.
    assert_eq!(prober.check().await.outcome, CheckOutcome::Good);
}

#[tokio::test(start_paused = true)]
async fn many_loops_started_at_once_do_not_ask_at_once() {
    let server = Server::default();
    let loops: Vec<_> = (0..200).map(|_| run(server.prober())).collect();
    // Within 30 s; timers round up.
    sleep(31 * SECOND).await;
    assert_eq!(server.asked(), 200);
    let start = server.asked.lock().unwrap()[0];
    for second in 0..30 {
        let asked = server.asked.lock().unwrap();
        let within = asked.iter().filter(|at| (**at - start).as_secs() == second).count();
        assert!(within < 25, "{within} of 200 in second {second}");
    }
    drop(loops);
}

#[tokio::test(start_paused = true)]
async fn loop_and_callers_share_one_check_and_a_young_one_is_not_repeated() {
    let server = Server::default();
    server.seconds.store(2, Relaxed);
    let (prober, _handle) = run(server.prober().start_within(Duration::ZERO).interval(10 * SECOND));
    sleep(SECOND).await;
    assert_eq!(prober.check().await.outcome, CheckOutcome::Good);
    assert_eq!(server.asked(), 1);
    // The life time of a minute holds for callers; the loop asks again after ten seconds.
    sleep(9 * SECOND).await;
    assert_eq!(server.asked(), 2);
    prober.check().await;
    assert_eq!(server.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_check_is_not_made_up_for() {
    let server = Server::default();
    server.seconds.store(9, Relaxed);
    let builder = server.prober().start_within(Duration::ZERO).interval(3 * SECOND);
    let (_prober, _handle) = run(builder);
    sleep(90 * SECOND).await;
    // The answer of nine seconds is fresh when it comes, so the next is due three later.
    assert!((7..=8).contains(&server.asked()), "{}", server.asked());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_the_budget_is_gone_and_the_state_is_not_kept_for_ever() {
    let server = Server::default();
    let gone = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&gone);
    let changes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&changes);
    let (prober, _handle) = run(server
        .prober()
        .start_within(Duration::ZERO)
        .skip_if(move || asked.load(Relaxed))
        .on_change(move |change: &Change| seen.lock().unwrap().push(change.to)));
    sleep(SECOND).await;
    assert_eq!((server.asked(), prober.state()), (1, State::Healthy));
    gone.store(true, Relaxed);
    sleep(600 * SECOND).await;
    assert_eq!((server.asked(), prober.state()), (1, State::Healthy));
    let check = prober.check().await;
    assert_eq!((check.outcome, check.state), (CheckOutcome::Skipped, State::Healthy));
    // A skip is not kept: the next who asks makes a check if there is budget again.
    gone.store(false, Relaxed);
    assert_eq!(prober.check().await.outcome, CheckOutcome::Good);
    let status = prober.status();
    assert_eq!((status.checks, status.skipped, status.recent.len()), (2, 3, 2));
    gone.store(true, Relaxed);
    // The loop itself finds that the last answer is too old: nobody asks here.
    sleep(1_300 * SECOND).await;
    assert_eq!(*changes.lock().unwrap(), [State::Healthy, State::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_heard_of_by_listeners_in_order() {
    let server = Server::default();
    let changes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&changes);
    let builder = server.prober().on_change(move |change| seen.lock().unwrap().push(change.to));
    let (_prober, _handle) = run(builder);
    sleep(400 * SECOND).await;
    server.down.store(true, Relaxed);
    sleep(900 * SECOND).await;
    server.down.store(false, Relaxed);
    sleep(300 * SECOND).await;
    use State::{Degraded, Healthy, Unavailable};
    assert_eq!(*changes.lock().unwrap(), [Healthy, Degraded, Unavailable, Healthy]);
}
