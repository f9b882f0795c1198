//! How many retries may be bought.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{Class, Problem, Quota, Share, share::Tally};

/// By which rules retries are paid for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum BudgetRule {
    /// From a purse that successes fill; the AWS client libraries' way.
    Quota(Quota),
    /// As a share of the requests, plus a reserve; Finagle's way.
    Share(Share),
}

/// Where retries are paid from, by a [`Quota`] or a [`Share`]. Clones share it:
/// give one to several policies and they draw from the same.
///
/// A retry is paid for when it is decided on, before the wait: those who wait
/// have paid already, and those who cannot pay do not wait.
///
/// ```
/// use http::{Request, Response};
/// use tower_retry_classify::{Quota, RetryBudget, RetryPolicy};
///
/// let budget = RetryBudget::new(Quota::AWS.capacity(100));
/// let reads = RetryPolicy::<Request<()>, Response<()>>::http().budget(budget.clone()).build()?;
/// let writes = RetryPolicy::<Request<String>, Response<()>>::http().budget(budget.clone()).build()?;
/// assert_eq!((reads.budget().available(), writes.budget().available()), (100, 100));
/// # Ok::<(), tower_retry_classify::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct RetryBudget {
    store: Store,
}

#[derive(Clone)]
enum Store {
    Quota(Arc<AtomicU32>, Quota),
    Share(Arc<(Instant, Mutex<Tally>)>, Share),
}

impl RetryBudget {
    /// A full purse.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self { store: Store::Quota(Arc::new(AtomicU32::new(quota.capacity)), quota) }
    }

    /// A share of the requests to come, with a full reserve. Its window runs on
    /// tokio's clock.
    #[must_use]
    pub fn share(share: Share) -> Self {
        let tally = Arc::new((Instant::now(), Mutex::new(Tally::default())));
        Self { store: Store::Share(tally, share) }
    }

    /// Retries cost nothing.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(Quota::AWS.cost(0).timeout_cost(0))
    }

    /// What is in it now: tokens of a quota, or whole retries of a share.
    #[must_use]
    pub fn available(&self) -> u32 {
        match &self.store {
            Store::Quota(purse, _) => purse.load(Relaxed),
            Store::Share(tally, share) => at(tally, |tally, now| tally.available(share, now)),
        }
    }

    /// The rules it goes by.
    #[must_use]
    pub const fn rule(&self) -> BudgetRule {
        match &self.store {
            Store::Quota(_, quota) => BudgetRule::Quota(*quota),
            Store::Share(_, share) => BudgetRule::Share(*share),
        }
    }

    /// Pays for a retry; how much, or `None` if there is not enough.
    pub(crate) fn withdraw(&self, class: Class) -> Option<u32> {
        match &self.store {
            Store::Quota(purse, quota) => {
                let cost = quota.cost_of(class);
                let pay = |purse| quota.pay(purse, cost);
                purse.fetch_update(Relaxed, Relaxed, pay).ok().map(|_| cost)
            }
            Store::Share(tally, share) => {
                at(tally, |tally, now| tally.withdraw(share, now)).then_some(1)
            }
        }
    }

    /// A request is about to be sent for the first time.
    pub(crate) fn request(&self) {
        if let Store::Share(tally, share) = &self.store {
            at(tally, |tally, now| tally.request(share, now));
        }
    }

    /// A call went well, after a retry that cost `paid`, or (zero) at once.
    pub(crate) fn succeeded(&self, retries: u32, paid: u32) {
        if let Store::Quota(purse, quota) = &self.store {
            deposit(purse, quota, if retries == 0 { quota.reward } else { paid });
        }
    }

    /// A retry that was paid for was not sent.
    pub(crate) fn refund(&self, paid: u32) {
        match &self.store {
            Store::Quota(purse, quota) => deposit(purse, quota, paid),
            Store::Share(tally, share) => at(tally, |tally, now| tally.refund(share, now)),
        }
    }

    pub(crate) fn check(&self, problems: &mut Vec<Problem>) {
        match &self.store {
            Store::Quota(_, quota) => quota.check(problems),
            Store::Share(_, share) => share.check(problems),
        }
    }
}

/// Puts tokens in. A full purse is only read, so that the hot path of many
/// threads does not fight for it.
fn deposit(purse: &AtomicU32, quota: &Quota, tokens: u32) {
    let put = |purse| Some(quota.put(purse, tokens)).filter(|&after| after != purse);
    // An error says that there was nothing to change.
    let _ = purse.fetch_update(Relaxed, Relaxed, put);
}

fn at<T>(tally: &(Instant, Mutex<Tally>), look: impl FnOnce(&mut Tally, Duration) -> T) -> T {
    let now = tally.0.elapsed();
    look(&mut tally.1.lock().unwrap_or_else(PoisonError::into_inner), now)
}

/// A purse of its own by the rules of [`Quota::AWS`].
impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(Quota::AWS)
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("available", &self.available())
            .field("rule", &self.rule())
            .finish()
    }
}
