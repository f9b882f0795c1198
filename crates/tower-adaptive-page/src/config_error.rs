use std::{borrow::Cow, fmt};

/// A builder was given values that cannot work; it lists all of them.
///
/// ```
/// use tower_adaptive_page::PageController;
///
/// let error = PageController::builder().bounds(0, 500).thresholds(80, 85, 101).build().unwrap_err();
/// let told: Vec<_> = error.problems().iter().map(|it| (it.field(), it.value(), it.allowed())).collect();
/// assert_eq!(told, [("bounds.min", "0", "1 to 500 rows"), ("thresholds.pause", "101", "86 to 100 percent")]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Everything that is wrong, in the order of the setters; never empty.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("page control cannot work like this: ")?;
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    field: &'static str,
    value: String,
    allowed: Cow<'static, str>,
}

impl Problem {
    /// The setting: the name of the builder's method, and the argument after a dot if it has
    /// several.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// What was given.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What may be given, the other settings being as they are.
    #[must_use]
    pub fn allowed(&self) -> &str {
        &self.allowed
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, value, allowed } = self;
        write!(f, "{field} is {value}, allowed: {allowed}")
    }
}

/// Gathers what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn check(
        &mut self,
        right: bool,
        field: &'static str,
        value: &dyn fmt::Debug,
        allowed: impl Into<Cow<'static, str>>,
    ) {
        if !right {
            let (value, allowed) = (format!("{value:?}"), allowed.into());
            self.0.push(Problem { field, value, allowed });
        }
    }

    pub(crate) fn into_result(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { problems: self.0 }) }
    }
}
