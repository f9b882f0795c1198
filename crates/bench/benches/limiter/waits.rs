//! One call that has to wait: it joins the queue, and leaves it again or is let
//! in by the end of another.

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bench::{
    Echo, one_wait,
    rounds::{self, Case},
};
use tower::Layer;
use tower_ratelimit_tokens::{Budget, Charge, Limiter, Settle, TokenLimitLayer};

use crate::{HOUR, budgets, peers};

fn dry(count: usize) -> (Limiter, Charge) {
    let mut limits = Limiter::builder();
    let calls = limits.budget("calls", Budget::bucket(1, 1, 60 * crate::SECOND));
    let rest = budgets(&mut limits, count - 1);
    let charge = rest.iter().fold(Charge::new(), |charge, &budget| charge.with(budget, 1));
    let charge = charge.with(calls, 1);
    let limiter = limits.build().expect("valid");
    std::mem::forget(limiter.try_acquire(charge, None).expect("all is there"));
    (limiter, charge)
}

/// Joins and leaves.
fn pending<F: Future>(future: F) {
    let mut future = pin!(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn joins(count: usize) -> impl FnMut() {
    let (limiter, charge) = dry(count);
    let mut service = TokenLimitLayer::new(limiter, charge).layer(Echo);
    move || one_wait(&mut service, black_box(()))
}

pub fn run() {
    let cases = vec![
        Case::new("ours, 1 budget: service", || joins(1)),
        Case::new("ours, 3 budgets: service", || joins(3)),
        Case::new("ours, 1 budget: acquire, no service", || {
            let (limiter, charge) = dry(1);
            move || pending(limiter.acquire(charge, None))
        }),
        Case::new("governor: until_ready, no service", || {
            let limiter = peers::governor_dry();
            move || pending(limiter.until_ready())
        }),
        Case::new("leaky-bucket: acquire, no service", || {
            let limiter = peers::leaky_dry();
            move || pending(limiter.acquire(1))
        }),
        Case::new("tower-resilience, 1 layer", || {
            let mut service = peers::resilience_dry(Echo, 2 * HOUR);
            move || one_wait(&mut service, black_box(()))
        }),
    ];
    rounds::run("joins the queue and leaves it (trypema and limitador have none)", cases);
    let cases = vec![
        Case::new("ours, a concurrency budget of one: acquire, no service", || {
            let mut limits = Limiter::builder();
            let calls = limits.budget("calls", Budget::concurrency(1));
            let limiter = limits.build().expect("valid");
            let charge = Charge::new().with(calls, 1);
            let mut held = Some(limiter.try_acquire(charge, None).expect("nobody holds it"));
            move || {
                let mut next = pin!(limiter.acquire(charge, None));
                let mut cx = Context::from_waker(Waker::noop());
                assert!(next.as_mut().poll(&mut cx).is_pending());
                if let Some(ticket) = held.take() {
                    ticket.answered(tokio::time::Instant::now(), Settle::Keep);
                }
                let Poll::Ready(Ok(ticket)) = next.as_mut().poll(&mut cx) else { panic!("waits") };
                held = Some(ticket);
            }
        }),
        Case::new("tokio's Semaphore of one, as a bare queue", || {
            let places = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
            let mut held = Some(std::sync::Arc::clone(&places).try_acquire_owned().expect("free"));
            move || {
                let mut next = pin!(std::sync::Arc::clone(&places).acquire_owned());
                let mut cx = Context::from_waker(Waker::noop());
                assert!(next.as_mut().poll(&mut cx).is_pending());
                drop(held.take());
                let Poll::Ready(Ok(permit)) = next.as_mut().poll(&mut cx) else { panic!("waits") };
                held = Some(permit);
            }
        }),
    ];
    rounds::run("joins the queue and is let in by the end of another", cases);
}
