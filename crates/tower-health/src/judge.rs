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
///
/// In `tokio::spawn(async move { client.oneshot(r).await })` the compiler takes a closure over the error's `dyn` type for
/// not general enough; a named function will do, unless the inner service is a `service_fn` of an `async` block. What
/// works with every judge: `tokio::spawn(client.oneshot(r))`, a boxed service (`BoxCloneService`), and `ready` and
/// `call`:
///
/// ```
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_health::{Health, HealthLayer, Verdict};
///
/// type BoxError = Box<dyn std::error::Error + Send + Sync>;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let judge = |outcome: Result<&u16, &BoxError>| match outcome {
///     Ok(503) | Err(_) => Verdict::Bad,
///     Ok(_) => Verdict::Good,
/// };
/// let mut client = ServiceBuilder::new()
///     .layer(HealthLayer::new(Health::builder("api").build()?, judge))
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

/// The plainest judge: every `Err` is bad, every `Ok` good.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorsBad;

impl<Response, Error> Judge<Response, Error> for ErrorsBad {
    fn judge(&self, outcome: Result<&Response, &Error>) -> Verdict {
        if outcome.is_ok() { Verdict::Good } else { Verdict::Bad }
    }
}
