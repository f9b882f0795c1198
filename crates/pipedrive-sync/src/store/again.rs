//! A connection to a server that is lost while a sync is under way, and made anew.
//!
//! The lock goes with the connection, so another sync may have taken the database meanwhile, or the server that answers
//! now may be another one that has not seen what was committed last. Work goes on only where everything is as it was left.
//! Whether a transaction that was cut off at its very end was committed is told by a mark that it has written.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Store, StoreError,
    database::Place,
    file::InPlace,
    link::{Conn, Link},
    postgres,
};

/// The key in `meta` under which the last commit has left its mark.
const MARK: &str = "commit";

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a server may take over one thing once all is to end.
const GRACE: Duration = Duration::from_secs(5);

/// What must be found again.
#[derive(Debug, Default)]
pub(super) struct Thread {
    /// The run that was begun last.
    pub(super) run: Option<i64>,
    commits: u64,
    /// What the last commit has left; none before the first.
    mark: Option<String>,
    /// Set to end: then nobody waits for a server.
    stop: Option<watch::Receiver<bool>>,
    /// The server did not come back in time, and is waited for no more.
    over: bool,
}

/// How long one piece of work has been without its connection.
#[derive(Debug, Default)]
pub(super) struct Lost {
    since: Option<Instant>,
    pause: Duration,
}

/// Work that is given up if its server stands still while all is to end, and was for nothing if its file is gone.
macro_rules! guarded {
    ($store:ident, $work:expr) => {{
        let stands_still = $store.thread.stands_still();
        tokio::select! {
            biased;
            done = async { $work.await } => $store.in_place(done),
            () = stands_still => Err($store.given_up()),
        }
    }};
}
pub(super) use guarded;

/// Repeats work that may be repeated, as long as its connection comes back.
macro_rules! repeated {
    ($store:ident, $work:expr) => {{
        let mut lost = $crate::store::again::Lost::default();
        loop {
            match $crate::store::again::guarded!($store, $work) {
                Err(error) => $store.come_back(&mut lost, error).await?,
                done => break done,
            }
        }
    }};
}
pub(super) use repeated;

/// Repeats a transaction that leaves a mark, unless it was committed and only its answer was lost.
macro_rules! marked {
    ($store:ident, |$mark:ident| $work:expr) => {{
        let ($mark, mut lost) = ($store.thread.next_mark(), $crate::store::again::Lost::default());
        while let Err(error) = $crate::store::again::guarded!($store, $work) {
            if $store.come_back_to(&mut lost, error, Some(&$mark)).await? {
                break;
            }
        }
        $store.thread.committed($mark);
    }};
}
pub(super) use marked;

impl Thread {
    /// The mark of a commit, unlike that of any other.
    pub(super) fn next_mark(&mut self) -> String {
        self.commits += 1;
        format!("{}-{}-{}", self.run.unwrap_or_default(), std::process::id(), self.commits)
    }

    pub(super) fn committed(&mut self, mark: String) {
        self.mark = Some(mark);
    }

    /// Ends when a server that is asked something now should have answered, if all is to end; else never.
    pub(super) fn stands_still(&self) -> impl Future<Output = ()> + use<> {
        let (stop, over) = (self.stop.clone(), self.over);
        async move {
            if over {
                return;
            }
            if let Some(mut stop) = stop
                && stop.wait_for(|stop| *stop).await.is_ok()
            {
                return sleep(GRACE).await;
            }
            std::future::pending().await
        }
    }

    async fn stopped(&mut self) {
        if let Some(stop) = &mut self.stop
            && stop.wait_for(|stop| *stop).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

/// Leaves a mark with a transaction. A file cannot be lost, and needs none.
pub(super) async fn leave(mut link: Link<'_>, mark: &str) -> Result<(), StoreError> {
    if let Link::Postgres(_) = link {
        let sql = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2";
        link.execute(sql, &[MARK.into(), mark.into()]).await?;
    }
    Ok(())
}

impl Store {
    /// Gives up waiting for a server that went away when this is set, and soon after that for one that stands still. A
    /// file is written to the end.
    pub fn stop_with(&mut self, stop: watch::Receiver<bool>) {
        if let Place::Server(_) = self.database.0 {
            self.thread.stop = Some(stop);
        }
    }

    /// What was done, unless the file is not where it was.
    pub(super) fn in_place<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        let done = done?;
        self.place.as_ref().map_or(Ok(()), InPlace::check)?;
        Ok(done)
    }

    /// The server stands still: it is asked nothing more.
    pub(super) fn given_up(&mut self) -> StoreError {
        self.thread.over = true;
        let text = "it does not answer, and all is to end";
        StoreError::Lost(std::io::Error::new(std::io::ErrorKind::TimedOut, text).into())
    }

    /// Connects anew if that is what is wrong; else gives the error back.
    pub(super) async fn come_back(
        &mut self,
        lost: &mut Lost,
        error: StoreError,
    ) -> Result<(), StoreError> {
        self.come_back_to(lost, error, None).await.map(drop)
    }

    /// The same for work that leaves a mark. Says whether the mark is there.
    pub(super) async fn come_back_to(
        &mut self,
        lost: &mut Lost,
        mut error: StoreError,
        mark: Option<&str>,
    ) -> Result<bool, StoreError> {
        let Place::Server(server) = self.database.0.clone() else { return Err(error) };
        if !matches!(error, StoreError::Lost(_)) || self.thread.over {
            return Err(error);
        }
        let now = Instant::now();
        let until = *lost.since.get_or_insert(now) + Duration::from_secs(server.reconnect_s.into());
        loop {
            lost.pause = (lost.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            let pause = lost.pause.min(until.saturating_duration_since(Instant::now()));
            if pause.is_zero() {
                self.thread.over = true;
                return Err(error);
            }
            tracing::warn!(
                target: "pipedrive_sync::store", %error, pause_ms = pause.as_millis(),
                "the connection to the database was lost; it is made anew"
            );
            tokio::select! {
                biased;
                () = self.thread.stopped() => {
                    self.thread.over = true;
                    return Err(error);
                }
                () = sleep(pause) => {}
            }
            match postgres::open(&server, &self.database).await {
                Ok(conn) => self.conn = Conn::Postgres(Box::new(conn)),
                // Of the session that was lost the server may not know yet, so it may be our own lock.
                Err(refused @ StoreError::Locked { .. }) => {
                    error = refused;
                    continue;
                }
                Err(refused) if refused.is_transient() => continue,
                Err(refused) => return Err(refused),
            }
            match self.found(mark).await {
                Err(StoreError::Lost(_)) => {}
                found => return found,
            }
        }
    }

    /// Whether the mark is there, if everything else is as it was left.
    async fn found(&mut self, mark: Option<&str>) -> Result<bool, StoreError> {
        let mut link = self.conn.link();
        let sql = "SELECT max(id) AS run FROM runs";
        let run = link.row(sql, &[], |row| row.opt_int("run")).await?.flatten();
        let sql = "SELECT value FROM meta WHERE key = $1";
        let found = link.row(sql, &[MARK.into()], |row| row.text("value")).await?;
        let committed = mark.is_some() && found.as_deref() == mark;
        let left = committed || self.thread.mark.is_none() || found == self.thread.mark;
        if !left || self.thread.run.is_some_and(|ours| run != Some(ours)) {
            return Err(StoreError::Overtaken { database: self.database.clone() });
        }
        Ok(committed)
    }
}
