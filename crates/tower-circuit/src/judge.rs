use std::sync::Arc;

/// What one outcome says about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Verdict {
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// Nothing: a refusal of our own, a mistake of the caller. It moves no count; a
    /// trial gives its place back.
    Ignore,
}

/// Judges the outcome of a call. Closures `Fn(Result<&Response, &Error>) -> Verdict` are judges.
///
/// A layer clones its judge for each call, so one that owns something large belongs in an [`Arc`].
///
/// ```
/// use tower_circuit::{BoxError, Judge, Open, Verdict};
///
/// let judge = |outcome: Result<&http::Response<()>, &BoxError>| match outcome {
///     Ok(response) if response.status().is_server_error() => Verdict::Failure,
///     // The caller's mistakes and the limiter's 429 do not mean that the service is down.
///     Ok(response) if response.status().is_client_error() => Verdict::Ignore,
///     Ok(_) => Verdict::Success,
///     Err(error) if error.is::<Open>() => Verdict::Ignore,
///     Err(_) => Verdict::Failure,
/// };
/// assert_eq!(judge.judge(Ok(&http::Response::new(()))), Verdict::Success);
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

/// The plainest judge: every `Err` is a failure, every `Ok` a success.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorsFail;

impl<Response, Error> Judge<Response, Error> for ErrorsFail {
    fn judge(&self, outcome: Result<&Response, &Error>) -> Verdict {
        if outcome.is_ok() { Verdict::Success } else { Verdict::Failure }
    }
}
