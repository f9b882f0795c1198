//! Pure: below some urgency, nothing is admitted.

use std::sync::Arc;

use super::{Core, Effects, News};
use crate::{Priority, RefusedKind, error::Refusal, moment::Nanos};

/// Who is turned away, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shed {
    pub(crate) below: Priority,
    pub(crate) reason: Arc<str>,
}

impl Shed {
    /// Nobody.
    pub(crate) fn none() -> Self {
        Self { below: Priority::LOWEST, reason: "".into() }
    }

    #[inline]
    pub(crate) fn refuses(&self, priority: Priority) -> bool {
        priority < self.below
    }

    pub(crate) fn refusal(&self) -> Refusal {
        let reason = Some(Arc::clone(&self.reason));
        Refusal { reason, ..Refusal::new(RefusedKind::Shed, None, None) }
    }
}

impl Core {
    /// Turns away all that are less urgent, those who wait included.
    pub(crate) fn shed(&mut self, now: Nanos, shed: Shed, effects: &mut Effects) {
        if shed == self.shed {
            return;
        }
        let (below, reason) = (shed.below, Arc::clone(&shed.reason));
        effects.news.push(News::Shedding { below, reason });
        self.shed = shed;
        for key in self.queue.below(below) {
            self.refuse(key, self.shed.refusal(), effects);
        }
        self.settle_queue(now, effects);
    }
}
