use std::{fmt, future::Future};

use crate::{Circuit, ErrorsFail, Judge, Open};

impl Circuit {
    /// Makes one call without tower: asks for leave, runs the future, and records its outcome. `Err` is a failure.
    ///
    /// # Errors
    ///
    /// [`CallError::Open`] if the circuit refuses, in which case the future was never polled;
    /// [`CallError::Failed`] with the error of the future.
    ///
    /// # Cancellation
    ///
    /// The circuit is asked when the call is first polled. Dropped after that and before its answer, the call
    /// counts as [`cancelled`](crate::CircuitBuilder::cancelled) says.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_circuit::{CallError, Circuit};
    ///
    /// async fn query(rows: Result<u32, &'static str>) -> Result<u32, &'static str> { rows }
    ///
    /// let database = Circuit::builder("database").consecutive(1).build()?;
    /// assert_eq!(database.call(query(Ok(3))).await, Ok(3));
    /// assert_eq!(database.call(query(Err("gone"))).await, Err(CallError::Failed("gone")));
    /// assert!(matches!(database.call(query(Ok(3))).await, Err(CallError::Open(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call<F, T, E>(&self, future: F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_judged(future, ErrorsFail).await
    }

    /// As [`call`](Self::call), with a judge of its own: not every error means that the service is down.
    ///
    /// # Errors
    ///
    /// As those of [`call`](Self::call).
    pub async fn call_judged<F, T, E, J>(&self, future: F, judge: J) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
        J: Judge<T, E>,
    {
        let permit = self.admit().map_err(CallError::Open)?;
        let outcome = future.await;
        permit.record(judge.judge(outcome.as_ref()));
        outcome.map_err(CallError::Failed)
    }
}

/// Why [`Circuit::call`] has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// The circuit refused: nothing was done.
    Open(Open),
    /// The call was made, and this is its own error.
    Failed(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(open) => open.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(_) => None,
            // The sentence is the error's own, so the cause is the error's cause.
            Self::Failed(error) => error.source(),
        }
    }
}
