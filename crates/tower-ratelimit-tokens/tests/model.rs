//! The limiter against a brute-force log of everything that was granted.
//!
//! After each step, for random budgets, keys, costs, priorities, drops and times:
//! no window of any budget holds more than its limit; the first that waits does
//! not fit; and it could not have gone earlier without those who passed it.
//!
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` make a longer run of it.

mod model_support;

use std::{task::Poll, time::Duration};

use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tokio_test::task::{self, Spawn};
use tower_ratelimit_tokens::{
    Acquire, Budget, BudgetId, Charge, Key, Limiter, Priority, Refused, Settle, Terms, Ticket,
};

use model_support::{Entry, Kind, Log, Rule, Slack};

/// How much longer a call of one level less has to have waited, in milliseconds.
const LEVEL: u64 = 200;

#[derive(Clone, Debug)]
enum Step {
    Come {
        amounts: [u32; 4],
        key: u64,
        priority: u8,
    },
    Leave(usize),
    /// The request of a ticket goes out.
    Send(usize),
    /// It is answered, or refunded.
    Answer(usize, bool),
    /// A ticket is dropped, sent or not.
    Drop(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amounts =
        prop::array::uniform4(prop_oneof![2 => Just(0_u32), 3 => 1..3_u32, 1 => 3..7_u32]);
    let step = prop_oneof![
        6 => (amounts, 0..3_u64, 0..11_u8)
            .prop_map(|(amounts, key, priority)| Step::Come { amounts, key, priority }),
        1 => any::<usize>().prop_map(Step::Leave),
        5 => any::<usize>().prop_map(Step::Send),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(at, keep)| Step::Answer(at, keep)),
        2 => any::<usize>().prop_map(Step::Drop),
        4 => (0..120_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let kind = prop_oneof![
        3 => (20..300_u64, prop::option::of(1..60_u64))
            .prop_map(|(window, transit)| Kind::Rolling { window, transit }),
        2 => (20..300_u64).prop_map(|window| Kind::Fixed { window }),
        2 => (1..5_u64, 5..100_u64).prop_map(|(refill, period)| Kind::Bucket { refill, period }),
        1 => Just(Kind::Concurrency),
    ];
    let rule = (kind, 1..9_u64, any::<bool>()).prop_map(|(kind, limit, keyed)| Rule {
        kind,
        limit,
        keyed,
    });
    prop::collection::vec(rule, 1..5)
}

fn budget(rule: &Rule) -> Budget {
    let ms = Duration::from_millis;
    match rule.kind {
        Kind::Rolling { window, transit: None } => Budget::rolling(rule.limit, ms(window)),
        Kind::Rolling { window, transit: Some(transit) } => {
            Budget::rolling(rule.limit, ms(window)).freed_by_answer(ms(transit))
        }
        // Without a pace after a reset, so that the model need not know of it.
        Kind::Fixed { window } => Budget::fixed(rule.limit, ms(window)),
        Kind::Bucket { refill, period } => Budget::bucket(rule.limit, refill, ms(period)),
        Kind::Concurrency => Budget::concurrency(rule.limit),
    }
}

/// One that waits.
struct Waiter {
    entry: Entry,
    order: (i64, usize),
    task: Spawn<Acquire>,
}

struct Story {
    limiter: Limiter,
    ids: Vec<BudgetId>,
    scope: tower_ratelimit_tokens::ScopeId,
    log: Log,
    waiting: Vec<Waiter>,
    tickets: Vec<(usize, Ticket)>,
    began: Instant,
    came: usize,
}

impl Story {
    fn new(rules: Vec<Rule>) -> Self {
        let mut limits = Limiter::builder();
        let scope = limits.scope("payer");
        let name = |(n, rule): (usize, &Rule)| {
            let budget = budget(rule);
            let budget = if rule.keyed { budget.per(scope) } else { budget };
            limits.budget(&format!("b{n}"), budget)
        };
        let ids = rules.iter().enumerate().map(name).collect();
        let limiter = limits
            .level_every(Duration::from_millis(LEVEL))
            .max_wait(Duration::from_secs(86_400))
            .after_gate(Duration::ZERO, Duration::ZERO)
            .build()
            .unwrap();
        let (log, began) = (Log::new(rules), Instant::now());
        Self { limiter, ids, scope, log, waiting: vec![], tickets: vec![], began, came: 0 }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn come(&mut self, amounts: [u32; 4], key: u64, priority: u8) -> Result<(), TestCaseError> {
        let mut charge = Charge::new().key(self.scope, Key::from(key));
        let mut entry = Entry::new(key);
        for (n, id) in self.ids.iter().enumerate() {
            charge = charge.with(*id, amounts[n]);
            entry.amounts[n] = u64::from(amounts[n]);
        }
        let terms = Terms::from(Priority::new(priority));
        let mut task = task::spawn(self.limiter.acquire(charge, terms));
        let rank = self.now() as i64 - (u64::from(priority) * LEVEL * 1_000_000) as i64;
        self.came += 1;
        match task.poll() {
            Poll::Ready(Ok(ticket)) => {
                let first = self.first();
                let before = first.map(|first| {
                    self.log.soonest(self.now(), &self.waiting[first].entry, Slack::Late)
                });
                let at = self.log.grant(self.now(), entry);
                self.tickets.push((at, ticket));
                if let (Some(first), Some(before)) = (first, before) {
                    // It came with a lesser rank, or left the first its room.
                    if self.waiting[first].order < (rank, self.came) {
                        self.was_not_delayed(first, before)?;
                    }
                }
            }
            Poll::Ready(Err(refused)) => {
                prop_assert!(!self.log.ever_fits(&entry), "{refused}");
            }
            Poll::Pending => {
                self.waiting.push(Waiter { entry, order: (rank, self.came), task });
            }
        }
        Ok(())
    }

    fn first(&self) -> Option<usize> {
        (0..self.waiting.len()).min_by_key(|&n| self.waiting[n].order)
    }

    fn was_not_delayed(&self, first: usize, before: u64) -> Result<(), TestCaseError> {
        let after = self.log.soonest(self.now(), &self.waiting[first].entry, Slack::None);
        prop_assert!(after <= before, "the first was delayed from {before} to {after}");
        Ok(())
    }

    /// Polls all who were woken, takes down what was granted, and looks at the first.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        let now = self.now();
        // Whoever is first when all is done was never passed to its harm.
        let mut granted = vec![];
        while let Some(at) = self.waiting.iter().position(|waiter| waiter.task.is_woken()) {
            if let Poll::Ready(result) = self.waiting[at].task.poll() {
                let waiter = self.waiting.remove(at);
                granted.push((waiter, result));
            }
        }
        let first = self.first();
        let last_in_order = first.map_or((i64::MAX, 0), |first| self.waiting[first].order);
        granted.sort_by_key(|(waiter, _)| waiter.order);
        let (in_order, passed): (Vec<_>, Vec<_>) =
            granted.into_iter().partition(|(waiter, _)| waiter.order < last_in_order);
        self.take_down(now, in_order)?;
        let before =
            first.map(|first| self.log.soonest(now, &self.waiting[first].entry, Slack::Late));
        let anybody_passed = !passed.is_empty();
        self.take_down(now, passed)?;
        self.log.check(now)?;
        if let (Some(first), Some(before), true) = (first, before, anybody_passed) {
            self.was_not_delayed(first, before)?;
        }
        if let Some(first) = first {
            let entry = &self.waiting[first].entry;
            prop_assert!(
                !self.log.fits(now, entry, Slack::Late),
                "the first fits and waits: {entry:?} at {now}, {:?}",
                self.limiter.status().budgets,
            );
        }
        Ok(())
    }

    fn take_down(
        &mut self,
        now: u64,
        granted: Vec<(Waiter, Result<Ticket, Refused>)>,
    ) -> Result<(), TestCaseError> {
        for (waiter, result) in granted {
            let ticket = result.map_err(|refused| TestCaseError::fail(refused.to_string()))?;
            let at = self.log.grant(now, waiter.entry);
            self.tickets.push((at, ticket));
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Come { amounts, key, priority } => self.come(amounts, key, priority)?,
            Step::Leave(at) if !self.waiting.is_empty() => {
                let at = at % self.waiting.len();
                self.waiting.remove(at);
            }
            Step::Send(at) if !self.tickets.is_empty() => {
                let at = at % self.tickets.len();
                let now = self.now();
                let (entry, ticket) = &mut self.tickets[at];
                if !ticket.is_sent() {
                    ticket.sent(Instant::now());
                    self.log.sent(*entry, now);
                }
            }
            Step::Answer(at, keep) if !self.tickets.is_empty() => {
                let at = at % self.tickets.len();
                if self.tickets[at].1.is_sent() {
                    let (entry, ticket) = self.tickets.swap_remove(at);
                    let settle = if keep { Settle::Keep } else { Settle::Refund };
                    ticket.answered(Instant::now(), settle);
                    self.log.answered(entry, self.now(), keep);
                }
            }
            Step::Drop(at) if !self.tickets.is_empty() => {
                let at = at % self.tickets.len();
                let (entry, ticket) = self.tickets.swap_remove(at);
                if ticket.is_sent() {
                    self.log.lost(entry, self.now());
                } else {
                    self.log.unsent(entry);
                }
                drop(ticket);
            }
            Step::Wait(ms) => {
                // In steps, as the log supposes that all is granted when it is due.
                for _ in 0..ms {
                    advance(Duration::from_millis(1)).await;
                    self.settle()?;
                }
            }
            Step::Leave(_) | Step::Send(_) | Step::Answer(..) | Step::Drop(_) => {}
        }
        self.settle()
    }
}

fn run(rules: Vec<Rule>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut story = Story::new(rules);
        for step in steps {
            story.step(step).await?;
        }
        // With everything given back, and time, nobody is left behind.
        for (_, ticket) in story.tickets.drain(..) {
            drop(ticket);
        }
        for _ in 0..400 {
            while let Some(at) = story.waiting.iter().position(|w| w.task.is_woken()) {
                if story.waiting[at].task.poll().is_ready() {
                    story.waiting.remove(at);
                }
            }
            if story.waiting.is_empty() {
                break;
            }
            advance(Duration::from_millis(50)).await;
        }
        prop_assert!(story.waiting.is_empty(), "{} were forgotten", story.waiting.len());
        prop_assert_eq!(story.limiter.status().waiting, 0);
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(prop::test_runner::FileFailurePersistence::Direct(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model.proptest-regressions"),
        ))),
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000),
        ..ProptestConfig::default()
    })]

    #[test]
    fn never_over_never_idle_and_the_first_is_never_delayed(rules in rules(), steps in steps()) {
        run(rules, steps)?;
    }
}
