//! One service behind its layers: retry, circuit, limiter, and the answers that were paid for.

use std::time::Duration;

use bytes::Bytes;
use examples::{BoxError, collect, hyper_client};
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt, retry::RetryLayer, util::BoxCloneSyncService};
use tower_circuit::{Circuit, GateLayer, GuardLayer, Open, Verdict, presets::Preset};
use tower_ratelimit_tokens::{
    Budget, BudgetId, Charge, GenericDialect, Limiter, Outcome, Refused, Settle, TokenLimitLayer,
};
use tower_retry_classify::{Backoff, GaveUp, NotRetried, RetryPolicy, RetryStats};

use super::books::{Books, Paid};

/// Time runs so much faster here, so that nobody has to wait: five minutes are 60 ms.
const SPEED: u32 = 5_000;
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How often a call waits for an open circuit before its item fails.
const PATIENCE: u32 = 5;
const COST: HeaderName = HeaderName::from_static("x-quota-cost");
const CHARGED: HeaderName = HeaderName::from_static("x-quota-charged");

/// What we know of a service: its circuit, its quota, how many calls it takes at once, and what its
/// endpoints cost an item at most.
pub(crate) struct Terms {
    pub(crate) preset: Preset,
    pub(crate) quota: u64,
    pub(crate) at_once: u64,
    pub(crate) prices: &'static [(&'static str, u32)],
}

type Stack = BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, BoxError>;

pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) limiter: Limiter,
    pub(crate) circuit: Circuit,
    pub(crate) retries: RetryStats,
    prices: &'static [(&'static str, u32)],
    quota: BudgetId,
    at_once: BudgetId,
    url: String,
    stack: Stack,
    books: Books,
}

/// Why an item has failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) category: String,
    pub(crate) message: String,
}

impl From<BoxError> for Failed {
    fn from(error: BoxError) -> Self {
        Self { category: "local".to_owned(), message: error.to_string() }
    }
}

/// The number in a header.
fn units(answer: &Response<Bytes>, header: &HeaderName) -> Option<u32> {
    answer.headers().get(header)?.to_str().ok()?.parse().ok()
}

impl Client {
    /// With so many units spent already.
    pub(crate) fn new(
        terms: &Terms,
        url: &str,
        books: &Books,
        spent: u64,
    ) -> Result<Self, BoxError> {
        let name = terms.preset.name;
        let mut limits = Limiter::builder();
        let quota = limits.budget("quota", Budget::fixed(terms.quota, MONTH));
        let at_once = limits.budget("at once", Budget::concurrency(terms.at_once));
        let limiter = limits.build()?;
        limiter.set_used(quota, spent);
        let circuit = terms.preset.builder().open_for(terms.preset.open_for / SPEED).build()?;

        let key = HeaderName::from_static("idempotency-key");
        let policy = RetryPolicy::<Request<Full<Bytes>>, Response<Bytes>>::http()
            .max_retries(3)
            .backoff(
                Backoff::exponential(Duration::from_secs(1) / SPEED, 2.0)
                    .cap(Duration::from_secs(30) / SPEED),
            )
            .key_header(key)
            .local(|error| error.is::<Open>() || error.is::<Refused>())
            .build()?;
        let retries = policy.stats();

        let cost = |request: &Request<_>| {
            request.extensions().get::<Charge>().copied().unwrap_or_default()
        };
        // What is not answered is not charged, and what was charged before neither.
        let settle = move |outcome: Outcome<'_, Response<Bytes>>| match outcome {
            Ok(answer) => match units(answer, &CHARGED) {
                Some(charged) => Settle::Exactly(Charge::new().with(quota, charged)),
                None => Settle::Refund,
            },
            // It may have been charged; the next answer tells.
            Err(_) => Settle::Keep,
        };
        let told = GenericDialect::new(quota)
            .limit(HeaderName::from_static("x-quota-limit"))
            .remaining(HeaderName::from_static("x-quota-remaining"))
            .exhausts();
        let judge = |outcome: Result<&Response<Bytes>, &BoxError>| match outcome {
            Ok(answer) => Verdict::of_status(answer.status().as_u16()),
            Err(_) => Verdict::Failure,
        };
        let stack = ServiceBuilder::new()
            .layer(RetryLayer::new(policy))
            .layer(GateLayer::new(circuit.clone()))
            .layer(TokenLimitLayer::new(limiter.clone(), cost).dialect(told).settle(settle))
            .layer(GuardLayer::new(circuit.clone(), judge))
            .and_then(collect)
            .map_err(BoxError::from)
            .service(hyper_client());
        Ok(Self {
            name,
            limiter,
            circuit,
            retries,
            prices: terms.prices,
            quota,
            at_once,
            url: format!("{url}/{name}"),
            stack: BoxCloneSyncService::new(stack),
            books: books.clone(),
        })
    }

    fn price(&self, endpoint: &str) -> u32 {
        let found = self.prices.iter().find(|(name, _)| *name == endpoint);
        found.map_or(0, |(_, price)| *price)
    }

    fn charge(&self, endpoint: &str, items: usize) -> Charge {
        let items = u32::try_from(items).unwrap_or(u32::MAX);
        Charge::new()
            .with(self.quota, self.price(endpoint).saturating_mul(items))
            .with(self.at_once, 1)
            .at(self.limiter.endpoint(endpoint))
    }

    /// What the limiter would still spend. A call whose answer was lost counts as under way for a second
    /// or two, beside what the service has counted.
    pub(crate) fn left(&self) -> u64 {
        self.limiter.status().budget("quota").map_or(0, |quota| quota.remaining)
    }

    /// Writes down what is planned of an endpoint.
    ///
    /// # Errors
    ///
    /// If the quota is too small for it.
    pub(crate) async fn plan(&self, endpoint: &str, items: u64) -> Result<(), BoxError> {
        let plan = self.limiter.plan([(self.charge(endpoint, 1), items)]);
        let need = plan.budget("quota").ok_or("there is such a budget")?;
        if need.needed > need.left {
            return Err(format!("{} needs {} and has {}", self.name, need.needed, need.left).into());
        }
        self.books.plan(self.name, endpoint, need.needed).await
    }

    /// Asks about one item, or remembers.
    pub(crate) async fn ask(&self, endpoint: &str, of: &str) -> Result<Value, Failed> {
        if let Some(known) = self.books.answer(self.name, endpoint, of).await? {
            return Ok(known);
        }
        let key = format!("{endpoint}/{of}");
        let answer = self.send(endpoint, &key, &json!({ "of": of }), 1).await?;
        let units = units(&answer, &COST).unwrap_or_default().into();
        let answer = serde_json::from_slice(answer.body()).map_err(BoxError::from)?;
        let paid = [Paid { of, units, answer: &answer }];
        self.books.enter(self.name, endpoint, &paid).await?;
        Ok(answer)
    }

    /// Asks about many items in one call, but for those that it remembers. The answers are in the
    /// order of the items; those of which nothing was said are `None`.
    pub(crate) async fn ask_all(
        &self,
        endpoint: &str,
        all: &[&str],
    ) -> Result<Vec<Option<Value>>, Failed> {
        let mut answers = Vec::with_capacity(all.len());
        for of in all {
            answers.push(self.books.answer(self.name, endpoint, of).await?);
        }
        let unknown = || all.iter().copied().zip(&answers).filter(|(_, known)| known.is_none());
        let asked: Vec<&str> = unknown().map(|(of, _)| of).collect();
        if asked.is_empty() {
            return Ok(answers);
        }
        let key = format!("{endpoint}/{}", asked.join(","));
        let answer = self.send(endpoint, &key, &json!({ "all": asked }), asked.len()).await?;
        let told: Value = serde_json::from_slice(answer.body()).map_err(BoxError::from)?;
        let units = self.price(endpoint).into();
        let paid = asked.iter().filter_map(|of| Some(Paid { of, units, answer: told.get(of)? }));
        self.books.enter(self.name, endpoint, &paid.collect::<Vec<_>>()).await?;
        for (of, answer) in all.iter().zip(&mut answers) {
            *answer = answer.take().or_else(|| told.get(of).cloned());
        }
        Ok(answers)
    }

    /// Sends; waits while the circuit is open.
    async fn send(
        &self,
        endpoint: &str,
        key: &str,
        body: &Value,
        items: usize,
    ) -> Result<Response<Bytes>, Failed> {
        let charge = self.charge(endpoint, items);
        let mut patience = PATIENCE;
        loop {
            let request = Request::post(format!("{}/{endpoint}", self.url))
                .header("content-type", "application/json")
                .header("idempotency-key", key)
                .extension(charge)
                .body(Full::from(body.to_string()))
                .map_err(BoxError::from)?;
            let outcome = self.stack.clone().oneshot(request).await;
            let open = NotRetried::refusal_in::<Open, _>(&outcome);
            if let (Some(open), true) = (open, patience > 0) {
                patience -= 1;
                // While it is being tried nobody knows for how long.
                sleep(open.wait().unwrap_or(Duration::from_secs(30) / SPEED)).await;
                continue;
            }
            return match outcome {
                Ok(answer) if answer.status().is_success() => Ok(answer),
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => Ok(answer),
                Ok(answer) => Err(Failed {
                    category: NotRetried::of(&answer)
                        .map_or("refused".to_owned(), |why| why.class().to_string()),
                    message: format!("{} says {}", self.name, answer.status()),
                }),
                Err(error) => Err(Failed {
                    category: match GaveUp::find(&*error) {
                        Some(gave_up) => gave_up.why().class().to_string(),
                        None if error.is::<Open>() => "circuit_open".to_owned(),
                        None if error.is::<Refused>() => "quota".to_owned(),
                        None => "other".to_owned(),
                    },
                    message: format!("{}: {error}", self.name),
                }),
            };
        }
    }
}
