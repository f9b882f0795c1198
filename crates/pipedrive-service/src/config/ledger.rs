//! Where several processes keep the budgets that they share.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// `robustness.rate_limiting.ledger_*`: where processes that share a token keep their budgets together.
///
/// A client of such a configuration is built with [`ClientBuilder::shared`](crate::ClientBuilder::shared).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LedgerConfig {
    /// Where it is.
    pub url: LedgerUrl,
    /// What it is called there, if anybody said so; who share it must call it alike.
    pub name: Option<String>,
    /// The share of each limit that may be spent while it cannot be reached, from 0 to 1.
    pub alone: f64,
}

/// The address of a ledger, which may hold a password. Its `Display` and `Debug` show neither user nor password.
///
/// ```
/// use pipedrive_service::config::LedgerUrl;
///
/// let url = LedgerUrl::parse("redis://me:hunter2@10.0.0.7:6379/1").expect("it is one");
/// assert_eq!(url.to_string(), "redis://10.0.0.7:6379/1");
/// assert_eq!(url.expose(), "redis://me:hunter2@10.0.0.7:6379/1");
/// assert!(LedgerUrl::parse("http://10.0.0.7").is_none());
/// ```
#[derive(Clone)]
pub struct LedgerUrl {
    whole: SecretString,
    shown: String,
}

impl LedgerUrl {
    /// Reads `redis://[user[:password]@]host[:port][/database]`. None if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut shown = Url::parse(text).ok()?;
        let host = shown.host_str().is_some_and(|host| !host.is_empty());
        let database = shown.path().trim_matches('/');
        let plain = database.bytes().all(|byte| byte.is_ascii_digit());
        if shown.scheme() != "redis" || !host || !plain || shown.fragment().is_some() {
            return None;
        }
        shown.set_username("").ok()?;
        shown.set_password(None).ok()?;
        shown.set_query(None);
        Some(Self { whole: SecretString::from(text.to_owned()), shown: shown.into() })
    }

    /// The whole address. It may hold a password: show it to nobody.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.whole.expose_secret()
    }
}

impl fmt::Display for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerUrl({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_schemes_and_odd_addresses_are_refused() {
        for text in [
            "",
            "redis",
            "redis:",
            "redis://",
            "redis:///1",
            "rediss://10.0.0.7",
            "http://10.0.0.7",
            "10.0.0.7:6379",
            "redis://10.0.0.7/deals",
            "redis://10.0.0.7:99999",
            "unix:///run/redis.sock",
            "redis://10.0.0.7/#1",
        ] {
            assert!(LedgerUrl::parse(text).is_none(), "{text:?}");
        }
        for text in
            ["redis://10.0.0.7", "redis://[::1]:6379/", "redis://:hunter2@redis.internal/15"]
        {
            let url = LedgerUrl::parse(text).unwrap_or_else(|| panic!("{text:?}"));
            assert!(!format!("{url} {url:?}").contains("hunter2"));
        }
    }
}
