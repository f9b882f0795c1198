//! Pure but for the wakers it keeps: who waits, in which line, for what.
//!
//! Calls of one priority that spend from the same accounts stand in one *line*, in
//! the order of their rank. Only the head of a line is looked at. A line whose head cannot go
//! stands at one *stop*: the account that binds longest, the gate, or its own
//! latency. Whoever stands first at a stop is the first to get what comes in
//! there; a stop's timer is that of the first.
//!
//! A slot is freed by the future that owns it and by nothing else, so a key is
//! never stale.

mod lines;
mod order;
mod stops;
#[cfg(test)]
mod tests;
mod wakes;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    task::Waker,
};

use crate::{
    Charge, Priority,
    accounts::At,
    charge::MAX_BUDGETS,
    core::{Grant, Takings},
    error::Refusal,
    moment::Nanos,
};

use self::{
    lines::{Line, LineKey},
    stops::Stops,
};
pub(crate) use self::{
    order::Order,
    stops::{GATE, Place, StopId},
    wakes::Wakes,
};

/// One that was to keep the time and has not been polled for so long since is not
/// relied on any more.
const DEAF: Nanos = 100_000_000;

/// More than these need memory that is not kept for good.
const CROWD: usize = 1_024;

/// Names a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

/// What a call wants, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) charge: Charge,
    pub(crate) at: At,
    pub(crate) order: Order,
    pub(crate) priority: Priority,
    /// The budgets whose reserve it may touch, as bits.
    pub(crate) class: u8,
    pub(crate) deadline: Nanos,
    /// Held back until then.
    pub(crate) not_before: Nanos,
}

#[derive(Debug)]
enum State {
    Waiting,
    /// Paid for; its future has yet to take it.
    Granted(Nanos, Takings),
    /// Taken out; its future has yet to hear of it.
    Refused(Refusal),
}

#[derive(Debug)]
struct Waiter {
    want: Want,
    line: u32,
    waker: Option<Waker>,
    state: State,
}

/// What a waiter's future finds.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for a few lines on the stack")]
pub(crate) enum Found {
    Waiting,
    Granted(Grant),
    Refused(Refusal),
}

#[derive(Debug)]
pub(crate) struct Queue {
    slots: Vec<Waiter>,
    free: Vec<u32>,
    lines: Vec<Line>,
    free_lines: Vec<u32>,
    line_of: HashMap<LineKey, u32>,
    /// How many wait who will be paid from a keyed account.
    waiting_at: HashMap<u32, u32>,
    /// By line, in order.
    in_line: BTreeSet<(u32, Order, u32)>,
    /// All that wait, in order.
    all: BTreeSet<(Order, u32)>,
    deadlines: BTreeSet<(Nanos, u32)>,
    stops: Stops,
    /// Lines that are to be looked at, by the order of their heads; empty between
    /// operations.
    up: BinaryHeap<Reverse<(Order, u32)>>,
    /// What all waiters together need, by budget.
    need: [u64; MAX_BUDGETS],
    by_priority: [usize; Priority::COUNT],
    /// No order of that priority is greater than this, while any waits.
    latest: [Order; Priority::COUNT],
    /// Whose timer serves all, and when it fires; or who has been woken to set one,
    /// and when.
    leader: Option<(u32, Nanos)>,
    /// Stops at which a line had to leave room for the first of all, and which
    /// that was.
    yielded: Vec<StopId>,
    yielded_to: Option<Order>,
    /// That one waits for something else since.
    first_moved: bool,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            lines: Vec::new(),
            free_lines: Vec::new(),
            line_of: HashMap::new(),
            waiting_at: HashMap::new(),
            in_line: BTreeSet::new(),
            all: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            stops: Stops::default(),
            up: BinaryHeap::new(),
            need: [0; MAX_BUDGETS],
            by_priority: [0; Priority::COUNT],
            latest: [Order::LEAST; Priority::COUNT],
            leader: None,
            yielded: Vec::new(),
            yielded_to: None,
            first_moved: false,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// What those in the queue need of a budget.
    pub(crate) const fn need(&self, budget: usize) -> u64 {
        self.need[budget]
    }

    pub(crate) const fn by_priority(&self) -> &[usize; Priority::COUNT] {
        &self.by_priority
    }

    /// Whether somebody waits who is less urgent.
    pub(crate) fn has_below(&self, priority: Priority) -> bool {
        self.by_priority[..priority.index()].iter().any(|&waiting| waiting > 0)
    }

    /// Puts a call into its line; if it is the head of that, it is to be looked at.
    pub(crate) fn push(&mut self, want: Want) -> Key {
        let line = self.line(&want);
        let head = self.head(line);
        let waiter = Waiter { want, line, waker: None, state: State::Waiting };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = waiter;
                slot
            }
            None => {
                self.slots.push(waiter);
                (self.slots.len() - 1) as u32
            }
        };
        self.all.insert((want.order, slot));
        self.in_line.insert((line, want.order, slot));
        self.deadlines.insert((want.deadline, slot));
        let priority = want.priority.index();
        self.by_priority[priority] += 1;
        self.latest[priority] = self.latest[priority].max(want.order);
        self.count(line, &want.charge, true);
        if head.is_none_or(|head| want.order < self.want(head).order) {
            self.new_head(line);
        }
        Key(slot)
    }

    /// Takes a waiter out of the queue; its slot stays with its future.
    fn leave(&mut self, slot: u32) {
        let waiter = &self.slots[slot as usize];
        let (want, line) = (waiter.want, waiter.line);
        let was_head = self.head(line) == Some(Key(slot));
        if self.leader.is_some_and(|(leader, _)| leader == slot) {
            self.leader = None;
        }
        self.all.remove(&(want.order, slot));
        self.in_line.remove(&(line, want.order, slot));
        self.deadlines.remove(&(want.deadline, slot));
        let priority = want.priority.index();
        self.by_priority[priority] -= 1;
        if self.by_priority[priority] == 0 {
            self.latest[priority] = Order::LEAST;
        }
        self.count(line, &want.charge, false);
        if was_head {
            self.new_head(line);
        }
    }

    /// Its charge has been paid. Returns whom to wake.
    pub(crate) fn grant(&mut self, now: Nanos, key: Key, takings: Takings) -> Option<Waker> {
        self.leave(key.0);
        let waiter = &mut self.slots[key.0 as usize];
        waiter.state = State::Granted(now, takings);
        waiter.waker.take()
    }

    /// Refuses a waiter. Returns whom to wake.
    pub(crate) fn refuse(&mut self, key: Key, refusal: Refusal) -> Option<Waker> {
        self.leave(key.0);
        let waiter = &mut self.slots[key.0 as usize];
        waiter.state = State::Refused(refusal);
        waiter.waker.take()
    }

    /// A waiter's future goes away, or has heard what there was to hear. Returns
    /// its waker, to be dropped outside the lock as it may own anything.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Waker> {
        if matches!(self.slots[key.0 as usize].state, State::Waiting) {
            self.leave(key.0);
        }
        let waker = self.slots[key.0 as usize].waker.take();
        self.free.push(key.0);
        if self.free.len() == self.slots.len() && self.slots.len() > CROWD {
            self.go_home();
        }
        waker
    }

    /// Nobody is here any more: what a crowd needed is given back.
    fn go_home(&mut self) {
        (self.slots, self.free) = (Vec::new(), Vec::new());
        (self.lines, self.free_lines) = (Vec::new(), Vec::new());
        (self.line_of, self.waiting_at) = (HashMap::new(), HashMap::new());
        self.stops = Stops::default();
        self.up = BinaryHeap::new();
    }

    pub(crate) fn find(&self, key: Key) -> Found {
        let waiter = &self.slots[key.0 as usize];
        match &waiter.state {
            State::Waiting => Found::Waiting,
            State::Granted(at, takings) => {
                Found::Granted(Grant::reserved(*at, waiter.want.charge, waiter.want.at, *takings))
            }
            State::Refused(refusal) => Found::Refused(refusal.clone()),
        }
    }

    pub(crate) fn want(&self, key: Key) -> &Want {
        &self.slots[key.0 as usize].want
    }

    /// The first of all.
    pub(crate) fn first(&self) -> Option<Key> {
        self.all.first().map(|&(_, slot)| Key(slot))
    }

    /// The last of all: the one to go if somebody has to.
    pub(crate) fn last(&self) -> Option<Key> {
        self.all.last().map(|&(_, slot)| Key(slot))
    }

    /// Somebody whose deadline is at `limit` or before.
    pub(crate) fn overdue(&self, limit: Nanos) -> Option<Key> {
        self.deadlines.first().filter(|(at, _)| *at <= limit).map(|&(_, slot)| Key(slot))
    }

    /// Those less urgent than `priority`.
    pub(crate) fn below(&self, priority: Priority) -> Vec<Key> {
        if !self.has_below(priority) {
            return Vec::new();
        }
        let slots = self.all.iter().map(|&(_, slot)| Key(slot));
        slots.filter(|key| self.want(*key).priority < priority).collect()
    }

    /// Takes the waker of one that is being polled: its own polls do not wake it.
    pub(crate) fn unpark(&mut self, key: Key) -> Option<Waker> {
        self.slots[key.0 as usize].waker.take()
    }

    /// Keeps the waker of one that waits on: `known`, or `waker` if that wakes
    /// another task. Returns the one that is replaced; it is to be dropped outside
    /// the lock.
    pub(crate) fn park(&mut self, key: Key, known: Option<Waker>, waker: &Waker) -> Option<Waker> {
        let (waker, replaced) = match known {
            Some(known) if known.will_wake(waker) => (known, None),
            known => (waker.clone(), known),
        };
        self.slots[key.0 as usize].waker = Some(waker);
        replaced
    }

    /// When something is due next: a stop's first, or a deadline.
    pub(crate) fn next_time(&self) -> Nanos {
        let deadline = self.deadlines.first().map_or(Nanos::MAX, |&(at, _)| at);
        self.stops.next_due().map_or(deadline, |(due, _)| due.min(deadline))
    }

    fn leader(&self, now: Nanos) -> Option<(u32, Nanos)> {
        self.leader.filter(|(_, armed)| now <= armed.saturating_add(DEAF))
    }

    /// This waiter's timer serves all, if no other's does. Returns when it is to
    /// fire.
    pub(crate) fn lead(&mut self, now: Nanos, key: Key) -> Option<Nanos> {
        if self.leader(now).is_some_and(|(leader, _)| leader != key.0) {
            return None;
        }
        let next = self.next_time();
        self.leader = Some((key.0, next));
        Some(next)
    }

    /// A line leaves room at `stop` for the first of all.
    pub(crate) fn yield_at(&mut self, stop: StopId) {
        let first = self.all.first().map(|&(order, _)| order);
        self.yielded_to = self.yielded_to.or(first);
        if !self.yielded.contains(&stop) {
            self.yielded.push(stop);
        }
    }

    /// The first of all waits for something else than before: what it needs
    /// besides, it may need later.
    pub(crate) fn first_moved(&mut self) {
        self.first_moved = true;
    }

    /// Where room was left for one that is not the first of all any more, or that
    /// has moved, somebody is to be looked at.
    pub(crate) fn call_yielded(&mut self) {
        let first = self.all.first().map(|&(order, _)| order);
        let moved = std::mem::take(&mut self.first_moved);
        if self.yielded.is_empty() || (self.yielded_to == first && !moved) {
            return;
        }
        self.yielded_to = None;
        while let Some(stop) = self.yielded.pop() {
            self.call(stop);
        }
    }

    /// Whoever has to set a timer anew: the leader, if its timer fires too late,
    /// or the last of all that sleep, if nobody leads.
    pub(crate) fn wake_leader(&mut self, now: Nanos) -> Option<Waker> {
        let slot = match self.leader(now) {
            Some((leader, armed)) if self.next_time() < armed => leader,
            Some(_) => return None,
            None => {
                let deaf = self.leader.map(|(deaf, _)| deaf);
                let mut from_last = self.all.iter().rev().map(|&(_, slot)| slot);
                from_last
                    .find(|&slot| Some(slot) != deaf && self.slots[slot as usize].waker.is_some())?
            }
        };
        self.leader = Some((slot, now));
        self.slots[slot as usize].waker.take()
    }
}
