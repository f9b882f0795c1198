use std::sync::Arc;

use http::Method;

use crate::{Charge, Cost, EndpointId, Limiter};

#[derive(Clone, Debug)]
struct Route {
    method: Method,
    template: Box<str>,
    charge: Charge,
}

/// What each operation costs, by method and path template.
///
/// A template is a path whose segments are words or `{placeholders}`; a
/// placeholder stands for one segment that is not empty. The route with the
/// longer run of words from the left wins, whatever the order in which they were
/// added: `/deals/archived` stands before `/deals/{id}`. Query and a slash at
/// the end do not matter. Matching compares with each route and allocates nothing.
/// For requests that are no [`http::Request`], give the layer a closure that calls
/// [`find`](Self::find).
///
/// ```
/// use std::time::Duration;
/// use tower_ratelimit_tokens::{Budget, Charge, Cost, CostTable, Limiter};
///
/// let mut limits = Limiter::builder();
/// let tokens = limits.budget("tokens", Budget::bucket(100, 10, Duration::from_secs(1)));
/// let cost = |n| Charge::new().with(tokens, n);
/// let table = CostTable::new(cost(20))
///     .route(http::Method::GET, "/api/v2/deals/{id}", cost(1))
///     .route(http::Method::GET, "/api/v2/deals", cost(10));
///
/// let get = |path: &str| http::Request::get(path).body(()).unwrap();
/// assert_eq!(table.cost(&get("/api/v2/deals/7")).of(tokens), 1);
/// assert_eq!(table.cost(&get("/api/v2/deals?limit=500")).of(tokens), 10);
/// assert_eq!(table.cost(&get("/api/v2/else")).of(tokens), 20);
/// ```
#[derive(Clone, Debug)]
pub struct CostTable {
    routes: Arc<[Route]>,
    default: Charge,
}

impl CostTable {
    /// A table in which everything costs `default`.
    #[must_use]
    pub fn new(default: Charge) -> Self {
        Self { routes: Arc::new([]), default }
    }

    /// Adds a route, or replaces the charge of one with the same method and
    /// template.
    #[must_use]
    pub fn route(self, method: Method, template: &str, charge: Charge) -> Self {
        let mut routes = self.routes.to_vec();
        let template: Box<str> = template.trim_end_matches('/').into();
        routes.retain(|route| route.method != method || route.template != template);
        let new = Route { method, template, charge };
        // Words before placeholders, from the left: the first match is the best.
        let key = |route: &Route| -> Vec<bool> {
            segments(&route.template).map(is_placeholder).collect()
        };
        let at = routes.partition_point(|route| key(route) <= key(&new));
        routes.insert(at, new);
        Self { routes: routes.into(), default: self.default }
    }

    /// Counts use by route: every route becomes an endpoint of `limiter`, named
    /// `METHOD template`.
    #[must_use]
    pub fn counted_by(self, limiter: &Limiter) -> Self {
        let mut routes = self.routes.to_vec();
        for route in &mut routes {
            let name = format!("{} {}", route.method, route.template);
            route.charge = route.charge.at(limiter.endpoint(&name));
        }
        Self { routes: routes.into(), default: self.default }
    }

    /// What `method` on `path` costs; `path` without query.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Charge {
        self.routes
            .iter()
            .find(|route| route.method == *method && matches(&route.template, path))
            .map_or(self.default, |route| route.charge)
    }

    /// The endpoint of `method` on `path`.
    #[must_use]
    pub fn endpoint(&self, method: &Method, path: &str) -> EndpointId {
        self.find(method, path).endpoint()
    }
}

impl<B> Cost<http::Request<B>> for CostTable {
    fn cost(&self, request: &http::Request<B>) -> Charge {
        self.find(request.method(), request.uri().path())
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.trim_matches('/').split('/')
}

fn is_placeholder(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

fn matches(template: &str, path: &str) -> bool {
    let mut given = segments(path);
    for wanted in segments(template) {
        match given.next() {
            Some(found) if found == wanted => {}
            Some(found) if is_placeholder(wanted) && !found.is_empty() => {}
            _ => return false,
        }
    }
    given.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BudgetId;

    const TOKENS: BudgetId = BudgetId(0);

    fn table() -> CostTable {
        let cost = |n| Charge::new().with(TOKENS, n);
        CostTable::new(cost(99))
            .route(Method::GET, "/deals/{id}", cost(1))
            .route(Method::GET, "/deals/archived", cost(20))
            .route(Method::GET, "/deals", cost(10))
            .route(Method::PATCH, "/deals/{id}", cost(5))
            .route(Method::GET, "/{entity}/{id}/flow", cost(40))
    }

    #[test]
    fn words_stand_before_placeholders() {
        assert_eq!(table().find(&Method::GET, "/deals/archived").of(TOKENS), 20);
        assert_eq!(table().find(&Method::GET, "/deals/7").of(TOKENS), 1);
    }

    #[test]
    fn the_method_and_every_segment_count() {
        assert_eq!(table().find(&Method::PATCH, "/deals/7").of(TOKENS), 5);
        assert_eq!(table().find(&Method::GET, "/deals/7/flow").of(TOKENS), 40);
        assert_eq!(table().find(&Method::DELETE, "/deals/7").of(TOKENS), 99);
        assert_eq!(table().find(&Method::GET, "/deals//flow").of(TOKENS), 99);
        assert_eq!(table().find(&Method::GET, "/deals/").of(TOKENS), 10);
    }

    #[test]
    fn a_route_added_again_replaces_the_first() {
        let table = table().route(Method::GET, "/deals/{id}", Charge::new().with(TOKENS, 3));
        assert_eq!(table.find(&Method::GET, "/deals/7").of(TOKENS), 3);
    }
}
