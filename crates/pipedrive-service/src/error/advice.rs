use http::StatusCode;

use super::{ConnectionFault, Error, ErrorKind};

impl Error {
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
            ErrorKind::CircuitOpen => {
                "Pipedrive had trouble a moment ago; try again when the time is over, or reset the circuit."
            }
            ErrorKind::Server { .. } | ErrorKind::Timeout => {
                "Pipedrive has trouble; try again later and see its status page."
            }
            ErrorKind::Garbled => {
                "Check that the base URL is Pipedrive's and that no proxy answers in its place."
            }
            ErrorKind::Connection(ConnectionFault::UnknownHost) => {
                "Check PIPEDRIVE_COMPANY_DOMAIN or PIPEDRIVE_BASE_URL for a misspelt host, and the proxy where one is set."
            }
            ErrorKind::Connection(ConnectionFault::Refused) => {
                "Check the host and port, and whether a proxy is needed or one that is set answers."
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
}
