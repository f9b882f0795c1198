use std::{
    fmt,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use jiff::civil::Date;
use tokio::{sync::Notify, time::Instant};

use crate::{
    BudgetId, LeaseReport, Limiter, Sizing,
    book::{Holding, Level, Size, Slice},
    moment::nanos,
    shared::Shared,
};

/// The granting side of all [leased](crate::Budget::leased) budgets of a limiter,
/// for a ledger that several limiters share.
///
/// One task takes the role of the ledger's driver: it waits until more is
/// [`wanted`](Self::wanted), takes a [`report`](Self::report) of what is held and
/// needed, gives that to the ledger and [grants](Self::grant_slots) what came
/// back. The limiter itself never waits for the ledger.
///
/// # The rule
///
/// The ledger counts a unit from the grant on as if it were sent at the last
/// moment at which it may be. A report states everything that counts or may come
/// to count, and takes the place of all that was stated and granted before it; so
/// a lost answer costs nothing. Grants are only valid if they answer the newest
/// report.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use tower_ratelimit_tokens::{Budget, Charge, Limiter};
///
/// let mut limits = Limiter::builder();
/// let burst = limits.budget("burst", Budget::rolling(100, Duration::from_secs(2)).leased());
/// let limiter = limits.build()?;
/// let leases = limiter.leases();
/// assert!(limiter.try_acquire(Charge::new().with(burst, 1), None).is_err(), "nothing is leased");
///
/// let driver = tokio::spawn(async move {
///     while leases.wanted().await {
///         let now = Instant::now();
///         let Some(report) = leases.report(now) else { return };
///         // ... ask the ledger; it grants all that is wanted, for half a second ...
///         let wanted = report.budgets[0].wanted;
///         leases.grant_slots(burst, wanted, now, now + Duration::from_millis(500), 0);
///     }
/// });
/// let ticket = limiter.acquire(Charge::new().with(burst, 10), None).await?;
/// assert!(ticket.send_before() <= Some(Instant::now() + Duration::from_millis(500)));
/// # drop((ticket, limiter));
/// # driver.await?; // it ends with the limiter
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Leases {
    shared: Weak<Shared>,
    told: Arc<Notify>,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("alive", &self.is_alive()).finish_non_exhaustive()
    }
}

impl Leases {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::downgrade(shared), told: Arc::clone(&shared.leases) }
    }

    fn limiter(&self) -> Option<Limiter> {
        self.shared.upgrade().map(Limiter::of_shared)
    }

    /// Whether a handle of the limiter is left.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.shared.strong_count() > 0
    }

    /// Resolves when some leased budget is short: to `true`; or to `false` when
    /// the last handle of the limiter is gone.
    ///
    /// Resolves at once, again and again, until enough is granted: who is not
    /// given enough should pause before asking anew.
    ///
    /// # Cancellation
    ///
    /// May be dropped and asked again at any time.
    pub async fn wanted(&self) -> bool {
        self.wanted_of(|_| true).await
    }

    /// As [`wanted`](Self::wanted), for the budgets that `of` names.
    ///
    /// # Cancellation
    ///
    /// May be dropped and asked again at any time.
    pub async fn wanted_of(&self, of: impl Fn(BudgetId) -> bool + Send) -> bool {
        loop {
            let mut told = pin!(self.told.notified());
            told.as_mut().enable();
            let wanted = self.limiter().map(|limiter| {
                limiter.with(Instant::now(), |core, _, _| {
                    core.leases_wanted();
                    core.books_wanted(&of)
                })
            });
            match wanted {
                Some(true) => return true,
                Some(false) => told.await,
                None => return false,
            }
        }
    }

    /// Resolves when the last handle of the limiter is gone.
    pub async fn closed(&self) {
        loop {
            let mut told = pin!(self.told.notified());
            told.as_mut().enable();
            if !self.is_alive() {
                return;
            }
            told.await;
        }
    }

    /// What is held and needed at `now`; `None` when the limiter is gone.
    ///
    /// Brings the rate of spending up to date, so call it once per exchange.
    #[must_use]
    pub fn report(&self, now: Instant) -> Option<LeaseReport> {
        let limiter = self.limiter()?;
        Some(limiter.with(now, |core, now, _| core.lease_report(now)))
    }

    /// Grants `units` of a rolling or fixed budget, to be sent from `from` on and
    /// before `until`. `dated` is what the ledger calls the beginning: it comes
    /// back in reports until it is reached.
    pub fn grant_slots(
        &self,
        budget: BudgetId,
        units: u64,
        from: Instant,
        until: Instant,
        dated: u64,
    ) {
        self.change(budget, |core, now, index| {
            let (from, until) = (core.epoch.nanos(from), core.epoch.nanos(until));
            if let Some(book) = core.accounts[index].book_at(now) {
                book.grant_slice(now, Slice { from, until, units, dated });
            }
        });
    }

    /// Grants `units` more of a calendar day, if the day is still `period`. They
    /// and all that were granted before may be sent before `until`. Returns
    /// whether it is that day.
    #[allow(clippy::must_use_candidate, reason = "a grant that came too late is asked for again")]
    pub fn grant_count(&self, budget: BudgetId, period: Date, units: u64, until: Instant) -> bool {
        let mut same = false;
        self.change(budget, |core, now, index| {
            let until = core.epoch.nanos(until);
            if let Some(book) = core.accounts[index].book_at(now) {
                same = book.grant_count(period, units, until);
            }
        });
        same
    }

    /// Of a calendar day, if it is still `period`, `units` are spent by others: calls
    /// for which our own spending leaves too little of the limit then, wait for the next
    /// day, or are refused if that is too late for them.
    pub fn spent_elsewhere(&self, budget: BudgetId, period: Date, units: u64) {
        self.change(budget, |core, now, index| {
            if let Some(book) = core.accounts[index].book_at(now) {
                book.spent_elsewhere(period, units);
            }
        });
    }

    /// When the ledger may have more; a hint that is told to those who wait.
    pub fn retry_at(&self, budget: BudgetId, at: Instant) {
        self.change(budget, |core, now, index| {
            let at = core.epoch.nanos(at);
            if let Some(book) = core.accounts[index].book_at(now) {
                book.retry_at(at);
            }
        });
    }

    /// Gives up what is in hand of all budgets and was not admitted yet: the next
    /// report says so.
    pub fn give_up(&self) {
        if let Some(limiter) = self.limiter() {
            limiter.with(Instant::now(), |core, now, _| core.empty_books(now));
        }
    }

    /// As [`give_up`](Self::give_up), for one budget.
    pub fn give_up_of(&self, budget: BudgetId) {
        self.change(budget, |core, now, index| {
            if let Some(book) = core.accounts[index].book_at(now) {
                book.empty();
            }
        });
    }

    /// How much is kept in hand of `budget`.
    pub fn size(&self, budget: BudgetId, sizing: Sizing) {
        self.change(budget, |core, now, index| {
            if let Some(book) = core.accounts[index].book_at(now) {
                let Sizing { ahead, least, most } = sizing;
                book.size = Size { ahead: nanos(ahead), least, most };
            }
        });
    }

    /// How much is kept in hand of `budget`; `None` if it is not leased.
    #[must_use]
    pub fn sizing(&self, budget: BudgetId) -> Option<Sizing> {
        self.limiter()?.with(Instant::now(), |core, now, _| {
            let size = core.accounts.get(budget.index())?.book_at(now)?.size;
            let ahead = Duration::from_nanos(size.ahead);
            Some(Sizing { ahead, least: size.least, most: size.most })
        })
    }

    fn change(&self, budget: BudgetId, change: impl FnOnce(&mut crate::core::Core, u64, usize)) {
        let Some(limiter) = self.limiter() else { return };
        limiter.with(Instant::now(), |core, now, effects| {
            if budget.index() < core.specs.len() {
                change(core, now, budget.index());
            }
            core.changed(now, budget.index(), effects);
        });
    }
}

/// What the server has said last.
pub(crate) fn level_of(holding: &Holding) -> Option<Level> {
    match holding {
        Holding::Slots(slots) => slots.level(),
        Holding::Counts(counts) => counts.level(),
    }
}
