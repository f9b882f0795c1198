//! Whether an SQLite file that is open is still where it was.

use std::{
    io,
    path::{Path, PathBuf},
};

use sqlx::SqlitePool;

use super::Result;
use crate::StateError;

/// The file that is open, and its name.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    identity: (u64, u64),
}

impl File {
    pub(super) async fn of(pool: &SqlitePool) -> Option<Self> {
        let sql = "SELECT file FROM pragma_database_list WHERE name = 'main'";
        let path: String = sqlx::query_scalar(sql).fetch_one(pool).await.ok()?;
        let path = PathBuf::from(path);
        // What is in memory has no name.
        let identity = identity(&path).ok()?;
        Some(Self { path, identity })
    }

    /// Whether its name is still its name.
    pub(super) fn check(&self) -> Result<()> {
        let what = match identity(&self.path) {
            Ok(identity) if identity == self.identity => return Ok(()),
            Ok(_) => "another file has its name".to_owned(),
            Err(error) => error.to_string(),
        };
        let text = format!(
            "the file {} was deleted, moved or replaced while it was open ({what}); \
             put it back, or open the store again",
            self.path.display(),
        );
        Err(StateError::Unreachable(io::Error::new(io::ErrorKind::NotFound, text).into()))
    }
}

/// The same for all names of one file, and for no two files at once.
#[cfg(unix)]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|of| (of.dev(), of.ino()))
}

/// Only whether there is one.
#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|_| (0, 0))
}
