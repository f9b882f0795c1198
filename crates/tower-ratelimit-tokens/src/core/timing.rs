//! Pure: budgets that are spread over their period.

use super::Core;
use crate::{Charge, moment::Nanos};

impl Core {
    /// How long a call is held back because of what has been used.
    pub(super) fn latency(&mut self, now: Nanos, charge: &Charge) -> Nanos {
        let mut longest = 0;
        for (budget, _) in charge.parts() {
            let Some(spec) = self.specs.get(budget) else { continue };
            if let Some(pacer) = &spec.pacer {
                let account = &mut self.accounts[budget];
                longest = longest.max(pacer.latency(account.used(now), account.limit()));
            }
        }
        longest
    }

    /// When all paced budgets of a charge are due.
    pub(super) fn due(&self, charge: &Charge) -> Nanos {
        let pacers = charge.parts().filter_map(|(budget, _)| self.specs[budget].pacer.as_ref());
        pacers.map(|pacer| pacer.due()).max().unwrap_or(0)
    }

    /// A charge goes now: the next is due later.
    pub(super) fn pace(&mut self, now: Nanos, charge: &Charge) {
        for (budget, n) in charge.parts() {
            let account = &mut self.accounts[budget];
            let left = account.limit().saturating_sub(account.used(now));
            let spec = &mut self.specs[budget];
            let (Some(pacer), Some(ends)) = (&mut spec.pacer, account.ends()) else { continue };
            let total = account.total();
            let gone = spec.trend.as_mut().and_then(|trend| trend.gone_at(now, total, left));
            let short = pacer.is_predictive() && gone.is_some_and(|gone| gone < ends);
            pacer.spent(now, n, left, ends, short);
        }
    }

    /// The trends' slices of time go on.
    #[cold]
    pub(super) fn look_at_trends(&mut self, now: Nanos) {
        self.wants_look = Nanos::MAX;
        for (budget, spec) in self.specs.iter_mut().enumerate() {
            if let Some(trend) = &mut spec.trend {
                trend.look(now, self.accounts[budget].total());
                self.wants_look = self.wants_look.min(trend.wants_look());
            }
        }
    }

    /// Something is spent of a budget for the first time.
    #[cold]
    pub(super) fn begin_trends(&mut self, now: Nanos, charge: &Charge) {
        for (budget, _) in charge.parts_of(self.unspent) {
            if let Some(trend) = &mut self.specs[budget].trend {
                trend.begin(now);
            }
        }
        self.unspent &= !charge.mask();
        self.mark_special();
    }
}
