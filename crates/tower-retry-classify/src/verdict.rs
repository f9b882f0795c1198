use std::{fmt, time::Duration};

/// What a classifier thinks of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to say. If no classifier says anything, the outcome is final: a
    /// response is a success, an error is of class [`Class::Other`].
    NoOpinion,
    /// It may go better the next time.
    Retry {
        /// What went wrong.
        class: Class,
        /// How long the server asked us to wait. Never shortened.
        after: Option<Duration>,
    },
    /// Trying again cannot help, or must not happen.
    Never {
        /// What went wrong.
        class: Class,
    },
}

impl Verdict {
    /// A retry of this class, with no wish of the server's.
    #[must_use]
    pub const fn retry(class: Class) -> Self {
        Self::Retry { class, after: None }
    }

    /// Never a retry, of this class.
    #[must_use]
    pub const fn never(class: Class) -> Self {
        Self::Never { class }
    }

    /// Whether trying again can help, unless there is no opinion.
    ///
    /// ```
    /// use tower_retry_classify::{Category, Class, Verdict};
    ///
    /// assert_eq!(Verdict::retry(Class::Server).category(), Some(Category::Recoverable));
    /// assert_eq!(Verdict::never(Class::Degraded).category(), Some(Category::Degraded));
    /// assert_eq!(Verdict::never(Class::Auth).category(), Some(Category::NonRecoverable));
    /// ```
    #[must_use]
    pub const fn category(&self) -> Option<Category> {
        match self {
            Self::NoOpinion => None,
            Self::Retry { .. } => Some(Category::Recoverable),
            Self::Never { class: Class::Degraded } => Some(Category::Degraded),
            Self::Never { .. } => Some(Category::NonRecoverable),
        }
    }

    /// The class, unless there is no opinion.
    #[must_use]
    pub const fn class(&self) -> Option<Class> {
        match *self {
            Self::NoOpinion => None,
            Self::Retry { class, .. } | Self::Never { class } => Some(class),
        }
    }
}

/// What kind of end a failure comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Category {
    /// Rate limits, time-outs, failures that pass: trying again can help.
    Recoverable,
    /// Credentials, a wrong request: trying again cannot help.
    NonRecoverable,
    /// A success in part ([`Class::Degraded`]): taken as it is, and counted.
    Degraded,
}

/// What kind of thing went wrong. Each class can have a
/// [policy](crate::ClassPolicy) of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Too many requests in too short a time (429). The server did not act.
    RateLimit,
    /// The server failed (500, 502, 503, 504, 524).
    Server,
    /// No answer in time (408, or our own time-out). The server may have acted.
    Timeout,
    /// No connection could be opened: nothing was sent, the server did not act.
    Connect,
    /// The connection broke. The server may have acted.
    Connection,
    /// Who we are is not accepted (401).
    Auth,
    /// We are known, but may not do this (403).
    Forbidden,
    /// Locked out for abuse, for longer than one request can wait.
    Banned,
    /// A payment or a plan is missing (402), or a day's allowance is spent.
    Quota,
    /// The request itself is wrong (400, 405, 415, 422, 501 and other 4xx).
    BadRequest,
    /// There is no such thing (404, 410).
    NotFound,
    /// The body of the answer was not what it should have been.
    Body,
    /// A success in part only.
    Degraded,
    /// None of these; an error that no classifier knew.
    Other,
    /// A class of the user's own, told apart by its name.
    Custom(&'static str),
}

impl Class {
    /// Every class but the custom ones, in the order of their places.
    pub(crate) const BUILT_IN: [Self; 14] = [
        Self::RateLimit,
        Self::Server,
        Self::Timeout,
        Self::Connect,
        Self::Connection,
        Self::Auth,
        Self::Forbidden,
        Self::Banned,
        Self::Quota,
        Self::BadRequest,
        Self::NotFound,
        Self::Body,
        Self::Degraded,
        Self::Other,
    ];

    /// Where the class stands in a table; all custom ones share the last place.
    pub(crate) fn place(self) -> usize {
        Self::BUILT_IN.iter().position(|&class| class == self).unwrap_or(Self::BUILT_IN.len())
    }

    /// Whether the server is known not to have acted on a request that failed
    /// with this class, so that it may be repeated even when it is not idempotent.
    /// True for [`RateLimit`](Self::RateLimit) and [`Connect`](Self::Connect).
    #[must_use]
    pub const fn is_untouched(self) -> bool {
        matches!(self, Self::RateLimit | Self::Connect)
    }

    /// The class of that [`name`](Self::name); none if it is a custom one's.
    ///
    /// ```
    /// use tower_retry_classify::Class;
    ///
    /// assert_eq!(Class::named("not_found"), Some(Class::NotFound));
    /// assert_eq!(Class::named("mine"), None);
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::BUILT_IN.into_iter().find(|class| class.name() == name)
    }

    /// A short stable name for logs and metrics: `rate_limit`, `server`, ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Connection => "connection",
            Self::Auth => "auth",
            Self::Forbidden => "forbidden",
            Self::Banned => "banned",
            Self::Quota => "quota",
            Self::BadRequest => "bad_request",
            Self::NotFound => "not_found",
            Self::Body => "body",
            Self::Degraded => "degraded",
            Self::Other => "other",
            Self::Custom(name) => name,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Written as its [`name`](Class::name).
#[cfg(feature = "serde")]
impl serde::Serialize for Class {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
