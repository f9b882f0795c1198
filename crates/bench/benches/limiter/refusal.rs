//! One call that is refused at once, and its error dropped.

use std::{hint::black_box, time::Duration};

use bench::{
    Echo, one_call,
    rounds::{self, Case},
};
use tower::{Layer, Service, ServiceBuilder};
use tower_ratelimit_tokens::{Budget, Charge, Limiter, OnLimit, TokenLimitLayer};
use trypema::RateLimit;

use crate::{HOUR, budgets, peers};

/// An hour's window that is gone, and others of which enough is left.
fn ours(count: usize) -> impl FnMut() {
    let mut limits = Limiter::builder();
    let rest = budgets(&mut limits, count - 1);
    let gone = limits.budget("gone", Budget::fixed(1, HOUR));
    let charge = rest.iter().fold(Charge::new(), |charge, &budget| charge.with(budget, 1));
    let charge = charge.with(gone, 1);
    let limiter = limits.build().expect("valid");
    limiter.set_used(gone, 1);
    let layer = TokenLimitLayer::new(limiter, charge).on_limit(OnLimit::Reject);
    let mut service = layer.layer(Echo);
    move || assert!(black_box(one_call(&mut service, black_box(()))).is_err())
}

pub fn run() {
    let cases = vec![
        Case::new("ours, 1 budget: service", || ours(1)),
        Case::new("ours, 3 budgets: service", || ours(3)),
        Case::new("ours, 8 budgets: service", || ours(8)),
        Case::new("governor: check, no service", || {
            let limiter = peers::governor_dry();
            move || assert!(black_box(limiter.check()).is_err())
        }),
        Case::new("leaky-bucket: try_acquire, no service, no reason", || {
            let limiter = peers::leaky_dry();
            move || assert!(!limiter.try_acquire(1))
        }),
        Case::new("tower RateLimit: poll_ready is pending, it never refuses", || {
            let mut service = ServiceBuilder::new().rate_limit(1, HOUR).service(Echo);
            assert!(one_call(&mut service, ()).is_ok());
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            move || assert!(Service::<()>::poll_ready(&mut service, &mut cx).is_pending())
        }),
        Case::new("tower-resilience, 1 layer", || {
            let mut service = peers::resilience_dry(Echo, Duration::ZERO);
            move || assert!(black_box(one_call(&mut service, black_box(()))).is_err())
        }),
        Case::new("trypema: inc of one key, no service", || {
            let (limiter, rate) = (peers::trypema(3_600), RateLimit::per_hour_or_panic(1.0));
            limiter.absolute().inc("one", &rate, 1);
            move || {
                black_box(limiter.absolute().inc(black_box("one"), &rate, 1));
            }
        }),
        Case::new("limitador: check and update, no service", || {
            let limitador = peers::Limitador::new(1, 1, 1_000, false);
            let context = peers::no_values();
            assert!(limitador.check(&context));
            move || assert!(!limitador.check(&context))
        }),
    ];
    rounds::run("refused", cases);
}
