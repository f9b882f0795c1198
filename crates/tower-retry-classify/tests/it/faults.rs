//! Faults on purpose.

use std::{io, io::ErrorKind};

use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_retry_classify::{Fault, FaultLayer, Injected};

use crate::support::*;

fn teapot() -> Fault<Response> {
    Fault::answer(|| status(418).unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_fault_does_what_it_says_in_the_order_of_the_script() {
    let faults = FaultLayer::builder()
        .script([
            Some(Fault::Error(ErrorKind::ConnectionRefused)),
            None,
            Some(teapot()),
            Some(Fault::Lost(ErrorKind::BrokenPipe)),
            Some(Fault::Delay(seconds(3))),
            Some(Fault::Hang),
        ])
        .build()
        .unwrap();
    let script = Script::new((0..4).map(|_| status(200)));
    let service = ServiceBuilder::new().layer(faults.clone()).service(script.clone());
    let ask = || service.clone().oneshot(get());
    let kind = |outcome: Outcome| {
        let error = *outcome.unwrap_err().downcast::<io::Error>().unwrap();
        assert!(error.get_ref().unwrap().is::<Injected>());
        error.kind()
    };

    assert_eq!(kind(ask().await), ErrorKind::ConnectionRefused);
    assert_eq!(script.calls(), 0, "it was not sent");
    assert_eq!(ask().await.unwrap().status(), 200);
    assert_eq!(ask().await.unwrap().status(), 418);
    assert_eq!(script.calls(), 1);
    assert_eq!(kind(ask().await), ErrorKind::BrokenPipe);
    assert_eq!(script.calls(), 2, "it was sent, and the answer was lost");
    let start = Instant::now();
    assert_eq!(ask().await.unwrap().status(), 200);
    assert!((3_000..3_002).contains(&start.elapsed().as_millis()));
    assert!(tokio::time::timeout(seconds(86_400), ask()).await.is_err());
    assert_eq!(ask().await.unwrap().status(), 200, "the script is over");
    assert_eq!(faults.injected(), 5);
}

async fn drawn(seed: u64) -> Vec<u16> {
    let faults = FaultLayer::builder()
        .chance(0.2, teapot())
        .chance(0.1, Fault::answer(|| status(500).unwrap()))
        .seed(seed)
        .build()
        .unwrap();
    let script = Script::new((0..1_000).map(|_| status(200)));
    let service = ServiceBuilder::new().layer(faults).service(script);
    let mut seen = Vec::new();
    for _ in 0..1_000 {
        seen.push(service.clone().oneshot(get()).await.unwrap().status().as_u16());
    }
    seen
}

#[tokio::test]
async fn chance_keeps_its_parts_and_a_seed_repeats_it() {
    let seen = drawn(1).await;
    let part = |code| seen.iter().filter(|it| **it == code).count();
    assert!((160..240).contains(&part(418)), "{}", part(418));
    assert!((70..130).contains(&part(500)), "{}", part(500));
    assert_eq!(seen, drawn(1).await);
    assert_ne!(seen, drawn(2).await);
}

#[tokio::test]
async fn it_can_be_switched_off_and_on() {
    let faults = FaultLayer::builder().chance(1.0, teapot()).build().unwrap();
    let script = Script::new([status(200)]);
    let service = ServiceBuilder::new().layer(faults.clone()).service(script);
    for (enabled, code) in [(false, 200), (true, 418)] {
        faults.set_enabled(enabled);
        assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), code);
    }
    assert_eq!(faults.injected(), 1);
}
