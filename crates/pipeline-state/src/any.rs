use jiff::Timestamp;

#[cfg(feature = "postgres")]
use crate::PostgresStore;
use crate::{
    SqliteStore, StateError,
    sql::{Backend, Tx},
};

/// A store by URL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyStore {
    /// `sqlite:PATH`, or `sqlite::memory:`.
    Sqlite(SqliteStore),
    /// `postgres://USER@HOST/DATABASE`.
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
}

impl AnyStore {
    /// Opens `sqlite:PATH` or `sqlite::memory:`; with the feature `postgres` also `postgres://...`.
    ///
    /// # Errors
    ///
    /// [`StateError::Name`] for anything else; those of the store that it names.
    pub async fn open(url: &str) -> Result<Self, StateError> {
        match url.split_once(':') {
            Some(("sqlite", ":memory:")) => Ok(Self::Sqlite(SqliteStore::in_memory().await?)),
            Some(("sqlite", path)) if !path.trim_start_matches('/').is_empty() => {
                let path = path.strip_prefix("//").unwrap_or(path);
                Ok(Self::Sqlite(SqliteStore::open(path).await?))
            }
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => {
                Ok(Self::Postgres(PostgresStore::open(url).await?))
            }
            // What follows may hold a password.
            Some((scheme, _)) => Err(StateError::Name { given: format!("{scheme}:...") }),
            None => Err(StateError::Name { given: url.to_owned() }),
        }
    }
}

impl Backend for AnyStore {
    async fn begin(&self) -> Result<Tx, StateError> {
        match self {
            Self::Sqlite(store) => store.begin().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.begin().await,
        }
    }

    async fn begin_lightly(&self) -> Result<Tx, StateError> {
        match self {
            Self::Sqlite(store) => store.begin_lightly().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.begin_lightly().await,
        }
    }

    async fn look(&self) -> Result<Tx, StateError> {
        match self {
            Self::Sqlite(store) => store.look().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.look().await,
        }
    }

    async fn clock(&self) -> Result<Timestamp, StateError> {
        match self {
            Self::Sqlite(store) => store.clock().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.clock().await,
        }
    }
}
