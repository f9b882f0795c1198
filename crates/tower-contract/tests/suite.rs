//! The suite passes what is right and catches what is wrong.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tower::{Service, ServiceExt, limit::ConcurrencyLimit};
use tower_contract::{BoxError, check, check_not_clone};

#[tokio::test(start_paused = true)]
async fn a_service_alone_keeps_the_laws() {
    check(|| (), || (), |probe| probe).await;
    check_not_clone(|| (), || (), |probe| probe).await;
}

#[tokio::test(start_paused = true)]
async fn towers_own_concurrency_limit_keeps_the_laws() {
    check(|| (), || (), |probe| ConcurrencyLimit::new(probe, 64)).await;
    check_not_clone(|| (), || (), |probe| ConcurrencyLimit::new(probe, 64)).await;
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Breaks one law, chosen by `HOW`.
#[derive(Clone)]
struct Wrong<S, const HOW: u8> {
    inner: S,
    kept: Arc<Mutex<Vec<S>>>,
}

const CALLS_THE_CLONE: u8 = 0;
const LEAVES_THE_READY_ONE: u8 = 1;
const KEEPS_THE_READY_ONE: u8 = 2;
const INVENTS_READINESS: u8 = 3;
const REPLACES_THE_ERROR: u8 = 4;
const CALLS_TWICE: u8 = 5;

impl<S, const HOW: u8> Service<()> for Wrong<S, HOW>
where
    S: Service<(), Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Boxed<S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if HOW == INVENTS_READINESS {
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let clone = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, clone.clone());
        match HOW {
            CALLS_THE_CLONE => Box::pin(self.inner.call(())),
            LEAVES_THE_READY_ONE => {
                self.inner = ready;
                Box::pin(clone.oneshot(()))
            }
            KEEPS_THE_READY_ONE => {
                self.kept.lock().unwrap().push(ready);
                Box::pin(clone.oneshot(()))
            }
            REPLACES_THE_ERROR => {
                let response = ready.call(());
                Box::pin(async move { response.await.map_err(|_| "something failed".into()) })
            }
            CALLS_TWICE => {
                let first = ready.call(());
                Box::pin(async move {
                    first.await?;
                    clone.oneshot(()).await
                })
            }
            _ => Box::pin(ready.call(())),
        }
    }
}

async fn check_wrong<const HOW: u8>() {
    check(|| (), || (), |inner| Wrong::<_, HOW> { inner, kept: Arc::default() }).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "not polled ready")]
async fn catches_a_clone_that_is_called() {
    check_wrong::<CALLS_THE_CLONE>().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "waits for ever")]
async fn catches_a_ready_service_left_behind() {
    check_wrong::<LEAVES_THE_READY_ONE>().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "waits for ever")]
async fn catches_a_leaked_permit() {
    check_wrong::<KEEPS_THE_READY_ONE>().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "not polled ready")]
async fn catches_readiness_that_was_made_up() {
    check_wrong::<INVENTS_READINESS>().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "with its cause")]
async fn catches_a_replaced_error() {
    check_wrong::<REPLACES_THE_ERROR>().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "arrives once")]
async fn catches_a_request_sent_twice() {
    check_wrong::<CALLS_TWICE>().await;
}
