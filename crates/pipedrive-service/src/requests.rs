//! Builds the requests of the typed client.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use serde::Serialize;
use tokio::time::Instant;
use tower_adaptive_page::{Position, Style};
use tower_ratelimit_tokens::{OnLimit, Priority};
use url::form_urlencoded::byte_serialize;

use crate::{
    call::{Call, CallBuilder},
    config::Config,
    costs,
    entity::{Action, Entity, Operation, Paging},
    error::{Context, Error, ErrorKind},
    page::RowId,
    query::ListQuery,
    recents::{RECENTS, RecentsQuery},
};

/// The host that has no company in its name knows version 1 by another path.
const COMMON_HOST: &str = "api.pipedrive.com";

/// Builds requests to the configured host, each with its [`Call`]. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    base: Uri,
    /// What the configuration charges by list path, laid over the true costs.
    costs: Arc<HashMap<&'static str, u32>>,
    /// For calls that say nothing of it.
    pub(crate) priority: Priority,
    pub(crate) on_limit: Option<OnLimit>,
}

impl Requests {
    pub(crate) fn new(config: &Config) -> Self {
        let mut costs = HashMap::new();
        for (name, cost) in &config.rate_limiting.token_costs {
            for entity in Entity::named(name).unwrap_or_default() {
                costs.insert(entity.name(), u32::try_from(*cost).unwrap_or(u32::MAX));
            }
        }
        Self {
            base: config.base_url.clone(),
            costs: Arc::new(costs),
            priority: Priority::NORMAL,
            on_limit: None,
        }
    }

    /// What an operation on a kind of record costs.
    pub(crate) fn cost(&self, entity: Entity, operation: &Operation) -> u32 {
        self.costs.get(entity.name()).copied().unwrap_or(operation.cost)
    }

    /// One page of a list.
    pub(crate) fn page(
        &self,
        entity: Entity,
        query: &ListQuery,
        position: &Position,
        rows: u32,
    ) -> Result<Request<Bytes>, Error> {
        let operation = entity.operation(Action::List).expect("every kind has a list");
        let context = context(&operation);
        let encode =
            |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
        let pairs: Vec<String> = query
            .parameters(entity)
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let mut path = self.path(operation.template).to_owned();
        if !pairs.is_empty() {
            path = format!("{path}?{}", pairs.join("&"));
        }
        let base = self.uri(&path, &context)?;
        let style = match entity.paging() {
            Paging::Cursor => Some(Style::cursor("cursor", "limit")),
            Paging::Offset => Some(Style::offset("start", "limit")),
            Paging::Whole => None,
        };
        let uri = match style {
            Some(style) => style
                .uri(&base, position, rows.min(entity.max_limit()))
                .map_err(|error| Error::new(ErrorKind::Invalid, context).because(error))?,
            None if *position == Position::Start => base,
            None => {
                let error = Error::new(ErrorKind::Invalid, context);
                return Err(error.message("this list has one page only"));
            }
        };
        let deadline = query.time.and_then(|time| Instant::now().checked_add(time));
        let call = self
            .call(operation.template, self.cost(entity, &operation))
            .priority(query.priority.unwrap_or(self.priority))
            .on_limit(query.on_limit.or(self.on_limit))
            .paged(entity.paging() != Paging::Whole)
            .deadline(deadline)
            .build();
        Ok(request(Method::GET, uri, Bytes::new(), call))
    }

    /// One page of recents.
    pub(crate) fn recents(&self, query: &RecentsQuery) -> Result<Request<Bytes>, Error> {
        let encode =
            |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
        let pairs: Vec<String> = query
            .parameters()
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let path = format!("{}?{}", self.path(RECENTS), pairs.join("&"));
        let uri = self.uri(&path, &Context::default())?;
        let call = self.call(RECENTS, costs::of(&Method::GET, RECENTS)).build();
        Ok(request(Method::GET, uri, Bytes::new(), call))
    }

    /// One record, or the place for a new one.
    pub(crate) fn record(
        &self,
        entity: Entity,
        action: Action,
        id: Option<&RowId>,
        body: Option<Bytes>,
    ) -> Result<Request<Bytes>, Error> {
        let Some(operation) = entity.operation(action) else {
            let error = Error::new(ErrorKind::Unsupported, Context::default());
            return Err(error.message(format!("{action:?} of {entity}").to_lowercase()));
        };
        let context = context(&operation);
        let mut path = self.path(operation.template).to_owned();
        if let Some(id) = id {
            let id =
                byte_serialize(id.to_string().as_bytes()).collect::<String>().replace('+', "%20");
            if matches!(id.as_str(), "" | "." | "..") {
                return Err(
                    Error::new(ErrorKind::Invalid, context).message("that is no identifier")
                );
            }
            let open =
                path.find('{').expect("the template of one record has a place for its identifier");
            path.replace_range(open.., &id);
        }
        let uri = self.uri(&path, &context)?;
        let call = self.call(operation.template, self.cost(entity, &operation)).build();
        Ok(request(operation.method, uri, body.unwrap_or_default(), call))
    }

    /// An operation that belongs to no kind of record.
    pub(crate) fn plain(&self, template: &'static str) -> Result<Request<Bytes>, Error> {
        let uri = self.uri(self.path(template), &Context::default())?;
        let call = self.call(template, costs::of(&Method::GET, template)).build();
        Ok(request(Method::GET, uri, Bytes::new(), call))
    }

    /// Fits out a request of the caller's own: a relative URI becomes absolute, and it gets a [`Call`] if it has none.
    pub(crate) fn adopt(&self, mut given: Request<Bytes>) -> Result<Request<Bytes>, Error> {
        let context = Context { method: given.method().clone(), ..Context::default() };
        if given.uri().authority().is_none() {
            let path = given.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
            *given.uri_mut() = self.uri(&path, &context)?;
        }
        if given.extensions().get::<Call>().is_none() {
            let (template, cost) = costs::matching(given.method(), given.uri().path());
            given.extensions_mut().insert(self.call(template, cost).build());
        }
        Ok(given)
    }

    fn call(&self, template: &'static str, cost: u32) -> CallBuilder {
        Call::builder(template).cost(cost).priority(self.priority).on_limit(self.on_limit)
    }

    fn path<'a>(&self, template: &'a str) -> &'a str {
        let common = self.base.host() == Some(COMMON_HOST);
        template
            .strip_prefix("/api")
            .filter(|rest| common && rest.starts_with("/v1/"))
            .unwrap_or(template)
    }

    fn uri(&self, path: &str, context: &Context) -> Result<Uri, Error> {
        let mut parts = self.base.clone().into_parts();
        let invalid =
            |error: http::Error| Error::new(ErrorKind::Invalid, context.clone()).because(error);
        parts.path_and_query =
            Some(path.parse().map_err(|error| invalid(http::Error::from(error)))?);
        Uri::from_parts(parts).map_err(|error| invalid(error.into()))
    }
}

fn context(operation: &Operation) -> Context {
    Context { method: operation.method.clone(), template: operation.template, ..Context::default() }
}

fn request(method: Method, uri: Uri, body: Bytes, call: Call) -> Request<Bytes> {
    let has_body = !body.is_empty();
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request
        .headers_mut()
        .insert(header::ACCEPT, header::HeaderValue::from_static("application/json"));
    if has_body {
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    request.extensions_mut().insert(call);
    request
}

/// A record as JSON.
pub(crate) fn json(
    entity: Entity,
    action: Action,
    record: &impl Serialize,
) -> Result<Bytes, Error> {
    serde_json::to_vec(record).map(Bytes::from).map_err(|error| {
        let context =
            entity.operation(action).map_or_else(Context::default, |operation| context(&operation));
        Error::new(ErrorKind::Invalid, context).because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn requests(settings: &[(&str, &str)]) -> Requests {
        Requests::new(&Config::load(&Sources::new().env(settings.iter().copied())).unwrap())
    }

    fn page(requests: &Requests, entity: Entity, position: &Position) -> Request<Bytes> {
        requests.page(entity, &ListQuery::new(), position, 500).unwrap()
    }

    #[test]
    fn pages_are_asked_for_as_each_version_wants_it() {
        let acme = requests(&[("PIPEDRIVE_COMPANY_DOMAIN", "acme")]);
        let deals = page(&acme, Entity::Deals, &Position::Cursor("a+/=".into()));
        assert_eq!(
            *deals.uri(),
            "https://acme.pipedrive.com/api/v2/deals?sort_by=id&sort_direction=asc&cursor=a%2B%2F%3D&limit=500"
        );
        let files = page(&acme, Entity::Files, &Position::Offset(100));
        assert_eq!(
            *files.uri(),
            "https://acme.pipedrive.com/api/v1/files?sort=id%20ASC&start=100&limit=100"
        );
        let users = page(&acme, Entity::Users, &Position::Start);
        assert_eq!(*users.uri(), "https://acme.pipedrive.com/api/v1/users");
        assert!(acme.page(Entity::Deals, &ListQuery::new(), &Position::Offset(1), 1).is_err());
    }

    #[test]
    fn the_common_host_knows_version_one_by_another_path() {
        let common = requests(&[]);
        assert_eq!(
            *page(&common, Entity::Users, &Position::Start).uri(),
            "https://api.pipedrive.com/v1/users"
        );
        let deal =
            common.record(Entity::Deals, Action::Get, Some(&RowId::Number(7)), None).unwrap();
        assert_eq!(*deal.uri(), "https://api.pipedrive.com/api/v2/deals/7");
    }

    #[test]
    fn an_identifier_cannot_leave_its_place_in_the_path() {
        let acme = requests(&[("PIPEDRIVE_COMPANY_DOMAIN", "acme")]);
        let get = |id: &str| acme.record(Entity::Leads, Action::Get, Some(&RowId::from(id)), None);
        let lead = get("../users?x=1").unwrap();
        assert_eq!(*lead.uri(), "https://acme.pipedrive.com/api/v1/leads/..%2Fusers%3Fx%3D1");
        assert!(get("..").is_err() && get("").is_err());
    }

    #[test]
    fn configured_costs_lie_over_the_true_ones() {
        let plain = requests(&[]);
        let cost = |requests: &Requests, entity| {
            page(requests, entity, &Position::Start).extensions().get::<Call>().unwrap().cost()
        };
        assert_eq!(cost(&plain, Entity::Deals), 10);
        let laid_over =
            requests(&[("PIPEDRIVE_TOKEN_COSTS", "deals=1,custom_fields=3,webhooks=1")]);
        assert_eq!(cost(&laid_over, Entity::Deals), 1);
        assert_eq!(cost(&laid_over, Entity::DealFields), 3);
        assert_eq!(cost(&laid_over, Entity::Notes), 20);
    }

    #[test]
    fn a_request_of_ones_own_gets_host_call_and_price() {
        let acme = requests(&[("PIPEDRIVE_COMPANY_DOMAIN", "acme")]);
        let own = Request::get("/api/v1/deals/7/flow?start=0").body(Bytes::new()).unwrap();
        let own = acme.adopt(own).unwrap();
        assert_eq!(*own.uri(), "https://acme.pipedrive.com/api/v1/deals/7/flow?start=0");
        let call = own.extensions().get::<Call>().unwrap();
        assert_eq!((call.template(), call.cost()), ("/api/v1/deals/{id}/flow", 40));
    }
}
