//! Pure: those who wait, and why.

use std::task::Waker;

use super::{Core, Effects, Grant, Polled, Wait};
use crate::{
    Charge, RefusedKind, budget::Fit, charge::MAX_BUDGETS, error::Refusal, moment::Nanos,
    queue::Key,
};

impl Core {
    /// After any change: wakes the first waiter if it could go now, or earlier
    /// than its timer says, and whoever grants leases if more are wanted.
    pub(crate) fn reconsider(&mut self, now: Nanos, effects: &mut Effects) {
        effects.leases |= self.leases_wanted();
        let Some((charge, deadline)) = self.queue.sleeping_first() else { return };
        let earlier = match self.wait(now, &charge, [0; MAX_BUDGETS], false) {
            None => true,
            Some(wait) => match (wait.fit, self.queue.armed) {
                (Fit::Now | Fit::Never, _) => true,
                // It cannot go in time any more, and is to hear of it.
                (Fit::Exhausted(at), _) if at > deadline => true,
                (Fit::At(at) | Fit::Leased(at) | Fit::Exhausted(at), Some(armed)) => at < armed,
                (Fit::At(_) | Fit::Leased(_) | Fit::Exhausted(_), None) => true,
                (Fit::Event, _) => false,
            },
        };
        if earlier {
            effects.wakes.push(self.queue.wake_first());
        }
    }

    /// The budget that binds longest, when `ahead` goes first; `None` if the
    /// charge can go now.
    pub(crate) fn wait(
        &mut self,
        now: Nanos,
        charge: &Charge,
        ahead: [u64; MAX_BUDGETS],
        floor: bool,
    ) -> Option<Wait> {
        let unknown = charge.mask() & !self.valid;
        if unknown != 0 {
            return Some(Wait { budget: None, fit: Fit::Never });
        }
        let opens = self.gate.opens(now);
        let mut worst = (opens > now).then_some(Wait { budget: None, fit: Fit::At(opens) });
        for (budget, n) in charge.parts() {
            let fit = self.accounts[budget].when(now, n, ahead[budget], floor);
            if rank(fit) > worst.map_or((0, 0), |wait| rank(wait.fit)) {
                worst = Some(Wait { budget: Some(budget as u8), fit });
            }
        }
        worst
    }

    /// What the queue needs, if a newcomer stands at its end.
    pub(crate) fn ahead(&self) -> [u64; MAX_BUDGETS] {
        std::array::from_fn(|budget| self.queue.need(budget))
    }

    /// Why this wait cannot end by `deadline`; `None` if it can.
    fn refusal(&self, now: Nanos, wait: Wait, deadline: Nanos) -> Option<Refusal> {
        let (kind, at) = match wait.fit {
            Fit::Never => (RefusedKind::NeverFits, None),
            Fit::Exhausted(at) if at > deadline => (RefusedKind::BudgetExhausted, Some(at)),
            Fit::At(at) if at > deadline => {
                let closed = self.gate.closed(now).is_some() && wait.budget.is_none();
                let kind =
                    if closed { RefusedKind::GateClosed } else { RefusedKind::DeadlineTooNear };
                (kind, Some(at))
            }
            Fit::Event | Fit::Leased(_) if now >= deadline => (RefusedKind::DeadlineTooNear, None),
            _ => return None,
        };
        Some(Refusal { kind, budget: wait.budget, retry_at: at })
    }

    /// Why a call that cannot wait at all is refused.
    pub(crate) fn refusal_now(&mut self, now: Nanos, charge: &Charge) -> Refusal {
        let ahead = self.ahead();
        let wait = self.wait(now, charge, ahead, false);
        wait.and_then(|wait| self.refusal(now, wait, now)).unwrap_or(Refusal {
            kind: RefusedKind::DeadlineTooNear,
            budget: wait.and_then(|wait| wait.budget),
            retry_at: None,
        })
    }

    /// Puts a call at the end of the queue, or refuses it at once if that wait
    /// cannot end in time.
    pub(crate) fn enqueue(
        &mut self,
        now: Nanos,
        charge: Charge,
        deadline: Option<Nanos>,
        waker: &Waker,
        effects: &mut Effects,
    ) -> Result<Key, Refusal> {
        let latest = now.saturating_add(self.max_wait);
        let deadline = deadline.map_or(latest, |deadline| deadline.min(latest));
        let ahead = self.ahead();
        let wait = self.wait(now, &charge, ahead, true);
        let refusal = wait.and_then(|wait| self.refusal(now, wait, deadline));
        if let Some(refusal) = refusal {
            self.refusals.local += 1;
            return Err(refusal);
        }
        if self.queue.len() >= self.max_waiting {
            self.refusals.local += 1;
            let retry_at = match self.wait(now, &charge, ahead, false).map(|wait| wait.fit) {
                Some(Fit::At(at) | Fit::Exhausted(at)) => Some(at),
                _ => None,
            };
            return Err(Refusal { kind: RefusedKind::QueueFull, budget: None, retry_at });
        }
        let timer = self.queue.armed;
        let key = self.queue.push(charge, deadline, waker);
        // The first waiter's timer serves all deadlines.
        if timer.is_some_and(|armed| deadline < armed) {
            effects.wakes.push(self.queue.wake_first());
        }
        effects.leases |= self.leases_wanted();
        Ok(key)
    }

    /// Polls a waiter. After `Granted` and `Refused` its key is dead.
    pub(crate) fn poll(
        &mut self,
        now: Nanos,
        key: Key,
        waker: &Waker,
        effects: &mut Effects,
    ) -> Polled {
        let overdue = Refusal { kind: RefusedKind::DeadlineTooNear, budget: None, retry_at: None };
        if self.queue.first_deadline().is_some_and(|deadline| deadline <= now) {
            self.queue.refuse_due(now, overdue, &mut effects.wakes);
            self.wake_unarmed(key, effects);
        }
        if let Some(refusal) = self.queue.refusal(key) {
            effects.idle = self.queue.remove(key);
            self.refusals.local += 1;
            return Polled::Refused(refusal);
        }
        if !self.queue.is_first(key) {
            effects.idle = self.queue.park(key, waker);
            return Polled::Parked;
        }
        let (charge, deadline) = self.queue.charge(key);
        if let Some(until) = self.admit(now, &charge) {
            self.leave(key, effects);
            return Polled::Granted(Grant::reserved(charge, until));
        }
        let Some(wait) = self.wait(now, &charge, [0; MAX_BUDGETS], false) else {
            // The gate and the budgets agree with each other or this is a bug;
            // look again rather than sleep for ever.
            effects.idle = self.queue.park(key, waker);
            return self.sleep(now.saturating_add(1_000_000));
        };
        let floor = self.wait(now, &charge, [0; MAX_BUDGETS], true).unwrap_or(wait);
        if let Some(refusal) = self.refusal(now, floor, deadline) {
            self.leave(key, effects);
            self.refusals.local += 1;
            return Polled::Refused(refusal);
        }
        effects.idle = self.queue.park(key, waker);
        match wait.fit {
            Fit::At(at) | Fit::Exhausted(at) | Fit::Leased(at) => self.sleep(at),
            Fit::Now | Fit::Event | Fit::Never => self.sleep(Nanos::MAX),
        }
    }

    /// Until `at` or the first deadline, whichever comes first.
    fn sleep(&mut self, at: Nanos) -> Polled {
        let at = self.queue.first_deadline().map_or(at, |deadline| deadline.min(at));
        self.queue.armed = Some(at);
        Polled::Sleep(at)
    }

    fn leave(&mut self, key: Key, effects: &mut Effects) {
        effects.idle = self.queue.remove(key);
        effects.wakes.push(self.queue.wake_first());
        effects.leases |= self.leases_wanted();
    }

    fn wake_unarmed(&mut self, polling: Key, effects: &mut Effects) {
        if self.queue.armed.is_none() && !self.queue.is_first(polling) {
            effects.wakes.push(self.queue.wake_first());
        }
    }

    /// A waiter goes away.
    pub(crate) fn cancel(&mut self, key: Key, effects: &mut Effects) {
        let was_first = self.queue.is_first(key);
        effects.idle = self.queue.remove(key);
        if was_first {
            effects.wakes.push(self.queue.wake_first());
        }
    }
}

/// Orders waits by how long they bind.
fn rank(fit: Fit) -> (u8, Nanos) {
    match fit {
        Fit::Now => (0, 0),
        Fit::At(at) => (1, at),
        Fit::Event => (2, 0),
        Fit::Leased(_) => (3, 0),
        Fit::Exhausted(at) => (4, at),
        Fit::Never => (5, 0),
    }
}
