//! Where settings come from. Knows nothing of any one service.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    error::{ConfigError, Problem},
    syntax::not_toml,
};

/// What a configuration is made of, weakest first: defaults, a profile, a file, the environment, the program's own
/// settings.
///
/// The environment is handed in as pairs and never changed, so a test needs no global state.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Sources {
    pub(super) profile: Option<String>,
    pub(super) file: Option<FileSource>,
    env: BTreeMap<String, EnvText>,
    pub(super) explicit: Vec<(String, EnvText)>,
}

#[derive(Clone, Debug)]
pub(super) enum FileSource {
    Path(PathBuf),
    Text(String, EnvText),
}

/// A text that may be a secret, so its `Debug` shows nothing.
#[derive(Clone)]
pub(super) struct EnvText(pub(super) String);

impl fmt::Debug for EnvText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Sources {
    /// Defaults only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Defaults and the environment of this process. What is not Unicode in it is replaced by U+FFFD, which no
    /// setting but a free text can hold, so that such a value is reported and not passed over.
    pub fn from_env() -> Self {
        Self::new().env(std::env::vars_os().map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        }))
    }

    /// Adds variables of an environment.
    pub fn env<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.env.extend(
            variables.into_iter().map(|(name, value)| (name.into(), EnvText(value.into()))),
        );
        self
    }

    /// Chooses a profile: `development`, `production`, or one that the file defines.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// Reads a TOML file.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(FileSource::Path(path.into()));
        self
    }

    /// Takes this text for a TOML file of that name.
    pub fn file_text(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.file = Some(FileSource::Text(name.into(), EnvText(text.into())));
        self
    }

    /// Sets one key, such as `robustness.rate_limiting.max_delay`, over everything else.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.explicit.push((key.into(), EnvText(value.into())));
        self
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(|text| text.0.as_str()).filter(|text| !text.trim().is_empty())
    }

    /// The names of all variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.env.keys().map(String::as_str)
    }
}

/// Reads the TOML file of the sources, if there is one.
pub(super) fn read_file(
    sources: &Sources,
    fallback: Option<&str>,
) -> Result<Option<(String, toml::Table)>, ConfigError> {
    let (name, text) = match (&sources.file, fallback) {
        (Some(FileSource::Text(name, text)), _) => (name.clone(), text.0.clone()),
        (Some(FileSource::Path(path)), _) => (path.display().to_string(), read(path)?),
        (None, Some(path)) => (path.to_owned(), read(Path::new(path))?),
        (None, None) => return Ok(None),
    };
    let table = text.parse::<toml::Table>().map_err(|error| {
        ConfigError::one(Problem::said(format!("file {name} {}", not_toml(&text, &error))))
    })?;
    Ok(Some((name, table)))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        ConfigError::one(Problem::said(format!("file {} cannot be read: {error}", path.display())))
    })
}
