//! How long four or more walks had pages left.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::Instant;

/// Notes when fewer than four walks were left.
#[derive(Debug)]
pub(super) struct Busy {
    from: Instant,
    left: AtomicUsize,
    until: Mutex<Option<Instant>>,
}

impl Busy {
    pub(super) fn new(walks: usize) -> Self {
        Self { from: Instant::now(), left: AtomicUsize::new(walks), until: Mutex::new(None) }
    }

    pub(super) fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 4 {
            *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    pub(super) fn interval(&self) -> Option<(Instant, Instant)> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).map(|until| (self.from, until))
    }
}
