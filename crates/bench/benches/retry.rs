//! The retry beside its peers: a call that goes well at once, one that fails for good,
//! and one that is tried once more without a wait. Allocations are counted in the same
//! run: a line without an `alloc` column allocates nothing.

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    // Some peers make timers; none of them may fire here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _context = runtime.enter();
    divan::Divan::from_args().sample_count(200).sample_size(1_000).main();
}

/// Polls once; all that is measured here is ready then.
fn now<F: Future>(future: F) -> F::Output {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).as_mut().poll(&mut cx) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => unreachable!("nothing waits"),
    }
}

mod clock {
    #[divan::bench]
    fn one_tokio_instant(bencher: divan::Bencher) {
        bencher.bench_local(tokio::time::Instant::now);
    }

    #[divan::bench]
    fn one_uncontended_mutex(bencher: divan::Bencher) {
        let mutex = std::sync::Mutex::new(0_u64);
        bencher.bench_local(|| *divan::black_box(&mutex).lock().expect("nothing panics") += 1);
    }
}

mod peers {
    use std::{fmt, future::ready, time::Duration};

    use backon::{ConstantBuilder, Retryable as _};
    use bench::{Echo, one_call};
    use divan::{Bencher, black_box};
    use tower::{BoxError, Layer};

    #[derive(Clone, Debug)]
    struct Failed;
    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("failed")
        }
    }
    impl std::error::Error for Failed {}

    #[divan::bench]
    fn tower_resilience_retry(bencher: Bencher) {
        let inner = tower::util::MapErr::new(Echo, |_: BoxError| Failed);
        let mut service = tower_resilience_retry::RetryLayer::<(), (), Failed>::builder().build().layer(inner);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[divan::bench]
    fn backon(bencher: Bencher) {
        let backoff = ConstantBuilder::new().with_delay(Duration::ZERO).with_max_times(3);
        bencher.bench_local(|| {
            super::now((|| ready(Ok::<_, Failed>(black_box(())))).retry(backoff)).is_ok()
        });
    }
}

mod ours {
    use std::{future::ready, time::Duration};

    use bench::{Echo, one_call};
    use bytes::Bytes;
    use divan::{Bencher, black_box};
    use http::{HeaderName, Request, Response};
    use tower::{BoxError, ServiceBuilder, retry::RetryLayer, service_fn};
    use tower_retry_classify::{
        AwsCodes, Backoff, Category, Class, Failed, FallbackLayer, GrpcStatus, IdempotencyKeyLayer,
        Jitter, Learning, Operation, RecentHistory, RetryBudget, RetryBuilder, RetryPolicy, Rule,
        RuleSet, Rules, Share, Verdict,
    };

    fn classify(_: &(), outcome: Result<&(), &BoxError>) -> Verdict {
        match outcome {
            Ok(()) => Verdict::NoOpinion,
            Err(_) => Verdict::retry(Class::Other),
        }
    }

    fn plain() -> RetryBuilder<(), ()> {
        RetryPolicy::builder().classify(classify)
    }

    #[divan::bench]
    fn retry(bencher: Bencher) {
        let mut service = tower::retry::Retry::new(plain().build().expect("valid"), Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[divan::bench]
    fn retry_with_a_share_as_budget(bencher: Bencher) {
        let policy = plain().budget(RetryBudget::share(Share::FINAGLE)).build().expect("valid");
        let mut service = tower::retry::Retry::new(policy, Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[divan::bench]
    fn run_a_closure(bencher: Bencher) {
        let policy = RetryPolicy::<Operation, ()>::operations().build().expect("valid");
        bencher.bench_local(|| {
            let deals = Operation::read("deals");
            super::now(policy.run(deals, |_| ready(Ok::<_, BoxError>(black_box(()))))).is_ok()
        });
    }

    type Ask = Request<Bytes>;
    type Answer = Response<Bytes>;

    fn http() -> RetryBuilder<Ask, Answer> {
        let mut rule = Rule::new(Category::Recoverable, "server");
        rule.status = vec![404, 409];
        RetryPolicy::http()
            .classify(AwsCodes::new())
            .classify(GrpcStatus::new())
            .classify(Rules::new(RuleSet::new([rule]), &[]).expect("valid"))
    }

    fn ask() -> Ask {
        Request::new(Bytes::new())
    }

    #[divan::bench]
    fn http_bare(bencher: Bencher) {
        bencher.bench_local(|| one_call(&mut Echo, ask()).is_ok());
    }

    #[divan::bench]
    fn http_with_five_classifiers(bencher: Bencher) {
        let mut service = tower::retry::Retry::new(http().build().expect("valid"), Echo);
        bencher.bench_local(|| one_call(&mut service, ask()).is_ok());
    }

    #[divan::bench]
    fn http_fallback_key_retry(bencher: Bencher) {
        let mut service = ServiceBuilder::new()
            .layer(FallbackLayer::new(|failed: Failed<Answer>| async { failed.outcome }))
            .layer(IdempotencyKeyLayer::new(HeaderName::from_static("idempotency-key")))
            .layer(RetryLayer::new(http().build().expect("valid")))
            .service(Echo);
        bencher.bench_local(|| one_call(&mut service, ask()).is_ok());
    }

    fn failing(status: u16) -> impl Fn(Ask) -> std::future::Ready<Result<Answer, BoxError>> + Clone {
        move |_| {
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = http::StatusCode::from_u16(status).expect("valid");
            ready(Ok(answer))
        }
    }

    #[divan::bench]
    fn http_final_failure(bencher: Bencher) {
        let policy = http().build().expect("valid");
        let mut service = tower::retry::Retry::new(policy, service_fn(failing(403)));
        bencher.bench_local(|| one_call(&mut service, ask()).is_ok());
    }

    #[divan::bench]
    fn http_final_failure_with_history_and_learning(bencher: Bencher) {
        let policy = http().history(RecentHistory::default()).learning(Learning::new()).build();
        let mut service =
            tower::retry::Retry::new(policy.expect("valid"), service_fn(failing(403)));
        bencher.bench_local(|| one_call(&mut service, ask()).is_ok());
    }

    #[divan::bench]
    fn http_one_retry_without_wait_then_given_up(bencher: Bencher) {
        let policy = http()
            .max_retries(1)
            .backoff(Backoff::constant(Duration::ZERO).jitter(Jitter::None))
            .budget(RetryBudget::unlimited())
            .build()
            .expect("valid");
        let mut service = tower::retry::Retry::new(policy, service_fn(failing(503)));
        bencher.bench_local(|| one_call(&mut service, ask()).is_ok());
    }
}
