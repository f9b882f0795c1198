use std::pin::pin;

use jiff::civil::Date;
use tokio::time::Instant;

use crate::{BudgetId, Limiter, budget::State};

/// The granting side of a [leased](crate::Budget::leased) budget.
///
/// One task takes the role of the treasurer: it waits until more is wanted,
/// writes down that so much may be spent, and only then grants it. So nothing
/// is ever spent that is not written down.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use jiff::{civil::Time, tz::TimeZone};
/// use tower_ratelimit_tokens::{Budget, Charge, Limiter};
///
/// let mut limits = Limiter::builder();
/// let day = limits.budget("day", Budget::calendar_day(1_000, TimeZone::UTC, Time::midnight()).leased());
/// let limiter = limits.build()?;
/// let lease = limiter.lease(day).expect("it is leased");
///
/// let treasurer = tokio::spawn(async move {
///     loop {
///         let (total, day) = (lease.wanted().await, lease.day());
///         // ... write `total` for `day` down, durably ...
///         lease.grant_for(day, total);
///     }
/// });
/// let ticket = limiter.acquire(Charge::new().with(day, 10), None).await?;
/// treasurer.abort();
/// assert_eq!(ticket.charge().of(day), 10);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lease {
    limiter: Limiter,
    budget: BudgetId,
}

impl Lease {
    pub(crate) const fn new(limiter: Limiter, budget: BudgetId) -> Self {
        Self { limiter, budget }
    }

    /// Resolves when what is spent and what waiting calls need comes within the
    /// low-water mark of what is granted. Gives the total that should be granted
    /// for this day: what is needed and twice the low-water mark, at most the
    /// limit.
    ///
    /// Resolves at once, again and again, until that much is granted: who cannot
    /// write it down should pause before asking anew.
    ///
    /// # Cancellation
    ///
    /// May be dropped and asked again at any time.
    pub async fn wanted(&self) -> u64 {
        loop {
            let mut told = pin!(self.limiter.shared().leases.notified());
            told.as_mut().enable();
            let wanted = self.limiter.with(Instant::now(), |core, _, _| {
                let waiting = core.queue.need(self.budget.index());
                core.leases_wanted();
                let low_water = core.specs[self.budget.index()].low_water;
                core.accounts[self.budget.index()].wanted(low_water, waiting)
            });
            if let Some(total) = wanted {
                return total;
            }
            told.await;
        }
    }

    /// From now on, `total` units may be spent in this day, counting those that
    /// are spent already.
    ///
    /// A new day begins with nothing granted. If the day may have changed since
    /// [`wanted`](Self::wanted), use [`grant_for`](Self::grant_for).
    pub fn grant(&self, total: u64) {
        self.limiter.change(self.budget, |account, _| {
            if let State::Day(day) = &mut account.state {
                day.grant(total);
            }
        });
    }

    /// As [`grant`](Self::grant), if the day is still `day`. Returns whether it is.
    #[allow(clippy::must_use_candidate, reason = "a grant that came too late is asked for again")]
    pub fn grant_for(&self, day: Date, total: u64) -> bool {
        let mut same = false;
        self.limiter.change(self.budget, |account, _| {
            if let State::Day(state) = &mut account.state {
                same = state.day() == Some(day);
                if same {
                    state.grant(total);
                }
            }
        });
        same
    }

    /// Units spent or reserved in this day, as the server's counts correct it.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.limiter
            .with(Instant::now(), |core, now, _| core.accounts[self.budget.index()].used(now))
    }

    /// Units granted for this day in all.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.limiter.with(Instant::now(), |core, _, _| {
            core.accounts[self.budget.index()].day().and_then(|day| day.granted()).unwrap_or(0)
        })
    }

    /// The day that is being spent, by the date on which it began.
    #[must_use]
    pub fn day(&self) -> Date {
        self.limiter.with(Instant::now(), |core, _, _| {
            core.accounts[self.budget.index()].day().and_then(|day| day.day()).unwrap_or(Date::ZERO)
        })
    }
}
