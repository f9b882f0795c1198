//! Lays sources of settings over one another and remembers where each value came from. Knows nothing of any one
//! service: the settings are a table that is handed in.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use secrecy::SecretString;

use super::{
    error::Problem,
    sources::Sources,
    value::{Kind, Unit, Value},
};

/// A variable that gives a setting.
#[derive(Clone, Copy, Debug)]
pub struct EnvName {
    /// Its name.
    pub name: &'static str,
    /// The unit of a bare number in it.
    pub unit: Unit,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its place in the tree, such as `robustness.rate_limiting.max_delay`.
    pub key: &'static str,
    /// The variables that give it; an earlier one wins over a later one.
    pub env: &'static [EnvName],
    /// What it may hold.
    pub kind: Kind,
    /// What it holds when nobody says anything; empty for nothing at all.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
}

impl Setting {
    /// The unit of a bare number in a file: seconds, but milliseconds where the key ends in `_ms`.
    fn file_unit(&self) -> Unit {
        if self.key.ends_with("_ms") { Unit::Millis } else { Unit::Seconds }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A profile of this name that is built in.
    Profile(String),
    /// A file.
    File(String),
    /// The section of a profile in a file.
    FileProfile(String, String),
    /// A variable of the environment.
    Env(&'static str),
    /// The program itself.
    Builder,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::File(name) => write!(f, "file {name}"),
            Self::FileProfile(name, profile) => write!(f, "file {name}, profile {profile}"),
            Self::Env(name) => write!(f, "variable {name}"),
            Self::Builder => f.write_str("program"),
        }
    }
}

/// Every setting of a table with its value and where that came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    values: HashMap<&'static str, (Value, Source)>,
}

impl Resolved {
    /// Lays the sources over one another; problems are added to the list.
    pub(super) fn new(
        table: &[Setting],
        profiles: &[(&str, &[(&str, &str)])],
        profile: &str,
        file: Option<(&str, &toml::Table)>,
        sources: &Sources,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut values = HashMap::new();
        for setting in table {
            let default = match setting.default {
                "" => Value::Unset,
                text => setting.kind.read(text, Unit::Seconds).unwrap_or(Value::Unset),
            };
            values.insert(setting.key, (default, Source::Default));
        }
        let mut this = Self { values };
        for (_, pairs) in profiles.iter().filter(|(name, _)| *name == profile) {
            for (key, text) in *pairs {
                let source = Source::Profile(profile.to_owned());
                this.set(table, key, text, &source, problems);
            }
        }
        if let Some((name, root)) = file {
            let source = Source::File(name.to_owned());
            let profiles = root.get("profiles").and_then(toml::Value::as_table);
            this.tree(table, "", root, &source, problems);
            for (other, section) in profiles.into_iter().flatten() {
                let source = Source::FileProfile(name.to_owned(), other.clone());
                // The sections of other profiles are checked too, but not used.
                let mut aside = this.clone();
                let into = if other == profile { &mut this } else { &mut aside };
                match section.as_table() {
                    Some(section) => into.tree(table, "", section, &source, problems),
                    None => problems.push(Problem::new(&source, "", None, "a table of settings")),
                }
            }
        }
        for setting in table {
            // From the most generic to the most specific, so that all are checked and the last wins.
            for variable in setting.env.iter().rev() {
                let Some(text) = sources.variable(variable.name) else { continue };
                let source = Source::Env(variable.name);
                match setting.kind.read(text, variable.unit) {
                    Ok(value) => drop(this.values.insert(setting.key, (value, source))),
                    Err(_) => {
                        let expected = setting.kind.expects(variable.unit);
                        let shown = (!setting.kind.is_secret()).then(|| text.to_owned());
                        problems.push(Problem::new(&source, "", shown, expected));
                    }
                }
            }
        }
        for (key, text) in &sources.explicit {
            this.set(table, key, &text.0, &Source::Builder, problems);
        }
        this
    }

    fn set(
        &mut self,
        table: &[Setting],
        key: &str,
        text: &str,
        source: &Source,
        problems: &mut Vec<Problem>,
    ) {
        let Some(setting) = table.iter().find(|setting| setting.key == key) else {
            problems.push(Problem::unknown(source, key, table));
            return;
        };
        match setting.kind.read(text, setting.file_unit()) {
            Ok(value) => drop(self.values.insert(setting.key, (value, source.clone()))),
            Err(_) => {
                let shown = (!setting.kind.is_secret()).then(|| text.to_owned());
                problems.push(Problem::new(
                    source,
                    key,
                    shown,
                    setting.kind.expects(setting.file_unit()),
                ));
            }
        }
    }

    fn tree(
        &mut self,
        table: &[Setting],
        prefix: &str,
        section: &toml::Table,
        source: &Source,
        problems: &mut Vec<Problem>,
    ) {
        for (name, value) in section {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            if prefix.is_empty() && (name == "profile" || name == "profiles") {
                continue;
            }
            if let Some(setting) = table.iter().find(|setting| setting.key == key) {
                match setting.kind.read_toml(value, setting.file_unit()) {
                    Ok(value) => drop(self.values.insert(setting.key, (value, source.clone()))),
                    Err(_) => {
                        let shown = (!setting.kind.is_secret()).then(|| value.to_string());
                        problems.push(Problem::new(
                            source,
                            &key,
                            shown,
                            setting.kind.expects(setting.file_unit()),
                        ));
                    }
                }
                continue;
            }
            let inside = format!("{key}.");
            match value.as_table() {
                Some(inner) if table.iter().any(|setting| setting.key.starts_with(&inside)) => {
                    self.tree(table, &key, inner, source, problems);
                }
                _ => problems.push(Problem::unknown(source, &key, table)),
            }
        }
    }

    /// A value and its source.
    ///
    /// # Panics
    ///
    /// If the table has no such key, which is a mistake in the program.
    #[must_use]
    pub fn get(&self, key: &str) -> (&Value, &Source) {
        let (value, source) =
            self.values.get(key).unwrap_or_else(|| panic!("no setting is called {key}"));
        (value, source)
    }

    /// Whether anybody set the key.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        *self.get(key).1 != Source::Default
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key).0, Value::Switch(true))
    }

    pub(super) fn number(&self, key: &str) -> u64 {
        self.maybe_number(key).unwrap_or_default()
    }

    pub(super) fn maybe_number(&self, key: &str) -> Option<u64> {
        if let Value::Number(number) = self.get(key).0 { Some(*number) } else { None }
    }

    pub(super) fn fraction(&self, key: &str) -> f64 {
        if let Value::Fraction(fraction) = self.get(key).0 { *fraction } else { 0.0 }
    }

    pub(super) fn fractions(&self, key: &str) -> Vec<f64> {
        if let Value::Fractions(fractions) = self.get(key).0 {
            fractions.clone()
        } else {
            Vec::new()
        }
    }

    pub(super) fn time(&self, key: &str) -> Duration {
        if let Value::Time(time) = self.get(key).0 { *time } else { Duration::ZERO }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        if let Value::Text(text) = self.get(key).0 { Some(text) } else { None }
    }

    pub(super) fn secret(&self, key: &str) -> Option<&SecretString> {
        if let Value::Secret(secret) = self.get(key).0 { Some(secret) } else { None }
    }

    pub(super) fn names(&self, key: &str) -> Vec<String> {
        if let Value::Names(names) = self.get(key).0 { names.clone() } else { Vec::new() }
    }

    pub(super) fn numbers(&self, key: &str) -> BTreeMap<String, u64> {
        if let Value::Numbers(numbers) = self.get(key).0 {
            numbers.clone()
        } else {
            BTreeMap::new()
        }
    }
}
