//! One walk: pages from the API to the writer, asked again when they fail.

use std::{pin::pin, sync::Arc};

use futures_util::StreamExt as _;
use pipedrive_service::{Client, Error, ErrorKind, ListQuery, RowsPage, WalkOptions};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, sleep_until},
};
use tower_adaptive_page::Position;
use tower_circuit::State;

use super::{Settings, plan::WalkPlan};
use crate::{
    exit::{Code, Failure},
    progress::{Event, Progress},
    store::Mode,
    wall,
};

/// A page on its way to the writer.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) walk: usize,
    pub(crate) page: RowsPage,
    /// The list ends with this page.
    pub(crate) last: bool,
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) enum WalkEnd {
    /// All pages were handed over.
    Done,
    /// `--limit` was reached.
    Limited,
    /// Told to stop.
    Stopped,
    /// The writer has gone away; it knows why.
    Closed,
    /// It cannot go on.
    Failed(Error),
}

/// Pages that failed finally, to be asked again later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finals {
    /// Pages asked for, each once, however many attempts it took.
    pub asked: u64,
    /// Of these, the ones that failed after all attempts.
    pub failed: u64,
    /// Of these, the ones that were not sent: refused by our own circuit or limiter.
    pub refused: u64,
}

pub(crate) struct Walk {
    pub(crate) index: usize,
    pub(crate) plan: WalkPlan,
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) pages: mpsc::Sender<Delivery>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) progress: Arc<dyn Progress>,
    /// How many walks may be under way at once.
    pub(crate) places: Arc<Semaphore>,
    /// Closed when the walk before has handed over its last page.
    pub(crate) after: Option<watch::Receiver<()>>,
}

impl Walk {
    pub(crate) async fn run(mut self) -> (WalkEnd, Finals) {
        let mut finals = Finals::default();
        let mut stop = self.stop.clone();
        let places = Arc::clone(&self.places);
        let end = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => WalkEnd::Stopped,
            end = async {
                if let Some(mut before) = self.after.take() {
                    while before.changed().await.is_ok() {}
                }
                let _place = places.acquire().await;
                self.rounds(&mut finals).await
            } => end,
        };
        (end, finals)
    }

    async fn rounds(&mut self, finals: &mut Finals) -> WalkEnd {
        // A position that cannot be read was written by another version of this program: what was read
        // is read again, and nothing is lost.
        let mut position: Option<Position> =
            self.plan.state.position.as_deref().and_then(|text| text.parse().ok());
        let mut resumed = position.is_some();
        let mut left = self.settings.limit;
        let mut rounds = 0;
        let mut patience = Instant::now() + self.settings.patience;
        loop {
            let before = finals.asked;
            let error = match self.once(&mut position, &mut left, finals).await {
                Ok(end) => return end,
                Err(error) => error,
            };
            if finals.asked > before + 1 {
                rounds = 0;
                patience = Instant::now() + self.settings.patience;
            }
            finals.failed += 1;
            finals.refused += u64::from(error.is_local());
            let failure = Failure::from(&error);
            let refused =
                matches!(error.kind(), ErrorKind::BadRequest { .. } | ErrorKind::NotFound { .. });
            if resumed && finals.asked == 1 && refused || error.is_lost() && position.is_some() {
                // The API knows the position of an earlier run no longer, or of the rows before it none is left: the
                // walk begins again.
                tracing::info!(target: "pipedrive_sync::walk", walk = self.plan.state.walk, %error, "position not accepted");
                (position, resumed) = (None, false);
                continue;
            }
            // A server that repeats its cursor may stop doing so.
            let again = error.is_retryable() || matches!(error.kind(), ErrorKind::Paging);
            if !again || failure.code == Code::Budget {
                return WalkEnd::Failed(error);
            }
            // A refusal of our own says nothing about the page: only time bounds it.
            rounds += u32::from(!error.is_local());
            let pause = self.settings.pause(rounds).max(error.retry_after().unwrap_or_default());
            let until = Instant::now() + pause;
            if rounds > self.settings.rounds || until > patience {
                return WalkEnd::Failed(error);
            }
            self.progress.event(&Event::Paused {
                walk: self.plan.state.walk.clone(),
                reason: failure.line.clone(),
                pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            });
            self.sleep(until, error.is_local()).await;
        }
    }

    /// Pauses; after a refusal of ours no longer than until the circuits close, by themselves or by hand.
    async fn sleep(&self, until: Instant, local: bool) {
        let circuits = self.client.circuits();
        let shut = local && circuits.state() != State::Closed;
        tokio::select! {
            () = sleep_until(until) => {}
            () = circuits.closed(), if shut => {}
        }
    }

    /// Walks until the end or the first page that fails finally.
    async fn once(
        &self,
        position: &mut Option<Position>,
        left: &mut Option<u64>,
        finals: &mut Finals,
    ) -> Result<WalkEnd, Error> {
        if let Some(left) = left {
            return self.limited(position, left, finals).await;
        }
        let mut options = WalkOptions::new()
            .from(position.clone())
            .prefetch(self.settings.prefetch)
            .at_once(self.settings.at_once, self.known_rows())
            .hold_pages()
            .updated_since(self.since());
        if self.plan.deleted {
            options = options.parameter("status", "deleted");
        }
        let mut pages = pin!(self.client.walk(self.plan.entity, options));
        loop {
            finals.asked += 1;
            let Some(page) = pages.next().await.transpose()? else { return Ok(WalkEnd::Done) };
            if let Some(end) = self.hand_over(page, position).await {
                return Ok(end);
            }
        }
    }

    /// Page by page, none larger than what is still wanted.
    async fn limited(
        &self,
        position: &mut Option<Position>,
        left: &mut u64,
        finals: &mut Finals,
    ) -> Result<WalkEnd, Error> {
        while *left > 0 {
            let most = u32::try_from(*left).unwrap_or(u32::MAX).min(self.plan.entity.max_limit());
            let mut query =
                ListQuery::new().from(position.clone()).limit(most).updated_since(self.since());
            if self.plan.deleted {
                query = query.parameter("status", "deleted");
            }
            finals.asked += 1;
            let page = self.client.list(self.plan.entity, query).await?;
            *left = left.saturating_sub((page.rows.len() + page.rejected.len()) as u64);
            if let Some(end) = self.hand_over(page, position).await {
                return Ok(end);
            }
        }
        Ok(WalkEnd::Limited)
    }

    /// How far the whole list is known to go. A page of another size than the one before lies elsewhere, so while pages
    /// are not as large as they can be nothing is known.
    fn known_rows(&self) -> u64 {
        let (pages, state) = (self.client.pages().status(), &self.plan.state);
        let left = self
            .plan
            .rows_expected
            .filter(|_| pages.size >= pages.max && state.mode == Mode::Full && !self.plan.deleted);
        left.map_or(0, |left| state.rows + left)
    }

    fn since(&self) -> Option<jiff::Timestamp> {
        self.plan.state.since.as_deref().and_then(wall::parse)
    }

    async fn hand_over(&self, page: RowsPage, position: &mut Option<Position>) -> Option<WalkEnd> {
        let next = page.next.clone();
        let delivery = Delivery { walk: self.index, page, last: next.is_none() };
        if self.pages.send(delivery).await.is_err() {
            return Some(WalkEnd::Closed);
        }
        let last = next.is_none();
        *position = next;
        last.then_some(WalkEnd::Done)
    }
}
