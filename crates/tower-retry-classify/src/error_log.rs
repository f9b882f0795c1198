//! Failures by minute, endpoint and class, within fixed bounds and without a clock.

use std::{sync::Arc, time::Duration};

use crate::{Class, Event, Reason, error_stats::Cell};

/// How far back is remembered, in minutes.
pub(crate) const MINUTES: u64 = 60;
/// The most endpoints that are told apart.
const ENDPOINTS: usize = 256;
/// The most pairs of endpoint and class that are told apart within a minute.
const PAIRS: usize = 256;
/// Where all others go.
pub(crate) const OTHERS: &str = "(other)";

/// One minute.
#[derive(Debug, Default)]
struct Minute {
    number: u64,
    cells: Vec<(u16, Class, Counts)>,
}

/// What happened to one endpoint with one class in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Attempts that failed.
    pub(crate) failed: u64,
    /// Calls that went well after that.
    pub(crate) recovered: u64,
    /// Calls that ended with it.
    pub(crate) lost: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.recovered += other.recovered;
        self.lost += other.lost;
    }

    fn of(event: Event) -> Self {
        match event {
            Event::Retried { .. } => Self { failed: 1, ..Self::default() },
            Event::Recovered => Self { recovered: 1, ..Self::default() },
            // The failure itself was counted when it was to be retried.
            Event::GaveUp { reason: Reason::Refused } => Self { lost: 1, ..Self::default() },
            Event::GaveUp { .. } | Event::Final => Self { failed: 1, lost: 1, recovered: 0 },
        }
    }
}

/// `now` counts from any fixed instant.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog {
    /// By minute number modulo [`MINUTES`].
    minutes: Vec<Minute>,
    /// The first is [`OTHERS`].
    names: Vec<Arc<str>>,
}

impl ErrorLog {
    pub(crate) fn note(&mut self, now: Duration, endpoint: &str, class: Class, event: Event) {
        let number = now.as_secs() / 60;
        let name = self.name(endpoint, number);
        let place = usize::try_from(number % MINUTES).unwrap_or_default();
        while self.minutes.len() <= place {
            self.minutes.push(Minute::default());
        }
        let minute = &mut self.minutes[place];
        if minute.number != number {
            *minute = Minute { number, cells: Vec::new() };
        }
        let counts = Counts::of(event);
        let full = minute.cells.len() >= PAIRS;
        let same = |cell: &&mut (u16, Class, Counts)| (cell.0, cell.1) == (name, class);
        match minute.cells.iter_mut().find(same) {
            Some(cell) => cell.2.add(counts),
            None if full => {
                // The last cell takes what has no place.
                if let Some(cell) = minute.cells.last_mut() {
                    (cell.0, cell.1) = (0, Class::Other);
                    cell.2.add(counts);
                }
            }
            None => minute.cells.push((name, class, counts)),
        }
    }

    /// All that happened in the last `minutes`, that of `now` among them.
    pub(crate) fn cells(&self, now: Duration, minutes: u64) -> Vec<Cell> {
        let newest = now.as_secs() / 60;
        let oldest = (newest + 1).saturating_sub(minutes.clamp(1, MINUTES));
        let recent = self.minutes.iter().filter(|it| (oldest..=newest).contains(&it.number));
        recent
            .flat_map(|minute| {
                minute.cells.iter().map(move |&(name, class, counts)| Cell {
                    ago: newest - minute.number,
                    endpoint: Arc::clone(&self.names[usize::from(name)]),
                    class,
                    counts,
                })
            })
            .collect()
    }

    /// The number of an endpoint. When there are too many, one that nothing is known
    /// of any more gives its place; if there is none, it is one of the others.
    fn name(&mut self, endpoint: &str, newest: u64) -> u16 {
        if self.names.is_empty() {
            self.names.push(OTHERS.into());
        }
        let number = |place: usize| u16::try_from(place).unwrap_or_default();
        if let Some(place) = self.names.iter().position(|name| **name == *endpoint) {
            return number(place);
        }
        if self.names.len() < ENDPOINTS {
            self.names.push(endpoint.into());
            return number(self.names.len() - 1);
        }
        let mut used = [false; ENDPOINTS];
        used[0] = true;
        for minute in &mut self.minutes {
            if minute.number + MINUTES <= newest {
                minute.cells.clear(); // it would name another endpoint from now on
            }
            for (name, ..) in &minute.cells {
                used[usize::from(*name)] = true;
            }
        }
        let free = used.iter().position(|used| !used).unwrap_or_default();
        if free > 0 {
            self.names[free] = endpoint.into();
        }
        number(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(minute: u64) -> Duration {
        Duration::from_secs(minute * 60 + 30)
    }

    fn failed(log: &ErrorLog, now: u64, minutes: u64) -> u64 {
        log.cells(at(now), minutes).iter().map(|cell| cell.counts.failed).sum()
    }

    #[test]
    fn an_hour_is_remembered_and_no_more() {
        let mut log = ErrorLog::default();
        for minute in 0..200 {
            log.note(at(minute), "a", Class::Server, Event::Final);
        }
        for (minutes, expected) in [(0, 1), (1, 1), (5, 5), (60, 60), (61, 60), (u64::MAX, 60)] {
            assert_eq!(failed(&log, 199, minutes), expected);
        }
        assert_eq!(failed(&log, 230, 60), 29, "what is older is not counted");
        assert_eq!(failed(&log, 1_000, 60), 0);
    }

    #[test]
    fn too_many_endpoints_are_counted_together_until_others_are_forgotten() {
        let mut log = ErrorLog::default();
        let note = |log: &mut ErrorLog, minute, n: usize| {
            log.note(at(minute), &format!("e{n}"), Class::Server, Event::Final);
        };
        for n in 0..1_000 {
            note(&mut log, n as u64 % 10, n);
        }
        assert_eq!(log.names.len(), ENDPOINTS);
        assert_eq!(failed(&log, 9, 60), 1_000, "none is lost");
        let others = |log: &ErrorLog, now| -> u64 {
            let cells = log.cells(at(now), 60);
            let others = cells.iter().filter(|cell| *cell.endpoint == *OTHERS);
            others.map(|cell| cell.counts.failed).sum()
        };
        assert_eq!(others(&log, 9), 745);
        // All but those of minute 9 are forgotten by now.
        for n in 2_000..2_100 {
            note(&mut log, 68, n);
        }
        assert_eq!(others(&log, 68), 75, "only those of minute nine");
        assert!(log.cells(at(68), 1).iter().all(|cell| cell.endpoint.starts_with("e20")));
    }

    #[test]
    fn too_many_pairs_in_a_minute_are_counted_together() {
        let mut log = ErrorLog::default();
        for n in 0..200 {
            for class in [Class::Server, Class::Timeout] {
                log.note(at(0), &format!("e{n}"), class, Event::Final);
            }
        }
        assert_eq!(log.minutes[0].cells.len(), PAIRS);
        assert_eq!(failed(&log, 0, 1), 400);
        let bytes = size_of::<(u16, Class, Counts)>() * PAIRS * MINUTES as usize;
        assert!(bytes < 900 * 1024, "the docs say under 1 MiB in all: {bytes}");
    }
}
