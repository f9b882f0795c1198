//! Pure: budgets, gate and queue together. Everything takes `now`.

mod admit;
mod hearing;
mod leasing;
mod plain;
mod planning;
mod sent;
mod shedding;
mod spending;
mod timing;
mod waiting;

use std::{sync::Arc, task::Waker, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

pub(crate) use self::{
    admit::{Claim, Hears},
    plain::Plain,
    sent::{Sendings, SentId},
    shedding::Shed,
};
use crate::{
    Charge, GateReason, Priority, WhenFull,
    accounts::{Accounts, At},
    budget::{Fit, State},
    charge::MAX_BUDGETS,
    costs::Learner,
    error::Refusal,
    gate::Gate,
    moment::{Epoch, Nanos},
    queue::{Queue, Wakes},
    scope::MAX_SCOPES,
    spec::Spec,
    status::{Refusals, Usage},
};

/// What was reserved with a grant, besides its charge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takings {
    /// What is needed to give it back, by budget.
    numbers: [u32; MAX_BUDGETS],
    /// It must be sent before that, as its lease ends then.
    until: Nanos,
}

impl Takings {
    /// Nothing was reserved yet.
    pub(crate) const NONE: Self = Self { numbers: [0; MAX_BUDGETS], until: Nanos::MAX };
}

/// What one request holds that was admitted and not sent yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) charge: Charge,
    at: At,
    reserved_at: Nanos,
    takings: Takings,
}

impl Grant {
    pub(crate) const fn reserved(now: Nanos, charge: Charge, at: At, takings: Takings) -> Self {
        Self { charge, at, reserved_at: now, takings }
    }

    /// It must be sent before that, as its lease ends then.
    pub(crate) const fn until(&self) -> Nanos {
        self.takings.until
    }
}

/// Why a charge cannot be admitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// `None`: the gate, or the call's own latency.
    pub(crate) budget: Option<u8>,
    pub(crate) fit: Fit,
}

/// What a waiter's poll comes to.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for a few lines on the stack")]
pub(crate) enum Polled {
    Granted(Grant),
    Refused(Refusal),
    /// Its timer serves all: sleep until then, unless woken before.
    Sleep(Nanos),
    /// Wait to be woken.
    Parked,
}

/// Something that happened and is worth an event once the lock is given back.
#[derive(Clone, Debug)]
pub(crate) enum News {
    GateClosed { for_: Duration, reason: GateReason },
    Exhausted { budget: u8, for_: Duration },
    NewDay { budget: u8 },
    Foreign { budget: u8, units: u64 },
    Warning { budget: u8, used: u64, limit: u64 },
    LimitLearnt { budget: u8, limit: u64 },
    Shedding { below: Priority, reason: Arc<str> },
}

/// What an operation leaves to be done outside the lock.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Effects {
    pub(crate) wakes: Wakes,
    /// Not to be woken, only to be dropped; one operation leaves one at most.
    pub(crate) idle: Option<Waker>,
    pub(crate) leases: bool,
    pub(crate) news: Vec<News>,
}

/// The queue's bounds and manners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    pub(crate) max_waiting: usize,
    pub(crate) max_per_key: usize,
    pub(crate) max_wait: Nanos,
    pub(crate) when_full: WhenFull,
    /// How much longer a call of one level less has to have waited.
    pub(crate) per_level: Nanos,
}

/// In this order, so that what every call changes or looks at lies in a few cache
/// lines beside the lock: they go to and fro between threads that call at once.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Core {
    latest: Nanos,
    seq: u64,
    wants_wall: Nanos,
    pub(crate) gate: Gate,
    /// The server's count has been heard: from now on every answer is awaited, so
    /// that a count never forgets a request under way that it cannot have in it.
    heard: bool,
    /// The budgets of which more leases are wanted and whose treasurers know it.
    leases_told: u8,
    valid: u8,
    /// Budgets of which each key has its own; that are leased; that are paced;
    /// that keep a reserve; of which somebody is warned.
    keyed: u8,
    leased: u8,
    paced: u8,
    keeping: u8,
    warning: u8,
    /// Budgets with a trend of which nothing was spent yet.
    unspent: u8,
    /// Budgets that have any of this, see [`is_plain`](Self::is_plain).
    special: u8,
    /// When the first of the trends wants to be shown what was spent.
    wants_look: Nanos,
    pub(crate) usage: Vec<Usage>,
    pub(crate) sendings: Sendings,
    pub(crate) specs: Box<[Spec]>,
    pub(crate) shed: Shed,
    pub(crate) accounts: Accounts,
    pub(crate) queue: Queue,
    pub(crate) epoch: Epoch,
    /// The scope that holds a scope.
    outer: [Option<u8>; MAX_SCOPES],
    manners: Manners,
    arrivals: u64,
    pub(crate) learners: Vec<Learner>,
    pub(crate) refusals: Refusals,
    /// The budgets whose limit a refusal has lowered.
    learning: u8,
}

impl Core {
    pub(crate) fn new(
        epoch: Epoch,
        specs: Box<[Spec]>,
        accounts: Accounts,
        outer: [Option<u8>; MAX_SCOPES],
        gate: Gate,
        manners: Manners,
    ) -> Self {
        let mask = |test: &dyn Fn(&Spec) -> bool| {
            specs.iter().enumerate().fold(0, |m, (i, spec)| m | u8::from(test(spec)) << i)
        };
        let has_days = accounts.shared().iter().any(|account| account.day().is_some());
        let mut core = Self {
            epoch,
            latest: 0,
            valid: mask(&|_| true),
            keyed: mask(&|spec| spec.scope.is_some()),
            leased: mask(&|spec| spec.low_water.is_some()),
            paced: mask(&|spec| spec.pacer.is_some()),
            keeping: mask(&|spec| spec.reserve.is_some()),
            unspent: mask(&|spec| spec.trend.is_some()),
            special: 0,
            wants_look: 0,
            warning: mask(&|spec| !spec.warn_at.is_empty()),
            specs,
            accounts,
            outer,
            queue: Queue::new(),
            gate,
            manners,
            shed: Shed::none(),
            seq: 0,
            arrivals: 0,
            wants_wall: if has_days { 0 } else { Nanos::MAX },
            usage: vec![Usage::unnamed()],
            sendings: Sendings::default(),
            learners: vec![Learner::default()],
            refusals: Refusals::default(),
            heard: false,
            learning: 0,
            leases_told: 0,
        };
        core.mark_special();
        core
    }

    /// `at` as nanoseconds, never before what was seen already: two threads may
    /// read the clock in one order and come here in the other.
    #[inline]
    pub(crate) fn now(&mut self, at: Instant) -> Nanos {
        self.latest = self.latest.max(self.epoch.nanos(at));
        self.latest
    }

    /// The longest wait.
    pub(crate) const fn max_wait(&self) -> Nanos {
        self.manners.max_wait
    }

    /// The last moment that was seen.
    pub(crate) const fn latest(&self) -> Nanos {
        self.latest
    }

    #[inline]
    pub(crate) const fn wants_wall(&self, now: Nanos) -> bool {
        now >= self.wants_wall
    }

    /// Tells the days what the wall clock says.
    pub(crate) fn wall(&mut self, now: Nanos, wall: Timestamp, effects: &mut Effects) {
        let mut next = Nanos::MAX;
        let mut begun = 0_u8;
        for (index, account) in self.accounts.shared_mut().iter_mut().enumerate() {
            if let State::Day(day) = &mut account.state {
                if now >= day.wants_wall() && day.wall(now, wall) {
                    begun |= 1 << index;
                    effects.news.push(News::NewDay { budget: index as u8 });
                }
                next = next.min(day.wants_wall());
            }
        }
        self.wants_wall = next.max(now + 1);
        for budget in 0..self.specs.len() {
            if begun & 1 << budget == 0 {
                continue;
            }
            if self.keyed & 1 << budget == 0 {
                if std::mem::take(&mut self.specs[budget].ran_dry) {
                    self.gate.pace(now);
                }
                self.came_in(budget as u32);
            } else {
                let keys: Vec<usize> = self.accounts.of_budget(budget as u8).collect();
                for at in keys {
                    self.follow_day(now, at);
                    self.came_in(at as u32);
                }
            }
        }
        self.settle_queue(now, effects);
    }

    /// Whether more leases are wanted, of a budget for which that has not been
    /// said yet.
    #[inline]
    pub(crate) fn leases_wanted(&mut self) -> bool {
        self.leased != 0 && self.more_leases_wanted()
    }

    fn more_leases_wanted(&mut self) -> bool {
        let mut left = self.leased;
        let mut wanted = 0;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            if self.wants_lease(index) {
                wanted |= 1 << index;
            }
            left &= left - 1;
        }
        let told = std::mem::replace(&mut self.leases_told, wanted);
        wanted & !told != 0
    }
}
