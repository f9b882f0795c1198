//! What a sync says at its end.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use pipedrive_service::{Client, circuits::worst};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    engine::{Finals, Outcome, Tally},
    exit::{Code, Failure},
    memory,
    store::Database,
};

/// What came of a sync, in figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SyncResult {
    /// Complete, or why not.
    pub outcome: String,
    /// The exit code.
    pub exit_code: u8,
    /// When it can go on, if the day's budget is spent and it is known when the next begins.
    pub again_at: Option<Timestamp>,
    /// The database.
    pub database: String,
    /// Number of the run.
    pub run: i64,
    /// Rows in the database, by entity.
    pub rows: BTreeMap<String, u64>,
    /// Rows in the database, all entities together.
    pub rows_in_all: u64,
    /// What each walk brought in this run.
    pub walks: BTreeMap<String, Tally>,
    /// Pages asked for, and those that failed finally.
    pub pages: Finals,
    /// Attempts sent, as the retry policy counted them.
    pub attempts: u64,
    /// Requests that succeeded after at least one retry.
    pub recovered: u64,
    /// Attempts that failed, by class.
    pub failed_attempts: BTreeMap<String, u64>,
    /// 429s that the server sent: burst and day.
    pub refused_by_server: (u64, u64),
    /// Tokens that the plan named; the least where a length was unknown.
    pub tokens_planned: u64,
    /// Whether the plan knew every length.
    pub plan_exact: bool,
    /// Tokens spent by our books, this run only.
    pub tokens_used: u64,
    /// Tokens left of the day, as far as we know, and the day's limit.
    pub tokens_left: (u64, u64),
    /// State of the circuit, of several the worst, and how often they changed.
    pub circuit: (String, u64),
    /// Page sizes asked for, and how often.
    pub page_sizes: Vec<(u32, u64)>,
    /// What would make page control better.
    pub advice: Vec<String>,
    /// The most memory at once, in bytes.
    pub peak_memory: Option<u64>,
    /// Seconds that it took.
    pub seconds: f64,
    /// While four or more walks had pages left.
    #[serde(skip)]
    pub busy: Option<(Instant, Instant)>,
}

impl SyncResult {
    /// Gathers the figures.
    #[must_use]
    pub fn new(outcome: &Outcome, client: &Client, database: &Database) -> Self {
        let rows: BTreeMap<_, _> = outcome
            .counts
            .iter()
            .map(|(name, (rows, _))| ((*name).to_owned(), *rows))
            .filter(|(name, rows)| *rows > 0 || outcome.walks.contains_key(name))
            .collect();
        let pages = client.pages().status();
        let retries = client.retry_stats().snapshot();
        let limits = client.limiter().status();
        let day = limits.budget("day");
        let circuits = client.circuits().status();
        let state = worst(circuits.iter().map(|circuit| circuit.state));
        let transitions = circuits.iter().map(|circuit| circuit.transitions).sum();
        let (code, line) = outcome.in_words();
        Self {
            outcome: line.to_owned(),
            exit_code: code.number(),
            again_at: outcome.failure.as_ref().and_then(|failure| failure.again_at),
            database: database.to_string(),
            run: outcome.run,
            rows_in_all: rows.values().sum(),
            rows,
            walks: outcome.walks.clone(),
            pages: outcome.finals,
            attempts: retries.attempts(),
            recovered: retries.recovered(),
            failed_attempts: retries
                .failed
                .iter()
                .map(|(class, count)| (class.to_string(), *count))
                .collect(),
            refused_by_server: (limits.refusals.burst, limits.refusals.exhausted),
            tokens_planned: outcome.planned.0,
            plan_exact: outcome.planned.1,
            tokens_used: limits
                .endpoints
                .iter()
                .map(|usage| usage.spent[client.budgets().day.index()])
                .sum(),
            tokens_left: day.map_or((0, 0), |day| (day.remaining, day.limit)),
            circuit: (state.to_string(), transitions),
            advice: pages.advice().iter().map(ToString::to_string).collect(),
            page_sizes: pages.sizes_used,
            peak_memory: memory::peak(),
            seconds: outcome.took.as_secs_f64(),
            busy: outcome.busy,
        }
    }

    /// Why it is not complete.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let code = Code::of(self.exit_code).filter(|code| *code != Code::Done)?;
        Some(Failure { again_at: self.again_at, ..Failure::new(code, self.outcome.as_str()) })
    }
}

impl fmt::Display for SyncResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut written, mut unchanged, mut removed, mut rejected) = (0, 0, 0, 0);
        for tally in self.walks.values() {
            written += tally.rows - tally.unchanged;
            unchanged += tally.unchanged;
            rejected += tally.rejected;
            removed += tally.removed;
        }
        let done = self.exit_code == Code::Done.number();
        if done {
            writeln!(f, "{} in {:.1} s: {}", self.outcome, self.seconds, self.database)?;
        } else {
            writeln!(f, "not complete after {:.1} s: {}", self.seconds, self.database)?;
            writeln!(f, "reason     {}", self.outcome)?;
        }
        for (name, rows) in &self.rows {
            let state = match self.walks.get(name) {
                Some(tally) if tally.done => "",
                Some(_) => "  not complete",
                None => "  not asked for",
            };
            writeln!(f, "  {name:22} {rows:>9} rows{state}")?;
        }
        writeln!(
            f,
            "  {:22} {:>9} rows; in this run {written} written, {unchanged} unchanged, {removed} removed",
            "all", self.rows_in_all
        )?;
        if rejected > 0 {
            writeln!(
                f,
                "quarantine {rejected} rows could not be used: see `pipedrive failed-items`"
            )?;
        }
        write!(f, "requests   {} pages asked, {} attempts sent", self.pages.asked, self.attempts)?;
        writeln!(
            f,
            ", {} recovered by a retry, {} failed finally and asked again later",
            self.recovered, self.pages.failed
        )?;
        if !self.failed_attempts.is_empty() {
            let classes: Vec<_> = self
                .failed_attempts
                .iter()
                .map(|(class, count)| format!("{class} {count}"))
                .collect();
            writeln!(f, "failures   {}", classes.join(", "))?;
        }
        let (burst, day) = self.refused_by_server;
        writeln!(f, "429s seen  {burst} burst, {day} day")?;
        let planned = if self.plan_exact { "" } else { " at least" };
        let (left, limit) = self.tokens_left;
        writeln!(
            f,
            "tokens     planned{planned} {}, used {}, {left} of {limit} left today",
            self.tokens_planned, self.tokens_used
        )?;
        writeln!(f, "circuit    {}, {} transitions", self.circuit.0, self.circuit.1)?;
        let sizes: Vec<_> =
            self.page_sizes.iter().map(|(size, count)| format!("{size} rows x {count}")).collect();
        writeln!(
            f,
            "pages      {}",
            if sizes.is_empty() { "none".to_owned() } else { sizes.join(", ") }
        )?;
        if let Some(bytes) = self.peak_memory {
            writeln!(f, "memory     {} MiB at most", bytes >> 20)?;
        }
        for advice in &self.advice {
            writeln!(f, "advice     {advice}")?;
        }
        Ok(())
    }
}
