//! Rules from a file, which overrule how failures are classified and change while the program runs.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tower_retry_classify::{Category, Rule, RuleSet, Rules};

use crate::config::{ConfigError, Problem, syntax};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// 1,000 rules need a tenth of that.
const LONGEST: u64 = 1 << 20;
/// Problems that are told one by one: a file that was not meant may have very many.
const MOST_TOLD: usize = 50;
/// Of a key, in characters.
const LONGEST_KEY: usize = 40;

/// The rules of one file: `[[error_categories]]` in TOML, see [`Rule`] for what each may say. Clones are the same rules.
///
/// ```toml
/// [[error_categories]]
/// name = "a proxy of ours restarts"
/// status = [502]
/// header = "via: squid"
/// category = "recoverable"       # or non_recoverable, degraded
/// class = "server"
/// after_seconds = 5
/// ```
///
/// The first rule that fits decides, after and over [`PipedriveClassifier`](crate::classify::PipedriveClassifier). It
/// decides on the retry of a call, and under which class it is counted; what an [`Error`](crate::Error) says of itself,
/// the circuit and health go by the API's own rules.
#[derive(Clone)]
pub struct ErrorRules {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    rules: Rules,
    /// What was read last, right or wrong, or why nothing could be.
    seen: Mutex<Result<String, ConfigError>>,
}

impl ErrorRules {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once, by places and what was expected there. A file that cannot be read, is
    /// longer than 1 MiB or is not TOML is reported alone. What is no regular file is not read: a pipe would be waited
    /// for.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        let text = read(&path)?;
        let set = parse(&path, &text)?;
        let rules = Rules::new(set, &[]).map_err(|error| wrong(&path, &error))?;
        let seen = Mutex::new(Ok(text));
        Ok(Self { inner: Arc::new(Inner { path, rules, seen }) })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The rules in effect: a classifier.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    /// Reads the file again if it says something else than when it was last read, and goes by it from now on. Says
    /// whether it did. Blocks for as long as reading takes.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), once for each state of the file; then the old rules stay.
    pub fn reload(&self) -> Result<bool, ConfigError> {
        let Inner { path, rules, seen } = &*self.inner;
        let read = read(path);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == read {
            return Ok(false);
        }
        // Remembered first: what is wrong is said once.
        seen.clone_from(&read);
        let set = parse(path, &read?)?;
        rules.replace(set).map_err(|error| wrong(path, &error))?;
        Ok(true)
    }

    /// Looks every five seconds whether the file has changed, for ever. What is wrong with it is told by an event, and
    /// the old rules stay.
    ///
    /// # Cancellation
    ///
    /// Dropped, nothing is half done: rules are replaced all at once.
    pub async fn watch(self) {
        loop {
            tokio::time::sleep(EVERY).await;
            let this = self.clone();
            let Ok(reloaded) = tokio::task::spawn_blocking(move || this.reload()).await else {
                return;
            };
            let (file, rules) = (self.path().display(), self.rules().len());
            match reloaded {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(target: "pipedrive_service::rules", %file, rules, "rules.reloaded");
                }
                Err(error) => {
                    tracing::warn!(target: "pipedrive_service::rules", %file, rules, %error, "rules.rejected");
                }
            }
        }
    }
}

fn said(path: &Path, text: impl fmt::Display) -> Problem {
    Problem::said(format!("file {}: {text}", path.display()))
}

fn wrong(path: &Path, error: &tower_retry_classify::ConfigError) -> ConfigError {
    told(path, error.problems().iter().map(|problem| said(path, problem)).collect())
}

/// The first of them, and how many more there are.
fn told(path: &Path, mut problems: Vec<Problem>) -> ConfigError {
    let more = problems.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        problems.truncate(MOST_TOLD);
        problems.push(said(path, format!("and {more} more")));
    }
    ConfigError::of(problems)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let one = |text: String| ConfigError::one(said(path, text));
    let unread = |error: io::Error| one(format!("cannot be read: {error}"));
    // Asked before it is opened: a pipe would wait for its writer, and a device may have no end.
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err(one("is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unread)?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > LONGEST {
        return Err(one(format!("is longer than {LONGEST} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        one(format!("is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
    })
}

/// The rules as they stand there, if each is one by its form; and then what is wrong with their content too.
fn parse(path: &Path, text: &str) -> Result<RuleSet, ConfigError> {
    let root: toml::Table = text
        .parse()
        .map_err(|error| ConfigError::one(said(path, syntax::not_toml(text, &error))))?;
    let mut problems = Vec::new();
    let mut rules = Vec::new();
    for (key, value) in root {
        match value {
            toml::Value::Array(list) if key == "error_categories" => {
                for (place, value) in list.iter().enumerate() {
                    let place = format!("error_categories[{place}]");
                    rules.push(rule(&place, value, path, &mut problems));
                }
            }
            _ => {
                let key = short(&key);
                problems.push(said(path, format!("{key} is not a list [[error_categories]]")));
            }
        }
    }
    let set = RuleSet::new(rules);
    if !problems.is_empty() {
        // What stands in place of those that are none has nothing wrong with it.
        if let Err(error) = Rules::new(set, &[]) {
            problems.extend(error.problems().iter().map(|problem| said(path, problem)));
        }
        return Err(told(path, problems));
    }
    Ok(set)
}

/// One rule, or one in its place that has nothing wrong with it.
fn rule(place: &str, value: &toml::Value, path: &Path, problems: &mut Vec<Problem>) -> Rule {
    let before = problems.len();
    let harmless = || {
        let mut rule = Rule::new(Category::NonRecoverable, "server");
        rule.status = vec![599];
        rule
    };
    let error = match value.clone().try_into::<Rule>() {
        Ok(rule) => return rule,
        Err(error) => error,
    };
    // It names the first thing that is wrong; each field beside the two that must be there names its own.
    for (key, value) in value.as_table().into_iter().flatten() {
        let mut alone = toml::Table::new();
        alone.insert("category".into(), "recoverable".into());
        alone.insert("class".into(), "server".into());
        alone.insert(key.clone(), value.clone());
        if let Err(error) = toml::Value::Table(alone).try_into::<Rule>() {
            let key = short(key);
            problems.push(said(path, format!("{place}.{key}: {}", syntax::expected(&error))));
        }
    }
    let table = value.as_table();
    for key in ["category", "class"] {
        if table.is_some_and(|table| !table.contains_key(key)) {
            problems.push(said(path, format!("{place}.{key} is missing")));
        }
    }
    if problems.len() == before {
        problems.push(said(path, format!("{place}: {}", syntax::expected(&error))));
    }
    harmless()
}

fn short(key: &str) -> String {
    let mut rest = key.chars();
    let start: String = rest.by_ref().take(LONGEST_KEY).collect();
    if rest.next().is_some() { format!("{start}…") } else { start }
}

impl fmt::Debug for ErrorRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorRules")
            .field("path", &self.inner.path)
            .field("rules", &self.inner.rules.len())
            .finish_non_exhaustive()
    }
}
