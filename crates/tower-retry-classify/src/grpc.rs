//! gRPC statuses.

use std::time::Duration;

use http::HeaderMap;

use crate::{BoxError, Class, Classify, Peeked, Verdict};

/// Classifies gRPC answers by their `grpc-status`: among the headers, where nearly all failures have it ("trailers
/// only"), or in trailers that come before any message, if [`PeekLayer::grpc`](crate::PeekLayer::grpc) has looked for
/// them.
///
/// | status | class | retried |
/// | --- | --- | --- |
/// | 14 unavailable | server | yes |
/// | 8 resource exhausted | rate limit | yes |
/// | 4 deadline exceeded | time-out | yes |
/// | 13 internal, 15 data loss | server | no |
/// | 16 unauthenticated | authentication | no |
/// | 7 permission denied | forbidden | no |
/// | 5 not found | not found | no |
/// | 3, 6, 9, 11, 12: the request is wrong, now or always | bad request | no |
/// | 1, 2, 10 and unknown ones | other | no |
/// | 0 OK, or none | no opinion | |
///
/// `grpc-retry-pushback-ms` is obeyed: as the wait, or, when negative, as never. A
/// gRPC call is a POST: say which of them may be sent twice with
/// [`RetryBuilder::idempotent`](crate::RetryBuilder::idempotent).
///
/// ```
/// use http::Response;
/// use tower_retry_classify::{BoxError, Class, Classify, GrpcStatus, Verdict};
///
/// let answer = Response::builder().header("grpc-status", "14").body(())?;
/// let verdict = GrpcStatus::new().classify(&(), Ok(&answer));
/// assert_eq!(verdict, Verdict::retry(Class::Server));
/// # Ok::<(), BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct GrpcStatus {}

impl GrpcStatus {
    /// The table above.
    pub const fn new() -> Self {
        Self {}
    }

    /// The verdict on headers, or on trailers.
    #[must_use]
    pub fn judge(&self, headers: &HeaderMap) -> Verdict {
        let Some(status) = headers.get("grpc-status") else { return Verdict::NoOpinion };
        let class = match status.as_bytes() {
            b"0" => return Verdict::NoOpinion,
            b"14" => Class::Server,
            b"8" => Class::RateLimit,
            b"4" => Class::Timeout,
            b"13" | b"15" => return Verdict::never(Class::Server),
            b"16" => return Verdict::never(Class::Auth),
            b"7" => return Verdict::never(Class::Forbidden),
            b"5" => return Verdict::never(Class::NotFound),
            b"3" | b"6" | b"9" | b"11" | b"12" => return Verdict::never(Class::BadRequest),
            _ => return Verdict::never(Class::Other),
        };
        let Some(pushback) = headers.get("grpc-retry-pushback-ms") else {
            return Verdict::retry(class);
        };
        match pushback.to_str().ok().and_then(|text| text.trim().parse().ok()) {
            Some(ms) => {
                let after = Duration::from_millis(ms).min(crate::http::LONGEST);
                Verdict::Retry { class, after: Some(after) }
            }
            // Negative or not a number: the server asks not to retry.
            None => Verdict::never(class),
        }
    }
}

impl<Req, B> Classify<Req, http::Response<B>> for GrpcStatus {
    fn classify(&self, _: &Req, outcome: Result<&http::Response<B>, &BoxError>) -> Verdict {
        let Ok(response) = outcome else { return Verdict::NoOpinion };
        match self.judge(response.headers()) {
            Verdict::NoOpinion => Peeked::of(response)
                .and_then(Peeked::trailers)
                .map_or(Verdict::NoOpinion, |trailers| self.judge(trailers)),
            verdict => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: &str, pushback: Option<&str>) -> Verdict {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", status.parse().unwrap());
        if let Some(pushback) = pushback {
            headers.insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
        }
        GrpcStatus::new().judge(&headers)
    }

    #[test]
    fn the_whole_table() {
        for status in 0..=20 {
            let expected = match status {
                0 => Verdict::NoOpinion,
                4 => Verdict::retry(Class::Timeout),
                8 => Verdict::retry(Class::RateLimit),
                14 => Verdict::retry(Class::Server),
                13 | 15 => Verdict::never(Class::Server),
                16 => Verdict::never(Class::Auth),
                7 => Verdict::never(Class::Forbidden),
                5 => Verdict::never(Class::NotFound),
                3 | 6 | 9 | 11 | 12 => Verdict::never(Class::BadRequest),
                _ => Verdict::never(Class::Other),
            };
            assert_eq!(judge(&status.to_string(), None), expected, "{status}");
        }
        assert_eq!(GrpcStatus::new().judge(&HeaderMap::new()), Verdict::NoOpinion);
    }

    #[test]
    fn the_server_may_push_back_or_forbid() {
        let after = |ms| Some(Duration::from_millis(ms));
        assert_eq!(
            judge("14", Some("250")),
            Verdict::Retry { class: Class::Server, after: after(250) }
        );
        for never in ["-1", "", "soon"] {
            assert_eq!(judge("8", Some(never)), Verdict::never(Class::RateLimit), "{never}");
        }
    }
}
