//! How the program ends: a code for scripts and one line for people.

use std::fmt;

use jiff::Timestamp;
use pipedrive_service::{Error, ErrorKind};

use crate::{store::StoreError, wall};

/// What a script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// 0: all was done.
    Done = 0,
    /// 1: anything that none of the others describes; also an end by Ctrl-C or SIGTERM.
    Other = 1,
    /// 2: usage or configuration, a database that cannot be used among them.
    Usage = 2,
    /// 3: the API does not accept the token.
    Auth = 3,
    /// 4: the day's budget is spent, or too small.
    Budget = 4,
    /// 5: the API cannot be reached, or does not answer as it should.
    Unavailable = 5,
}

impl Code {
    /// All of them, by number.
    pub const ALL: [Self; 6] =
        [Self::Done, Self::Other, Self::Usage, Self::Auth, Self::Budget, Self::Unavailable];

    /// The code of a number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// Whether nothing else can be done before somebody has put it right: other walks end at once, too.
    pub(crate) const fn ends_all(self) -> bool {
        matches!(self, Self::Auth | Self::Usage)
    }

    /// Whether nothing more is to be begun now. That the day is spent each walk is told when it asks, and what was let
    /// through is still read: else a day could bring nothing.
    pub(crate) const fn begins_nothing(self) -> bool {
        self.ends_all() || matches!(self, Self::Budget)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// One line, or one line for each thing that is wrong.
    pub line: String,
    /// When it can go on, if the day's budget is spent and it is known when the next begins.
    pub again_at: Option<Timestamp>,
}

impl Failure {
    /// A failure with its line.
    #[must_use]
    pub fn new(code: Code, line: impl Into<String>) -> Self {
        Self { code, line: line.into(), again_at: None }
    }

    /// An end by a signal.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(
            Code::Other,
            "interrupted; what was committed stays, and the same command goes on from there",
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Failure {}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Unreachable { .. } | StoreError::Lost(_) | StoreError::Overtaken { .. } => {
                Code::Unavailable
            }
            StoreError::Sql(_)
            | StoreError::Moved { .. }
            | StoreError::Full(_)
            | StoreError::Busy(_)
            | StoreError::Damaged(_)
            | StoreError::Content { .. }
            | StoreError::Locked { .. } => Code::Other,
            _ => Code::Usage,
        };
        Self::new(code, one_line(&error.to_string()))
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Auth { .. } | ErrorKind::Quota => Code::Auth,
            ErrorKind::RateLimit { daily: true } => Code::Budget,
            ErrorKind::BudgetExhausted { budget } if budget == "day" => Code::Budget,
            ErrorKind::WrongHost | ErrorKind::Invalid => Code::Usage,
            ErrorKind::RateLimit { .. }
            | ErrorKind::Banned
            | ErrorKind::Server { .. }
            | ErrorKind::Garbled
            | ErrorKind::Paging
            | ErrorKind::BodyTooLarge { .. }
            | ErrorKind::Timeout
            | ErrorKind::Connection(_)
            | ErrorKind::CircuitOpen => Code::Unavailable,
            _ => Code::Other,
        };
        let (mut line, mut again_at) = (error.to_string(), None);
        if code == Code::Budget
            && let Some(after) = error.retry_after()
            && let Ok(after) = jiff::SignedDuration::try_from(after)
        {
            let at = wall::after(after);
            line.push_str(&format!("; it can go on at {}", wall::text(at)));
            again_at = Some(at);
        }
        let line = one_line(&format!("{line}. {}", error.advice()));
        Self { code, line, again_at }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// Line breaks and runs of blanks become one blank.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
