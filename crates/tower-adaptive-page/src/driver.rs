use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{BoxError, Items, MakeRequest, Page, Parsed, WalkError, walker::Walker};

/// What a driver and its receiver share.
struct Channel<T> {
    queue: VecDeque<Result<Page<T>, WalkError>>,
    /// The receiver found the queue empty and waits.
    wanted: bool,
    driver: Option<Waker>,
    receiver: Option<Waker>,
    receiver_gone: bool,
    driver_state: DriverState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DriverState {
    Alive,
    Done,
    Dropped,
}

type Shared<T> = Arc<Mutex<Channel<T>>>;

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, Channel<T>> {
    // Nothing panics under the lock, so a poisoned channel is still whole.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn split<S, B, M, P, T>(
    walker: Walker<S, B, M, P>,
    prefetch: usize,
    queue: VecDeque<Result<Page<T>, WalkError>>,
) -> (PageDriver<S, B, M, P, T>, PageReceiver<T>)
where
    S: Service<Request<B>>,
{
    let channel = Channel {
        queue,
        wanted: false,
        driver: None,
        receiver: None,
        receiver_gone: false,
        driver_state: DriverState::Alive,
    };
    let shared = Arc::new(Mutex::new(channel));
    let end = DriverEnd { shared: Arc::clone(&shared) };
    (PageDriver { walker, prefetch, end }, PageReceiver { shared, over: false })
}

/// Tells the receiver that the driver is gone, however it went.
struct DriverEnd<T> {
    shared: Shared<T>,
}

impl<T> DriverEnd<T> {
    fn end(&self, state: DriverState) {
        let receiver = {
            let mut channel = lock(&self.shared);
            if channel.driver_state != DriverState::Alive {
                return;
            }
            channel.driver_state = state;
            channel.receiver.take()
        };
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }
}

impl<T> Drop for DriverEnd<T> {
    fn drop(&mut self) {
        self.end(DriverState::Dropped);
    }
}

pin_project! {
    /// Fetches the pages of a walk; to be spawned. See [`Pages::into_driver`].
    ///
    /// [`Pages::into_driver`]: crate::Pages::into_driver
    #[must_use = "futures do nothing unless polled"]
    pub struct PageDriver<S, B, M, P, T>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        walker: Walker<S, B, M, P>,
        prefetch: usize,
        end: DriverEnd<T>,
    }
}

impl<S, B, M, P, T> Future for PageDriver<S, B, M, P, T>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
    M: MakeRequest<B>,
    P: FnMut(S::Response) -> Result<Parsed<T>, BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            {
                let mut channel = lock(&this.end.shared);
                if channel.receiver_gone || channel.driver_state != DriverState::Alive {
                    drop(channel);
                    this.end.end(DriverState::Done);
                    return Poll::Ready(());
                }
                // Also while a page is under way: the receiver may leave.
                if !channel.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
                    channel.driver = Some(cx.waker().clone());
                }
                let room = (*this.prefetch).max(usize::from(channel.wanted));
                if !this.walker.is_under_way()
                    && !this.walker.is_over()
                    && channel.queue.len() >= room
                {
                    return Poll::Pending;
                }
            }
            let Poll::Ready(page) = this.walker.as_mut().poll_page(cx) else {
                return Poll::Pending;
            };
            let Some(page) = page else {
                this.end.end(DriverState::Done);
                return Poll::Ready(());
            };
            let receiver = {
                let mut channel = lock(&this.end.shared);
                channel.queue.push_back(page);
                channel.wanted = false;
                channel.receiver.take()
            };
            if let Some(receiver) = receiver {
                receiver.wake();
            }
        }
    }
}

impl<S, B, M, P, T> fmt::Debug for PageDriver<S, B, M, P, T>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageDriver")
            .field("prefetch", &self.prefetch)
            .field("under_way", &self.walker.is_under_way())
            .finish_non_exhaustive()
    }
}

/// A stream of the pages that a [`PageDriver`] fetches.
///
/// Dropping it ends the driver, and the request that is under way.
#[must_use = "streams do nothing unless polled"]
pub struct PageReceiver<T> {
    shared: Shared<T>,
    over: bool,
}

impl<T> PageReceiver<T> {
    /// The items of the pages, one by one.
    pub fn items(self) -> Items<Self, T>
    where
        T: IntoIterator,
    {
        Items::new(self)
    }

    /// How many pages have come and were not taken.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.shared).queue.len()
    }
}

impl<T> Stream for PageReceiver<T> {
    type Item = Result<Page<T>, WalkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let (page, driver) = {
            let mut channel = lock(&self.shared);
            let page = match (channel.queue.pop_front(), channel.driver_state) {
                (Some(page), _) => Poll::Ready(Some(page)),
                (None, DriverState::Alive) => {
                    channel.wanted = true;
                    channel.receiver = Some(cx.waker().clone());
                    Poll::Pending
                }
                (None, DriverState::Done) => Poll::Ready(None),
                (None, DriverState::Dropped) => Poll::Ready(Some(Err(WalkError::DriverDropped))),
            };
            // Room in the queue, or a wish: either is news to the driver.
            (page, channel.driver.take())
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        self.over = matches!(page, Poll::Ready(None | Some(Err(_))));
        page
    }
}

impl<T> Drop for PageReceiver<T> {
    fn drop(&mut self) {
        let (driver, queue) = {
            let mut channel = lock(&self.shared);
            channel.receiver_gone = true;
            (channel.driver.take(), std::mem::take(&mut channel.queue))
        };
        drop(queue);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl<T> fmt::Debug for PageReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageReceiver")
            .field("waiting", &self.waiting())
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
