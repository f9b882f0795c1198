/// A builder was given values that cannot work. It lists all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be built: {}", faults.join("; "))]
pub struct ConfigError {
    pub(crate) what: &'static str,
    pub(crate) faults: Vec<String>,
}

impl ConfigError {
    /// One sentence for each value that cannot work.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}

/// Gathers what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    /// Keeps the sentence unless `right`.
    pub(crate) fn unless(&mut self, right: bool, fault: impl FnOnce() -> String) {
        if !right {
            self.0.push(fault());
        }
    }

    pub(crate) fn into_result(self, what: &'static str) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { what, faults: self.0 }) }
    }
}
