//! How often a living target is called dead, and how soon a dead one: phi beside misses.
//!
//! `cargo test -p tower-health --test it phi_or_misses -- --nocapture` prints the table that the
//! README shows.
#![allow(clippy::print_stdout, reason = "whoever asks for the table wants to see it")]

use std::{
    f64::consts::TAU,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, advance};
use tower_health::{DetectorBuilder, FailureDetector, TargetState};

const BEATS: u64 = 20_000;
const LIVES: u64 = 40;
const INTERVAL: f64 = 30.0;

struct Random(u64);

impl Random {
    /// Between 0 and 1.
    fn even(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.even()).ln()).sqrt() * (TAU * self.even()).cos()
    }
}

/// How the beats scatter: gives the next interval in seconds.
type Scatter = fn(&mut Random) -> f64;

fn regular(random: &mut Random) -> f64 {
    INTERVAL * (0.98 + 0.04 * random.even())
}

fn a_fifth(random: &mut Random) -> f64 {
    INTERVAL * (0.8 + 0.4 * random.even())
}

fn bell(random: &mut Random) -> f64 {
    (INTERVAL * (1.0 + 0.2 * random.normal())).max(0.0)
}

/// As `a_fifth`, and one in a hundred never arrives.
fn lossy(random: &mut Random) -> f64 {
    let mut seconds = a_fifth(random);
    while random.even() < 0.01 {
        seconds += a_fifth(random);
    }
    seconds
}

type Build = fn() -> DetectorBuilder;

fn builder() -> DetectorBuilder {
    FailureDetector::builder("test")
}

/// False alarms per 10,000 beats, and seconds until a stopped target is found.
async fn measure(builder: DetectorBuilder, scatter: Scatter) -> (f64, f64) {
    let alarms = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&alarms);
    let detector = builder.on_failure(move |_| {
        counter.fetch_add(1, Relaxed);
    });
    let detector = detector.forget_after(None).build().unwrap();
    let mut random = Random(7);
    detector.register("a", ()).unwrap();
    for _ in 0..BEATS {
        detector.heartbeat("a").unwrap();
        advance(Duration::from_secs_f64(scatter(&mut random))).await;
    }
    detector.heartbeat("a").unwrap();
    let false_alarms = alarms.load(Relaxed) as f64 * 10_000.0 / BEATS as f64;
    let mut silent = Duration::ZERO;
    for _ in 0..LIVES {
        for _ in 0..50 {
            advance(Duration::from_secs_f64(scatter(&mut random))).await;
            detector.heartbeat("a").unwrap();
        }
        let stopped = Instant::now();
        while detector.health("a").unwrap().state != TargetState::Unhealthy {
            advance(Duration::from_millis(250)).await;
        }
        silent += stopped.elapsed();
    }
    (false_alarms, silent.as_secs_f64() / LIVES as f64)
}

#[tokio::test(start_paused = true)]
async fn false_alarms_and_detection_are_as_documented() {
    let rows: [(&str, Build); 5] = [
        ("2 misses", || builder().misses(2)),
        ("3 misses, the default", || builder().misses(3)),
        ("phi 8", || builder().phi(8.0)),
        ("phi 8, no pause", || builder().phi(8.0).acceptable_pause(Duration::ZERO)),
        ("phi 12, no pause", || builder().phi(12.0).acceptable_pause(Duration::ZERO)),
    ];
    let columns: [Scatter; 4] = [regular, a_fifth, bell, lossy];
    let mut table = String::from(
        "| a beat each 30 s | regular to 2 % | even to 20 % | bell of 20 % | even to 20 %, 1 % lost |\n\
         | --- | --: | --: | --: | --: |\n",
    );
    for (name, builder) in rows {
        write!(table, "| {name} |").unwrap();
        for (n, scatter) in columns.into_iter().enumerate() {
            let (alarms, seconds) = measure(builder(), scatter).await;
            write!(table, " {alarms:.1} / {seconds:.0} s |").unwrap();
            let even = n == 1;
            assert!(!even || alarms < 1.0, "{name}: {alarms} false alarms in 10,000 beats");
            assert!(!even || seconds <= 90.3, "{name}: found after {seconds} s");
        }
        table.push('\n');
    }
    println!("{table}");
    assert!(include_str!("../../README.md").contains(&table), "the README shows another table");
}
