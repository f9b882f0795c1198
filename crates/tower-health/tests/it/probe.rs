//! The active probe, on a paused clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{service_fn, util::BoxCloneSyncService};
use tower_health::{BoxError, CheckOutcome, Prober, Reason, State, Verdict};

const SECOND: Duration = Duration::from_secs(1);

type Inner = BoxCloneSyncService<u32, (), BoxError>;

/// Answers after `took`; fails while `failing` says so. Counts what it was asked.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<AtomicU32>,
    failing: Arc<AtomicU32>,
    millis: Arc<AtomicU32>,
}

impl Server {
    fn service(&self) -> Inner {
        let server = self.clone();
        BoxCloneSyncService::new(service_fn(move |request: u32| {
            let server = server.clone();
            async move {
                assert_eq!(request, 7);
                server.asked.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(server.millis.load(Ordering::SeqCst).into())).await;
                if server.failing.load(Ordering::SeqCst) > 0 {
                    return Err(BoxError::from("down"));
                }
                Ok(())
            }
        }))
    }

    fn prober(&self) -> Prober<Inner, fn() -> u32> {
        self.builder_of(60 * SECOND)
    }

    fn builder_of(&self, ttl: Duration) -> Prober<Inner, fn() -> u32> {
        Prober::builder("test", self.service(), (|| 7) as fn() -> u32).ttl(ttl).build().unwrap()
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    fn fail(&self, yes: bool) {
        self.failing.store(yes.into(), Ordering::SeqCst);
    }

    fn take(&self, millis: u32) {
        self.millis.store(millis, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_life_time() {
    let server = Server::default();
    let prober = server.prober();
    assert_eq!(prober.state(), State::Unknown);
    assert_eq!(server.asked(), 0, "it asks nobody until it is asked");
    for _ in 0..10 {
        assert_eq!(prober.check().await.state, State::Healthy);
    }
    assert_eq!(server.asked(), 1);
    advance(59 * SECOND).await;
    prober.check().await;
    assert_eq!(server.asked(), 1);
    advance(SECOND).await;
    prober.check().await;
    assert_eq!(server.asked(), 2);
    assert!(prober.is_healthy());
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_share_one_request() {
    for ttl in [60 * SECOND, Duration::ZERO] {
        let server = Server::default();
        server.take(500);
        let prober = server.builder_of(ttl);
        let mut asking: Vec<_> = (0..100).map(|_| task::spawn(prober.check())).collect();
        for one in &mut asking {
            assert_pending!(one.poll());
        }
        assert_eq!(server.asked(), 1);
        advance(Duration::from_millis(501)).await;
        let first = assert_ready!(asking[0].poll());
        for one in &mut asking[1..] {
            assert!(one.is_woken() || one.poll().is_ready());
            assert_eq!(assert_ready!(one.poll()), first);
        }
        assert_eq!(server.asked(), 1, "with a life time of {ttl:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_one_that_asks_is_dropped_another_takes_over() {
    let server = Server::default();
    server.take(500);
    let prober = server.prober();
    let mut leader = task::spawn(prober.check());
    let mut second = task::spawn(prober.check());
    let mut third = task::spawn(prober.check());
    assert_pending!(leader.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    drop(leader);
    assert!(second.is_woken());
    // The heir may be dropped, too, even after it was woken.
    drop(second);
    assert!(third.is_woken());
    assert_pending!(third.poll());
    assert_eq!(server.asked(), 2);
    advance(Duration::from_millis(501)).await;
    assert_eq!(assert_ready!(third.poll()).state, State::Healthy);
    assert_eq!(prober.status().checks, 1, "a check given up is no check");
}

#[tokio::test(start_paused = true)]
async fn failures_degrade_and_three_make_it_unavailable() {
    let server = Server::default();
    let prober = server.builder_of(Duration::ZERO);
    prober.check().await;
    server.fail(true);
    for state in [State::Degraded, State::Degraded, State::Unavailable, State::Unavailable] {
        let check = prober.check().await;
        assert_eq!(check.state, state);
        assert_eq!(check.outcome, CheckOutcome::Failed("down".into()));
    }
    let status = prober.status();
    assert_eq!((status.consecutive_failures, status.checks), (4, 5));
    assert_eq!(status.success_rate, Some(0.2));
    assert_eq!(status.reason, Reason::Streak { bad: 3 });
    server.fail(false);
    assert_eq!(prober.check().await.state, State::Healthy, "it recovers with the first good one");
    server.fail(true);
    assert_eq!(prober.check().await.state, State::Degraded, "the old row is over");
    assert_eq!(prober.status().consecutive_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_of_failures_does_not_reach_over_a_time_that_nobody_knows_of() {
    let server = Server::default();
    let prober = server.builder_of(SECOND);
    server.fail(true);
    for _ in 0..2 {
        assert_eq!(prober.check().await.state, State::Degraded);
        advance(2 * SECOND).await;
    }
    advance(900 * SECOND).await;
    assert_eq!(prober.state(), State::Unknown);
    for state in [State::Degraded, State::Degraded, State::Unavailable] {
        assert_eq!(prober.check().await.state, state);
        advance(2 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn slow_is_degraded_and_too_slow_is_a_failure() {
    let server = Server::default();
    let prober = server.builder_of(Duration::ZERO);
    server.take(900);
    assert_eq!(prober.check().await.state, State::Healthy);
    server.take(1_100);
    let check = prober.check().await;
    assert_eq!((check.state, check.outcome), (State::Degraded, CheckOutcome::Good));
    assert!(matches!(prober.status().reason, Reason::CheckSlow { .. }));
    server.take(11_000);
    let start = Instant::now();
    assert_eq!(prober.check().await.outcome, CheckOutcome::TimedOut);
    assert!(Instant::now() - start < 11 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn readiness_counts_towards_the_time_out() {
    let (mock, mut handle) = tower_test::mock::pair::<u32, ()>();
    handle.allow(0);
    let prober = Prober::builder("test", mock, || 7).build().unwrap();
    assert_eq!(prober.check().await.outcome, CheckOutcome::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn what_the_judge_ignores_moves_nothing_but_is_kept() {
    let server = Server::default();
    server.fail(true);
    let judge = |outcome: Result<&(), &BoxError>| match outcome {
        Ok(()) => Verdict::Good,
        Err(_) => Verdict::Ignore,
    };
    let prober = Prober::builder("test", server.service(), || 7).judge(judge).build().unwrap();
    for _ in 0..5 {
        assert_eq!(prober.check().await.outcome, CheckOutcome::Ignored);
    }
    let status = prober.status();
    assert_eq!((status.state, status.success_rate), (State::Unknown, None));
    assert_eq!(server.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_history_is_bounded() {
    let server = Server::default();
    let prober = server.builder_of(Duration::ZERO);
    for n in 0..120 {
        server.fail(n % 2 == 0);
        prober.check().await;
    }
    let status = prober.status();
    assert_eq!((status.recent.len(), status.checks), (50, 120));
    assert_eq!(status.success_rate, Some(0.5));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_hears_of_changes_only() {
    let server = Server::default();
    let prober = server.builder_of(Duration::ZERO);
    let mut watch = prober.watch();
    prober.check().await;
    assert_eq!(watch.borrow_and_update().to, State::Healthy);
    prober.check().await;
    assert!(!watch.has_changed().unwrap());
    server.fail(true);
    prober.check().await;
    assert_eq!(watch.borrow_and_update().to, State::Degraded);
}

#[tokio::test(start_paused = true)]
async fn clones_share_their_checks_and_can_be_sent() {
    fn sent<T: Send + Sync + 'static>(_: &T) {}
    let server = Server::default();
    let prober = server.prober();
    sent(&prober);
    let clone = prober.clone();
    let check = tokio::spawn(async move { clone.check().await }).await.unwrap();
    assert_eq!(prober.check().await, check);
    assert_eq!(server.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_service_does_not_wedge_the_probe() {
    let calls = Arc::new(AtomicU32::new(0));
    let service = {
        let calls = Arc::clone(&calls);
        service_fn(move |(): ()| {
            assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "on purpose");
            async { Ok::<_, BoxError>(()) }
        })
    };
    let prober = Prober::builder("test", service, || ()).build().unwrap();
    let clone = prober.clone();
    assert!(tokio::spawn(async move { clone.check().await }).await.unwrap_err().is_panic());
    assert_eq!(prober.check().await.state, State::Healthy);
}
