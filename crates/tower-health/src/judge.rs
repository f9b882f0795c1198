use std::sync::Arc;

/// What one outcome says about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Verdict {
    /// It did what it should.
    Good,
    /// It did not.
    Bad,
    /// Nothing: a refusal of our own, a mistake of the caller. Neither outcome nor latency is counted.
    Ignore,
}

/// Judges the outcome of a call. Closures `Fn(Result<&Response, &Error>) -> Verdict` are judges.
///
/// A layer clones its judge for each call, so one that owns something large belongs in an [`Arc`].
///
/// ```
/// use tower_health::{Judge, Verdict};
///
/// let judge = |outcome: Result<&http::Response<()>, &std::io::Error>| match outcome {
///     Ok(response) if response.status().is_server_error() => Verdict::Bad,
///     Ok(_) => Verdict::Good,
///     Err(_) => Verdict::Bad,
/// };
/// assert_eq!(judge.judge(Ok(&http::Response::new(()))), Verdict::Good);
/// ```
pub trait Judge<Response, Error> {
    /// Gives the verdict. Called once per answered call, outside every lock.
    fn judge(&self, outcome: Result<&Response, &Error>) -> Verdict;
}

impl<F, Response, Error> Judge<Response, Error> for F
where
    F: Fn(Result<&Response, &Error>) -> Verdict,
{
    fn judge(&self, outcome: Result<&Response, &Error>) -> Verdict {
        self(outcome)
    }
}

impl<J, Response, Error> Judge<Response, Error> for Arc<J>
where
    J: Judge<Response, Error> + ?Sized,
{
    fn judge(&self, outcome: Result<&Response, &Error>) -> Verdict {
        (**self).judge(outcome)
    }
}

/// The plainest judge: every `Err` is bad, every `Ok` good.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorsBad;

impl<Response, Error> Judge<Response, Error> for ErrorsBad {
    fn judge(&self, outcome: Result<&Response, &Error>) -> Verdict {
        if outcome.is_ok() { Verdict::Good } else { Verdict::Bad }
    }
}
