use std::{sync::Arc, time::Duration};

use jiff::{civil::Time, tz::TimeZone};

use crate::{
    Pace, Priority, Problem, ScopeId,
    book::LeaseBook,
    budget::Account,
    learn::Learnt,
    moment::nanos,
    pace::Pacer,
    spec::{Reserve, Spec, Template, Warnings, default_low_water},
    trend::Trend,
};

const LONGEST: Duration = Duration::from_secs(31 * 24 * 60 * 60);
const SHORTEST: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_STEPS: u128 = 1_000_000;

#[derive(Clone, Debug)]
enum Kind {
    Rolling { window: Duration },
    Fixed { window: Duration },
    Bucket { refill: u64, period: Duration },
    Day { zone: TimeZone, reset: Time },
    Concurrency,
}

/// What one budget allows; given to
/// [`LimiterBuilder::budget`](crate::LimiterBuilder::budget).
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
    learns_from_refusals: bool,
    scope: Option<ScopeId>,
    reserve: Option<(f64, Priority)>,
    pace: Pace,
    warn_at: Option<Vec<f64>>,
    max_hold: Option<Duration>,
}

impl Budget {
    fn of(kind: Kind, limit: u64) -> Self {
        Self {
            kind,
            limit,
            transit: None,
            even: false,
            resolution: None,
            leased: false,
            low_water: None,
            learns_limit: false,
            learns_from_refusals: true,
            scope: None,
            reserve: None,
            pace: Pace::None,
            warn_at: None,
            max_hold: None,
        }
    }

    /// At most `limit` units in any `window`, counted from the sending unless
    /// [`freed_by_answer`](Self::freed_by_answer) says otherwise.
    pub fn rolling(limit: u64, window: Duration) -> Self {
        Self::of(Kind::Rolling { window }, limit)
    }

    /// At most `limit` units in each of a row of windows. The first begins when
    /// the limiter is built; an observed reset moves them onto the server's.
    pub fn fixed(limit: u64, window: Duration) -> Self {
        Self::of(Kind::Fixed { window }, limit)
    }

    /// A token bucket: holds `capacity` units, is full at first, and gets
    /// `refill` units per `period`, bit by bit.
    pub fn bucket(capacity: u64, refill: u64, period: Duration) -> Self {
        Self::of(Kind::Bucket { refill, period }, capacity)
    }

    /// At most `limit` units in each calendar day of `zone`, where a day begins
    /// at `reset`. Days are as long as they are: 23 or 25 hours where the clocks
    /// change. A reset that the clocks skip takes place right after the gap; one
    /// that comes twice, the first time.
    pub fn calendar_day(limit: u64, zone: TimeZone, reset: Time) -> Self {
        Self::of(Kind::Day { zone, reset }, limit)
    }

    /// At most `limit` units under way at once.
    pub fn concurrency(limit: u64) -> Self {
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

    /// Concurrency: how long one call can hold its units. After that they are free
    /// for others, whatever became of it. Default: until the answer's head, the
    /// drop, or the end of the body where that holds on (`HoldLayer`, feature `http-body`).
    pub const fn max_hold(mut self, time: Duration) -> Self {
        self.max_hold = Some(time);
        self
    }

    /// The limit is provisional: one that the server says replaces it. Default:
    /// ours stands.
    pub const fn learns_limit(mut self) -> Self {
        self.learns_limit = true;
        self
    }

    /// Without a level in its answers, the server's refusals tell that the real
    /// limit is lower than ours: a tenth less is tried, and slowly more again.
    /// Default: `true`. Not for calendar days, concurrency, and budgets that are keyed
    /// or leased.
    pub const fn learns_from_refusals(mut self, learns: bool) -> Self {
        self.learns_from_refusals = learns;
        self
    }

    /// Each key of `scope` has this budget for itself.
    pub const fn per(mut self, scope: ScopeId) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Keeps a share of the limit (0 to 1) for calls of this priority and up: the
    /// less urgent must leave so much free. What the urgent have used already does
    /// not count toward it: they can always have that share anew.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_ratelimit_tokens::{Budget, Charge, Limiter, Priority};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut limits = Limiter::builder();
    /// let hour = Budget::fixed(10, Duration::from_secs(3_600)).keep(0.2, Priority::HIGH);
    /// let hour = limits.budget("hour", hour);
    /// let limiter = limits.build()?;
    /// limiter.set_used(hour, 8);
    /// let one = Charge::new().with(hour, 1);
    /// assert!(limiter.try_acquire(one, Priority::NORMAL).is_err());
    /// assert!(limiter.try_acquire(one, Priority::HIGH).is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub const fn keep(mut self, share: f64, from: Priority) -> Self {
        self.reserve = Some((share, from));
        self
    }

    /// Fixed windows and days: how spending is spread over the period. Steps of
    /// latency go with every kind. Default: [`Pace::None`].
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Warns (event `budget_warning`) when more than these shares of the limit (0
    /// to 1) have been used. Default: 0.8 for calendar days that all share, none for others.
    pub fn warn_at(mut self, shares: &[f64]) -> Self {
        self.warn_at = Some(shares.to_vec());
        self
    }

    pub(crate) const fn scope(&self) -> Option<ScopeId> {
        self.scope
    }

    pub(crate) fn check(&self, name: &Arc<str>, problems: &mut Vec<Problem>) {
        let allowed = 1..=u64::from(u32::MAX);
        let refill = if let Kind::Bucket { refill, .. } = self.kind { refill } else { 1 };
        if !allowed.contains(&self.limit) || !allowed.contains(&refill) {
            problems.push(Problem::Limit(Arc::clone(name)));
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
            problems.push(Problem::Window(Arc::clone(name)));
        }
        let mut only = |set: bool, right: bool, setting| {
            if set && !right {
                let budget = Arc::clone(name);
                problems.push(Problem::NotForThisKind { budget, setting });
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
        let shared = self.scope.is_none();
        only(self.leased, shared, "leased");
        let periods = day || matches!(self.kind, Kind::Fixed { .. });
        let steps = matches!(self.pace, Pace::Steps(_) | Pace::None);
        only(self.pace != Pace::None, shared && (periods || steps), "pace");
        let concurrency = matches!(self.kind, Kind::Concurrency);
        only(self.warn_at.is_some(), shared && !concurrency, "warn_at");
        only(self.max_hold.is_some(), concurrency, "max_hold");
        if self.max_hold.is_some_and(|hold| !good(hold)) {
            problems.push(Problem::Window(Arc::clone(name)));
        }
        let mut share = |good: bool, setting| {
            if !good {
                problems.push(Problem::Share { budget: Arc::clone(name), setting });
            }
        };
        let within = |share: &f64| (0.0..=1.0).contains(share);
        share(self.reserve.is_none_or(|(part, _)| (0.0..1.0).contains(&part)), "keep");
        share(self.pace.is_valid(), "pace");
        let warn_at = self.warn_at.as_deref().unwrap_or_default();
        let rising = warn_at.windows(2).all(|pair| pair[0] < pair[1]);
        share(rising && warn_at.iter().all(within), "warn_at");
    }

    /// What its accounts have in common, and the one that all share.
    pub(crate) fn open(self, name: Arc<str>, budget: u8) -> (Spec, Account) {
        let template = match self.kind {
            Kind::Rolling { window } => Template::Rolling {
                window,
                transit: self.transit,
                even: self.even,
                resolution: self.resolution.unwrap_or(window / 256),
            },
            Kind::Fixed { window } => Template::Fixed { window },
            Kind::Bucket { refill, period } => Template::Bucket { refill, period },
            Kind::Day { zone, reset } => Template::Day { zone, reset, leased: self.leased },
            Kind::Concurrency => Template::Concurrency { max_hold: self.max_hold },
        };
        let period = match &template {
            Template::Fixed { window } => Some(*window),
            Template::Day { .. } => Some(DAY),
            _ => None,
        };
        let guesses = self.learns_from_refusals
            && self.scope.is_none()
            && !self.leased
            && !matches!(template, Template::Day { .. } | Template::Concurrency { .. });
        let low_water = self.low_water.unwrap_or_else(|| default_low_water(self.limit));
        let millionths = |share: f64| (share * 1e6) as u32;
        let warns = self.scope.is_none() && matches!(template, Template::Day { .. });
        let warn_at = self.warn_at.unwrap_or_else(|| if warns { vec![0.8] } else { Vec::new() });
        let spec = Spec {
            name,
            scope: self.scope.map(|scope| scope.0),
            template,
            limit: self.limit,
            learns_limit: self.learns_limit,
            heard: false,
            learnt: guesses.then(|| Learnt::new(self.limit)),
            low_water: self.leased.then_some(low_water),
            reserve: self.reserve.map(|(share, from)| Reserve { from, share: millionths(share) }),
            pacer: Pacer::new(&self.pace),
            trend: period.filter(|_| self.scope.is_none()).map(|period| Trend::new(nanos(period))),
            warn_at: warn_at.into_iter().map(millionths).collect(),
            warnings: Warnings::default(),
            ran_dry: false,
        };
        // A fixed window is leased as a rolling one: whatever its phase, it holds
        // no more. A day begins with a treasurer's lease, until a ledger takes over.
        let book = match spec.template {
            Template::Rolling { window, .. } | Template::Fixed { window } if self.leased => {
                let least = self.low_water.unwrap_or(0);
                Some(Box::new(LeaseBook::slots(self.limit, window, self.transit, least)))
            }
            _ => None,
        };
        let account = Account {
            state: spec.state(false),
            key: 0,
            born: 0,
            touched: 0,
            budget,
            pinned: true,
            vacant: false,
            shut_until: 0,
            book,
        };
        (spec, account)
    }
}
