//! Those who are to be woken.

use std::task::Waker;

/// Wakers to be woken after the lock has been given back; on drop at the latest, so
/// that one that panics leaves nobody asleep.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Wakes(Vec<Waker>);

impl Wakes {
    pub(crate) fn push(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        /// What is left of them if one panics.
        struct Rest(std::vec::IntoIter<Waker>);

        impl Drop for Rest {
            fn drop(&mut self) {
                self.0.by_ref().for_each(Waker::wake);
            }
        }

        let mut rest = Rest(std::mem::take(&mut self.0).into_iter());
        rest.0.by_ref().for_each(Waker::wake);
    }
}
