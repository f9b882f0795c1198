use serde::{Deserialize, Serialize};

/// How many items are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// To be worked on.
    pub pending: u64,
    /// Pending, but left out of a run that [resumed](crate::Resume::FailedOnly) the failed only.
    pub waiting: u64,
    /// Held by workers.
    pub processing: u64,
    /// Done.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Left out on purpose.
    pub skipped: u64,
}

impl Counts {
    /// All items.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.pending + self.waiting + self.processing + self.settled()
    }

    /// Items that are completed, failed or skipped.
    #[must_use]
    pub const fn settled(&self) -> u64 {
        self.completed + self.failed + self.skipped
    }

    /// The settled part of all items, from 0 to 1; 1 when there are none.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        match self.total() {
            0 => 1.0,
            total => self.settled() as f64 / total as f64,
        }
    }

    /// Whether nothing is pending and nothing in work. What waits for another run does not count.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.pending == 0 && self.processing == 0
    }

    fn plus(self, other: Self) -> Self {
        Self {
            pending: self.pending + other.pending,
            waiting: self.waiting + other.waiting,
            processing: self.processing + other.processing,
            completed: self.completed + other.completed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// One phase of a [`Progress`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseProgress {
    /// Its name.
    pub phase: String,
    /// Its items.
    #[serde(flatten)]
    pub counts: Counts,
}

/// How far a pipeline has come. Reading it costs the same however many items there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// In the order in which the phases were given.
    pub phases: Vec<PhaseProgress>,
}

impl Progress {
    /// One phase, if there is one of that name.
    #[must_use]
    pub fn phase(&self, name: &str) -> Option<Counts> {
        self.phases.iter().find(|phase| phase.phase == name).map(|phase| phase.counts)
    }

    /// All phases together.
    ///
    /// ```
    /// use pipeline_state::{Counts, PhaseProgress, Progress};
    ///
    /// let phase = |name: &str, counts| PhaseProgress { phase: name.into(), counts };
    /// let search = Counts { completed: 3, failed: 1, ..Counts::default() };
    /// let company = Counts { pending: 4, ..Counts::default() };
    /// let progress = Progress { phases: vec![phase("search", search), phase("company", company)] };
    /// assert_eq!(progress.whole().total(), 8);
    /// assert_eq!(progress.whole().fraction(), 0.5);
    /// assert!(search.is_finished() && !progress.whole().is_finished());
    /// ```
    #[must_use]
    pub fn whole(&self) -> Counts {
        self.phases.iter().fold(Counts::default(), |sum, phase| sum.plus(phase.counts))
    }
}
