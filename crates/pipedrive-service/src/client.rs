//! The typed client.

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    BoxError,
    entity::Entity,
    error::Error,
    page::{Row, RowId, RowsPage},
    query::{ListQuery, WalkOptions},
};

/// INTERIM: signatures first, bodies follow.
#[derive(Clone, Debug)]
pub struct Client {}

#[allow(missing_docs, clippy::missing_errors_doc, unused_variables, clippy::unused_async)]
impl Client {
    // pub fn new(config: Config) -> Result<Self, ConfigError>
    // pub fn with_transport<S, B>(config: Config, transport: S) -> Result<Self, ConfigError>
    //     where S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static
    // pub fn config(&self) -> &Config
    // pub fn limiter(&self) -> &Limiter; circuit() -> &Circuit; health() -> &Health; retry_stats() -> &RetryStats;
    // pub fn pages(&self) -> &PageController; budgets() -> &Budgets { burst, search, day: BudgetId }
    pub async fn me(&self) -> Result<Me, Error> {
        todo!()
    }
    pub async fn list(&self, entity: Entity, query: ListQuery) -> Result<RowsPage, Error> {
        todo!()
    }
    pub fn walk(
        &self,
        entity: Entity,
        options: WalkOptions,
    ) -> impl Stream<Item = Result<RowsPage, Error>> + Send + 'static {
        Nothing
    }
    pub async fn get(&self, entity: Entity, id: impl Into<RowId>) -> Result<Row, Error> {
        todo!()
    }
    pub async fn create(&self, entity: Entity, record: &(impl Serialize + Sync)) -> Result<Row, Error> {
        todo!()
    }
    pub async fn update(
        &self,
        entity: Entity,
        id: impl Into<RowId>,
        change: &(impl Serialize + Sync),
    ) -> Result<Row, Error> {
        todo!()
    }
    pub async fn delete(&self, entity: Entity, id: impl Into<RowId>) -> Result<(), Error> {
        todo!()
    }
    pub async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        todo!()
    }
}

struct Nothing;
impl Stream for Nothing {
    type Item = Result<RowsPage, Error>;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(None)
    }
}

/// Who the token belongs to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Me {
    /// Identifier of the user.
    pub id: i64,
    /// Name of the user.
    pub name: String,
    /// Identifier of the company.
    pub company_id: Option<i64>,
    /// The company's part of the host name.
    pub company_domain: Option<String>,
    /// The whole record.
    pub raw: Box<RawValue>,
}
const _: Option<BoxError> = None;
