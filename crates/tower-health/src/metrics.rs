use std::fmt::{self, Write as _};

use crate::{FailureDetector, Health, ProbeStatus, Prober, Report, State, TargetState};

/// What OpenMetrics knows of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, without the suffix of a counter's samples.
    pub name: &'static str,
    /// `gauge`, `counter` or `stateset`.
    pub kind: &'static str,
    /// The unit that ends the name, if it has one.
    pub unit: &'static str,
    /// The labels of its samples, separated by commas.
    pub labels: &'static str,
    /// What it says.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: &'static str,
    unit: &'static str,
    labels: &'static str,
    help: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, help }
}

/// Every metric of this crate, in the order of the exposition. The README shows it as a table.
#[rustfmt::skip]
pub const METRICS: [Metric; 13] = [
    metric("tower_health_state", "stateset", "", "health,tower_health_state", "The state of a health: 1 for the one that holds"),
    metric("tower_health_calls", "gauge", "", "health", "Calls in the window"),
    metric("tower_health_bad_calls", "gauge", "", "health", "Bad calls in the window"),
    metric("tower_health_error_ratio", "gauge", "ratio", "health", "Bad calls by calls in the window"),
    metric("tower_health_latency_average_seconds", "gauge", "seconds", "health", "Average latency in the window"),
    metric("tower_health_latency_seconds", "gauge", "seconds", "health,quantile", "Latency that this part of the calls did not exceed"),
    metric("tower_health_changes", "counter", "", "health", "Changes of state"),
    metric("tower_health_probe_state", "stateset", "", "probe,tower_health_probe_state", "The state by the newest check: 1 for the one that holds"),
    metric("tower_health_probe_checks", "counter", "", "probe", "Checks made"),
    metric("tower_health_probe_skipped", "counter", "", "probe", "Checks skipped"),
    metric("tower_health_probe_success_ratio", "gauge", "ratio", "probe", "Good checks by recent checks"),
    metric("tower_health_probe_consecutive_failures", "gauge", "", "probe", "Failed checks since the last good one"),
    metric("tower_health_targets", "gauge", "", "detector,state", "Targets in this state"),
];

/// An exposition in the OpenMetrics text format, of any number of healths, probes and detectors.
///
/// `Display` writes it. The closing `# EOF` is left to whoever joins it with others.
///
/// ```
/// use std::time::Duration;
/// use tower_health::{Health, OpenMetrics, Verdict};
///
/// # tokio_test::block_on(async {
/// let health = Health::builder("api").build()?;
/// health.record(Verdict::Good, Duration::from_millis(250));
/// let text = OpenMetrics::new().health(&health).to_string();
/// assert!(text.contains("# TYPE tower_health_calls gauge\n"));
/// assert!(text.contains("tower_health_calls{health=\"api\"} 1\n"));
/// assert!(text.contains("tower_health_state{health=\"api\",tower_health_state=\"healthy\"} 1\n"));
/// # Ok::<(), tower_health::ConfigError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenMetrics {
    /// The samples of each metric.
    samples: [String; METRICS.len()],
}

impl OpenMetrics {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the figures of a health as of now.
    #[must_use]
    pub fn health(mut self, health: &Health) -> Self {
        let report = health.report();
        let Report { calls, bad, error_rate, average, changes, state, .. } = report;
        let label = label("health", health.name());
        self.states(0, &label, state);
        self.sample(1, &label, calls);
        self.sample(2, &label, bad);
        self.sample(3, &label, error_rate);
        self.sample(4, &label, average.as_secs_f64());
        for (quantile, found) in [("0.5", report.p50), ("0.95", report.p95), ("0.99", report.p99)] {
            if let Some(took) = found {
                let labels = format!("{label},quantile=\"{quantile}\"");
                self.sample(5, &labels, took.as_secs_f64());
            }
        }
        self.sample(6, &label, changes);
        self
    }

    /// Adds the figures of a probe as of now.
    #[must_use]
    pub fn probe<S, M, J>(mut self, prober: &Prober<S, M, J>) -> Self {
        let status = prober.status();
        let ProbeStatus { state, checks, skipped, success_rate, consecutive_failures, .. } = status;
        let label = label("probe", prober.name());
        self.states(7, &label, state);
        self.sample(8, &label, checks);
        self.sample(9, &label, skipped);
        if let Some(rate) = success_rate {
            self.sample(10, &label, rate);
        }
        self.sample(11, &label, consecutive_failures);
        self
    }

    /// Adds how many targets of a detector are in each state now.
    #[must_use]
    pub fn detector<I>(mut self, detector: &FailureDetector<I>) -> Self {
        let label = label("detector", detector.name());
        for (state, count) in TargetState::ALL.into_iter().zip(detector.counts()) {
            self.sample(12, &format!("{label},state=\"{state}\""), count);
        }
        self
    }

    fn states(&mut self, metric: usize, label: &str, held: State) {
        let name = METRICS[metric].name;
        for state in State::ALL {
            let holds = u8::from(state == held);
            self.sample(metric, &format!("{label},{name}=\"{state}\""), holds);
        }
    }

    fn sample(&mut self, metric: usize, labels: &str, value: impl fmt::Display) {
        let Metric { name, kind, .. } = METRICS[metric];
        let suffix = if kind == "counter" { "_total" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(self.samples[metric], "{name}{suffix}{{{labels}}} {value}");
    }
}

impl fmt::Display for OpenMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (Metric { name, kind, unit, help, .. }, samples) in METRICS.iter().zip(&self.samples) {
            if samples.is_empty() {
                continue;
            }
            writeln!(f, "# TYPE {name} {kind}")?;
            if !unit.is_empty() {
                writeln!(f, "# UNIT {name} {unit}")?;
            }
            write!(f, "# HELP {name} {help}\n{samples}")?;
        }
        Ok(())
    }
}

fn label(name: &str, value: &str) -> String {
    let mut label = format!("{name}=\"");
    for c in value.chars() {
        match c {
            '\\' => label.push_str("\\\\"),
            '"' => label.push_str("\\\""),
            '\n' => label.push_str("\\n"),
            c => label.push(c),
        }
    }
    label.push('"');
    label
}
