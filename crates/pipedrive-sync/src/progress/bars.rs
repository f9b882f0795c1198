//! Progress as bars on a terminal: one for each walk, and one for all with rate, budget and time left.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::{
    Event, Progress,
    lines::{parked, paused},
};

#[derive(Debug, Default)]
pub(super) struct Bars {
    all: MultiProgress,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    walks: BTreeMap<String, ProgressBar>,
    pace: Option<ProgressBar>,
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn bar(rows: Option<u64>) -> ProgressBar {
    let Some(rows) = rows.filter(|rows| *rows > 0) else {
        return ProgressBar::new_spinner().with_style(style("{msg:22} {spinner} {pos} rows"));
    };
    let speed = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    let style = style("{msg:22} {bar:40} {pos:>8}/{len:8} {speed:>9}").with_key("speed", speed);
    ProgressBar::new(rows).with_style(style)
}

impl Progress for Bars {
    fn event(&self, event: &Event) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |line: &str| {
            let _ = self.all.println(line);
        };
        match event {
            Event::Note { text } => line(text),
            Event::Started { walk, rows, .. } => {
                let pace = shown.pace.get_or_insert_with(|| {
                    self.all.add(ProgressBar::new_spinner().with_style(style("{msg}")))
                });
                let bar = self.all.insert_before(pace, bar(*rows));
                bar.set_message(walk.clone());
                shown.walks.insert(walk.clone(), bar);
            }
            Event::Committed { walk, rows, done, .. } => {
                let Some(bar) = shown.walks.get(walk) else { return };
                bar.set_position(*rows);
                if *done {
                    bar.set_length(*rows);
                    bar.finish();
                }
            }
            Event::Paused { walk, reason, pause_ms } => line(&paused(walk, reason, *pause_ms)),
            Event::Pace(pace) => {
                if let Some(bar) = &shown.pace {
                    bar.set_message(pace.summary());
                }
            }
            Event::Parked { until, reason } => line(&parked(until, reason)),
            Event::Missed { .. } => {}
            Event::Finished { .. } => {
                let bars = shown.walks.values().chain(&shown.pace);
                bars.filter(|bar| !bar.is_finished()).for_each(ProgressBar::abandon);
                shown.walks.clear();
                shown.pace = None;
            }
        }
    }
}
