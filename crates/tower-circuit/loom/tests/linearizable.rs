//! Whatever two threads do at once, what they see and what is left could have
//! come from doing it one after the other in some order.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use loom::thread;
use tower_circuit::{Circuit, Permit, Verdict, Window};

#[derive(Clone, Copy, Debug)]
enum Op {
    Admit,
    /// Ends the thread's call, if it has one.
    End(Verdict),
    Drop,
    Look,
    ForceOpen,
    Reset,
    Probe,
    State,
}
use Op::*;

const FAIL: Op = End(Verdict::Failure);
const SUCCEED: Op = End(Verdict::Success);

/// One thread: what it holds and what it saw.
#[derive(Default)]
struct Actor {
    permit: Option<Permit>,
    seen: Vec<String>,
}

impl Actor {
    fn act(&mut self, circuit: &Circuit, op: Op) {
        let took = |permit: &Permit| if permit.is_trial() { "trial" } else { "call" };
        match op {
            Admit | Probe => {
                let asked = if matches!(op, Admit) { circuit.admit() } else { circuit.probe() };
                self.seen.push(asked.as_ref().map_or("refused", took).into());
                if let Ok(permit) = asked {
                    // One that is still held goes without a word of its own.
                    if let Some(old) = self.permit.replace(permit) {
                        old.record(Verdict::Ignore);
                    }
                }
            }
            End(verdict) => {
                if let Some(permit) = self.permit.take() {
                    permit.record(verdict);
                }
            }
            Drop => drop(self.permit.take()),
            Look => self.seen.push(format!("{}", circuit.look().is_ok())),
            ForceOpen => circuit.force_open(None),
            Reset => circuit.reset(),
            State => self.seen.push(circuit.state().to_string()),
        }
    }
}

/// What is left: enough to tell any two different ends apart.
fn end(circuit: &Circuit) -> String {
    let status = circuit.status();
    format!(
        "{} {:?} {} {} {} {} {} {:?}",
        status.state,
        status.mode,
        status.consecutive_failures,
        status.trials_running,
        status.trial_successes,
        status.transitions,
        status.refused,
        status.window
    )
}

#[derive(Clone, Copy, Debug)]
struct Case {
    consecutive: u32,
    /// One call of each thread begins, and so many fail, before the threads do.
    failures: u32,
    half_open: bool,
    /// The ratio of failures is watched, too.
    ratio: bool,
    /// The first look at the window has opened it to successes that are counted without the lock.
    looked_at: bool,
    one: &'static [Op],
    two: &'static [Op],
}

/// A circuit as both threads find it, and what each of them holds already.
fn prepare(case: Case) -> (Circuit, Actor, Actor) {
    let mut builder = Circuit::builder("loom")
        .consecutive(case.consecutive)
        .half_open(1, 1)
        .open_for(Duration::from_secs(3_600));
    if case.ratio {
        builder = builder.failure_ratio(0.6).window(Window::Calls(5), 2);
    }
    let circuit = builder.build().unwrap();
    if case.looked_at {
        let _ = circuit.state();
    }
    let (mut one, mut two) = (Actor::default(), Actor::default());
    one.permit = circuit.admit().ok();
    two.permit = circuit.admit().ok();
    for _ in 0..case.failures {
        circuit.admit().unwrap().record(Verdict::Failure);
    }
    if case.half_open {
        circuit.force_open(Some(Duration::ZERO));
        let _ = circuit.state();
    }
    (circuit, one, two)
}

fn result(circuit: &Circuit, mut one: Actor, mut two: Actor) -> String {
    let seen = format!("{:?} {:?} ", one.seen, two.seen);
    // What is still held must not speak: the end is looked at first.
    let result = seen + &end(circuit);
    for actor in [&mut one, &mut two] {
        if let Some(permit) = actor.permit.take() {
            permit.record(Verdict::Ignore);
        }
    }
    result
}

/// Every way to put the two scripts one into the other.
fn in_some_order(case: Case) -> BTreeSet<String> {
    let length = case.one.len() + case.two.len();
    let orders = (0_u32..1 << length).filter(|order| order.count_ones() as usize == case.one.len());
    let run = |order: u32| {
        let (circuit, mut one, mut two) = prepare(case);
        let (mut ones, mut twos) = (case.one.iter(), case.two.iter());
        for at in 0..length {
            if order >> at & 1 == 1 {
                one.act(&circuit, *ones.next().unwrap());
            } else {
                two.act(&circuit, *twos.next().unwrap());
            }
        }
        result(&circuit, one, two)
    };
    orders.map(run).collect()
}

fn check(case: Case) {
    let allowed = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let fill = Arc::clone(&allowed);
    // All orders in one execution make a long one.
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    builder.check(move || {
        *fill.lock().unwrap() = in_some_order(case);
    });
    let allowed = Arc::new(std::mem::take(&mut *allowed.lock().unwrap()));
    let reached = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let (known, found) = (Arc::clone(&allowed), Arc::clone(&reached));
    loom::model(move || {
        let (circuit, mut one, mut two) = prepare(case);
        let other = {
            let circuit = circuit.clone();
            thread::spawn(move || {
                case.one.iter().for_each(|op| one.act(&circuit, *op));
                one
            })
        };
        case.two.iter().for_each(|op| two.act(&circuit, *op));
        let one = other.join().unwrap();
        let result = result(&circuit, one, two);
        assert!(known.contains(&result), "{case:?}\n{result}\nnone of {known:#?}");
        found.lock().unwrap().insert(result);
    });
    // The checker went through all orders, not only through one.
    assert_eq!(*reached.lock().unwrap(), *allowed, "{case:?}");
}

fn closed(consecutive: u32, failures: u32, one: &'static [Op], two: &'static [Op]) -> Case {
    Case { consecutive, failures, half_open: false, ratio: false, looked_at: false, one, two }
}

fn half_open(one: &'static [Op], two: &'static [Op]) -> Case {
    Case { consecutive: 1, failures: 0, half_open: true, ratio: false, looked_at: false, one, two }
}

fn with_ratio(one: &'static [Op], two: &'static [Op]) -> Case {
    Case { ratio: true, ..closed(9, 0, one, two) }
}

#[test]
fn failures_of_two_threads_make_one_row() {
    check(closed(2, 0, &[FAIL, Admit], &[FAIL, Admit]));
    check(closed(3, 1, &[FAIL, Look], &[FAIL, State]));
}

#[test]
fn a_success_beside_a_failure_comes_before_or_after_it() {
    check(closed(3, 0, &[SUCCEED, Look], &[FAIL, Admit]));
    check(closed(3, 1, &[SUCCEED, State], &[FAIL, Admit]));
    check(closed(2, 1, &[SUCCEED, Admit], &[FAIL, Admit]));
}

#[test]
fn an_operator_beside_calls() {
    check(closed(2, 1, &[ForceOpen, Reset], &[Admit, FAIL]));
    check(closed(1, 0, &[ForceOpen], &[FAIL, Admit]));
    check(closed(2, 1, &[Reset], &[SUCCEED, Admit, FAIL]));
    check(closed(1, 0, &[FAIL, Reset], &[Admit, FAIL]));
}

#[test]
fn one_place_is_given_to_one_of_two() {
    check(half_open(&[Admit, SUCCEED], &[Admit, SUCCEED]));
    check(half_open(&[Admit, FAIL], &[Admit, SUCCEED]));
    check(half_open(&[Admit, Drop], &[Look, Admit]));
    check(half_open(&[Admit, End(Verdict::Ignore)], &[Admit, Look]));
}

#[test]
fn a_probe_beside_calls() {
    check(closed(1, 0, &[FAIL, Probe], &[FAIL, Admit]));
    check(half_open(&[Probe, SUCCEED], &[Admit, FAIL]));
}

#[test]
fn successes_counted_without_the_lock() {
    check(with_ratio(&[SUCCEED, Admit, SUCCEED], &[SUCCEED, Admit, SUCCEED]));
    check(with_ratio(&[SUCCEED, Admit, SUCCEED], &[FAIL, State]));
    check(with_ratio(&[SUCCEED, Admit, SUCCEED], &[Reset, Admit, SUCCEED]));
    check(with_ratio(&[SUCCEED, Admit, SUCCEED], &[ForceOpen, Reset]));
    check(Case { looked_at: true, ..with_ratio(&[SUCCEED], &[ForceOpen, Reset]) });
    check(Case { looked_at: true, ..with_ratio(&[SUCCEED], &[FAIL, SUCCEED, Reset]) });
}
