//! The settings of a simulated company account.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::churn::Churn;
use super::data::{AccountOptions, LastPage, Recents, Sizes};
use super::faults::Faults;

/// The token that is accepted unless another is set.
pub const DEFAULT_API_TOKEN: &str = "sim-0000000000000000000000000000000000000001";

/// The OAuth access token that is accepted unless another is set.
pub const DEFAULT_OAUTH_TOKEN: &str = "sim-oauth-0000000000000000000000000000000001";

/// Times in the settings are at most as long, so that no instant overflows.
pub(super) const YEAR_S: u64 = 366 * 86_400;

/// The company's plan, which sets the burst limit and the daily tokens.
///
/// The five older plan names are accepted too. Figures: Pipedrive's page on rate limiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Plan {
    /// 20 requests per 2 s (OAuth 80), 30,000 tokens per seat. Once Essential.
    #[serde(alias = "essential")]
    Lite,
    /// 40 requests per 2 s (OAuth 160), 60,000 tokens per seat. Once Advanced.
    #[serde(alias = "advanced")]
    Growth,
    /// 80 requests per 2 s (OAuth 320), 90,000 tokens per seat. An older plan.
    Professional,
    /// 100 requests per 2 s (OAuth 400), 150,000 tokens per seat. Once Power. The default.
    #[default]
    #[serde(alias = "power")]
    Premium,
    /// 120 requests per 2 s (OAuth 480), 210,000 tokens per seat. Once Enterprise.
    #[serde(alias = "enterprise")]
    Ultimate,
}

impl Plan {
    /// Requests allowed in one burst window, by the kind of token.
    #[must_use]
    pub const fn burst(self, auth: AuthKind) -> u32 {
        let api = match self {
            Self::Lite => 20,
            Self::Growth => 40,
            Self::Professional => 80,
            Self::Premium => 100,
            Self::Ultimate => 120,
        };
        match auth {
            AuthKind::ApiToken => api,
            AuthKind::OAuth => 4 * api,
        }
    }

    /// How often the 30,000 daily tokens are given for each seat.
    #[must_use]
    pub const fn multiplier(self) -> u64 {
        match self {
            Self::Lite => 1,
            Self::Growth => 2,
            Self::Professional => 3,
            Self::Premium => 5,
            Self::Ultimate => 7,
        }
    }
}

/// How a request proves who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// `x-api-token`, or `?api_token=` where that is allowed.
    ApiToken,
    /// `authorization: Bearer ...`.
    OAuth,
}

/// The page that the edge shows after continued abuse.
///
/// That it exists is documented. Its three figures are **invented**: no source gives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Edge {
    /// Whether the edge bans at all. Default: true.
    pub enabled: bool,
    /// Calls refused by a limit, by one API token, that bring the ban. Default: 100 (invented).
    pub refusals: u32,
    /// Seconds within which they must fall. Default: 60 (invented).
    pub within_s: u64,
    /// Seconds that the ban lasts. Default: 300 (invented).
    pub block_s: u64,
}

impl Default for Edge {
    fn default() -> Self {
        Self { enabled: true, refusals: 100, within_s: 60, block_s: 300 }
    }
}

/// The daily-token headers are missing for a while after the account was idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdleHeaders {
    /// Seconds without a request that count as idle.
    pub after_s: u64,
    /// Answers that then come without the headers.
    pub answers: u32,
}

/// Everything that can be set. Every field has a default.
///
/// Read from TOML by [`SimConfig::from_toml`], or written as
/// `SimConfig { seed: 7, ..SimConfig::default() }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimConfig {
    /// Seed of the account's data. Default: 1.
    pub seed: u64,
    /// Records in the account, all entities together. Default: 50,000.
    pub records: u64,
    /// Records of each entity, in place of `records`; not in TOML. Default: none.
    #[serde(skip)]
    pub sizes: Option<Sizes>,
    /// First label of the company's host name, as `users/me` tells it. Default: `acme`.
    pub company_domain: String,
    /// Whether the version 1 operations that left the official description (deals, persons and
    /// others) still answer; else 410. Unconfirmed. Default: true.
    pub legacy_v1: bool,
    /// Whether version 1 cuts a page size above its maximum down to it; else 400. Unconfirmed.
    /// Default: true.
    pub clamp_v1_limit: bool,
    /// The least length of a row of the large kinds in bytes, reached by a property `x_padding` that
    /// the real API does not have. Default: 0, none.
    pub row_bytes: usize,
    /// Seconds after which a cursor of version 2 is refused with 400. Unconfirmed. Default: none, never.
    pub cursor_life_s: Option<u64>,
    /// How the last page of version 2 tells that it is the last. Default: null.
    pub last_page: LastPage,
    /// How `/v1/recents` behaves where no official source says.
    pub recents: Recents,
    /// The company's plan. Default: premium.
    pub plan: Plan,
    /// Paid seats; the daily tokens grow with them. Default: 1.
    pub seats: u32,
    /// Purchased tokens a day, on top of the plan's. Default: 0.
    pub top_up: u64,
    /// Daily tokens, whatever plan and seats say. Default: none.
    pub day_tokens: Option<u64>,
    /// Whether limits refuse and are named in headers. Counting goes on either way. Default: true.
    pub limits: bool,
    /// Requests in one burst window, whatever the plan says. Default: none.
    pub burst: Option<u32>,
    /// Search requests in one burst window, of their own. Default: 10.
    pub search_burst: u32,
    /// Length of the burst window in milliseconds. Default: 2,000.
    pub window_ms: u64,
    /// The API token of the first user.
    pub api_token: String,
    /// API tokens of further users: their own burst windows, the same daily tokens. Default: none.
    pub other_tokens: Vec<String>,
    /// The OAuth access token that is accepted.
    pub oauth_token: String,
    /// Whether `?api_token=` is accepted on v2 as it is on v1. Unconfirmed. Default: false.
    pub api_token_query_on_v2: bool,
    /// The wall clock at the start; it goes on with Tokio's clock.
    /// Default: 2026-03-02T09:00:00Z, a Monday.
    pub start: Timestamp,
    /// Time zone of the daily reset, by its IANA name. Unconfirmed. Default: `UTC`.
    pub reset_zone: String,
    /// Local time of the daily reset. Default: 00:00.
    pub reset_time: Time,
    /// Whether a call that a limit refused still costs its tokens. Unconfirmed. Default: false.
    pub refused_calls_cost: bool,
    /// Whether a call that the server then fails (an injected 5xx) costs. Unconfirmed. Default: true.
    pub failed_calls_cost: bool,
    /// Whether the 429 of the daily budget carries `retry-after`. Seen by one source. Default: true.
    pub retry_after_on_daily: bool,
    /// Whether the 429 of the burst window carries `retry-after`. Unconfirmed. Default: false.
    pub retry_after_on_burst: bool,
    /// Whether answers carry the two daily-token headers. Seen, not documented. Default: true.
    pub token_headers: bool,
    /// Their absence after idling. Default: none.
    pub token_headers_idle: Option<IdleHeaders>,
    /// Whether answers to API tokens carry `x-daily-requests-left`. Default: true.
    pub daily_requests_left: bool,
    /// The ban at the edge.
    pub edge: Edge,
    /// Requests of which the log is kept, the newest. Default: 0, no log.
    pub log: usize,
    /// Counted requests of which the time is kept, the newest. Default: 1,000,000.
    pub times_kept: usize,
    /// Largest request body that is read, in bytes. Default: 16 MiB.
    pub max_body: usize,
    /// What changes by itself from the start. Default: nothing.
    pub churn: Churn,
    /// The faults at the start. Default: none.
    pub faults: Faults,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            records: 50_000,
            sizes: None,
            company_domain: "acme".to_owned(),
            legacy_v1: true,
            clamp_v1_limit: true,
            row_bytes: 0,
            cursor_life_s: None,
            last_page: LastPage::default(),
            recents: Recents::default(),
            plan: Plan::default(),
            seats: 1,
            top_up: 0,
            day_tokens: None,
            limits: true,
            burst: None,
            search_burst: 10,
            window_ms: 2_000,
            api_token: DEFAULT_API_TOKEN.to_owned(),
            other_tokens: Vec::new(),
            oauth_token: DEFAULT_OAUTH_TOKEN.to_owned(),
            api_token_query_on_v2: false,
            start: "2026-03-02T09:00:00Z".parse().expect("a literal that is a timestamp"),
            reset_zone: "UTC".to_owned(),
            reset_time: Time::midnight(),
            refused_calls_cost: false,
            failed_calls_cost: true,
            retry_after_on_daily: true,
            retry_after_on_burst: false,
            token_headers: true,
            token_headers_idle: None,
            daily_requests_left: true,
            edge: Edge::default(),
            log: 0,
            times_kept: 1_000_000,
            max_body: 16 * 1024 * 1024,
            churn: Churn::none(),
            faults: Faults::none(),
        }
    }
}

/// Reads something from TOML; an error says what.
pub(super) fn parsed<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::one(format!("{what}: {}", error.message())))
}

/// The text of a file of settings.
pub(super) fn text_of(path: &Path) -> Result<String, ConfigError> {
    let unread = |error| ConfigError::one(format!("{}: {error}", path.display()));
    std::fs::read_to_string(path).map_err(unread)
}

impl SimConfig {
    /// Reads the settings from TOML; what is not named keeps its default.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the text is not TOML or names something unknown. What the values
    /// say is checked by [`Sim::new`](super::Sim::new).
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        parsed("settings", text)
    }

    /// As [`from_toml`](Self::from_toml), from a file.
    ///
    /// # Errors
    ///
    /// The same, and if the file cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::from_toml(&text_of(path.as_ref())?)
    }

    /// Daily tokens of the company: 30,000 x plan x seats + top-up, or `day_tokens`.
    #[must_use]
    pub fn tokens_a_day(&self) -> u64 {
        let by_plan = 30_000 * self.plan.multiplier() * u64::from(self.seats);
        self.day_tokens.unwrap_or(by_plan.saturating_add(self.top_up))
    }

    /// Requests in one burst window, by the kind of token.
    #[must_use]
    pub fn burst_limit(&self, auth: AuthKind) -> u32 {
        self.burst.unwrap_or_else(|| self.plan.burst(auth))
    }

    pub(super) fn account_options(&self) -> AccountOptions {
        let mut options = AccountOptions::default();
        options.company_domain.clone_from(&self.company_domain);
        options.legacy_v1 = self.legacy_v1;
        options.clamp_v1_limit = self.clamp_v1_limit;
        options.row_bytes = self.row_bytes;
        options.cursor_life_s = self.cursor_life_s;
        options.last_page = self.last_page;
        options.recents.clone_from(&self.recents);
        options
    }

    /// Checks all values and finds the time zone.
    pub(super) fn check(&self) -> Result<TimeZone, ConfigError> {
        let mut wrong = Vec::new();
        let mut check = |good: bool, text: &str| {
            if !good {
                wrong.push(text.to_owned());
            }
        };
        check(self.seats > 0 || self.day_tokens.is_some(), "seats: must be at least 1");
        check(self.burst != Some(0), "burst: must be at least 1");
        check(self.search_burst > 0, "search_burst: must be at least 1");
        check(
            (1..=YEAR_S * 1_000).contains(&self.window_ms),
            "window_ms: must lie between 1 and a year",
        );
        check(
            self.edge.within_s <= YEAR_S && self.edge.block_s <= YEAR_S,
            "edge.within_s, edge.block_s: must be at most a year",
        );
        check(!self.api_token.is_empty(), "api_token: must not be empty");
        check(
            !self.other_tokens.contains(&self.api_token),
            "other_tokens: must not repeat api_token",
        );
        check(
            !self.edge.enabled || self.edge.refusals > 0,
            "edge.refusals: must be at least 1, or set edge.enabled to false",
        );
        check(self.times_kept > 0, "times_kept: must be at least 1");
        check(self.recents.reach_s <= YEAR_S, "recents.reach_s: must be at most a year");
        check(self.row_bytes <= 1 << 30, "row_bytes: must be at most 1 GiB");
        check(self.records <= 100_000_000, "records: must be at most 100,000,000");
        let zone = match TimeZone::get(&self.reset_zone) {
            Ok(zone) => Some(zone),
            Err(error) => {
                wrong.push(format!("reset_zone: {error}"));
                None
            }
        };
        self.churn.check(&mut wrong);
        self.faults.check(&mut wrong);
        match zone {
            Some(zone) if wrong.is_empty() => Ok(zone),
            _ => Err(ConfigError { wrong }),
        }
    }
}

/// The settings cannot be used. Lists everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    wrong: Vec<String>,
}

impl ConfigError {
    pub(super) fn one(text: String) -> Self {
        Self { wrong: vec![text] }
    }

    pub(super) fn all(wrong: Vec<String>) -> Self {
        Self { wrong }
    }

    /// What is wrong, one line each.
    #[must_use]
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the simulator's settings cannot be used: {}", self.wrong.join("; "))
    }
}

impl std::error::Error for ConfigError {}
