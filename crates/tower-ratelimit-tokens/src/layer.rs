use std::{fmt, sync::Arc};

use tower_layer::Layer;

use crate::{
    Dialect, KeepAll, Limiter, NoDialect, SameTerms, Settler, Terms, TokenLimit, core::Hears,
};

/// What becomes of a call that cannot be paid at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLimit {
    /// It waits in the queue: the default.
    #[default]
    Wait,
    /// It is refused.
    Reject,
}

/// What one layer adds to a limiter.
#[derive(Clone)]
pub(crate) struct Policy<C, D, T, L> {
    pub(crate) limiter: Limiter,
    pub(crate) cost: C,
    pub(crate) dialect: D,
    pub(crate) settle: T,
    pub(crate) terms: L,
    pub(crate) on_limit: OnLimit,
    pub(crate) enabled: bool,
}

impl<C, D, T, L> Policy<C, D, T, L> {
    /// Who is to hear of the end of a call.
    #[inline]
    pub(crate) fn hears<Response>(&self) -> Hears
    where
        D: Dialect<Response>,
        T: Settler<Response>,
    {
        if D::READS || self.limiter.needs_answer() {
            Hears::Limiter
        } else if T::SETTLES {
            Hears::Settler
        } else {
            Hears::Nobody
        }
    }
}

/// Makes calls pay from a [`Limiter`]; applies [`TokenLimit`].
///
/// All services of all layers on one limiter share its budgets, its queue and
/// its gate.
#[derive(Clone)]
#[must_use]
pub struct TokenLimitLayer<C, D = NoDialect, T = KeepAll, L = SameTerms> {
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
        let (dialect, settle, terms) = (NoDialect, KeepAll, SameTerms(Terms::new()));
        let (on_limit, enabled) = (OnLimit::Wait, true);
        Self { policy: Policy { limiter, cost, dialect, settle, terms, on_limit, enabled } }
    }
}

impl<C, D, T, L> TokenLimitLayer<C, D, T, L> {
    /// Reads what responses say. Default: nothing is read.
    pub fn dialect<D2>(self, dialect: D2) -> TokenLimitLayer<C, D2, T, L> {
        let Policy { limiter, cost, settle, terms, on_limit, enabled, .. } = self.policy;
        let policy = Policy { limiter, cost, dialect, settle, terms, on_limit, enabled };
        TokenLimitLayer { policy }
    }

    /// Decides what becomes of a charge when the call has ended; see
    /// [`Settler`](crate::Settler). Default: every charge stands.
    ///
    /// Give a named function rather than a closure if calls are made
    /// inside a spawned `async` block: the compiler takes a closure over the error's
    /// `dyn` type for not general enough there. `tokio::spawn(client.oneshot(r))`
    /// works with all.
    pub fn settle<T2>(self, settle: T2) -> TokenLimitLayer<C, D, T2, L> {
        let Policy { limiter, cost, dialect, terms, on_limit, enabled, .. } = self.policy;
        let policy = Policy { limiter, cost, dialect, settle, terms, on_limit, enabled };
        TokenLimitLayer { policy }
    }

    /// How urgent a call is, until when it can wait, since when it has been
    /// wanted; see [`Ask`](crate::Ask). Default: normal, as long as the limiter
    /// allows, from now.
    pub fn terms<L2>(self, terms: L2) -> TokenLimitLayer<C, D, T, L2> {
        let Policy { limiter, cost, dialect, settle, on_limit, enabled, .. } = self.policy;
        let policy = Policy { limiter, cost, dialect, settle, terms, on_limit, enabled };
        TokenLimitLayer { policy }
    }

    /// Whether a call that cannot be paid waits or is refused. Default: it waits.
    pub const fn on_limit(mut self, on_limit: OnLimit) -> Self {
        self.policy.on_limit = on_limit;
        self
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
