//! Pure: the short way of most calls. All of their budgets are shared by all and none
//! is leased, paced or kept in part; the gate is open and nobody waits. What it does is
//! what the long way would do, less what cannot matter.

use super::{Core, Hears, SentId, Wait, admit::rank};
use crate::{Charge, Priority, accounts::At, budget::Sight, error::Refusal, moment::Nanos};

/// How the short way ended.
pub(crate) enum Plain {
    /// The record's name is there if the end is to be told.
    Sent(Option<SentId>),
    /// This budget, the first of those that have none, has no room.
    NoRoom(usize),
    /// It is a call for the long way. Nothing was done.
    Other,
}

impl Core {
    /// Notes which budgets need the long way. A budget that is leased may want more of
    /// its ledger whoever calls.
    pub(super) fn mark_special(&mut self) {
        let some = self.keyed | self.paced | self.keeping | !self.valid;
        self.special = if self.leased == 0 { some } else { u8::MAX };
    }

    /// Whether a call can go the short way, or be refused on it.
    #[inline]
    pub(crate) fn is_plain(&self, now: Nanos, charge: &Charge, priority: Priority) -> bool {
        charge.mask() & self.special == 0
            && self.gate.is_open(now)
            && !self.shed.refuses(priority)
            && self.queue.is_empty()
    }

    /// Admits and sends a call that [`is_plain`](Self::is_plain), as `try_send`.
    #[inline(always)]
    pub(crate) fn try_send_plain(&mut self, now: Nanos, charge: &Charge, hears: Hears) -> Plain {
        for (budget, n) in charge.parts() {
            if !self.accounts[budget].has_room(now, n) {
                return Plain::NoRoom(budget);
            }
        }
        // A trend that wants to be shown what was spent, or has seen nothing yet, and an
        // endpoint that is not this limiter's go the long way.
        if now >= self.wants_look || charge.mask() & self.unspent != 0 {
            return Plain::Other;
        }
        let (seq, tracked) = (self.seq + 1, self.tracks(hears));
        let Some(usage) = self.usage.get_mut(charge.endpoint().0 as usize) else {
            return Plain::Other;
        };
        self.seq = seq;
        usage.calls += 1;
        if !tracked && hears == Hears::Nobody {
            for (budget, n) in charge.parts() {
                self.accounts[budget].spend(now, n, seq);
                usage.spent[budget] += n;
            }
            return Plain::Sent(None);
        }
        let (id, sent) = self.sendings.open(tracked);
        (sent.grant.charge, sent.grant.at) = (*charge, At::default());
        (sent.grant.reserved_at, sent.grant.takings.until) = (now, Nanos::MAX);
        (sent.sent_at, sent.seq, sent.tracked) = (now, seq, tracked);
        for (budget, n) in charge.parts() {
            let (taking, mark) = self.accounts[budget].pay(now, n, seq, tracked);
            sent.grant.takings.numbers[budget] = taking;
            sent.marks[budget] = mark;
            usage.spent[budget] += n;
        }
        Plain::Sent(Some(id))
    }

    /// Why a call that [`is_plain`](Self::is_plain) and must not wait is refused, as
    /// `refuse_now`. `first`: the first of its budgets that has no room.
    #[inline(never)]
    pub(crate) fn refuse_plain(&mut self, now: Nanos, charge: &Charge, first: usize) -> Refusal {
        self.refusals.local += 1;
        let mut worst = None;
        for (budget, n) in charge.parts_of(u8::MAX << first) {
            let fit = self.accounts[budget].when(now, n, 0, 0, Sight::Likely);
            let binding = worst.map_or((0, 0), |wait: Wait| rank(wait.fit, Sight::Likely));
            if rank(fit, Sight::Likely) > binding {
                worst = Some(Wait { budget: Some(budget as u8), fit });
            }
        }
        self.refusal_at_once(now, worst)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::Pin,
        task::{Context, Waker},
        time::Duration,
    };

    use jiff::{Timestamp, civil::Time, tz::TimeZone};
    use proptest::prelude::*;
    use tokio::time::{Instant, advance};

    use super::super::{Hears, SentId};
    use crate::{
        Acquire, Budget, Charge, GateReason, Limiter, Observation, Observations, Pace, Priority,
        Refused, Settle, Terms, WallClock,
    };

    #[derive(Debug)]
    struct OneMoment;

    impl WallClock for OneMoment {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }
    }

    /// Ordinary budgets of all kinds, and then what only the long way can do.
    fn limiter() -> (Limiter, [Charge; 7]) {
        let ms = Duration::from_millis;
        let mut limits = Limiter::builder().wall_clock(OneMoment).after_gate(ms(3), ms(40));
        let burst = Budget::rolling(20, ms(200)).freed_by_answer(ms(50));
        let burst = limits.budget("burst", burst);
        let minute = limits.budget("minute", Budget::fixed(50, ms(500)).warn_at(&[0.5]));
        let day = Budget::calendar_day(60, TimeZone::UTC, Time::midnight());
        let day = limits.budget("day", day);
        let bucket = limits.budget("bucket", Budget::bucket(10, 1, ms(5)));
        let places = limits.budget("places", Budget::concurrency(6));
        let kept = limits.budget("kept", Budget::fixed(30, ms(300)).keep(0.5, Priority::HIGH));
        let paced = limits.budget("paced", Budget::fixed(40, ms(400)).pace(Pace::Even));
        let predicted = Budget::fixed(60, ms(600)).pace(Pace::Predictive);
        let predicted = limits.budget("predicted", predicted);
        let charges = [
            Charge::new().with(burst, 1).with(minute, 1).with(day, 3),
            Charge::new().with(burst, 2).with(bucket, 1).with(places, 1),
            Charge::new().with(day, 20),
            Charge::new().with(burst, 1).with(kept, 2),
            Charge::new().with(minute, 1).with(paced, 1),
            Charge::new().with(burst, 1).with(predicted, 2),
            Charge::new().with(minute, 20),
        ];
        (limits.build().unwrap(), charges)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Send(usize, bool, Hears, bool),
        Queue(usize),
        Answer(usize, Settle),
        Lose(usize),
        Told(u64),
        Shut(u64),
        Shed(bool),
        Compare,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let settle = prop_oneof![6 => Just(Settle::Keep), 1 => Just(Settle::Refund)];
        let hears = prop_oneof![Just(Hears::Nobody), Just(Hears::Settler), Just(Hears::Limiter)];
        let step = prop_oneof![
            2 => (0..7_usize).prop_map(Step::Queue),
            8 => (0..40_u64).prop_map(Step::Wait),
            1 => (100..30_000_u64).prop_map(Step::Wait),
            16 => (0..7_usize, any::<bool>(), hears, any::<bool>())
                .prop_map(|(a, b, c, d)| Step::Send(a, b, c, d)),
            12 => (any::<usize>(), settle).prop_map(|(at, settle)| Step::Answer(at, settle)),
            2 => any::<usize>().prop_map(Step::Lose),
            1 => (0..60_u64).prop_map(Step::Told),
            1 => (1..60_u64).prop_map(Step::Shut),
            1 => any::<bool>().prop_map(Step::Shed),
            4 => Just(Step::Compare),
        ];
        prop::collection::vec(step, 1..150)
    }

    type Sent = Result<Option<SentId>, Option<Box<Refused>>>;

    fn send(limiter: &Limiter, charge: &Charge, step: (bool, Hears, bool)) -> Sent {
        let (urgent, hears, waits) = step;
        let terms = Terms::from(if urgent { Priority::HIGH } else { Priority::NORMAL });
        limiter.try_send(charge, &terms, hears, waits)
    }

    async fn compare(steps: Vec<Step>) {
        let ((short, charges), (long, _)) = (limiter(), limiter());
        let (mut under_way, mut waiting) = (Vec::new(), Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        for step in steps {
            match step {
                Step::Wait(ms) => advance(Duration::from_millis(ms)).await,
                Step::Send(which, urgent, hears, waits) => {
                    long.with(Instant::now(), |core, _, _| core.special = u8::MAX);
                    let sent = send(&short, &charges[which], (urgent, hears, waits));
                    match (sent, send(&long, &charges[which], (urgent, hears, waits))) {
                        (Ok(a), Ok(b)) => under_way.extend(a.zip(b)),
                        (a, b) => assert_eq!(a.err(), b.err(), "{which}"),
                    }
                }
                Step::Queue(which) => waiting
                    .push([&short, &long].map(|limiter| {
                        Box::pin(limiter.acquire(charges[which], Priority::NORMAL))
                    })),
                Step::Answer(at, settle) if !under_way.is_empty() => {
                    let (a, b) = under_way.swap_remove(at % under_way.len());
                    short.answered(&a, Instant::now(), Observations::NOTHING, &settle);
                    long.with(Instant::now(), |core, now, effects| {
                        core.answered(now, &b, Observations::NOTHING, &settle, effects);
                    });
                }
                Step::Lose(at) if !under_way.is_empty() => {
                    let (a, b) = under_way.swap_remove(at % under_way.len());
                    short.lost(&a);
                    long.lost(&b);
                }
                Step::Told(used) => [&short, &long].into_iter().for_each(|limiter| {
                    let day = limiter.budget_id("day").unwrap();
                    limiter.observe(&Observation::Level {
                        budget: day,
                        limit: None,
                        remaining: 60 - used,
                        reset: None,
                    });
                }),
                Step::Shut(ms) => [&short, &long].into_iter().for_each(|limiter| {
                    let until = Instant::now() + Duration::from_millis(ms);
                    limiter.close_until(until, GateReason::Manual);
                }),
                Step::Shed(some) => [&short, &long].into_iter().for_each(|limiter| {
                    limiter.shed(if some { Priority::HIGH } else { Priority::LOWEST }, "test");
                }),
                Step::Compare => assert_eq!(short.status(), long.status()),
                Step::Answer(..) | Step::Lose(_) => {}
            }
            // Who comes to its turn is gone at once.
            waiting.retain_mut(|both: &mut [Pin<Box<Acquire>>; 2]| {
                let [a, b] = both.each_mut().map(|one| one.as_mut().poll(&mut cx).is_ready());
                assert_eq!(a, b);
                !a
            });
        }
        assert_eq!(short.status(), long.status());
        for budget in ["minute", "day"].map(|name| short.budget_id(name).unwrap()) {
            assert_eq!(short.forecast(budget), long.forecast(budget));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_short_way_does_what_the_long_way_does(steps in steps()) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(compare(steps));
        }
    }
}
