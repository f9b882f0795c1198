use thiserror::Error;

/// The version of what is stored. A change that older programs could not read
/// raises it.
pub const STATE_VERSION: u32 = 1;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why an exchange failed. Nothing was granted; what was granted before stays
/// valid for its time.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The store did not answer, or not in time. It may have taken the exchange in;
    /// the next one takes its place.
    #[error("the ledger's store cannot be reached; it is asked again after a pause")]
    Unreachable(#[source] Source),
    /// What is stored was written by another version of this crate.
    #[error(
        "the ledger's state has version {found}, this program knows version {known}; \
         use one version everywhere, or another prefix"
    )]
    Version {
        /// What was found.
        found: String,
        /// [`STATE_VERSION`].
        known: u32,
    },
    /// Another member uses the budget's name for another window.
    #[error(
        "budget `{budget}` has another window in the ledger than here; \
         configure all members alike, or use another prefix"
    )]
    Mismatch {
        /// The budget.
        budget: String,
    },
    /// A newer exchange of this member came before this one.
    #[error("a newer exchange of this member has overtaken this one")]
    Stale,
    /// What is stored, or what the store said, makes no sense.
    #[error("the ledger's store holds or says what cannot be read: {0}")]
    Corrupt(String),
    /// The store cannot be set up as asked.
    #[error("the ledger's store cannot be set up")]
    Setup(#[source] Source),
}

impl LedgerError {
    /// Whether asking again later may help. Otherwise somebody has to change
    /// something first.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Stale)
    }
}
