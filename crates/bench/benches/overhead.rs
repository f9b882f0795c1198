//! One call that passes straight through, layer by layer, beside the peers.
//! Allocations are counted in the same run: a line without an `alloc` column
//! allocates nothing.

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    // Some peers make timers; none of them may fire here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _context = runtime.enter();
    divan::Divan::from_args().sample_count(200).sample_size(1_000).main();
}

/// Names of so many targets, in no order.
fn names(targets: u64) -> Vec<String> {
    (0..targets).map(|n| format!("worker-{:05}", n * 7_919 % targets)).collect()
}

mod peers {
    use std::{num::NonZeroU32, time::Duration};

    use bench::{Echo, one_call};
    use divan::{Bencher, black_box};
    use tower::{BoxError, Layer, ServiceBuilder};

    #[divan::bench]
    fn a_bare_service(bencher: Bencher) {
        let mut service = black_box(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())));
    }

    #[derive(Clone)]
    struct Never;
    impl tower::retry::Policy<(), (), BoxError> for Never {
        type Future = std::future::Ready<()>;
        fn retry(&mut self, _: &mut (), _: &mut Result<(), BoxError>) -> Option<Self::Future> {
            None
        }
        fn clone_request(&mut self, _: &()) -> Option<()> {
            Some(())
        }
    }

    #[divan::bench]
    fn tower_retry(bencher: Bencher) {
        let mut service = tower::retry::Retry::new(Never, Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())));
    }

    #[divan::bench]
    fn tower_rate_limit(bencher: Bencher) {
        let mut service = ServiceBuilder::new().rate_limit(u64::MAX, Duration::from_secs(1)).service(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())));
    }

    #[divan::bench]
    fn tower_concurrency_limit(bencher: Bencher) {
        let mut service = ServiceBuilder::new().concurrency_limit(100).service(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())));
    }

    fn breaker() -> tower_resilience_circuitbreaker::CircuitBreakerLayer<
        tower_resilience_circuitbreaker::DefaultClassifier,
    > {
        tower_resilience_circuitbreaker::CircuitBreakerLayer::builder().build().expect("its defaults")
    }

    fn limiter() -> tower_resilience_ratelimiter::RateLimiterLayer {
        tower_resilience_ratelimiter::RateLimiterLayer::builder()
            .limit_for_period(usize::MAX >> 1)
            .refresh_period(Duration::from_secs(1))
            .build()
            .expect("its defaults")
    }

    #[divan::bench]
    fn tower_resilience_circuit(bencher: Bencher) {
        let mut service = breaker().layer(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[divan::bench]
    fn tower_resilience_limiter(bencher: Bencher) {
        let mut service = limiter().layer(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[derive(Clone, Debug)]
    struct Failed;
    impl std::fmt::Display for Failed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    fn tower_resilience_retry_circuit_limiter(bencher: Bencher) {
        let inner = tower::util::MapErr::new(breaker().layer(limiter().layer(Echo)), |_| Failed);
        let mut service = tower_resilience_retry::RetryLayer::<(), (), Failed>::builder().build().layer(inner);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    /// Asked for one of its resources; nothing of their traffic reaches it, so this is all there is to compare.
    fn tower_resilience_health(bencher: Bencher, targets: u64) {
        let mut builder = tower_resilience_healthcheck::HealthCheckWrapper::builder()
            .with_checker(|_: &()| std::future::ready(tower_resilience_healthcheck::HealthStatus::Healthy));
        let names = super::names(targets);
        for name in &names {
            builder = builder.with_context((), name.as_str());
        }
        let (checks, mut next) = (builder.build(), 0);
        bencher.bench_local(|| {
            next = if next + 1 == names.len() { 0 } else { next + 1 };
            futures_util::FutureExt::now_or_never(checks.get_status(black_box(&names[next])))
        });
    }

    #[divan::bench]
    fn tower_resilience_health_of_one_in_10(bencher: Bencher) {
        tower_resilience_health(bencher, 10);
    }

    #[divan::bench(sample_count = 20)]
    fn tower_resilience_health_of_one_in_10_000(bencher: Bencher) {
        tower_resilience_health(bencher, 10_000);
    }

    #[divan::bench]
    fn governor_check(bencher: Bencher) {
        let quota = governor::Quota::per_second(NonZeroU32::MAX);
        let limiter = governor::RateLimiter::direct(quota);
        bencher.bench_local(|| limiter.check().is_ok());
    }

    #[divan::bench]
    fn recloser_call(bencher: Bencher) {
        let breaker = recloser::Recloser::custom().build();
        bencher.bench_local(|| breaker.call(|| Ok::<_, Failed>(black_box(()))).is_ok());
    }

    #[divan::bench]
    fn one_tokio_instant(bencher: Bencher) {
        bencher.bench_local(tokio::time::Instant::now);
    }

    #[divan::bench]
    fn one_uncontended_mutex(bencher: Bencher) {
        let mutex = std::sync::Mutex::new(0_u64);
        bencher.bench_local(|| *black_box(&mutex).lock().expect("nothing panics") += 1);
    }
}

mod ours {
    use std::time::Duration;

    use bench::{Echo, one_call};
    use divan::{Bencher, black_box};
    use tower::{BoxError, Layer};
    use tower_circuit::{Circuit, CircuitLayer, GateLayer, GuardLayer, Verdict};
    use tower_health::{Health, HealthLayer};
    use tower_ratelimit_tokens::{Budget, Charge, Limiter, Outcome, Settle, TokenLimitLayer};
    use tower_retry_classify::RetryPolicy;

    fn consecutive() -> Circuit {
        Circuit::builder("bench").consecutive(5).build().expect("valid")
    }

    fn both() -> Circuit {
        Circuit::builder("bench").consecutive(5).failure_ratio(0.5).build().expect("valid")
    }

    fn judge(outcome: Result<&(), &BoxError>) -> Verdict {
        if outcome.is_ok() { Verdict::Success } else { Verdict::Failure }
    }

    #[divan::bench]
    fn circuit_consecutive(bencher: Bencher) {
        let mut service = CircuitLayer::new(consecutive(), judge).layer(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[divan::bench]
    fn circuit_ratio_and_consecutive(bencher: Bencher) {
        let mut service = CircuitLayer::new(both(), judge).layer(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[divan::bench]
    fn circuit_gate_and_guard(bencher: Bencher) {
        let circuit = both();
        let guard = GuardLayer::new(circuit.clone(), judge).layer(Echo);
        let mut service = GateLayer::new(circuit).layer(guard);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    fn classify(_: &(), outcome: Result<&(), &BoxError>) -> tower_retry_classify::Verdict {
        match outcome {
            Ok(()) => tower_retry_classify::Verdict::NoOpinion,
            Err(_) => tower_retry_classify::Verdict::retry(tower_retry_classify::Class::Other),
        }
    }

    fn policy() -> RetryPolicy<(), ()> {
        RetryPolicy::builder().classify(classify).max_retries(3).build().expect("valid")
    }

    #[divan::bench]
    fn retry(bencher: Bencher) {
        let mut service = tower::retry::Retry::new(policy(), Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    fn health_judge(outcome: Result<&(), &BoxError>) -> tower_health::Verdict {
        if outcome.is_ok() { tower_health::Verdict::Good } else { tower_health::Verdict::Bad }
    }

    #[divan::bench]
    fn health(bencher: Bencher) {
        let health = Health::builder("bench").build().expect("valid");
        let mut service = HealthLayer::new(health, health_judge).layer(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[divan::bench]
    fn health_record(bencher: Bencher) {
        let health = Health::builder("bench").build().expect("valid");
        let took = Duration::from_millis(30);
        bencher.bench_local(|| health.record(black_box(tower_health::Verdict::Good), black_box(took)));
    }

    #[divan::bench]
    fn health_gate(bencher: Bencher) {
        let health = Health::builder("bench").build().expect("valid");
        let gate = tower_health::HealthGateLayer::builder(health).build().expect("valid");
        let mut service = gate.layer(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    /// Ten thousand targets beat, one after the other in no order.
    fn heartbeat(bencher: Bencher, builder: tower_health::DetectorBuilder) {
        let detector = builder.build().expect("valid");
        let names = super::names(10_000);
        for name in &names {
            detector.register(name.as_str(), ()).expect("there is room");
        }
        let mut next = 0;
        bencher.bench_local(move || {
            next = if next + 1 == names.len() { 0 } else { next + 1 };
            detector.heartbeat(black_box(&names[next]))
        });
    }

    /// All that is known of one target, its figures included.
    fn status(bencher: Bencher, targets: u64) {
        let detector = tower_health::FailureDetector::builder("bench").build().expect("valid");
        let names = super::names(targets);
        for name in &names {
            detector.register(name.as_str(), ()).expect("there is room");
        }
        let mut next = 0;
        bencher.bench_local(|| {
            next = if next + 1 == names.len() { 0 } else { next + 1 };
            detector.health(black_box(&names[next]))
        });
    }

    #[divan::bench]
    fn detector_status_of_one_in_10(bencher: Bencher) {
        status(bencher, 10);
    }

    #[divan::bench]
    fn detector_status_of_one_in_10_000(bencher: Bencher) {
        status(bencher, 10_000);
    }

    #[divan::bench]
    fn detector_heartbeat_by_misses(bencher: Bencher) {
        heartbeat(bencher, tower_health::FailureDetector::builder("bench"));
    }

    #[divan::bench]
    fn detector_heartbeat_by_phi(bencher: Bencher) {
        heartbeat(bencher, tower_health::FailureDetector::builder("bench").phi(8.0));
    }

    const PLENTY: u64 = 4_000_000_000;

    fn limiter(freed_by_answer: bool) -> (Limiter, Charge) {
        let mut limits = Limiter::builder();
        let mut burst = Budget::rolling(PLENTY, Duration::from_secs(2));
        if freed_by_answer {
            burst = burst.freed_by_answer(Duration::from_secs(1));
        }
        let burst = limits.budget("burst", burst);
        let minute = limits.budget("minute", Budget::fixed(PLENTY, Duration::from_secs(60)));
        let day = limits.budget(
            "day",
            Budget::calendar_day(PLENTY, jiff::tz::TimeZone::UTC, jiff::civil::Time::midnight()),
        );
        let charge = Charge::new().with(burst, 1).with(minute, 1).with(day, 10);
        (limits.build().expect("valid"), charge)
    }

    #[divan::bench]
    fn limiter_of_three_budgets(bencher: Bencher) {
        let (limiter, charge) = limiter(false);
        let mut service = TokenLimitLayer::new(limiter, move |_: &()| charge).layer(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[divan::bench]
    fn limiter_of_three_budgets_settling(bencher: Bencher) {
        let (limiter, charge) = limiter(true);
        let mut service = TokenLimitLayer::new(limiter, move |_: &()| charge)
            .settle(|outcome: Outcome<'_, (), BoxError>| match outcome {
                Ok(()) => Settle::Keep,
                Err(_) => Settle::Refund,
            })
            .layer(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }

    #[divan::bench]
    fn retry_gate_limiter_guard_health(bencher: Bencher) {
        let circuit = both();
        let (limiter, charge) = limiter(true);
        let health = Health::builder("bench").build().expect("valid");
        let mut service = tower::ServiceBuilder::new()
            .layer(tower::retry::RetryLayer::new(policy()))
            .layer(GateLayer::new(circuit.clone()))
            .layer(TokenLimitLayer::new(limiter, move |_: &()| charge).settle(
                |outcome: Outcome<'_, (), BoxError>| match outcome {
                    Ok(()) => Settle::Keep,
                    Err(_) => Settle::Refund,
                },
            ))
            .layer(GuardLayer::new(circuit, judge))
            .layer(HealthLayer::new(health, health_judge))
            .service(Echo);
        bencher.bench_local(|| one_call(&mut service, black_box(())).is_ok());
    }
}

/// A real request: four headers, and what we know of a call as one `Arc` among its extensions.
mod http_request {
    use std::{sync::Arc, time::Duration};

    use bench::{Echo, one_call};
    use bytes::Bytes;
    use divan::Bencher;
    use http::{Request, Response};
    use tower::BoxError;
    use tower_circuit::{Circuit, GateLayer, GuardLayer, Verdict};
    use tower_health::{Health, HealthLayer};
    use tower_ratelimit_tokens::{Budget, Charge, CostTable, Limiter, Outcome, Settle, TokenLimitLayer};
    use tower_retry_classify::{HttpStatus, RetryPolicy};

    #[derive(Clone)]
    struct Call(#[allow(dead_code)] Arc<u64>);

    fn request() -> Request<Bytes> {
        Request::get("https://acme.pipedrive.com/api/v2/deals?limit=500")
            .header("x-api-token", "0123456789012345678901234567890123456789")
            .header("accept", "application/json")
            .header("x-request-id", "0123456789abcdef")
            .header("user-agent", "bench")
            .extension(Call(Arc::new(1)))
            .body(Bytes::new())
            .expect("valid")
    }

    #[divan::bench]
    fn clone_of_the_request(bencher: Bencher) {
        bencher.with_inputs(request).bench_local_refs(|request| request.clone());
    }

    #[divan::bench]
    fn a_bare_service(bencher: Bencher) {
        let mut service = Echo;
        bencher.with_inputs(request).bench_local_values(|request| one_call(&mut service, request));
    }

    type Answer = Response<Bytes>;

    #[divan::bench]
    fn retry_gate_limiter_guard_health(bencher: Bencher) {
        let circuit = Circuit::builder("bench")
            .consecutive(5)
            .failure_ratio(0.5)
            .build()
            .expect("valid");
        let mut limits = Limiter::builder();
        let burst = limits.budget(
            "burst",
            Budget::rolling(4_000_000_000, Duration::from_secs(2)).freed_by_answer(Duration::from_secs(1)),
        );
        let day = limits.budget(
            "day",
            Budget::calendar_day(4_000_000_000, jiff::tz::TimeZone::UTC, jiff::civil::Time::midnight()),
        );
        let limiter = limits.build().expect("valid");
        let costs = CostTable::new(Charge::new().with(burst, 1).with(day, 20))
            .route(http::Method::GET, "/api/v2/deals", Charge::new().with(burst, 1).with(day, 10))
            .route(http::Method::GET, "/api/v2/deals/{id}", Charge::new().with(burst, 1).with(day, 1));
        let policy = RetryPolicy::<Request<Bytes>, Answer>::builder()
            .classify(HttpStatus::new())
            .max_retries(3)
            .build()
            .expect("valid");
        let health = Health::builder("bench").build().expect("valid");
        let mut service = tower::ServiceBuilder::new()
            .layer(tower::retry::RetryLayer::new(policy))
            .layer(GateLayer::new(circuit.clone()))
            .layer(TokenLimitLayer::new(limiter, costs).settle(|outcome: Outcome<'_, Answer>| {
                if outcome.is_ok() { Settle::Keep } else { Settle::Refund }
            }))
            .layer(GuardLayer::new(circuit, |outcome: Result<&Answer, &BoxError>| match outcome {
                Ok(answer) if !answer.status().is_server_error() => Verdict::Success,
                _ => Verdict::Failure,
            }))
            .layer(HealthLayer::new(health, |outcome: Result<&Answer, &BoxError>| match outcome {
                Ok(answer) if !answer.status().is_server_error() => tower_health::Verdict::Good,
                _ => tower_health::Verdict::Bad,
            }))
            .service(Echo);
        bencher
            .with_inputs(request)
            .bench_local_values(|request| one_call(&mut service, request).is_ok());
    }
}
