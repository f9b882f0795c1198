use std::{sync::Arc, time::Duration};

use jiff::{civil::Time, tz::TimeZone};
use tokio::time::Instant;

use crate::{
    BudgetId, ConfigError, ConfigProblem, Limiter, SystemClock, WallClock,
    book::LeaseBook,
    bucket::Bucket,
    budget::{Account, State, default_low_water, pace},
    charge::MAX_BUDGETS,
    concurrency::Concurrency,
    core::Core,
    day::Day,
    fixed::Fixed,
    gate::Gate,
    moment::{Epoch, nanos},
    rolling::Rolling,
};

const LONGEST: Duration = Duration::from_secs(31 * 24 * 60 * 60);
const SHORTEST: Duration = Duration::from_millis(1);
const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
const MOST_STEPS: u128 = 1_000_000;

#[derive(Clone, Debug)]
enum Kind {
    Rolling { window: Duration },
    Fixed { window: Duration },
    Bucket { refill: u64, period: Duration },
    Day { zone: TimeZone, reset: Time },
    Concurrency,
}

/// What one budget allows; given to [`LimiterBuilder::budget`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Budget {
    kind: Kind,
    limit: u64,
    transit: Option<Duration>,
    even: bool,
    resolution: Option<Duration>,
    leased: bool,
    low_water: Option<u64>,
    learns_limit: bool,
}

impl Budget {
    const fn of(kind: Kind, limit: u64) -> Self {
        Self {
            kind,
            limit,
            transit: None,
            even: false,
            resolution: None,
            leased: false,
            low_water: None,
            learns_limit: false,
        }
    }

    /// At most `limit` units in any `window`, counted from the sending unless
    /// [`freed_by_answer`](Self::freed_by_answer) says otherwise.
    pub const fn rolling(limit: u64, window: Duration) -> Self {
        Self::of(Kind::Rolling { window }, limit)
    }

    /// At most `limit` units in each of a row of windows. The first begins when
    /// the limiter is built; an observed reset moves them onto the server's.
    pub const fn fixed(limit: u64, window: Duration) -> Self {
        Self::of(Kind::Fixed { window }, limit)
    }

    /// A token bucket: holds `capacity` units, is full at first, and gets
    /// `refill` units per `period`, bit by bit.
    pub const fn bucket(capacity: u64, refill: u64, period: Duration) -> Self {
        Self::of(Kind::Bucket { refill, period }, capacity)
    }

    /// At most `limit` units in each calendar day of `zone`, where a day begins
    /// at `reset`. Days are as long as they are: 23 or 25 hours where the clocks
    /// change. A reset that the clocks skip takes place right after the gap; one
    /// that comes twice, the first time.
    pub const fn calendar_day(limit: u64, zone: TimeZone, reset: Time) -> Self {
        Self::of(Kind::Day { zone, reset }, limit)
    }

    /// At most `limit` units under way at once.
    pub const fn concurrency(limit: u64) -> Self {
        Self::of(Kind::Concurrency, limit)
    }

    /// Rolling windows: a unit stops counting one window after the answer, or one
    /// window and `transit` after the sending, whichever is first.
    ///
    /// The server counts a request when it arrives, at some moment between our
    /// sending it and our getting its answer. Only the answer proves that it has
    /// been counted, so one window after the answer the server has surely
    /// forgotten it. Without an answer (a time-out, a drop, a slow body) the
    /// bound must come from how long a request can be on its way: `transit`
    /// covers connecting, the network and the server's front queue. One second
    /// is ample between data centres, and costs nothing as long as answers come;
    /// raise it if requests cross a slow proxy.
    pub const fn freed_by_answer(mut self, transit: Duration) -> Self {
        self.transit = Some(transit);
        self
    }

    /// Rolling windows: spreads admissions evenly instead of letting a whole
    /// window's worth out at once.
    ///
    /// Units lie `window / limit` apart, with a credit of a twentieth of the
    /// limit (at least one), so that late timers and slow answers lose nothing
    /// in the long run. Leased budgets are spread by the ledger, for all members
    /// together.
    pub const fn even(mut self) -> Self {
        self.even = true;
        self
    }

    /// Rolling windows: the step of time in which units expire. Expiry is
    /// rounded up, so a coarse step costs throughput and never safety. Rounded
    /// down to a power of two of nanoseconds. Default: a 256th of the window.
    pub const fn resolution(mut self, step: Duration) -> Self {
        self.resolution = Some(step);
        self
    }

    /// Admits only what was granted from outside; calls wait for a grant.
    ///
    /// Calendar days: by a [`Lease`](crate::Lease), or by a ledger through
    /// [`Leases`](crate::Leases). Each day begins with nothing granted. Rolling
    /// and fixed windows: by a ledger. A fixed window is leased as a rolling one
    /// of the same length, so that no window holds too much whatever its phase.
    pub const fn leased(mut self) -> Self {
        self.leased = true;
        self
    }

    /// Leased budgets: how many units before the grant's end more is asked for.
    /// Default for a [`Lease`](crate::Lease): a two-hundredth of the limit, at
    /// least 50. For a ledger: the least that is kept in hand, by default nothing
    /// while nothing is spent.
    pub const fn low_water(mut self, units: u64) -> Self {
        self.low_water = Some(units);
        self
    }

    /// The limit is provisional: one that the server says replaces it. Default:
    /// ours stands.
    pub const fn learns_limit(mut self) -> Self {
        self.learns_limit = true;
        self
    }

    fn check(&self, name: &Arc<str>, problems: &mut Vec<ConfigProblem>) {
        let allowed = 1..=u64::from(u32::MAX);
        let refill = if let Kind::Bucket { refill, .. } = self.kind { refill } else { 1 };
        if !allowed.contains(&self.limit) || !allowed.contains(&refill) {
            problems.push(ConfigProblem::Limit(Arc::clone(name)));
        }
        let window = match self.kind {
            Kind::Rolling { window } | Kind::Fixed { window } => Some(window),
            Kind::Bucket { period, .. } => Some(period),
            Kind::Day { .. } | Kind::Concurrency => None,
        };
        let good = |window: Duration| (SHORTEST..=LONGEST).contains(&window);
        let transit = self.transit.unwrap_or(Duration::ZERO);
        let steps = window.zip(self.resolution).is_none_or(|(window, step)| {
            !step.is_zero()
                && step <= window
                && (window + transit.min(LONGEST)).as_nanos() / step.as_nanos() <= MOST_STEPS
        });
        if !window.is_none_or(good) || transit > LONGEST || !steps {
            problems.push(ConfigProblem::Window(Arc::clone(name)));
        }
        let mut only = |set: bool, right: bool, setting| {
            if set && !right {
                let budget = Arc::clone(name);
                problems.push(ConfigProblem::NotForThisKind { budget, setting });
            }
        };
        let rolling = matches!(self.kind, Kind::Rolling { .. });
        let day = matches!(self.kind, Kind::Day { .. });
        only(self.transit.is_some(), rolling, "freed_by_answer");
        only(self.even, rolling, "even");
        only(self.resolution.is_some(), rolling, "resolution");
        let fixed = matches!(self.kind, Kind::Fixed { .. });
        only(self.leased, day || rolling || fixed, "leased");
        only(self.low_water.is_some(), self.leased, "low_water");
    }

    fn account(self, name: Arc<str>) -> Account {
        // A fixed window is leased as a rolling one: whatever its phase, it holds
        // no more. A day begins with a treasurer's lease, until a ledger takes over.
        let book = match self.kind {
            Kind::Rolling { window } | Kind::Fixed { window } if self.leased => {
                let least = self.low_water.unwrap_or(0);
                Some(Box::new(LeaseBook::slots(self.limit, window, self.transit, least)))
            }
            _ => None,
        };
        let state = match self.kind {
            Kind::Rolling { window } => {
                let resolution = self.resolution.unwrap_or(window / 256);
                let rolling = Rolling::new(self.limit, window, self.transit, self.even, resolution);
                State::Rolling(rolling)
            }
            Kind::Fixed { window } => State::Fixed(Box::new(Fixed::new(self.limit, window))),
            Kind::Bucket { refill, period } => {
                State::Bucket(Bucket::new(self.limit, refill, period))
            }
            Kind::Day { zone, reset } => {
                State::Day(Box::new(Day::new(self.limit, zone, reset, self.leased)))
            }
            Kind::Concurrency => State::Concurrency(Concurrency::new(self.limit)),
        };
        let low_water = self.low_water.unwrap_or_else(|| default_low_water(self.limit));
        let low_water = self.leased.then_some(low_water);
        Account { name, state, learns_limit: self.learns_limit, low_water, book }
    }
}

/// Configures a [`Limiter`]; see [`Limiter::builder`].
#[derive(Debug)]
#[must_use]
pub struct LimiterBuilder {
    budgets: Vec<(Arc<str>, Budget)>,
    max_waiting: usize,
    max_wait: Duration,
    after_gate: Option<(Duration, Duration)>,
    clock: Arc<dyn WallClock>,
}

impl LimiterBuilder {
    pub(crate) fn new() -> Self {
        Self {
            budgets: Vec::new(),
            max_waiting: 1_000,
            max_wait: Duration::from_secs(300),
            after_gate: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Adds a budget; at most eight. Names must differ.
    pub fn budget(&mut self, name: &str, budget: Budget) -> BudgetId {
        let index = self.budgets.len().min(usize::from(u8::MAX));
        self.budgets.push((name.into(), budget));
        BudgetId(index as u8)
    }

    /// How many calls may wait; one more is refused at once. Default: 1,000.
    pub const fn max_waiting(mut self, calls: usize) -> Self {
        self.max_waiting = calls;
        self
    }

    /// The longest that a call may wait; a nearer deadline of its own counts
    /// instead. Default: 300 s.
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// After the gate was closed, calls go `gap` apart for `ramp`, so that those
    /// who waited do not all go at once. Default: the pace of the budget with the
    /// shortest window (rolling, fixed, or a bucket's time to fill) for one such
    /// window, at most a minute; 10 ms for 1 s if there is none.
    pub const fn after_gate(mut self, gap: Duration, ramp: Duration) -> Self {
        self.after_gate = Some((gap, ramp));
        self
    }

    /// Where calendar days get the time of day. Default: [`SystemClock`].
    pub fn wall_clock(mut self, clock: impl WallClock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Builds the limiter; its time begins now.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which lists everything that is wrong.
    pub fn build(self) -> Result<Limiter, ConfigError> {
        let mut problems = Vec::new();
        if self.budgets.len() > MAX_BUDGETS {
            problems.push(ConfigProblem::TooManyBudgets(self.budgets.len()));
        }
        if self.max_wait > YEAR {
            problems.push(ConfigProblem::MaxWait(self.max_wait));
        }
        for (n, (name, budget)) in self.budgets.iter().enumerate() {
            if self.budgets[..n].iter().any(|(other, _)| other == name) {
                problems.push(ConfigProblem::DuplicateName(Arc::clone(name)));
            }
            budget.check(name, &mut problems);
        }
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let accounts: Box<[Account]> =
            self.budgets.into_iter().map(|(name, budget)| budget.account(name)).collect();
        let (gap, ramp) = self.after_gate.unwrap_or_else(|| {
            let fastest = accounts.iter().filter_map(pace).min_by_key(|&(_, window)| window);
            let (gap, ramp) =
                fastest.unwrap_or((Duration::from_millis(10), Duration::from_secs(1)));
            (gap, ramp.min(Duration::from_secs(60)))
        });
        let epoch = Epoch(Instant::now());
        let gate = Gate::new(gap, ramp);
        let core = Core::new(epoch, accounts, gate, self.max_waiting, nanos(self.max_wait));
        Ok(Limiter::of(core, self.clock))
    }
}
