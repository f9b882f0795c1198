use std::{sync::Arc, time::Duration};

/// What one outcome says about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verdict {
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// Nothing: a refusal of our own, a mistake of the caller. It moves no count; a
    /// trial gives its place back.
    Ignore,
    /// It works and refuses us because we send too much: a 429. Counts as
    /// [`throttled`](crate::CircuitBuilder::throttled) says, for nothing by default.
    Throttled,
    /// It does not work, and named the time after which it will, as the `Retry-After` of a maintenance page
    /// does: the circuit opens at once, for that time. A longer one than
    /// [`longest_named`](crate::CircuitBuilder::longest_named) is cut; zero is a plain failure. While the circuit is
    /// open already, a named time may lengthen the open time and never shortens it.
    Down(Duration),
}

impl Verdict {
    /// What an HTTP status says about the service: 429 is [`Throttled`](Self::Throttled), 408 and 5xx but 501
    /// are failures, and any other answer shows that it works, 4xx too.
    ///
    /// ```
    /// use tower_circuit::Verdict;
    ///
    /// let verdicts = [200, 404, 408, 429, 501, 503].map(Verdict::of_status);
    /// use Verdict::*;
    /// assert_eq!(verdicts, [Success, Success, Failure, Throttled, Success, Failure]);
    /// ```
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            429 => Self::Throttled,
            501 => Self::Success,
            408 | 500..=599 => Self::Failure,
            _ => Self::Success,
        }
    }
}

/// Judges the outcome of a call. Closures `Fn(Result<&Response, &Error>) -> Verdict` are judges.
///
/// A layer clones its judge for each call, so one that owns something large belongs in an [`Arc`].
///
/// ```
/// use tower_circuit::{BoxError, Judge, Open, Verdict};
///
/// let judge = |outcome: Result<&http::Response<()>, &BoxError>| match outcome {
///     Ok(response) => Verdict::of_status(response.status().as_u16()),
///     // A refusal of our own says nothing about the service.
///     Err(error) if error.is::<Open>() => Verdict::Ignore,
///     Err(_) => Verdict::Failure,
/// };
/// assert_eq!(judge.judge(Ok(&http::Response::new(()))), Verdict::Success);
/// ```
///
/// In `tokio::spawn(async move { client.oneshot(r).await })` the compiler takes a closure over the error's `dyn` type for
/// not general enough; a named function will do, unless the inner service is a `service_fn` of an `async` block. What
/// works with every judge: `tokio::spawn(client.oneshot(r))`, a boxed service (`BoxCloneService`), and `ready` and
/// `call`:
///
/// ```
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_circuit::{BoxError, Circuit, CircuitLayer, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let judge = |outcome: Result<&u16, &BoxError>| match outcome {
///     Ok(503) | Err(_) => Verdict::Failure,
///     Ok(_) => Verdict::Success,
/// };
/// let mut client = ServiceBuilder::new()
///     .layer(CircuitLayer::new(Circuit::builder("api").build()?, judge))
///     .service(service_fn(|()| async { Ok::<u16, BoxError>(503) }));
/// let task = tokio::spawn(async move { client.ready().await?.call(()).await });
/// assert_eq!(task.await??, 503);
/// # Ok(())
/// # }
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
