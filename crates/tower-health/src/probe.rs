//! What the checks of a probe add up to. Free of clocks, locks and services.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{Change, Reason, State};

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckOutcome {
    /// A good answer.
    Good,
    /// A bad answer.
    Bad,
    /// No answer within the time-out.
    TimedOut,
    /// An error; the text is its `Display`.
    Failed(Arc<str>),
    /// The judge had nothing to say, as when our own limiter refused. It moves nothing.
    Ignored,
    /// It was not made, by [`skip_if`](crate::ProberBuilder::skip_if). It moves nothing and is
    /// kept nowhere.
    Skipped,
}

impl CheckOutcome {
    /// Only [`Good`](Self::Good).
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Good)
    }

    /// The word that events use. It never holds the text of an error.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::TimedOut => "timed_out",
            Self::Failed(_) => "failed",
            Self::Ignored => "ignored",
            Self::Skipped => "skipped",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// How it ended.
    pub outcome: CheckOutcome,
    /// How long it took, readiness included.
    pub took: Duration,
    /// When it ended.
    pub at: Instant,
    /// What the probe thinks of the service after it.
    pub state: State,
}

/// All that a probe knows; see [`Prober::status`](crate::Prober::status).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProbeStatus {
    /// The name given to the builder.
    pub name: Arc<str>,
    /// How the service is doing, by the newest check.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// When it entered this state.
    pub since: Instant,
    /// The newest checks, the oldest first; at most 50 unless set otherwise.
    pub recent: Vec<Check>,
    /// Good ones among the recent checks, between 0 and 1. `None` if none of them counts.
    pub success_rate: Option<f64>,
    /// Failed checks since the last good one, or since nobody knew.
    pub consecutive_failures: u32,
    /// Checks made since the probe was built, ignored ones included.
    pub checks: u64,
    /// Checks that were skipped since the probe was built.
    pub skipped: u64,
    /// Changes of state since the probe was built.
    pub changes: u64,
}

/// What the builder has checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeRules {
    pub(crate) ttl: Duration,
    pub(crate) interval: Duration,
    pub(crate) stale_after: Duration,
    pub(crate) failure_threshold: u32,
    pub(crate) degraded_over: Duration,
    pub(crate) history: usize,
}

#[derive(Debug)]
pub(crate) struct Record {
    rules: ProbeRules,
    recent: VecDeque<Check>,
    failures: u32,
    checks: u64,
    skipped: u64,
    /// When the newest check that said something is too old to be believed.
    stale_at: Option<Instant>,
    last: Change,
}

impl Record {
    pub(crate) fn new(rules: ProbeRules, now: Instant) -> Self {
        let last = Change {
            number: 0,
            from: State::Unknown,
            to: State::Unknown,
            reason: Reason::NoCalls,
            at: now,
        };
        let recent = VecDeque::with_capacity(rules.history);
        Self { rules, recent, failures: 0, checks: 0, skipped: 0, stale_at: None, last }
    }

    /// The newest check, if it is good enough for somebody who began to ask when
    /// `seen` checks had been made: it is younger than `fresh`, or it ended after that.
    pub(crate) fn usable(&self, now: Instant, fresh: Duration, seen: u64) -> Option<Check> {
        let newest = self.recent.back()?;
        let fresh = now.saturating_duration_since(newest.at) < fresh;
        (fresh || self.checks > seen).then(|| newest.clone())
    }

    pub(crate) fn add(&mut self, outcome: CheckOutcome, took: Duration, now: Instant) -> Check {
        let ProbeRules { failure_threshold, degraded_over: limit, history, .. } = self.rules;
        self.settle(now);
        self.checks += 1;
        let verdict = match outcome {
            CheckOutcome::Ignored | CheckOutcome::Skipped => None,
            CheckOutcome::Good => {
                self.failures = 0;
                Some(if took > limit {
                    (State::Degraded, Reason::CheckSlow { took, limit })
                } else {
                    (State::Healthy, Reason::CheckPassed { took })
                })
            }
            CheckOutcome::Bad | CheckOutcome::TimedOut | CheckOutcome::Failed(_) => {
                self.failures = self.failures.saturating_add(1);
                let failed_for_good = self.failures >= failure_threshold;
                let state = if failed_for_good { State::Unavailable } else { State::Degraded };
                Some((state, Reason::Streak { bad: self.failures }))
            }
        };
        if let Some((to, reason)) = verdict {
            self.stale_at = now.checked_add(self.rules.stale_after);
            if to != self.last.to {
                self.turn(now, to, reason);
            }
        }
        let check = Check { outcome, took, at: now, state: self.last.to };
        if self.recent.len() == history {
            self.recent.pop_front();
        }
        self.recent.push_back(check.clone());
        check
    }

    /// Notes that a check was not made.
    pub(crate) fn skip(&mut self, now: Instant) -> Check {
        self.settle(now);
        self.skipped += 1;
        Check { outcome: CheckOutcome::Skipped, took: Duration::ZERO, at: now, state: self.last.to }
    }

    /// Applies what time alone has changed.
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.stale_at.is_some_and(|at| at <= now) {
            self.stale_at = None;
            self.failures = 0;
            self.turn(now, State::Unknown, Reason::Stale { after: self.rules.stale_after });
        }
    }

    fn turn(&mut self, now: Instant, to: State, reason: Reason) {
        let Change { number, to: from, .. } = self.last;
        self.last = Change { number: number + 1, from, to, reason, at: now };
    }

    pub(crate) const fn rules(&self) -> &ProbeRules {
        &self.rules
    }

    pub(crate) const fn checks(&self) -> u64 {
        self.checks
    }

    pub(crate) const fn last(&self) -> &Change {
        &self.last
    }

    pub(crate) fn status(&self, name: Arc<str>) -> ProbeStatus {
        let counted = |check: &&Check| check.outcome != CheckOutcome::Ignored;
        let all = self.recent.iter().filter(counted).count();
        let good = self.recent.iter().filter(|check| check.outcome.is_good()).count();
        ProbeStatus {
            name,
            state: self.last.to,
            reason: self.last.reason,
            since: self.last.at,
            recent: self.recent.iter().cloned().collect(),
            success_rate: (all > 0).then(|| good as f64 / all as f64),
            consecutive_failures: self.failures,
            checks: self.checks,
            skipped: self.skipped,
            changes: self.last.number,
        }
    }
}
