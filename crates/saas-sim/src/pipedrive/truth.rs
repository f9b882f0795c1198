//! What really happened: the figures that a test compares its client with.

use std::collections::{BTreeMap, HashMap, VecDeque};

use http::Method;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::faults::FaultKind;
use super::limits::Refusal;
use super::ops::{Operation, Version};

/// What happened to one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OperationTruth {
    /// The operation, such as `GET v2 /deals/{id}`.
    pub operation: String,
    /// Tokens that one call costs.
    pub cost: u64,
    /// Requests that came, with a good token.
    pub asked: u64,
    /// Requests that the limits let through.
    pub charged: u64,
    /// Tokens that these cost.
    pub tokens: u64,
    /// Requests that a limit refused.
    pub refused: u64,
    /// Answers given, by status. A request without an answer (reset, hang, dropped by the
    /// client) is in none.
    pub answered: BTreeMap<u16, u64>,
}

/// Calls that were turned away, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Refusals {
    /// 429: the burst window was full.
    pub burst: u64,
    /// 429: the search window was full.
    pub search: u64,
    /// 429: the day's tokens were used up.
    pub day: u64,
    /// 403: the edge banned the token.
    pub edge: u64,
    /// 401: no token, a wrong one, or an expired one.
    pub unauthorized: u64,
    /// 404 and 405: no such operation.
    pub unknown: u64,
}

impl Refusals {
    /// The 429s that the caller has brought upon itself: burst, search and day.
    #[must_use]
    pub const fn caused(&self) -> u64 {
        self.burst + self.search + self.day
    }
}

/// The day's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DayTruth {
    /// Tokens of a day.
    pub limit: u64,
    /// Tokens used in the present day, by anyone.
    pub used: u64,
    /// Tokens used since the start, all days together, by anyone.
    pub used_ever: u64,
    /// Of `used_ever`, those spent by [`Sim::spend_elsewhere`](super::Sim::spend_elsewhere).
    pub elsewhere: u64,
    /// When the present day ends.
    pub resets_at: Timestamp,
    /// Days that have ended.
    pub resets: u64,
}

/// The burst windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WindowTruth {
    /// Requests allowed in one window with an API token.
    pub limit: u32,
    /// Search requests allowed in one window.
    pub search_limit: u32,
    /// Length of the window in milliseconds.
    pub window_ms: u64,
    /// The most requests that one token ever had in a window, searches apart.
    pub peak: usize,
    /// The most searches that one token ever had in a window.
    pub search_peak: usize,
}

/// What changed by itself, or at a word of [`Sim::change_now`](super::Sim::change_now).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each field counts what the setting of its name asks for")]
pub struct ChurnTruth {
    pub ticks: u64,
    pub creates: u64,
    pub updates: u64,
    pub deletes: u64,
    pub removals: u64,
    pub archives: u64,
    pub merges: u64,
    pub shifts: u64,
}

/// One request in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogEntry {
    /// Number of the request, from 1, in the order of arrival.
    pub number: u64,
    /// The method.
    pub method: String,
    /// Path and query; the value of an `api_token` in it is left out.
    pub target: String,
    /// The operation, if the path is one.
    pub operation: Option<String>,
    /// Microseconds from the start of the simulator to the arrival.
    pub arrived_us: u64,
    /// Microseconds from the start to the moment it was counted, if it was.
    pub counted_us: Option<u64>,
    /// Microseconds from the start to the answer, if there was one.
    pub answered_us: Option<u64>,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// Tokens charged.
    pub tokens: u64,
    /// The fault it met.
    pub fault: Option<FaultKind>,
}

/// A snapshot of what happened since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Truth {
    /// The simulator's wall clock.
    pub now: Timestamp,
    /// Microseconds since the start.
    pub elapsed_us: u64,
    /// Requests that came, whatever became of them; the simulator's own paths are not counted.
    pub requests: u64,
    /// Of these, the ones with a good token for a known operation.
    pub asked: u64,
    /// Of the asked, the ones that the limits let through and counted.
    pub charged: u64,
    /// Answers given, of all requests.
    pub answered: u64,
    /// Requests turned away.
    pub refusals: Refusals,
    /// The day's tokens.
    pub day: DayTruth,
    /// The burst windows.
    pub window: WindowTruth,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Requests that failed by a fault.
    pub failed: u64,
    /// Changes of rows since the start, whoever made them; see
    /// [`Account::throughout`](super::Account::throughout).
    pub revision: u64,
    /// Of these, the ones that came by themselves.
    pub churn: ChurnTruth,
    /// What happened to each operation that was asked, in the order of their names.
    pub operations: Vec<OperationTruth>,
    /// The newest requests, as many as the settings ask for.
    pub log: Vec<LogEntry>,
}

impl Truth {
    /// What happened to the operation of this name, such as `GET v2 /deals`.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<&OperationTruth> {
        self.operations.iter().find(|operation| operation.operation == name)
    }

    /// How often a fault happened.
    #[must_use]
    pub fn fault(&self, kind: FaultKind) -> u64 {
        self.faults.get(&kind).copied().unwrap_or(0)
    }

    /// Share of the asked requests that failed by a fault, 0 to 1.
    #[must_use]
    pub fn share_failed(&self) -> f64 {
        if self.asked == 0 { 0.0 } else { self.failed as f64 / self.asked as f64 }
    }
}

/// One answer, for [`Sim::on_answer`](super::Sim::on_answer).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answered {
    /// Number of the answer, from 1.
    pub number: u64,
    /// Its status.
    pub status: u16,
    /// The operation, if the path was one.
    pub operation: Option<&'static Operation>,
    /// The fault that the request met.
    pub fault: Option<FaultKind>,
}

type Key = (Version, &'static str, Method);

/// The counts while they run.
#[derive(Debug)]
pub(super) struct Ledger {
    origin: Instant,
    pub(super) requests: u64,
    pub(super) answered: u64,
    pub(super) elsewhere: u64,
    pub(super) refusals: Refusals,
    pub(super) faults: BTreeMap<FaultKind, u64>,
    operations: HashMap<Key, OperationTruth>,
    log_size: usize,
    log: VecDeque<LogEntry>,
    times_kept: usize,
    times: VecDeque<Instant>,
}

impl Ledger {
    pub(super) fn new(origin: Instant, log_size: usize, times_kept: usize) -> Self {
        Self {
            origin,
            requests: 0,
            answered: 0,
            elsewhere: 0,
            refusals: Refusals::default(),
            faults: BTreeMap::new(),
            operations: HashMap::new(),
            log_size,
            log: VecDeque::new(),
            times_kept,
            times: VecDeque::new(),
        }
    }

    /// A request came. Returns its number.
    pub(super) fn arrived(&mut self, method: &Method, target: &str, now: Instant) -> u64 {
        self.requests += 1;
        if self.log_size > 0 {
            if self.log.len() == self.log_size {
                self.log.pop_front();
            }
            self.log.push_back(LogEntry {
                number: self.requests,
                method: method.as_str().to_owned(),
                target: without_token(target),
                operation: None,
                arrived_us: self.micros(now),
                counted_us: None,
                answered_us: None,
                status: None,
                tokens: 0,
                fault: None,
            });
        }
        self.requests
    }

    pub(super) fn asked(&mut self, number: u64, op: &'static Operation) {
        self.operation(op).asked += 1;
        if let Some(entry) = self.entry(number) {
            entry.operation = Some(op.label());
        }
    }

    pub(super) fn charged(
        &mut self,
        number: u64,
        op: &'static Operation,
        tokens: u64,
        now: Instant,
    ) {
        let counts = self.operation(op);
        counts.charged += 1;
        counts.tokens += tokens;
        if self.times.len() == self.times_kept {
            self.times.pop_front();
        }
        self.times.push_back(now);
        let at = self.micros(now);
        if let Some(entry) = self.entry(number) {
            entry.counted_us = Some(at);
            entry.tokens = tokens;
        }
    }

    pub(super) fn refused(&mut self, op: &'static Operation, refusal: Refusal) {
        self.operation(op).refused += 1;
        match refusal {
            Refusal::Burst => self.refusals.burst += 1,
            Refusal::Search => self.refusals.search += 1,
            Refusal::Day => self.refusals.day += 1,
        }
    }

    pub(super) fn fault(&mut self, number: u64, kind: FaultKind) {
        *self.faults.entry(kind).or_default() += 1;
        if let Some(entry) = self.entry(number) {
            entry.fault = Some(kind);
        }
    }

    /// An answer goes out. Returns its number.
    pub(super) fn answered(
        &mut self,
        number: u64,
        op: Option<&'static Operation>,
        status: u16,
        now: Instant,
    ) -> u64 {
        self.answered += 1;
        if let Some(op) = op {
            *self.operation(op).answered.entry(status).or_default() += 1;
        }
        let at = self.micros(now);
        if let Some(entry) = self.entry(number) {
            entry.status = Some(status);
            entry.answered_us = Some(at);
        }
        self.answered
    }

    pub(super) fn charged_between(&self, from: Instant, to: Instant) -> u64 {
        let first = self.times.partition_point(|&at| at < from);
        let last = self.times.partition_point(|&at| at < to);
        last.saturating_sub(first) as u64
    }

    pub(super) fn operations(&self) -> Vec<OperationTruth> {
        let mut all: Vec<_> = self.operations.values().cloned().collect();
        all.sort_by(|a, b| a.operation.cmp(&b.operation));
        all
    }

    pub(super) fn log(&self) -> Vec<LogEntry> {
        self.log.iter().cloned().collect()
    }

    pub(super) fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    fn operation(&mut self, op: &'static Operation) -> &mut OperationTruth {
        self.operations.entry((op.version, op.path, op.method.clone())).or_insert_with(|| {
            OperationTruth {
                operation: op.label(),
                cost: u64::from(op.tokens),
                ..OperationTruth::default()
            }
        })
    }

    fn entry(&mut self, number: u64) -> Option<&mut LogEntry> {
        let first = self.log.front()?.number;
        self.log.get_mut(usize::try_from(number.checked_sub(first)?).ok()?)
    }
}

/// The target with the value of an `api_token` left out.
fn without_token(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let parts: Vec<_> = query
        .split('&')
        .map(|part| if part.starts_with("api_token=") { "api_token=***" } else { part })
        .collect();
    format!("{path}?{}", parts.join("&"))
}
