//! The SQLite file itself: whose it is, its lock, and how a new one is made whole or not at all.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use super::{
    Database, Found, StoreError,
    schema::{APPLICATION_ID, VERSION},
};

/// A file by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqliteFile(PathBuf);

impl SqliteFile {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The file that a link leads to, so that one database has one lock whatever it is called.
    fn real(&self) -> PathBuf {
        std::fs::canonicalize(&self.0).unwrap_or_else(|_| self.0.clone())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.real().into_os_string();
        name.push(suffix);
        name.into()
    }

    /// Whether there is a log that is not yet in the file itself.
    pub(super) fn has_log(&self) -> bool {
        std::fs::metadata(self.beside("-wal")).is_ok_and(|meta| meta.len() > 0)
    }

    pub(super) fn database(&self) -> Database {
        self.0.clone().into()
    }

    pub(super) fn unusable(&self, doing: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let database = self.database();
        move |source| StoreError::Unusable { database, doing, source }
    }
}

impl From<PathBuf> for SqliteFile {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

/// What lies at the path, read without SQLite so that nothing is touched.
pub(crate) fn look(database: &SqliteFile) -> Result<Found, StoreError> {
    let path = database.path();
    let foreign = |what| Err(StoreError::Foreign { database: database.database(), what });
    // Asked before it is opened: a pipe would wait for its writer, and a device must not be replaced.
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return foreign("a directory"),
        Ok(meta) if !meta.is_file() => return foreign("a device, a pipe or a socket"),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            return foreign("a link to nowhere");
        }
        _ => {}
    }
    let mut head = Vec::with_capacity(100);
    match File::open(path) {
        Ok(file) => file.take(100).read_to_end(&mut head).map_err(database.unusable("opened"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(database.unusable("opened")(error)),
    };
    if head.is_empty() {
        return Ok(Found::Nothing);
    }
    if head.len() < 100 || !head.starts_with(b"SQLite format 3\0") {
        return foreign("not an SQLite file");
    }
    let number =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    match (number(68), number(60)) {
        (APPLICATION_ID, version) if version > VERSION => {
            Err(StoreError::Newer { database: database.database(), found: version, known: VERSION })
        }
        (APPLICATION_ID, version) => Ok(Found::Ours { version }),
        _ => foreign("a database of another program"),
    }
}

/// Held by the one sync that may write. The system frees it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct RunLock(#[expect(dead_code, reason = "held, not read")] File);

impl RunLock {
    /// Takes the lock on a file beside the database, which stays there: removing it would be a race.
    pub(crate) fn take(database: &SqliteFile) -> Result<Self, StoreError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(database.beside(".lock"))
            .map_err(database.unusable("created or locked"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::Locked { database: database.database(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(database.unusable("locked")(error)),
        }
        let note = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        note(&mut file).map_err(database.unusable("locked"))?;
        Ok(Self(file))
    }
}

/// The file that is open, and its name.
#[derive(Debug)]
pub(super) struct InPlace {
    file: SqliteFile,
    path: PathBuf,
    identity: (u64, u64),
}

impl InPlace {
    pub(super) fn of(file: &SqliteFile) -> Result<Self, StoreError> {
        let path = file.real();
        let identity = identity(&path).map_err(file.unusable("opened"))?;
        Ok(Self { file: file.clone(), path, identity })
    }

    /// Whether its name is still its name: what is written into a file without one is lost when it is closed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let what = match identity(&self.path) {
            Ok(identity) if identity == self.identity => return Ok(()),
            Ok(_) => "another file has its name".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(StoreError::Moved { database: self.file.database(), what })
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

/// A new database under another name, until [`Draft::publish`] puts it in its place.
pub(crate) struct Draft<'a> {
    database: &'a SqliteFile,
    path: PathBuf,
}

impl<'a> Draft<'a> {
    /// Needs the run lock: two drafts at once would write one file.
    pub(crate) fn new(database: &'a SqliteFile, _lock: &RunLock) -> Result<Self, StoreError> {
        let path = database.beside(".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // A company's data is nobody else's business. SQLite gives its side files the same rights.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).map_err(database.unusable("created"))?;
        Ok(Self { database, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn publish(self) -> Result<(), StoreError> {
        let publish = || {
            File::open(&self.path)?.sync_all()?;
            // Left by a file that was deleted, whose pages SQLite would write into this one. It removes them itself
            // where it makes a file.
            for log in ["-wal", "-shm", "-journal"] {
                match std::fs::remove_file(self.database.beside(log)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            std::fs::rename(&self.path, self.database.real())
        };
        publish().map_err(self.database.unusable("created"))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Gone already if it was published.
        let _ = std::fs::remove_file(&self.path);
    }
}
