//! What all clones of a policy share of its configuration.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Backoff, BoxError, Chain, Class, NotRetried, RetryBudget, Strategy, observe::Observer,
};

/// A question of the user's about a request or an error.
pub(crate) type Ask<T, Answer> = Box<dyn Fn(&T) -> Answer + Send + Sync>;

/// What all clones share.
pub(crate) struct Shared<Req, Res> {
    pub(crate) chain: Chain<Req, Res>,
    pub(crate) copy: Ask<Req, Option<Req>>,
    pub(crate) idempotent: Vec<Ask<Req, bool>>,
    pub(crate) once: Vec<Ask<Req, bool>>,
    pub(crate) local: Vec<Ask<BoxError, bool>>,
    pub(crate) deadline: Option<Ask<Req, Option<Instant>>>,
    pub(crate) attach: Option<fn(&mut Res, NotRetried)>,
    pub(crate) keep_responses: bool,
    pub(crate) limits: Limits,
    pub(crate) classes: Vec<(Class, Limits)>,
    pub(crate) max_wait: Duration,
    pub(crate) budget: RetryBudget,
    pub(crate) seed: AtomicU64,
    pub(crate) endpoint: Option<Ask<Req, String>>,
    pub(crate) observer: Arc<Observer>,
}

/// What holds for one class, with nothing left open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) backoff: Backoff,
    pub(crate) max_retries: u32,
    pub(crate) untouched: Option<bool>,
}

impl<Req, Res> Shared<Req, Res> {
    pub(crate) fn limits(&self, class: Class) -> &Limits {
        let own = self.classes.iter().find(|(other, _)| *other == class);
        own.map_or(&self.limits, |(_, limits)| limits)
    }

    /// Whether any class may be retried at all.
    pub(crate) fn ever(&self) -> bool {
        self.limits.max_retries > 0 || self.classes.iter().any(|(_, limits)| limits.max_retries > 0)
    }

    pub(crate) fn may_repeat(&self, request: &Req, class: Class, limits: &Limits) -> bool {
        let safe = limits.untouched.unwrap_or(class.is_untouched())
            || self.idempotent.iter().any(|idempotent| idempotent(request));
        safe && !self.once.iter().any(|once| once(request))
    }

    pub(crate) fn endpoint(&self, request: &Req) -> String {
        self.endpoint.as_ref().map_or_else(String::new, |endpoint| endpoint(request))
    }

    pub(crate) fn is_local(&self, error: &BoxError) -> bool {
        self.local.iter().any(|local| local(error))
    }
}

impl Limits {
    /// A strategy of none is the same as no retries.
    pub(crate) fn settled(mut self) -> Self {
        if self.backoff.strategy == Strategy::None {
            self.max_retries = 0;
        }
        self
    }
}
