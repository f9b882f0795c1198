use std::fmt;

use tokio::time::Instant;

/// How urgent a call is, from 0 (least) to 10 (most).
///
/// ```
/// use tower_ratelimit_tokens::Priority;
///
/// assert!(Priority::CRITICAL > Priority::NORMAL);
/// assert_eq!(Priority::default(), Priority::NORMAL);
/// assert_eq!(Priority::new(7).level(), 7);
/// assert_eq!(Priority::new(200), Priority::CRITICAL);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Priority(u8);

impl Priority {
    /// 0: only when nobody else wants anything.
    pub const LOWEST: Self = Self(0);
    /// 2: batches.
    pub const LOW: Self = Self(2);
    /// 5: the default.
    pub const NORMAL: Self = Self(5);
    /// 8: somebody waits for it.
    pub const HIGH: Self = Self(8);
    /// 10: cannot be done without.
    pub const CRITICAL: Self = Self(10);

    /// How many there are.
    pub(crate) const COUNT: usize = 11;

    /// A level from 0 to 10; greater ones count as 10.
    #[must_use]
    pub const fn new(level: u8) -> Self {
        Self(if level > 10 { 10 } else { level })
    }

    /// From 0 to 10.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.0
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

impl fmt::Debug for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Priority({})", self.0)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// On what terms a call asks: how urgent, until when, since when.
///
/// A small `Copy` value. A bare [`Priority`] and an `Option<Instant>` (a
/// deadline) can stand for it.
///
/// ```
/// use tower_ratelimit_tokens::{Priority, Terms};
///
/// let terms = Terms::new().priority(Priority::HIGH).no_wait();
/// assert_eq!(terms, Terms::from(Priority::HIGH).no_wait());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    pub(crate) arrived: Option<Instant>,
    pub(crate) no_wait: bool,
}

impl Terms {
    /// Normal priority, as long as the limiter allows, from now.
    #[must_use]
    pub const fn new() -> Self {
        Self { priority: Priority::NORMAL, deadline: None, arrived: None, no_wait: false }
    }

    /// How urgent the call is. Default: [`Priority::NORMAL`].
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Until when it can wait; `None` as long as the limiter allows, which is
    /// the default. The nearer of the two counts.
    #[must_use]
    pub const fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Since when it has been wanted: its place among calls of its priority. A
    /// retry that gives the time of its first attempt keeps its place. A time in
    /// the future counts as now. Default: now.
    #[must_use]
    pub const fn arrived(mut self, at: Option<Instant>) -> Self {
        self.arrived = at;
        self
    }

    /// It is refused rather than queued.
    #[must_use]
    pub const fn no_wait(mut self) -> Self {
        self.no_wait = true;
        self
    }
}

impl From<Priority> for Terms {
    fn from(priority: Priority) -> Self {
        Self::new().priority(priority)
    }
}

impl From<Option<Instant>> for Terms {
    fn from(deadline: Option<Instant>) -> Self {
        Self::new().deadline(deadline)
    }
}

/// Says on what terms a request asks. Closures that give [`Terms`], a
/// [`Priority`] or a deadline (`Option<Instant>`) implement it.
///
/// ```
/// use tower_ratelimit_tokens::{Ask, Priority, Terms};
///
/// let by_length = |text: &String| Priority::new(text.len() as u8);
/// assert_eq!(by_length.terms(&"four".to_owned()), Terms::from(Priority::new(4)));
/// ```
pub trait Ask<Request> {
    /// Called once for each call. Should not allocate.
    fn terms(&self, request: &Request) -> Terms;
}

impl<F, Request, T> Ask<Request> for F
where
    F: Fn(&Request) -> T,
    T: Into<Terms>,
{
    fn terms(&self, request: &Request) -> Terms {
        self(request).into()
    }
}

/// The same terms for every call: the default, with [`Terms::new`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SameTerms(pub Terms);

impl<Request> Ask<Request> for SameTerms {
    fn terms(&self, _: &Request) -> Terms {
        self.0
    }
}

/// Takes [`Terms`], or else a [`Priority`], out of an HTTP request's extensions.
///
/// ```
/// use tower_ratelimit_tokens::{Ask, Priority, Terms, TermsFromExtensions};
///
/// let request = http::Request::builder().extension(Priority::LOW).body(()).unwrap();
/// assert_eq!(TermsFromExtensions.terms(&request), Priority::LOW.into());
/// assert_eq!(TermsFromExtensions.terms(&http::Request::new(())), Terms::new());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TermsFromExtensions;

impl<B> Ask<http::Request<B>> for TermsFromExtensions {
    fn terms(&self, request: &http::Request<B>) -> Terms {
        let extensions = request.extensions();
        extensions.get::<Terms>().copied().unwrap_or_else(|| {
            extensions.get::<Priority>().map_or_else(Terms::new, |&priority| priority.into())
        })
    }
}
