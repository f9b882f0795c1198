//! `pipedrive sync --plan` and `--dry-run`

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use pipedrive_service::{
    Client, Config, Priority,
    recents::{self, RECENTS},
};
use serde::Serialize;
use tokio::time::Instant;
use tower_ratelimit_tokens::Pace;

use super::{common, limits::Stored};
use crate::{
    cli,
    engine::{
        START_UP_TOKENS, company,
        plan::{Basis, Plan, WHOLE_BY_RECENTS, WalkPlan},
        take_up,
    },
    exit::{Code, Failure},
    ledger,
    limits::span,
    store::{Counts, Database, Mode, note_spent},
    table::table,
    wall,
};

/// The path of the request that every start makes.
const START_UP: &str = "/api/v1/users/me";

/// What a sync would cost, and when it could end.
#[derive(Debug, Serialize)]
struct Report {
    base_url: String,
    database: Database,
    /// Whether the database is there.
    exists: bool,
    at: Timestamp,
    walks: Vec<Line>,
    /// The request that every start makes.
    start_up: Line,
    /// Requests in all, the start-up's among them.
    requests: u64,
    /// Tokens in all, the start-up's among them.
    tokens: u64,
    /// Whether that is the price; the least of it where a walk's length is not known.
    exact: bool,
    /// What asking the server for its count has cost.
    asked_tokens: u64,
    /// Whether nobody was asked at all.
    dry_run: bool,
    day: Day,
    /// Requests in two seconds.
    burst_limit: u64,
    /// When the last request could be sent at the earliest; none if never.
    ends_at: Option<Timestamp>,
    /// Which budget is the last to let go.
    ends_by: Option<String>,
    outcome: String,
    exit_code: u8,
}

/// What one walk would cost.
#[derive(Debug, Default, Serialize)]
struct Line {
    walk: String,
    mode: &'static str,
    resumed: bool,
    sweep: bool,
    rows: Option<u64>,
    requests: u64,
    tokens: u64,
    exact: bool,
}

/// The day's tokens.
#[derive(Debug, Serialize)]
struct Day {
    limit: u64,
    used: u64,
    /// Kept for calls that are more urgent than a sync.
    kept: u64,
    /// Left for a sync.
    left: u64,
    needed: u64,
    fits: bool,
    resets_at: Option<Timestamp>,
}

pub(super) async fn run(args: cli::Sync) -> Result<(), Failure> {
    let json = args.output.json;
    let found = plan(&args).await;
    let failure = match found {
        Ok(report) => {
            if json || !args.output.quiet {
                common::print(json, &report, &report.to_string());
            }
            if report.exit_code == Code::Done.number() {
                return Ok(());
            }
            return Err(Failure::new(Code::Budget, report.outcome));
        }
        Err(failure) => failure,
    };
    common::print_failure(json, &failure);
    Err(failure)
}

async fn plan(args: &cli::Sync) -> Result<Report, Failure> {
    let config = common::load(&common::sources(&args.connection))?;
    let options = args.options();
    let (entities, settings) = (options.entities(&config)?, options.settings(&config));
    let database = common::database(&args.database)?;
    let (client, day) = common::asking_client(config.clone())?;
    let (mut known, mut counts, mut stored) = (Vec::new(), Counts::new(), Stored::default());
    let mut swept = BTreeMap::new();
    let found = Stored::read(&database, &day).await?;
    let exists = found.is_some();
    if let Some((found, mut reader)) = found {
        swept = reader.swept().await?;
        (known, counts, stored) = (reader.walks().await?, reader.counts().await?, found);
    }
    let leased = stored.leased_to(&config);
    take_up(&config, client.limiter(), client.budgets(), stored.known_limit, leased);
    let asked_tokens = if args.dry_run {
        0
    } else {
        ask(&client, &database, exists.then_some(&day), &stored).await?
    };
    let plan = Plan::new(&Basis {
        entities: &entities,
        wanted: options.mode,
        known: &known,
        counts: &counts,
        totals: None,
        page: settings.page,
        run: 0,
        start_up: START_UP_TOKENS,
        overlap: settings.overlap,
        now: wall::now(),
        limit: settings.limit,
        force: settings.force,
        swept: &swept,
        sweep_every: settings.sweep_every,
        by_recents: &settings.by_recents,
    });
    let mut report = Report {
        base_url: config.base_url.to_string(),
        database: database.clone(),
        exists,
        at: wall::now(),
        walks: plan.walks.iter().map(line).chain(by_recents(&plan)).collect(),
        start_up: Line {
            walk: "start-up".to_owned(),
            requests: 1,
            tokens: START_UP_TOKENS,
            exact: true,
            ..Line::default()
        },
        requests: 0,
        tokens: 0,
        exact: plan.recents.is_none() && plan.walks.iter().all(|walk| line(walk).exact),
        asked_tokens,
        dry_run: args.dry_run,
        day: Day { limit: 0, used: 0, kept: 0, left: 0, needed: 0, fits: false, resets_at: None },
        burst_limit: 0,
        ends_at: None,
        ends_by: None,
        outcome: String::new(),
        exit_code: 0,
    };
    report.weigh(&client, &config, &plan, settings.priority);
    report.decide(settings.across_days);
    Ok(report)
}

/// Asks the server for its count, and says what that has cost.
async fn ask(
    client: &Client,
    database: &Database,
    note: Option<&String>,
    stored: &Stored,
) -> Result<u64, Failure> {
    if let Some(day) = note {
        note_spent(database, day, START_UP_TOKENS).await?;
    }
    match ledger::during(client, async |_| Ok(client.me().await)).await? {
        Ok(me) => {
            stored.belongs_to(&company(&me), database)?;
            Ok(START_UP_TOKENS)
        }
        // The day is spent: then nothing fits, which is an answer too.
        Err(error) if Failure::from(&error).code == Code::Budget => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// The look at what changed lately, and the lists that are not read as it tells all that they would, or that there is
/// nothing to tell.
fn by_recents(plan: &Plan) -> impl Iterator<Item = Line> {
    let look = plan.recents.as_ref().map(|_| Line {
        walk: "recents".to_owned(),
        mode: "changes",
        requests: 1,
        tokens: u64::from(recents::cost()),
        ..Line::default()
    });
    let told = plan.by_recents.iter().map(|walk| Line {
        walk: walk.state.walk.clone(),
        mode: if WHOLE_BY_RECENTS.contains(&walk.entity) { "by recents" } else { "if changed" },
        ..Line::default()
    });
    look.into_iter().chain(told)
}

fn line(walk: &WalkPlan) -> Line {
    let incremental = walk.state.mode == Mode::Incremental;
    Line {
        walk: walk.state.walk.clone(),
        mode: walk.state.mode.name(),
        resumed: walk.resumed,
        sweep: walk.sweep,
        // How much has changed is not known beforehand.
        rows: walk.rows_expected.filter(|_| !incremental),
        requests: walk.requests,
        tokens: walk.tokens,
        exact: walk.rows_expected.is_some() && !incremental,
    }
}

impl Report {
    /// Holds the plan against the budgets.
    fn weigh(&mut self, client: &Client, config: &Config, plan: &Plan, priority: Priority) {
        let (limiter, budgets) = (client.limiter(), client.budgets());
        let status = limiter.status();
        let kept = |limit| config.rate_limiting.kept(limit, priority);
        if let Some(day) = status.budget("day") {
            self.day.limit = day.limit;
            self.day.used = day.used;
            self.day.kept = kept(day.limit);
            let later = |after| wall::exact().saturating_add(after).unwrap_or(Timestamp::MAX);
            let reset = day.resets_in.and_then(|after| SignedDuration::try_from(after).ok());
            self.day.resets_at = reset.map(|after| wall::nearest(later(after)));
            // This process sends nothing more: its limiter is only planned with, as a sync's would be.
            limiter.set_limit(budgets.day, day.limit - self.day.kept);
        }
        self.burst_limit = status.budget("burst").map_or(0, |burst| burst.limit);
        let tokens = u32::try_from(START_UP_TOKENS).unwrap_or(u32::MAX);
        let start_up = (budgets.charge(START_UP, tokens), 1);
        let walks = plan.walks.iter().map(|walk| {
            (budgets.charge(walk.entity.endpoint(), walk.entity.list_cost()), walk.requests)
        });
        let looks = plan.recents.as_ref().map(|_| (budgets.charge(RECENTS, recents::cost()), 1));
        let needs = limiter.plan(walks.chain([start_up]).chain(looks));
        let now = Instant::now();
        self.requests = needs.calls;
        let mut ends = needs.ends.map(|at| at.saturating_duration_since(now));
        let later = |need: &&tower_ratelimit_tokens::BudgetNeed| need.ends;
        let mut by = needs.budgets.iter().max_by_key(later).map(|need| need.name.as_ref());
        if let Some(day) = needs.budget("day") {
            (self.tokens, self.day.needed, self.day.left) = (day.needed, day.needed, day.left);
            // Not `fits_now`: who waits a moment for the burst window is still in time.
            self.day.fits = !day.never && day.needed <= day.left;
            // A day that is spread evenly lasts as long as its share of the tokens.
            let to_reset = status.budget("day").and_then(|day| day.resets_in);
            if let (Pace::Even, Some(to_reset), true) =
                (&config.rate_limiting.day_pace, to_reset, self.day.fits)
            {
                let spread = to_reset.mul_f64(day.needed as f64 / day.left.max(1) as f64);
                if ends.is_some_and(|ends| ends < spread) {
                    (ends, by) = (Some(spread), Some("day"));
                }
            }
        }
        self.ends_at = ends.map(after);
        self.ends_by = by.filter(|_| ends.is_some()).map(str::to_owned);
    }

    fn decide(&mut self, across_days: bool) {
        let Day { needed, left, limit, .. } = self.day;
        let least = if self.exact { "" } else { "at least " };
        (self.outcome, self.exit_code) = if self.day.fits {
            (
                format!("it fits: {least}{needed} tokens are needed, {left} are left today"),
                Code::Done.number(),
            )
        } else {
            let line = format!(
                "it does not fit today: {least}{needed} tokens are needed, {left} of {limit} are left"
            );
            let allowed = across_days && self.ends_at.is_some();
            (line, if allowed { Code::Done } else { Code::Budget }.number())
        };
        if let (false, Some(at)) = (self.day.fits, self.day.resets_at) {
            self.outcome.push_str(&format!("; more come at {}", wall::text(at)));
        }
    }
}

/// A moment from now on, to the second, never too early.
fn after(wait: Duration) -> Timestamp {
    wall::after(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let new = if self.exists { "" } else { " (not there yet)" };
        writeln!(f, "plan for {}{new}, {}", self.database, self.base_url)?;
        let mut rows =
            vec![["walk", "mode", "rows", "requests", "tokens"].map(String::from).to_vec()];
        for line in self.walks.iter().chain([&self.start_up]) {
            let least = if line.exact { "" } else { "+" };
            let mode = if line.resumed {
                format!("{} (goes on)", line.mode)
            } else if line.sweep {
                format!("{} (finds what was deleted)", line.mode)
            } else {
                line.mode.to_owned()
            };
            rows.push(vec![
                line.walk.clone(),
                mode,
                line.rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string()),
                format!("{}{least}", line.requests),
                format!("{}{least}", line.tokens),
            ]);
        }
        let least = if self.exact { "" } else { "+" };
        let (requests, tokens) =
            (format!("{}{least}", self.requests), format!("{}{least}", self.tokens));
        rows.push(vec!["in all".to_owned(), String::new(), String::new(), requests, tokens]);
        f.write_str(&table(&rows))?;
        let kept = match self.day.kept {
            0 => String::new(),
            kept => format!(", {kept} of it kept for urgent calls"),
        };
        let Day { limit, used, left, .. } = self.day;
        writeln!(f, "day        {left} tokens left for it: {used} of {limit} are used{kept}")?;
        writeln!(f, "burst      {} requests in 2 s", self.burst_limit)?;
        match (self.ends_at, &self.ends_by) {
            (Some(at), Some(by)) => {
                let local = wall::local(at, &TimeZone::system());
                let in_ = span(at.duration_since(self.at));
                writeln!(
                    f,
                    "ends       not before {} ({local}), in {in_}, by the budget {by}",
                    wall::text(at)
                )?;
            }
            _ => writeln!(f, "ends       never: one request costs more than the day holds")?,
        }
        writeln!(
            f,
            "           if nobody else spends, no request fails and no answer takes any time"
        )?;
        match self.asked_tokens {
            0 if self.dry_run => writeln!(
                f,
                "asked      nobody: what is left of the day is by our own books; nothing was written"
            )?,
            0 => writeln!(f, "asked      nothing: the day is spent")?,
            tokens => writeln!(
                f,
                "asked      the server for its count: GET /v1/users/me, {tokens} tokens; nothing was synced"
            )?,
        }
        writeln!(f, "{}", self.outcome)
    }
}
