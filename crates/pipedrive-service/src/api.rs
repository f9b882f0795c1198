//! The whole stack behind one typed error.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use secrecy::SecretString;
use tower::util::{BoxCloneSyncService, ServiceExt};
use tower_adaptive_page::PageController;
use tower_service::Service;

use crate::{
    BoxError,
    call::Call,
    classify::{Garbled, find},
    collect::BodyTooLarge,
    entity::{Entity, Version},
    error::{Context, Error, ErrorKind, from_box, from_response},
    holdings::{BodyBound, HoldPage, Holdings},
};

/// The stack, boxed.
pub(crate) type Stack = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, BoxError>;

/// How often a page that is too long is asked for again, each time half as long at most.
const HALVINGS: u32 = 9;

/// Sends requests through the stack; answers that say no are errors.
#[derive(Clone)]
pub(crate) struct Api {
    stack: Stack,
    pages: PageController,
    holdings: Holdings,
    // What no error may repeat, although the API may.
    secret: Option<SecretString>,
}

impl Api {
    pub(crate) const fn new(
        stack: Stack,
        pages: PageController,
        holdings: Holdings,
        secret: Option<SecretString>,
    ) -> Self {
        Self { stack, pages, holdings, secret }
    }

    /// Sends one request. It must carry a [`Call`].
    pub(crate) async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let method = request.method().clone();
        let Some(call) = request.extensions().get::<Call>().cloned() else {
            let error = Error::new(ErrorKind::Invalid, Context { method, ..Context::default() });
            return Err(error.message("no request can be made for this position of the list"));
        };
        let context = || Context {
            method: method.clone(),
            template: call.template(),
            attempts: call.attempts(),
            request_id: call.request_id().to_str().unwrap_or_default().to_owned(),
        };
        let mut again = call.is_paged().then(|| request.clone());
        let mut request = request;
        let list = call.template();
        for _ in 0..HALVINGS {
            let hold = request.extensions().get::<HoldPage>().is_some();
            let reserved = if hold { Some(self.holdings.reserve(list).await) } else { None };
            if let Some(reserved) = &reserved {
                request.extensions_mut().insert(BodyBound(reserved.bound));
            }
            // Who waited asks for what is the right size now.
            let size = self.pages.size();
            match self.stack.clone().oneshot(request).await {
                Ok(mut response) => {
                    if let Some(reserved) = reserved {
                        let bytes = response.body().len() as u64;
                        let held = self.holdings.came(list, reserved, bytes);
                        if let Some(held) = held {
                            response.extensions_mut().insert(held);
                        }
                    }
                    let empty = call.is_always_empty();
                    return settle(response, empty, context(), self.secret.as_ref());
                }
                Err(error) => {
                    // The page layer has halved the page by now; where it cannot, there is no point in going on.
                    let smaller = self.pages.size();
                    let too_large = find::<BodyTooLarge>(&*error).is_some();
                    let more_room = too_large
                        && reserved.is_some_and(|reserved| self.holdings.cut_off(list, &reserved));
                    let again_so = too_large && (smaller < size || more_room);
                    match again.as_ref().filter(|_| again_so) {
                        Some(same) => request = same.clone(),
                        None => return Err(from_box(error, context())),
                    }
                    if smaller == 1 && !more_room {
                        again = None;
                    }
                }
            }
        }
        Err(Error::new(ErrorKind::Paging, context()).message("no page was short enough to be held"))
    }
}

fn settle(
    response: Response<Bytes>,
    always_empty: bool,
    context: Context,
    secret: Option<&SecretString>,
) -> Result<Response<Bytes>, Error> {
    // Some lists of version 1 have null for nothing. Once, or after other failures, it is a fault; at every one of
    // several attempts it is the answer.
    let nothing = response.status() == StatusCode::OK
        && context.attempts > 1
        && always_empty
        && matches!(Garbled::of(&response), Some(Garbled::NoData))
        && lists_nothing_as_null(context.template);
    if nothing {
        return Ok(response.map(|_| Bytes::from_static(br#"{"success":true,"data":[]}"#)));
    }
    from_response(response, context, secret)
}

fn lists_nothing_as_null(template: &str) -> bool {
    let list = Entity::ALL.iter().find(|entity| entity.endpoint() == template);
    list.is_some_and(|entity| entity.version() == Version::V1 && *entity != Entity::Goals)
}

impl Service<Request<Bytes>> for Api {
    type Response = Response<Bytes>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        // Each call readies a clone of the stack of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("pages", &self.pages).finish_non_exhaustive()
    }
}
