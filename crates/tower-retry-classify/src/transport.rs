//! Errors below HTTP.

use std::{error::Error, fmt, io, sync::Arc};

use crate::{BoxError, Class, Classify, Verdict, error::cause};

/// Classifies errors of the connection and time-outs, wherever they stand in
/// the chain of causes.
///
/// | found | class | may have reached the server |
/// | --- | --- | --- |
/// | `io::Error`: refused, host or network unreachable, address not available | connect | no |
/// | `io::Error`: reset, aborted, broken pipe, not connected, unexpected end | connection | yes |
/// | `io::Error`: timed out | time-out | yes |
/// | `tower::timeout::error::Elapsed`, `tokio::time::error::Elapsed` | time-out | yes |
///
/// With feature `hyper` also:
///
/// | found | class | may have reached the server |
/// | --- | --- | --- |
/// | hyper-util's client error that `is_connect`, whatever its cause | connect | no |
/// | `hyper::Error`: time-out | time-out | yes |
/// | `hyper::Error`: the answer is not HTTP | body | yes |
/// | `hyper::Error`: any other but a user's mistake, if its causes say nothing | connection | yes |
///
/// All of these are retried; what may have reached the server only if the request
/// may be repeated. Errors of another HTTP client are known through a closure:
///
/// ```
/// # // Stands for hyper-util's error, which has the same method.
/// # #[derive(Debug, thiserror::Error)] #[error("client")] struct ClientError;
/// # impl ClientError { fn is_connect(&self) -> bool { true } }
/// use tower_retry_classify::{BoxError, Class, Classify, Transport, Verdict};
///
/// let transport = Transport::new().also(|error| match error.downcast_ref::<ClientError>() {
///     Some(error) if error.is_connect() => Verdict::retry(Class::Connect),
///     _ => Verdict::NoOpinion,
/// });
/// let error: BoxError = ClientError.into();
/// let verdict = transport.classify(&(), Err::<&(), _>(&error));
/// assert_eq!(verdict, Verdict::retry(Class::Connect));
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Transport {
    also: Vec<Arc<Known>>,
}

type Known = dyn Fn(&(dyn Error + 'static)) -> Verdict + Send + Sync;

impl Transport {
    /// The table above.
    pub const fn new() -> Self {
        Self { also: Vec::new() }
    }

    /// Also asks the closure about each error in the chain, the outermost first.
    /// Its opinion on an error goes before the table's; an error further in is
    /// looked at only if nobody had an opinion on those around it.
    pub fn also(
        mut self,
        known: impl Fn(&(dyn Error + 'static)) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        self.also.push(Arc::new(known));
        self
    }

    /// The verdict on an error and its causes.
    #[must_use]
    pub fn judge(&self, error: &(dyn Error + 'static)) -> Verdict {
        let mut next = Some(error);
        #[cfg_attr(not(feature = "hyper"), allow(unused_mut, reason = "nothing sets it"))]
        let mut otherwise = Verdict::NoOpinion;
        while let Some(error) = next {
            for known in &self.also {
                let verdict = known(error);
                if verdict != Verdict::NoOpinion {
                    return verdict;
                }
            }
            match table(error) {
                Found::Class(class) => return Verdict::retry(class),
                #[cfg(feature = "hyper")]
                Found::UnlessCause(class) => otherwise = Verdict::retry(class),
                Found::Nothing => {}
            }
            next = cause(error);
        }
        otherwise
    }
}

/// What one error of the chain says.
enum Found {
    Class(Class),
    #[cfg(feature = "hyper")]
    UnlessCause(Class),
    Nothing,
}

fn table(error: &(dyn Error + 'static)) -> Found {
    use io::ErrorKind as Kind;
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return match error.kind() {
            Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::AddrNotAvailable => Found::Class(Class::Connect),
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::UnexpectedEof => Found::Class(Class::Connection),
            Kind::TimedOut => Found::Class(Class::Timeout),
            _ => Found::Nothing,
        };
    }
    if error.is::<tower::timeout::error::Elapsed>() || error.is::<tokio::time::error::Elapsed>() {
        return Found::Class(Class::Timeout);
    }
    of_hyper(error)
}

#[cfg(feature = "hyper")]
fn of_hyper(error: &(dyn Error + 'static)) -> Found {
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return if error.is_connect() { Found::Class(Class::Connect) } else { Found::Nothing };
    }
    match error.downcast_ref::<hyper::Error>() {
        Some(error) if error.is_timeout() => Found::Class(Class::Timeout),
        Some(error) if error.is_parse() => Found::Class(Class::Body),
        Some(error) if !error.is_user() => Found::UnlessCause(Class::Connection),
        _ => Found::Nothing,
    }
}

#[cfg(not(feature = "hyper"))]
fn of_hyper(_: &(dyn Error + 'static)) -> Found {
    Found::Nothing
}

impl<Req, Res> Classify<Req, Res> for Transport {
    fn classify(&self, _: &Req, outcome: Result<&Res, &BoxError>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::NoOpinion,
            Err(error) => self.judge(&**error),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("also", &self.also.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] BoxError);

    fn judge(error: impl Into<BoxError>) -> Verdict {
        Transport::new().judge(&*error.into())
    }

    #[test]
    fn a_refused_connection_was_never_sent_and_a_broken_one_may_have_been() {
        let refused = judge(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(refused, Verdict::retry(Class::Connect));
        assert!(Class::Connect.is_untouched());
        let reset = judge(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(reset, Verdict::retry(Class::Connection));
        assert!(!Class::Connection.is_untouched());
    }

    #[test]
    fn causes_are_found_at_any_depth() {
        let elapsed = Outer(tower::timeout::error::Elapsed::new().into());
        let deep = Outer(io::Error::other(elapsed).into());
        assert_eq!(judge(deep), Verdict::retry(Class::Timeout));
    }

    #[test]
    fn an_error_wrapped_by_io_is_not_skipped() {
        let inner = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(judge(io::Error::other(inner)), Verdict::retry(Class::Connection));
    }

    #[tokio::test(start_paused = true)]
    async fn both_time_outs_are_known() {
        let never = std::future::pending::<()>();
        let elapsed = tokio::time::timeout(std::time::Duration::ZERO, never).await.unwrap_err();
        assert_eq!(judge(elapsed), Verdict::retry(Class::Timeout));
        assert_eq!(judge(io::Error::from(io::ErrorKind::TimedOut)), Verdict::retry(Class::Timeout));
    }

    #[test]
    fn an_unknown_error_is_nobody_s_opinion() {
        assert_eq!(judge("what"), Verdict::NoOpinion);
        assert_eq!(judge(io::Error::from(io::ErrorKind::InvalidData)), Verdict::NoOpinion);
    }

    #[test]
    fn the_closure_goes_before_the_table_on_the_same_error() {
        let transport = Transport::new().also(|error| match error.downcast_ref::<io::Error>() {
            Some(_) => Verdict::never(Class::Other),
            None => Verdict::NoOpinion,
        });
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(transport.judge(&error), Verdict::never(Class::Other));
    }
}
