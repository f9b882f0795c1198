use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

/// Who waits for a change of a circuit: at most one waker for each waiting service.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tickets: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Waiters {
    /// Takes the place of what the ticket stood for before; gives a ticket to who has none.
    pub(crate) fn register(&self, ticket: Option<u64>, waker: &Waker) -> u64 {
        let mut inner = self.lock();
        let ticket = ticket.unwrap_or_else(|| {
            inner.tickets += 1;
            inner.tickets
        });
        inner.wakers.insert(ticket, waker.clone());
        ticket
    }

    pub(crate) fn remove(&self, ticket: u64) {
        let waker = self.lock().wakers.remove(&ticket);
        drop(waker);
    }

    /// Wakes all, outside the lock.
    pub(crate) fn wake(&self) {
        let wakers = mem::take(&mut self.lock().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().wakers.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
