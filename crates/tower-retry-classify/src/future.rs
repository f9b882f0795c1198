use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// The wait before a retry. A wait of nothing sets no timer.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct RetryDelay {
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl RetryDelay {
    /// `until` is `now` plus the wait.
    pub(crate) fn new(wait: Duration, until: Instant) -> Self {
        Self { sleep: (!wait.is_zero()).then(|| sleep_until(until)) }
    }
}

impl Future for RetryDelay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().sleep.as_pin_mut().map_or(Poll::Ready(()), |sleep| sleep.poll(cx))
    }
}
