use std::{collections::HashSet, fmt, sync::Arc};

use crate::{ConfigError, FailureDetector, Health, Prober, State, TargetState, error::Problems};

/// At most so many parts.
const MOST: usize = 1_000;

/// What a part of a system says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// How it is doing.
    pub state: State,
    /// Why, in a few words.
    pub reason: String,
    /// A figure that goes with it: an error rate, a share in use.
    pub value: Option<f64>,
}

impl Assessment {
    /// A state and its reason, without a figure.
    pub fn new(state: State, reason: impl Into<String>) -> Self {
        Self { state, reason: reason.into(), value: None }
    }

    /// Compares a figure with where degraded and critical begin, as for a queue that fills.
    /// Unknown if any of them is no number.
    ///
    /// ```
    /// use tower_health::{Assessment, State};
    ///
    /// let queue = Assessment::of_value(0.85, 0.8, 0.95);
    /// assert_eq!((queue.state, &*queue.reason), (State::Degraded, "0.85 of 0.80"));
    /// ```
    #[must_use]
    pub fn of_value(value: f64, degraded_at: f64, critical_at: f64) -> Self {
        let (state, limit) = if [value, degraded_at, critical_at].iter().any(|it| it.is_nan()) {
            (State::Unknown, degraded_at)
        } else if value >= critical_at {
            (State::Critical, critical_at)
        } else if value >= degraded_at {
            (State::Degraded, degraded_at)
        } else {
            (State::Healthy, degraded_at)
        };
        Self { state, reason: format!("{value:.2} of {limit:.2}"), value: Some(value) }
    }
}

/// Something that can say how it is doing. Closures `Fn() -> Assessment` can.
pub trait Assess {
    /// Says it, from what is known; it asks nobody and waits for nothing.
    fn assess(&self) -> Assessment;
}

impl<F: Fn() -> Assessment> Assess for F {
    fn assess(&self) -> Assessment {
        self()
    }
}

/// Its state; the figure is the error rate.
impl Assess for Health {
    fn assess(&self) -> Assessment {
        let report = self.report();
        let value = (report.calls > 0).then_some(report.error_rate);
        Assessment { state: report.state, reason: report.reason.to_string(), value }
    }
}

/// Its state by the newest check; the figure is the part of recent checks that failed.
impl<S, M, J> Assess for Prober<S, M, J> {
    fn assess(&self) -> Assessment {
        let status = self.status();
        let value = status.success_rate.map(|rate| 1.0 - rate);
        Assessment { state: status.state, reason: status.reason.to_string(), value }
    }
}

/// Degraded if any target cannot be given work, critical if half cannot, unavailable if none
/// can; the figure is that part. Targets that are unknown do not count.
impl<I> Assess for FailureDetector<I> {
    fn assess(&self) -> Assessment {
        let (mut known, mut lost) = (0_usize, 0_usize);
        for (state, count) in TargetState::ALL.into_iter().zip(self.counts()) {
            if state != TargetState::Unknown {
                known += count;
                lost += if state.is_available() { 0 } else { count };
            }
        }
        let state = match (known, lost) {
            (0, _) => State::Unknown,
            (_, 0) => State::Healthy,
            (known, lost) if lost == known => State::Unavailable,
            (known, lost) if 2 * lost >= known => State::Critical,
            _ => State::Degraded,
        };
        let value = (known > 0).then(|| lost as f64 / known as f64);
        Assessment { state, reason: format!("{lost} of {known} are lost"), value }
    }
}

#[derive(Clone)]
struct Part {
    name: Arc<str>,
    required: bool,
    source: Arc<dyn Assess + Send + Sync>,
}

/// The health of a whole: many parts, with their reasons.
///
/// The whole is as bad as the worst part that it requires; a part that it could do without
/// makes it degraded at most. It is unknown if nothing is wrong but a required part is unknown.
///
/// ```
/// use tower_health::{Assessment, Health, State, SystemHealth, Verdict};
///
/// # tokio_test::block_on(async {
/// let api = Health::builder("api").build()?;
/// let system = SystemHealth::builder("sync")
///     .required("api", api.clone())
///     .optional("queue.utilization", || Assessment::of_value(0.97, 0.8, 0.95))
///     .build()?;
/// api.record(Verdict::Good, std::time::Duration::from_millis(120));
///
/// let report = system.report();
/// assert_eq!(report.overall, State::Degraded);
/// assert_eq!(report.reasons, ["queue.utilization is critical: 0.97 of 0.95"]);
/// assert_eq!(report.parts[0].state, State::Healthy);
/// # Ok::<(), tower_health::ConfigError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct SystemHealth {
    name: Arc<str>,
    parts: Arc<[Part]>,
}

impl SystemHealth {
    /// Starts without parts.
    pub fn builder(name: impl Into<Arc<str>>) -> SystemHealthBuilder {
        SystemHealthBuilder { name: name.into(), parts: Vec::new() }
    }

    /// Asks all parts what they know, and draws the sum.
    #[must_use]
    pub fn report(&self) -> SystemReport {
        let parts: Vec<PartReport> = self.parts.iter().map(Part::report).collect();
        let mut overall = State::Healthy;
        for part in &parts {
            let counts = match part.state {
                State::Critical | State::Unavailable if !part.required => State::Degraded,
                State::Unknown if !part.required => State::Healthy,
                state => state,
            };
            let unknown = counts == State::Unknown && overall == State::Healthy;
            if counts.rank() > overall.rank() || unknown {
                overall = counts;
            }
        }
        let wrong = |part: &&PartReport| !part.state.is_healthy();
        let said = |PartReport { name, state, reason, .. }: &PartReport| {
            format!("{name} is {state}: {reason}")
        };
        let reasons = parts.iter().filter(wrong).map(said).collect();
        SystemReport { name: Arc::clone(&self.name), overall, reasons, parts }
    }
}

impl Part {
    fn report(&self) -> PartReport {
        let Assessment { state, reason, value } = self.source.assess();
        PartReport { name: Arc::clone(&self.name), required: self.required, state, reason, value }
    }
}

impl fmt::Debug for SystemHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.parts.iter().map(|part| &part.name).collect();
        f.debug_struct("SystemHealth").field("name", &self.name).field("parts", &parts).finish()
    }
}

/// Configures a [`SystemHealth`].
#[derive(Clone)]
#[must_use]
pub struct SystemHealthBuilder {
    name: Arc<str>,
    parts: Vec<Part>,
}

impl SystemHealthBuilder {
    /// Adds a part that the whole cannot do without.
    pub fn required(
        self,
        name: impl Into<Arc<str>>,
        source: impl Assess + Send + Sync + 'static,
    ) -> Self {
        self.part(name.into(), true, Arc::new(source))
    }

    /// Adds a part that the whole could do without.
    pub fn optional(
        self,
        name: impl Into<Arc<str>>,
        source: impl Assess + Send + Sync + 'static,
    ) -> Self {
        self.part(name.into(), false, Arc::new(source))
    }

    fn part(
        mut self,
        name: Arc<str>,
        required: bool,
        source: Arc<dyn Assess + Send + Sync>,
    ) -> Self {
        self.parts.push(Part { name, required, source });
        self
    }

    /// Builds the whole.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work: an empty name, one that two parts
    /// have, no part or more than 1,000.
    pub fn build(self) -> Result<SystemHealth, ConfigError> {
        let mut problems = Problems::default();
        let some = "any text but an empty one";
        problems.unless(!self.name.is_empty(), "name", &self.name, some);
        let right = (1..=MOST).contains(&self.parts.len());
        problems.unless(right, "parts", self.parts.len(), "1 to 1,000");
        let mut names = HashSet::new();
        for part in &self.parts {
            let right = !part.name.is_empty() && names.insert(&part.name);
            problems.unless(right, "part.name", &part.name, "a text that no other part has");
        }
        problems.into_result("system health")?;
        Ok(SystemHealth { name: self.name, parts: self.parts.into() })
    }
}

impl fmt::Debug for SystemHealthBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemHealthBuilder")
            .field("name", &self.name)
            .field("parts", &self.parts.len())
            .finish()
    }
}

/// The health of a whole at one instant; see [`SystemHealth::report`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SystemReport {
    /// The name given to the builder.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::report::name_as_str"))]
    pub name: Arc<str>,
    /// The sum.
    pub overall: State,
    /// One sentence for each part that is not healthy.
    pub reasons: Vec<String>,
    /// All parts, in the order in which they were added.
    pub parts: Vec<PartReport>,
}

/// One part of a [`SystemReport`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PartReport {
    /// Its name.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::report::name_as_str"))]
    pub name: Arc<str>,
    /// Whether the whole cannot do without it.
    pub required: bool,
    /// How it is doing.
    pub state: State,
    /// Why; a [`Health`] says why it entered this state, with the figures of that time.
    pub reason: String,
    /// Its figure now, if it has one.
    pub value: Option<f64>,
}
