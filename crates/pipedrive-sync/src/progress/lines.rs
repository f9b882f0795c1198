//! Progress as lines.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Event, Progress};

/// Rows between two lines of one walk.
const ROWS_BETWEEN_LINES: u64 = 10_000;

/// How often the pace is said.
const PACE_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Lines {
    said: Mutex<Said>,
}

#[derive(Debug)]
struct Said {
    rows: BTreeMap<String, u64>,
    pace: Instant,
}

impl Default for Lines {
    fn default() -> Self {
        Self { said: Mutex::new(Said { rows: BTreeMap::new(), pace: Instant::now() }) }
    }
}

impl Progress for Lines {
    fn event(&self, event: &Event) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = said.line(event, Instant::now()) {
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }
}

impl Said {
    fn line(&mut self, event: &Event, now: Instant) -> Option<String> {
        Some(match event {
            Event::Note { text } => text.clone(),
            Event::Started { walk, resumed: true, .. } => {
                format!("{walk}: goes on where it stopped")
            }
            Event::Committed { walk, rows, removed, done: true, .. } => {
                let removed =
                    if *removed > 0 { format!(", {removed} removed") } else { String::new() };
                format!("{walk}: complete, {rows} rows{removed}")
            }
            Event::Committed { walk, rows, .. } => {
                let last = self.rows.entry(walk.clone()).or_default();
                if rows / ROWS_BETWEEN_LINES == *last / ROWS_BETWEEN_LINES {
                    return None;
                }
                *last = *rows;
                format!("{walk}: {rows} rows")
            }
            Event::Paused { walk, reason, pause_ms } => paused(walk, reason, *pause_ms),
            Event::Pace(pace) if now - self.pace >= PACE_EVERY => {
                self.pace = now;
                pace.summary()
            }
            Event::Parked { until, reason } => parked(until, reason),
            _ => return None,
        })
    }
}

pub(super) fn paused(walk: &str, reason: &str, pause_ms: u64) -> String {
    format!("{walk}: asked again in {:.1} s: {reason}", pause_ms as f64 / 1000.0)
}

pub(super) fn parked(until: &str, reason: &str) -> String {
    format!("waiting until {until}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Pace;

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_said_now_and_then_and_rows_in_steps() {
        let begun = Instant::now();
        let mut said = Said { rows: BTreeMap::new(), pace: begun };
        let pace = Event::Pace(Pace::default());
        assert_eq!(said.line(&pace, begun + PACE_EVERY / 2), None);
        assert!(said.line(&pace, begun + PACE_EVERY).is_some());
        assert_eq!(said.line(&pace, begun + PACE_EVERY * 3 / 2), None);
        let committed = |rows, done| Event::Committed {
            walk: "deals".into(),
            pages: 1,
            rows,
            removed: 2,
            rejected: 0,
            done,
        };
        assert_eq!(said.line(&committed(9_999, false), begun), None);
        assert_eq!(said.line(&committed(10_001, false), begun).unwrap(), "deals: 10001 rows");
        assert_eq!(
            said.line(&committed(10_002, true), begun).unwrap(),
            "deals: complete, 10002 rows, 2 removed"
        );
    }
}
