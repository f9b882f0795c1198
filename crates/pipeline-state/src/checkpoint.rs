//! What a checkpoint holds, whether it is whole, and when the next one is due.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{PipelineId, Progress, StateError};

/// A point of a pipeline to which it can [go back](crate::Resume::Checkpoint).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// Its number within the pipeline, from 1.
    pub seq: u32,
    /// When it was made.
    pub at: Timestamp,
    /// What made it: a word of the caller, or `items` or `time` by the [`Cadence`].
    pub label: String,
    /// How far the pipeline had come.
    pub progress: Progress,
    /// What the caller wants back: a cursor, say.
    pub payload: Option<Vec<u8>>,
}

impl Checkpoint {
    /// SHA-256 over every field, each with its length before it.
    ///
    /// ```
    /// use pipeline_state::{Checkpoint, Progress};
    ///
    /// let checkpoint = Checkpoint {
    ///     pipeline: 1.into(),
    ///     seq: 1,
    ///     at: "2026-11-26T12:00:00Z".parse()?,
    ///     label: "page".to_owned(),
    ///     progress: Progress::default(),
    ///     payload: Some(b"cursor".to_vec()),
    /// };
    /// let other = Checkpoint { payload: None, ..checkpoint.clone() };
    /// assert_ne!(checkpoint.checksum(), other.checksum());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn checksum(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        field(b"pipeline-state checkpoint 1");
        field(&self.pipeline.0.to_be_bytes());
        field(&self.seq.to_be_bytes());
        field(&self.at.as_microsecond().to_be_bytes());
        field(self.label.as_bytes());
        for phase in &self.progress.phases {
            field(phase.phase.as_bytes());
            let c = &phase.counts;
            for count in [c.pending, c.waiting, c.processing, c.completed, c.failed, c.skipped] {
                field(&count.to_be_bytes());
            }
        }
        // One field more or none, so that no payload and an empty one differ.
        if let Some(payload) = &self.payload {
            field(payload);
        }
        hash.finalize().into()
    }

    pub(crate) fn verified(self, checksum: &[u8]) -> Result<Self, StateError> {
        if self.checksum() == checksum {
            return Ok(self);
        }
        Err(corrupt(self.pipeline, self.seq, "its checksum does not fit what it holds"))
    }
}

pub(crate) fn corrupt(pipeline: PipelineId, seq: u32, what: impl Into<String>) -> StateError {
    StateError::CorruptCheckpoint { pipeline, seq, what: what.into() }
}

/// When a checkpoint is due: after so many settled items, or after so long, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// Settled items from one checkpoint to the next.
    pub items: u32,
    /// Time from one to the next, while items are settled at all.
    pub time: Duration,
}

impl Cadence {
    /// What makes a checkpoint due now, if anything does: `items` or `time`. Looked at after every
    /// batch of updates, so a batch larger than [`items`](Self::items) makes one, at its end.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pipeline_state::Cadence;
    ///
    /// let cadence = Cadence { items: 100, time: Duration::from_secs(60) };
    /// assert_eq!(cadence.due(99, Duration::from_secs(59)), None);
    /// assert_eq!(cadence.due(100, Duration::ZERO), Some("items"));
    /// assert_eq!(cadence.due(1, Duration::from_secs(60)), Some("time"));
    /// assert_eq!(cadence.due(0, Duration::from_secs(60)), None, "nothing has changed");
    /// ```
    #[must_use]
    pub fn due(&self, items: u64, elapsed: Duration) -> Option<&'static str> {
        if items == 0 {
            None
        } else if items >= u64::from(self.items) {
            Some("items")
        } else {
            (elapsed >= self.time).then_some("time")
        }
    }
}
