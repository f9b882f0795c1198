//! What happens in a sync.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something happened in a sync. As JSON it is one object with its name in `event`:
///
/// ```
/// use pipedrive_sync::progress::Event;
///
/// let line = r#"{"event":"started","walk":"deals","rows":1500,"resumed":false,"sweep":false}"#;
/// let event: Event = serde_json::from_str(line)?;
/// assert_eq!(event, Event::Started { walk: "deals".into(), rows: Some(1500), resumed: false, sweep: false });
/// assert_eq!(event.line(), line);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Something that a person wants to know.
    Note {
        /// One line.
        text: String,
    },
    /// A walk begins or goes on.
    Started {
        /// Its name: the entity's, or `deals:deleted`.
        walk: String,
        /// Rows that it will probably read, where that is known.
        rows: Option<u64>,
        /// It goes on from a position.
        resumed: bool,
        /// It reads the whole list though what has changed could be asked for, since the last time is long ago.
        sweep: bool,
    },
    /// A page is in the database.
    Committed {
        /// The walk.
        walk: String,
        /// Pages committed in this run.
        pages: u64,
        /// Rows committed in this run.
        rows: u64,
        /// Rows removed with this page.
        removed: u64,
        /// Rows of this page that could not be used; they are in the quarantine.
        rejected: u64,
        /// It was the last.
        done: bool,
    },
    /// A page failed finally and is asked again later.
    Paused {
        /// The walk.
        walk: String,
        /// Why.
        reason: String,
        /// For how long, in milliseconds.
        pause_ms: u64,
    },
    /// How fast it goes, every two seconds.
    Pace(Pace),
    /// The day's tokens are spent; the sync goes on by itself (`--wait`).
    Parked {
        /// Until when: RFC 3339, UTC.
        until: String,
        /// Why.
        reason: String,
    },
    /// Who listens was too slow, and so many events before this one are lost to him. The sync does not wait for anybody.
    Missed {
        /// How many.
        events: u64,
    },
    /// The run has ended.
    Finished {
        /// `complete`, or why not.
        outcome: String,
        /// The exit code.
        exit_code: u8,
    },
}

/// How fast a sync goes, and how long it will take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Rows committed in this run.
    pub rows: u64,
    /// Rows that it will probably read in all; none where a list's length is not known.
    pub rows_expected: Option<u64>,
    /// Rows a second, since the run began.
    pub rows_per_second: f64,
    /// Tokens of the day that are spent, by whomever.
    pub tokens_used: u64,
    /// The day's tokens.
    pub tokens_limit: u64,
    /// Seconds left, where that can be said.
    pub seconds_left: Option<u64>,
}

impl Pace {
    /// From what was done in which time.
    #[must_use]
    pub fn new(rows: u64, rows_expected: Option<u64>, took: Duration, tokens: (u64, u64)) -> Self {
        let seconds = took.as_secs_f64();
        let rows_per_second = if seconds > 0.0 { rows as f64 / seconds } else { 0.0 };
        let left = rows_expected.map(|expected| expected.saturating_sub(rows) as f64);
        let seconds_left = left
            .filter(|_| rows_per_second > 0.0)
            .map(|left| (left / rows_per_second).ceil() as u64);
        let (tokens_used, tokens_limit) = tokens;
        Self { rows, rows_expected, rows_per_second, tokens_used, tokens_limit, seconds_left }
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let of = self.rows_expected.map_or_else(String::new, |rows| format!(" of about {rows}"));
        let left = self.tokens_limit.saturating_sub(self.tokens_used);
        let mut line = format!(
            "{} rows{of}, {:.0} rows/s, {left} of {} tokens left today",
            self.rows, self.rows_per_second, self.tokens_limit
        );
        if let Some(seconds) = self.seconds_left {
            line.push_str(&format!(", about {}:{:02} min left", seconds / 60, seconds % 60));
        }
        line
    }
}

impl Event {
    /// A note.
    pub fn note(text: impl Into<String>) -> Self {
        Self::Note { text: text.into() }
    }

    /// As one JSON object, without a line feed.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_rate() {
        let pace = Pace::new(500, Some(2000), Duration::from_secs(10), (120, 30_000));
        assert_eq!((pace.rows_per_second, pace.seconds_left), (50.0, Some(30)));
        assert_eq!(
            pace.summary(),
            "500 rows of about 2000, 50 rows/s, 29880 of 30000 tokens left today, about 0:30 min left"
        );
        assert_eq!(Pace::new(0, Some(9), Duration::ZERO, (0, 1)).seconds_left, None);
        assert_eq!(Pace::new(9, None, Duration::from_secs(1), (0, 1)).seconds_left, None);
        // More rows than expected are no reason to be late.
        assert_eq!(Pace::new(9, Some(3), Duration::from_secs(1), (0, 1)).seconds_left, Some(0));
    }
}
