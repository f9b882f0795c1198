//! One call that passes straight through, with one, three and eight budgets.

use std::hint::black_box;

use bench::{
    Echo, one_call,
    rounds::{self, Case},
};
use tower::{BoxError, Layer, ServiceBuilder};
use tower_ratelimit_tokens::{Budget, Charge, Limiter, Outcome, Settle, TokenLimitLayer};

use crate::{PLENTY, SECOND, budgets, peers};

pub fn run() {
    rounds::run("straight through, 1 budget", with(1));
    rounds::run("straight through, 3 budgets", with(3));
    rounds::run("straight through, 8 budgets", with(8));
}

pub fn ours(count: usize) -> impl FnMut() + Clone {
    let mut limits = Limiter::builder();
    let charge = budgets(&mut limits, count)
        .into_iter()
        .fold(Charge::new(), |charge, budget| charge.with(budget, 1));
    let limiter = limits.build().expect("valid");
    let mut service = TokenLimitLayer::new(limiter, charge).layer(Echo);
    move || {
        let _ = black_box(one_call(&mut service, black_box(())));
    }
}

/// A window that an answer frees, and a closure that looks at the answer.
fn settling() -> impl FnMut() {
    let mut limits = Limiter::builder();
    let burst = Budget::rolling(PLENTY.into(), 2 * SECOND).freed_by_answer(SECOND);
    let burst = limits.budget("settled burst", burst);
    let rest = budgets(&mut limits, 3).into_iter().skip(1);
    let charge = rest.fold(Charge::new().with(burst, 1), |charge, budget| charge.with(budget, 1));
    let limiter = limits.build().expect("valid");
    let settle = |outcome: Outcome<'_, (), BoxError>| match outcome {
        Ok(()) => Settle::Keep,
        Err(_) => Settle::Refund,
    };
    let mut service = TokenLimitLayer::new(limiter, charge).settle(settle).layer(Echo);
    move || {
        let _ = black_box(one_call(&mut service, black_box(())));
    }
}

fn with(count: usize) -> Vec<Case<'static>> {
    let mut cases = vec![Case::new(format!("ours, {count}: service"), move || ours(count))];
    if count == 3 {
        cases.push(Case::new("ours, 3, freed and settled by the answer: service", settling));
    }
    cases.extend([
        Case::new(format!("governor, {count} in a row: check, no service"), move || {
            let limiters = peers::governors(count);
            move || assert!(limiters.iter().all(|limiter| limiter.check().is_ok()))
        }),
        Case::new(format!("trypema, {count} in a row: inc of one key, no service"), move || {
            let windows = [2, 60, 86_400, 1, 10, 3_600, 86_400, 3_600];
            let limiters: Vec<_> = windows[..count].iter().map(|&s| peers::trypema(s)).collect();
            let rate = peers::trypema_plenty();
            move || {
                for limiter in &limiters {
                    black_box(limiter.absolute().inc(black_box("one"), &rate, 1));
                }
            }
        }),
        Case::new(
            format!("limitador, {count} together: check and update, no service"),
            move || {
                let limitador = peers::Limitador::new(count as u64, u64::MAX >> 1, 1_000, false);
                let context = peers::no_values();
                move || assert!(limitador.check(&context))
            },
        ),
        Case::new(format!("leaky-bucket, {count} in a row: try_acquire, no service"), move || {
            let limiters: Vec<_> = (0..count).map(|_| peers::leaky()).collect();
            move || assert!(limiters.iter().all(|limiter| limiter.try_acquire(1)))
        }),
    ]);
    cases.extend(stacked(count));
    cases.push(Case::new("one clock and one mutex, uncontended", || {
        let mutex = std::sync::Mutex::new(0_u64);
        move || {
            black_box(tokio::time::Instant::now());
            *black_box(&mutex).lock().expect("nothing panics") += 1;
        }
    }));
    cases
}

/// Peers that are layers, one around the other.
fn stacked(count: usize) -> Vec<Case<'static>> {
    let (tower, resilience) =
        (format!("tower RateLimit, {count} layers"), format!("tower-resilience, {count} layers"));
    macro_rules! layers {
        ($($n:tt)*) => {
            vec![
                Case::new(tower, || {
                    let mut service =
                        ServiceBuilder::new()$(.rate_limit(u64::MAX, $n * SECOND))*.service(Echo);
                    move || {
                        let _ = black_box(one_call(&mut service, black_box(())));
                    }
                }),
                Case::new(resilience, || {
                    let service = Echo;
                    $(let _: u8 = $n; let service = peers::resilience(service);)*
                    let mut service = service;
                    move || {
                        let _ = black_box(one_call(&mut service, black_box(())).is_ok());
                    }
                }),
            ]
        };
    }
    match count {
        1 => layers!(1),
        3 => layers!(1 2 3),
        _ => layers!(1 2 3 4 5 6 7 8),
    }
}
