//! The sync itself: a plan, walks that run at once, and one writer.
//!
//! ```text
//!  walk ─ walk ─ walk ─ …      one task each; pages that fail are asked again later
//!    └──────┼──────┘
//!       bounded channel
//!           │
//!        writer                rows + position + what was spent + page size: one transaction
//!           │                  leases are written here too, and granted only then
//!         SQLite
//! ```

mod busy;
mod circuits;
mod deletions;
mod healing;
mod lease;
mod options;
pub mod plan;
mod record;
mod run;
mod seen;
mod settings;
mod walk;
mod writer;

pub(crate) use self::lease::take_up;
pub use self::{
    healing::{Healed, heal},
    lease::DayLease,
    options::SyncOptions,
    run::{Request, run},
    settings::Settings,
    walk::Finals,
    writer::Tally,
};

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use pipedrive_service::{Client, Entity, ErrorKind, Me, OnLimit};
use ratelimit_ledger::LedgerStatus;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use self::{
    busy::Busy,
    plan::{Basis, Plan, Wanted},
    record::Record,
    walk::{Walk, WalkEnd},
    writer::Writer,
};
use crate::{
    exit::{Code, Failure},
    progress::{Event, Progress},
    store::{FailedWalk, Store, WalkState},
    wall,
};

/// Tokens of the requests that every start makes: `GET /v1/users/me`, which also tells the day's limit.
pub const START_UP_TOKENS: u64 = 2;

/// What to sync, and with what.
#[derive(Debug)]
pub struct Job {
    /// The API.
    pub client: Client,
    /// The database.
    pub store: Store,
    /// The entities.
    pub entities: Vec<Entity>,
    /// All, or what has changed.
    pub wanted: Wanted,
    /// How.
    pub settings: Settings,
    /// Who listens.
    pub progress: Arc<dyn Progress>,
    /// Set to end cleanly.
    pub stop: watch::Receiver<bool>,
    /// Rows in the account, where somebody knows.
    pub totals: Option<BTreeMap<&'static str, u64>>,
    /// Name of the command, for the table of runs.
    pub command: &'static str,
    /// What was asked for, to be written down with the run for whoever resumes it.
    pub options: Option<SyncOptions>,
    /// How the client stands to a ledger, if it shares its budgets; for the picture of the limits.
    pub ledger: Option<watch::Receiver<LedgerStatus>>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Number of the run.
    pub run: i64,
    /// What each walk brought.
    pub walks: BTreeMap<String, Tally>,
    /// Pages asked for, and those that failed finally.
    pub finals: Finals,
    /// Tokens that the plan named, and whether it knew every length.
    pub planned: (u64, bool),
    /// Tokens spent on the day by the limiter's books, at the start (after the first answer) and at the end.
    pub used: (u64, u64),
    /// While four or more walks had pages left.
    pub busy: Option<(Instant, Instant)>,
    /// How long it took.
    pub took: Duration,
    /// Why it is not complete.
    pub failure: Option<Failure>,
}

/// Syncs.
///
/// # Errors
///
/// If it could not begin: the plan does not fit the budget, the token is not accepted, the API does not answer,
/// the database belongs to another company. What goes wrong later is in [`Outcome::failure`].
pub async fn sync(mut job: Job) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    // Whatever the settings say of calls that find no budget: a copy has time.
    job.client = job.client.with_priority(job.settings.priority).with_on_limit(OnLimit::Wait);
    let known = job.store.walks().await?;
    let counts = job.store.counts().await?;
    let swept = job.store.swept().await?;
    let run = job.store.begin_run(job.command).await?;
    if let Some(options) = &job.options {
        let options = serde_json::to_string(options).unwrap_or_default();
        job.store.note_options(run, &options).await?;
    }
    let basis = Basis {
        entities: &job.entities,
        wanted: job.wanted,
        known: &known,
        counts: &counts,
        totals: job.totals.as_ref(),
        page: job.settings.page,
        run,
        start_up: START_UP_TOKENS,
        overlap: job.settings.overlap,
        now: wall::now(),
        limit: job.settings.limit,
        force: job.settings.force,
        swept: &swept,
        sweep_every: job.settings.sweep_every,
    };
    let plan = Plan::new(&basis);
    // What was deleted silently can be found on another day, if this one has no tokens for it.
    let thrift = (plan.sweeps() > 0).then(|| Plan::new(&Basis { sweep_every: None, ..basis }));
    let plans = Plans { plan, thrift };
    let mut outcome = Outcome {
        run,
        walks: BTreeMap::new(),
        finals: Finals::default(),
        planned: (plans.plan.tokens, plans.plan.exact),
        used: (0, 0),
        busy: None,
        took: Duration::ZERO,
        failure: None,
    };
    let result = work(&mut job, plans, &mut outcome).await;
    outcome.took = begun.elapsed();
    outcome.failure = result.as_ref().err().or(outcome.failure.as_ref()).cloned();
    let (code, line) = match &outcome.failure {
        None => (Code::Done, "complete"),
        Some(failure) => (failure.code, failure.line.as_str()),
    };
    job.progress.event(&Event::Finished { outcome: line.to_owned(), exit_code: code.number() });
    let report = serde_json::to_string(&outcome.walks).unwrap_or_default();
    let noted = job.store.end_run(run, code.number(), line, &report).await;
    let closed = job.store.close().await;
    if result.is_ok() {
        // What went wrong before is more telling than that it could not be noted.
        noted.and(closed)?;
    }
    match result {
        Err(failure) if outcome.walks.is_empty() => Err(failure),
        _ => Ok(outcome),
    }
}

/// What to do, and what to do where the day has no tokens for all of it.
struct Plans {
    plan: Plan,
    thrift: Option<Plan>,
}

impl Plans {
    fn least(&self) -> &Plan {
        self.thrift.as_ref().unwrap_or(&self.plan)
    }

    fn choose(self, left: u64) -> Plan {
        match self.thrift {
            Some(thrift) if self.plan.tokens > left => thrift,
            _ => self.plan,
        }
    }
}

async fn work(job: &mut Job, plans: Plans, outcome: &mut Outcome) -> Result<(), Failure> {
    let mut lease = DayLease::open(&job.client, job.settings.lease_chunk, &mut job.store).await?;
    let mut record = Record::take_up(job, outcome.run).await?;
    // Ends with the work beside which it runs.
    let mut shedding = JoinSet::new();
    if let Some(shed) = job.client.shed_by_health() {
        shedding.spawn(shed);
    }
    let result = under_lease(job, plans, &mut lease, outcome, &mut record).await;
    record.keep_last(&mut job.store).await;
    // What was leased and not spent is given back, or every start that fails would shorten the day.
    let returned = lease.close(&mut job.store).await;
    result.and(returned.map_err(Failure::from))
}

async fn under_lease(
    job: &mut Job,
    plans: Plans,
    lease: &mut DayLease,
    outcome: &mut Outcome,
    record: &mut Record,
) -> Result<(), Failure> {
    let told = job.client.config().is_set("robustness.rate_limiting.daily_budget")
        || (job.client.config().is_set("account.plan")
            && job.client.config().is_set("account.seats"));
    if told {
        fits(plans.least(), lease, false, job.settings.across_days)?;
    }

    let mut stop = job.stop.clone();
    let me = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Err(Failure::interrupted()),
        me = lease.during(&mut job.store, job.client.me()) => me?.map_err(start_up)?,
    };
    job.store.claim(&company(&me)).await?;
    outcome.used.0 = lease.used();
    let left = lease.limit().saturating_sub(lease.kept()).saturating_sub(lease.used());
    let mut plan = plans.choose(left);
    outcome.planned = (plan.tokens, plan.exact);
    fits(&plan, lease, true, job.settings.across_days)?;
    by_the_servers_clock(&mut plan, me.server_time, job.settings.overlap);

    job.progress.event(&Event::note(format!("plan: {}", plan.summary())));
    job.store
        .begin_walks(
            plan.walks
                .iter()
                .filter(|walk| !walk.resumed)
                .map(|walk| &walk.state)
                .chain(&plan.recents_from),
        )
        .await?;
    let recents = plan.recents.take();
    let result = walk_all(job, plan, lease, outcome, record).await;
    if let (Ok(()), Some(recents)) = (&result, recents) {
        deletions(job, recents, lease, outcome).await?;
    }
    outcome.used.1 = lease.used();
    result
}

/// Looks for deleted rows when all walks have ended, unless the budget or the user has ended them.
async fn deletions(
    job: &mut Job,
    recents: WalkState,
    lease: &mut DayLease,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let over = |failure: &Failure| matches!(failure.code, Code::Auth | Code::Budget | Code::Usage);
    if *job.stop.borrow() || outcome.failure.as_ref().is_some_and(over) {
        return Ok(());
    }
    let mut stop = job.stop.clone();
    let marked = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        marked = deletions::mark(&job.client, &mut job.store, lease, &*job.progress, recents) => marked?,
    };
    match marked {
        Ok(tally) => {
            outcome.walks.insert(plan::RECENTS.to_owned(), tally);
        }
        Err(error) if deletions::is_withheld(&error) => {
            let line = format!("what was deleted is found only by reading whole lists: {error}");
            job.progress.event(&Event::note(line));
        }
        Err(error) => outcome.failure = outcome.failure.take().or_else(|| Some(error.into())),
    }
    Ok(())
}

/// A server whose clock is behind ours puts times on its changes that lie before our start; a walk must not take them for
/// older than itself.
fn by_the_servers_clock(plan: &mut Plan, server: Option<Timestamp>, overlap: SignedDuration) {
    if let Some(state) = plan.recents.as_mut().filter(|state| state.position.is_none()) {
        // Some servers may refuse to be asked for more than they keep.
        let reach = server.unwrap_or_else(wall::now) - plan::DELETED_SHOWN_FOR;
        let since = state.since.as_deref().and_then(wall::parse).map(|since| since.max(reach));
        state.since = since.map(wall::text);
    }
    let Some(server) = server else { return };
    if let Some(state) = &mut plan.recents_from {
        let from = plan::recents_since(server, overlap);
        let since = state.since.as_deref().and_then(wall::parse).map(|since| since.min(from));
        state.since = since.map(wall::text);
    }
    let new = plan.walks.iter_mut().filter(|walk| !walk.resumed).map(|walk| &mut walk.state);
    let recents = plan.recents.as_mut().filter(|state| state.position.is_none());
    for state in new.chain(recents) {
        if wall::parse(&state.started_at).is_some_and(|started| server < started) {
            state.started_at = wall::text(server);
        }
    }
}

async fn walk_all(
    job: &mut Job,
    plan: Plan,
    lease: &mut DayLease,
    outcome: &mut Outcome,
    record: &mut Record,
) -> Result<(), Failure> {
    // One flag ends all: the user's signal, or the first walk that cannot go on.
    let (halt, halted) = watch::channel(false);
    let halt = Arc::new(halt);
    record.until(halted.clone());
    let (sender, receiver) = mpsc::channel(2 * plan.walks.len().max(1));
    let places = Arc::new(Semaphore::new(job.settings.concurrency.max(1)));
    let busy = Arc::new(Busy::new(plan.walks.len()));
    let mut tasks = JoinSet::new();
    // Closed when the walk ends.
    let (mut open, ends): (Vec<_>, Vec<_>) =
        plan.walks.iter().map(|_| watch::channel(())).map(|(open, end)| (Some(open), end)).unzip();
    for (index, walk) in plan.walks.iter().enumerate() {
        let open = open[index].take();
        let after = plan::after(&plan.walks, index).map(|before| ends[before].clone());
        job.progress.event(&Event::Started {
            walk: walk.state.walk.clone(),
            rows: walk.rows_expected,
            resumed: walk.resumed,
            sweep: walk.sweep,
        });
        let walk = Walk {
            index,
            plan: walk.clone(),
            client: job.client.clone(),
            settings: job.settings.clone(),
            pages: sender.clone(),
            stop: halted.clone(),
            progress: Arc::clone(&job.progress),
            places: Arc::clone(&places),
            after,
        };
        let (busy, halt) = (Arc::clone(&busy), Arc::clone(&halt));
        tasks.spawn(async move {
            let (end, finals) = walk.run().await;
            drop(open);
            busy.one_less();
            let failure = match end {
                WalkEnd::Failed(error) => {
                    let failure = Failure::from(&error);
                    let category = error.class().name().to_owned();
                    // Another page may still come; a token that is wrong or a day that is spent may not.
                    if matches!(failure.code, Code::Auth | Code::Budget | Code::Usage) {
                        halt.send_replace(true);
                    }
                    Some((failure, category))
                }
                _ => None,
            };
            (index, failure, finals)
        });
    }
    drop(sender);
    let mut signal = job.stop.clone();
    let relay = {
        let halt = Arc::clone(&halt);
        tokio::spawn(async move {
            let _ = signal.wait_for(|stop| *stop).await.map(|_| halt.send_replace(true));
        })
    };
    let mut walks = plan.walks;
    let pages = job.client.pages().clone();
    let quarantined = job.store.quarantined().await?;
    let writer = Writer {
        quarantined,
        begun: Instant::now(),
        store: &mut job.store,
        lease,
        page_size: &|| Some(pages.size()),
        progress: &*job.progress,
        record: &mut *record,
    };
    let written = writer.run(&mut walks, receiver).await;
    // Before all are told to end.
    record.keep_last(&mut job.store).await;
    relay.abort();
    // If the writer failed, nobody leases any more: walks that wait for tokens would wait for ever.
    halt.send_replace(true);
    let mut failures = Vec::new();
    let mut failed = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (index, failure, finals) = ended
            .map_err(|error| Failure::new(Code::Other, format!("a walk broke off: {error}")))?;
        if let Some((failure, category)) = failure {
            failed.push((index, category, failure.line.clone()));
            failures.push(failure);
        }
        outcome.finals.asked += finals.asked;
        outcome.finals.failed += finals.failed;
        outcome.finals.refused += finals.refused;
    }
    outcome.busy = busy.interval();
    outcome.walks = written?;
    for (index, category, reason) in failed {
        let WalkState { walk, entity, .. } = walks[index].state.clone();
        let (at, run) = (wall::now_text(), outcome.run);
        let failed = FailedWalk { walk, entity, category, reason, at, run };
        job.store.note_failed_walk(&failed).await?;
    }
    // The most telling one: what a person must put right goes before what time may heal.
    failures.sort_by_key(|failure| match failure.code {
        Code::Auth => 0,
        Code::Budget => 1,
        Code::Usage => 2,
        Code::Unavailable => 3,
        Code::Other | Code::Done => 4,
    });
    let signalled = *job.stop.borrow();
    outcome.failure = failures.into_iter().next().or_else(|| signalled.then(Failure::interrupted));
    Ok(())
}

/// Why the first request failed. Every Pipedrive has its path, so a host that does not know it is another.
fn start_up(error: pipedrive_service::Error) -> Failure {
    if matches!(error.kind(), ErrorKind::NotFound { .. }) {
        let line = format!("{error}. Check PIPEDRIVE_COMPANY_DOMAIN or PIPEDRIVE_BASE_URL.");
        return Failure::new(Code::Unavailable, line);
    }
    error.into()
}

/// What a database is bound to: the identifier of the company that the token belongs to.
#[must_use]
pub fn company(me: &Me) -> String {
    me.company_id
        .map(|id| id.to_string())
        .or_else(|| me.company_domain.clone())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Whether the day's budget is enough, said before anything is spent on the plan.
fn fits(
    plan: &Plan,
    lease: &DayLease,
    server_told: bool,
    across_days: bool,
) -> Result<(), Failure> {
    let kept = lease.kept();
    let of = if kept > 0 { " (less what is kept for urgent calls)" } else { "" };
    let limit = lease.limit().saturating_sub(kept);
    let least: u64 = START_UP_TOKENS
        + plan.walks.iter().map(|walk| u64::from(walk.entity.list_cost())).sum::<u64>();
    let tokens = plan.tokens;
    if limit < least || (limit < tokens && !across_days) {
        let hint = if limit < least {
            "ask for fewer entities"
        } else {
            "ask for fewer entities, or pass --across-days"
        };
        return Err(Failure::new(
            Code::Budget,
            format!(
                "the daily budget of {limit} tokens{of} is too small: the plan needs {tokens}; {hint}"
            ),
        ));
    }
    // Before the server has told, what a killed run had leased counts as spent, which may be too much.
    let remaining = limit.saturating_sub(lease.used());
    if server_told && remaining < least.min(tokens) {
        let again_at = lease.resets_at();
        let when = again_at.map_or_else(
            || "after the daily reset".to_owned(),
            |at| format!("at {}", wall::text(at)),
        );
        let line = format!(
            "{remaining} of {limit} tokens{of} are left today, and the plan needs {tokens}; it can go on {when}"
        );
        return Err(Failure { again_at, ..Failure::new(Code::Budget, line) });
    }
    Ok(())
}
