use std::{fmt, time::Duration};

use crate::{Memory, Position, position::Shown};

/// A call waited for memory as long as it may, and memory stayed short.
///
/// The refusal is local: nothing was sent, so asking again later cannot
/// duplicate work. Come back when memory has been freed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryError {
    pub(crate) memory: Memory,
    pub(crate) pause_above: u8,
    pub(crate) waited: Duration,
}

impl MemoryError {
    /// What the probe saw last.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// The percentage of the limit above which no page is asked for.
    #[must_use]
    pub fn pause_above(&self) -> u8 {
        self.pause_above
    }

    /// How long the call waited before it was refused.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "refused here, nothing was sent: {} of {} bytes of memory stayed in use, above {} %, \
             for {:?}; ask again when memory has been freed",
            self.memory.used, self.memory.limit, self.pause_above, self.waited
        )
    }
}

impl std::error::Error for MemoryError {}

/// A walk ended before its last page.
///
/// Every page that was handed out before it is good. [`position`] says where a
/// new walk can go on.
///
/// [`position`]: WalkError::position
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalkError {
    /// The service could not be readied, or failed the call.
    #[error("the page at {} could not be fetched", Shown(.position))]
    Service {
        /// The page that was asked for.
        position: Position,
        /// What the service said.
        source: crate::BoxError,
    },
    /// The answer could not be read as a page.
    #[error("the answer for the page at {} could not be read", Shown(.position))]
    Parse {
        /// The page that was asked for.
        position: Position,
        /// What the parser said.
        source: crate::BoxError,
    },
    /// The request could not be built; nothing was sent.
    #[error("no request can be made for the page at {}", Shown(.position))]
    Request {
        /// The page that was to be asked for.
        position: Position,
        /// Why not.
        source: crate::BoxError,
    },
    /// Memory stayed short for too long; nothing was sent.
    #[error("there is no memory to ask for the page at {}", Shown(.position))]
    Memory {
        /// The page that was to be asked for.
        position: Position,
        /// How short, and for how long.
        source: crate::MemoryError,
    },
    /// The server named a next page that this walk has had already, and did so
    /// again when it was asked a second time.
    #[error(
        "the page at {} leads back to a page that this walk has had ({})",
        Shown(.position), Shown(.cursor)
    )]
    RepeatedCursor {
        /// The page whose answer leads back.
        position: Position,
        /// The position it leads back to.
        cursor: Position,
    },
    /// The server named a next offset that is not after the present one, and
    /// did so again when it was asked a second time.
    #[error("the page at {} leads to offset {next}, which does not go forward", Shown(.position))]
    OffsetStuck {
        /// The page whose answer does not go forward.
        position: Position,
        /// The offset it leads to.
        next: u64,
    },
    /// The server named a next URL outside of the origin that is walked. It was
    /// not asked, so no credential went there.
    #[error("the page at {} leads to {found}, outside of {expected}; it was not followed", Shown(.position))]
    ForeignOrigin {
        /// The page whose answer leads away.
        position: Position,
        /// The origin it leads to.
        found: String,
        /// The origin that is walked.
        expected: String,
    },
    /// The walk has had as many pages as it may.
    #[error("the walk did not end within {max} pages; the next is at {}", Shown(.position))]
    TooManyPages {
        /// The page that would have been next.
        position: Position,
        /// How many pages the walk may have.
        max: u64,
    },
    /// Of the rows that were handed out last none is left, so it cannot be known where the walk was.
    #[error(
        "the rows before the page at {} are no longer there, so it is not known what follows them; \
         walk from the start",
        Shown(.position)
    )]
    RowsShifted {
        /// The page at which the walk gave up.
        position: Position,
    },
    /// The driver of this walk was dropped before the walk was over.
    #[error("the driver of this walk was dropped before the last page came")]
    DriverDropped,
}

impl WalkError {
    /// Where a new walk can go on: the first page that was not handed out.
    /// `None` if that is not known here; it is then the `next` of the last page
    /// that was handed out.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Service { position, .. }
            | Self::Parse { position, .. }
            | Self::Request { position, .. }
            | Self::Memory { position, .. }
            | Self::RepeatedCursor { position, .. }
            | Self::OffsetStuck { position, .. }
            | Self::ForeignOrigin { position, .. }
            | Self::RowsShifted { position }
            | Self::TooManyPages { position, .. } => Some(position),
            Self::DriverDropped => None,
        }
    }

    pub(crate) fn position_mut(&mut self) -> Option<&mut Position> {
        match self {
            Self::Service { position, .. }
            | Self::Parse { position, .. }
            | Self::Request { position, .. }
            | Self::Memory { position, .. }
            | Self::RepeatedCursor { position, .. }
            | Self::OffsetStuck { position, .. }
            | Self::ForeignOrigin { position, .. }
            | Self::RowsShifted { position }
            | Self::TooManyPages { position, .. } => Some(position),
            Self::DriverDropped => None,
        }
    }
}
