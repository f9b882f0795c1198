use std::error::Error as _;

use serde::Serialize;

use super::Error;

/// An [`Error`] in a form that can be stored beside a failed job or printed as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// The error's own sentence.
    pub message: String,
    /// The class, such as `rate_limit`.
    pub class: String,
    /// HTTP method.
    pub method: String,
    /// Path template.
    pub template: String,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// Attempts that were sent.
    pub attempts: u32,
    /// The `x-request-id` of the call.
    pub request_id: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether nothing was sent.
    pub local: bool,
    /// Milliseconds to wait, where known.
    pub retry_after_ms: Option<u64>,
    /// What a person can do.
    pub advice: String,
    /// The causes, outermost first.
    pub causes: Vec<String>,
}

impl ErrorReport {
    pub(super) fn of(error: &Error) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        let context = error.context();
        Self {
            message: error.to_string(),
            class: error.class().to_string(),
            method: context.method.to_string(),
            template: context.template.to_owned(),
            status: error.status().map(|status| status.as_u16()),
            attempts: context.attempts,
            request_id: context.request_id.clone(),
            retryable: error.is_retryable(),
            local: error.is_local(),
            retry_after_ms: error
                .retry_after()
                .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            advice: error.advice().to_owned(),
            causes,
        }
    }
}
