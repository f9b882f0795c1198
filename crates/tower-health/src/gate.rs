use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::{BoxError, Change, ConfigError, Health, Reason, State, config::DAY, error::Problems};

/// Decides which calls are let through in which state. Closures `Fn(&Request, State) -> bool` do.
pub trait Admit<Request> {
    /// Whether this call may pass. Called once per call, and once more if it may
    /// not and the state turns out to have changed since it was last looked at. Outside every lock.
    fn admit(&self, request: &Request, state: State) -> bool;
}

impl<F, Request> Admit<Request> for F
where
    F: Fn(&Request, State) -> bool,
{
    fn admit(&self, request: &Request, state: State) -> bool {
        self(request, state)
    }
}

/// Lets everything through in a state better than this, and nothing from it on.
#[derive(Clone, Copy, Debug)]
pub struct BetterThan(State);

impl<Request> Admit<Request> for BetterThan {
    fn admit(&self, _: &Request, state: State) -> bool {
        state.rank() < self.0.rank()
    }
}

/// Sheds load by the state of a [`Health`]: calls to what is unavailable are refused with
/// [`Shed`], and not sent.
///
/// It stands further out than the [`HealthLayer`](crate::HealthLayer) that feeds the score.
/// When it would refuse, it still lets one call through every so often, since without outcomes
/// nothing could get better. Clones, and all services of one layer, share that.
///
/// ```
/// use std::time::Duration;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_health::{BoxError, ErrorsBad, Health, HealthGateLayer, HealthLayer, Shed, State};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// let health = Health::builder("api").build()?;
/// let gate = HealthGateLayer::builder(health.clone()).trial_every(Duration::from_secs(5)).build()?;
/// let mut service = ServiceBuilder::new()
///     .layer(gate)
///     .layer(HealthLayer::new(health.clone(), ErrorsBad))
///     .service(service_fn(|()| async { Err::<(), _>(BoxError::from("down")) }));
///
/// for _ in 0..10 {
///     assert_eq!(service.ready().await?.call(()).await.unwrap_err().to_string(), "down");
/// }
/// assert_eq!(health.state(), State::Unavailable);
/// // One trial, and then refusals.
/// let trial = service.ready().await?.call(()).await.unwrap_err();
/// assert_eq!(trial.to_string(), "down");
/// let refused = service.ready().await?.call(()).await.unwrap_err();
/// assert_eq!(refused.downcast_ref::<Shed>().unwrap().retry_in, Duration::from_secs(5));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HealthGateLayer<A = BetterThan> {
    gate: Gate<A>,
}

#[derive(Clone, Debug)]
struct Gate<A> {
    health: Health,
    admit: A,
    trial_every: Duration,
    /// When the next call is let through as a trial.
    next_trial: Arc<Mutex<Option<Instant>>>,
}

impl HealthGateLayer {
    /// Starts from the default configuration.
    pub const fn builder(health: Health) -> HealthGateBuilder {
        let admit = BetterThan(State::Unavailable);
        HealthGateBuilder { health, admit, from: None, trial_every: Duration::from_secs(5) }
    }
}

/// Configures a [`HealthGateLayer`]; see [`HealthGateLayer::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct HealthGateBuilder<A = BetterThan> {
    health: Health,
    admit: A,
    from: Option<State>,
    trial_every: Duration,
}

impl HealthGateBuilder {
    /// Refuses from this state on: degraded, critical or unavailable. Default: unavailable.
    pub const fn refuse_from(mut self, state: State) -> Self {
        self.admit = BetterThan(state);
        self.from = Some(state);
        self
    }
}

impl<A> HealthGateBuilder<A> {
    /// Asks `admit` instead, as for a gate that lets only the urgent through when it is critical.
    pub fn admit<B>(self, admit: B) -> HealthGateBuilder<B> {
        let Self { health, trial_every, .. } = self;
        HealthGateBuilder { health, admit, from: None, trial_every }
    }

    /// One call that would be refused is let through every so often. Default: 5 s; above zero and at most a day.
    pub const fn trial_every(mut self, time: Duration) -> Self {
        self.trial_every = time;
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work.
    pub fn build(self) -> Result<HealthGateLayer<A>, ConfigError> {
        let Self { health, admit, from, trial_every } = self;
        let mut problems = Problems::default();
        if let Some(state) = from {
            let allowed = "Degraded, Critical or Unavailable";
            problems.unless(state.rank() > 0, "refuse_from", state, allowed);
        }
        let right = !trial_every.is_zero() && trial_every <= DAY;
        problems.unless(right, "trial_every", trial_every, "above zero, at most a day");
        problems.into_result("health gate")?;
        let next_trial = Arc::default();
        Ok(HealthGateLayer { gate: Gate { health, admit, trial_every, next_trial } })
    }
}

impl<S, A: Clone> Layer<S> for HealthGateLayer<A> {
    type Service = HealthGate<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        HealthGate { inner, gate: self.gate.clone() }
    }
}

/// Refuses calls by the state of a [`Health`]; see [`HealthGateLayer`].
#[derive(Clone, Debug)]
pub struct HealthGate<S, A = BetterThan> {
    inner: S,
    gate: Gate<A>,
}

impl<A> Gate<A> {
    fn look<Request>(&self, request: &Request) -> Result<(), Shed>
    where
        A: Admit<Request>,
    {
        let seen = self.health.last_state();
        if self.admit.admit(request, seen) {
            return Ok(());
        }
        // It may have fallen idle since.
        let now = self.health.change_now();
        if now.to != seen && self.admit.admit(request, now.to) {
            return Ok(());
        }
        self.refuse(&now)
    }

    #[cold]
    fn refuse(&self, change: &Change) -> Result<(), Shed> {
        let now = Instant::now();
        let mut next = self.next_trial.lock().unwrap_or_else(PoisonError::into_inner);
        match *next {
            Some(at) if now < at => {
                drop(next);
                Err(Shed {
                    health: self.health.shared_name(),
                    state: change.to,
                    reason: change.reason,
                    retry_in: at - now,
                })
            }
            _ => {
                *next = now.checked_add(self.trial_every);
                Ok(())
            }
        }
    }
}

impl<S, A, Request> Service<Request> for HealthGate<S, A>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
    A: Admit<Request>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = GateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let state = match self.gate.look(&request) {
            Ok(()) => GateState::Called { response: self.inner.call(request) },
            Err(shed) => GateState::Refused { shed: Some(shed) },
        };
        GateFuture { state }
    }
}

pin_project! {
    /// The response future of [`HealthGate`].
    #[must_use = "futures do nothing unless polled"]
    pub struct GateFuture<F> {
        #[pin]
        state: GateState<F>,
    }
}

pin_project! {
    #[project = GateProjection]
    enum GateState<F> {
        Called { #[pin] response: F },
        Refused { shed: Option<Shed> },
    }
}

impl<F, Response, Error> Future for GateFuture<F>
where
    F: Future<Output = Result<Response, Error>>,
    Error: Into<BoxError>,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            GateProjection::Called { response } => {
                Poll::Ready(ready!(response.poll(cx)).map_err(Into::into))
            }
            GateProjection::Refused { shed } => {
                Poll::Ready(Err(shed.take().expect("polled after it was done").into()))
            }
        }
    }
}

impl<F> fmt::Debug for GateFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = matches!(self.state, GateState::Refused { .. });
        f.debug_struct("GateFuture").field("refused", &refused).finish_non_exhaustive()
    }
}

/// A call was refused by a [`HealthGate`], here, and not sent. Nothing is wrong with it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Shed {
    /// The name of the health.
    pub health: Arc<str>,
    /// The state that refused it.
    pub state: State,
    /// Why that state was entered.
    pub reason: Reason,
    /// When the next call is let through as a trial.
    pub retry_in: Duration,
}

impl fmt::Display for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { health, state, reason, retry_in } = self;
        let seconds = retry_in.as_secs_f64();
        write!(
            f,
            "{health} is {state} ({reason}); the call was refused here and not sent; try again in {seconds:.1} s"
        )
    }
}

impl std::error::Error for Shed {}
