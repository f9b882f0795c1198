//! What failures have in common.

use std::{sync::Arc, time::Duration};

use crate::{Advice, Class, Severity, error_log::Counts};

/// The most entries of [`ErrorStats::top`].
const TOP: usize = 10;

/// One minute's counts of one endpoint and class.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// How many minutes ago.
    pub(crate) ago: u64,
    pub(crate) endpoint: Arc<str>,
    pub(crate) class: Class,
    pub(crate) counts: Counts,
}

/// Failures of one endpoint with one class.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopError {
    /// Where; `(other)` stands for all beyond the 255 that are told apart.
    pub endpoint: String,
    /// What went wrong.
    pub class: Class,
    /// Attempts that failed so.
    pub failed: u64,
    /// Calls that went well after such a failure.
    pub recovered: u64,
    /// Calls that ended with it.
    pub lost: u64,
    /// What to do about it.
    pub advice: Advice,
}

/// Failures within a window of time.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ErrorStats {
    /// Attempts that failed.
    pub total: u64,
    /// Those of them that nothing but a person can mend ([`Severity::Critical`]).
    pub critical: u64,
    /// Calls that failed and then went well.
    pub recovered: u64,
    /// Calls that failed in the end.
    pub lost: u64,
    /// By class, the most frequent first.
    pub by_class: Vec<(Class, u64)>,
    /// By endpoint, the most frequent first.
    pub by_endpoint: Vec<(String, u64)>,
    /// The ten most frequent pairs of endpoint and class.
    pub top: Vec<TopError>,
    /// Failed attempts by minute, the oldest first; the last minute is not over.
    pub per_minute: Vec<u64>,
}

impl ErrorStats {
    /// The part of the calls that failed at least once and went well in the end, from 0
    /// to 1. `None` if none has failed.
    #[must_use]
    pub fn recovery_rate(&self) -> Option<f64> {
        let all = self.recovered + self.lost;
        (all > 0).then(|| self.recovered as f64 / all as f64)
    }

    pub(crate) fn of(cells: &[Cell], minutes: u64) -> Self {
        let mut all = Counts::default();
        let mut critical = 0;
        let mut by_class: Table<Class> = Vec::new();
        let mut by_endpoint: Table<&str> = Vec::new();
        let mut pairs: Table<(&str, Class)> = Vec::new();
        let minutes = usize::try_from(minutes).unwrap_or_default();
        let mut per_minute = vec![0; minutes];
        for cell in cells {
            let counts = cell.counts;
            all.add(counts);
            if cell.class.advice().severity == Severity::Critical {
                critical += counts.failed;
            }
            entry(&mut by_class, cell.class).add(counts);
            entry(&mut by_endpoint, &*cell.endpoint).add(counts);
            entry(&mut pairs, (&*cell.endpoint, cell.class)).add(counts);
            let ago = usize::try_from(cell.ago).unwrap_or(usize::MAX);
            if ago < minutes {
                per_minute[minutes - 1 - ago] += counts.failed;
            }
        }
        sort(&mut pairs);
        let top = pairs.into_iter().take(TOP).map(|((endpoint, class), counts)| TopError {
            endpoint: endpoint.to_owned(),
            class,
            failed: counts.failed,
            recovered: counts.recovered,
            lost: counts.lost,
            advice: class.advice(),
        });
        let top = top.collect();
        sort(&mut by_class);
        sort(&mut by_endpoint);
        Self {
            total: all.failed,
            critical,
            recovered: all.recovered,
            lost: all.lost,
            by_class: by_class.into_iter().map(|(class, it)| (class, it.failed)).collect(),
            by_endpoint: by_endpoint
                .into_iter()
                .map(|(at, it)| (at.to_owned(), it.failed))
                .collect(),
            top,
            per_minute,
        }
    }
}

/// How failures are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Shape {
    /// Four of five in a single minute.
    Burst,
    /// More than twice as many in the newer half as in the older.
    Rising,
    /// In at least half of the minutes.
    Steady,
}

/// Failures of one endpoint with one class that are no coincidence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ErrorPattern {
    /// Where.
    pub endpoint: String,
    /// What went wrong.
    pub class: Class,
    /// Attempts that failed so.
    pub failed: u64,
    /// How they are spread over time.
    pub shape: Shape,
    /// When the last one was: so long ago, to the minute.
    pub last_seen: Duration,
    /// What to do about it.
    pub advice: Advice,
}

/// Fewer failures than this have no pattern.
const FEWEST: u64 = 10;

/// An endpoint and a class, and minutes ago with how many.
type Spread<'a> = ((&'a str, Class), Vec<(u64, u64)>);

pub(crate) fn patterns(cells: &[Cell], minutes: u64) -> Vec<ErrorPattern> {
    let mut pairs: Vec<Spread<'_>> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.counts.failed > 0) {
        let at = (cell.ago, cell.counts.failed);
        entry(&mut pairs, (&*cell.endpoint, cell.class)).push(at);
    }
    let mut found: Vec<_> = pairs
        .into_iter()
        .filter_map(|((endpoint, class), when)| {
            let failed = when.iter().map(|(_, n)| n).sum();
            Some(ErrorPattern {
                endpoint: endpoint.to_owned(),
                class,
                failed,
                shape: shape(&when, failed, minutes)?,
                last_seen: Duration::from_secs(60 * when.iter().map(|(ago, _)| *ago).min()?),
                advice: class.advice(),
            })
        })
        .collect();
    found.sort_by_key(|pattern| std::cmp::Reverse(pattern.failed));
    found
}

/// `when`: minutes ago, and how many; each minute once.
fn shape(when: &[(u64, u64)], failed: u64, minutes: u64) -> Option<Shape> {
    if failed < FEWEST {
        return None;
    }
    let most = when.iter().map(|(_, n)| *n).max()?;
    let newer: u64 = when.iter().filter(|(ago, _)| *ago < minutes / 2).map(|(_, n)| n).sum();
    if most * 5 >= failed * 4 {
        Some(Shape::Burst)
    } else if newer > 2 * (failed - newer) {
        Some(Shape::Rising)
    } else if when.len() as u64 * 2 >= minutes {
        Some(Shape::Steady)
    } else {
        None
    }
}

/// What was counted, by something.
type Table<K> = Vec<(K, Counts)>;

fn entry<K: PartialEq, V: Default>(table: &mut Vec<(K, V)>, key: K) -> &mut V {
    let place = table.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        table.push((key, V::default()));
        table.len() - 1
    });
    &mut table[place].1
}

fn sort<K>(table: &mut [(K, Counts)]) {
    table.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.failed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_is_known() {
        let one_a_minute: Vec<_> = (0..60).map(|ago| (ago, 1)).collect();
        for (when, minutes, expected) in [
            (vec![(3, 8), (9, 1)], 60, None),
            (vec![(3, 8), (9, 2)], 60, Some(Shape::Burst)),
            (vec![(3, 7), (9, 3)], 60, Some(Shape::Rising)),
            (vec![(3, 7), (40, 3)], 60, Some(Shape::Rising)),
            (vec![(3, 6), (40, 4)], 60, None),
            (one_a_minute, 60, Some(Shape::Steady)),
            (vec![(0, 5), (1, 5)], 2, Some(Shape::Steady)),
        ] {
            let failed = when.iter().map(|(_, n)| n).sum();
            assert_eq!(shape(&when, failed, minutes), expected, "{when:?}");
        }
    }
}
