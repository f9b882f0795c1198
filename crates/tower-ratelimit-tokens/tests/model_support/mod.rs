//! The log: slow, simple, and written without a look at the limiter's insides.

use proptest::{prop_assert, test_runner::TestCaseError};

const MS: u64 = 1_000_000;
const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Rolling { window: u64, transit: Option<u64> },
    Fixed { window: u64 },
    Bucket { refill: u64, period: u64 },
    Concurrency,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) kind: Kind,
    pub(crate) limit: u64,
    pub(crate) keyed: bool,
}

/// Which way the limiter's rounding of time is to be allowed for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Slack {
    /// Not at all: what must never be exceeded.
    None,
    /// What ended a moment ago may still be counted.
    Late,
}

/// What one call took.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: u64,
    pub(crate) amounts: [u64; 4],
    granted: u64,
    sent: Option<u64>,
    answered: Option<u64>,
    lost: Option<u64>,
    /// Given back unsent, or refunded.
    returned: bool,
    /// Its places are free again.
    ended: bool,
}

impl Entry {
    pub(crate) fn new(key: u64) -> Self {
        let (granted, sent, answered, lost) = (0, None, None, None);
        Self { key, amounts: [0; 4], granted, sent, answered, lost, returned: false, ended: false }
    }
}

pub(crate) struct Log {
    rules: Vec<Rule>,
    entries: Vec<Entry>,
}

impl Log {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self { rules, entries: vec![] }
    }

    pub(crate) fn grant(&mut self, now: u64, mut entry: Entry) -> usize {
        entry.granted = now;
        self.entries.push(entry);
        self.entries.len() - 1
    }

    pub(crate) fn sent(&mut self, at: usize, now: u64) {
        self.entries[at].sent = Some(now);
    }

    pub(crate) fn answered(&mut self, at: usize, now: u64, keep: bool) {
        let entry = &mut self.entries[at];
        (entry.answered, entry.ended) = (Some(now), true);
        entry.returned = !keep;
    }

    pub(crate) fn lost(&mut self, at: usize, now: u64) {
        let entry = &mut self.entries[at];
        (entry.ended, entry.lost) = (true, Some(now));
    }

    pub(crate) fn unsent(&mut self, at: usize) {
        (self.entries[at].returned, self.entries[at].ended) = (true, true);
    }

    /// Until when an entry counts in a budget; `NEVER` if that is not known yet.
    fn until(&self, rule: &Rule, entry: &Entry, slack: Slack) -> u64 {
        match rule.kind {
            Kind::Rolling { window, transit } => {
                let late = if slack == Slack::Late { 2 * MS + window * MS / 64 } else { 0 };
                let Some(sent) = entry.sent else { return NEVER };
                let unanswered = sent + (window + transit.unwrap_or(0)) * MS;
                let answered = match (transit, entry.answered) {
                    (Some(_), Some(answered)) => answered + window * MS,
                    _ => unanswered,
                };
                unanswered.min(answered) + late
            }
            Kind::Fixed { window } => {
                // Unsent, it moves on into the next window.
                let Some(sent) = entry.sent else { return NEVER };
                let ends = (sent / (window * MS) + 1) * window * MS;
                if slack == Slack::None {
                    return ends;
                }
                // Under way when another begins, it counts there too: until it is
                // answered, or two seconds after it was given up.
                let end_of = |at: u64| (at / (window * MS) + 1) * window * MS + 2 * MS;
                match (entry.answered, entry.lost) {
                    (Some(at), _) => end_of(at),
                    (None, Some(at)) => end_of(at + 2_000 * MS),
                    (None, None) => NEVER,
                }
            }
            Kind::Concurrency => {
                if entry.ended {
                    0
                } else {
                    NEVER
                }
            }
            Kind::Bucket { .. } => NEVER,
        }
    }

    fn of(&self, budget: usize, key: u64) -> impl Iterator<Item = &Entry> {
        let keyed = self.rules[budget].keyed;
        let of = self.entries.iter().filter(move |e| e.amounts[budget] > 0 && !e.returned);
        of.filter(move |entry| !keyed || entry.key == key)
    }

    fn held(&self, budget: usize, key: u64, at: u64, slack: Slack) -> u64 {
        let rule = &self.rules[budget];
        let counts = self.of(budget, key).filter(|entry| self.until(rule, entry, slack) > at);
        counts.map(|entry| entry.amounts[budget]).sum()
    }

    /// What a bucket holds at `at`, in units times the period, run from the start.
    fn credit(&self, budget: usize, key: u64, at: u64) -> u128 {
        let Kind::Bucket { refill, period } = self.rules[budget].kind else { return 0 };
        let full = u128::from(self.rules[budget].limit) * u128::from(period * MS);
        let (mut credit, mut last) = (full, 0);
        for entry in self.of(budget, key) {
            let passed = u128::from(entry.granted - last) * u128::from(refill);
            credit = (credit + passed).min(full);
            last = entry.granted;
            credit = credit.saturating_sub(u128::from(entry.amounts[budget] * period * MS));
        }
        (credit + u128::from(at.saturating_sub(last)) * u128::from(refill)).min(full)
    }

    /// Whether a call could go at `at`, if nothing else happened until then.
    pub(crate) fn fits(&self, at: u64, entry: &Entry, slack: Slack) -> bool {
        (0..self.rules.len()).all(|budget| self.fits_in(budget, at, entry, slack))
    }

    fn fits_in(&self, budget: usize, at: u64, entry: &Entry, slack: Slack) -> bool {
        let (rule, n) = (&self.rules[budget], entry.amounts[budget]);
        if n == 0 {
            return true;
        }
        if let Kind::Bucket { period, .. } = rule.kind {
            let at = if slack == Slack::Late { at.saturating_sub(2 * MS) } else { at };
            // What was given back is no longer in the log, but a full bucket may have
            // lost it: only the future can be told for certain.
            return u128::from(n * period * MS) <= self.credit(budget, entry.key, at)
                && (slack == Slack::None
                    || !self.entries.iter().any(|e| e.returned && e.amounts[budget] > 0));
        }
        self.held(budget, entry.key, at, slack) + n <= rule.limit
    }

    /// Whether it ever fits into an empty budget.
    pub(crate) fn ever_fits(&self, entry: &Entry) -> bool {
        self.rules.iter().zip(entry.amounts).all(|(rule, n)| n <= rule.limit)
    }

    /// The soonest moment from `now` at which a call fits, if nothing else happens.
    /// What has been granted is supposed to go out at once.
    pub(crate) fn soonest(&self, now: u64, entry: &Entry, slack: Slack) -> u64 {
        let mut log = Self { rules: self.rules.clone(), entries: self.entries.clone() };
        for granted in &mut log.entries {
            granted.sent = granted.sent.or(Some(now));
        }
        log.soonest_of_sent(now, entry, slack)
    }

    fn soonest_of_sent(&self, now: u64, entry: &Entry, slack: Slack) -> u64 {
        let mut moments = vec![now];
        for (budget, rule) in self.rules.iter().enumerate() {
            if let Kind::Bucket { refill, period } = rule.kind {
                let need = u128::from(entry.amounts[budget] * period * MS);
                let missing = need.saturating_sub(self.credit(budget, entry.key, now));
                let late = if slack == Slack::Late { 2 * MS } else { 0 };
                moments.push(now + late + missing.div_ceil(u128::from(refill)) as u64);
            }
            let ends = self.of(budget, entry.key).map(|e| self.until(rule, e, slack));
            moments.extend(ends.filter(|&at| at > now && at < NEVER));
        }
        moments.sort_unstable();
        let fits = |at: &u64| self.fits(*at, entry, slack);
        moments.into_iter().find(fits).unwrap_or(NEVER)
    }

    /// No window of any budget holds more than its limit.
    pub(crate) fn check(&self, now: u64) -> Result<(), TestCaseError> {
        for (budget, rule) in self.rules.iter().enumerate() {
            for key in 0..3 {
                if let Kind::Bucket { refill, period } = rule.kind {
                    self.check_bucket(budget, key, rule.limit, refill, period)?;
                    continue;
                }
                let held = self.held(budget, key, now, Slack::None);
                prop_assert!(held <= rule.limit, "{held} in {rule:?} of key {key} at {now}");
            }
        }
        Ok(())
    }

    /// Between any two grants no more than the capacity and what came in, with two
    /// milliseconds for a late timer.
    fn check_bucket(
        &self,
        budget: usize,
        key: u64,
        limit: u64,
        refill: u64,
        period: u64,
    ) -> Result<(), TestCaseError> {
        let grants: Vec<_> = self.of(budget, key).map(|e| (e.granted, e.amounts[budget])).collect();
        let last = grants.len().saturating_sub(1);
        let mut sum = 0;
        for &(from, n) in grants.iter().rev() {
            sum += n;
            let time = u128::from(grants[last].0 - from + 2 * MS);
            let most = u128::from(limit) + time * u128::from(refill) / u128::from(period * MS);
            prop_assert!(u128::from(sum) <= most, "bucket {budget}: {sum} of {most} since {from}");
        }
        Ok(())
    }
}
