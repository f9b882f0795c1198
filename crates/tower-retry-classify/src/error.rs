use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use crate::{BoxError, Class};

/// Why a failure that may go better the next time was not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// All retries that the policy allows were used.
    Exhausted,
    /// The server may have acted on it, and it must not act twice.
    NotIdempotent,
    /// The wait could not have ended before the caller's deadline.
    Deadline,
    /// There is no deadline, and the wait would have been longer than the policy's longest.
    WaitTooLong,
    /// The retry budget is spent.
    Budget,
    /// The retry was refused locally: it was never sent.
    Refused,
}

impl Reason {
    pub(crate) const ALL: [Self; 6] = [
        Self::Exhausted,
        Self::NotIdempotent,
        Self::Deadline,
        Self::WaitTooLong,
        Self::Budget,
        Self::Refused,
    ];

    /// A short stable name for logs and metrics: `exhausted`, `deadline`, ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::NotIdempotent => "not_idempotent",
            Self::Deadline => "deadline",
            Self::WaitTooLong => "wait_too_long",
            Self::Budget => "budget",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exhausted => "all retries were used",
            Self::NotIdempotent => "it must not be done twice",
            Self::Deadline => "the wait could not have ended before the deadline",
            Self::WaitTooLong => "the wait would have been too long",
            Self::Budget => "the retry budget is spent",
            Self::Refused => "the retry was refused locally",
        })
    }
}

/// Why nothing more was tried, beside the outcome that the caller got.
///
/// A response carries it in its extensions ([`NotRetried::of`]), an error as
/// [`GaveUp`].
#[derive(Clone, Debug)]
pub struct NotRetried {
    pub(crate) reason: Reason,
    pub(crate) class: Class,
    pub(crate) retries: u32,
    pub(crate) wait: Option<Duration>,
    pub(crate) refusal: Option<Arc<dyn Error + Send + Sync>>,
}

impl NotRetried {
    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The class of the outcome that the caller got.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// How many retries were sent before. One that was refused locally was not sent.
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// How long to wait before it makes sense to try again, if that is known:
    /// what the server asked for, else our own delay that did not fit.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.wait
    }

    /// The local refusal that the last retry met ([`Reason::Refused`]).
    #[must_use]
    pub fn refusal(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.refusal.as_deref()
    }

    /// The local refusal of this type in an outcome, wherever it stands: the error itself or one of
    /// its causes, if the first attempt was refused; beside the last real outcome, if a retry was.
    ///
    /// ```
    /// use http::Response;
    /// use tower_retry_classify::{BoxError, NotRetried};
    ///
    /// # #[derive(Debug, thiserror::Error)] #[error("open")] struct Open;
    /// let outcome: Result<Response<()>, BoxError> = Err(Open.into());
    /// assert!(NotRetried::refusal_in::<Open, _>(&outcome).is_some());
    /// ```
    #[must_use]
    pub fn refusal_in<E, B>(outcome: &Result<http::Response<B>, BoxError>) -> Option<&E>
    where
        E: Error + 'static,
    {
        match outcome {
            Ok(answer) => Self::of(answer)?.refusal()?.downcast_ref(),
            Err(error) => {
                find(&**error).or_else(|| GaveUp::find(&**error)?.why().refusal()?.downcast_ref())
            }
        }
    }
}

/// A failure that was final although it could have gone better the next time.
///
/// Its source is the error itself, so whoever walks the causes finds what
/// really happened. A local refusal is not among the causes; it stands beside
/// them, in [`NotRetried::refusal`].
#[derive(Debug, thiserror::Error)]
#[error("gave up after {} retries: {}", why.retries, why.reason)]
pub struct GaveUp {
    why: NotRetried,
    source: BoxError,
}

impl GaveUp {
    pub(crate) fn new(why: NotRetried, source: BoxError) -> Self {
        Self { why, source }
    }

    /// Why.
    #[must_use]
    pub const fn why(&self) -> &NotRetried {
        &self.why
    }

    /// The error that the caller would have got without this policy.
    #[must_use]
    pub fn into_inner(self) -> BoxError {
        self.source
    }

    /// Looks for one in an error and its causes.
    ///
    /// ```
    /// use tower_retry_classify::{BoxError, GaveUp};
    ///
    /// let error: BoxError = "plain".into();
    /// assert!(GaveUp::find(&*error).is_none());
    /// ```
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        find(error)
    }
}

/// The first of this type among an error and its causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = cause(error);
    }
    None
}

/// The next error inwards. An `io::Error` that wraps another names that one's
/// cause as its own source, and so would hide the wrapped one itself.
pub(crate) fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}
