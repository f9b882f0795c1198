use std::fmt;

use crate::{Key, ScopeId, scope::MAX_SCOPES};

/// How many budgets one limiter may have.
pub(crate) const MAX_BUDGETS: usize = 8;

/// Names one budget of one limiter; given by
/// [`LimiterBuilder::budget`](crate::LimiterBuilder::budget).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BudgetId(pub(crate) u8);

impl BudgetId {
    /// The place of the budget, in the order in which budgets were named.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Names an endpoint whose use is counted; given by
/// [`Limiter::endpoint`](crate::Limiter::endpoint).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointId(pub(crate) u16);

/// What one request costs: an amount for each budget that it spends.
///
/// A small `Copy` value; making and passing it allocates nothing.
///
/// ```
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{Budget, Charge, Limiter};
///
/// let mut limits = Limiter::builder();
/// let burst = limits.budget("burst", Budget::rolling(100, Duration::from_secs(2)));
/// let tokens = limits.budget("tokens", Budget::bucket(1_000, 10, Duration::from_secs(1)));
/// let list = Charge::new().with(burst, 1).with(tokens, 20);
/// assert_eq!(list.of(tokens), 20);
/// assert_eq!(list.iter().count(), 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Charge {
    amounts: [u32; MAX_BUDGETS],
    keys: [u64; MAX_SCOPES],
    mask: u8,
    endpoint: u16,
}

impl Charge {
    /// Costs nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { amounts: [0; MAX_BUDGETS], keys: [0; MAX_SCOPES], mask: 0, endpoint: 0 }
    }

    /// Spends `amount` of `budget`, in that budget's unit. Replaces an amount
    /// given before; zero takes the budget out of the charge.
    #[must_use]
    pub const fn with(mut self, budget: BudgetId, amount: u32) -> Self {
        let index = budget.0 as usize;
        if index < MAX_BUDGETS {
            self.amounts[index] = amount;
            let bit = 1 << index;
            self.mask = if amount == 0 { self.mask & !bit } else { self.mask | bit };
        }
        self
    }

    /// Counts the request as a use of `endpoint`.
    #[must_use]
    pub const fn at(mut self, endpoint: EndpointId) -> Self {
        self.endpoint = endpoint.0;
        self
    }

    /// Who pays, for the budgets of a scope. Calls that name nobody pay together,
    /// as [`Key::default`].
    #[must_use]
    pub const fn key(mut self, scope: ScopeId, key: Key) -> Self {
        let index = scope.0 as usize;
        if index < MAX_SCOPES {
            self.keys[index] = key.0;
        }
        self
    }

    /// What it spends of `budget`; zero if nothing.
    #[must_use]
    pub const fn of(&self, budget: BudgetId) -> u32 {
        let index = budget.0 as usize;
        if index < MAX_BUDGETS { self.amounts[index] } else { 0 }
    }

    /// Whether it spends nothing.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        self.mask == 0
    }

    /// The endpoint that it is counted for.
    #[must_use]
    pub const fn endpoint(&self) -> EndpointId {
        EndpointId(self.endpoint)
    }

    /// The budgets that it spends, with the amounts.
    pub fn iter(&self) -> impl Iterator<Item = (BudgetId, u32)> + '_ {
        self.parts().map(|(index, amount)| (BudgetId(index as u8), amount as u32))
    }

    /// As [`Charge::iter`], for the pure types.
    #[inline]
    pub(crate) const fn parts(&self) -> Parts<'_> {
        Parts { charge: self, left: self.mask }
    }

    /// Those of its parts that are among `budgets`, given as bits.
    #[inline]
    pub(crate) const fn parts_of(&self, budgets: u8) -> Parts<'_> {
        Parts { charge: self, left: self.mask & budgets }
    }

    pub(crate) const fn key_of(&self, scope: u8) -> u64 {
        self.keys[scope as usize & (MAX_SCOPES - 1)]
    }

    pub(crate) const fn mask(&self) -> u8 {
        self.mask
    }

    pub(crate) const fn amount(&self, index: usize) -> u64 {
        self.amounts[index] as u64
    }
}

impl Default for Charge {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.parts()).finish()
    }
}

/// The indices and amounts of a charge.
pub(crate) struct Parts<'a> {
    charge: &'a Charge,
    left: u8,
}

impl Iterator for Parts<'_> {
    type Item = (usize, u64);

    #[inline]
    fn next(&mut self) -> Option<(usize, u64)> {
        if self.left == 0 {
            return None;
        }
        let index = self.left.trailing_zeros() as usize & (MAX_BUDGETS - 1);
        self.left &= self.left - 1;
        Some((index, u64::from(self.charge.amounts[index])))
    }
}
