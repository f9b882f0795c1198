use std::{borrow::Cow, fmt};

/// A builder was given values that cannot work. It lists all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    what: &'static str,
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Everything that is wrong; never empty.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be built", self.what)?;
        for (n, problem) in self.problems.iter().enumerate() {
            write!(f, "{} {problem}", if n == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One value that cannot work; see [`ConfigError::problems`].
///
/// ```
/// use std::time::Duration;
/// use tower_health::Health;
///
/// let error = Health::builder("api").min_calls(0).window(Duration::ZERO).build().unwrap_err();
/// let [window, calls] = error.problems() else { panic!("{error}") };
/// assert_eq!((calls.field(), calls.value(), calls.allowed()), ("min_calls", "0", "at least 1"));
/// assert_eq!(window.to_string(), "window is 0ns, allowed is 10 ms to a day");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    field: &'static str,
    value: String,
    allowed: Cow<'static, str>,
}

impl Problem {
    /// The setting, as the method of the builder is called. A part of it follows a dot.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// What it was given.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What it may be.
    #[must_use]
    pub fn allowed(&self) -> &str {
        &self.allowed
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, allowed } = self;
        write!(f, "{field} is {value}, allowed is {allowed}")
    }
}

/// Gathers what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Keeps the problem unless `right`.
    pub(crate) fn unless(
        &mut self,
        right: bool,
        field: &'static str,
        value: impl fmt::Debug,
        allowed: impl Into<Cow<'static, str>>,
    ) {
        if !right {
            self.0.push(Problem { field, value: format!("{value:?}"), allowed: allowed.into() });
        }
    }

    pub(crate) fn into_result(self, what: &'static str) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { what, problems: self.0 }) }
    }
}
