//! What an outcome says about the API: for the circuit and for health.
//!
//! | outcome | says |
//! | --- | --- |
//! | a refusal of our own, an answer too long for us | nothing |
//! | 429, the edge's ban | nothing: the API is well, we are too many |
//! | 5xx but 501, 408, a garbled success | it fails |
//! | 503 with a `Retry-After` of more than a minute | it is down for that time: the circuit opens at once |
//! | time-out, no or a broken connection | it fails |
//! | any other answer, 4xx too | it works |
//!
//! What fails, fails in one of four [`Fault`]s. Where each has a circuit of its own, an outcome counts against that of
//! its own fault, for all of them when the API works, and says nothing to the others.

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode};
use tower_adaptive_page::MemoryError;
use tower_circuit::Open;
use tower_health::Shed;
use tower_ratelimit_tokens::Refused;

use crate::{
    BoxError,
    auth::WrongOrigin,
    classify::{Garbled, find, is_ban, is_timeout, pause},
    collect::BodyTooLarge,
};

/// In which way the API fails: the classes of failure that can have circuits of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No connection came about, or it broke.
    Connection,
    /// No answer in time, or 408.
    Timeout,
    /// 5xx but 501.
    Server,
    /// A success whose body is not what the API promises.
    Body,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connection, Self::Timeout, Self::Server, Self::Body];

    /// `connection`, `timeout`, `server` or `body`: the word in the names of circuits.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Server => "server",
            Self::Body => "body",
        }
    }

    /// The judge of the circuit of this fault: a failure of another kind says nothing to it.
    #[must_use]
    pub fn judge(self) -> fn(Result<&Response<Bytes>, &BoxError>) -> tower_circuit::Verdict {
        match self {
            Self::Connection => |outcome| circuit_of(Self::Connection, outcome),
            Self::Timeout => |outcome| circuit_of(Self::Timeout, outcome),
            Self::Server => |outcome| circuit_of(Self::Server, outcome),
            Self::Body => |outcome| circuit_of(Self::Body, outcome),
        }
    }
}

fn circuit_of(
    fault: Fault,
    outcome: Result<&Response<Bytes>, &BoxError>,
) -> tower_circuit::Verdict {
    match works(outcome) {
        Some(Err(other)) if other != fault => tower_circuit::Verdict::Ignore,
        _ => circuit(outcome),
    }
}

/// What an outcome says: that the API works, or how it fails; none if nothing.
fn works(outcome: Result<&Response<Bytes>, &BoxError>) -> Option<Result<(), Fault>> {
    let response = match outcome {
        Ok(response) => response,
        Err(error) if is_local(&**error) || find::<BodyTooLarge>(&**error).is_some() => {
            return None;
        }
        Err(error) if is_timeout(&**error) => return Some(Err(Fault::Timeout)),
        Err(_) => return Some(Err(Fault::Connection)),
    };
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => None,
        StatusCode::NOT_IMPLEMENTED => Some(Ok(())),
        StatusCode::REQUEST_TIMEOUT => Some(Err(Fault::Timeout)),
        status if is_ban(status, response.headers()) => None,
        status if status.is_server_error() => Some(Err(Fault::Server)),
        _ if Garbled::of(response).is_some() => Some(Err(Fault::Body)),
        _ => Some(Ok(())),
    }
}

/// A pause longer than this is maintenance; a shorter one is left to the retry of the one call.
const MAINTENANCE: Duration = Duration::from_secs(60);

/// When a maintenance page says that it will be over.
fn named_time(response: &Response<Bytes>) -> Option<Duration> {
    let unavailable = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    pause(response.headers()).filter(|pause| unavailable && *pause > MAINTENANCE)
}

/// The circuit's judge.
#[must_use]
pub fn circuit(outcome: Result<&Response<Bytes>, &BoxError>) -> tower_circuit::Verdict {
    match works(outcome) {
        Some(Ok(())) => tower_circuit::Verdict::Success,
        Some(Err(_)) => match outcome.ok().and_then(named_time) {
            Some(time) => tower_circuit::Verdict::Down(time),
            None => tower_circuit::Verdict::Failure,
        },
        None if outcome.is_ok_and(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS) => {
            tower_circuit::Verdict::Throttled
        }
        None => tower_circuit::Verdict::Ignore,
    }
}

/// The judge of health.
#[must_use]
pub fn health(outcome: Result<&Response<Bytes>, &BoxError>) -> tower_health::Verdict {
    match works(outcome) {
        Some(Ok(())) => tower_health::Verdict::Good,
        Some(Err(_)) => tower_health::Verdict::Bad,
        None => tower_health::Verdict::Ignore,
    }
}

/// Whether an error is a refusal of our own layers: nothing was sent.
///
/// [`Open`] of a circuit, [`Refused`] of a limiter, [`Shed`] of a health gate, [`MemoryError`] of page control, and
/// [`WrongOrigin`] of this crate, also where such a layer stands around the transport and not in the stack.
#[must_use]
pub fn is_local(error: &(dyn StdError + 'static)) -> bool {
    find::<Open>(error).is_some()
        || find::<Refused>(error).is_some()
        || find::<Shed>(error).is_some()
        || find::<MemoryError>(error).is_some()
        || find::<WrongOrigin>(error).is_some()
}

/// The same for a boxed error, in the shape that a retry policy asks for.
#[must_use]
pub(crate) fn is_local_box(error: &BoxError) -> bool {
    is_local(&**error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::inspect;

    fn answer(status: u16, kind: &str, body: &'static str) -> Response<Bytes> {
        let response = Response::builder().status(status).header("content-type", kind);
        inspect(response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    #[test]
    fn answers_speak_for_or_against_the_api() {
        for status in [200, 400, 401, 402, 403, 404, 422, 501] {
            let body = r#"{"success":true,"data":[]}"#;
            assert_eq!(
                works(Ok(&answer(status, "application/json", body))),
                Some(Ok(())),
                "{status}"
            );
        }
        let fails = |fault| Some(Err(fault));
        for status in [500, 502, 503, 504, 524] {
            let answer = answer(status, "application/json", "{}");
            assert_eq!(works(Ok(&answer)), fails(Fault::Server), "{status}");
        }
        let late = answer(408, "application/json", "{}");
        assert_eq!(works(Ok(&late)), fails(Fault::Timeout));
        assert_eq!(works(Ok(&answer(200, "text/html", "<html>"))), fails(Fault::Body));
        assert_eq!(works(Ok(&answer(429, "application/json", "{}"))), None);
        assert_eq!(works(Ok(&answer(403, "text/html", "<html>"))), None);
    }

    #[test]
    fn a_maintenance_page_names_the_time_after_which_it_is_back() {
        let page = |status: u16, pause: &str| {
            let response = Response::builder().status(status).header("retry-after", pause);
            circuit(Ok(&response.body(Bytes::new()).unwrap()))
        };
        let minutes = Duration::from_secs(300);
        assert_eq!(page(503, "300"), tower_circuit::Verdict::Down(minutes));
        assert_eq!(page(503, "60"), tower_circuit::Verdict::Failure);
        assert_eq!(page(500, "300"), tower_circuit::Verdict::Failure);
        assert_eq!(page(429, "300"), tower_circuit::Verdict::Throttled);
    }

    #[test]
    fn a_circuit_of_one_fault_hears_of_its_own_failures_and_of_every_success() {
        use tower_circuit::Verdict::{Failure, Ignore, Success, Throttled};
        let json = |status| answer(status, "application/json", r#"{"success":true,"data":[]}"#);
        let reset: BoxError = std::io::Error::from(std::io::ErrorKind::ConnectionReset).into();
        let late: BoxError = tower::timeout::error::Elapsed::new().into();
        let garbled = answer(200, "text/html", "<html>");
        let heard = |outcome: Result<&Response<Bytes>, &BoxError>| {
            Fault::ALL.map(|fault| fault.judge()(outcome))
        };
        assert_eq!(heard(Err(&reset)), [Failure, Ignore, Ignore, Ignore]);
        assert_eq!(heard(Err(&late)), [Ignore, Failure, Ignore, Ignore]);
        assert_eq!(heard(Ok(&json(503))), [Ignore, Ignore, Failure, Ignore]);
        assert_eq!(heard(Ok(&garbled)), [Ignore, Ignore, Ignore, Failure]);
        assert_eq!(heard(Ok(&json(404))), [Success; 4]);
        assert_eq!(heard(Ok(&json(429))), [Throttled; 4]);
    }

    #[test]
    fn errors_of_the_network_speak_against_it_and_refusals_of_ours_do_not() {
        let reset: BoxError = std::io::Error::from(std::io::ErrorKind::ConnectionReset).into();
        assert_eq!(circuit(Err(&reset)), tower_circuit::Verdict::Failure);
        assert_eq!(health(Err(&reset)), tower_health::Verdict::Bad);
        let circuit_of_ours = tower_circuit::Circuit::builder("x").build().unwrap();
        circuit_of_ours.force_open(None);
        let open: BoxError = circuit_of_ours.look().unwrap_err().into();
        assert_eq!(circuit(Err(&open)), tower_circuit::Verdict::Ignore);
        assert!(is_local(&*open) && !is_local(&*reset));
    }
}
