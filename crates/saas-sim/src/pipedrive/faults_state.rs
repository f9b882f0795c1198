//! Which fault a request meets. Pure; the choice for the nth request depends only on the
//! seed, on n and on what the script has seen.

use std::time::Duration;

use fastrand::Rng;

use super::faults::{FaultKind, Faults, Rule};

/// A request, as the faults see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

impl Seen<'_> {
    fn takes(self, kind: FaultKind) -> bool {
        match kind {
            FaultKind::NullData => self.method == "GET",
            FaultKind::RepeatedCursor => {
                self.method == "GET"
                    && self.query.split('&').any(|part| {
                        part.strip_prefix("cursor=").is_some_and(|cursor| !cursor.is_empty())
                    })
            }
            _ => true,
        }
    }
}

/// What a request meets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) fault: Option<FaultKind>,
    /// Whether the fault was owed by `each_within`, so that it is owed again if it cannot happen.
    pub(super) owed: bool,
    /// Chooses within the fault: where the body is cut, whether a reset comes before the count.
    pub(super) dice: u64,
}

impl Decision {
    /// A number in `0.0..1.0` of the dice, other than [`part`](Self::part).
    pub(super) fn share(&self) -> f64 {
        f64::from((self.dice >> 32) as u32) / f64::from(u32::MAX)
    }

    /// A place within `length`: between its first and its last quarter, at least 1.
    pub(super) fn part(&self, length: usize) -> usize {
        let half = (length / 2).max(1) as u64;
        (length / 4 + usize::try_from((self.dice & 0xffff_ffff) % half).unwrap_or(0)).max(1)
    }
}

/// The faults with what they have seen so far.
#[derive(Debug)]
pub(super) struct FaultState {
    faults: Faults,
    seen: u64,
    matched: Vec<u64>,
    taken: Vec<u64>,
    owed: Vec<(u64, FaultKind)>,
    expired_once: bool,
}

impl FaultState {
    pub(super) fn new(faults: Faults) -> Self {
        let mut owed = Vec::new();
        if let Some(within) = faults.each_within {
            let mut rng = Rng::with_seed(mix(faults.seed, u64::MAX));
            for (&kind, &rate) in &faults.rates {
                if rate > 0.0 {
                    owed.push((rng.u64(1..=within.max(1)), kind));
                }
            }
            owed.sort_unstable();
        }
        let rules = faults.rules.len();
        Self {
            faults,
            seen: 0,
            matched: vec![0; rules],
            taken: vec![0; rules],
            owed,
            expired_once: false,
        }
    }

    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Whether the token in use expires now; true at most once.
    pub(super) fn expires(&mut self, since: Duration) -> bool {
        let Some(expire) = self.faults.expire else { return false };
        let requests = expire.after_requests.is_some_and(|after| self.seen >= after);
        let time = expire.after_ms.is_some_and(|after| since >= Duration::from_millis(after));
        let now = !self.expired_once && (requests || time);
        self.expired_once |= now;
        now
    }

    /// Decides for the next request.
    pub(super) fn decide(&mut self, request: Seen<'_>) -> Decision {
        self.seen += 1;
        let mut rng = Rng::with_seed(mix(self.faults.seed, self.seen));
        let mut pick =
            |[least, most]: [u64; 2]| Duration::from_micros(rng.u64(least * 1000..=most * 1000));
        let mut before = pick(self.faults.latency_before_ms);
        let mut after = pick(self.faults.latency_after_ms);
        let dice = rng.u64(..);
        let roll = rng.f64();

        let rule = self.scripted(request);
        if let Some(rule) = &rule {
            before = rule.before_ms.map_or(before, Duration::from_millis);
            after = rule.after_ms.map_or(after, Duration::from_millis);
        }
        let mut decision = Decision { before, after, fault: None, owed: false, dice };
        if let Some(rule) = rule {
            decision.fault = rule.fault;
        } else if let Some(at) = self.due(request) {
            decision.fault = Some(self.owed.remove(at).1);
            decision.owed = true;
        } else {
            decision.fault = self.rolled(roll).filter(|&kind| request.takes(kind));
        }
        decision
    }

    /// The fault could not happen: if it was owed, it is owed again.
    pub(super) fn give_back(&mut self, decision: &Decision) {
        if let (true, Some(kind)) = (decision.owed, decision.fault) {
            self.owed.insert(0, (0, kind));
        }
    }

    fn due(&self, request: Seen<'_>) -> Option<usize> {
        self.owed.iter().position(|&(at, kind)| at <= self.seen && request.takes(kind))
    }

    fn rolled(&self, roll: f64) -> Option<FaultKind> {
        let mut edge = 0.0;
        self.faults.rates.iter().find_map(|(&kind, &rate)| {
            edge += rate;
            (roll < edge).then_some(kind)
        })
    }

    fn scripted(&mut self, request: Seen<'_>) -> Option<Rule> {
        let mut hit = None;
        for (index, rule) in self.faults.rules.iter().enumerate() {
            if !fits(rule, request) {
                continue;
            }
            self.matched[index] += 1;
            if hit.is_none() && self.wants(index, rule) {
                hit = Some(index);
            }
        }
        let index = hit?;
        self.taken[index] += 1;
        Some(self.faults.rules[index].clone())
    }

    fn wants(&self, index: usize, rule: &Rule) -> bool {
        let number = self.matched[index];
        let from = rule.from.unwrap_or(1);
        rule.nth.is_none_or(|nth| nth == number)
            && number >= from
            && rule.to.is_none_or(|to| number <= to)
            && rule.every.is_none_or(|every| (number - from).is_multiple_of(every))
            && rule.times.is_none_or(|times| self.taken[index] < times)
    }
}

fn fits(rule: &Rule, request: Seen<'_>) -> bool {
    rule.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(request.method))
        && rule.path.as_ref().is_none_or(|pattern| glob(pattern, request.path))
        && rule.query.as_ref().is_none_or(|text| request.query.contains(text.as_str()))
}

/// Whether `text` is `pattern`, in which `*` stands for anything.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.into_iter().any(|at| glob(rest, &text[at..]))
}

/// Spreads two numbers over all seeds (the finaliser of SplitMix64).
fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, is) in [
            ("/api/v2/deals", "/api/v2/deals", true),
            ("/api/v2/deals", "/api/v2/deals/1", false),
            ("/api/v2/*", "/api/v2/deals/1", true),
            ("*/deals*", "/v1/deals", true),
            ("*/deals/*/flow", "/v1/deals/7/flow", true),
            ("*/deals/*/flow", "/v1/deals/7", false),
            ("*", "", true),
        ] {
            assert_eq!(glob(pattern, text), is, "{pattern} {text}");
        }
    }

    const LIST: Seen<'_> =
        Seen { method: "GET", path: "/api/v2/deals", query: "limit=500&cursor=abc" };

    #[test]
    fn each_kind_of_the_storm_occurs_in_time() {
        for seed in 0..20 {
            let mut state = FaultState::new(Faults { seed, ..Faults::storm() });
            let mut met: Vec<_> = (0..140).filter_map(|_| state.decide(LIST).fault).collect();
            assert!(met.len() >= 14, "{}", met.len());
            met.sort_unstable();
            met.dedup();
            assert_eq!(met.len(), 14, "seed {seed}: {met:?}");
        }
    }

    #[test]
    fn an_owed_fault_waits_for_a_request_it_applies_to() {
        let mut state = FaultState::new(Faults {
            rates: [(FaultKind::RepeatedCursor, f64::MIN_POSITIVE)].into(),
            each_within: Some(1),
            ..Faults::none()
        });
        let first = Seen { query: "limit=500", ..LIST };
        assert_eq!(state.decide(first).fault, None);
        let decision = state.decide(LIST);
        assert_eq!(decision.fault, Some(FaultKind::RepeatedCursor));
        state.give_back(&decision);
        assert_eq!(state.decide(LIST).fault, Some(FaultKind::RepeatedCursor));
        assert_eq!(state.decide(LIST).fault, None);
    }

    #[test]
    fn another_seed_chooses_otherwise() {
        let chosen = |seed| {
            let mut state = FaultState::new(Faults { seed, ..Faults::default_mix() });
            (0..1000).map(|_| state.decide(LIST).fault).collect::<Vec<_>>()
        };
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
    }

    #[test]
    fn rates_hold_over_many_requests() {
        let mut state = FaultState::new(Faults::default_mix());
        let failed =
            (0..20_000).filter(|_| state.decide(LIST).fault.is_some_and(FaultKind::fails)).count();
        assert!((500..700).contains(&failed), "{failed}");
    }

    #[test]
    fn a_rule_hits_by_number_range_step_and_times() {
        let rule = Rule { fault: Some(FaultKind::Html), ..Rule::default() };
        let hits = |rule: Rule| {
            let mut state = FaultState::new(Faults { rules: vec![rule], ..Faults::none() });
            (1..=10).filter(|_| state.decide(LIST).fault.is_some()).collect::<Vec<u32>>()
        };
        assert_eq!(hits(Rule { nth: Some(3), ..rule.clone() }), [3]);
        assert_eq!(hits(Rule { from: Some(4), to: Some(6), ..rule.clone() }), [4, 5, 6]);
        assert_eq!(hits(Rule { from: Some(2), every: Some(4), ..rule.clone() }), [2, 6, 10]);
        assert_eq!(hits(Rule { times: Some(2), ..rule.clone() }), [1, 2]);
        assert_eq!(hits(Rule { query: Some("cursor=x".into()), ..rule }), [0; 0]);
    }
}
