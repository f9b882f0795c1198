//! From what the layers say to the one [`Error`].

use bytes::Bytes;
use http::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tower_adaptive_page::{MemoryError, WalkError};
use tower_circuit::Open;
use tower_health::Shed;
use tower_ratelimit_tokens::{Refused, RefusedKind};
use tower_retry_classify::{GaveUp, NotRetried, Reason};

use super::{Context, Error, ErrorKind};
use crate::{
    BoxError,
    auth::WrongOrigin,
    classify::{Flaw, Garbled, fault, find, is_ban, is_daily, is_timeout, pause},
    collect::{BodyBroken, BodyTooLarge},
};

/// How long the edge's ban is thought to last; Pipedrive does not say.
pub(crate) const BAN: std::time::Duration = std::time::Duration::from_secs(300);

/// When a walk may go on that a repeated cursor has ended.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// The most of an answer's text that an error keeps.
const LONGEST_MESSAGE: usize = 300;

/// Why there was no further attempt, if a layer of ours stood in the way.
fn refusal(why: &NotRetried) -> Option<String> {
    match (why.refusal(), why.reason()) {
        (Some(refusal), _) => Some(refusal.to_string()),
        (None, Reason::Exhausted) => None,
        (None, reason) => Some(reason.to_string()),
    }
}

/// An error of the stack.
pub(crate) fn from_box(error: BoxError, context: Context) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(ours) => return *ours,
        Err(error) => error,
    };
    let error = match error.downcast::<WalkError>() {
        Ok(walk) => return from_walk(*walk, context),
        Err(error) => error,
    };
    let (error, why) = match error.downcast::<GaveUp>() {
        Ok(gave_up) => {
            let why = gave_up.why().clone();
            (gave_up.into_inner(), Some(why))
        }
        Err(error) => (error, None),
    };
    let cause = &*error;
    let mut after = why.as_ref().and_then(NotRetried::retry_after);
    let kind = if let Some(open) = find::<Open>(cause) {
        after = open.wait();
        ErrorKind::CircuitOpen
    } else if let Some(refused) = find::<Refused>(cause) {
        after = refused.retry_after();
        match (refused.kind(), refused.budget()) {
            (RefusedKind::BudgetExhausted | RefusedKind::NeverFits, Some(budget)) => {
                ErrorKind::BudgetExhausted { budget: budget.to_owned() }
            }
            _ => ErrorKind::NotAdmitted,
        }
    } else if let Some(shed) = find::<Shed>(cause) {
        after = Some(shed.retry_in);
        ErrorKind::NotAdmitted
    } else if let Some(memory) = find::<MemoryError>(cause) {
        ErrorKind::Memory { used: memory.memory().used, limit: memory.memory().limit }
    } else if find::<WrongOrigin>(cause).is_some() {
        ErrorKind::WrongHost
    } else if let Some(large) = find::<BodyTooLarge>(cause) {
        ErrorKind::BodyTooLarge { limit: large.limit() }
    } else if find::<Garbled>(cause).is_some() {
        ErrorKind::Garbled
    } else if is_timeout(cause) {
        ErrorKind::Timeout
    } else if is_transport(cause) {
        ErrorKind::Connection(fault(cause))
    } else {
        ErrorKind::Other
    };
    let refused = why.as_ref().and_then(refusal);
    Error::new(kind, context).retry_in(after).refused(refused).because(error)
}

fn is_transport(error: &(dyn std::error::Error + 'static)) -> bool {
    find::<hyper_util::client::legacy::Error>(error).is_some()
        || find::<std::io::Error>(error).is_some()
        || find::<BodyBroken>(error).is_some()
}

fn from_walk(walk: WalkError, context: Context) -> Error {
    match walk {
        WalkError::Service { source, .. } | WalkError::Parse { source, .. } => {
            from_box(source, context)
        }
        WalkError::Memory { source, .. } => from_box(source.into(), context),
        // A page that leads back was asked for twice in a row. The server may know better in a moment.
        WalkError::RepeatedCursor { .. } | WalkError::OffsetStuck { .. } => {
            Error::new(ErrorKind::Paging, context).message(walk.to_string()).retry_in(Some(AGAIN))
        }
        lost @ WalkError::RowsShifted { .. } => {
            Error::new(ErrorKind::Paging, context).because(Box::new(lost))
        }
        other => Error::new(ErrorKind::Paging, context).message(other.to_string()),
    }
}

/// The answer if it is a good one, else the error that it is.
pub(crate) fn from_response(
    response: Response<Bytes>,
    context: Context,
    secret: Option<&SecretString>,
) -> Result<Response<Bytes>, Error> {
    let status = response.status();
    let why = NotRetried::of(&response);
    let after = why.and_then(NotRetried::retry_after).or_else(|| pause(response.headers()));
    let refused = why.and_then(refusal);
    if status.is_success() {
        let Some(Flaw(flaw)) = response.extensions().get() else { return Ok(response) };
        let source = std::sync::Arc::clone(flaw);
        let error = Error::new(ErrorKind::Garbled, context).message(source.to_string());
        return Err(error.retry_in(after).refused(refused).because(Shared(source)));
    }
    if status.is_redirection() {
        // Never followed: the token belongs to one host, and the API itself leads nowhere else.
        let text = format!("it leads elsewhere ({})", status.as_u16());
        return Err(Error::new(ErrorKind::Garbled, context).message(text).refused(refused));
    }
    let headers = response.headers();
    let (kind, after) = match status {
        StatusCode::TOO_MANY_REQUESTS => {
            (ErrorKind::RateLimit { daily: is_daily(headers, response.body()) }, after)
        }
        _ if is_ban(status, headers) => (ErrorKind::Banned, after.or(Some(BAN))),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (ErrorKind::Auth { status }, after),
        StatusCode::PAYMENT_REQUIRED => (ErrorKind::Quota, after),
        StatusCode::NOT_FOUND | StatusCode::GONE => (ErrorKind::NotFound { status }, after),
        _ if status.is_server_error() => (ErrorKind::Server { status }, after),
        _ => (ErrorKind::BadRequest { status }, after),
    };
    let error = Error::new(kind, context).retry_in(after).refused(refused);
    Err(match message(response.body(), secret) {
        Some(message) => error.message(message),
        None => error,
    })
}

/// A garbled answer's flaw, which others may hold too.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Shared(std::sync::Arc<Garbled>);

/// What the API says about a failure. A page of HTML says nothing. A secret that it repeats is left out.
fn message(body: &[u8], secret: Option<&SecretString>) -> Option<String> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let text = |key: &str| json.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut message = match (text("error").or_else(|| text("message")), json.get("errors")) {
        (Some(text), _) => text.to_owned(),
        (None, Some(errors)) => errors.to_string(),
        (None, None) => return None,
    };
    if let Some(code) = text("code") {
        message = format!("{message} ({code})");
    }
    // Before the text is cut, or half of the secret might stay.
    if let Some(secret) = secret.map(ExposeSecret::expose_secret).filter(|text| !text.is_empty()) {
        message = message.replace(secret, "(secret)");
    }
    let plain = message.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(plain.take(LONGEST_MESSAGE).collect())
}
