//! What a sync says while it runs: bars on a terminal, lines or JSON otherwise, or nothing; and to whoever subscribes.

mod bars;
mod event;
mod feed;
mod lines;

use std::{
    fmt::Debug,
    io::{self, IsTerminal as _, Write as _},
};

pub use self::{
    event::{Event, Pace},
    feed::{EventsTo, Feed, FeedWriter, Subscription},
};

/// Listens to events. Called from one place at a time, seldom more than once a page.
pub trait Progress: Debug + Send + Sync {
    /// Takes one event. The sync waits for it, so it must not take long.
    fn event(&self, event: &Event);
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
            Self::Auto | Self::Lines => Box::new(lines::Lines::default()),
            Self::Bars => Box::new(bars::Bars::default()),
            Self::Json => Box::new(Json),
            Self::None => Box::new(Quiet),
        }
    }
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&self, _: &Event) {}
}

#[derive(Debug)]
struct Json;

impl Progress for Json {
    fn event(&self, event: &Event) {
        let mut out = io::stdout().lock();
        // A reader that has gone away is no reason to stop a sync.
        let _ = writeln!(out, "{}", event.line()).and_then(|()| out.flush());
    }
}
