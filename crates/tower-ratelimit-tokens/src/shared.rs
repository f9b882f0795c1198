//! The one lock of a limiter, and what is read without it.

use std::{
    hint,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};

use tokio::sync::Notify;

use crate::{WallClock, core::Core, moment::Epoch};

/// How often the lock is looked at again before the kernel is asked to wait for it,
/// and how long the first of those waits is, each twice as long as the one before:
/// some 2 to 20 microseconds in all, less than it takes to be put to sleep and woken.
/// Two threads that call at once then pass some dozen calls each in turn, instead of
/// sending every cache line to and fro with each of them.
const ROUNDS: u32 = 3;
const PAUSES: u32 = 64;

/// What all handles of a limiter hold.
pub(crate) struct Shared {
    pub(crate) core: Mutex<Core>,
    pub(crate) leases: Arc<Notify>,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) epoch: Epoch,
    /// Some budget wants to hear of every answer.
    pub(crate) needs_answer: bool,
    pub(crate) names: Box<[Arc<str>]>,
}

impl Shared {
    #[inline]
    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core_if_free().unwrap_or_else(|| self.core_in_use())
    }

    /// Nothing panics under the lock, so a poisoned core is still whole.
    #[inline]
    fn core_if_free(&self) -> Option<MutexGuard<'_, Core>> {
        match self.core.try_lock() {
            Ok(core) => Some(core),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Another thread is at it, and will be done before a kernel could have put this
    /// one to sleep. Looking at the lock again and again would slow that one down.
    #[cold]
    fn core_in_use(&self) -> MutexGuard<'_, Core> {
        for round in 0..ROUNDS {
            for _ in 0..PAUSES << round {
                hint::spin_loop();
            }
            if let Some(core) = self.core_if_free() {
                return core;
            }
        }
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Those who grant leases are to hear that nobody spends any more.
        self.leases.notify_waiters();
    }
}
