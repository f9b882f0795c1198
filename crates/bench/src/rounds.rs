//! Contenders measured in turns, so that whatever else runs on the machine hits
//! all of them alike.

use std::time::Instant;

use crate::counting::counted;

/// Runs so many calls.
pub type Calls<'a> = Box<dyn FnMut(u32) + 'a>;

/// One contender; it is set up when it is first needed.
pub struct Case<'a> {
    name: String,
    set_up: Box<dyn FnOnce() -> Calls<'a> + 'a>,
}

impl<'a> Case<'a> {
    /// `set_up` gives what makes one call.
    pub fn new<F>(name: impl Into<String>, set_up: impl FnOnce() -> F + 'a) -> Self
    where
        F: FnMut() + 'a,
    {
        let set_up = Box::new(|| {
            let mut call = set_up();
            Box::new(move |n: u32| (0..n).for_each(|_| call())) as Calls<'a>
        });
        Self { name: name.into(), set_up }
    }
}

/// One contender's figures.
#[derive(Clone, Debug)]
pub struct Row {
    /// Nanoseconds of one call in each round, in the order of the rounds.
    pub nanos: Vec<f64>,
    /// Allocations of one call.
    pub allocations: f64,
    name: String,
}

impl Row {
    /// Of all rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(self.nanos.clone())
    }

    /// The quickest round.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.nanos.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The median of the ratios of the rounds that were run next to each other.
    #[must_use]
    pub fn beside(&self, other: &Self) -> f64 {
        median(self.nanos.iter().zip(&other.nanos).map(|(ours, theirs)| ours / theirs).collect())
    }
}

/// The middle one; zero of none.
#[must_use]
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// A number from the environment.
#[must_use]
pub fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Which cases were asked for on the command line: any of those words, or all.
#[must_use]
pub fn wanted(table: &str, case: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--")).peekable();
    words.peek().is_none() || words.any(|word| table.contains(&word) || case.contains(&word))
}

/// Measures the cases in turns and prints them as a table. The ratios are to the
/// first case. `BENCH_ROUNDS` (300) and `BENCH_CALLS` (1,000) change the size.
pub fn run(table: &str, cases: Vec<Case<'_>>) {
    let (rounds, calls) = (setting("BENCH_ROUNDS", 300), setting("BENCH_CALLS", 1_000));
    let mut running: Vec<(Row, Calls<'_>)> = cases
        .into_iter()
        .filter(|case| wanted(table, &case.name))
        .map(|case| {
            let mut act = (case.set_up)();
            act(calls);
            let ((), allocated) = counted(|| act(calls));
            let allocations = allocated.times as f64 / f64::from(calls);
            (Row { nanos: Vec::new(), allocations, name: case.name }, act)
        })
        .collect();
    for round in 0..rounds as usize {
        let count = running.len();
        for turn in 0..count {
            let (row, act) = &mut running[(turn + round) % count];
            // The caches are those of this contender again.
            act(calls);
            let start = Instant::now();
            act(calls);
            row.nanos.push(start.elapsed().as_nanos() as f64 / f64::from(calls));
        }
    }
    print(table, &running.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>());
}

fn print(table: &str, rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    println!("\n{table}\n{:>8} {:>8} {:>7} {:>7}", "least", "median", "ratio", "allocs");
    for row in rows {
        let (least, median, ratio) = (row.least(), row.median(), row.beside(first));
        let (allocations, name) = (row.allocations, &row.name);
        println!("{least:>8.1} {median:>8.1} {ratio:>7.2} {allocations:>7.2}  {name}");
    }
}
