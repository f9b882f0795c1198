//! The one error of the client: what went wrong, where, whether to try again, and what to do.

mod convert;
mod report;

use std::{error::Error as StdError, fmt, time::Duration};

use http::{Method, StatusCode};
use tower_retry_classify::Class;

pub(crate) use self::convert::{BAN, from_box, from_response};
pub use self::report::ErrorReport;
use crate::BoxError;

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

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 429: the burst window is full, or the day's tokens are spent.
    RateLimit {
        /// The day's budget of the company is spent, not only the burst window.
        daily: bool,
    },
    /// The edge answered 403 with a page of its own: too many calls after a 429.
    Banned,
    /// 401 or 403: the token is wrong or may not do this.
    Auth {
        /// The status of the answer.
        status: StatusCode,
    },
    /// 402: the company's account is not open.
    Quota,
    /// 404 or 410.
    NotFound {
        /// The status of the answer.
        status: StatusCode,
    },
    /// Any other 4xx: the request itself is at fault.
    BadRequest {
        /// The status of the answer.
        status: StatusCode,
    },
    /// 5xx.
    Server {
        /// The status of the answer.
        status: StatusCode,
    },
    /// A success whose body is not what the API promises: cut short, HTML, or without data.
    Garbled,
    /// One attempt took longer than the request time-out.
    Timeout,
    /// No answer could be had over the network.
    Connection(ConnectionFault),
    /// The answer was longer than we are ready to hold.
    BodyTooLarge {
        /// The bound in bytes.
        limit: u64,
    },
    /// Memory stayed above the critical threshold.
    Memory {
        /// Bytes in use.
        used: u64,
        /// Bytes that may be used.
        limit: u64,
    },
    /// Our own circuit is open: the API failed too often a moment ago.
    CircuitOpen,
    /// Our own limiter refused: a budget has nothing left in time.
    BudgetExhausted {
        /// The budget: `burst`, `search` or `day`.
        budget: String,
    },
    /// Our own limiter refused: its queue is full, its gate is closed, or the deadline is too near.
    NotAdmitted,
    /// A walk cannot go on: the server repeats itself or points elsewhere.
    Paging,
    /// The request would have gone to a host other than the configured one.
    WrongHost,
    /// The API has no such operation for this kind of record.
    Unsupported,
    /// What the caller handed in cannot be sent.
    Invalid,
    /// Something that none of the above describes.
    Other,
}

/// How the network failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionFault {
    /// The host's name has no address.
    UnknownHost,
    /// Nobody listens there.
    Refused,
    /// The certificate or the TLS handshake is wrong.
    Tls,
    /// The connection broke before the whole answer had come.
    Broken,
    /// Anything else.
    Other,
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

    /// What a person can do about it, in one sentence.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match &self.inner.kind {
            ErrorKind::RateLimit { daily: false } => {
                "Slow down: another program spends the same burst window."
            }
            ErrorKind::RateLimit { daily: true } | ErrorKind::BudgetExhausted { .. } => {
                "Wait for the reset of the daily token budget, or buy more tokens in Pipedrive's company settings."
            }
            ErrorKind::Banned => {
                "Stop all programs that use this token for some minutes; the edge has blocked it."
            }
            ErrorKind::Auth { status } if *status == StatusCode::UNAUTHORIZED => {
                "Check PIPEDRIVE_API_TOKEN; a token is shown under personal preferences, API, in Pipedrive."
            }
            ErrorKind::Auth { .. } => {
                "Ask an administrator: the user behind the token lacks a permission or a scope."
            }
            ErrorKind::Quota => "The Pipedrive account is not open; see its billing settings.",
            ErrorKind::NotFound { .. } => "Check the identifier; the record may have been deleted.",
            ErrorKind::BadRequest { .. } => {
                "Correct the request; the answer's text says what is wrong with it."
            }
            ErrorKind::Server { .. } | ErrorKind::Timeout | ErrorKind::CircuitOpen => {
                "Pipedrive has trouble; try again later and see its status page."
            }
            ErrorKind::Garbled => {
                "Check that the base URL is Pipedrive's and that no proxy answers in its place."
            }
            ErrorKind::Connection(ConnectionFault::UnknownHost) => {
                "Check PIPEDRIVE_COMPANY_DOMAIN or PIPEDRIVE_BASE_URL for a misspelt host."
            }
            ErrorKind::Connection(ConnectionFault::Refused) => {
                "Check the host and port, and whether a proxy is needed."
            }
            ErrorKind::Connection(ConnectionFault::Tls) => {
                "Check the certificate; for one of your own authority name its file in PIPEDRIVE_CA_FILE."
            }
            ErrorKind::Connection(_) => "Check the network, then try again.",
            ErrorKind::BodyTooLarge { .. } => "Ask for smaller pages, or raise PIPEDRIVE_MAX_BODY.",
            ErrorKind::Memory { .. } => {
                "Give the program more memory, or lower PIPEDRIVE_MAX_BATCH_SIZE."
            }
            ErrorKind::NotAdmitted => {
                "Try again after the time that is named, or allow a longer wait."
            }
            ErrorKind::Paging => "Start the walk again from its last position.",
            ErrorKind::WrongHost => "Build the request from the client's own base URL.",
            ErrorKind::Unsupported => "Use an operation that the API has for this kind of record.",
            ErrorKind::Invalid => "Correct what was handed to the client.",
            ErrorKind::Other => "See the causes that follow.",
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
            ErrorKind::CircuitOpen => f.write_str("not sent: the circuit is open")?,
            ErrorKind::BudgetExhausted { budget } => {
                write!(f, "not sent: the {budget} budget is spent")?
            }
            ErrorKind::NotAdmitted => {
                f.write_str("not sent: the limiter could not admit it in time")?
            }
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

impl fmt::Display for ConnectionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownHost => "the host is unknown",
            Self::Refused => "the connection was refused",
            Self::Tls => "the TLS handshake failed",
            Self::Broken => "the connection broke before the answer was whole",
            Self::Other => "the API could not be reached",
        })
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
