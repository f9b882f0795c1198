//! Whether the day's tokens last. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// From what spending it is foretold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// What a process spent lately: in the last hour at most.
    Recent,
    /// All that is known to be spent since the day began, by anybody.
    SinceReset,
}

/// What becomes of the day's tokens, if spending goes on as it did: a straight line, nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// What is carried on.
    pub basis: Basis,
    /// Tokens spent in that time.
    pub spent: u64,
    /// That time, in seconds.
    pub over_s: u64,
    /// When nothing would be left, even if that is after the reset.
    pub gone_at: Timestamp,
    /// When the tokens come back.
    pub resets_at: Timestamp,
    /// Whether they last until then.
    pub lasts: bool,
    /// Tokens that would be left then.
    pub left_at_reset: u64,
}

impl Outlook {
    /// Carries `spent` in `over` on from `now`, with `left` tokens. None if nothing was spent.
    #[must_use]
    pub fn new(
        now: Timestamp,
        basis: Basis,
        spent: u64,
        over: Duration,
        left: u64,
        resets_at: Timestamp,
    ) -> Option<Self> {
        let over_s = over.as_secs();
        if spent == 0 || over_s == 0 {
            return None;
        }
        let lasts_s = u128::from(left) * u128::from(over_s) / u128::from(spent);
        let lasts_s = i64::try_from(lasts_s).unwrap_or(i64::MAX);
        let gone_at =
            now.saturating_add(SignedDuration::from_secs(lasts_s)).unwrap_or(Timestamp::MAX);
        let to_reset = u64::try_from(resets_at.duration_since(now).as_secs()).unwrap_or(0);
        let until_reset = u128::from(to_reset) * u128::from(spent) / u128::from(over_s);
        let until_reset = u64::try_from(until_reset).unwrap_or(u64::MAX);
        Some(Self {
            basis,
            spent,
            over_s,
            gone_at,
            resets_at,
            lasts: gone_at >= resets_at,
            left_at_reset: left.saturating_sub(until_reset),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn outlook(spent: u64, over: u64, left: u64) -> Option<Outlook> {
        let (now, reset) = (at("2026-03-10T18:00:00Z"), at("2026-03-11T00:00:00Z"));
        Outlook::new(now, Basis::Recent, spent, Duration::from_secs(over), left, reset)
    }

    #[test]
    fn a_straight_line_is_drawn_from_now_to_the_end() {
        let short = outlook(600, 3_600, 1_200).unwrap();
        assert_eq!(short.gone_at, at("2026-03-10T20:00:00Z"));
        assert!(!short.lasts && short.left_at_reset == 0);
        let long = outlook(600, 3_600, 3_601).unwrap();
        assert!(long.lasts && long.left_at_reset == 1);
    }

    #[test]
    fn nothing_is_foretold_from_nothing_and_nothing_overflows() {
        assert_eq!(outlook(0, 3_600, 10), None);
        assert_eq!(outlook(10, 0, 10), None);
        assert!(outlook(1, u64::MAX, u64::MAX).unwrap().lasts);
        assert!(outlook(u64::MAX, 1, u64::MAX).unwrap().left_at_reset == 0);
    }
}
