//! Calls through the layer dropped while they wait, while the service gets ready
//! and while they are under way, in every order; as `cancellation.rs` for the rest.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::time::advance;
use tower::Service;
use tower_layer::Layer;
use tower_ratelimit_tokens::{
    BoxError, Budget, Charge, Limiter, NoDialect, Outcome, SameTerms, Settle, TokenLimit,
    TokenLimitLayer,
};

use crate::explore::{ALL_STEPS, MAX_WAIT, PERIOD, STEP, Task, World, explore};

const CALLS: usize = 3;
const PLACES: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Kept,
    Refunded,
    Failed,
}

/// What all clones of the service share.
#[derive(Default)]
struct Inside {
    ready: bool,
    broken: bool,
    /// Those who wait for readiness, and those who wait for an answer.
    waiting: Vec<Waker>,
    answers: [Option<Answer>; CALLS],
    asking: [Option<Waker>; CALLS],
    under_way: [bool; CALLS],
    calls: usize,
}

/// A service whose first instance is ready, and whose clones are when they are told.
struct Slow {
    inside: Rc<RefCell<Inside>>,
    first: bool,
}

impl Clone for Slow {
    fn clone(&self) -> Self {
        Self { inside: Rc::clone(&self.inside), first: false }
    }
}

impl Service<usize> for Slow {
    type Response = Answer;
    type Error = BoxError;
    type Future = UnderWay;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut inside = self.inside.borrow_mut();
        if self.first || inside.ready {
            Poll::Ready(Ok(()))
        } else if inside.broken {
            Poll::Ready(Err("broken".into()))
        } else {
            inside.waiting.push(cx.waker().clone());
            Poll::Pending
        }
    }

    fn call(&mut self, n: usize) -> UnderWay {
        let mut inside = self.inside.borrow_mut();
        inside.calls += 1;
        inside.under_way[n] = true;
        let under_way = inside.under_way.iter().filter(|under_way| **under_way).count();
        assert!(under_way <= PLACES, "{under_way} calls at once");
        UnderWay(Rc::clone(&self.inside), n)
    }
}

struct UnderWay(Rc<RefCell<Inside>>, usize);

impl Future for UnderWay {
    type Output = Result<Answer, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut inside = self.0.borrow_mut();
        match inside.answers[self.1] {
            None => {
                inside.asking[self.1] = Some(cx.waker().clone());
                Poll::Pending
            }
            answer => {
                inside.under_way[self.1] = false;
                match answer {
                    Some(Answer::Failed) => Poll::Ready(Err("failed".into())),
                    answer => Poll::Ready(Ok(answer.expect("matched above"))),
                }
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.borrow_mut().under_way[self.1] = false;
    }
}

type Settler = fn(Outcome<'_, Answer>) -> Settle;
type Layered = TokenLimit<Slow, Charge, NoDialect, Settler, SameTerms>;
type Response = <Layered as Service<usize>>::Future;

fn settle(outcome: Outcome<'_, Answer>) -> Settle {
    if outcome.is_ok_and(|answer| *answer == Answer::Refunded) {
        Settle::Refund
    } else {
        Settle::Keep
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call(usize),
    Poll(usize),
    Drop(usize),
    Answer(usize, Answer),
    Ready,
    Break,
    Time,
}

enum State {
    New,
    Running(Task<Response>),
    Gone,
}

struct Play {
    limiter: Limiter,
    cost: Charge,
    inside: Rc<RefCell<Inside>>,
    states: Vec<State>,
    times: usize,
}

impl World for Play {
    type Step = Step;
    const WAYS: usize = 3;

    fn new() -> Self {
        let mut limits = Limiter::builder().max_wait(MAX_WAIT);
        let places = limits.budget("places", Budget::concurrency(PLACES as u64));
        let window = Budget::rolling(2, PERIOD).freed_by_answer(PERIOD).resolution(PERIOD / 10);
        let window = limits.budget("window", window);
        let limiter = limits.build().expect("these are good");
        let cost = Charge::new().with(places, 1).with(window, 1);
        let states = (0..CALLS).map(|_| State::New).collect();
        Self { limiter, cost, inside: Rc::default(), states, times: 2 }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![];
        let inside = self.inside.borrow();
        // Equal calls come in one order: any other looks the same.
        let next = self.states.iter().position(|state| matches!(state, State::New));
        steps.extend(next.map(Step::Call));
        for (n, state) in self.states.iter().enumerate() {
            let State::Running(task) = state else { continue };
            steps.extend(task.is_woken().then_some(Step::Poll(n)));
            steps.push(Step::Drop(n));
            if inside.under_way[n] && inside.answers[n].is_none() {
                let answers = [Answer::Kept, Answer::Refunded, Answer::Failed];
                steps.extend(answers.map(|answer| Step::Answer(n, answer)));
            }
        }
        if !inside.ready && !inside.broken {
            steps.extend([Step::Ready, Step::Break]);
        }
        if self.times > 0 {
            steps.push(Step::Time);
        }
        steps
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Call(n) => {
                let layer = TokenLimitLayer::new(self.limiter.clone(), self.cost);
                let slow = Slow { inside: Rc::clone(&self.inside), first: true };
                let mut service: Layered = layer.settle(settle as Settler).layer(slow);
                let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(ready, Poll::Ready(Ok(()))));
                self.states[n] = State::Running(Task::new(service.call(n)));
                self.poll(n);
            }
            Step::Poll(n) => self.poll(n),
            Step::Drop(n) => self.states[n] = State::Gone,
            Step::Answer(n, answer) => self.answer(n, answer),
            Step::Ready => self.readiness(true),
            Step::Break => self.readiness(false),
            Step::Time => {
                self.times -= 1;
                advance(STEP).await;
            }
        }
    }

    async fn end(mut self, way: usize) {
        match way {
            0 => self.by_time_alone().await,
            1 => self.with_all_answered().await,
            _ => {}
        }
        if way == 0 {
            self.states.clear();
        } else {
            while self.states.pop().is_some() {}
        }
        self.nothing_is_left().await;
    }
}

impl Play {
    fn poll(&mut self, n: usize) {
        let State::Running(task) = &mut self.states[n] else { return };
        if task.poll().is_ready() {
            assert!(!task.is_woken(), "woken by its own poll");
            self.states[n] = State::Gone;
        }
    }

    fn answer(&self, n: usize, answer: Answer) {
        let mut inside = self.inside.borrow_mut();
        inside.answers[n] = Some(answer);
        if let Some(waker) = inside.asking[n].take() {
            waker.wake();
        }
    }

    fn readiness(&self, ready: bool) {
        let mut inside = self.inside.borrow_mut();
        (inside.ready, inside.broken) = (ready, !ready);
        inside.waiting.drain(..).for_each(Waker::wake);
    }

    fn settle(&mut self) {
        let woken = |state: &State| matches!(state, State::Running(task) if task.is_woken());
        while let Some(n) = self.states.iter().position(woken) {
            self.poll(n);
        }
    }

    fn running(&self) -> usize {
        self.states.iter().filter(|state| matches!(state, State::Running(_))).count()
    }

    async fn by_time_alone(&mut self) {
        self.settle();
        for _ in 0..ALL_STEPS {
            advance(STEP).await;
            self.settle();
        }
        assert_eq!(self.limiter.status().waiting, 0, "they wait for longer than they may");
    }

    async fn with_all_answered(&mut self) {
        if !self.inside.borrow().broken {
            self.readiness(true);
        }
        (0..CALLS).for_each(|n| self.answer(n, Answer::Kept));
        for _ in 0..ALL_STEPS {
            self.settle();
            advance(STEP).await;
        }
        assert_eq!(self.running(), 0, "they wait with nothing in their way");
    }

    async fn nothing_is_left(&mut self) {
        let status = self.limiter.status();
        assert_eq!((status.waiting, status.budgets[0].used), (0, 0));
        assert!(status.budgets.iter().all(|budget| budget.waiting == 0));
        advance(3 * STEP).await;
        assert_eq!(self.limiter.status().budgets[1].used, 0);
        let inside = self.inside.borrow();
        assert_eq!(inside.under_way, [false; CALLS]);
        // What was paid and never sent was given back.
        assert_eq!(self.limiter.status().endpoints[0].calls, inside.calls as u64);
    }
}

#[test]
fn calls_dropped_while_they_wait_while_the_service_gets_ready_and_under_way() {
    let orders = explore::<Play>(6);
    assert!(orders > 1_000, "{orders} orders");
}
