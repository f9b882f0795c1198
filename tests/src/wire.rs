//! The wire between the stack and the simulator: counts what is sent, and can be cut.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use saas_sim::{
    BoxError,
    pipedrive::{Sim, SimBody, SimService},
};
use tokio::time::Instant;
use tower_service::Service;

/// What happens to a request on the wire.
#[derive(Clone, Default)]
pub enum Weather {
    /// It reaches the simulator.
    #[default]
    Fair,
    /// Nobody listens: the connection is refused.
    Refused,
    /// It never reaches anything, and no answer comes.
    Silence,
    /// Something in between answers in the simulator's place, or lets the request through.
    Answer(Arc<dyn Fn() -> Option<Response<Bytes>> + Send + Sync>),
}

impl Weather {
    /// Something in between answers every request.
    pub fn answer(answer: impl Fn() -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self::Answer(Arc::new(move || Some(answer())))
    }

    /// Something in between answers the next request, and no other.
    #[must_use]
    pub fn answer_once(answer: Response<Bytes>) -> Self {
        let answer = Mutex::new(Some(answer));
        Self::Answer(Arc::new(move || answer.lock().unwrap_or_else(PoisonError::into_inner).take()))
    }
}

impl fmt::Debug for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fair => "Fair",
            Self::Refused => "Refused",
            Self::Silence => "Silence",
            Self::Answer(_) => "Answer",
        })
    }
}

#[derive(Default)]
struct State {
    weather: Weather,
    sent: Vec<(Instant, String)>,
    under_way: usize,
}

/// The transport under the stack. Clones are the same wire.
#[derive(Clone)]
pub struct Wire {
    sim: SimService,
    state: Arc<Mutex<State>>,
}

impl Wire {
    /// A wire to this simulator.
    #[must_use]
    pub fn to(sim: &Sim) -> Self {
        Self { sim: sim.service(), state: Arc::default() }
    }

    /// Changes the weather for requests from now on.
    pub fn set(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Requests that were sent, whatever became of them.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.state().sent.len() as u64
    }

    /// Requests that were sent from `from` on and before `to`.
    #[must_use]
    pub fn sent_between(&self, from: Instant, to: Instant) -> u64 {
        self.state().sent.iter().filter(|&&(at, _)| from <= at && at < to).count() as u64
    }

    /// The paths of the requests that were sent.
    #[must_use]
    pub fn targets(&self) -> Vec<String> {
        self.state().sent.iter().map(|(_, path)| path.clone()).collect()
    }

    /// Requests whose head of an answer is still awaited.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.state().under_way
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("sent", &self.sent()).finish_non_exhaustive()
    }
}

/// Counts one request as under way for as long as it lives.
struct UnderWay(Wire);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
    }
}

/// The body of an answer: the simulator's, or of something in between.
pub type WireBody = Either<SimBody, Full<Bytes>>;

impl Service<Request<Full<Bytes>>> for Wire {
    type Response = Response<WireBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<WireBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let weather = {
            let mut state = self.state();
            state.sent.push((Instant::now(), request.uri().path().to_owned()));
            state.under_way += 1;
            state.weather.clone()
        };
        let under_way = UnderWay(self.clone());
        let instead = match weather {
            Weather::Fair => None,
            Weather::Answer(answer) => answer().map(Ok),
            Weather::Refused => Some(Err(io::Error::from(io::ErrorKind::ConnectionRefused))),
            Weather::Silence => {
                return Box::pin(async move {
                    let _under_way = under_way;
                    std::future::pending().await
                });
            }
        };
        if let Some(instead) = instead {
            return Box::pin(async move {
                let _under_way = under_way;
                Ok(instead?.map(|body| Either::Right(Full::new(body))))
            });
        }
        let answer = self.sim.call(request);
        Box::pin(async move {
            let _under_way = under_way;
            Ok(answer.await?.map(Either::Left))
        })
    }
}
