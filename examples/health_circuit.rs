//! Health and a circuit that know nothing of each other: a probe that goes around the circuit forces it open while
//! the service is down, and closes it when the service is back. No call has to fail for either.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use examples::BoxError;
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_circuit::{Circuit, CircuitLayer, Verdict};
use tower_health::{Change, Prober, State};

#[tokio::main(flavor = "current_thread", start_paused = true)] // no waiting in an example
async fn main() -> Result<(), BoxError> {
    // A service that counts what reaches it, and can be down.
    let (down, reached) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (is_down, counter) = (Arc::clone(&down), Arc::clone(&reached));
    let api = service_fn(move |what: &'static str| {
        counter.fetch_add(u32::from(what != "/health"), Relaxed);
        let down = is_down.load(Relaxed);
        async move { if down { Err(BoxError::from("down")) } else { Ok(what) } }
    });

    let circuit = Circuit::builder("api").consecutive(5).build()?;
    let judge = |outcome: Result<&&str, &BoxError>| match outcome {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Failure,
    };
    let calls = CircuitLayer::new(circuit.clone(), judge).layer(api.clone());

    // The probe asks the service itself: the open circuit does not stand in its way.
    let lever = circuit.clone();
    let prober = Prober::builder("api", api, || "/health")
        .interval(Duration::from_secs(30))
        .failure_threshold(2)
        .on_change(move |change: &Change| {
            println!("health: {} to {}, {}", change.from, change.to, change.reason);
            match change.to {
                State::Unavailable => lever.force_open(None),
                State::Healthy => lever.reset(),
                _ => {}
            }
        })
        .build()?;
    let (probing, watching) = prober.watch_over();
    tokio::spawn(watching);

    sleep(Duration::from_secs(60)).await;
    assert_eq!(calls.clone().oneshot("/deals").await?, "/deals");

    down.store(true, Relaxed);
    sleep(Duration::from_secs(60)).await;
    let refused = calls.clone().oneshot("/deals").await.unwrap_err();
    println!("call: {refused}");
    assert_eq!(reached.load(Relaxed), 1, "the call was not sent");

    down.store(false, Relaxed);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(calls.oneshot("/deals").await?, "/deals");
    probing.stop();
    Ok(())
}
