//! Acquiring futures and tickets dropped at every point, in every order.
//!
//! In worlds of two to four calls and one or two budgets, all orders of polls (as a
//! task is woken, or moved to another), drops, sendings, answers, refunds, changes
//! and passing time are tried, to a depth. After each prefix of each order:
//!
//! - nobody waits who could go: if it asked anew, it would be refused;
//! - nobody is forgotten: with time alone, and with polls only of those who are
//!   woken, every call that waits is let through or refused when its time is up;
//! - with everything answered, every call is let through in time;
//! - with everything dropped, at once, nothing is held and nobody waits.
//!
//! This stands for a checker of threads: all that is shared is under one lock, which
//! each operation takes once or, at its end, several times one after the other; wakers
//! are called after it. So what threads can do is an order of whole operations, and
//! a waker that is called late is a task that is polled late. `threads.rs` and
//! `storm.rs` do the rest.

use std::{marker::PhantomData, task::Poll, time::Duration};

use tokio::time::{Instant, advance};
use tower_ratelimit_tokens::{
    Acquire, Budget, BudgetId, Charge, GateReason, Key, Limiter, LimiterBuilder, Priority, Settle,
    Terms, Ticket, WhenFull,
};

use crate::explore::{ALL_STEPS, MAX_WAIT, PERIOD, STEP, Task, World, explore};

/// One call, before it is made.
#[derive(Clone, Copy)]
struct Call {
    charge: Charge,
    priority: Priority,
}

enum State {
    New,
    Waiting(Task<Acquire>, Instant),
    Paid(Ticket),
    Sent(Ticket),
    Gone,
}

/// What is done to the limiter itself, once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Shed(Priority),
    Limit(usize, u64),
    Close,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Poll(usize),
    /// Polled though not woken, by another task than before.
    Move(usize),
    Drop(usize),
    Send(usize),
    Answer(usize),
    Refund(usize),
    Change(usize),
    Time,
}

/// A limiter, its calls and what else may happen.
struct Setting {
    limiter: Limiter,
    calls: Vec<Call>,
    changes: Vec<Change>,
    /// How many of the calls have come before the first step.
    come: usize,
    /// Whether unwoken tasks are polled too.
    moves: bool,
    times: usize,
}

trait Story {
    fn tell() -> Setting;
}

struct Play<S> {
    limiter: Limiter,
    calls: Vec<Call>,
    states: Vec<State>,
    changes: Vec<Option<Change>>,
    ids: Vec<(BudgetId, u64)>,
    moves: bool,
    times: usize,
    story: PhantomData<S>,
}

impl<S: Story> World for Play<S> {
    type Step = Step;
    const WAYS: usize = 3;

    fn new() -> Self {
        let Setting { limiter, calls, changes, come, moves, times } = S::tell();
        let states = calls.iter().map(|_| State::New).collect();
        let budgets = limiter.status().budgets;
        let ids = budgets.iter().map(|budget| {
            let id = limiter.budget_id(&budget.name).expect("it has a name");
            (id, budget.limit)
        });
        let (ids, changes) = (ids.collect(), changes.into_iter().map(Some).collect());
        let story = PhantomData;
        let mut play = Self { limiter, calls, states, changes, ids, moves, times, story };
        (0..come).for_each(|n| play.poll(n));
        play
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![];
        for (n, state) in self.states.iter().enumerate() {
            match state {
                // Equal calls come in one order: any other looks the same.
                State::New if self.is_next_of_its_kind(n) => steps.push(Step::Poll(n)),
                State::New | State::Gone => {}
                State::Waiting(task, _) => {
                    if task.is_woken() {
                        steps.push(Step::Poll(n));
                    } else if self.moves {
                        steps.push(Step::Move(n));
                    }
                    steps.push(Step::Drop(n));
                }
                State::Paid(_) => steps.extend([Step::Send(n), Step::Drop(n)]),
                State::Sent(_) => {
                    steps.extend([Step::Answer(n), Step::Refund(n), Step::Drop(n)]);
                }
            }
        }
        let open = self.changes.iter().enumerate().filter(|(_, change)| change.is_some());
        steps.extend(open.map(|(n, _)| Step::Change(n)));
        if self.times > 0 {
            steps.push(Step::Time);
        }
        steps
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Poll(n) => self.poll(n),
            Step::Move(n) => {
                if let State::Waiting(task, _) = &mut self.states[n] {
                    task.move_away();
                }
                self.poll(n);
            }
            Step::Drop(n) => self.states[n] = State::Gone,
            Step::Send(n) => {
                if let State::Paid(mut ticket) = self.take_out(n) {
                    ticket.sent(Instant::now());
                    self.states[n] = State::Sent(ticket);
                }
            }
            Step::Answer(n) => self.answer(n, Settle::Keep),
            Step::Refund(n) => self.answer(n, Settle::Refund),
            Step::Change(n) => self.change(n),
            Step::Time => {
                self.times -= 1;
                advance(STEP).await;
            }
        }
    }

    async fn end(mut self, way: usize) {
        match way {
            0 => {
                self.settle(false);
                self.nobody_could_go();
                self.by_time_alone().await;
            }
            1 => self.with_all_answered().await,
            _ => {}
        }
        // Dropped from the first to the last, or the other way round.
        if way % 2 == 0 {
            self.states.clear();
        } else {
            while self.states.pop().is_some() {}
        }
        self.nothing_is_left().await;
    }
}

impl<S: Story> Play<S> {
    fn is_next_of_its_kind(&self, n: usize) -> bool {
        let same = |m: &usize| {
            let (a, b) = (&self.calls[*m], &self.calls[n]);
            a.charge == b.charge && a.priority == b.priority
        };
        (0..n).filter(same).all(|m| !matches!(self.states[m], State::New))
    }

    fn take_out(&mut self, n: usize) -> State {
        std::mem::replace(&mut self.states[n], State::Gone)
    }

    fn poll(&mut self, n: usize) {
        let (mut task, came) = match self.take_out(n) {
            State::New => {
                let call = self.calls[n];
                (Task::new(self.limiter.acquire(call.charge, call.priority)), Instant::now())
            }
            State::Waiting(task, came) => (task, came),
            _ => return,
        };
        let polled = task.poll();
        assert!(!task.is_woken(), "woken by its own poll");
        self.states[n] = match polled {
            Poll::Pending => State::Waiting(task, came),
            Poll::Ready(Ok(ticket)) => State::Paid(ticket),
            Poll::Ready(Err(_)) => State::Gone,
        };
    }

    fn answer(&mut self, n: usize, settle: Settle) {
        if let State::Sent(ticket) | State::Paid(ticket) = self.take_out(n) {
            ticket.answered(Instant::now(), settle);
        }
    }

    fn change(&mut self, n: usize) {
        match self.changes[n].take() {
            Some(Change::Shed(below)) => self.limiter.shed(below, "enough"),
            Some(Change::Limit(budget, limit)) => {
                self.limiter.set_limit(self.ids[budget].0, limit);
            }
            Some(Change::Close) => {
                let until = Instant::now() + PERIOD;
                self.limiter.close_until(until, GateReason::Manual);
            }
            None => {}
        }
    }

    /// Polls those who are woken until nobody is; those who come through keep their
    /// tickets, or give them back.
    fn settle(&mut self, give_back: bool) {
        loop {
            let woken = |state: &State| matches!(state, State::Waiting(task, _) if task.is_woken());
            let Some(n) = self.states.iter().position(woken) else { return };
            self.poll(n);
            if give_back && matches!(self.states[n], State::Paid(_)) {
                self.states[n] = State::Gone;
            }
        }
    }

    fn waiting(&self) -> Vec<usize> {
        let waits = |n: &usize| matches!(self.states[*n], State::Waiting(..));
        (0..self.states.len()).filter(waits).collect()
    }

    /// Whoever waits would be refused if it asked again in its own place.
    fn nobody_could_go(&mut self) {
        // To ask it must leave the queue, so only one of them can be asked.
        let room = |n: &usize| {
            let charge = &self.calls[*n].charge;
            let budgets = self.limiter.status().budgets;
            charge.iter().all(|(id, amount)| {
                let shared = budgets[id.index()].remaining;
                let own = self.limiter.key_status(id, charge).map_or(shared, |key| key.remaining);
                own >= u64::from(amount)
            })
        };
        let Some(n) = self.waiting().into_iter().find(room) else { return };
        let State::Waiting(task, came) = self.take_out(n) else { return };
        drop(task);
        let Call { charge, priority } = self.calls[n];
        let terms = Terms::from(priority).arrived(Some(came));
        let asked = self.limiter.try_acquire(charge, terms);
        assert!(asked.is_err(), "call {n} could go, and was not woken");
    }

    async fn by_time_alone(&mut self) {
        self.settle(false);
        for _ in 0..ALL_STEPS {
            if self.waiting().is_empty() {
                break;
            }
            advance(STEP).await;
            self.settle(false);
        }
        assert_eq!(self.waiting(), [0; 0], "they wait for longer than they may");
    }

    async fn with_all_answered(&mut self) {
        self.settle(false);
        for n in 0..self.states.len() {
            self.answer(n, Settle::Keep);
        }
        let waiting = self.waiting().len();
        for _ in 0..ALL_STEPS {
            self.settle(true);
            if self.waiting().is_empty() {
                return;
            }
            advance(STEP).await;
        }
        panic!("of {waiting}, {:?} wait on with nothing in their way", self.waiting());
    }

    async fn nothing_is_left(&mut self) {
        let status = self.limiter.status();
        assert_eq!((status.waiting, status.waiting_by_priority), (0, [0; 11]));
        assert!(status.budgets.iter().all(|budget| budget.waiting == 0), "{status:?}");
        self.limiter.shed(Priority::LOWEST, "");
        for &(id, limit) in &self.ids {
            self.limiter.set_limit(id, limit);
        }
        advance(3 * STEP).await;
        for call in &self.calls {
            for (id, _) in call.charge.iter() {
                let none = call.charge.iter().fold(call.charge, |all, (id, _)| all.with(id, 0));
                let whole = none.with(id, self.ids[id.index()].1 as u32);
                let whole = self.limiter.try_acquire(whole, Priority::CRITICAL);
                drop(whole.expect("nothing is held"));
            }
        }
    }
}

fn builder() -> LimiterBuilder {
    Limiter::builder().max_wait(MAX_WAIT).after_gate(Duration::from_millis(2), PERIOD)
}

fn setting(limits: LimiterBuilder, calls: &[(Charge, u8)]) -> Setting {
    let call = |&(charge, level): &(Charge, u8)| Call { charge, priority: Priority::new(level) };
    let calls = calls.iter().map(call).collect();
    let limiter = limits.build().expect("these are good");
    Setting { limiter, calls, changes: vec![], come: 0, moves: false, times: 2 }
}

/// Plays a story to a depth.
macro_rules! story {
    ($name:ident, $depth:expr, $tell:expr) => {
        #[test]
        fn $name() {
            struct This;
            impl Story for This {
                fn tell() -> Setting {
                    $tell
                }
            }
            let orders = explore::<Play<This>>($depth);
            assert!(orders > 1_000, "{orders} orders");
        }
    };
}

const fn of(budget: BudgetId, n: u32) -> Charge {
    Charge::new().with(budget, n)
}

story!(one_place_and_three_who_want_it, 7, {
    let mut limits = builder();
    let places = limits.budget("places", Budget::concurrency(1));
    setting(limits, &[(of(places, 1), 5); 3])
});

story!(two_calls_to_their_ends, 14, {
    let mut limits = builder();
    let places = limits.budget("places", Budget::concurrency(1));
    setting(limits, &[(of(places, 1), 5); 2])
});

story!(two_places_and_a_heavy_call_among_light_ones, 5, {
    let mut limits = builder();
    let places = limits.budget("places", Budget::concurrency(2));
    let calls = [(of(places, 1), 5), (of(places, 1), 5), (of(places, 2), 5), (of(places, 1), 7)];
    Setting { come: 3, ..setting(limits, &calls) }
});

story!(a_bucket_and_calls_of_different_urgency, 6, {
    let mut limits = builder();
    let tokens = limits.budget("tokens", Budget::bucket(1, 1, PERIOD));
    setting(limits, &[(of(tokens, 1), 5), (of(tokens, 1), 5), (of(tokens, 1), 8)])
});

story!(a_window_that_answers_free, 6, {
    let mut limits = builder();
    let window = Budget::rolling(2, PERIOD).freed_by_answer(PERIOD).resolution(PERIOD / 10);
    let window = limits.budget("window", window);
    setting(limits, &[(of(window, 1), 5), (of(window, 2), 5), (of(window, 1), 2)])
});

story!(two_budgets_that_overlap, 5, {
    let mut limits = builder();
    let places = limits.budget("places", Budget::concurrency(2));
    let tokens = limits.budget("tokens", Budget::bucket(2, 1, PERIOD));
    let both = of(places, 1).with(tokens, 1);
    let calls = [(both.with(places, 2), 5), (both, 5), (of(tokens, 2), 7), (of(places, 1), 3)];
    Setting { come: 3, ..setting(limits, &calls) }
});

story!(room_that_is_left_for_the_first, 5, {
    let mut limits = builder();
    let list = limits.budget("list", Budget::concurrency(1));
    let tokens = limits.budget("tokens", Budget::bucket(3, 1, PERIOD));
    let light = (of(tokens, 1), 5);
    let calls = [(of(list, 1), 5), (of(list, 1).with(tokens, 2), 6), light, light];
    Setting { come: 3, ..setting(limits, &calls) }
});

story!(a_line_that_gets_another_head, 5, {
    let mut limits = builder();
    let places = limits.budget("places", Budget::concurrency(4));
    let tokens = limits.budget("tokens", Budget::bucket(2, 1, PERIOD));
    let both = |a, b| of(places, a).with(tokens, b);
    let calls = [(both(2, 1), 5), (both(3, 1), 5), (of(places, 1), 5), (both(1, 2), 8)];
    Setting { come: 3, ..setting(limits, &calls) }
});

story!(keys_and_what_they_share, 5, {
    let mut limits = builder();
    let user = limits.scope("user");
    let own = limits.budget("own", Budget::concurrency(1).per(user));
    let all = limits.budget("all", Budget::concurrency(2));
    let call = |n: u64, all_of: u32| of(own, 1).with(all, all_of).key(user, Key::from(n));
    let calls = [(call(1, 1), 5), (call(1, 1), 5), (call(2, 2), 5), (call(3, 1), 7)];
    Setting { come: 3, ..setting(limits, &calls) }
});

story!(keys_for_which_there_is_no_room, 5, {
    let mut limits = builder().max_keys(1).idle_after(Duration::ZERO);
    let user = limits.scope("user");
    let own = Budget::rolling(1, PERIOD).resolution(PERIOD / 10).per(user);
    let own = limits.budget("own", own);
    let all = limits.budget("all", Budget::concurrency(1));
    let call = |n: u64| of(own, 1).with(all, 1).key(user, Key::from(n));
    let calls = [(of(all, 1), 5), (call(1), 5), (call(2), 5), (call(1), 5)];
    Setting { come: 2, ..setting(limits, &calls) }
});

story!(a_reserve_for_the_urgent, 5, {
    let mut limits = builder();
    let tokens = Budget::rolling(2, PERIOD).resolution(PERIOD / 10).keep(0.5, Priority::HIGH);
    let tokens = limits.budget("tokens", tokens);
    let places = limits.budget("places", Budget::concurrency(1));
    let both = of(tokens, 1).with(places, 1);
    let calls = [(of(tokens, 1), 5), (both, 5), (both, 8), (of(tokens, 2), 8)];
    Setting { come: 3, ..setting(limits, &calls) }
});

story!(calls_that_are_turned_away_while_they_wait, 5, {
    let mut limits = builder();
    let places = limits.budget("places", Budget::concurrency(2));
    let calls = [(of(places, 1), 5), (of(places, 2), 2), (of(places, 1), 2), (of(places, 1), 8)];
    let changes = vec![Change::Shed(Priority::NORMAL)];
    Setting { changes, come: 3, times: 1, ..setting(limits, &calls) }
});

story!(limits_that_change_under_those_who_wait, 5, {
    let mut limits = builder();
    let places = limits.budget("places", Budget::concurrency(2));
    let tokens = limits.budget("tokens", Budget::bucket(2, 1, PERIOD));
    let calls = [(of(places, 2), 5), (of(places, 1).with(tokens, 1), 5), (of(tokens, 2), 8)];
    let changes = vec![Change::Limit(0, 1), Change::Limit(0, 3), Change::Limit(1, 0)];
    Setting { changes, come: 2, times: 1, ..setting(limits, &calls) }
});

story!(a_gate_that_closes_at_any_moment, 5, {
    let mut limits = builder();
    let places = limits.budget("places", Budget::concurrency(1));
    let tokens = limits.budget("tokens", Budget::bucket(1, 1, PERIOD));
    let calls = [(of(places, 1), 5), (of(places, 1).with(tokens, 1), 5), (of(tokens, 1), 8)];
    let changes = vec![Change::Close, Change::Close];
    Setting { changes, come: 2, ..setting(limits, &calls) }
});

story!(a_queue_too_short_for_all, 6, {
    let limits = builder().max_waiting(1).when_full(WhenFull::EvictLowest);
    let mut limits = limits;
    let places = limits.budget("places", Budget::concurrency(1));
    setting(limits, &[(of(places, 1), 5), (of(places, 1), 2), (of(places, 1), 8)])
});

story!(tasks_that_move, 5, {
    let mut limits = builder();
    let places = limits.budget("places", Budget::concurrency(1));
    let tokens = limits.budget("tokens", Budget::bucket(1, 1, PERIOD));
    let calls = [(of(places, 1), 5), (of(places, 1).with(tokens, 1), 5), (of(tokens, 1), 5)];
    Setting { moves: true, come: 2, ..setting(limits, &calls) }
});
