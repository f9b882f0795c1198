//! What is wrong with a configuration, all of it at once.

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use crate::{Backoff, Class, Jitter, Strategy};

/// The greatest factor of an exponential back-off that is taken for meant.
const GREATEST_FACTOR: f64 = 1_000.0;
/// Nobody waits longer for a retry in memory.
const DAY: Duration = Duration::from_secs(86_400);

/// A configuration was given values that cannot work. Names all of them.
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use tower_retry_classify::{Backoff, Jitter, RetryPolicy};
///
/// let bad = Backoff::exponential(Duration::from_secs(1), 0.5).jitter(Jitter::Fraction(2.0));
/// let error = RetryPolicy::<Request<()>, Response<()>>::http().backoff(bad).build().unwrap_err();
/// let told: Vec<_> = error.problems().iter().map(|it| (it.field(), it.value(), it.allowed())).collect();
/// assert_eq!(told, [("factor", "0.5", "from 1 to 1000"), ("jitter", "2", "from 0 to 1")]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) problems: Vec<Problem>,
}

impl ConfigError {
    /// Everything that is wrong.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// An error if there are problems.
    pub(crate) fn of(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the retry configuration cannot work")?;
        for (n, problem) in self.problems.iter().enumerate() {
            write!(f, "{} {problem}", if n == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    field: Cow<'static, str>,
    class: Option<Class>,
    value: String,
    allowed: String,
}

impl Problem {
    pub(crate) fn new(
        field: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), class: None, value: value.to_string(), allowed: allowed.into() }
    }

    pub(crate) fn of(mut self, class: Option<Class>) -> Self {
        self.class = class;
        self
    }

    /// Which value: the name of its setter, or of a field of what was given to it.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Of which class's policy; `None` if it is the policy's own, or no class has to do with it.
    #[must_use]
    pub const fn class(&self) -> Option<Class> {
        self.class
    }

    /// What was given.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What could have been given.
    #[must_use]
    pub fn allowed(&self) -> &str {
        &self.allowed
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.field)?;
        if let Some(class) = self.class {
            write!(f, " of class {class}")?;
        }
        write!(f, " is {}, allowed is {}", self.value, self.allowed)
    }
}

/// Whether a class can be told from all others by its name.
pub(crate) fn is_told_apart(class: Class) -> bool {
    match class {
        Class::Custom(name) => !name.is_empty() && Class::named(name).is_none(),
        _ => true,
    }
}

/// What is wrong with a back-off.
pub(crate) fn check_backoff(backoff: &Backoff, class: Option<Class>, problems: &mut Vec<Problem>) {
    let mut wrong = |problem: Problem| problems.push(problem.of(class));
    let grows = ("more than 0 s, at most 86400 s", Duration::from_nanos(1));
    let (field, first, (allowed, least)) = match backoff.strategy {
        Strategy::Exponential { base, factor } => {
            if !(1.0..=GREATEST_FACTOR).contains(&factor) {
                wrong(Problem::new("factor", factor, format!("from 1 to {GREATEST_FACTOR}")));
            }
            ("base", base, grows)
        }
        Strategy::Linear { base } => ("base", base, grows),
        Strategy::Constant { delay } => ("delay", delay, ("from 0 s to 86400 s", Duration::ZERO)),
        Strategy::None => ("delay", Duration::ZERO, ("", Duration::ZERO)),
    };
    let cap = backoff.cap;
    let right = (least..=DAY).contains(&first);
    if !right {
        wrong(Problem::new(field, format_args!("{first:?}"), allowed));
    }
    if cap > DAY || right && cap < first {
        let allowed = match right {
            true => format!("from the first delay, {first:?}, to 86400 s"),
            false => "at most 86400 s".to_owned(),
        };
        wrong(Problem::new("cap", format_args!("{cap:?}"), allowed));
    }
    if let Jitter::Fraction(fraction) = backoff.jitter {
        if !(0.0..=1.0).contains(&fraction) {
            wrong(Problem::new("jitter", fraction, "from 0 to 1"));
        }
    }
}
