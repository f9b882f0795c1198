use std::{fmt, sync::Arc};

use tower_layer::Layer;

use crate::{KeepAll, Limiter, NoDeadline, NoDialect, TokenLimit};

/// What one layer adds to a limiter.
#[derive(Clone)]
pub(crate) struct Policy<C, D, T, L> {
    pub(crate) limiter: Limiter,
    pub(crate) cost: C,
    pub(crate) dialect: D,
    pub(crate) settle: T,
    pub(crate) deadline: L,
    pub(crate) enabled: bool,
}

/// Makes calls pay from a [`Limiter`]; applies [`TokenLimit`].
///
/// All services of all layers on one limiter share its budgets, its queue and
/// its gate.
#[derive(Clone)]
#[must_use]
pub struct TokenLimitLayer<C, D = NoDialect, T = KeepAll, L = NoDeadline> {
    policy: Policy<C, D, T, L>,
}

impl<C, D, T, L> fmt::Debug for TokenLimitLayer<C, D, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenLimitLayer")
            .field("limiter", &self.policy.limiter)
            .field("enabled", &self.policy.enabled)
            .finish_non_exhaustive()
    }
}

impl<C> TokenLimitLayer<C> {
    /// Each call pays what `cost` says; a [`Charge`](crate::Charge), a
    /// [`CostTable`](crate::CostTable) or a closure.
    pub const fn new(limiter: Limiter, cost: C) -> Self {
        let (dialect, settle, deadline) = (NoDialect, KeepAll, NoDeadline);
        Self { policy: Policy { limiter, cost, dialect, settle, deadline, enabled: true } }
    }
}

impl<C, D, T, L> TokenLimitLayer<C, D, T, L> {
    /// Reads what responses say. Default: nothing is read.
    pub fn dialect<D2>(self, dialect: D2) -> TokenLimitLayer<C, D2, T, L> {
        let Policy { limiter, cost, settle, deadline, enabled, .. } = self.policy;
        TokenLimitLayer { policy: Policy { limiter, cost, dialect, settle, deadline, enabled } }
    }

    /// Decides what becomes of a charge when the call has ended; see
    /// [`Settler`](crate::Settler). Default: every charge stands.
    pub fn settle<T2>(self, settle: T2) -> TokenLimitLayer<C, D, T2, L> {
        let Policy { limiter, cost, dialect, deadline, enabled, .. } = self.policy;
        TokenLimitLayer { policy: Policy { limiter, cost, dialect, settle, deadline, enabled } }
    }

    /// Until when a call can wait; see [`Deadline`](crate::Deadline). Default: as
    /// long as the limiter allows.
    pub fn deadline<L2>(self, deadline: L2) -> TokenLimitLayer<C, D, T, L2> {
        let Policy { limiter, cost, dialect, settle, enabled, .. } = self.policy;
        TokenLimitLayer { policy: Policy { limiter, cost, dialect, settle, deadline, enabled } }
    }

    /// `false`: calls go straight through and nothing is counted. Default: `true`.
    pub const fn enabled(mut self, enabled: bool) -> Self {
        self.policy.enabled = enabled;
        self
    }
}

impl<S, C, D, T, L> Layer<S> for TokenLimitLayer<C, D, T, L>
where
    C: Clone,
    D: Clone,
    T: Clone,
    L: Clone,
{
    type Service = TokenLimit<S, C, D, T, L>;

    fn layer(&self, inner: S) -> Self::Service {
        TokenLimit::new(inner, Arc::new(self.policy.clone()))
    }
}
