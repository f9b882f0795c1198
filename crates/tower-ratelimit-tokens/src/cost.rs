use crate::{Charge, Key, ScopeId};

/// Says what a request costs. Closures implement it:
///
/// ```
/// use tower_ratelimit_tokens::{Charge, Cost};
///
/// let by_length = |text: &String| Charge::new();
/// assert!(by_length.cost(&"four".to_owned()).is_free());
/// ```
pub trait Cost<Request> {
    /// Called once for each call. Should not allocate.
    fn cost(&self, request: &Request) -> Charge;

    /// The same cost, paid by whom `key` names, from the budgets of `scope`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_ratelimit_tokens::{Budget, Charge, Cost, Key, Limiter};
    ///
    /// let mut limits = Limiter::builder();
    /// let user = limits.scope("user");
    /// let calls = limits.budget("calls", Budget::bucket(5, 1, Duration::from_secs(1)).per(user));
    /// let cost = Charge::new().with(calls, 1).keyed(user, |user: &String| Key::of(user));
    /// assert_ne!(cost.cost(&"ann".to_owned()), cost.cost(&"bob".to_owned()));
    /// ```
    fn keyed<K>(self, scope: ScopeId, key: K) -> Keyed<Self, K>
    where
        Self: Sized,
        K: Fn(&Request) -> Key,
    {
        Keyed { cost: self, scope, key }
    }
}

/// A cost and who pays it; see [`Cost::keyed`].
#[derive(Clone, Copy, Debug)]
pub struct Keyed<C, K> {
    cost: C,
    scope: ScopeId,
    key: K,
}

impl<C, K, Request> Cost<Request> for Keyed<C, K>
where
    C: Cost<Request>,
    K: Fn(&Request) -> Key,
{
    fn cost(&self, request: &Request) -> Charge {
        self.cost.cost(request).key(self.scope, (self.key)(request))
    }
}

impl<F, Request> Cost<Request> for F
where
    F: Fn(&Request) -> Charge,
{
    fn cost(&self, request: &Request) -> Charge {
        self(request)
    }
}

/// The same for every request.
impl<Request> Cost<Request> for Charge {
    fn cost(&self, _: &Request) -> Charge {
        *self
    }
}
