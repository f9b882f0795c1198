//! What is logged. A program of its own: what other tests do on other threads decides,
//! too, which events are looked at.

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{civil::Time, tz::TimeZone};
use tokio::time::{Instant, advance};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_ratelimit_tokens::{
    AnchoredClock, BoxError, Budget, Charge, Limiter, Settle, Ticket, TokenLimitLayer,
};

const HOUR: Duration = Duration::from_secs(3_600);

async fn spend(limiter: &Limiter, charge: Charge) -> Ticket {
    let mut ticket = limiter.acquire(charge, None).await.unwrap();
    ticket.sent(Instant::now());
    ticket
}

#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl std::io::Write for Events {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_warning_is_given_once_for_each_share_that_is_passed() {
    let events = Events::default();
    let writer = events.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _events = tracing::subscriber::set_default(subscriber);
    let mut limits = Limiter::builder();
    let day = Budget::calendar_day(100, TimeZone::UTC, Time::midnight()).warn_at(&[0.5, 0.8]);
    let day = limits.budget("day", day);
    let clock = AnchoredClock::new("2026-11-25T00:00:00Z".parse().unwrap());
    let limiter = limits.wall_clock(clock).build().unwrap();
    let one = Charge::new().with(day, 1);
    let layer = TokenLimitLayer::new(limiter.clone(), one);
    let mut service = layer.layer(service_fn(|()| ready(Ok::<_, BoxError>(()))));
    for n in 1..=95 {
        // The shares are passed by calls through the layer.
        if n % 10 == 0 {
            service.ready().await.unwrap().call(()).await.unwrap();
        } else {
            spend(&limiter, one).await.answered(Instant::now(), Settle::Keep);
        }
    }
    let warned = |share: &str| {
        let events = events.0.lock().unwrap();
        events.iter().filter(|line| line.contains("budget_warning") && line.contains(share)).count()
    };
    assert_eq!((warned("used=50 "), warned("used=80 "), warned("budget_warning")), (1, 1, 2));
    // The next day warns anew.
    advance(24 * HOUR).await;
    for _ in 0..60 {
        spend(&limiter, Charge::new().with(day, 1)).await.answered(Instant::now(), Settle::Keep);
    }
    assert_eq!(warned("budget_warning"), 3);
}
