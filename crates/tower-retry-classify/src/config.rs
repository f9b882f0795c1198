use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use http::HeaderName;
use tokio::time::Instant;

use crate::{
    Backoff, BoxError, Chain, Class, ClassPolicy, Classify, ConfigError, History, Learning,
    NotRetried, Problem, Profile, RetryBudget, RetryPolicy,
    config_error::{check_backoff, is_told_apart},
    observe::Observer,
    shared::{Limits, Shared},
};

/// Configures a [`RetryPolicy`].
#[must_use]
pub struct RetryBuilder<Req, Res> {
    shared: Shared<Req, Res>,
    observer: Observer,
    learning: Option<Learning>,
    links: usize,
    classes: Vec<(Class, ClassPolicy)>,
}

impl<Req, Res> RetryPolicy<Req, Res> {
    /// Configures a policy for requests that are not [`Repeatable`](crate::Repeatable); `copy` gives
    /// one that can be sent in a request's place, or `None`.
    ///
    /// No request counts as idempotent before
    /// [`idempotent`](RetryBuilder::idempotent) says so.
    pub fn builder_with(
        copy: impl Fn(&Req) -> Option<Req> + Send + Sync + 'static,
    ) -> RetryBuilder<Req, Res> {
        let Profile { max_retries, backoff } = Profile::GENERIC;
        RetryBuilder {
            shared: Shared {
                chain: Chain::new(),
                copy: Box::new(copy),
                idempotent: Vec::new(),
                once: Vec::new(),
                local: Vec::new(),
                deadline: None,
                attach: None,
                keep_responses: false,
                limits: Limits { backoff, max_retries, untouched: None },
                classes: Vec::new(),
                max_wait: Duration::from_secs(300),
                budget: RetryBudget::default(),
                seed: AtomicU64::new(fastrand::u64(..)),
                endpoint: None,
                observer: Arc::default(),
            },
            observer: Observer::new(),
            learning: None,
            links: 0,
            classes: Vec::new(),
        }
    }
}

impl<Req, Res> RetryBuilder<Req, Res> {
    /// Adds a classifier behind those already there; it may overrule them. At
    /// least one is needed. Default: none.
    pub fn classify(mut self, classifier: impl Classify<Req, Res> + Send + Sync + 'static) -> Self {
        self.shared.chain = self.shared.chain.then(classifier);
        self.links += 1;
        self
    }

    /// Number of retries and delays at once. Default: [`Profile::GENERIC`].
    pub const fn profile(self, profile: Profile) -> Self {
        self.max_retries(profile.max_retries).backoff(profile.backoff)
    }

    /// Retries after the first attempt. Default: 3. Zero: none, and requests are not copied.
    pub const fn max_retries(mut self, max_retries: u32) -> Self {
        self.shared.limits.max_retries = max_retries;
        self
    }

    /// The delays. Default: from 1 s, doubled, to 30 s, 10 % jitter.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.shared.limits.backoff = backoff;
        self
    }

    /// What is different for one class, given once for each. Default: nothing.
    pub fn class(mut self, class: Class, policy: ClassPolicy) -> Self {
        self.classes.push((class, policy));
        self
    }

    /// Where retries are paid from. Default: a purse of this policy's own by the
    /// rules of [`Quota::AWS`](crate::Quota::AWS).
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.shared.budget = budget;
        self
    }

    /// Which errors are refusals by our own layers. They are never retried and
    /// never classified. Several closures add up. Default: none.
    pub fn local(mut self, local: impl Fn(&BoxError) -> bool + Send + Sync + 'static) -> Self {
        self.shared.local.push(Box::new(local));
        self
    }

    /// Until when the caller waits for an answer. No wait begins that does not
    /// end before. Default: [`Repeatable::deadline`](crate::Repeatable::deadline), for HTTP the
    /// [`Deadline`](crate::Deadline) among the extensions; without one, for ever.
    pub fn deadline(
        mut self,
        deadline: impl Fn(&Req) -> Option<Instant> + Send + Sync + 'static,
    ) -> Self {
        self.shared.deadline = Some(Box::new(deadline));
        self
    }

    /// The longest wait before one retry of a call that has no deadline: it keeps
    /// it from sleeping through a `Retry-After` of a day. A wait is never shortened
    /// to it; the outcome is final instead. Zero leaves retries without a wait, and
    /// [`Duration::MAX`] all. Default: 300 s.
    pub const fn max_wait(mut self, max_wait: Duration) -> Self {
        self.shared.max_wait = max_wait;
        self
    }

    /// Marks further requests as safe to send twice. Several closures add up, and
    /// add to what [`Repeatable`](crate::Repeatable) says.
    pub fn idempotent(mut self, idempotent: impl Fn(&Req) -> bool + Send + Sync + 'static) -> Self {
        self.shared.idempotent.push(Box::new(idempotent));
        self
    }

    /// Marks requests that are sent once, whatever happens, also after a 429. Several
    /// closures add up, and overrule [`idempotent`](Self::idempotent). Default: those
    /// whose [`Repeatable::mark`](crate::Repeatable::mark) is `Some(false)`.
    pub fn once(mut self, once: impl Fn(&Req) -> bool + Send + Sync + 'static) -> Self {
        self.shared.once.push(Box::new(once));
        self
    }

    /// How a response carries why it was not retried, and that it is to be kept
    /// between attempts. Default: as [`AttachRefusal`](crate::AttachRefusal) does; nothing with
    /// [`builder_with`](RetryPolicy::builder_with).
    pub const fn attach(mut self, attach: fn(&mut Res, NotRetried)) -> Self {
        self.shared.attach = Some(attach);
        self.shared.keep_responses = true;
        self
    }

    /// Drops a failed response before the wait, and with it its body and
    /// connection. When the retry is then refused locally, the caller gets the
    /// refusal. Errors are kept nevertheless. Default: responses are kept.
    pub const fn forget_responses(mut self) -> Self {
        self.shared.keep_responses = false;
        self
    }

    /// Names the endpoint of a request for statistics, history and learning: no
    /// identifiers, no secrets. Asked only when something failed. At most 255 are told
    /// apart at a time. Default: [`Repeatable::endpoint`](crate::Repeatable::endpoint).
    pub fn endpoint(mut self, endpoint: impl Fn(&Req) -> String + Send + Sync + 'static) -> Self {
        self.shared.endpoint = Some(Box::new(endpoint));
        self
    }

    /// Where a record of each failure goes, and of each success after one. Default: nowhere.
    pub fn history(mut self, history: impl History + Send + Sync + 'static) -> Self {
        self.observer.set_history(Box::new(history));
        self
    }

    /// Gives endpoints that keep failing a longer first delay. Default: off.
    pub const fn learning(mut self, learning: Learning) -> Self {
        self.learning = Some(learning);
        self
    }

    /// Where the time of records comes from. Default: the system's clock.
    pub fn wall_clock(mut self, wall: fn() -> SystemTime) -> Self {
        self.observer.set_wall(wall);
        self
    }

    /// What chance starts from. Each session draws a stream of its own from it.
    /// Default: random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.shared.seed = AtomicU64::new(seed);
        self
    }

    /// Builds the policy.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong.
    pub fn build(mut self) -> Result<RetryPolicy<Req, Res>, ConfigError> {
        ConfigError::of(self.problems())?;
        if let Some(learning) = self.learning {
            self.observer.set_learning(learning);
        }
        self.shared.observer = Arc::new(self.observer);
        let base = self.shared.limits.settled();
        self.shared.limits = base;
        self.shared.classes = self
            .classes
            .into_iter()
            .map(|(class, policy)| {
                let backoff = policy.backoff.unwrap_or(base.backoff);
                let max_retries = policy.max_retries.unwrap_or(base.max_retries);
                let untouched = policy.untouched;
                (class, Limits { backoff, max_retries, untouched }.settled())
            })
            .collect();
        Ok(RetryPolicy::new(self.shared))
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.links == 0 {
            problems.push(Problem::new("classify", "no classifier", "at least one"));
        }
        check_backoff(&self.shared.limits.backoff, None, &mut problems);
        let mut seen = HashSet::new();
        for (class, policy) in &self.classes {
            if !seen.insert(*class) {
                problems.push(Problem::new("class", "given twice", "once").of(Some(*class)));
            }
            if !is_told_apart(*class) {
                let value = format!("{:?}", class.name());
                problems.push(Problem::new("class", value, "a name that no built-in class has"));
            }
            if let Some(backoff) = &policy.backoff {
                check_backoff(backoff, Some(*class), &mut problems);
            }
        }
        self.shared.budget.check(&mut problems);
        if let Some(learning) = &self.learning {
            learning.check(&mut problems);
        }
        problems
    }
}

impl<B, Res> RetryBuilder<http::Request<B>, Res> {
    /// Marks requests that carry this header (say `Idempotency-Key`) as safe to
    /// send twice. Default: no header is trusted.
    pub fn key_header(self, name: HeaderName) -> Self {
        self.idempotent(move |request| request.headers().contains_key(&name))
    }
}

impl<Req, Res> fmt::Debug for RetryBuilder<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBuilder")
            .field("limits", &self.shared.limits)
            .field("classes", &self.classes)
            .field("classifiers", &self.links)
            .finish_non_exhaustive()
    }
}
