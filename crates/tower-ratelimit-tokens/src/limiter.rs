use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Acquire, BudgetId, Charge, Leases, LimiterBuilder, Observations, Refused, Settle, Terms,
    Ticket, WallClock,
    core::{Claim, Core, Effects, Grant, Hears, News, Plain, SentId},
    error::Refusal,
    events,
    moment::Nanos,
    shared::Shared,
};

/// The handle to one set of budgets, their queue and their gate.
///
/// Cheap to clone; all clones are the same limiter.
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("budgets", &self.shared.names).finish_non_exhaustive()
    }
}

impl Limiter {
    /// Starts from the defaults, without budgets.
    pub fn builder() -> LimiterBuilder {
        LimiterBuilder::new()
    }

    pub(crate) fn of(core: Core, clock: Arc<dyn WallClock>) -> Self {
        let needs_answer = core.accounts.shared().iter().any(|account| account.needs_answer());
        let names = core.specs.iter().map(|spec| Arc::clone(&spec.name)).collect();
        let (epoch, core, leases) = (core.epoch, Mutex::new(core), Arc::default());
        Self { shared: Arc::new(Shared { core, leases, clock, epoch, needs_answer, names }) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) const fn of_shared(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The granting side of all leased budgets, for a ledger. From now on leased
    /// days are the ledger's too: what a [`Lease`](crate::Lease) grants counts no more.
    #[must_use]
    pub fn leases(&self) -> Leases {
        self.with(Instant::now(), |core, _, _| core.open_books());
        Leases::new(&self.shared)
    }

    pub(crate) fn needs_answer(&self) -> bool {
        self.shared.needs_answer
    }

    /// Locks, with the days up to date.
    #[inline(always)]
    fn lock(&self, at: Instant) -> (MutexGuard<'_, Core>, Nanos) {
        // Nothing panics under the lock, so a poisoned core is still whole.
        let mut core = self.shared.core();
        let now = core.now(at);
        if core.wants_wall(now) {
            drop(core);
            return self.read_wall(at);
        }
        (core, now)
    }

    /// Reads the wall clock outside the lock.
    #[cold]
    fn read_wall(&self, at: Instant) -> (MutexGuard<'_, Core>, Nanos) {
        let wall = self.shared.clock.now();
        let mut effects = Effects::default();
        let mut core = self.shared.core();
        let now = core.now(at);
        if core.wants_wall(now) {
            core.wall(now, wall, &mut effects);
        }
        drop(core);
        self.carry_out(effects);
        let mut core = self.shared.core();
        // Time may have gone on in between, and must not run backwards.
        let now = core.now(at);
        (core, now)
    }

    /// Does something under the lock and what follows from it outside.
    pub(crate) fn with<T>(
        &self,
        at: Instant,
        act: impl FnOnce(&mut Core, Nanos, &mut Effects) -> T,
    ) -> T {
        let mut effects = Effects::default();
        let (mut core, now) = self.lock(at);
        let result = act(&mut core, now, &mut effects);
        drop(core);
        self.carry_out(effects);
        result
    }

    #[inline]
    fn carry_out(&self, effects: Effects) {
        for news in &effects.news {
            events::tell(&self.shared.names, news);
        }
        drop(effects.wakes);
        if effects.leases {
            self.shared.leases.notify_waiters();
        }
    }

    /// Pays and sends in one step, if that is possible now; the record's name is
    /// there if the end is to be told. If not, says why, unless it is to wait.
    #[inline]
    pub(crate) fn try_send(
        &self,
        charge: &Charge,
        terms: &Terms,
        hears: Hears,
        waits: bool,
    ) -> Result<Option<SentId>, Option<Box<Refused>>> {
        let at = Instant::now();
        let (mut core, now) = self.lock(at);
        if core.is_plain(now, charge, terms.priority) {
            match core.try_send_plain(now, charge, hears) {
                Plain::Sent(sent) => {
                    if !core.is_calm(now, charge) {
                        let warning = core.warn(now, charge);
                        drop(core);
                        self.tell(false, warning);
                    }
                    return Ok(sent);
                }
                Plain::NoRoom(_) if waits => return Err(None),
                Plain::NoRoom(first) => {
                    let refusal = core.refuse_plain(now, charge, first);
                    drop(core);
                    return Err(Some(self.refused(&refusal, at)));
                }
                Plain::Other => {}
            }
        }
        self.try_send_by_rule(core, charge, terms, hears, waits, (at, now))
    }

    /// As [`try_send`](Self::try_send), of any call.
    #[inline(never)]
    fn try_send_by_rule(
        &self,
        mut core: MutexGuard<'_, Core>,
        charge: &Charge,
        terms: &Terms,
        hears: Hears,
        waits: bool,
        (at, now): (Instant, Nanos),
    ) -> Result<Option<SentId>, Option<Box<Refused>>> {
        let claim = Claim::of(terms, self.shared.epoch);
        if let Some(sent) = core.try_send(now, charge, claim, hears) {
            let (leases, warning) = (core.leases_wanted(), core.warn(now, charge));
            drop(core);
            if leases || warning.is_some() {
                self.tell(leases, warning);
            }
            return Ok(sent);
        }
        let leases = core.leases_wanted();
        if waits {
            drop(core);
            if leases {
                self.tell(leases, None);
            }
            return Err(None);
        }
        let refusal = core.refuse_now(now, charge, claim);
        drop(core);
        if leases {
            self.tell(leases, None);
        }
        Err(Some(self.refused(&refusal, at)))
    }

    #[cold]
    fn tell(&self, leases: bool, warning: Option<News>) {
        if leases {
            self.shared.leases.notify_waiters();
        }
        if let Some(warning) = warning {
            events::tell(&self.shared.names, &warning);
        }
    }

    /// As [`try_acquire`](Self::try_acquire); a refusal is neither counted nor told.
    #[cfg(feature = "http-body")]
    pub(crate) fn try_acquire_quietly(&self, charge: Charge, terms: Terms) -> Option<Ticket> {
        let grant = self.with(Instant::now(), |core, now, effects| {
            let claim = Claim::of(&terms, core.epoch);
            let grant = core.try_admit(now, &charge, claim);
            effects.leases |= core.leases_wanted();
            grant
        });
        grant.map(|grant| Ticket::new(self.clone(), grant))
    }

    /// Why a call that must not wait is refused.
    #[cfg(feature = "http-body")]
    pub(crate) fn refuse(&self, charge: &Charge, terms: &Terms) -> Refused {
        let at = Instant::now();
        let refusal = self.with(at, |core, now, _| {
            let claim = Claim::of(terms, core.epoch);
            core.refuse_now(now, charge, claim)
        });
        *self.refused(&refusal, at)
    }

    /// Of what was reserved; there is no record if nobody is to hear of the end.
    pub(crate) fn send(&self, grant: &Grant, at: Instant, hears: Hears) -> Option<SentId> {
        self.with(at, |core, now, effects| core.send_reserved(now, grant, hears, effects))
    }

    /// As [`send`](Self::send), unless a lease ran out before: `None`.
    pub(crate) fn send_in_time(
        &self,
        grant: &Grant,
        at: Instant,
        hears: Hears,
    ) -> Option<Option<SentId>> {
        self.with(at, |core, now, effects| {
            let in_time = now < grant.until();
            in_time.then(|| core.send_reserved(now, grant, hears, effects))
        })
    }

    pub(crate) fn unsend(&self, grant: &Grant) {
        self.with(Instant::now(), |core, now, effects| core.unsend(now, grant, effects));
    }

    pub(crate) fn answered(
        &self,
        sent: &SentId,
        at: Instant,
        said: &Observations,
        settle: &Settle,
    ) {
        if said.is_empty() && *settle == Settle::Keep {
            return self.paid(sent, at);
        }
        let (core, now) = self.lock(at);
        self.take_account(core, now, sent, said, settle);
    }

    /// As [`answered`](Self::answered), of an answer that says nothing and cost what was paid.
    #[inline]
    pub(crate) fn paid(&self, sent: &SentId, at: Instant) {
        let (mut core, now) = self.lock(at);
        match core.answered_as_paid(now, sent) {
            Some(leases) => {
                drop(core);
                if leases {
                    self.tell(true, None);
                }
            }
            None => self.take_account(core, now, sent, Observations::NOTHING, &Settle::Keep),
        }
    }

    /// Of an answer that says something or has cost something else, or for which somebody waits.
    #[inline(never)]
    fn take_account(
        &self,
        mut core: MutexGuard<'_, Core>,
        now: Nanos,
        sent: &SentId,
        said: &Observations,
        settle: &Settle,
    ) {
        let mut effects = Effects::default();
        core.answered(now, sent, said, settle, &mut effects);
        drop(core);
        self.carry_out(effects);
    }

    /// As [`answered`](Self::answered) for a call whose answer moves nothing in
    /// time: spares the look at the clock.
    pub(crate) fn settled(&self, sent: &SentId, settle: &Settle) {
        if *settle == Settle::Keep {
            self.shared.core().forget(sent);
            return;
        }
        let mut effects = Effects::default();
        let mut core = self.shared.core();
        let now = core.latest();
        core.answered(now, sent, Observations::NOTHING, settle, &mut effects);
        drop(core);
        self.carry_out(effects);
    }

    pub(crate) fn lost(&self, sent: &SentId) {
        self.with(Instant::now(), |core, now, effects| core.lost(now, sent, effects));
    }

    /// Boxed, as it is moved often on its way.
    pub(crate) fn refused(&self, refusal: &Refusal, at: Instant) -> Box<Refused> {
        let refused = Box::new(Refused {
            kind: refusal.kind,
            budget: refusal.budget.and_then(|budget| self.name(budget)),
            reason: refusal.reason.clone(),
            epoch: self.shared.epoch,
            retry_at: refusal.retry_at,
            refused_at: at,
        });
        events::refused(&refused);
        refused
    }

    pub(crate) fn name(&self, budget: u8) -> Option<Arc<str>> {
        self.shared.names.get(usize::from(budget)).map(Arc::clone)
    }

    /// Waits until `charge` can be paid from all budgets at once. A bare
    /// [`Priority`](crate::Priority) or deadline (`Option<Instant>`) will do for
    /// the terms.
    ///
    /// The place in the queue is taken when the future is first polled, and
    /// given up when it is dropped. A deadline nearer than
    /// [`max_wait`](LimiterBuilder::max_wait) counts instead of that.
    ///
    /// Once polled, the future must be polled when it is woken, or dropped: one of
    /// those who wait holds the timer that all others rely on.
    pub fn acquire(&self, charge: Charge, terms: impl Into<Terms>) -> Acquire {
        Acquire::new(self.clone(), charge, terms.into())
    }

    /// Takes `charge` from all budgets at once, if that is possible now.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the moment at which it may work.
    pub fn try_acquire(&self, charge: Charge, terms: impl Into<Terms>) -> Result<Ticket, Refused> {
        let (at, terms) = (Instant::now(), terms.into());
        let result = self.with(at, |core, now, effects| {
            let claim = Claim::of(&terms, core.epoch);
            let grant = core.try_admit(now, &charge, claim);
            effects.leases |= core.leases_wanted();
            grant.ok_or_else(|| core.refuse_now(now, &charge, claim))
        });
        match result {
            Ok(grant) => Ok(Ticket::new(self.clone(), grant)),
            Err(refusal) => Err(*self.refused(&refusal, at)),
        }
    }

    /// The budget of that name.
    #[must_use]
    pub fn budget_id(&self, name: &str) -> Option<BudgetId> {
        let index = self.shared.names.iter().position(|known| &**known == name)?;
        Some(BudgetId(index as u8))
    }

    /// When a call that began to wait at `since` must be over at the latest.
    pub(crate) fn latest_after(&self, since: Instant) -> Option<Instant> {
        let core = self.shared.core();
        since.checked_add(Duration::from_nanos(core.max_wait()))
    }

    /// Turns the pure types' time back; used for timers.
    pub(crate) fn instant(&self, nanos: Nanos) -> Instant {
        self.shared.epoch.instant(nanos)
    }
}

/// A wait as `Duration`, for the events.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
