//! The active probe of the client.

use std::{fmt, future::Future};

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;
use tower_adaptive_page::Position;
use tower_health::{Check, LoopHandle, ProbeStatus, Prober, Verdict};
use tower_ratelimit_tokens::{Admission, Priority};

use crate::{
    Action, Entity, Error, ListQuery,
    api::Api,
    config::{Config, ConfigError, Problem},
    requests::Requests,
    stack::Parts,
};

type MakeRequest = Box<dyn Fn() -> Request<Bytes> + Send + Sync>;
type JudgeFn = fn(Result<&Response<Bytes>, &Error>) -> Verdict;

/// Reads one short page of the health endpoint through the whole stack.
pub(crate) struct HealthProbe {
    prober: Prober<Api, MakeRequest, JudgeFn>,
}

impl HealthProbe {
    pub(crate) fn new(
        config: &Config,
        parts: &Parts,
        api: Api,
        requests: Requests,
    ) -> Result<Self, ConfigError> {
        let settings = &config.health_monitoring;
        let entity: Entity = settings.health_endpoint;
        // Whoever asks after health wants to know it now: a level of its own, before all work.
        let within = settings.check_timeout;
        let query = ListQuery::new().within(within).priority(Priority::CRITICAL);
        let tokens = entity.operation(Action::List).map_or(0, |list| requests.cost(entity, &list));
        let template = entity.operation(Action::List).map_or("", |list| list.template);
        let (limiter, charge) = (parts.limiter.clone(), parts.budgets.charge(template, tokens));
        let limited = parts.limit;
        // Asked when nothing is left, it would only be refused, or wait longer than it may.
        let budget_is_gone = move || {
            limited
                && match limiter.would_admit(&charge, Priority::CRITICAL) {
                    Admission::At { when: Some(at), .. } => at > Instant::now() + within,
                    Admission::Never { .. } => true,
                    _ => false,
                }
        };
        let make: MakeRequest = Box::new(move || {
            requests
                .page(entity, &query, &Position::Start, 1)
                .expect("the first page of a list can always be asked for")
        });
        let prober = Prober::builder("pipedrive", api, make)
            .judge(judge as JudgeFn)
            .ttl(settings.cache_ttl)
            .interval(settings.check_interval)
            .skip_if(budget_is_gone)
            .timeout(settings.check_timeout)
            .failure_threshold(settings.failure_threshold)
            .degraded_over(settings.degradation_threshold)
            .build()
            .map_err(|error| ConfigError::one(Problem::said(error.to_string())))?;
        Ok(Self { prober })
    }

    pub(crate) async fn check(&self) -> Check {
        self.prober.check().await
    }

    pub(crate) fn watch_over(&self) -> (LoopHandle, impl Future<Output = ()> + Send + use<>) {
        self.prober.watch_over()
    }

    pub(crate) fn status(&self) -> ProbeStatus {
        self.prober.status()
    }
}

/// Refusals of our own, and limits, say nothing about the API's health.
fn judge(outcome: Result<&Response<Bytes>, &Error>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Good,
        Err(error)
            if error.is_local() || matches!(error.kind(), crate::ErrorKind::RateLimit { .. }) =>
        {
            Verdict::Ignore
        }
        Err(_) => Verdict::Bad,
    }
}

impl fmt::Debug for HealthProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthProbe").finish_non_exhaustive()
    }
}
