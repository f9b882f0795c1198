//! Figures that programs in use have settled on, to start from.
//!
//! ```
//! use std::time::Duration;
//! use tower_circuit::presets;
//!
//! let circuit = presets::SCRAPINGBEE.builder().half_open(1, 1).build()?;
//! assert_eq!(circuit.name(), "scrapingbee");
//! assert_eq!(presets::SCRAPINGBEE.open_for, Duration::from_secs(300));
//! # Ok::<_, tower_circuit::ConfigError>(())
//! ```

use std::time::Duration;

use crate::{Circuit, CircuitBuilder, Window};

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Preset {
    /// The name of the circuit.
    pub name: &'static str,
    /// What opens it.
    pub trip: Trip,
    /// How long it stays open.
    pub open_for: Duration,
    /// Trials that must succeed to close it.
    pub successes: u32,
}

/// What opens the circuit of a [`Preset`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Trip {
    /// So many failures in a row.
    Consecutive(u32),
    /// Such a part of at least twenty calls within a minute.
    FailureRatio(f64),
}

impl Preset {
    /// A builder with these figures, to change or to build.
    pub fn builder(&self) -> CircuitBuilder {
        let builder =
            Circuit::builder(self.name).open_for(self.open_for).half_open(3, self.successes);
        match self.trip {
            Trip::Consecutive(failures) => builder.consecutive(failures),
            Trip::FailureRatio(ratio) => {
                builder.failure_ratio(ratio).window(Window::Time(Duration::from_secs(60)), 20)
            }
        }
    }
}

const fn row(name: &'static str, failures: u32, open_for: u64, successes: u32) -> Preset {
    let open_for = Duration::from_secs(open_for);
    Preset { name, trip: Trip::Consecutive(failures), open_for, successes }
}

/// Pipedrive: 5 failures, 5 minutes.
pub const PIPEDRIVE: Preset = row("pipedrive", 5, 300, 1);
/// A worker of a pool: 5 failures, 1 minute.
pub const WORKER: Preset = row("worker", 5, 60, 1);
/// Autotask: half of the calls, 1 minute.
pub const AUTOTASK: Preset = Preset {
    name: "autotask",
    trip: Trip::FailureRatio(0.5),
    open_for: Duration::from_secs(60),
    successes: 1,
};
/// Scale SERP: 10 failures, 5 minutes, 5 successes.
pub const SCALE_SERP: Preset = row("scale_serp", 10, 300, 5);
/// Cognism: 5 failures, 10 minutes.
pub const COGNISM: Preset = row("cognism", 5, 600, 1);
/// YouTube: 5 failures, 5 minutes.
pub const YOUTUBE: Preset = row("youtube", 5, 300, 1);
/// OpenAI: 10 failures, 10 minutes.
pub const OPENAI: Preset = row("openai", 10, 600, 1);
/// ScrapingBee: 20 failures, 5 minutes.
pub const SCRAPINGBEE: Preset = row("scrapingbee", 20, 300, 1);

/// Google Ads: 5 failures, 5 minutes. A figure of our own, after that of YouTube.
pub const GOOGLE_ADS: Preset = row("google_ads", 5, 300, 1);

/// All of them.
pub const ALL: [Preset; 9] =
    [PIPEDRIVE, WORKER, AUTOTASK, SCALE_SERP, COGNISM, YOUTUBE, OPENAI, SCRAPINGBEE, GOOGLE_ADS];
