//! Pure but for the wakers it keeps: waiters in order of arrival.
//!
//! A slab whose occupied slots form a list, so that any waiter can leave in
//! constant time, and an ordered set of the deadlines. A slot is freed by the
//! future that owns it and by nothing else, so a key is never stale.

use std::{collections::BTreeSet, task::Waker};

use crate::{Charge, charge::MAX_BUDGETS, error::Refusal, moment::Nanos};

const NONE: u32 = u32::MAX;

/// Names a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// Wakers to be woken after the lock has been given back.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Wakes(Vec<Waker>);

impl Wakes {
    pub(crate) fn push(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }

    pub(crate) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug)]
struct Waiter {
    charge: Charge,
    deadline: Nanos,
    waker: Option<Waker>,
    before: u32,
    after: u32,
    /// Taken out of the queue; its future has yet to hear of it.
    refused: Option<Refusal>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    slots: Vec<Waiter>,
    free: Vec<u32>,
    first: u32,
    last: u32,
    len: usize,
    deadlines: BTreeSet<(Nanos, u32)>,
    /// What all waiters together need, by budget.
    need: [u64; MAX_BUDGETS],
    /// When the timer of the first waiter fires; `None` if it has none.
    pub(crate) armed: Option<Nanos>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            first: NONE,
            last: NONE,
            len: 0,
            deadlines: BTreeSet::new(),
            need: [0; MAX_BUDGETS],
            armed: None,
        }
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// What those in the queue need of a budget.
    pub(crate) const fn need(&self, budget: usize) -> u64 {
        self.need[budget]
    }

    pub(crate) fn push(&mut self, charge: Charge, deadline: Nanos, waker: &Waker) -> Key {
        let waiter = Waiter {
            charge,
            deadline,
            waker: Some(waker.clone()),
            before: self.last,
            after: NONE,
            refused: None,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = waiter;
                at
            }
            None => {
                self.slots.push(waiter);
                (self.slots.len() - 1) as u32
            }
        };
        match self.last {
            NONE => self.first = at,
            last => self.slots[last as usize].after = at,
        }
        self.last = at;
        self.len += 1;
        self.deadlines.insert((deadline, at));
        for (budget, amount) in charge.parts() {
            self.need[budget] += amount;
        }
        Key(at)
    }

    fn unlink(&mut self, at: u32) {
        let waiter = &self.slots[at as usize];
        let (before, after, deadline) = (waiter.before, waiter.after, waiter.deadline);
        let charge = waiter.charge;
        match before {
            NONE => {
                self.first = after;
                self.armed = None;
            }
            before => self.slots[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.slots[after as usize].before = before,
        }
        self.len -= 1;
        self.deadlines.remove(&(deadline, at));
        for (budget, amount) in charge.parts() {
            self.need[budget] -= amount;
        }
    }

    /// Takes a waiter out, whether it still waits or was refused. Its waker is
    /// to be dropped outside the lock: it may own anything.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Waker> {
        if self.slots[key.0 as usize].refused.is_none() {
            self.unlink(key.0);
        }
        self.free.push(key.0);
        self.slots[key.0 as usize].waker.take()
    }

    /// Refuses a waiter from outside; returns whom to wake.
    fn refuse(&mut self, at: u32, refusal: Refusal) -> Option<Waker> {
        self.unlink(at);
        let waiter = &mut self.slots[at as usize];
        waiter.refused = Some(refusal);
        waiter.waker.take()
    }

    /// Refuses all whose deadline lies before `limit`, or at it.
    pub(crate) fn refuse_due(&mut self, limit: Nanos, refusal: Refusal, wakes: &mut Wakes) {
        while let Some(&(deadline, at)) = self.deadlines.first() {
            if deadline > limit {
                return;
            }
            wakes.push(self.refuse(at, refusal));
        }
    }

    pub(crate) fn first_deadline(&self) -> Option<Nanos> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// The refusal that a waiter has yet to hear of.
    pub(crate) fn refusal(&self, key: Key) -> Option<Refusal> {
        self.slots[key.0 as usize].refused
    }

    pub(crate) const fn is_first(&self, key: Key) -> bool {
        self.first == key.0
    }

    pub(crate) fn charge(&self, key: Key) -> (Charge, Nanos) {
        let waiter = &self.slots[key.0 as usize];
        (waiter.charge, waiter.deadline)
    }

    /// Returns the waker of another task that this one replaces; it is to be
    /// dropped outside the lock.
    pub(crate) fn park(&mut self, key: Key, waker: &Waker) -> Option<Waker> {
        match &mut self.slots[key.0 as usize].waker {
            Some(known) if known.will_wake(waker) => None,
            place => place.replace(waker.clone()),
        }
    }

    /// Charge and deadline of the first, if it sleeps and could be woken.
    pub(crate) fn sleeping_first(&self) -> Option<(Charge, Nanos)> {
        let waiter = self.slots.get(self.first as usize)?;
        waiter.waker.is_some().then_some((waiter.charge, waiter.deadline))
    }

    /// Wakes the first; it polls, and arms its timer anew if it must.
    pub(crate) fn wake_first(&mut self) -> Option<Waker> {
        self.armed = None;
        self.slots.get_mut(self.first as usize)?.waker.take()
    }
}
