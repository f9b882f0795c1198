use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    ConfigError, Health, LoopHandle, Report, State, config::DAY, error::Problems, stop::stoppable,
};

/// The figures of a service at one instant, for a time series.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Sample {
    /// The name of the health.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::report::name_as_str"))]
    pub health: Arc<str>,
    /// When it was taken. Not serialised: only whoever stores it knows the wall clock.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub at: Instant,
    /// How the service was doing.
    pub state: State,
    /// Calls in the window.
    pub calls: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// The average latency; zero without calls.
    pub average: Duration,
    /// Half of the calls were at most this slow. `None` without calls.
    pub p50: Option<Duration>,
    /// 95 of 100 calls were at most this slow. `None` without calls.
    pub p95: Option<Duration>,
    /// 99 of 100 calls were at most this slow. `None` without calls.
    pub p99: Option<Duration>,
}

impl Sample {
    /// What a report says, taken now.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let Report { name, state, calls, bad, average, p50, p95, p99, .. } = report;
        Self {
            health: Arc::clone(name),
            at: Instant::now(),
            state: *state,
            calls: *calls,
            bad: *bad,
            average: *average,
            p50: *p50,
            p95: *p95,
            p99: *p99,
        }
    }
}

/// Where samples go. Closures `Fn(Sample)` do.
pub trait SampleSink {
    /// Takes one. It should be quick: a [`SampleBuffer`] keeps them for whoever stores them.
    fn accept(&self, sample: Sample);
}

impl<F: Fn(Sample)> SampleSink for F {
    fn accept(&self, sample: Sample) {
        self(sample);
    }
}

/// Keeps the newest samples until somebody takes them. Clones are the same buffer.
///
/// ```
/// use std::time::Duration;
/// use tower_health::{Health, SampleBuffer, State, Verdict};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let health = Health::builder("api").build()?;
/// let buffer = SampleBuffer::new(1_000)?;
/// let (handle, sampling) = health.sample_every(Duration::from_secs(10), buffer.clone())?;
/// tokio::spawn(sampling);
///
/// health.record(Verdict::Good, Duration::from_millis(120));
/// tokio::time::sleep(Duration::from_secs(35)).await;
/// // What writes them to a table takes some at a time.
/// let taken = buffer.take(100);
/// assert_eq!((taken.len(), taken[2].state, taken[2].calls), (3, State::Healthy, 1));
/// assert!(buffer.is_empty());
/// handle.stop();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SampleBuffer {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    samples: VecDeque<Sample>,
    capacity: usize,
    dropped: u64,
}

impl SampleBuffer {
    /// Keeps so many samples, 1 to 1,000,000; each takes about 150 bytes. When it is full the
    /// oldest makes room, and is counted.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the capacity cannot be.
    pub fn new(capacity: usize) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let right = (1..=1_000_000).contains(&capacity);
        problems.unless(right, "capacity", capacity, "1 to 1,000,000");
        problems.into_result("sample buffer")?;
        let kept = Kept { samples: VecDeque::new(), capacity, dropped: 0 };
        Ok(Self { kept: Arc::new(Mutex::new(kept)) })
    }

    /// Takes the oldest ones out, at most so many.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<Sample> {
        let mut kept = self.lock();
        let most = most.min(kept.samples.len());
        kept.samples.drain(..most).collect()
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().samples.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many made room for newer ones before somebody took them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No user code runs under the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SampleSink for SampleBuffer {
    fn accept(&self, sample: Sample) {
        let mut kept = self.lock();
        if kept.samples.len() == kept.capacity {
            kept.samples.pop_front();
            kept.dropped += 1;
        }
        kept.samples.push_back(sample);
    }
}

impl Health {
    /// A loop that gives a [`Sample`] to `sink` every so often, 10 ms to a day. Spawn the
    /// future; it stops when the handle is dropped. It also finds that a service fell idle.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `every` cannot be.
    pub fn sample_every<K: SampleSink>(
        &self,
        every: Duration,
        sink: K,
    ) -> Result<(LoopHandle, impl Future<Output = ()> + use<K>), ConfigError> {
        let mut problems = Problems::default();
        let right = (Duration::from_millis(10)..=DAY).contains(&every);
        problems.unless(right, "every", every, "10 ms to a day");
        problems.into_result("sampling")?;
        let health = self.clone();
        Ok(stoppable(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first is due at once, when nothing is known.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                sink.accept(Sample::of(&health.report()));
            }
        }))
    }
}
