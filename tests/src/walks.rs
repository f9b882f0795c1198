//! Walks that go on where they failed.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use pipedrive_service::{Client, Entity, Error, Position, Row, WalkOptions};
use tokio::time::{Instant, sleep};

/// A walk that fails so often will never end.
const MOST_FAILURES: usize = 1_000;

/// What a walk has read.
#[derive(Debug)]
pub struct Walked {
    /// Every row, in the order in which it came.
    pub rows: Vec<Row>,
    /// Pages read.
    pub pages: u64,
    /// The pages that failed finally, each of which was asked for again later.
    pub failures: Vec<Error>,
    /// When the last page had come.
    pub ended: Instant,
}

impl Walked {
    /// Pages that failed because the API did, not because we refused to ask.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.iter().filter(|error| !error.is_local()).count() as u64
    }
}

/// Reads a list to its end, from where the options say. A page that fails is asked for again, no sooner than its error says.
///
/// # Panics
///
/// If a page fails with an error that asking again cannot mend, or a thousand of them fail.
pub async fn walk_all(client: Client, entity: Entity, options: WalkOptions) -> Walked {
    let mut walked =
        Walked { rows: Vec::new(), pages: 0, failures: Vec::new(), ended: Instant::now() };
    let mut position: Option<Position> = None;
    loop {
        let options = match &position {
            Some(position) => options.clone().from(position.clone()),
            None => options.clone(),
        };
        let mut pages = pin!(client.walk(entity, options));
        let error = loop {
            match pages.next().await {
                None => {
                    walked.ended = Instant::now();
                    return walked;
                }
                Some(Ok(page)) => {
                    walked.pages += 1;
                    walked.rows.extend(page.rows);
                    position = page.next;
                }
                Some(Err(error)) => break error,
            }
        };
        assert!(error.is_retryable(), "{entity}: {error:?}");
        let pause = error.retry_after().unwrap_or(Duration::from_secs(1));
        walked.failures.push(error);
        assert!(walked.failures.len() < MOST_FAILURES, "{entity}: {:?}", walked.failures.last());
        sleep(pause).await;
    }
}
