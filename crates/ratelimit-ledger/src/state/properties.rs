//! Members that keep to their dates, over a network that delays, loses and reorders,
//! with kills and a memory that is lost: no window and no day ever holds too much.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use fastrand::Rng;

use super::State;
use crate::{Ask, CountLevel, Counted, Exchange, HeldUnits, Reply};

const MS: u64 = 1_000;
const WINDOW: u64 = 2_000 * MS;
const TRANSIT: u64 = 300 * MS;
const LIFE: u64 = 400 * MS;
const COUNT_LIFE: u64 = 1_500 * MS;
const TIMEOUT: u64 = 600 * MS;
const LIMIT: u64 = 40;
const DAY: u64 = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Exchange(usize),
    Arrives(usize),
    Answers(usize),
    Send(usize),
    Kill(usize),
    Forget,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    from: u64,
    until: u64,
    dated: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u64,
    answered: u64,
}

#[derive(Debug, Default)]
struct Member {
    name: u64,
    seq: u64,
    units: Vec<Unit>,
    sent: Vec<Sent>,
    granted: u64,
    spent: u64,
    count_until: u64,
    heard: Option<(u64, u64)>,
    /// What the server counted, when that was asked, and what of ours was in it.
    level: Option<(u64, u64, u64)>,
}

struct World {
    rng: Rng,
    state: State,
    members: Vec<Member>,
    names: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    /// Exchanges and replies on their way.
    asked: HashMap<usize, (usize, u64, Exchange)>,
    replies: HashMap<usize, (usize, u64, u64, u64, Reply)>,
    next: usize,
    /// When the server counted what.
    counted: Vec<u64>,
    /// Others that spend the day, if any.
    levels: bool,
    quiet: u64,
}

impl World {
    fn new(seed: u64, members: usize, levels: bool) -> Self {
        let mut world = Self {
            rng: Rng::with_seed(seed),
            state: State::new(0, "a", false),
            members: Vec::new(),
            names: 0,
            events: BinaryHeap::new(),
            asked: HashMap::new(),
            replies: HashMap::new(),
            next: 0,
            counted: Vec::new(),
            levels,
            quiet: WINDOW + TRANSIT + LIFE,
        };
        for at in 0..members {
            let member = world.born();
            world.members.push(member);
            world.push(at as u64 * 7 * MS + 1_000_000, Event::Exchange(at));
            world.push(1_000_000, Event::Send(at));
        }
        world
    }

    fn born(&mut self) -> Member {
        self.names += 1;
        Member { name: self.names, ..Member::default() }
    }

    fn push(&mut self, at: u64, event: Event) {
        self.events.push(Reverse((at, event)));
    }

    fn run(&mut self, until: u64) {
        while let Some(Reverse((now, event))) = self.events.pop() {
            if now > until {
                return;
            }
            match event {
                Event::Exchange(who) => self.exchange(now, who),
                Event::Arrives(key) => self.arrives(now, key),
                Event::Answers(key) => self.answers(now, key),
                Event::Send(who) => self.send(now, who),
                Event::Kill(who) => self.members[who] = self.born(),
                Event::Forget => self.state = State::new(now, "b", true),
            }
        }
    }

    fn exchange(&mut self, now: u64, who: usize) {
        let want = self.rng.u64(0..12);
        let first = self.rng.u64(1..4);
        let me = &mut self.members[who];
        me.seq += 1;
        me.units.retain(|unit| unit.until > now);
        if now >= me.count_until {
            me.granted = me.spent;
        }
        let mut counting: Vec<_> = me
            .units
            .iter()
            .map(|unit| Counted {
                dated: if unit.from > now { unit.dated } else { 0 },
                ends_in: unit.until + TRANSIT + WINDOW - now,
                units: 1,
            })
            .collect();
        me.sent.retain(|sent| sent.at + TRANSIT + WINDOW > now);
        counting.extend(me.sent.iter().filter_map(|sent| {
            let answered = if sent.answered <= now { sent.answered } else { u64::MAX };
            let ends = answered.min(sent.at + TRANSIT) + WINDOW;
            (ends > now).then(|| Counted { dated: 0, ends_in: ends - now, units: 1 })
        }));
        let under_way = me.sent.iter().filter(|sent| sent.answered > now).count() as u64;
        let level = me.level.zip(me.heard).filter(|_| self.levels);
        let level = level.map(|((counted, sent_at, ours), (at, store))| CountLevel {
            counted,
            since: (store + sent_at).saturating_sub(at),
            ours,
        });
        let ask = |budget: &str, limit, held, held_units| Ask {
            budget: budget.to_owned(),
            limit,
            want,
            first,
            held,
            life: LIFE,
            ahead: 250 * MS,
            even: who.is_multiple_of(2),
            quiet: self.quiet,
            held_units,
        };
        let slots = HeldUnits::Slots { window: WINDOW, transit: TRANSIT, counting, level: None };
        let counts = HeldUnits::Counts {
            period: "2026-11-25".to_owned(),
            ends_in: 1,
            spent: me.spent,
            settled: me.spent - under_way,
            dead_after: COUNT_LIFE,
            returned: false,
            level,
        };
        let asks = vec![
            ask("burst", LIMIT, me.units.len() as u64, slots),
            ask("day", DAY, me.granted - me.spent, counts),
        ];
        let member = me.name.to_string();
        let exchange = Exchange { member, seq: me.seq, nonce: "n".into(), asks };
        self.next += 1;
        self.asked.insert(self.next, (who, now, exchange));
        let wait = if self.rng.u8(..) < 20 {
            self.rng.u64(0..3_000 * MS) // a store that stood still
        } else {
            self.rng.u64(0..40 * MS)
        };
        if self.rng.u8(..) > 8 {
            self.push(now + wait, Event::Arrives(self.next));
        }
        let pause = self.rng.u64(20 * MS..150 * MS).max(if wait > TIMEOUT { TIMEOUT } else { 0 });
        self.push(now + pause.max(wait.min(TIMEOUT)), Event::Exchange(who));
    }

    fn arrives(&mut self, now: u64, key: usize) {
        let Some((who, sent_at, exchange)) = self.asked.remove(&key) else { return };
        let Ok(reply) = self.state.exchange(now, &exchange) else { return };
        if self.rng.u8(..) > 8 {
            let name = exchange.member.parse().unwrap();
            self.replies.insert(key, (who, sent_at, name, exchange.seq, reply));
            let wait = self.rng.u64(0..40 * MS);
            self.push(now + wait, Event::Answers(key));
        }
    }

    fn answers(&mut self, now: u64, key: usize) {
        let Some((who, sent_at, name, seq, reply)) = self.replies.remove(&key) else { return };
        let me = &mut self.members[who];
        if me.name != name || me.seq != seq || now > sent_at + TIMEOUT {
            return; // given up, or answered by somebody who is dead
        }
        me.heard = Some((now, reply.now));
        for slot in &reply.answers[0].slots {
            let (from, until) = (now + slot.from_in, sent_at + slot.until_in);
            for _ in 0..slot.units {
                me.units.push(Unit { from, until, dated: reply.now + slot.from_in });
            }
        }
        let day = &reply.answers[1];
        if day.revoked {
            me.granted = me.spent;
        }
        me.granted = me.granted.max(me.spent) + day.granted;
        me.count_until = sent_at + COUNT_LIFE;
    }

    fn send(&mut self, now: u64, who: usize) {
        let arrives = now + self.rng.u64(0..=TRANSIT);
        let answered = arrives + self.rng.u64(0..50 * MS);
        let me = &mut self.members[who];
        let day = me.spent < me.granted && now < me.count_until;
        // The latest of its slots, if it can: the hardest for the ledger.
        let slot = me.units.iter().rposition(|unit| unit.from <= now && now < unit.until);
        if let (Some(at), true) = (slot, day) {
            me.units.remove(at);
            me.sent.push(Sent { at: now, answered });
            me.spent += 1;
            self.counted.push(arrives);
            // Only exact where nothing is under way; later counts are newer.
            let counted = self.counted.iter().filter(|&&at| at <= arrives).count() as u64;
            let under_way = me.sent.iter().filter(|sent| sent.answered > now).count() as u64;
            me.level = Some((counted, now, me.spent - under_way));
        }
        let pause = if self.rng.bool() { 0 } else { self.rng.u64(0..60 * MS) };
        self.push(now + pause.max(1), Event::Send(who));
    }

    fn most_in_a_window(&self) -> usize {
        let mut times = self.counted.clone();
        times.sort_unstable();
        let (mut first, mut most) = (0, 0);
        for (last, &at) in times.iter().enumerate() {
            while times[first] + WINDOW <= at {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most
    }
}

#[test]
fn no_window_holds_too_much_whatever_happens_to_members_and_messages() {
    for seed in 0..cases(40) {
        let mut world = World::new(seed, 1 + seed as usize % 6, seed % 2 == 0);
        for kill in 0..6 {
            let who = world.rng.usize(0..world.members.len());
            world.push((3 + 4 * kill) * 1_000 * MS, Event::Kill(who));
        }
        if seed % 3 == 0 {
            world.push(11_500 * MS, Event::Forget);
        }
        world.run(30_000 * MS);
        let most = world.most_in_a_window();
        assert!(most <= LIMIT as usize, "seed {seed}: {most} in one window");
        assert!(world.counted.len() > 150, "seed {seed}: only {} were sent", world.counted.len());
    }
}

#[test]
fn no_day_holds_too_much_and_little_of_it_is_lost_with_the_dead() {
    for seed in 100..100 + cases(6) {
        let mut world = World::new(seed, 4, true);
        // A wide burst, so that the day is what binds.
        for kill in 0..10 {
            let who = world.rng.usize(0..4);
            world.push((3 + 5 * kill) * 1_000 * MS, Event::Kill(who));
        }
        world.run(400_000 * MS);
        let spent = world.counted.len() as u64;
        assert!(spent <= DAY, "seed {seed}: {spent} in one day");
        assert!(spent > DAY * 95 / 100, "seed {seed}: only {spent} of the day could be spent");
    }
}

#[test]
fn a_store_that_lost_its_memory_waits_for_one_window_and_takes_the_survivors_word() {
    let mut world = World::new(7, 3, false);
    world.run(6_000 * MS);
    let before = world.counted.len();
    world.state = State::new(6_000 * MS, "b", true);
    world.run(6_000 * MS + WINDOW);
    // Only what was leased before can still go.
    assert!(world.counted.len() - before < LIMIT as usize);
    world.run(20_000 * MS);
    assert!(world.counted.len() - before > LIMIT as usize * 3);
    assert!(world.most_in_a_window() <= LIMIT as usize);
}

/// How many worlds: `LEDGER_CASES` multiplies.
fn cases(few: u64) -> u64 {
    few * std::env::var("LEDGER_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}
