//! Set-ups of the peers that more than one table needs.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use limitador::limit::{Context, Limit, Namespace};
use tower::{Layer, Service};
use tower_resilience_ratelimiter::RateLimiterLayer;
use trypema::{RateLimit, RateLimiterBuilder, WindowSize, local::LocalRateLimiterProvider};

use crate::{HOUR, PLENTY, SECOND};

pub fn governors(count: usize) -> Vec<DefaultDirectRateLimiter> {
    (0..count).map(|_| RateLimiter::direct(Quota::per_second(NonZeroU32::MAX))).collect()
}

/// One an hour.
pub fn governor_dry() -> DefaultDirectRateLimiter {
    let limiter = RateLimiter::direct(Quota::per_hour(NonZeroU32::MIN));
    assert!(limiter.check().is_ok());
    limiter
}

pub fn leaky() -> leaky_bucket::RateLimiter {
    let plenty = PLENTY as usize;
    leaky_bucket::RateLimiter::builder()
        .max(plenty)
        .initial(plenty)
        .refill(plenty)
        .interval(SECOND)
        .build()
}

/// Nothing left for an hour.
pub fn leaky_dry() -> leaky_bucket::RateLimiter {
    leaky_bucket::RateLimiter::builder().max(1).initial(0).refill(1).interval(HOUR).build()
}

pub fn resilience<S>(inner: S) -> tower_resilience_ratelimiter::RateLimiter<S> {
    let layer =
        RateLimiterLayer::builder().limit_for_period(PLENTY as usize).refresh_period(SECOND);
    layer.build().expect("valid").layer(inner)
}

/// One an hour; the next waits for up to `timeout`.
pub fn resilience_dry<S>(
    inner: S,
    timeout: Duration,
) -> tower_resilience_ratelimiter::RateLimiter<S>
where
    S: Service<(), Error = tower::BoxError> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let layer = RateLimiterLayer::builder()
        .limit_for_period(1)
        .refresh_period(HOUR)
        .timeout_duration(timeout);
    let mut service = layer.build().expect("valid").layer(inner);
    assert!(bench::one_call(&mut service, ()).is_ok());
    service
}

pub fn trypema(seconds: u64) -> Arc<LocalRateLimiterProvider> {
    let window = WindowSize::seconds_or_panic(seconds);
    LocalRateLimiterProvider::builder()
        .window_size(window)
        .disable_cleanup()
        .build()
        .expect("valid")
}

pub fn trypema_plenty() -> RateLimit {
    RateLimit::per_second_or_panic(f64::from(PLENTY))
}

/// Limits of one namespace, checked together, with windows of their own.
pub struct Limitador {
    pub limiter: limitador::RateLimiter,
    pub namespace: Namespace,
}

impl Limitador {
    /// `of_each`: each user has them for itself.
    pub fn new(count: u64, most: u64, keys: u64, of_each: bool) -> Self {
        let limiter = limitador::RateLimiter::new(keys);
        for n in 0..count {
            let variables = of_each.then(|| "user".try_into().expect("an expression"));
            limiter.add_limit(Limit::new("bench", most, 60 * (n + 1), [], variables));
        }
        Self { limiter, namespace: "bench".into() }
    }

    /// Returns whether it passed.
    pub fn check(&self, context: &Context<'_>) -> bool {
        let checked = self.limiter.check_rate_limited_and_update(&self.namespace, context, 1);
        !checked.expect("it is in memory").limited
    }
}

pub fn no_values() -> Context<'static> {
    HashMap::new().into()
}
