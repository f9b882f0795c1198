//! What to do about a class of failures.

use crate::Class;

/// How bad a class of failures is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Severity {
    /// Part of normal business.
    Low,
    /// Passes by itself in most cases.
    Medium,
    /// Somebody should look at it when it lasts.
    High,
    /// Nothing goes on before somebody has acted.
    Critical,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Step {
    /// Try again.
    Retry,
    /// Wait, for as long as the server says.
    Wait,
    /// Go to another place that serves the same.
    FailOver,
    /// Renew the credentials.
    RefreshAuth,
    /// Somebody must change the request, the plan or the permissions.
    Manual,
    /// Tell somebody now.
    Alert,
}

/// What to do about a class of failures, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Advice {
    /// How bad it is.
    pub severity: Severity,
    /// What to do, the first thing first.
    pub steps: &'static [Step],
    /// The same for people.
    pub text: &'static str,
}

impl Class {
    /// What to do about failures of this class.
    ///
    /// ```
    /// use tower_retry_classify::{Class, Severity, Step};
    ///
    /// let advice = Class::Auth.advice();
    /// assert_eq!(advice.severity, Severity::Critical);
    /// assert_eq!(advice.steps, [Step::RefreshAuth, Step::Alert]);
    /// ```
    #[must_use]
    pub const fn advice(self) -> Advice {
        use Severity::{Critical, High, Low, Medium};
        use Step::{Alert, FailOver, Manual, RefreshAuth, Retry, Wait};
        let (severity, steps, text): (_, &[_], _) = match self {
            Self::RateLimit => {
                (Medium, &[Wait, Retry], "wait as long as the server says; ask more slowly")
            }
            Self::Server => {
                (High, &[Retry, FailOver, Alert], "try again; if it lasts, the service has a fault")
            }
            Self::Timeout => {
                (Medium, &[Retry, FailOver], "try again; ask for less at once if it lasts")
            }
            Self::Connect => {
                (High, &[Retry, FailOver, Alert], "check that the host can be reached")
            }
            Self::Connection => (Medium, &[Retry], "try again; the network or the server hung up"),
            Self::Auth => {
                (Critical, &[RefreshAuth, Alert], "the credentials are not accepted: renew them")
            }
            Self::Forbidden => {
                (High, &[Manual], "the credentials do not allow this: ask for the permission")
            }
            Self::Banned => (Critical, &[Wait, Alert], "stop all calls until the ban is lifted"),
            Self::Quota => (
                Critical,
                &[Wait, Manual, Alert],
                "the allowance is spent: wait for its reset or buy more",
            ),
            Self::BadRequest => (Low, &[Manual], "the request is wrong: correct the caller"),
            Self::NotFound => (Low, &[Manual], "it does not exist (any more)"),
            Self::Body => (Medium, &[Retry, Alert], "try again; if it lasts, the API has changed"),
            Self::Degraded => (Low, &[Manual], "a part is missing: fetch it again later"),
            Self::Other | Self::Custom(_) => (Medium, &[Manual], "look at the error itself"),
        };
        Advice { severity, steps, text }
    }
}
