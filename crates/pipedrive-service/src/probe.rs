//! The active probe of the client.

use std::fmt;

use bytes::Bytes;
use http::{Request, Response};
use tower_adaptive_page::Position;
use tower_health::{Check, ProbeStatus, Prober, Verdict};
use tower_ratelimit_tokens::Priority;

use crate::{
    Entity, Error, ListQuery,
    api::Api,
    config::{Config, ConfigError, Problem},
    requests::Requests,
};

type MakeRequest = Box<dyn Fn() -> Request<Bytes> + Send + Sync>;
type JudgeFn = fn(Result<&Response<Bytes>, &Error>) -> Verdict;

/// Reads one short page of the health endpoint through the whole stack.
pub(crate) struct HealthProbe {
    prober: Prober<Api, MakeRequest, JudgeFn>,
}

impl HealthProbe {
    pub(crate) fn new(config: &Config, api: Api, requests: Requests) -> Result<Self, ConfigError> {
        let settings = &config.health_monitoring;
        let entity: Entity = settings.health_endpoint;
        // Whoever asks after health wants to know it now, whatever else is queued.
        let query = ListQuery::new().within(settings.check_timeout).priority(Priority::HIGH);
        let make: MakeRequest = Box::new(move || {
            requests
                .page(entity, &query, &Position::Start, 1)
                .expect("the first page of a list can always be asked for")
        });
        let prober = Prober::builder("pipedrive", api, make)
            .judge(judge as JudgeFn)
            .ttl(settings.cache_ttl)
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
