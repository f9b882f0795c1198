//! Events for whoever wants them, without ever making the sync wait.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
    str::FromStr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::sync::broadcast::{self, error::RecvError};

use super::{Event, Progress};

/// So many events may wait for a subscriber.
const WAITING: usize = 1024;

/// How long a writer may take for what is left at the end.
const LAST_LINES: Duration = Duration::from_secs(5);

/// Passes events on to one listener, and to any number of subscribers.
///
/// ```
/// use std::sync::Arc;
///
/// use pipedrive_sync::progress::{Event, Feed, Progress, Quiet};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let feed = Feed::new(Arc::new(Quiet));
/// let mut events = feed.subscribe();
/// feed.event(&Event::note("hello"));
/// drop(feed);
/// assert_eq!(events.next().await, Some(Event::note("hello")));
/// assert_eq!(events.next().await, None);
/// # }
/// ```
#[derive(Debug)]
pub struct Feed {
    sender: broadcast::Sender<Event>,
    listener: Arc<dyn Progress>,
}

impl Feed {
    /// In front of a listener.
    #[must_use]
    pub fn new(listener: Arc<dyn Progress>) -> Self {
        Self::with_capacity(listener, WAITING)
    }

    /// The same, with room for so many events that wait for a subscriber, rounded up to a power of two. Default: 1,024.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[must_use]
    pub fn with_capacity(listener: Arc<dyn Progress>, events: usize) -> Self {
        Self { sender: broadcast::Sender::new(events), listener }
    }

    /// All events from now on. A subscriber that is too slow loses the oldest and is told how many by
    /// [`Event::Missed`]; nobody waits for him.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe() }
    }
}

impl Progress for Feed {
    fn event(&self, event: &Event) {
        self.listener.event(event);
        // Nobody may listen.
        let _ = self.sender.send(event.clone());
    }
}

/// Events as they happen; made by [`Feed::subscribe`].
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Event>,
}

impl Subscription {
    /// The next event; none when the sync and its feed are gone.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Event> {
        taken(self.receiver.recv().await)
    }

    /// The same for a thread that may be blocked.
    ///
    /// # Panics
    ///
    /// If called within a Tokio runtime.
    pub fn next_blocking(&mut self) -> Option<Event> {
        taken(self.receiver.blocking_recv())
    }
}

fn taken(received: Result<Event, RecvError>) -> Option<Event> {
    match received {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(events)) => Some(Event::Missed { events }),
        Err(RecvError::Closed) => None,
    }
}

/// Where events go: `jsonl` or `jsonl:FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsTo {
    /// One JSON object a line on standard output, and nothing else there.
    Stdout,
    /// One JSON object a line in a file, in place of what it held.
    File(PathBuf),
}

impl FromStr for EventsTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "jsonl" => Ok(Self::Stdout),
            Some(("jsonl", file)) if !file.is_empty() => Ok(Self::File(file.into())),
            _ => Err("expected jsonl or jsonl:FILE".to_owned()),
        }
    }
}

impl EventsTo {
    /// Writes what a subscription brings, from a thread of its own.
    ///
    /// # Errors
    ///
    /// If the file cannot be made.
    pub fn start(&self, events: Subscription) -> io::Result<FeedWriter> {
        let out: Box<dyn Write + Send> = match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::File(path) => Box::new(BufWriter::new(File::create(path)?)),
        };
        let (done, ended) = mpsc::channel();
        thread::Builder::new().name("events".to_owned()).spawn(move || {
            write(out, events);
            let _ = done.send(());
        })?;
        Ok(FeedWriter { ended })
    }
}

fn write(mut out: impl Write, mut events: Subscription) {
    while let Some(event) = events.next_blocking() {
        // A reader that has gone away is no reason to stop a sync.
        if writeln!(out, "{}", event.line()).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// Writes events; made by [`EventsTo::start`].
#[derive(Debug)]
pub struct FeedWriter {
    ended: mpsc::Receiver<()>,
}

impl FeedWriter {
    /// Waits until all is written, for 5 s at most: who does not read must not keep the program. The feed must be gone.
    pub fn finish(self) {
        let _ = self.ended.recv_timeout(LAST_LINES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Quiet;

    #[tokio::test]
    async fn a_slow_subscriber_is_told_what_it_missed_and_nobody_waits() {
        let feed = Feed::with_capacity(Arc::new(Quiet), 4);
        let (mut slow, mut late) = (feed.subscribe(), None);
        for n in 0..10 {
            feed.event(&Event::note(n.to_string()));
            if n == 8 {
                late = Some(feed.subscribe());
            }
        }
        drop(feed);
        assert_eq!(slow.next().await, Some(Event::Missed { events: 6 }));
        assert_eq!(slow.next().await, Some(Event::note("6")));
        let mut late = late.unwrap();
        assert_eq!((late.next().await, late.next().await), (Some(Event::note("9")), None));
    }

    #[test]
    fn events_go_where_they_are_told() {
        assert_eq!("jsonl".parse(), Ok(EventsTo::Stdout));
        assert_eq!("jsonl:a:b".parse(), Ok(EventsTo::File("a:b".into())));
        for wrong in ["", "json", "jsonl:", "csv:x"] {
            assert!(wrong.parse::<EventsTo>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_one_object_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let feed = Feed::new(Arc::new(Quiet));
        let writer = EventsTo::File(path.clone()).start(feed.subscribe()).unwrap();
        feed.event(&Event::note("a"));
        feed.event(&Event::Finished { outcome: "complete".into(), exit_code: 0 });
        drop(feed);
        writer.finish();
        let text = std::fs::read_to_string(path).unwrap();
        let events: Vec<Event> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0], Event::note("a"));
    }
}
