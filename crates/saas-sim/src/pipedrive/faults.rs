//! The faults: what may go wrong, how often, and by which script.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::{ConfigError, YEAR_S, parsed, text_of};

/// One way to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// 500 with a JSON error. The request was counted.
    #[serde(rename = "error_500")]
    Error500,
    /// 502 with an HTML page. The request was counted.
    #[serde(rename = "error_502")]
    Error502,
    /// 503 with a JSON error. The request was counted.
    #[serde(rename = "error_503")]
    Error503,
    /// 504 with an HTML page. The request was counted.
    #[serde(rename = "error_504")]
    Error504,
    /// 524 with an HTML page. The request was counted.
    #[serde(rename = "error_524")]
    Error524,
    /// The 429 of the burst window, though the window is not full. Not counted.
    RateLimited,
    /// The connection ends before the head of the answer: by RST or by a plain close on a
    /// socket, by an error of the service in process. Counted or not, see
    /// [`Faults::reset_before_count`].
    Reset,
    /// The connection ends inside the body.
    ResetInBody,
    /// A complete answer whose JSON is cut off.
    TruncatedJson,
    /// 200 with an HTML page in place of JSON.
    Html,
    /// 200 with `{"success":true,"data":null}`. GET only.
    NullData,
    /// No answer, ever.
    Hang,
    /// The body comes in small pieces with pauses between; see [`Drip`].
    SlowDrip,
    /// The answer names as next the cursor that was asked. GET with a cursor only.
    RepeatedCursor,
    /// 401 from now on, until the token is replaced.
    ExpiredToken,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Error500,
        Self::Error502,
        Self::Error503,
        Self::Error504,
        Self::Error524,
        Self::RateLimited,
        Self::Reset,
        Self::ResetInBody,
        Self::TruncatedJson,
        Self::Html,
        Self::NullData,
        Self::Hang,
        Self::SlowDrip,
        Self::RepeatedCursor,
        Self::ExpiredToken,
    ];

    /// The name used in TOML and in the truth.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error500 => "error_500",
            Self::Error502 => "error_502",
            Self::Error503 => "error_503",
            Self::Error504 => "error_504",
            Self::Error524 => "error_524",
            Self::RateLimited => "rate_limited",
            Self::Reset => "reset",
            Self::ResetInBody => "reset_in_body",
            Self::TruncatedJson => "truncated_json",
            Self::Html => "html",
            Self::NullData => "null_data",
            Self::Hang => "hang",
            Self::SlowDrip => "slow_drip",
            Self::RepeatedCursor => "repeated_cursor",
            Self::ExpiredToken => "expired_token",
        }
    }

    /// Whether an attempt with this fault fails. A slow body only takes longer.
    #[must_use]
    pub const fn fails(self) -> bool {
        !matches!(self, Self::SlowDrip)
    }

    /// The status of the server error, for the five kinds that are one.
    pub(super) const fn server_error(self) -> Option<u16> {
        match self {
            Self::Error500 => Some(500),
            Self::Error502 => Some(502),
            Self::Error503 => Some(503),
            Self::Error504 => Some(504),
            Self::Error524 => Some(524),
            _ => None,
        }
    }
}

/// How a slow body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drip {
    /// Pieces of the body. Default: 20.
    pub pieces: u32,
    /// Milliseconds before each piece. Default: 50.
    pub pause_ms: u64,
}

impl Default for Drip {
    fn default() -> Self {
        Self { pieces: 20, pause_ms: 50 }
    }
}

/// When the token that is in use expires; it stays so until it is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Expire {
    /// After so many requests that carried a good token.
    pub after_requests: Option<u64>,
    /// After so many milliseconds from when the faults were set.
    pub after_ms: Option<u64>,
}

/// One line of the script. It matches by method and path, then by how often it has matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// The method. Default: any.
    pub method: Option<String>,
    /// The path without the query; `*` stands for anything, slashes too. Default: any.
    pub path: Option<String>,
    /// A text that the query must contain. Default: any.
    pub query: Option<String>,
    /// Only the matching request of this number, from 1.
    pub nth: Option<u64>,
    /// From the matching request of this number on.
    pub from: Option<u64>,
    /// Up to and with the matching request of this number.
    pub to: Option<u64>,
    /// Every so many matching requests, counted from `from`.
    pub every: Option<u64>,
    /// At most so many times. Default: no bound.
    pub times: Option<u64>,
    /// What goes wrong. Default: nothing, for a rule that only sets latency.
    pub fault: Option<FaultKind>,
    /// Latency before the request is counted, in milliseconds, in place of the general one.
    pub before_ms: Option<u64>,
    /// Latency after it was counted, in milliseconds, in place of the general one.
    pub after_ms: Option<u64>,
}

/// What goes wrong. Without rates and rules nothing does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Seed of the choice. Default: 1.
    pub seed: u64,
    /// Share of the requests, 0 to 1, that meet each kind. A kind that does not apply to the
    /// request it fell on is left out.
    pub rates: BTreeMap<FaultKind, f64>,
    /// If set, each kind with a rate above zero also occurs once among the first so many
    /// requests (or at the first request after that it applies to). Default: none.
    pub each_within: Option<u64>,
    /// Latency before the request is counted: least and most milliseconds. Default: 0, 0.
    pub latency_before_ms: [u64; 2],
    /// Latency after the request was counted: least and most milliseconds. Default: 0, 0.
    pub latency_after_ms: [u64; 2],
    /// Share of the resets, 0 to 1, that come before the request is counted. Default: 0.5.
    pub reset_before_count: f64,
    /// How a slow body comes.
    pub drip: Drip,
    /// When the token expires. Default: never.
    pub expire: Option<Expire>,
    /// The script; the first rule that hits is taken, and goes before the rates.
    pub rules: Vec<Rule>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// Nothing goes wrong and nothing takes time.
    #[must_use]
    pub fn none() -> Self {
        Self {
            seed: 1,
            rates: BTreeMap::new(),
            each_within: None,
            latency_before_ms: [0, 0],
            latency_after_ms: [0, 0],
            reset_before_count: 0.5,
            drip: Drip::default(),
            expire: None,
            rules: Vec::new(),
        }
    }

    /// A poor day: about 3 % of the requests fail; latencies of 5-25 ms on either side.
    #[must_use]
    pub fn default_mix() -> Self {
        Self {
            rates: BTreeMap::from([
                (FaultKind::Error500, 0.003),
                (FaultKind::Error502, 0.004),
                (FaultKind::Error503, 0.004),
                (FaultKind::Error504, 0.002),
                (FaultKind::Error524, 0.001),
                (FaultKind::RateLimited, 0.005),
                (FaultKind::Reset, 0.004),
                (FaultKind::ResetInBody, 0.002),
                (FaultKind::TruncatedJson, 0.002),
                (FaultKind::Html, 0.001),
                (FaultKind::NullData, 0.001),
                (FaultKind::SlowDrip, 0.002),
                (FaultKind::RepeatedCursor, 0.001),
            ]),
            latency_before_ms: [5, 25],
            latency_after_ms: [5, 25],
            ..Self::none()
        }
    }

    /// A very bad day: at least 10 % of the requests fail, and every transient kind occurs
    /// within the first 120 requests. A hang is rare, for it costs the client a time-out.
    #[must_use]
    pub fn storm() -> Self {
        Self {
            rates: BTreeMap::from([
                (FaultKind::Error500, 0.008),
                (FaultKind::Error502, 0.01),
                (FaultKind::Error503, 0.015),
                (FaultKind::Error504, 0.008),
                (FaultKind::Error524, 0.005),
                (FaultKind::RateLimited, 0.015),
                (FaultKind::Reset, 0.015),
                (FaultKind::ResetInBody, 0.009),
                (FaultKind::TruncatedJson, 0.009),
                (FaultKind::Html, 0.005),
                (FaultKind::NullData, 0.005),
                (FaultKind::SlowDrip, 0.01),
                (FaultKind::RepeatedCursor, 0.008),
                (FaultKind::Hang, 0.000_2),
            ]),
            each_within: Some(120),
            latency_before_ms: [5, 40],
            latency_after_ms: [5, 40],
            ..Self::none()
        }
    }

    /// Reads faults from TOML.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] that lists everything that is wrong with them.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        parsed::<Self>("faults", text)?.checked()
    }

    /// As [`from_toml`](Self::from_toml), from a file.
    ///
    /// # Errors
    ///
    /// The same, and if the file cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::from_toml(&text_of(path.as_ref())?)
    }

    /// The same faults, or an error that lists what is wrong with them.
    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        let mut wrong = Vec::new();
        self.check(&mut wrong);
        if wrong.is_empty() { Ok(self) } else { Err(ConfigError::all(wrong)) }
    }

    pub(super) fn check(&self, wrong: &mut Vec<String>) {
        for (kind, rate) in &self.rates {
            if !(0.0..=1.0).contains(rate) {
                wrong.push(format!("faults.rates.{}: {rate} is not within 0 and 1", kind.name()));
            }
        }
        if self.rates.values().filter(|&&rate| rate > 0.0).sum::<f64>() > 1.0 {
            wrong.push("faults.rates: together more than 1".to_owned());
        }
        if !(0.0..=1.0).contains(&self.reset_before_count) {
            wrong.push("faults.reset_before_count: not within 0 and 1".to_owned());
        }
        let ranges = [("before", self.latency_before_ms), ("after", self.latency_after_ms)];
        for (name, [least, most]) in ranges {
            if least > most {
                wrong.push(format!("faults.latency_{name}_ms: {least} is more than {most}"));
            }
            if most > YEAR_S * 1_000 {
                wrong.push(format!("faults.latency_{name}_ms: must be at most a year"));
            }
        }
        if self.drip.pieces == 0 {
            wrong.push("faults.drip.pieces: must be at least 1".to_owned());
        }
        let kinds = self.rates.values().filter(|&&rate| rate > 0.0).count() as u64;
        if self.each_within.is_some_and(|within| within < kinds) {
            wrong.push(format!("faults.each_within: too few for {kinds} kinds"));
        }
        if self.expire.is_some_and(|it| it.after_requests.is_none() && it.after_ms.is_none()) {
            wrong.push("faults.expire: needs after_requests or after_ms".to_owned());
        }
        for (number, rule) in self.rules.iter().enumerate() {
            let number = number + 1;
            if rule.fault.is_none() && rule.before_ms.is_none() && rule.after_ms.is_none() {
                wrong.push(format!("faults.rules {number}: neither a fault nor a latency"));
            }
            if rule.every == Some(0) {
                wrong.push(format!("faults.rules {number}: every must be at least 1"));
            }
            if rule.nth == Some(0) || rule.from == Some(0) {
                wrong.push(format!("faults.rules {number}: requests are counted from 1"));
            }
        }
    }
}
