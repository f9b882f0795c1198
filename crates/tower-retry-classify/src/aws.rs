//! AWS error codes.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::{BoxError, Class, Classify, Peeked, Verdict};

/// Codes of too many requests in too short a time, as the AWS client libraries list them.
const THROTTLED: [&str; 14] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];
/// Codes of a request that the service gave up waiting for.
const TIMED_OUT: [&str; 2] = ["RequestTimeout", "RequestTimeoutException"];
/// Codes of a service that failed.
const FAILED: [&str; 6] = [
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServerException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
];
/// Codes of credentials or a clock that are not accepted.
const NOT_ACCEPTED: [&str; 8] = [
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];
/// Codes of a caller who may not do this.
const DENIED: [&str; 3] = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"];

/// Classifies the answers of AWS services by their error code, which tells more than
/// the status: much that is throttled comes with a 400.
///
/// | code | class | retried |
/// | --- | --- | --- |
/// | `Throttling`, `SlowDown`, `RequestLimitExceeded` and eleven more | rate limit | yes |
/// | `RequestTimeout`, `RequestTimeoutException` | time-out | yes |
/// | `InternalError`, `ServiceUnavailable` and four more | server | yes |
/// | `ExpiredToken`, `RequestTimeTooSkewed` and six more | authentication | no |
/// | `AccessDenied`, `AccessDeniedException`, `UnauthorizedOperation` | forbidden | no |
/// | any other | no opinion | |
///
/// The code is looked for in the headers `x-amzn-errortype` and `x-amzn-query-error`,
/// then in the start of the body, JSON or XML, if a [`PeekLayer`](crate::PeekLayer)
/// or [`Peeked::note`] has put it there. `x-amz-retry-after` (milliseconds) is obeyed.
/// Put it behind [`HttpStatus`](crate::HttpStatus), so that it overrules the status.
///
/// ```
/// use http::Response;
/// use tower_retry_classify::{AwsCodes, BoxError, Class, Classify, Peeked, Verdict};
///
/// let answer = Response::builder().status(400).body(r#"{"__type":"x#ThrottlingException"}"#)?;
/// let answer = Peeked::note(answer);
/// let verdict = AwsCodes::new().classify(&(), Ok(&answer));
/// assert_eq!(verdict, Verdict::retry(Class::RateLimit));
/// # Ok::<(), BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct AwsCodes {}

impl AwsCodes {
    /// The table above.
    pub const fn new() -> Self {
        Self {}
    }

    /// The verdict on an answer, of whose body `start` is the beginning.
    #[must_use]
    pub fn judge(&self, status: StatusCode, headers: &HeaderMap, start: &[u8]) -> Verdict {
        if status.is_success() {
            return Verdict::NoOpinion;
        }
        let code = in_header(headers).or_else(|| in_body(start));
        let retried = match code {
            Some(code) if THROTTLED.contains(&code) => Class::RateLimit,
            Some(code) if TIMED_OUT.contains(&code) => Class::Timeout,
            Some(code) if FAILED.contains(&code) => Class::Server,
            Some(code) if NOT_ACCEPTED.contains(&code) => return Verdict::never(Class::Auth),
            Some(code) if DENIED.contains(&code) => return Verdict::never(Class::Forbidden),
            _ => return Verdict::NoOpinion,
        };
        Verdict::Retry { class: retried, after: after(headers) }
    }
}

impl<Req, B> Classify<Req, http::Response<B>> for AwsCodes {
    fn classify(&self, _: &Req, outcome: Result<&http::Response<B>, &BoxError>) -> Verdict {
        match outcome {
            Ok(response) if !response.status().is_success() => {
                self.judge(response.status(), response.headers(), Peeked::start_of(response))
            }
            _ => Verdict::NoOpinion,
        }
    }
}

/// `Namespace#Code:URL`, or `Code;Sender`.
fn in_header(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("x-amzn-errortype").or_else(|| headers.get("x-amzn-query-error"))?;
    bare(value.to_str().ok()?)
}

pub(crate) fn bare(code: &str) -> Option<&str> {
    let code = code.split([':', ';']).next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default().trim();
    (!code.is_empty()).then_some(code)
}

/// The value of `__type` or `code` in JSON, or what stands in `Code` in XML.
pub(crate) fn in_body(start: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // Cut in the middle of a character.
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).ok()?,
    };
    if let Some((_, rest)) = text.split_once("<Code>") {
        return bare(rest.split_once('<')?.0);
    }
    ["\"__type\"", "\"code\"", "\"Code\""].into_iter().find_map(|name| {
        let rest = text.split_once(name)?.1.trim_start().strip_prefix(':')?;
        let value = rest.trim_start().strip_prefix('"')?;
        bare(value.split_once('"')?.0)
    })
}

fn after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("x-amz-retry-after")?.to_str().ok()?;
    let milliseconds = value.trim().parse().ok()?;
    Some(Duration::from_millis(milliseconds).min(crate::http::LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(start: &str) -> Verdict {
        AwsCodes::new().judge(StatusCode::BAD_REQUEST, &HeaderMap::new(), start.as_bytes())
    }

    fn header(name: &'static str, value: &str) -> Verdict {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        AwsCodes::new().judge(StatusCode::BAD_REQUEST, &headers, b"")
    }

    #[test]
    fn every_code_has_its_class_wherever_it_stands() {
        let classes = [
            (&THROTTLED[..], Verdict::retry(Class::RateLimit)),
            (&TIMED_OUT[..], Verdict::retry(Class::Timeout)),
            (&FAILED[..], Verdict::retry(Class::Server)),
            (&NOT_ACCEPTED[..], Verdict::never(Class::Auth)),
            (&DENIED[..], Verdict::never(Class::Forbidden)),
            (&["ValidationException", "", "throttling"][..], Verdict::NoOpinion),
        ];
        for (codes, verdict) in classes {
            for code in codes {
                let forms = [
                    body(&format!(r#"{{"__type":"com.amazon.coral#{code}","message":"no"}}"#)),
                    body(&format!(r#"{{ "message": "no", "code" : "{code}" }}"#)),
                    body(&format!(r#"{{"Code":"{code}"}}"#)),
                    body(&format!("<Error><Code>{code}</Code><Message>no</Message></Error>")),
                    header("x-amzn-errortype", &format!("{code}:http://internal.amazon.com/x/")),
                    header("x-amzn-errortype", &format!("aws.api#{code}")),
                    header("x-amzn-query-error", &format!("{code};Sender")),
                ];
                assert_eq!(forms, [verdict; 7], "{code}");
            }
        }
    }

    #[test]
    fn the_header_goes_before_the_body_and_a_success_is_not_looked_at() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-errortype", "ThrottlingException".parse().unwrap());
        let denied = br#"{"__type":"AccessDenied"}"#;
        let judge = |status| AwsCodes::new().judge(status, &headers, denied);
        assert_eq!(judge(StatusCode::BAD_REQUEST), Verdict::retry(Class::RateLimit));
        assert_eq!(judge(StatusCode::OK), Verdict::NoOpinion);
    }

    #[test]
    fn the_wait_is_in_milliseconds_and_a_year_at_most() {
        for (value, after) in [
            ("1500", Some(Duration::from_millis(1_500))),
            ("18446744073709551615", Some(crate::http::LONGEST)),
            ("-1", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-amzn-errortype", "SlowDown".parse().unwrap());
            headers.insert("x-amz-retry-after", value.parse().unwrap());
            let verdict = AwsCodes::new().judge(StatusCode::SERVICE_UNAVAILABLE, &headers, b"");
            assert_eq!(verdict, Verdict::Retry { class: Class::RateLimit, after });
        }
    }

    #[test]
    fn a_body_that_is_cut_is_read_as_far_as_it_goes() {
        let mut cut = br#"{"__type":"SlowDown","message":"#.to_vec();
        cut.push(0xc3); // the first half of a letter
        let judge =
            |start: &[u8]| AwsCodes::new().judge(StatusCode::BAD_REQUEST, &HeaderMap::new(), start);
        assert_eq!(judge(&cut), Verdict::retry(Class::RateLimit));
        assert_eq!(judge(&cut[..16]), Verdict::NoOpinion, "half a code is none");
    }
}
