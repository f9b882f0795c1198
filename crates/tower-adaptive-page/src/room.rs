use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{MemoryError, PageController};

pin_project! {
    /// Waits until there is memory for a page; see [`PageController::room`].
    ///
    /// # Cancellation
    ///
    /// It holds nothing; dropping it is safe at any time.
    #[must_use = "futures do nothing unless polled"]
    pub struct Room {
        controller: PageController,
        // Since the first poll; a future that nobody polls does not wait.
        since: Option<Instant>,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Room {
    pub(crate) fn new(controller: PageController) -> Self {
        Self { controller, since: None, sleep: None }
    }
}

impl Future for Room {
    type Output = Result<u32, MemoryError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
                ready!(sleep.poll(cx));
            }
            let now = Instant::now();
            let since = *this.since.get_or_insert(now);
            let memory = match this.controller.admit(now) {
                Ok(size) => return Poll::Ready(Ok(size)),
                Err(memory) => memory,
            };
            let end = since + this.controller.max_pause();
            if now >= end {
                return Poll::Ready(Err(this.controller.refusal(memory, now - since)));
            }
            let next = (now + this.controller.sample_every()).min(end);
            this.sleep.set(Some(sleep_until(next)));
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("since", &self.since).finish_non_exhaustive()
    }
}
