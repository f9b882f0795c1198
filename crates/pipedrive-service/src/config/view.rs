use super::{
    Config, FILE_VARIABLE, PROFILE_VARIABLE, SETTINGS, Setting, Source, Sources, error::nearest,
};

/// A setting as it is in effect, for a person to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effective {
    /// The key.
    pub key: &'static str,
    /// The value; `(secret)` for a secret, `(not set)` for nothing.
    pub value: String,
    /// Where it came from.
    pub source: Source,
    /// What it does.
    pub doc: &'static str,
}

impl Config {
    /// Every setting with its value, redacted, and where that came from, in the order of [`SETTINGS`].
    #[must_use]
    pub fn effective(&self) -> Vec<Effective> {
        let show = |setting: &Setting| {
            let (value, source) = self.resolved.get(setting.key);
            // Without the user and the secret that may stand in it.
            let veiled = match setting.key {
                "connection.proxy" => self.transport.proxy.uri.as_ref().map(ToString::to_string),
                "robustness.rate_limiting.ledger_url" => {
                    self.rate_limiting.ledger.as_ref().map(|ledger| ledger.url.to_string())
                }
                _ => None,
            };
            let value = veiled.unwrap_or_else(|| value.to_string());
            Effective { key: setting.key, value, source: source.clone(), doc: setting.doc }
        };
        SETTINGS.iter().map(show).collect()
    }

    /// Variables that look as if they were meant for this crate but are not known, each with a suggestion.
    #[must_use]
    pub fn unknown_variables(&self) -> &[String] {
        &self.unknown
    }

    /// Whether anybody set the key.
    ///
    /// # Panics
    ///
    /// If there is no such key in [`SETTINGS`].
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.resolved.is_set(key)
    }
}

pub(super) fn unknown_variables(sources: &Sources) -> Vec<String> {
    let known = || SETTINGS.iter().flat_map(|setting| setting.env).map(|env| env.name);
    let ours = |name: &&str| name.starts_with("PIPEDRIVE_") || name.starts_with("PIGEON_");
    sources
        .variables()
        .filter(ours)
        .filter(|name| {
            *name != PROFILE_VARIABLE
                && *name != FILE_VARIABLE
                && !known().any(|other| other == *name)
        })
        .map(|name| match nearest(name, known()) {
            Some(near) => format!("{name} is not known; did you mean {near}?"),
            None => format!("{name} is not known"),
        })
        .collect()
}
