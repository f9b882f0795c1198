//! Faults on purpose, for users' own tests.

mod future;

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tower::{Layer, Service};

pub use self::future::FaultFuture;
use crate::{BoxError, ConfigError, Problem};

/// What goes wrong with one call.
#[non_exhaustive]
pub enum Fault<Res> {
    /// The call is made, and its outcome comes so much later than the call.
    Delay(Duration),
    /// The call is not made, and fails with such an `io::Error`.
    Error(io::ErrorKind),
    /// The call is made, and its outcome is lost: it fails with such an `io::Error`.
    Lost(io::ErrorKind),
    /// The call is not made, and this is the answer.
    Answer(Arc<dyn Fn() -> Res + Send + Sync>),
    /// The call is not made, and never ends.
    Hang,
}

impl<Res> Fault<Res> {
    /// The call is not made, and this is the answer.
    pub fn answer(answer: impl Fn() -> Res + Send + Sync + 'static) -> Self {
        Self::Answer(Arc::new(answer))
    }
}

impl<Res> Clone for Fault<Res> {
    fn clone(&self) -> Self {
        match self {
            Self::Delay(time) => Self::Delay(*time),
            Self::Error(kind) => Self::Error(*kind),
            Self::Lost(kind) => Self::Lost(*kind),
            Self::Answer(answer) => Self::Answer(Arc::clone(answer)),
            Self::Hang => Self::Hang,
        }
    }
}

impl<Res> fmt::Debug for Fault<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(time) => f.debug_tuple("Delay").field(time).finish(),
            Self::Error(kind) => f.debug_tuple("Error").field(kind).finish(),
            Self::Lost(kind) => f.debug_tuple("Lost").field(kind).finish(),
            Self::Answer(_) => f.write_str("Answer(..)"),
            Self::Hang => f.write_str("Hang"),
        }
    }
}

/// Stands in the errors that a [`FaultLayer`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fault was injected")]
pub struct Injected;

/// Makes calls go wrong, by a script, by chance from a seed, or both, so that you can see
/// how your program bears it. Put it where the network would be.
///
/// Clones of the layer and of its services share script, chance and counters.
///
/// ```
/// use std::io::ErrorKind;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
/// use tower_retry_classify::{BoxError, Fault, FaultLayer, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), BoxError> {
/// let busy = Fault::answer(|| Response::builder().status(503).body(()).unwrap());
/// let faults = FaultLayer::builder()
///     .script([Some(Fault::Error(ErrorKind::ConnectionReset)), Some(busy), None])
///     .build()?;
/// let client = ServiceBuilder::new()
///     .layer(RetryLayer::new(RetryPolicy::http().build()?))
///     .layer(faults.clone())
///     .service(service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) }));
/// assert_eq!(client.oneshot(Request::get("/").body(())?).await?.status(), 200);
/// assert_eq!(faults.injected(), 2);
/// # Ok(()) }
/// ```
pub struct FaultLayer<Res> {
    shared: Arc<Shared<Res>>,
}

struct Shared<Res> {
    enabled: AtomicBool,
    injected: AtomicU64,
    chances: Vec<(f64, Fault<Res>)>,
    next: Mutex<(VecDeque<Option<Fault<Res>>>, fastrand::Rng)>,
}

/// Configures a [`FaultLayer`].
#[must_use]
pub struct FaultBuilder<Res> {
    script: VecDeque<Option<Fault<Res>>>,
    chances: Vec<(f64, Fault<Res>)>,
    seed: u64,
}

impl<Res> FaultLayer<Res> {
    /// No faults yet.
    pub const fn builder() -> FaultBuilder<Res> {
        FaultBuilder { script: VecDeque::new(), chances: Vec::new(), seed: 0 }
    }

    /// Lets all calls pass (`false`), or goes on where it was. It is on at first.
    pub fn set_enabled(&self, enabled: bool) {
        self.shared.enabled.store(enabled, Relaxed);
    }

    /// How many calls went wrong on purpose.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.shared.injected.load(Relaxed)
    }
}

impl<Res> FaultBuilder<Res> {
    /// What goes wrong with the first call, the second, ...; nothing where there is `None`.
    /// What follows after the script is left to [`chance`](Self::chance). Default: empty.
    pub fn script(mut self, faults: impl IntoIterator<Item = Option<Fault<Res>>>) -> Self {
        self.script.extend(faults);
        self
    }

    /// This part of the calls goes wrong so, from 0 to 1. Several add up, to 1 at most.
    /// Default: none.
    pub fn chance(mut self, part: f64, fault: Fault<Res>) -> Self {
        self.chances.push((part, fault));
        self
    }

    /// What chance starts from: the same seed gives the same faults. Default: 0.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong.
    pub fn build(self) -> Result<FaultLayer<Res>, ConfigError> {
        let mut problems = Vec::new();
        for (part, _) in self.chances.iter().filter(|(part, _)| !(0.0..=1.0).contains(part)) {
            problems.push(Problem::new("chance", part, "from 0 to 1"));
        }
        let sum: f64 = self.chances.iter().map(|(part, _)| part).sum();
        if problems.is_empty() && sum > 1.0 + 1e-9 {
            problems.push(Problem::new("chance", sum, "at most 1 in sum"));
        }
        ConfigError::of(problems)?;
        let shared = Shared {
            enabled: AtomicBool::new(true),
            injected: AtomicU64::new(0),
            chances: self.chances,
            next: Mutex::new((self.script, fastrand::Rng::with_seed(self.seed))),
        };
        Ok(FaultLayer { shared: Arc::new(shared) })
    }
}

impl<Res> Shared<Res> {
    fn next(&self) -> Option<Fault<Res>> {
        if !self.enabled.load(Relaxed) {
            return None;
        }
        let random = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            match next.0.pop_front() {
                Some(scripted) => return scripted,
                None => next.1.f64(),
            }
        };
        by_chance(&self.chances, random).cloned()
    }
}

/// `random` lies in `[0, 1)`.
fn by_chance<T>(chances: &[(f64, T)], random: f64) -> Option<&T> {
    let mut sum = 0.0;
    chances.iter().find_map(|(part, fault)| {
        sum += part;
        (random < sum).then_some(fault)
    })
}

impl<Res> Clone for FaultLayer<Res> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<Res> fmt::Debug for FaultLayer<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultLayer").field("injected", &self.injected()).finish_non_exhaustive()
    }
}

impl<Res> fmt::Debug for FaultBuilder<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultBuilder")
            .field("script", &self.script)
            .field("chances", &self.chances)
            .field("seed", &self.seed)
            .finish()
    }
}

impl<S, Res> Layer<S> for FaultLayer<Res> {
    type Service = Faulty<S, Res>;

    fn layer(&self, inner: S) -> Faulty<S, Res> {
        Faulty { inner, faults: self.clone() }
    }
}

/// The service of [`FaultLayer`]. Ready when the inner service is. A call that is not
/// made leaves the inner service ready, for the next.
pub struct Faulty<S, Res> {
    inner: S,
    faults: FaultLayer<Res>,
}

impl<S: Clone, Res> Clone for Faulty<S, Res> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), faults: self.faults.clone() }
    }
}

impl<S: fmt::Debug, Res> fmt::Debug for Faulty<S, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Req, Res> Service<Req> for Faulty<S, Res>
where
    S: Service<Req, Response = Res>,
    S::Error: Into<BoxError>,
{
    type Response = Res;
    type Error = BoxError;
    type Future = FaultFuture<S::Future, Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let fault = self.faults.shared.next();
        if fault.is_some() {
            self.faults.shared.injected.fetch_add(1, Relaxed);
        }
        match fault {
            None => FaultFuture::call(self.inner.call(request)),
            Some(Fault::Delay(time)) => FaultFuture::call(self.inner.call(request)).late(time),
            Some(Fault::Lost(kind)) => FaultFuture::call(self.inner.call(request)).lost(kind),
            Some(Fault::Error(kind)) => FaultFuture::ended(Err(injected(kind))),
            Some(Fault::Answer(answer)) => FaultFuture::ended(Ok(answer())),
            Some(Fault::Hang) => FaultFuture::hanging(),
        }
    }
}

fn injected(kind: io::ErrorKind) -> BoxError {
    io::Error::new(kind, Injected).into()
}
