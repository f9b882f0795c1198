use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;
use tower_service::Service;

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a failing [`Probe`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// `poll_ready` failed.
    Ready,
    /// The call failed.
    Call,
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "the probe failed while it was polled ready",
            Self::Call => "the probe failed the call",
        })
    }
}

impl std::error::Error for ProbeError {}

/// How a [`Probe`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// How many calls may be under way at once, over all clones.
    pub permits: usize,
    /// How many polls each instance answers `Pending` before it looks for a permit.
    pub ready_after: u32,
    /// Never ready at all.
    pub never_ready: bool,
    /// `poll_ready` fails.
    pub ready_fails: bool,
    /// How many polls the response answers `Pending`.
    pub answer_after: u32,
    /// The call fails.
    pub call_fails: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            permits: usize::MAX >> 1,
            ready_after: 0,
            never_ready: false,
            ready_fails: false,
            answer_after: 0,
            call_fails: false,
        }
    }
}

#[derive(Debug)]
struct Permits {
    free: usize,
    waiting: Vec<Waker>,
}

/// What all clones of one probe share.
pub(crate) struct Shared<Res> {
    script: Script,
    permits: Mutex<Permits>,
    calls: AtomicUsize,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    response: Arc<dyn Fn() -> Res + Send + Sync>,
}

impl<Res> Shared<Res> {
    fn permits(&self) -> std::sync::MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(Ordering::SeqCst)
    }

    pub(crate) fn all_permits_are_back(&self) -> bool {
        self.permits().free == self.script.permits
    }
}

/// One place among those that may be under way; given back on drop.
struct Permit<Res> {
    shared: Arc<Shared<Res>>,
}

impl<Res> Drop for Permit<Res> {
    fn drop(&mut self) {
        let waiting = {
            let mut permits = self.shared.permits();
            permits.free += 1;
            std::mem::take(&mut permits.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A cloneable adversary. Panics when it is called without having been polled
/// ready on that very instance.
pub struct Probe<Req, Res> {
    shared: Arc<Shared<Res>>,
    polls_left: u32,
    permit: Option<Permit<Res>>,
    request: std::marker::PhantomData<fn(Req)>,
}

impl<Req, Res> Probe<Req, Res> {
    /// A probe that follows `script` and answers with what `response` makes.
    #[must_use]
    pub fn new(script: Script, response: Arc<dyn Fn() -> Res + Send + Sync>) -> Self {
        let permits = Permits { free: script.permits, waiting: Vec::new() };
        let shared = Shared {
            script,
            permits: Mutex::new(permits),
            calls: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            response,
        };
        Self::of(Arc::new(shared))
    }

    fn of(shared: Arc<Shared<Res>>) -> Self {
        let polls_left = shared.script.ready_after;
        Self { shared, polls_left, permit: None, request: std::marker::PhantomData }
    }

    pub(crate) fn shared(&self) -> Arc<Shared<Res>> {
        Arc::clone(&self.shared)
    }
}

impl<Req, Res> Clone for Probe<Req, Res> {
    /// Readiness belongs to one instance: the clone has none.
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.shared))
    }
}

impl<Req, Res> fmt::Debug for Probe<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("script", &self.shared.script)
            .field("ready", &self.permit.is_some())
            .finish_non_exhaustive()
    }
}

impl<Req, Res> Service<Req> for Probe<Req, Res> {
    type Response = Res;
    type Error = BoxError;
    type Future = ProbeFuture<Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let script = &self.shared.script;
        if self.permit.is_some() {
            return Poll::Ready(Ok(()));
        }
        if script.never_ready {
            return Poll::Pending;
        }
        if script.ready_fails {
            return Poll::Ready(Err(ProbeError::Ready.into()));
        }
        if self.polls_left > 0 {
            self.polls_left -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut permits = self.shared.permits();
        if permits.free == 0 {
            permits.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        permits.free -= 1;
        drop(permits);
        self.permit = Some(Permit { shared: Arc::clone(&self.shared) });
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Req) -> Self::Future {
        let permit = self.permit.take();
        let permit = permit.expect("law broken: called an instance that was not polled ready");
        self.polls_left = self.shared.script.ready_after;
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        let now = self.shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.shared.most_in_flight.fetch_max(now, Ordering::SeqCst);
        ProbeFuture {
            polls_left: self.shared.script.answer_after,
            under_way: Some(UnderWay { permit }),
        }
    }
}

struct UnderWay<Res> {
    permit: Permit<Res>,
}

impl<Res> Drop for UnderWay<Res> {
    fn drop(&mut self) {
        self.permit.shared.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

pin_project! {
    /// The response future of [`Probe`].
    pub struct ProbeFuture<Res> {
        polls_left: u32,
        under_way: Option<UnderWay<Res>>,
    }
}

impl<Res> fmt::Debug for ProbeFuture<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeFuture").field("polls_left", &self.polls_left).finish_non_exhaustive()
    }
}

impl<Res> Future for ProbeFuture<Res> {
    type Output = Result<Res, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if *this.polls_left > 0 {
            *this.polls_left -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let under_way = this.under_way.take().expect("law broken: polled after completion");
        let shared = &under_way.permit.shared;
        Poll::Ready(if shared.script.call_fails {
            Err(ProbeError::Call.into())
        } else {
            Ok((shared.response)())
        })
    }
}

/// A [`Probe`] that cannot be cloned.
pub struct SingleProbe<Req, Res>(pub(crate) Probe<Req, Res>);

impl<Req, Res> fmt::Debug for SingleProbe<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SingleProbe").field(&self.0).finish()
    }
}

impl<Req, Res> Service<Req> for SingleProbe<Req, Res> {
    type Response = Res;
    type Error = BoxError;
    type Future = ProbeFuture<Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.0.call(request)
    }
}
