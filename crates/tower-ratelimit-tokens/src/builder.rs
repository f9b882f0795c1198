use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Budget, BudgetId, ConfigError, Limiter, Problem, ScopeId, SystemClock, WallClock,
    accounts::Accounts,
    budget::pace,
    charge::MAX_BUDGETS,
    core::{Core, Manners},
    gate::Gate,
    moment::{Epoch, nanos},
    scope::MAX_SCOPES,
};

const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// As far apart as two levels of priority can lie without an overflow of the
/// order: nine years.
const NEVER: u64 = 1 << 58;

/// What becomes of a call for which the queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// It is refused: the default.
    #[default]
    RefuseNewcomer,
    /// The last in the queue is refused in its stead, if that is less urgent.
    EvictLowest,
}

/// Configures a [`Limiter`]; see [`Limiter::builder`].
#[derive(Debug)]
#[must_use]
pub struct LimiterBuilder {
    budgets: Vec<(Arc<str>, Budget)>,
    scopes: Vec<(Arc<str>, Option<ScopeId>)>,
    max_keys: usize,
    idle_after: Duration,
    max_waiting: usize,
    max_waiting_per_key: usize,
    max_wait: Duration,
    when_full: WhenFull,
    level_every: Duration,
    after_gate: Option<(Duration, Duration)>,
    clock: Arc<dyn WallClock>,
}

impl LimiterBuilder {
    pub(crate) fn new() -> Self {
        Self {
            budgets: Vec::new(),
            scopes: Vec::new(),
            max_keys: 100_000,
            idle_after: Duration::from_secs(600),
            max_waiting: 1_000,
            max_waiting_per_key: usize::MAX,
            max_wait: Duration::from_secs(300),
            when_full: WhenFull::RefuseNewcomer,
            level_every: Duration::from_secs(30),
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

    /// Adds a scope: what budgets can be kept apart by, such as an account, a
    /// token, a zone or an endpoint. At most four. See [`Budget::per`] and
    /// [`Charge::key`](crate::Charge::key).
    pub fn scope(&mut self, name: &str) -> ScopeId {
        self.add_scope(name, None)
    }

    /// Adds a scope inside another: the same key in two outer keys is two payers.
    pub fn scope_within(&mut self, name: &str, outer: ScopeId) -> ScopeId {
        self.add_scope(name, Some(outer))
    }

    fn add_scope(&mut self, name: &str, outer: Option<ScopeId>) -> ScopeId {
        let index = self.scopes.len().min(usize::from(u8::MAX));
        self.scopes.push((name.into(), outer));
        ScopeId(index as u8)
    }

    /// How many keys are kept at once, of all keyed budgets together; at most
    /// 2^30. A call for one more is refused, unless a key is found that can be
    /// forgotten without losing anything. Default: 100,000.
    pub const fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }

    /// A key from which nothing was paid for this long is forgotten, if its budget
    /// is whole. Default: 600 s.
    pub const fn idle_after(mut self, idle: Duration) -> Self {
        self.idle_after = idle;
        self
    }

    /// How many calls may wait; for one more see [`when_full`](Self::when_full).
    /// Default: 1,000.
    pub const fn max_waiting(mut self, calls: usize) -> Self {
        self.max_waiting = calls;
        self
    }

    /// How many calls of one key may wait, whatever else they ask for; one more is
    /// refused. Calls of no keyed budget do not count. Default: no bound but that of
    /// all together.
    pub const fn max_waiting_per_key(mut self, calls: usize) -> Self {
        self.max_waiting_per_key = calls;
        self
    }

    /// Whom to refuse when the queue is full. Default: the newcomer.
    pub const fn when_full(mut self, whom: WhenFull) -> Self {
        self.when_full = whom;
        self
    }

    /// The longest that a call may wait; a nearer deadline of its own counts
    /// instead. Default: 300 s.
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// A call that has waited this much longer stands before one that is a level
    /// of [priority](crate::Priority) more urgent, so that nothing starves. Zero:
    /// priorities do not count. [`Duration::MAX`]: nothing ages. Default: 30 s.
    pub const fn level_every(mut self, wait: Duration) -> Self {
        self.level_every = wait;
        self
    }

    /// After the gate was closed, or a period for which calls waited has begun
    /// anew, calls go `gap` apart for `ramp`, so that those who waited do not all
    /// go at once. Default: the pace of the budget with the shortest window
    /// (rolling, fixed, or a bucket's time to fill; keyed ones do not count), at
    /// most 50 ms apart, for one such window, at most 2 s; 10 ms for 1 s if there
    /// is none.
    pub const fn after_gate(mut self, gap: Duration, ramp: Duration) -> Self {
        self.after_gate = Some((gap, ramp));
        self
    }

    /// Where calendar days get the time of day. Default: [`SystemClock`].
    pub fn wall_clock(mut self, clock: impl WallClock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.budgets.len() > MAX_BUDGETS {
            problems.push(Problem::TooManyBudgets(self.budgets.len()));
        }
        if self.scopes.len() > MAX_SCOPES {
            problems.push(Problem::TooManyScopes(self.scopes.len()));
        }
        if self.max_wait > YEAR {
            problems.push(Problem::MaxWait(self.max_wait));
        }
        for (n, (name, outer)) in self.scopes.iter().enumerate() {
            if self.scopes[..n].iter().any(|(other, _)| other == name) {
                problems.push(Problem::DuplicateName(Arc::clone(name)));
            }
            if outer.is_some_and(|outer| usize::from(outer.0) >= n) {
                problems.push(Problem::UnknownScope(Arc::clone(name)));
            }
        }
        for (n, (name, budget)) in self.budgets.iter().enumerate() {
            if self.budgets[..n].iter().any(|(other, _)| other == name) {
                problems.push(Problem::DuplicateName(Arc::clone(name)));
            }
            if budget.scope().is_some_and(|scope| usize::from(scope.0) >= self.scopes.len()) {
                problems.push(Problem::UnknownScope(Arc::clone(name)));
            }
            budget.check(name, &mut problems);
        }
        problems
    }

    /// Builds the limiter; its time begins now.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which lists everything that is wrong.
    pub fn build(self) -> Result<Limiter, ConfigError> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let (mut specs, mut shared) = (Vec::new(), Vec::new());
        for (budget, (name, of)) in self.budgets.into_iter().enumerate() {
            let (spec, account) = of.open(name, budget as u8);
            specs.push(spec);
            shared.push(account);
        }
        let (gap, ramp) = self.after_gate.unwrap_or_else(|| {
            let of_all = shared.iter().zip(&specs).filter(|(_, spec)| spec.scope.is_none());
            let fastest =
                of_all.filter_map(|(account, _)| pace(account)).min_by_key(|&(_, window)| window);
            let (gap, ramp) =
                fastest.unwrap_or((Duration::from_millis(10), Duration::from_secs(1)));
            (gap.min(Duration::from_millis(50)), ramp.min(Duration::from_secs(2)))
        });
        let mut outer = [None; MAX_SCOPES];
        for (place, (_, of)) in outer.iter_mut().zip(&self.scopes) {
            *place = of.map(|scope| scope.0);
        }
        let manners = Manners {
            max_waiting: self.max_waiting,
            max_per_key: self.max_waiting_per_key,
            max_wait: nanos(self.max_wait),
            when_full: self.when_full,
            per_level: nanos(self.level_every).min(NEVER),
        };
        let seed = RandomState::new().hash_one(0);
        let accounts = Accounts::new(shared, self.max_keys, nanos(self.idle_after), seed);
        let epoch = Epoch(Instant::now());
        let specs = specs.into_boxed_slice();
        let core = Core::new(epoch, specs, accounts, outer, Gate::new(gap, ramp), manners);
        Ok(Limiter::of(core, self.clock))
    }
}
