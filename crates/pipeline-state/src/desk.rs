//! What a worker has before it: items that wait, work under way, and what is finished.

use std::{collections::VecDeque, future::Future, pin::pin};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::{Item, Update, WorkOptions};

/// What a worker has before it.
pub(crate) struct Desk<F, W> {
    pub(crate) options: WorkOptions,
    /// Items in a group.
    pub(crate) size: usize,
    pub(crate) work: W,
    /// Claimed and not begun.
    pub(crate) waiting: VecDeque<Item>,
    pub(crate) at_work: FuturesUnordered<F>,
    pub(crate) finished: Vec<Update>,
    /// When the first of `finished` was.
    pub(crate) since: Instant,
}

impl<F, W> Desk<F, W>
where
    W: FnMut(Vec<Item>) -> F,
    F: Future<Output = Vec<Update>>,
{
    pub(crate) fn begin(&mut self) {
        while self.at_work.len() < self.options.concurrency && !self.waiting.is_empty() {
            let size = self.size.min(self.waiting.len());
            let items = self.waiting.drain(..size).collect();
            self.at_work.push((self.work)(items));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.at_work.is_empty() && self.finished.is_empty()
    }

    pub(crate) fn should_write(&self) -> bool {
        let idle = self.at_work.is_empty() && self.waiting.is_empty();
        match self.finished.len() {
            0 => false,
            count => {
                count >= self.options.batch || idle || self.since.elapsed() >= self.options.linger
            }
        }
    }

    fn finish(&mut self, updates: Vec<Update>) {
        if self.finished.is_empty() {
            self.since = Instant::now();
        }
        self.finished.extend(updates);
        self.begin();
    }

    /// Until an item is finished, or those that are have waited long enough.
    pub(crate) async fn next(&mut self) {
        let linger = async {
            match self.finished.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep_until(self.since + self.options.linger).await,
            }
        };
        tokio::select! {
            biased;
            Some(updates) = self.at_work.next() => self.finish(updates),
            () = linger => {}
        }
    }

    /// Goes on with the work while something else is waited for.
    pub(crate) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                done = &mut other => return done,
                Some(updates) = self.at_work.next() => self.finish(updates),
            }
        }
    }
}
