use std::fmt;

use crate::{Action, PageStatus};

/// So much memory is enough to copy large accounts at full speed, in bytes.
pub(crate) const ENOUGH: u64 = 1 << 30;

/// What would make page control better; its `Display` says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Advice {
    /// Memory could not be read, so pages do not follow it.
    Blind {
        /// Readings that gave no figures.
        readings: u64,
    },
    /// There is less memory than 1 GiB.
    SmallLimit {
        /// All that may be used, in bytes.
        limit: u64,
    },
    /// Pages are smaller than they could be, so rows are dear.
    SmallPages {
        /// Rows to ask for now.
        size: u32,
        /// Rows of the largest page.
        max: u32,
        /// How much dearer a row is, in percent.
        surcharge: u32,
    },
    /// Calls had to wait for memory.
    Pauses {
        /// How often the pause threshold was passed upwards.
        pauses: u64,
    },
    /// Memory was short, and there is nothing to purge the allocator with.
    NothingToPurge,
    /// Purging returned next to nothing.
    PurgedInVain {
        /// How often the allocator was purged.
        purges: u64,
        /// What that returned, in bytes.
        bytes: u64,
    },
    /// Answers were too large to be held.
    CutOff {
        /// How many.
        answers: u64,
        /// What a row weighs, in bytes; 0 if unknown.
        bytes_per_row: u64,
    },
    /// Pages took longer than they may.
    SlowPages {
        /// How often that made the next pages smaller.
        pages: u64,
    },
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blind { readings } => write!(
                f,
                "memory could not be read {readings} times, so pages do not follow it: give a limit or a probe"
            ),
            Self::SmallLimit { limit } => write!(
                f,
                "there are {limit} bytes of memory; whole accounts need 1 GiB to be copied at full speed"
            ),
            Self::SmallPages { size, max, surcharge } => write!(
                f,
                "pages have {size} rows of {max}, so a row costs {surcharge} % more: give more memory, \
                 prefetch less or hold fewer pages"
            ),
            Self::Pauses { pauses } => write!(
                f,
                "calls had to wait for memory {pauses} times: give more of it, or run fewer walks at once"
            ),
            Self::NothingToPurge => f.write_str(
                "memory was short and the allocator may hold what is free: give the controller a `purge`",
            ),
            Self::PurgedInVain { purges, bytes } => write!(
                f,
                "purging the allocator {purges} times returned {bytes} bytes: the memory is really in use"
            ),
            Self::CutOff { answers, bytes_per_row } => write!(
                f,
                "{answers} answers were too large to be held and were paid for in vain, at {bytes_per_row} \
                 bytes a row: raise the bound, lower the largest page or ask for fewer fields"
            ),
            Self::SlowPages { pages } => write!(
                f,
                "pages took too long {pages} times: ask for fewer fields, or allow more time"
            ),
        }
    }
}

impl PageStatus {
    /// What would make it better; empty if all is well.
    ///
    /// ```
    /// use tower_adaptive_page::{Advice, PageController};
    ///
    /// let pages = PageController::builder().probe(|| None).build()?;
    /// let _ = pages.size();
    /// assert_eq!(pages.status().advice(), [Advice::Blind { readings: 1 }]);
    /// # Ok::<(), tower_adaptive_page::ConfigError>(())
    /// ```
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        if self.blind_samples > 0 {
            advice.push(Advice::Blind { readings: self.blind_samples });
        }
        if let Some(memory) = self.memory.filter(|memory| memory.limit < ENOUGH) {
            advice.push(Advice::SmallLimit { limit: memory.limit });
        }
        let Self { size, max, surcharge, .. } = *self;
        if surcharge > 0 {
            advice.push(Advice::SmallPages { size, max, surcharge });
        }
        if self.pauses > 0 {
            advice.push(Advice::Pauses { pauses: self.pauses });
        }
        let short = self.action > Action::Go || self.alerts > 0;
        if short && !self.can_purge {
            advice.push(Advice::NothingToPurge);
        }
        let (purges, bytes) = (self.purges, self.purged_bytes);
        let limit = self.memory.map_or(0, |memory| memory.limit);
        // Less than a hundredth of the limit each time.
        if purges >= 3 && bytes / purges < limit / 100 {
            advice.push(Advice::PurgedInVain { purges, bytes });
        }
        if self.too_large > 0 {
            let (answers, bytes_per_row) = (self.too_large, self.bytes_per_row);
            advice.push(Advice::CutOff { answers, bytes_per_row });
        }
        if self.slow_pages > 0 {
            advice.push(Advice::SlowPages { pages: self.slow_pages });
        }
        advice
    }
}
