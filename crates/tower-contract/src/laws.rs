use std::{
    error::Error,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio_test::task;
use tower_service::Service;

use crate::{BoxError, Probe, ProbeError, Script, SingleProbe, probe::Shared};

/// Far past every wait that a layer under test may be configured with.
const DEADLOCK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Checks every law against the layer that `wrap` puts around a [`Probe`].
///
/// Configure the layer so that it lets the suite's calls (some two thousand)
/// pass. Run it on a paused clock.
///
/// # Panics
///
/// When a law is broken, with the name of the law.
pub async fn check<Req, Res, S>(
    request: impl Fn() -> Req,
    response: impl Fn() -> Res + Send + Sync + 'static,
    wrap: impl Fn(Probe<Req, Res>) -> S,
) where
    S: Service<Req> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Response: Send,
    S::Future: Send,
    Req: Send + 'static,
{
    let response: Arc<dyn Fn() -> Res + Send + Sync> = Arc::new(response);
    let suite = Suite { request, response, wrap };
    suite.laws_for_all().await;
    suite.many_clones_share_few_permits().await;
    suite.a_clone_does_not_inherit_readiness().await;
}

/// Checks the laws that need no clone, with an inner service that is not `Clone`.
///
/// # Panics
///
/// When a law is broken, with the name of the law.
pub async fn check_not_clone<Req, Res, S>(
    request: impl Fn() -> Req,
    response: impl Fn() -> Res + Send + Sync + 'static,
    wrap: impl Fn(SingleProbe<Req, Res>) -> S,
) where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    let response: Arc<dyn Fn() -> Res + Send + Sync> = Arc::new(response);
    let suite = Suite { request, response, wrap: |probe| wrap(SingleProbe(probe)) };
    suite.laws_for_all().await;
}

struct Suite<Req, Res, MakeReq, Wrap>
where
    MakeReq: Fn() -> Req,
{
    request: MakeReq,
    response: Arc<dyn Fn() -> Res + Send + Sync>,
    wrap: Wrap,
}

async fn within<T>(law: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLOCK, future).await {
        Ok(output) => output,
        Err(_) => panic!("law broken: {law}: it waits for ever"),
    }
}

async fn ready<S, Req>(service: &mut S) -> Result<(), BoxError>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)
}

async fn call<S, Req>(service: &mut S, request: Req) -> Result<S::Response, BoxError>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    ready(service).await?;
    service.call(request).await.map_err(Into::into)
}

fn passed<T>(law: &str, result: Result<T, BoxError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("law broken: {law}: the call failed: {error} ({error:?})"),
    }
}

/// Whether `wanted` is `error` or somewhere among its causes.
fn caused_by(error: &(dyn Error + 'static), wanted: ProbeError) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<ProbeError>() == Some(&wanted) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl<Req, Res, S, MakeReq, Wrap> Suite<Req, Res, MakeReq, Wrap>
where
    MakeReq: Fn() -> Req,
    Wrap: Fn(Probe<Req, Res>) -> S,
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    fn wrapped(&self, script: Script) -> (S, Arc<Shared<Res>>) {
        let probe = Probe::new(script, Arc::clone(&self.response));
        let shared = probe.shared();
        ((self.wrap)(probe), shared)
    }

    async fn laws_for_all(&self) {
        self.readiness_comes_after_some_polls().await;
        self.readiness_once_given_stays().await;
        self.one_permit_is_enough().await;
        self.a_service_that_is_never_ready_is_never_called().await;
        self.an_error_of_readiness_arrives().await;
        self.an_error_of_the_call_arrives().await;
        self.a_dropped_response_gives_the_permit_back().await;
        self.a_dropped_ready_service_gives_the_permit_back().await;
        self.a_slow_answer_wakes_the_caller().await;
    }

    async fn readiness_comes_after_some_polls(&self) {
        let law = "readiness comes after some polls";
        let (mut service, shared) = self.wrapped(Script { ready_after: 5, ..Script::default() });
        for n in 1..=20 {
            passed(law, within(law, call(&mut service, (self.request)())).await);
            assert_eq!(shared.calls(), n, "law broken: {law}: each request arrives once");
        }
    }

    async fn readiness_once_given_stays(&self) {
        let law = "readiness, once given, stays";
        let (mut service, shared) = self.wrapped(Script { permits: 1, ..Script::default() });
        for _ in 0..3 {
            passed(law, within(law, ready::<S, Req>(&mut service)).await);
        }
        passed(law, within(law, service.call((self.request)())).await.map_err(Into::into));
        assert_eq!(shared.calls(), 1, "law broken: {law}");
    }

    async fn one_permit_is_enough(&self) {
        let law = "one permit is enough for one call after the other";
        let script = Script { permits: 1, ready_after: 1, answer_after: 3, ..Script::default() };
        let (mut service, shared) = self.wrapped(script);
        for _ in 0..50 {
            passed(law, within(law, call(&mut service, (self.request)())).await);
        }
        assert_eq!(shared.calls(), 50, "law broken: {law}: each request arrives once");
        assert_eq!(shared.most_in_flight(), 1, "law broken: {law}");
        drop(service);
        assert!(shared.all_permits_are_back(), "law broken: {law}: a permit is lost");
    }

    async fn a_service_that_is_never_ready_is_never_called(&self) {
        let law = "a service that is never ready is never called";
        let (mut service, shared) = self.wrapped(Script { never_ready: true, ..Script::default() });
        let mut polled = task::spawn(poll_fn(|cx| service.poll_ready(cx)));
        let is_ready = matches!(polled.poll(), Poll::Ready(_));
        drop(polled);
        if is_ready {
            // A layer may take the request in and wait inside; it may not call.
            let response = service.call((self.request)());
            let mut response = pin!(response);
            let waits = poll_fn(|cx| Poll::Ready(response.as_mut().poll(cx).is_pending())).await;
            assert!(waits, "law broken: {law}: it answered");
        }
        assert_eq!(shared.calls(), 0, "law broken: {law}");
    }

    async fn an_error_of_readiness_arrives(&self) {
        let law = "an error of readiness arrives";
        let (mut service, shared) = self.wrapped(Script { ready_fails: true, ..Script::default() });
        match within(law, call(&mut service, (self.request)())).await {
            Ok(_) => panic!("law broken: {law}: the call succeeded"),
            Err(error) => {
                assert!(caused_by(&*error, ProbeError::Ready), "law broken: {law}: got {error:?}");
            }
        }
        assert_eq!(shared.calls(), 0, "law broken: {law}");
    }

    async fn an_error_of_the_call_arrives(&self) {
        let law = "an error of the call arrives, with its cause";
        let (mut service, _) = self.wrapped(Script { call_fails: true, ..Script::default() });
        match within(law, call(&mut service, (self.request)())).await {
            Ok(_) => panic!("law broken: {law}: the call succeeded"),
            Err(error) => {
                assert!(caused_by(&*error, ProbeError::Call), "law broken: {law}: got {error:?}");
            }
        }
    }

    async fn a_dropped_response_gives_the_permit_back(&self) {
        let law = "a dropped response gives the permit back";
        let script = Script { permits: 1, answer_after: 4, ..Script::default() };
        let (mut service, shared) = self.wrapped(script);
        for polls in 0..4 {
            for _ in 0..10 {
                passed(law, within(law, ready::<S, Req>(&mut service)).await);
                let mut response = task::spawn(service.call((self.request)()));
                for _ in 0..polls {
                    assert!(response.poll().is_pending(), "law broken: {law}: answered early");
                }
            }
        }
        drop(service);
        assert!(shared.all_permits_are_back(), "law broken: {law}");
    }

    async fn a_dropped_ready_service_gives_the_permit_back(&self) {
        let law = "a dropped ready service gives the permit back";
        let (mut service, shared) = self.wrapped(Script { permits: 1, ..Script::default() });
        passed(law, within(law, ready::<S, Req>(&mut service)).await);
        drop(service);
        assert!(shared.all_permits_are_back(), "law broken: {law}");
        assert_eq!(shared.calls(), 0, "law broken: {law}: nothing was sent");
    }

    async fn a_slow_answer_wakes_the_caller(&self) {
        let law = "a slow answer wakes the caller";
        let (mut service, _) = self.wrapped(Script { answer_after: 3, ..Script::default() });
        passed(law, within(law, ready::<S, Req>(&mut service)).await);
        let mut response = task::spawn(service.call((self.request)()));
        for _ in 0..100 {
            match response.poll() {
                Poll::Ready(result) => return drop(passed(law, result.map_err(Into::into))),
                Poll::Pending => assert!(response.is_woken(), "law broken: {law}"),
            }
        }
        panic!("law broken: {law}: it never answers");
    }
}

impl<Req, Res, S, MakeReq, Wrap> Suite<Req, Res, MakeReq, Wrap>
where
    MakeReq: Fn() -> Req,
    Wrap: Fn(Probe<Req, Res>) -> S,
    S: Service<Req> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Response: Send,
    S::Future: Send,
    Req: Send + 'static,
{
    async fn many_clones_share_few_permits(&self) {
        const CLONES: usize = 64;
        const CALLS: usize = 16;
        let law = "many clones share few permits, and each request arrives once";
        let script = Script { permits: 3, ready_after: 1, answer_after: 2, ..Script::default() };
        let (service, shared) = self.wrapped(script);
        let mut clones = tokio::task::JoinSet::new();
        for _ in 0..CLONES {
            let mut clone = service.clone();
            let requests: Vec<Req> = (0..CALLS).map(|_| (self.request)()).collect();
            clones.spawn(async move {
                for request in requests {
                    call(&mut clone, request).await.map(drop)?;
                    tokio::task::yield_now().await;
                }
                Ok::<(), BoxError>(())
            });
        }
        while let Some(joined) = within(law, clones.join_next()).await {
            passed(law, joined.unwrap_or_else(|panic| panic!("law broken: {law}: {panic}")));
        }
        assert_eq!(shared.calls(), CLONES * CALLS, "law broken: {law}");
        assert!(shared.most_in_flight() <= 3, "law broken: {law}");
        drop(service);
        assert!(shared.all_permits_are_back(), "law broken: {law}: a permit is lost");
    }

    async fn a_clone_does_not_inherit_readiness(&self) {
        let law = "a clone asks for its own readiness";
        let (mut service, shared) = self.wrapped(Script { permits: 2, ..Script::default() });
        passed(law, within(law, ready::<S, Req>(&mut service)).await);
        let mut clone = service.clone();
        passed(law, within(law, call(&mut clone, (self.request)())).await);
        passed(law, within(law, service.call((self.request)())).await.map_err(Into::into));
        assert_eq!(shared.calls(), 2, "law broken: {law}");
    }
}
