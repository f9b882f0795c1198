//! The circuit beside its peers, in one run: closed, refused, keyed, two threads.
//!
//! Words on the command line choose tables and rows; `BENCH_ROUNDS` and
//! `BENCH_CALLS` change the size. Ours is always the service around one that
//! answers at once; each peer is what its name says.

use std::{
    collections::HashMap,
    hash::RandomState,
    hint::black_box,
    sync::{Arc, Mutex},
    time::{Duration, Instant as StdInstant},
};

use bench::{
    Echo,
    counting::counted,
    one_call,
    pairs::{self, both, shared},
    rounds::{self, Case, wanted},
};
use failsafe::{CircuitBreaker as _, backoff, failure_policy};
use recloser::Recloser;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};
use tower_circuit::{
    Circuit, CircuitBuilder, CircuitLayer, Circuits, GateLayer, GuardLayer, Verdict, Window,
};

#[global_allocator]
static ALLOC: bench::counting::Counting = bench::counting::Counting;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _context = runtime.enter();
    closed();
    refused();
    for count in [1, 1_000, 1_000_000] {
        keyed(count);
    }
    two_threads();
}

fn judge(outcome: Result<&(), &BoxError>) -> Verdict {
    if outcome.is_ok() { Verdict::Success } else { Verdict::Failure }
}

fn row() -> CircuitBuilder {
    Circuit::builder("bench").consecutive(5)
}

fn ratio() -> CircuitBuilder {
    row().failure_ratio(0.5)
}

fn all() -> CircuitBuilder {
    ratio().slow_ratio(0.5, Duration::from_secs(5))
}

/// As large as the window can be.
fn million(builder: CircuitBuilder) -> CircuitBuilder {
    builder.window(Window::Calls(1_000_000), 20)
}

fn ours(builder: CircuitBuilder) -> impl FnMut() + Clone {
    let circuit = builder.build().expect("valid");
    through(CircuitLayer::new(circuit, judge).layer(Echo))
}

fn through<S>(mut service: S) -> impl FnMut() + Clone
where
    S: Service<(), Response = (), Error = BoxError> + Clone,
{
    move || {
        let _ = black_box(one_call(&mut service, black_box(())).is_ok());
    }
}

type Resilience = tower_resilience_circuitbreaker::CircuitBreaker<
    Echo,
    tower_resilience_circuitbreaker::DefaultClassifier,
>;

fn resilience() -> impl FnMut() + Clone {
    let layer = tower_resilience_circuitbreaker::CircuitBreakerLayer::builder()
        .build()
        .expect("its defaults");
    let mut service: Resilience = layer.layer(Echo);
    move || {
        let _ = black_box(one_call(&mut service, black_box(())).is_ok());
    }
}

fn recloser() -> Recloser {
    Recloser::custom()
        .error_rate(0.5)
        .closed_len(100)
        .half_open_len(10)
        .open_wait(Duration::from_secs(3_600))
        .build()
}

fn failsafe() -> failsafe::StateMachine<failure_policy::ConsecutiveFailures<backoff::Constant>, ()>
{
    let wait = backoff::constant(Duration::from_secs(3_600));
    failsafe::Config::new().failure_policy(failure_policy::consecutive_failures(5, wait)).build()
}

fn closed() {
    let bare = Mutex::new(0_u64);
    rounds::run(
        "closed",
        vec![
            Case::new("a bare clock and mutex", || {
                || {
                    black_box(Instant::now());
                    *bare.lock().expect("nothing panics") += 1;
                }
            }),
            Case::new("ours, failures in a row", || ours(row())),
            Case::new("ours, and a failure ratio", || ours(ratio())),
            Case::new("ours, and slow calls", || ours(all())),
            Case::new("ours, the same on the last 10 calls", || {
                ours(all().window(Window::Calls(10), 10))
            }),
            Case::new("ours, the same on the last 1,000,000 calls", || ours(million(all()))),
            Case::new("ours, the ratio, gate and guard", || {
                let circuit = ratio().build().expect("valid");
                let guard = GuardLayer::new(circuit.clone(), judge).layer(Echo);
                through(GateLayer::new(circuit).layer(guard))
            }),
            Case::new("ours, failures in a row: call without tower", || {
                let circuit = row().build().expect("valid");
                move || {
                    let call = circuit.call(std::future::ready(Ok::<(), BoxError>(())));
                    let mut call = std::pin::pin!(call);
                    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                    assert!(call.as_mut().poll(&mut cx).is_ready());
                }
            }),
            Case::new("recloser, the last 100 calls: no service", || {
                let recloser = recloser();
                move || assert!(recloser.call(|| Ok::<(), ()>(())).is_ok())
            }),
            Case::new("failsafe, failures in a row: no service", || {
                let breaker = failsafe();
                move || assert!(breaker.call(|| Ok::<(), ()>(())).is_ok())
            }),
            Case::new("tower-resilience, the last 100 calls", resilience),
        ],
    );
}

fn refused() {
    let open = |builder: CircuitBuilder| {
        let circuit = builder.open_for(Duration::from_secs(3_600)).build().expect("valid");
        (0..5).for_each(|_| circuit.admit().expect("closed").record(Verdict::Failure));
        circuit
    };
    rounds::run(
        "refused",
        vec![
            Case::new("ours, alone", || through(CircuitLayer::new(open(row()), judge).layer(Echo))),
            Case::new("ours, gate", || through(GateLayer::new(open(row())).layer(Echo))),
            Case::new("ours, opened by one of three rules", || {
                through(CircuitLayer::new(open(all()), judge).layer(Echo))
            }),
            Case::new("recloser: no service", || {
                let recloser = recloser();
                (0..1_000).for_each(|_| drop(recloser.call(|| Err::<(), _>(()))));
                move || {
                    assert!(matches!(
                        recloser.call(|| Ok::<(), ()>(())),
                        Err(recloser::Error::Rejected)
                    ))
                }
            }),
            Case::new("failsafe: no service", || {
                let breaker = failsafe();
                (0..5).for_each(|_| drop(breaker.call(|| Err::<(), _>(()))));
                move || {
                    assert!(matches!(
                        breaker.call(|| Ok::<(), ()>(())),
                        Err(failsafe::Error::Rejected)
                    ))
                }
            }),
        ],
    );
}

/// As large as one of our circuits.
type State = [u64; 40];

/// The keys in a random order, again and again; each has called once before `act` is measured.
fn in_turn(keys: &Arc<[u64]>, mut act: impl FnMut(u64)) -> impl FnMut() {
    let keys = Arc::clone(keys);
    keys.iter().for_each(|key| act(*key));
    let mut at = 0;
    move || {
        act(keys[at]);
        at = if at + 1 == keys.len() { 0 } else { at + 1 };
    }
}

fn of_keys(keys: &Arc<[u64]>, builder: CircuitBuilder) -> impl FnMut() {
    let circuits: Circuits<u64> = builder.keyed().max_keys(2_000_000).build().expect("valid");
    let layer = CircuitLayer::new(circuits.by(|key: &u64| *key), judge);
    let mut service = layer.layer(Echo);
    in_turn(keys, move |key| {
        let _ = black_box(one_call(&mut service, key));
    })
}

/// What nobody can do without: the clock, a lock, the key's state.
fn bare(keys: &Arc<[u64]>) -> impl FnMut() {
    let map: Mutex<HashMap<u64, Box<State>, RandomState>> = Mutex::default();
    in_turn(keys, move |key| {
        let now = black_box(Instant::now());
        let mut map = map.lock().expect("nothing panics");
        let state = map.entry(key).or_insert_with(|| Box::new([0; 40]));
        state[0] += 1;
        state[1] = u64::from(now.duration_since(now).is_zero());
    })
}

fn keyed(count: usize) {
    let keys = numbers(count);
    let title = format!("keyed, {count} {}", if count == 1 { "key" } else { "keys" });
    if count == 1_000_000 && wanted(&title, "bytes") {
        let circuits: Circuits<u64> = row().keyed().max_keys(2_000_000).build().expect("valid");
        let ((), held) = counted(|| keys.iter().for_each(|key| drop(circuits.get(key))));
        println!("\n{title}: {} bytes each", held.bytes / count as i64);
        let start = StdInstant::now();
        drop(circuits);
        println!("dropped in {:?}", start.elapsed());
    }
    rounds::run(
        &title,
        vec![
            Case::new("a bare map: clock, mutex, HashMap of boxes of 320 bytes", || bare(&keys)),
            Case::new("ours, failures in a row", || of_keys(&keys, row())),
            Case::new("ours, and a failure ratio", || of_keys(&keys, ratio())),
            Case::new("ours, and slow calls", || of_keys(&keys, all())),
        ],
    );
}

fn two_threads() {
    pairs::run(
        "two threads",
        vec![
            shared("a bare clock and mutex", Mutex::new(0_u64), |mutex| {
                black_box(Instant::now());
                *mutex.lock().expect("nothing panics") += 1;
            }),
            both("ours, failures in a row", ours(row())),
            both("ours, and a failure ratio", ours(ratio())),
            both("ours, and slow calls", ours(all())),
            shared("recloser: no service", recloser(), |recloser| {
                assert!(recloser.call(|| Ok::<(), ()>(())).is_ok());
            }),
            shared("failsafe: no service", failsafe(), |breaker| {
                assert!(breaker.call(|| Ok::<(), ()>(())).is_ok());
            }),
        ],
    );
}

/// Numbers that do not follow one another, in an order that no cache can guess.
fn numbers(count: usize) -> Arc<[u64]> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut keys: Vec<u64> = (0..count).map(|_| next()).collect();
    for at in (1..count).rev() {
        keys.swap(at, next() as usize % (at + 1));
    }
    keys.into()
}
