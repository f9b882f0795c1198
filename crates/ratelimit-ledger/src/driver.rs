use std::{collections::HashMap, fmt, pin::pin, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tower_ratelimit_tokens::{BudgetId, LeaseReport, LeasedUnits, Leases, Limiter};

use crate::{
    Answer, Exchange, Ledger, LedgerError, LedgerStatus, Reply,
    alone::Alone,
    config::{Config, DeadLeases, WhenUnreachable},
    events,
    statement::{Heard, ask},
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
    /// apart and double, with jitter. Default: 1 s.
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

    async fn exchange(&mut self, report: &LeaseReport, leaving: bool) -> Result<(), LedgerError> {
        let at = report.at;
        let mut ids = Vec::with_capacity(report.budgets.len());
        let mut asks = Vec::with_capacity(report.budgets.len());
        for budget in &report.budgets {
            if let Some(ask) = ask(budget, at, self.heard, &self.config, leaving) {
                ids.push((budget.id, budget));
                asks.push(ask);
            }
        }
        self.seq += 1;
        let nonce = format!("{:016x}", fastrand::u64(..));
        let exchange = Exchange { member: self.member.clone(), seq: self.seq, nonce, asks };
        let result = self.round_trip(&exchange).await;
        let heard = Instant::now();
        match result {
            Ok(reply) if reply.answers.len() == exchange.asks.len() => {
                self.answered(at, heard, &reply);
                let mut active = false;
                for ((id, budget), (answer, ask)) in
                    ids.iter().zip(reply.answers.iter().zip(&exchange.asks))
                {
                    self.take_in(at, heard, &reply, *id, &budget.units, answer);
                    self.pause(heard, *id, answer, ask.want);
                    let spends = ask.want > 0 || ask.held > 0 || budget.in_hand > 0;
                    let life = match budget.units {
                        LeasedUnits::Slots { .. } => self.config.slot_life,
                        _ => self.config.count_life,
                    };
                    if spends || answer.quiet {
                        let due = at + life / 2;
                        self.due = if active { self.due.min(due) } else { due };
                        active = true;
                    }
                    let name = &budget.name;
                    if answer.foreign > 0 {
                        events::foreign(name, answer.foreign);
                    }
                    self.status.send_modify(|status| {
                        let of = status.of(name);
                        of.used = answer.used;
                        of.foreign += answer.foreign;
                        of.granted += answer.granted;
                        of.granted += answer.slots.iter().map(|slot| slot.units).sum::<u64>();
                    });
                }
                if !active {
                    self.due = heard + IDLE;
                }
                Ok(())
            }
            Ok(_) => Err(self.lost(heard, LedgerError::Corrupt("an answer is missing".into()))),
            Err(error) => Err(self.lost(heard, error)),
        }
    }

    /// Asks the store. Who goes alone meanwhile does not wait for it.
    async fn round_trip(&mut self, exchange: &Exchange) -> Result<Reply, LedgerError> {
        let alone = self.goes_alone();
        let policies = (self.config, &self.policies);
        let mut allowed = std::mem::take(&mut self.alone);
        let asked = async {
            match timeout(self.config.timeout, self.ledger.exchange(exchange)).await {
                Ok(result) => result,
                Err(elapsed) => Err(LedgerError::Unreachable(Box::new(elapsed))),
            }
        };
        let mut asked = pin!(asked);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut asked => break result,
                true = self.leases.wanted(), if alone => {
                    let short = allow(&self.leases, policies, &mut allowed, &self.status);
                    if !short.is_empty() {
                        // Nothing more is allowed: the answer is all that can help.
                        break asked.await;
                    }
                }
            }
        };
        self.alone = allowed;
        result
    }

    fn answered(&mut self, at: Instant, heard: Instant, reply: &Reply) {
        let lost = !self.epoch.is_empty() && self.epoch != reply.epoch;
        let quiet = reply.answers.iter().any(|answer| answer.quiet);
        if lost {
            events::memory_lost();
        }
        if self.failed > 0 || self.heard.is_none() {
            events::connected(heard - at, quiet);
        }
        self.failed = 0;
        self.heard = Some(Heard { at: heard, now: reply.now });
        self.epoch.clone_from(&reply.epoch);
        self.status.send_modify(|status| {
            status.connected = true;
            status.quiet = quiet;
            status.exchanges += 1;
            status.last_exchange = Some(heard);
            status.round_trip = heard - at;
            status.error = None;
            status.memory_lost += u64::from(lost);
        });
    }

    fn take_in(
        &self,
        at: Instant,
        heard: Instant,
        reply: &Reply,
        id: BudgetId,
        units: &LeasedUnits,
        answer: &Answer,
    ) {
        match units {
            LeasedUnits::Slots { .. } => {
                for slot in &answer.slots {
                    // What the ledger dates lies between the sending and the answer.
                    let from = heard + Duration::from_micros(slot.from_in);
                    let until = at + Duration::from_micros(slot.until_in);
                    let dated = reply.now + slot.from_in;
                    self.leases.grant_slots(id, slot.units, from, until, dated);
                }
            }
            LeasedUnits::Counts { period, .. } => {
                if answer.revoked {
                    self.leases.give_up_of(id);
                }
                let until = at + self.config.count_life;
                self.leases.grant_count(id, *period, answer.granted, until);
            }
            _ => {}
        }
    }

    /// Asks no more of a budget until the ledger may have some.
    fn pause(&mut self, heard: Instant, id: BudgetId, answer: &Answer, want: u64) {
        let got = answer.granted + answer.slots.iter().map(|slot| slot.units).sum::<u64>();
        let mut pause = self.config.min_gap;
        if got < want {
            let retry = Duration::from_micros(answer.retry_in.unwrap_or(0));
            // Not all at the same moment.
            let retry = retry.min(LONGEST_PAUSE).mul_f64(1.0 + 0.1 * fastrand::f64());
            pause = pause.max(retry);
            self.leases.retry_at(id, heard + pause);
        }
        self.paused.insert(id.index(), heard + pause);
    }

    fn lost(&mut self, now: Instant, error: LedgerError) -> LedgerError {
        let first = self.failed == 0;
        self.failed = self.failed.saturating_add(1);
        let doubled = FIRST_BACKOFF.saturating_mul(1 << self.failed.saturating_sub(1).min(10));
        let longest = if error.is_transient() {
            self.config.max_backoff
        } else {
            self.config.max_backoff.saturating_mul(5)
        };
        let pause = doubled.min(longest).mul_f64(0.5 + 0.5 * fastrand::f64());
        (self.backoff, self.due) = (now + pause, now + pause);
        if first {
            events::unreachable(&error, self.config.when_unreachable);
        }
        self.status.send_modify(|status| {
            status.connected = false;
            status.failures += 1;
            status.error = Some(error.to_string().into());
        });
        error
    }

    fn go_alone(&mut self) {
        let short = self.allow();
        let again = Instant::now() + ALONE_PAUSE;
        self.paused.extend(short.into_iter().map(|budget| (budget.index(), again)));
    }
}

/// Grants what the policy allows without the ledger. Returns the budgets of which
/// that is less than is wanted.
fn allow(
    leases: &Leases,
    (config, policies): (Config, &HashMap<String, WhenUnreachable>),
    alone: &mut HashMap<usize, Alone>,
    status: &watch::Sender<LedgerStatus>,
) -> Vec<BudgetId> {
    let now = Instant::now();
    let mut short = Vec::new();
    let Some(report) = leases.report(now) else { return short };
    for budget in report.budgets.iter().filter(|budget| budget.wanted > 0) {
        let policy = policies.get(&*budget.name).copied().unwrap_or(config.when_unreachable);
        let most = policy.allowance(budget.limit);
        let allowed = alone.entry(budget.id.index()).or_default();
        let units = match &budget.units {
            LeasedUnits::Slots { window, transit, .. } => {
                let span = *window + *transit + config.slot_life;
                let units = allowed.slots(now, span, most, budget.wanted);
                leases.grant_slots(budget.id, units, now, now + config.slot_life, 0);
                units
            }
            LeasedUnits::Counts { period, .. } => {
                let units = allowed.counts(*period, most, budget.wanted);
                if units > 0 {
                    leases.give_up_of(budget.id);
                    leases.grant_count(budget.id, *period, units, now + config.count_life);
                }
                units
            }
            _ => 0,
        };
        if units < budget.wanted {
            short.push(budget.id);
        }
        if units > 0 {
            events::overshoot(&budget.name, units);
            status.send_modify(|status| status.of(&budget.name).overshoot += units);
        }
    }
    short
}
