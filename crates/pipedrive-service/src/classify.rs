//! What went wrong, in Pipedrive's terms, and whether to try again.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde::{Deserialize, de::IgnoredAny};
use tower_retry_classify::{BoxError, Class, Classify, HttpStatus, Verdict, retry_after};

use crate::{call::Call, collect::BodyTooLarge, error::ConnectionFault, json};

/// A burst's 429 says for how long at most; whoever says longer means the day.
const LONGEST_BURST: Duration = Duration::from_secs(60);

/// A success whose body is not what the API promises.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Garbled {
    /// Not JSON, or JSON cut short.
    #[error("the body is not whole JSON")]
    Json(#[source] serde_json::Error),
    /// HTML where JSON was due.
    #[error("the body is HTML, not JSON")]
    Html,
    /// `data` is null or absent.
    #[error("the answer has no data")]
    NoData,
    /// A 2xx that says it did not succeed.
    #[error("the answer says that it did not succeed")]
    Unsuccessful,
    /// A row without an identifier.
    #[error("a row has no identifier")]
    NoId,
    /// A record that was asked for alone cannot be used.
    #[error("{0}")]
    Row(crate::RowFault),
}

impl Garbled {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Json(error)
    }

    /// What [`inspect`] found wrong with a success.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<&Self> {
        response.extensions().get::<Flaw>().map(|flaw| &*flaw.0)
    }
}

/// Extensions must be cloneable, and a parser's error is not.
#[derive(Clone)]
pub(crate) struct Flaw(pub(crate) Arc<Garbled>);

#[derive(Deserialize)]
struct Shape {
    #[serde(default)]
    success: Option<bool>,
    #[serde(default)]
    data: Option<IgnoredAny>,
    #[serde(default)]
    additional_data: Option<Additional>,
}

#[derive(Deserialize)]
struct Additional {
    #[serde(default)]
    pagination: Option<IgnoredAny>,
}

/// Looks at the body of a success and notes beside it what is wrong, so that retry, circuit and health can tell a
/// garbled answer from a good one while the limiter still reads its headers. [`Garbled::of`] finds the note.
///
/// Only JSON, HTML and bodies of no named type are looked at; a download passes.
#[must_use]
pub fn inspect(mut response: Response<Bytes>) -> Response<Bytes> {
    note_flaw(&mut response);
    response
}

pub(crate) fn note_flaw(response: &mut Response<Bytes>) {
    if let Some(flaw) = flaw(response) {
        response.extensions_mut().insert(Flaw(Arc::new(flaw)));
    }
}

fn flaw(response: &Response<Bytes>) -> Option<Garbled> {
    if !response.status().is_success() || response.status() == StatusCode::NO_CONTENT {
        return None;
    }
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    // The usual kind is not searched through.
    if !kind.is_some_and(|kind| kind.starts_with(b"application/json")) {
        match content_type(response.headers()) {
            Some(kind) if kind.contains("html") => return Some(Garbled::Html),
            Some(kind) if !kind.contains("json") => return None,
            _ => {}
        }
    }
    if json::is_sound(response.body()) { None } else { wrong(response.body()) }
}

/// What is wrong with a body that is to be JSON.
pub(crate) fn wrong(body: &[u8]) -> Option<Garbled> {
    if body.is_empty() || body == b"null" {
        return Some(Garbled::NoData);
    }
    match serde_json::from_slice::<Shape>(body) {
        Ok(Shape { success: Some(false), .. }) => Some(Garbled::Unsuccessful),
        // An empty list of version 1 has null for data, but says that no page follows.
        Ok(Shape {
            data: None, additional_data: Some(Additional { pagination: Some(_) }), ..
        }) => None,
        Ok(Shape { success: Some(true), data: None, .. }) => Some(Garbled::NoData),
        Ok(_) => None,
        Err(error) => Some(Garbled::Json(error)),
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// Whether a 403 is the edge's own page and not the API's: we are banned.
#[must_use]
pub fn is_ban(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::FORBIDDEN
        && content_type(headers).is_some_and(|kind| kind.contains("html"))
}

/// Whether a 429 says that the day's tokens are spent, and not only that the burst window is full.
///
/// Its text names the day, or nothing is left of the day's tokens, or the wait is far longer than a window.
#[must_use]
pub fn is_daily(headers: &HeaderMap, body: &[u8]) -> bool {
    let spent = headers
        .get("x-daily-ratelimit-token-remaining")
        .is_some_and(|left| left.as_bytes() == b"0");
    let start = &body[..body.len().min(512)];
    let named = start.windows(5).any(|word| word.eq_ignore_ascii_case(b"daily"));
    spent || named || pause(headers).is_some_and(|pause| pause > LONGEST_BURST)
}

/// `Retry-After`, in either form.
#[must_use]
pub fn pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    retry_after::parse(text, wall_clock(), Duration::from_secs(366 * 24 * 60 * 60))
}

#[allow(
    clippy::disallowed_methods,
    reason = "a date on the wire can only be held against the wall clock"
)]
fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Pipedrive's classifier: statuses, both kinds of 429, the edge's ban, garbled successes, and the network.
///
/// | what | class | tried again |
/// | --- | --- | --- |
/// | 429, burst | rate limit | yes |
/// | 429, day | quota | after `Retry-After`, if that is near |
/// | 500, 502, 503, 504, 524 | server | yes |
/// | 408, our time-out | timeout | yes |
/// | success with garbled body | body | yes |
/// | connection not made | connect | yes, but for a wrong certificate |
/// | connection broken | connection | yes |
/// | 403 with HTML | banned | no |
/// | 401; 402; other 403; 404, 410; other 4xx, 501 | auth; quota; forbidden; not found; bad request | no |
///
/// Whether a request that is not idempotent may be sent again is the policy's to say.
#[derive(Clone, Debug, Default)]
pub struct PipedriveClassifier {
    status: HttpStatus,
}

impl PipedriveClassifier {
    /// The table above.
    #[must_use]
    pub const fn new() -> Self {
        Self { status: HttpStatus::new() }
    }

    /// The verdict on an answer.
    #[must_use]
    pub fn judge(&self, response: &Response<Bytes>) -> Verdict {
        let (status, headers) = (response.status(), response.headers());
        if Garbled::of(response).is_some() {
            return Verdict::retry(Class::Body);
        }
        if status == StatusCode::TOO_MANY_REQUESTS && is_daily(headers, response.body()) {
            let after = pause(headers);
            return if after.is_some() {
                Verdict::Retry { class: Class::Quota, after }
            } else {
                Verdict::never(Class::Quota)
            };
        }
        if is_ban(status, headers) {
            return Verdict::never(Class::Banned);
        }
        self.status.judge(status, headers)
    }
}

impl Classify<Request<Bytes>, Response<Bytes>> for PipedriveClassifier {
    fn classify(
        &self,
        request: &Request<Bytes>,
        outcome: Result<&Response<Bytes>, &BoxError>,
    ) -> Verdict {
        match outcome {
            Ok(response) => {
                if let (Some(Garbled::NoData), Some(call)) =
                    (Garbled::of(response), request.extensions().get::<Call>())
                {
                    call.was_empty();
                }
                self.judge(response)
            }
            Err(error) => network(&**error),
        }
    }
}

/// The verdict on an error that is not one of our refusals: something of the network.
fn network(error: &(dyn StdError + 'static)) -> Verdict {
    if find::<BodyTooLarge>(error).is_some() {
        // The same page would be as long again; the page layer asks for a shorter one.
        return Verdict::never(Class::Body);
    }
    if is_timeout(error) {
        return Verdict::retry(Class::Timeout);
    }
    match fault(error) {
        ConnectionFault::Tls => Verdict::never(Class::Connect),
        ConnectionFault::UnknownHost | ConnectionFault::Refused => Verdict::retry(Class::Connect),
        _ if find::<hyper_util::client::legacy::Error>(error)
            .is_some_and(|error| error.is_connect()) =>
        {
            Verdict::retry(Class::Connect)
        }
        _ => Verdict::retry(Class::Connection),
    }
}

/// Whether an attempt ran into a time-out.
pub(crate) fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    find::<tower::timeout::error::Elapsed>(error).is_some()
        || find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// How the network failed.
pub(crate) fn fault(error: &(dyn StdError + 'static)) -> ConnectionFault {
    if find::<rustls::Error>(error).is_some() {
        return ConnectionFault::Tls;
    }
    for cause in causes(error) {
        // hyper-util names this in words only.
        if cause.to_string() == "dns error" {
            return ConnectionFault::UnknownHost;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return ConnectionFault::Refused,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => return ConnectionFault::Broken,
                _ => {}
            }
        }
    }
    let client = find::<hyper_util::client::legacy::Error>(error);
    let broken = client.is_some_and(|error| !error.is_connect());
    if broken || find::<crate::collect::BodyBroken>(error).is_some() {
        return ConnectionFault::Broken;
    }
    ConnectionFault::Other
}

/// An error of that type among an error and its causes.
pub(crate) fn find<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// An error and its causes. An `io::Error` that wraps another would hide it, so it is looked into.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, kind: &str, body: &'static str) -> Response<Bytes> {
        let response = Response::builder().status(status).header("content-type", kind);
        inspect(response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    fn verdict(response: &Response<Bytes>) -> Verdict {
        PipedriveClassifier::new().judge(response)
    }

    const JSON: &str = "application/json; charset=utf-8";

    #[test]
    fn a_garbled_success_is_worth_another_attempt() {
        for (kind, body) in [
            (JSON, r#"{"success":true,"data":null}"#),
            (JSON, r#"{"success":true,"data":[{"id":1}"#),
            (JSON, r#"{"success":true}"#),
            (JSON, r#"{"success":false,"data":[]}"#),
            (JSON, ""),
            (JSON, "null"),
            ("text/html", "<html>hello</html>"),
        ] {
            assert_eq!(verdict(&answer(200, kind, body)), Verdict::retry(Class::Body), "{body}");
        }
    }

    #[test]
    fn a_good_success_has_no_verdict() {
        for (status, kind, body) in [
            (200, JSON, r#"{"success":true,"data":[]}"#),
            (201, JSON, r#"{"status":"ok","success":true,"data":{"id":1}}"#),
            (
                200,
                JSON,
                r#"{"success":true,"data":null,"additional_data":{"pagination":{"start":0}}}"#,
            ),
            (200, JSON, r#"{"status":"ok"}"#),
            (200, "application/octet-stream", "bytes"),
            (204, JSON, ""),
        ] {
            assert_eq!(verdict(&answer(status, kind, body)), Verdict::NoOpinion, "{body}");
        }
    }

    #[test]
    fn the_two_kinds_of_429_are_told_apart() {
        let burst =
            answer(429, JSON, r#"{"success":false,"error":"request over limit","errorCode":429}"#);
        assert_eq!(verdict(&burst), Verdict::retry(Class::RateLimit));
        let mut day =
            answer(429, JSON, r#"{"success":false,"error":"daily request budget exceeded"}"#);
        assert_eq!(verdict(&day), Verdict::never(Class::Quota));
        day.headers_mut().insert("retry-after", "3939".parse().unwrap());
        let after = Some(Duration::from_secs(3939));
        assert_eq!(verdict(&day), Verdict::Retry { class: Class::Quota, after });
        let mut silent = answer(429, JSON, "{}");
        silent.headers_mut().insert("x-daily-ratelimit-token-remaining", "0".parse().unwrap());
        assert_eq!(verdict(&silent), Verdict::never(Class::Quota));
    }

    #[test]
    fn the_edges_page_is_a_ban_and_the_apis_403_is_not() {
        assert_eq!(verdict(&answer(403, "text/html", "<html>")), Verdict::never(Class::Banned));
        assert_eq!(
            verdict(&answer(403, JSON, r#"{"success":false}"#)),
            Verdict::never(Class::Forbidden)
        );
        assert_eq!(verdict(&answer(502, "text/html", "<html>")), Verdict::retry(Class::Server));
    }

    #[test]
    fn statuses_are_classed_as_agreed() {
        for status in [408, 500, 502, 503, 504, 524] {
            assert!(
                matches!(verdict(&answer(status, JSON, "{}")), Verdict::Retry { .. }),
                "{status}"
            );
        }
        for status in [400, 401, 402, 403, 404, 405, 410, 415, 422, 501] {
            assert!(
                matches!(verdict(&answer(status, JSON, "{}")), Verdict::Never { .. }),
                "{status}"
            );
        }
    }

    #[test]
    fn network_errors_are_told_apart() {
        let io = |kind| BoxError::from(io::Error::from(kind));
        assert_eq!(network(&*io(io::ErrorKind::ConnectionRefused)), Verdict::retry(Class::Connect));
        assert_eq!(
            network(&*io(io::ErrorKind::ConnectionReset)),
            Verdict::retry(Class::Connection)
        );
        let elapsed: BoxError = tower::timeout::error::Elapsed::new().into();
        assert_eq!(network(&*elapsed), Verdict::retry(Class::Timeout));
        let certificate =
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let certificate: BoxError = io::Error::other(certificate).into();
        assert_eq!(network(&*certificate), Verdict::never(Class::Connect));
        assert_eq!(fault(&*certificate), ConnectionFault::Tls);
    }
}
