//! What a sync says while it runs: bars on a terminal, lines or JSON otherwise, or nothing.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::{Value, json};

/// Something happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Something that a person wants to know before it begins.
    Note {
        /// One line.
        text: &'a str,
    },
    /// A walk begins or goes on.
    Started {
        /// Its name.
        walk: &'a str,
        /// Rows that it will probably read.
        rows: Option<u64>,
        /// It goes on from a position.
        resumed: bool,
    },
    /// A page is in the database.
    Committed {
        /// The walk.
        walk: &'a str,
        /// Pages committed in this run.
        pages: u64,
        /// Rows committed in this run.
        rows: u64,
        /// Rows removed with this page.
        removed: u64,
        /// It was the last.
        done: bool,
    },
    /// A page failed finally and is asked again later.
    Paused {
        /// The walk.
        walk: &'a str,
        /// Why.
        reason: &'a str,
        /// For how long.
        pause: Duration,
    },
    /// All walks have ended.
    Finished,
}

impl Event<'_> {
    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> Value {
        match *self {
            Self::Note { text } => json!({"event": "note", "text": text}),
            Self::Started { walk, rows, resumed } => {
                json!({"event": "started", "walk": walk, "rows": rows, "resumed": resumed})
            }
            Self::Committed { walk, pages, rows, removed, done } => {
                json!({"event": "committed", "walk": walk, "pages": pages, "rows": rows, "removed": removed, "done": done})
            }
            Self::Paused { walk, reason, pause } => {
                json!({"event": "paused", "walk": walk, "reason": reason, "pause_ms": u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)})
            }
            Self::Finished => json!({"event": "finished"}),
        }
    }
}

/// Listens to events. Called from one place at a time, seldom more than once a page.
pub trait Progress: Debug + Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event<'_>);
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// Bars on a terminal, lines otherwise.
    #[default]
    Auto,
    /// Bars on standard error.
    Bars,
    /// Lines on standard error, at most one a second and entity.
    Lines,
    /// One JSON object a line on standard output, flushed, for each committed page and whatever else happens.
    Json,
    /// Nothing.
    None,
}

impl Style {
    /// The listener.
    #[must_use]
    pub fn start(self) -> Box<dyn Progress> {
        match self {
            Self::Auto if io::stderr().is_terminal() => Self::Bars.start(),
            Self::Auto | Self::Lines => Box::new(Lines::default()),
            Self::Bars => Box::new(Bars::default()),
            Self::Json => Box::new(Json),
            Self::None => Box::new(Quiet),
        }
    }
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&self, _: &Event<'_>) {}
}

#[derive(Debug)]
struct Json;

impl Progress for Json {
    fn event(&self, event: &Event<'_>) {
        let mut out = io::stdout().lock();
        // A reader that has gone away is no reason to stop a sync.
        let _ = writeln!(out, "{}", event.json()).and_then(|()| out.flush());
    }
}

/// Rows between two lines of one walk.
const ROWS_BETWEEN_LINES: u64 = 10_000;

#[derive(Debug, Default)]
struct Lines {
    said: Mutex<BTreeMap<String, u64>>,
}

impl Progress for Lines {
    fn event(&self, event: &Event<'_>) {
        let line = match *event {
            Event::Note { text } => text.to_owned(),
            Event::Started { walk, resumed: true, .. } => {
                format!("{walk}: goes on where it stopped")
            }
            Event::Committed { walk, rows, removed, done: true, .. } if removed > 0 => {
                format!("{walk}: complete, {rows} rows, {removed} removed")
            }
            Event::Committed { walk, rows, done: true, .. } => {
                format!("{walk}: complete, {rows} rows")
            }
            Event::Committed { walk, rows, .. } => {
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                let last = said.entry(walk.to_owned()).or_default();
                if rows / ROWS_BETWEEN_LINES == *last / ROWS_BETWEEN_LINES {
                    return;
                }
                *last = rows;
                format!("{walk}: {rows} rows")
            }
            Event::Paused { walk, reason, pause } => {
                format!("{walk}: asked again in {:.1} s: {reason}", pause.as_secs_f64())
            }
            Event::Started { .. } | Event::Finished => return,
        };
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

#[derive(Debug, Default)]
struct Bars {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Progress for Bars {
    fn event(&self, event: &Event<'_>) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match *event {
            Event::Note { text } => {
                let _ = self.all.println(text);
            }
            Event::Started { walk, rows, .. } => {
                let bar = match rows.filter(|rows| *rows > 0) {
                    Some(rows) => ProgressBar::new(rows).with_style(
                        ProgressStyle::with_template(
                            "{msg:22} {bar:40} {pos:>8}/{len:8} {speed:>9}",
                        )
                        .unwrap_or_else(|_| ProgressStyle::default_bar())
                        .with_key(
                            "speed",
                            |state: &ProgressState, out: &mut dyn fmt::Write| {
                                let _ = write!(out, "{:.0}/s", state.per_sec());
                            },
                        ),
                    ),
                    None => ProgressBar::new_spinner().with_style(
                        ProgressStyle::with_template("{msg:22} {spinner} {pos} rows")
                            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
                    ),
                };
                let bar = self.all.add(bar);
                bar.set_message(walk.to_owned());
                bars.insert(walk.to_owned(), bar);
            }
            Event::Committed { walk, rows, done, .. } => {
                let Some(bar) = bars.get(walk) else { return };
                bar.set_position(rows);
                if done {
                    bar.set_length(rows);
                    bar.finish();
                }
            }
            Event::Paused { walk, reason, pause } => {
                let _ = self.all.println(format!(
                    "{walk}: asked again in {:.1} s: {reason}",
                    pause.as_secs_f64()
                ));
            }
            Event::Finished => {
                for bar in bars.values().filter(|bar| !bar.is_finished()) {
                    bar.abandon();
                }
            }
        }
    }
}
