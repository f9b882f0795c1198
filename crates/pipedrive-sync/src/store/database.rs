//! The name of a database.

use std::{fmt, path::PathBuf, str::FromStr};

use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::{StoreError, file::SqliteFile};

/// The schema of a PostgreSQL database that the copy lies in, unless another is named.
pub const DEFAULT_SCHEMA: &str = "pipedrive";

/// How many seconds a connection that was lost is tried to be made anew, unless the name says.
const RECONNECT_S: u32 = 60;

/// Where the copy is: an SQLite file, named by its path or by `sqlite:` and its path, or a PostgreSQL database, named
/// by `postgres://user:password@host:port/database`.
///
/// The URL may have `?schema=NAME`, `?reconnect=SECONDS` (how long a connection that was lost is tried to be made anew,
/// default 60, 0 for not at all) and whatever [`PgConnectOptions`] knows, say `sslmode=verify-full`. Neither
/// `Display` nor `Debug` shows a password.
///
/// ```
/// use pipedrive_sync::store::Database;
///
/// let database: Database = "postgres://sync:secret@db.example.org/crm?schema=copy".parse()?;
/// assert_eq!(database.to_string(), "postgres://sync@db.example.org/crm?schema=copy");
/// # Ok::<(), pipedrive_sync::store::StoreError>(())
/// ```
#[derive(Clone)]
pub struct Database(pub(super) Place);

#[derive(Clone)]
pub(super) enum Place {
    File(SqliteFile),
    Server(Server),
}

/// A schema of a database of a PostgreSQL server.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) options: Box<PgConnectOptions>,
    /// None if the name did not say.
    schema: Option<String>,
    /// How many seconds a connection that was lost is tried to be made anew.
    pub(super) reconnect_s: u32,
    /// Without password and schema.
    shown: String,
}

impl Server {
    pub(super) fn schema(&self) -> &str {
        self.schema.as_deref().unwrap_or(DEFAULT_SCHEMA)
    }
}

impl Database {
    /// The same with another schema, unless the URL names one. An SQLite file has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Schema`] if it is not made of small letters, digits and `_`, or longer than 63.
    pub fn in_schema(mut self, schema: &str) -> Result<Self, StoreError> {
        if let Place::Server(server) = &mut self.0
            && server.schema.is_none()
        {
            server.schema = Some(schema_name(schema)?);
        }
        Ok(self)
    }

    /// The file, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&std::path::Path> {
        match &self.0 {
            Place::File(file) => Some(file.path()),
            Place::Server(_) => None,
        }
    }
}

fn schema_name(given: &str) -> Result<String, StoreError> {
    let first = given.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let rest = given.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if first && rest && given.len() <= 63 && !given.starts_with("pg_") {
        Ok(given.to_owned())
    } else {
        Err(StoreError::Schema { given: given.to_owned() })
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(file) => file.path().display().fmt(f),
            Place::Server(server) if server.schema() == DEFAULT_SCHEMA => {
                f.write_str(&server.shown)
            }
            Place::Server(server) => write!(f, "{}?schema={}", server.shown, server.schema()),
        }
    }
}

impl PartialEq for Database {
    /// Whether both name the same; a password makes no difference.
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Database {}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({self})")
    }
}

impl serde::Serialize for Database {
    /// As `Display` writes it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<PathBuf> for Database {
    fn from(path: PathBuf) -> Self {
        Self(Place::File(SqliteFile::from(path)))
    }
}

impl FromStr for Database {
    type Err = StoreError;

    fn from_str(given: &str) -> Result<Self, StoreError> {
        let path = match given.split_once(':') {
            Some(("sqlite", rest)) => {
                rest.strip_prefix("//").unwrap_or(rest).split('?').next().unwrap_or_default()
            }
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                return server(given).map(|server| Self(Place::Server(server)));
            }
            Some((scheme, rest)) if rest.starts_with("//") && !scheme.is_empty() => {
                // What follows may hold a password.
                return Err(StoreError::Name { given: format!("{scheme}://...") });
            }
            // SQLite would read more into it than a path.
            Some(("file", _)) => "",
            _ => given,
        };
        if path.is_empty() || path == ":memory:" {
            return Err(StoreError::Name { given: given.to_owned() });
        }
        Ok(PathBuf::from(path).into())
    }
}

fn server(given: &str) -> Result<Server, StoreError> {
    // Errors of the parsers could repeat the password.
    let wrong = || StoreError::Name { given: "postgres://...".to_owned() };
    let mut url = Url::parse(given).map_err(|_| wrong())?;
    let (mut schema, mut reconnect_s) = (None, RECONNECT_S);
    let mut rest = Vec::new();
    for (name, value) in url.query_pairs().into_owned() {
        if name == "schema" {
            schema = Some(schema_name(&value)?);
        } else if name == "reconnect" {
            reconnect_s = value.parse().map_err(|_| wrong())?;
        } else {
            rest.push((name, value));
        }
    }
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    let options: PgConnectOptions = url.as_str().parse().map_err(|_| wrong())?;
    let mut shown = url;
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_password(None);
    Ok(Server { options: Box::new(options), schema, reconnect_s, shown: shown.into() })
}
