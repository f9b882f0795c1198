//! A call whose end nobody is told goes a shorter way. It is counted alike.

use std::time::Duration;

use jiff::{civil::Time, tz::TimeZone};
use tokio::time::{Instant, advance};
use tower::{BoxError, Service, service_fn};
use tower_layer::Layer;
use tower_ratelimit_tokens::{
    AnchoredClock, Budget, Charge, Key, Limiter, Observation, Observations, OnLimit, Outcome, Pace,
    Priority, Settle, Status, TokenLimitLayer,
};

const SECOND: Duration = Duration::from_secs(1);

/// One budget of each kind that needs no answer, and a charge on some of them.
fn limiter() -> (Limiter, impl Fn(u64) -> Charge) {
    let mut limits = Limiter::builder();
    let user = limits.scope("user");
    let all = [
        limits.budget("rolling", Budget::rolling(40, 3 * SECOND)),
        limits.budget("even", Budget::rolling(60, 5 * SECOND).even()),
        limits.budget("fixed", Budget::fixed(30, 2 * SECOND).keep(0.2, Priority::HIGH)),
        limits.budget("bucket", Budget::bucket(25, 10, SECOND)),
        limits.budget("day", Budget::calendar_day(900, TimeZone::UTC, Time::midnight())),
        limits.budget("paced", Budget::fixed(200, 10 * SECOND).pace(Pace::Even)),
        limits.budget("own bucket", Budget::bucket(9, 4, SECOND).per(user)),
        limits.budget("own window", Budget::rolling(11, 2 * SECOND).per(user)),
    ];
    let clock = AnchoredClock::new("2026-11-25T23:59:00Z".parse().unwrap());
    let limiter = limits.wall_clock(clock).build().unwrap();
    let charge = move |random: u64| {
        let charge = Charge::new().key(user, Key::from(random % 3));
        let is_paid = |at: &usize| random >> (8 + 2 * at) & 3 == 0;
        let amount = |at: usize| 1 + (random >> (32 + 2 * at) & 3) as u32;
        (0..all.len()).filter(is_paid).fold(charge, |c, at| c.with(all[at], amount(at)))
    };
    (limiter, charge)
}

/// Whether it went.
fn call<S>(service: &mut S, charge: Charge) -> bool
where
    S: Service<Charge, Response = (), Error = BoxError>,
{
    let mut call = tokio_test::task::spawn(service.call(charge));
    let std::task::Poll::Ready(result) = call.poll() else { panic!("it waits") };
    result.is_ok()
}

fn seen(limiter: &Limiter) -> Status {
    let mut status = limiter.status();
    status.refusals = Default::default();
    status
}

#[tokio::test(start_paused = true)]
async fn a_call_of_which_nothing_more_is_heard_is_counted_like_any_other() {
    let (mut went, mut refused) = (0, 0);
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        both_ways(&mut random, &mut went, &mut refused).await;
    }
    assert!(went > 2_000 && refused > 2_000, "{went} went and {refused} were refused");
}

async fn both_ways(random: &mut fastrand::Rng, went: &mut u32, refused: &mut u32) {
    let inner = service_fn(|_: Charge| std::future::ready(Ok::<_, BoxError>(())));
    let cost = |charge: &Charge| *charge;
    let ((short, charge), (long, _)) = (limiter(), limiter());
    let layer = TokenLimitLayer::new(short.clone(), cost).on_limit(OnLimit::Reject);
    let mut by_the_short = layer.layer(inner);
    let layer = TokenLimitLayer::new(long.clone(), cost).on_limit(OnLimit::Reject);
    let mut by_the_long = layer.settle(|_: Outcome<'_, (), BoxError>| Settle::Keep).layer(inner);
    let budgets: Vec<_> =
        ["rolling", "fixed", "day"].iter().map(|name| short.budget_id(name).unwrap()).collect();
    let mut tickets = None;
    for turn in 0..200 {
        if turn == 190 {
            // One whose answer will tell what the server has counted.
            let charge = budgets.iter().fold(Charge::new(), |charge, &of| charge.with(of, 1));
            let ticket = |limiter: &Limiter| {
                let mut ticket = limiter.try_acquire(charge, Priority::HIGH).ok()?;
                ticket.sent(Instant::now());
                Some(ticket)
            };
            tickets = ticket(&short).zip(ticket(&long));
        }
        let charge = charge(random.u64(..));
        let goes = call(&mut by_the_short, charge);
        assert_eq!(goes, call(&mut by_the_long, charge), "{charge:?}");
        assert_eq!(seen(&short), seen(&long));
        *if goes { &mut *went } else { &mut *refused } += 1;
        advance(Duration::from_millis(random.u64(0..60))).await;
    }
    let Some((of_short, of_long)) = tickets else { return };
    let mut said = Observations::none();
    for &budget in &budgets {
        said.push(Observation::Level { budget, limit: None, remaining: 3, reset: None });
    }
    of_short.observed(Instant::now(), &said, Settle::Keep);
    of_long.observed(Instant::now(), &said, Settle::Keep);
    assert_eq!(seen(&short), seen(&long), "after the server's count");
}
