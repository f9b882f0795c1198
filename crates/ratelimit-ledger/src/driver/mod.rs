mod exchange;

use std::{collections::HashMap, fmt, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tower_ratelimit_tokens::{BudgetId, Leases, Limiter};

use crate::{
    Ledger, LedgerError, LedgerStatus,
    alone::{Alone, allow},
    config::{Config, DeadLeases, WhenUnreachable},
    statement::Heard,
};

/// An idle member says so often that it lives.
const IDLE: Duration = Duration::from_secs(60);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at what may go without the ledger, once less went than was
/// wanted.
const ALONE_PAUSE: Duration = Duration::from_millis(20);

/// Refills and renews the leases of a limiter; see the [crate docs](crate).
///
/// [`run`](Self::run) is a future for the user to spawn. It holds no handle of the
/// limiter, and ends when the last one goes.
#[must_use = "a driver does nothing until it is run"]
pub struct Driver<L> {
    ledger: L,
    leases: Leases,
    config: Config,
    /// By budget, where it is not that of the configuration.
    policies: HashMap<String, WhenUnreachable>,
    member: String,
    seq: u64,
    heard: Option<Heard>,
    epoch: String,
    failed: u32,
    /// No exchange before that, as the store cannot be reached.
    backoff: Instant,
    /// The next exchange, wanted or not.
    due: Instant,
    /// Budgets of which the ledger has nothing more until then.
    paused: HashMap<usize, Instant>,
    alone: HashMap<usize, Alone>,
    status: watch::Sender<LedgerStatus>,
    stop: watch::Sender<bool>,
}

impl<L> fmt::Debug for Driver<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("member", &self.member)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Ends a [`Driver`] in good order; see [`Driver::stopper`].
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// The driver gives back what is in hand, in a last exchange, and ends. Calls
    /// that come later wait for nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Why the driver's loop goes on.
enum Woken {
    Exchange,
    Alone,
    Again,
    Stop,
    Gone,
}

impl<L: Ledger> Driver<L> {
    /// Between the leased budgets of `limiter` and `ledger`. The limiter's leased
    /// days are the ledger's from now on.
    pub fn new(limiter: &Limiter, ledger: L) -> Self {
        let now = Instant::now();
        Self {
            ledger,
            leases: limiter.leases(),
            config: Config::default(),
            policies: HashMap::new(),
            member: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
            seq: 0,
            heard: None,
            epoch: String::new(),
            failed: 0,
            backoff: now,
            due: now,
            paused: HashMap::new(),
            alone: HashMap::new(),
            status: watch::Sender::default(),
            stop: watch::Sender::new(false),
        }
    }

    /// What is done while the ledger cannot be reached. Default: nothing goes.
    pub const fn when_unreachable(mut self, policy: WhenUnreachable) -> Self {
        self.config.when_unreachable = policy;
        self
    }

    /// As [`when_unreachable`](Self::when_unreachable), for the budget of this name
    /// alone.
    pub fn when_unreachable_for(mut self, budget: &str, policy: WhenUnreachable) -> Self {
        self.policies.insert(budget.to_owned(), policy);
        self
    }

    fn goes_alone(&self) -> bool {
        let closed = WhenUnreachable::Closed;
        self.failed > 0
            && (self.config.when_unreachable != closed
                || self.policies.values().any(|policy| *policy != closed))
    }

    fn allow(&mut self) -> Vec<BudgetId> {
        let policies = (self.config, &self.policies);
        allow(&self.leases, policies, &mut self.alone, &self.status)
    }

    /// What becomes of a dead member's units of a day. Default: they count as
    /// spent until the server corrects it.
    pub const fn dead_leases(mut self, policy: DeadLeases) -> Self {
        self.config.dead_leases = policy;
        self
    }

    /// For how long a slot can be sent once it has begun. A shorter time loses less
    /// with a member that dies, and needs more round trips while little is spent.
    /// Default: 500 ms.
    pub const fn slot_life(mut self, life: Duration) -> Self {
        self.config.slot_life = life;
        self
    }

    /// How far ahead slots are dated, so that a full window needs no round trip at
    /// the very moment at which a slot comes free. Default: 250 ms.
    pub const fn slot_ahead(mut self, ahead: Duration) -> Self {
        self.config.slot_ahead = ahead;
        self
    }

    /// How long units of a day can be spent without word from the ledger. Default:
    /// 3 s.
    pub const fn count_life(mut self, life: Duration) -> Self {
        self.config.count_life = life;
        self
    }

    /// How long an exchange may take. Default: 600 ms.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// The longest pause between two attempts to reach the store; they begin 50 ms
    /// apart and double, with jitter. Default: 500 ms.
    pub const fn max_backoff(mut self, pause: Duration) -> Self {
        self.config.max_backoff = pause;
        self
    }

    /// How the driver and its ledger stand to each other, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<LedgerStatus> {
        self.status.subscribe()
    }

    /// Ends the driver in good order.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// One exchange now, before [`run`](Self::run): for those who would rather not
    /// start without their ledger.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]. The driver can be run all the same and tries again.
    ///
    /// # Cancellation
    ///
    /// May be dropped; the next exchange takes its place.
    pub async fn connect(&mut self) -> Result<(), LedgerError> {
        match self.leases.report(Instant::now()) {
            Some(report) => self.exchange(&report, false).await,
            None => Ok(()),
        }
    }

    /// Refills and renews leases until the limiter's last handle is gone, or until
    /// it is [stopped](Self::stopper). Never fails: while the store cannot be
    /// reached, or refuses, it does as it was [told](Self::when_unreachable), says
    /// so in the status, and tries again.
    ///
    /// # Cancellation
    ///
    /// May be dropped: leases run out by themselves.
    pub async fn run(mut self) {
        loop {
            match self.woken().await {
                Woken::Again => {}
                Woken::Alone => self.go_alone(),
                Woken::Gone => return,
                Woken::Stop => {
                    self.leases.give_up();
                    if let Some(report) = self.leases.report(Instant::now()) {
                        let _ = self.exchange(&report, true).await;
                    }
                    return;
                }
                Woken::Exchange => {
                    let Some(report) = self.leases.report(Instant::now()) else { return };
                    let _ = self.exchange(&report, false).await;
                }
            }
        }
    }

    async fn woken(&mut self) -> Woken {
        let now = Instant::now();
        self.paused.retain(|_, until| *until > now);
        let again = self.paused.values().min().copied().unwrap_or(now + IDLE);
        let away = self.failed > 0;
        let (paused, leases) = (&self.paused, &self.leases);
        // While the ledger is away, wants are met from our own share, if at all.
        let alone = self.goes_alone();
        let mut stop = self.stop.subscribe();
        let wanted = leases.wanted_of(|budget| !paused.contains_key(&budget.index()));
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Woken::Stop,
            () = leases.closed() => Woken::Gone,
            () = sleep_until(self.due.max(self.backoff)) => Woken::Exchange,
            alive = wanted, if !away || alone => match alive {
                false => Woken::Gone,
                true if away => Woken::Alone,
                true => Woken::Exchange,
            },
            () = sleep_until(again) => Woken::Again,
        }
    }

    fn go_alone(&mut self) {
        let short = self.allow();
        let again = Instant::now() + ALONE_PAUSE;
        self.paused.extend(short.into_iter().map(|budget| (budget.index(), again)));
    }
}
