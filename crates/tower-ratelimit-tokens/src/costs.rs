//! Pure: what an endpoint really costs, learnt from what the server shows.

use crate::charge::MAX_BUDGETS;

/// How often a cost must have been seen before it is proposed.
const ENOUGH: u32 = 5;

/// The cost that most answers agree on; others' spending, which looks like a
/// cost now and then, is outvoted.
#[derive(Clone, Copy, Debug, Default)]
struct Vote {
    charged: u32,
    candidate: u32,
    /// For the candidate, less those against it (Boyer and Moore's majority vote).
    lead: u32,
    seen: u32,
}

/// The costs of one endpoint, by budget.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Learner {
    votes: [Vote; MAX_BUDGETS],
}

impl Learner {
    /// A call for which `charged` was paid has really cost `actual`.
    pub(crate) fn see(&mut self, budget: usize, charged: u64, actual: u64) {
        let fit = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let (charged, actual) = (fit(charged), fit(actual));
        let vote = &mut self.votes[budget];
        if vote.charged != charged {
            // Somebody has changed the table: the old votes were about that too,
            // but a new proposal must be earned anew.
            (vote.charged, vote.seen) = (charged, 0);
        }
        vote.seen = vote.seen.saturating_add(1);
        if vote.candidate == actual {
            vote.lead = vote.lead.saturating_add(1);
        } else if vote.lead == 0 {
            (vote.candidate, vote.lead) = (actual, 1);
        } else {
            vote.lead -= 1;
        }
    }

    /// What was charged and what should be, with how many answers were seen.
    pub(crate) fn proposal(&self, budget: usize) -> Option<(u32, u32, u32)> {
        let vote = &self.votes[budget];
        let sure = vote.seen >= ENOUGH && vote.lead * 3 >= vote.seen.min(64);
        (sure && vote.candidate != vote.charged).then_some((
            vote.charged,
            vote.candidate,
            vote.seen,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_that_most_answers_show_is_proposed() {
        let mut learner = Learner::default();
        for n in 0..20 {
            assert!(n >= 5 || learner.proposal(1).is_none());
            learner.see(1, 10, if n % 4 == 3 { 37 } else { 20 });
        }
        assert_eq!(learner.proposal(1), Some((10, 20, 20)));
        assert_eq!(learner.proposal(0), None);
    }

    #[test]
    fn nothing_is_proposed_where_the_table_is_right_or_answers_disagree() {
        let mut right = Learner::default();
        let mut mixed = Learner::default();
        for n in 0..20 {
            right.see(0, 10, 10);
            mixed.see(0, 10, n);
        }
        assert_eq!((right.proposal(0), mixed.proposal(0)), (None, None));
    }
}
