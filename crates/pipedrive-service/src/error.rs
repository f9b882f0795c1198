//! The one error of the client: what went wrong, where, whether to try again, and what to do.

mod advice;
mod convert;
mod kind;
mod report;

use std::{error::Error as StdError, fmt, time::Duration};

use http::{Method, StatusCode};
use tower_retry_classify::Class;

pub(crate) use self::convert::{BAN, from_box, from_response};
pub use self::{
    kind::{ConnectionFault, ErrorKind},
    report::ErrorReport,
};
use crate::{BoxError, classify::find};

/// The class of a refusal of our own.
const LOCAL: Class = Class::Custom("local");

/// A call to Pipedrive did not succeed.
///
/// [`Error::kind`] says what happened, [`Error::context`] to which call, [`Error::is_retryable`] and
/// [`Error::retry_after`] whether and when to try again, and [`Error::advice`] what a person can do.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    context: Context,
    message: Option<String>,
    retry_after: Option<Duration>,
    refusal: Option<String>,
    source: Option<BoxError>,
}

/// Which call an error belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// HTTP method.
    pub method: Method,
    /// Path template, such as `/api/v2/deals/{id}`.
    pub template: &'static str,
    /// How many attempts were sent.
    pub attempts: u32,
    /// The `x-request-id` that all attempts carried.
    pub request_id: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: Context) -> Self {
        let inner =
            Inner { kind, context, message: None, retry_after: None, refusal: None, source: None };
        Self { inner: Box::new(inner) }
    }

    pub(crate) fn message(mut self, message: impl Into<String>) -> Self {
        self.inner.message = Some(message.into());
        self
    }

    pub(crate) fn retry_in(mut self, after: Option<Duration>) -> Self {
        self.inner.retry_after = after;
        self
    }

    pub(crate) fn refused(mut self, refusal: Option<String>) -> Self {
        self.inner.refusal = refusal;
        self
    }

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// Whether a health gate refused, and not the limiter.
    fn shed(&self) -> bool {
        let source = self.inner.source.as_deref();
        source.is_some_and(|source| find::<tower_health::Shed>(source).is_some())
    }

    /// The name of the circuit that refused, if one did; see [`circuits`](crate::circuits).
    #[must_use]
    pub fn circuit(&self) -> Option<&str> {
        let source = self.inner.source.as_deref()?;
        find::<tower_circuit::Open>(source).map(tower_circuit::Open::name)
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.inner.kind
    }

    /// Which call it was.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.inner.context
    }

    /// What the API said about it, in its own words.
    #[must_use]
    pub fn api_message(&self) -> Option<&str> {
        self.inner.message.as_deref()
    }

    /// Why no further attempt was made, when one of our own layers refused it.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.inner.refusal.as_deref()
    }

    /// How long to wait before the same call can succeed, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// Whether the same call may succeed later without anybody changing anything.
    ///
    /// True for limits, server failures, time-outs, broken connections, garbled answers and refusals of our own;
    /// false for what only a person can put right.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.inner.kind {
            ErrorKind::RateLimit { .. }
            | ErrorKind::Banned
            | ErrorKind::Garbled
            | ErrorKind::Timeout
            | ErrorKind::Memory { .. }
            | ErrorKind::CircuitOpen
            | ErrorKind::BudgetExhausted { .. }
            | ErrorKind::NotAdmitted => true,
            ErrorKind::Server { status } => *status != StatusCode::NOT_IMPLEMENTED,
            ErrorKind::BadRequest { status } => *status == StatusCode::REQUEST_TIMEOUT,
            ErrorKind::Connection(fault) => *fault != ConnectionFault::Tls,
            // A server that repeated its cursor may not do so again; then a time is named.
            ErrorKind::Paging => self.inner.retry_after.is_some(),
            _ => false,
        }
    }

    /// Whether nothing was sent: the refusal is our own, and says nothing about the API's health.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(
            self.inner.kind,
            ErrorKind::CircuitOpen
                | ErrorKind::BudgetExhausted { .. }
                | ErrorKind::NotAdmitted
                | ErrorKind::Memory { .. }
                | ErrorKind::WrongHost
                | ErrorKind::Unsupported
                | ErrorKind::Invalid
        )
    }

    /// Whether the API gave an HTTP answer that says no.
    #[must_use]
    pub fn is_api(&self) -> bool {
        self.status().is_some()
    }

    /// The status of the answer that said no.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match &self.inner.kind {
            ErrorKind::RateLimit { .. } => Some(StatusCode::TOO_MANY_REQUESTS),
            ErrorKind::Banned => Some(StatusCode::FORBIDDEN),
            ErrorKind::Quota => Some(StatusCode::PAYMENT_REQUIRED),
            ErrorKind::Auth { status }
            | ErrorKind::NotFound { status }
            | ErrorKind::BadRequest { status }
            | ErrorKind::Server { status } => Some(*status),
            _ => None,
        }
    }

    /// Whether a walk knows no longer where it was, since none of the rows before it is left. It must begin again at
    /// the start of the list.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let walk = self.inner.source.as_deref().and_then(|source| source.downcast_ref());
        matches!(walk, Some(tower_adaptive_page::WalkError::RowsShifted { .. }))
    }

    /// The class by which the retry policy judges such a failure.
    #[must_use]
    pub fn class(&self) -> Class {
        match &self.inner.kind {
            ErrorKind::RateLimit { daily: false } => Class::RateLimit,
            ErrorKind::RateLimit { daily: true } | ErrorKind::Quota => Class::Quota,
            ErrorKind::Banned => Class::Banned,
            ErrorKind::Auth { status } if *status == StatusCode::FORBIDDEN => Class::Forbidden,
            ErrorKind::Auth { .. } => Class::Auth,
            ErrorKind::NotFound { .. } => Class::NotFound,
            ErrorKind::Server { .. } => Class::Server,
            ErrorKind::Garbled | ErrorKind::BodyTooLarge { .. } => Class::Body,
            ErrorKind::Timeout => Class::Timeout,
            ErrorKind::Connection(
                ConnectionFault::UnknownHost | ConnectionFault::Refused | ConnectionFault::Tls,
            ) => Class::Connect,
            ErrorKind::Connection(_) => Class::Connection,
            ErrorKind::BadRequest { .. } => Class::BadRequest,
            _ if self.is_local() => LOCAL,
            _ => Class::Other,
        }
    }

    /// All that is known, in a form that can be stored or printed as JSON.
    #[must_use]
    pub fn report(&self) -> ErrorReport {
        ErrorReport::of(self)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, context, message, retry_after, refusal, .. } = &*self.inner;
        if !context.template.is_empty() {
            write!(f, "{} {}: ", context.method, context.template)?;
        }
        match kind {
            ErrorKind::RateLimit { daily: false } => {
                f.write_str("the API's burst limit was hit")?
            }
            ErrorKind::RateLimit { daily: true } => {
                f.write_str("the day's token budget is spent")?
            }
            ErrorKind::Banned => f.write_str("the API's edge has blocked us")?,
            ErrorKind::Auth { status } => {
                write!(f, "the API rejected our credentials ({})", status.as_u16())?
            }
            ErrorKind::Quota => f.write_str("the company's account is not open (402)")?,
            ErrorKind::NotFound { status } => {
                write!(f, "there is no such thing ({})", status.as_u16())?
            }
            ErrorKind::BadRequest { status } => {
                write!(f, "the API rejected the request ({})", status.as_u16())?
            }
            ErrorKind::Server { status } => write!(f, "the API failed ({})", status.as_u16())?,
            ErrorKind::Garbled => f.write_str("the answer is not what the API promises")?,
            ErrorKind::Timeout => {
                f.write_str("no whole answer came within the request time-out")?
            }
            ErrorKind::Connection(fault) => write!(f, "{fault}")?,
            ErrorKind::BodyTooLarge { limit } => {
                write!(f, "the answer is longer than the {limit} bytes allowed")?
            }
            ErrorKind::Memory { used, limit } => {
                write!(
                    f,
                    "memory is at its critical threshold: {used} of {limit} bytes are in use"
                )?;
            }
            // The only one needs no name.
            ErrorKind::CircuitOpen => match self.circuit().filter(|name| name.contains('/')) {
                Some(name) => write!(f, "not sent: the circuit {name} is open")?,
                None => f.write_str("not sent: the circuit is open")?,
            },
            ErrorKind::BudgetExhausted { budget } => {
                write!(f, "not sent: the {budget} budget is spent")?
            }
            ErrorKind::NotAdmitted => f.write_str(match self.shed() {
                true => "not sent: a health gate turned it away",
                false => "not sent: the limiter could not admit it in time",
            })?,
            ErrorKind::Paging => f.write_str("the walk cannot go on")?,
            ErrorKind::WrongHost => f.write_str("not sent: the host is not the configured one")?,
            ErrorKind::Unsupported => f.write_str("the API has no such operation")?,
            ErrorKind::Invalid => f.write_str("the request cannot be built")?,
            ErrorKind::Other => f.write_str("the call failed")?,
        }
        if let Some(message) = message {
            write!(f, ": {message}")?;
        }
        if let Some(after) = retry_after {
            write!(
                f,
                "; try again in {} s",
                after.as_secs() + u64::from(after.subsec_nanos() > 0)
            )?;
        }
        if let Some(refusal) = refusal {
            write!(f, "; not tried again: {refusal}")?;
        }
        if context.attempts > 1 {
            write!(f, " ({} attempts)", context.attempts)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        f.debug_struct("Error")
            .field("kind", &inner.kind)
            .field("context", &inner.context)
            .field("message", &inner.message)
            .field("retry_after", &inner.retry_after)
            .field("refusal", &inner.refusal)
            .field("source", &inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}
