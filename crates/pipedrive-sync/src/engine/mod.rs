//! The sync itself: a plan, walks that run at once, and one writer.
//!
//! ```text
//!  walk ─ walk ─ walk ─ …      one task each; pages that fail are asked again later
//!    └──────┼──────┘
//!       bounded channel
//!           │
//!        writer                rows + position + what was spent + page size: one transaction
//!           │                  leases are written here too, and granted only then
//!        database
//! ```

mod after;
mod busy;
mod circuits;
mod deletions;
mod fits;
mod healing;
mod lease;
mod options;
pub mod plan;
mod record;
mod run;
mod seen;
mod settings;
mod spared;
mod walk;
mod walks;
mod writer;

pub use self::{
    healing::{Healed, heal},
    lease::DayLease,
    options::SyncOptions,
    run::{Request, run},
    settings::Settings,
    walk::Finals,
    writer::Tally,
};
pub(crate) use self::{lease::take_up, options::entities_of};

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pipedrive_service::{Client, Entity, ErrorKind, Me, OnLimit};
use ratelimit_ledger::LedgerStatus;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use self::{
    fits::{Plans, fits},
    plan::{Basis, Plan, Wanted},
    record::Record,
    walks::walk_all,
};
use crate::{
    exit::{Code, Failure},
    progress::{Event, Progress},
    store::{Counts, Store},
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
    /// Rows held in the end, by entity, and of these the deleted ones.
    pub counts: Counts,
    /// Whether each list was to be read only so far.
    pub limited: bool,
    /// Why it is not complete.
    pub failure: Option<Failure>,
}

impl Outcome {
    /// How it ended.
    #[must_use]
    pub fn in_words(&self) -> (Code, &str) {
        match &self.failure {
            Some(failure) => (failure.code, &failure.line),
            None if self.limited && self.walks.values().any(|walk| !walk.done) => {
                (Code::Done, "stopped at --limit")
            }
            None => (Code::Done, "complete"),
        }
    }
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
    job.store.stop_with(job.stop.clone());
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
        by_recents: &job.settings.by_recents,
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
        counts: Counts::new(),
        limited: job.settings.limit.is_some(),
        failure: None,
    };
    let result = work(&mut job, plans, &mut outcome).await;
    outcome.took = begun.elapsed();
    outcome.failure = result.as_ref().err().or(outcome.failure.as_ref()).cloned();
    let (code, line) = outcome.in_words();
    job.progress.event(&Event::Finished { outcome: line.to_owned(), exit_code: code.number() });
    let report = serde_json::to_string(&outcome.walks).unwrap_or_default();
    let noted = job.store.end_run(run, code.number(), line, &report).await;
    let counted = job.store.counts().await;
    let closed = job.store.close().await;
    if result.is_ok() {
        // What went wrong before is more telling than that it could not be noted.
        noted.and(closed)?;
        outcome.counts = counted?;
    }
    match result {
        Err(failure) if outcome.walks.is_empty() => Err(failure),
        _ => Ok(outcome),
    }
}

async fn work(job: &mut Job, plans: Plans, outcome: &mut Outcome) -> Result<(), Failure> {
    let mut lease = DayLease::open(&job.client, job.settings.lease_chunk, &mut job.store).await?;
    let mut record = Record::take_up(job, outcome.run).await?;
    // Ends with the work beside which it runs.
    let mut beside = JoinSet::new();
    if let Some(shed) = job.client.shed_by_health() {
        beside.spawn(shed);
    }
    if let Some(watch) = job.client.watch_error_categories() {
        beside.spawn(watch);
    }
    if let Some(host) = job.client.host() {
        beside.spawn(host.watch());
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
    let mut plan = plans.choose(lease.left());
    outcome.planned = (plan.tokens, plan.exact);
    fits(&plan, lease, true, job.settings.across_days)?;
    plan.by_the_servers_clock(wall::now(), me.server_time, job.settings.overlap);

    job.progress.event(&Event::note(format!("plan: {}", plan.summary())));
    let new = plan.walks.iter().filter(|walk| !walk.resumed).map(|walk| &walk.state);
    // Gathered, or the whole sync could not be sent to another thread.
    let new: Vec<_> = new.chain(&plan.recents_from).collect();
    job.store.begin_walks(new).await?;
    let recents = plan.recents.take();
    let spared = std::mem::take(&mut plan.by_recents);
    let result = walk_all(job, plan, lease, outcome, record).await;
    if let (Ok(()), Some(recents)) = (&result, recents) {
        let lists = after::look(job, recents, spared, lease, outcome).await?;
        if !lists.is_empty() {
            after::read(job, lists, lease, outcome, record).await?;
        }
    }
    outcome.used.1 = lease.used();
    result
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
