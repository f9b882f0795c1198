use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::sync::oneshot;

/// Dropped, it stops the loop that it came with.
///
/// The loop ends at its next turn, giving up what it waits for; it does not outlive the handle
/// by more than one poll. [`detach`](Self::detach) lets it run without.
#[derive(Debug)]
#[must_use = "the loop stops when its handle is dropped"]
pub struct LoopHandle {
    detach: oneshot::Sender<()>,
}

impl LoopHandle {
    /// Stops the loop; the same as dropping the handle.
    pub fn stop(self) {}

    /// Lets the loop run until its future is dropped.
    pub fn detach(self) {
        // A loop that is gone already needs no handle.
        let _ = self.detach.send(());
    }

    /// Whether the future of the loop is gone, by its end or a drop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.detach.is_closed()
    }
}

pin_project! {
    struct Stoppable<F> {
        #[pin]
        work: F,
        // `None` once it was detached.
        handle: Option<oneshot::Receiver<()>>,
    }
}

/// `work`, until the handle is dropped.
pub(crate) fn stoppable<F: Future<Output = ()>>(
    work: F,
) -> (LoopHandle, impl Future<Output = ()> + use<F>) {
    let (detach, handle) = oneshot::channel();
    (LoopHandle { detach }, Stoppable { work, handle: Some(handle) })
}

impl<F: Future<Output = ()>> Future for Stoppable<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Some(handle) = this.handle {
            match Pin::new(handle).poll(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => *this.handle = None,
                Poll::Ready(Err(_dropped)) => return Poll::Ready(()),
            }
        }
        this.work.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[test]
    fn it_ends_when_its_handle_is_dropped_and_not_before() {
        let (handle, work) = stoppable(pending());
        let mut work = task::spawn(work);
        assert_pending!(work.poll());
        assert!(!handle.is_stopped());
        handle.stop();
        assert!(work.is_woken());
        assert_ready!(work.poll());
    }

    #[test]
    fn detached_it_goes_on_and_a_dropped_future_is_seen() {
        let (handle, work) = stoppable(pending());
        let mut work = task::spawn(work);
        assert_pending!(work.poll());
        handle.detach();
        assert_pending!(work.poll());
        assert_pending!(work.poll());

        let (handle, work) = stoppable(pending());
        drop(work);
        assert!(handle.is_stopped());
    }
}
