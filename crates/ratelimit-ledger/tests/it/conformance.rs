//! What every ledger must hold to: one suite, all stores, at chosen times.

use crate::support::server::RedisServer;
use ratelimit_ledger::{
    Answer, Ask, CountLevel, Counted, Exchange, HeldUnits, Ledger, LedgerError, MemoryLedger,
    RedisLedger, Reply, SlotLevel, SqliteLedger,
};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;
const START: u64 = 1_795_000_000 * SECOND;
const WINDOW: u64 = 2 * SECOND;
const TRANSIT: u64 = 300 * MS;
const LIFE: u64 = 400 * MS;
const LIMIT: u64 = 100;
/// More than the rounding costs.
const ROUNDED: u64 = 32 * MS;

/// A ledger whose clock a test sets.
trait Clocked: Ledger + Clone {
    fn at_time(&self, micros: u64) -> Self;
}

impl Clocked for MemoryLedger {
    fn at_time(&self, micros: u64) -> Self {
        self.clone().at(micros)
    }
}

impl Clocked for SqliteLedger {
    fn at_time(&self, micros: u64) -> Self {
        self.clone().at(micros)
    }
}

impl Clocked for RedisLedger {
    fn at_time(&self, micros: u64) -> Self {
        self.clone().at(micros)
    }
}

/// One member, played by hand.
struct Member {
    name: &'static str,
    seq: u64,
}

fn member(name: &'static str) -> Member {
    Member { name, seq: 0 }
}

fn slots(want: u64) -> Ask {
    Ask {
        budget: "burst".into(),
        limit: LIMIT,
        want,
        first: 1,
        held: 0,
        life: LIFE,
        ahead: 250 * MS,
        even: false,
        quiet: 0,
        held_units: HeldUnits::Slots {
            window: WINDOW,
            transit: TRANSIT,
            counting: vec![],
            level: None,
        },
    }
}

/// With `units` that may count for `ends_in`.
fn counting(want: u64, units: u64, ends_in: u64) -> Ask {
    let counting = vec![Counted { dated: 0, ends_in, units }];
    let held_units = HeldUnits::Slots { window: WINDOW, transit: TRANSIT, counting, level: None };
    Ask { held_units, ..slots(want) }
}

fn count(want: u64, spent: u64, held: u64) -> Ask {
    let held_units = HeldUnits::Counts {
        period: "2026-11-25".into(),
        ends_in: 3_600 * SECOND,
        spent,
        settled: spent,
        dead_after: 3 * SECOND,
        returned: false,
        level: None,
    };
    Ask { budget: "day".into(), limit: 1_000, held, held_units, ..slots(want) }
}

impl Member {
    async fn say(&mut self, ledger: &impl Clocked, now: u64, ask: Ask) -> Answer {
        self.try_say(ledger, now, ask).await.unwrap().answers.remove(0)
    }

    async fn try_say(
        &mut self,
        ledger: &impl Clocked,
        now: u64,
        ask: Ask,
    ) -> Result<Reply, LedgerError> {
        self.seq += 1;
        let exchange = Exchange {
            member: self.name.into(),
            seq: self.seq,
            nonce: "nonce".into(),
            asks: vec![ask],
        };
        ledger.at_time(START + now).exchange(&exchange).await
    }
}

fn units(answer: &Answer) -> u64 {
    answer.slots.iter().map(|slot| slot.units).sum()
}

async fn no_more_than_the_limit_counts_at_once(ledger: &impl Clocked) {
    let (mut a, mut b) = (member("a"), member("b"));
    let first = a.say(ledger, 0, slots(70)).await;
    assert_eq!((units(&first), first.used), (70, 70));
    assert_eq!(first.slots[0].from_in, 0);
    assert_eq!(first.slots[0].until_in, LIFE);
    let second = b.say(ledger, 10 * MS, slots(70)).await;
    assert_eq!(units(&second), 30);
    assert!(second.retry_in.is_some());
    // As long as they may count, there is no more.
    let late = LIFE + TRANSIT + WINDOW - 300 * MS;
    assert_eq!(units(&member("c").say(ledger, late, slots(10)).await), 0);
}

async fn what_is_stated_takes_the_place_of_what_was_granted(ledger: &impl Clocked) {
    let mut a = member("a");
    assert_eq!(units(&a.say(ledger, 0, slots(100)).await), 100);
    // Forty were sent and answered; the rest is given back.
    let answer = a.say(ledger, 100 * MS, counting(0, 40, WINDOW)).await;
    assert_eq!(answer.used, 40);
    let mut b = member("b");
    let granted = b.say(ledger, 150 * MS, slots(100)).await;
    assert_eq!(units(&granted), 60);
    // One window later the forty are free again.
    let at = 100 * MS + WINDOW + ROUNDED;
    assert_eq!(units(&a.say(ledger, at, slots(100)).await), 40);
}

async fn a_lost_answer_costs_nothing(ledger: &impl Clocked) {
    let mut a = member("a");
    assert_eq!(units(&a.say(ledger, 0, slots(100)).await), 100);
    // It never came: the member knows of nothing.
    assert_eq!(units(&a.say(ledger, 600 * MS, slots(100)).await), 100);
}

async fn an_exchange_that_comes_late_is_refused(ledger: &impl Clocked) {
    let mut a = member("a");
    a.say(ledger, 0, slots(1)).await;
    a.say(ledger, MS, slots(1)).await;
    a.seq = 0;
    let late = a.try_say(ledger, 2 * MS, slots(50)).await.unwrap_err();
    assert!(matches!(late, LedgerError::Stale) && late.is_transient());
}

async fn slots_of_the_dead_run_out_by_themselves(ledger: &impl Clocked) {
    assert_eq!(units(&member("dead").say(ledger, 0, slots(100)).await), 100);
    let over = LIFE + TRANSIT + WINDOW;
    let mut b = member("b");
    assert_eq!(units(&b.say(ledger, over - 260 * MS, slots(100)).await), 0);
    assert_eq!(units(&b.say(ledger, over + ROUNDED, slots(100)).await), 100);
}

async fn slots_are_dated_ahead_to_the_moment_at_which_others_end(ledger: &impl Clocked) {
    let (mut a, mut b) = (member("a"), member("b"));
    a.say(ledger, 0, counting(0, 100, WINDOW)).await;
    let at = WINDOW - 100 * MS;
    let answer = b.say(ledger, at, slots(30)).await;
    assert_eq!(units(&answer), 30);
    let slot = answer.slots[0];
    assert!((100 * MS..100 * MS + ROUNDED).contains(&slot.from_in), "{slot:?}");
    assert_eq!(slot.until_in - slot.from_in, LIFE);
    // They are taken: of the hundred, half is the share of another that wants.
    assert_eq!(units(&member("c").say(ledger, at, slots(100)).await), 50);
    // Stated as dated they stay where they are; the hundred still count till then.
    let dated = START + at + slot.from_in;
    let ends_in = slot.until_in + TRANSIT + WINDOW - 10 * MS;
    let held = vec![Counted { dated, ends_in, units: 30 }];
    let held = HeldUnits::Slots { window: WINDOW, transit: TRANSIT, counting: held, level: None };
    let ask = Ask { held: 30, held_units: held, ..slots(0) };
    assert_eq!(b.say(ledger, at + 10 * MS, ask).await.used, 100 + 30 + 50);
}

async fn slots_are_spread_over_the_window_where_that_is_asked_for(ledger: &impl Clocked) {
    let mut a = member("a");
    let even = |want| Ask { even: true, ..slots(want) };
    let answer = a.say(ledger, 0, even(100)).await;
    // A twentieth at once; then at four thirds of the pace, up to the horizon.
    let starts: Vec<_> = answer.slots.iter().map(|slot| (slot.from_in, slot.units)).collect();
    assert_eq!(starts, [(0, 5), (75 * MS, 5), (150 * MS, 5), (225 * MS, 5)]);
    assert_eq!(answer.retry_in, Some(250 * MS / 4));
    // For another member too: the window is one.
    let answer = member("b").say(ledger, 100 * MS, even(100)).await;
    assert_eq!(answer.slots[0].from_in, 200 * MS);
}

async fn a_heavy_call_gets_its_units_together(ledger: &impl Clocked) {
    let (mut a, mut b) = (member("a"), member("b"));
    let two = vec![
        Counted { dated: 0, ends_in: SECOND, units: 50 },
        Counted { dated: 0, ends_in: 2 * SECOND, units: 50 },
    ];
    let two = HeldUnits::Slots { window: WINDOW, transit: TRANSIT, counting: two, level: None };
    a.say(ledger, 0, Ask { held_units: two, ..slots(0) }).await;
    let answer = b.say(ledger, 0, Ask { first: 80, ..slots(80) }).await;
    assert_eq!(answer.slots.len(), 1, "{answer:?}");
    assert_eq!(units(&answer), 80);
    assert!((2 * SECOND..2 * SECOND + ROUNDED).contains(&answer.slots[0].from_in));
}

async fn nobody_takes_more_than_a_fair_share_from_others_that_want(ledger: &impl Clocked) {
    let names = ["a", "b", "c", "d"];
    let mut members = names.map(member);
    // All are known to want; nothing is free yet.
    let mut full = member("full");
    full.say(ledger, 0, counting(0, 100, WINDOW)).await;
    for member in &mut members {
        let early = WINDOW - 300 * MS;
        assert_eq!(units(&member.say(ledger, early, slots(100)).await), 0);
    }
    let mut got = Vec::new();
    for member in &mut members {
        got.push(units(&member.say(ledger, WINDOW + ROUNDED, slots(100)).await));
    }
    assert_eq!(got.iter().sum::<u64>(), 100);
    assert!(got.iter().all(|&units| (20..=30).contains(&units)), "{got:?}");
}

async fn others_spending_is_counted_when_the_server_tells_of_it(ledger: &impl Clocked) {
    let mut a = member("a");
    let level = Some(SlotLevel { counted: 60, age: 10 * MS, late_at: 0 });
    let counting = vec![Counted { dated: 0, ends_in: WINDOW, units: 20 }];
    let held_units = HeldUnits::Slots { window: WINDOW, transit: TRANSIT, counting, level };
    let answer = a.say(ledger, SECOND, Ask { held_units, ..slots(0) }).await;
    assert_eq!((answer.foreign, answer.used), (40, 60));
    // Told again, it is known.
    let held_units = HeldUnits::Slots {
        window: WINDOW,
        transit: TRANSIT,
        counting: vec![Counted { dated: 0, ends_in: WINDOW - MS, units: 20 }],
        level: Some(SlotLevel { counted: 60, age: 11 * MS, late_at: 0 }),
    };
    let answer = a.say(ledger, SECOND + MS, Ask { held_units, ..slots(0) }).await;
    assert_eq!((answer.foreign, answer.used), (0, 60));
}

async fn a_count_that_comes_too_late_is_not_compared(ledger: &impl Clocked) {
    let mut a = member("a");
    for (at, foreign) in [(SECOND, 60), (4 * SECOND, 0), (4 * SECOND + 1, 60)] {
        let late_at = START + if foreign > 0 { at + 1 } else { at };
        let level = Some(SlotLevel { counted: 60, age: 10 * MS, late_at });
        let held_units =
            HeldUnits::Slots { window: WINDOW, transit: TRANSIT, counting: vec![], level };
        let answer = a.say(ledger, at, Ask { held_units, ..slots(0) }).await;
        assert_eq!(answer.foreign, foreign, "at {at}");
    }
}

async fn a_clock_that_is_set_back_frees_nothing(ledger: &impl Clocked) {
    let mut a = member("a");
    assert_eq!(units(&a.say(ledger, 10 * SECOND, slots(100)).await), 100);
    let mut b = member("b");
    let reply = b.try_say(ledger, 0, slots(100)).await.unwrap();
    assert_eq!(reply.now, START + 10 * SECOND);
    assert_eq!(units(&reply.answers[0]), 0);
}

async fn one_name_with_two_windows_is_refused(ledger: &impl Clocked) {
    member("a").say(ledger, 0, slots(1)).await;
    let other = HeldUnits::Slots { window: SECOND, transit: 0, counting: vec![], level: None };
    let ask = Ask { held_units: other, ..slots(1) };
    let mut b = member("b");
    match b.try_say(ledger, MS, ask.clone()).await.unwrap_err() {
        LedgerError::Mismatch { budget } => assert_eq!(budget, "burst"),
        error => panic!("{error}"),
    }
    // When nothing counts any more, nothing speaks against it.
    assert_eq!(units(&b.say(ledger, 10 * SECOND, ask).await), 1);
}

async fn a_day_is_counted_whoever_spends_it(ledger: &impl Clocked) {
    let (mut a, mut b) = (member("a"), member("b"));
    assert_eq!(a.say(ledger, 0, count(600, 0, 0)).await.granted, 600);
    assert_eq!(b.say(ledger, MS, count(600, 0, 0)).await.granted, 400);
    // A has spent 100 and gives 400 back.
    let answer = a.say(ledger, 2 * MS, count(0, 100, 100)).await;
    assert_eq!((answer.used, answer.held), (600, 500));
    assert_eq!(b.say(ledger, 3 * MS, count(600, 300, 100)).await.granted, 400);
    // A new day begins anew; who has not seen it yet is told so.
    let next = |mut ask: Ask| {
        if let HeldUnits::Counts { period, .. } = &mut ask.held_units {
            *period = "2026-11-26".into();
        }
        ask
    };
    assert_eq!(a.say(ledger, SECOND, next(count(50, 0, 0))).await.granted, 50);
    let behind = b.say(ledger, SECOND, count(50, 700, 0)).await;
    assert!(behind.revoked && behind.granted == 0);
}

async fn what_a_dead_member_held_of_a_day_counts_as_spent(ledger: &impl Clocked) {
    assert_eq!(member("dead").say(ledger, 0, count(600, 0, 0)).await.granted, 600);
    let mut b = member("b");
    assert_eq!(b.say(ledger, 60 * SECOND, count(1_000, 0, 0)).await.granted, 400);
    // The server has counted 500 of all, after the death: 100 never went out.
    let mut ask = count(1_000, 390, 10);
    if let HeldUnits::Counts { level, .. } = &mut ask.held_units {
        *level = Some(CountLevel { counted: 500, since: START + 61 * SECOND, ours: 0 });
    }
    let answer = b.say(ledger, 62 * SECOND, ask).await;
    // B's own 400 may all be later than that count.
    assert_eq!((answer.granted, answer.used), (100, 1_000));
}

async fn what_a_dead_member_held_of_a_day_goes_back_if_one_says_so(ledger: &impl Clocked) {
    let returned = |mut ask: Ask| {
        if let HeldUnits::Counts { returned, .. } = &mut ask.held_units {
            *returned = true;
        }
        ask
    };
    let mut dead = member("dead");
    dead.say(ledger, 0, returned(count(600, 0, 0))).await;
    dead.say(ledger, MS, returned(count(0, 50, 550))).await;
    let mut b = member("b");
    let early = b.say(ledger, 3 * SECOND, returned(count(1_000, 0, 0))).await;
    assert_eq!(early.granted, 400, "it may live yet");
    let late = b.say(ledger, 5 * SECOND, returned(count(1_000, 0, 400))).await;
    assert_eq!(late.granted, 550);
    // Back from the dead, it has nothing left.
    let back = dead.say(ledger, 6 * SECOND, returned(count(0, 50, 550))).await;
    assert!(back.revoked);
    assert_eq!(back.used, 1_000);
}

async fn several_budgets_are_answered_in_one_step(ledger: &impl Clocked) {
    let asks = vec![slots(5), count(7, 0, 0)];
    let exchange = Exchange { member: "a".into(), seq: 1, nonce: "n".into(), asks };
    let reply = ledger.at_time(START).exchange(&exchange).await.unwrap();
    assert_eq!((units(&reply.answers[0]), reply.answers[1].granted), (5, 7));
}

/// Runs every case on a ledger of its own.
macro_rules! suite {
    ($new:expr, $($case:ident),+ $(,)?) => {
        $({
            let ledger = $new;
            eprintln!("  {}", stringify!($case));
            $case(&ledger).await;
        })+
    };
}

macro_rules! all {
    ($new:expr) => {
        suite!(
            $new,
            no_more_than_the_limit_counts_at_once,
            what_is_stated_takes_the_place_of_what_was_granted,
            a_lost_answer_costs_nothing,
            an_exchange_that_comes_late_is_refused,
            slots_of_the_dead_run_out_by_themselves,
            slots_are_dated_ahead_to_the_moment_at_which_others_end,
            slots_are_spread_over_the_window_where_that_is_asked_for,
            a_heavy_call_gets_its_units_together,
            nobody_takes_more_than_a_fair_share_from_others_that_want,
            others_spending_is_counted_when_the_server_tells_of_it,
            a_count_that_comes_too_late_is_not_compared,
            a_clock_that_is_set_back_frees_nothing,
            one_name_with_two_windows_is_refused,
            a_day_is_counted_whoever_spends_it,
            what_a_dead_member_held_of_a_day_counts_as_spent,
            what_a_dead_member_held_of_a_day_goes_back_if_one_says_so,
            several_budgets_are_answered_in_one_step,
        )
    };
}

#[tokio::test]
async fn memory_conforms() {
    all!(MemoryLedger::new());
}

#[tokio::test]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut case = 0;
    all!({
        case += 1;
        SqliteLedger::open(&path, &format!("case{case}")).await.unwrap()
    });
}

#[tokio::test]
async fn redis_conforms() {
    let Some(server) = RedisServer::start("the suite on Redis") else { return };
    let mut case = 0;
    all!({
        case += 1;
        RedisLedger::new(&server.url(), &format!("case{case}")).unwrap()
    });
}
