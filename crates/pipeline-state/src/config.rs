use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Cadence, PipelineId};

/// How a pipeline is tracked. The first seven are those of the pipelines this crate's makers came
/// from; two of them are for whoever wires the pipeline up, this crate only carries them.
///
/// ```
/// use pipeline_state::PipelineConfig;
///
/// let config = PipelineConfig::builder().checkpoint_interval(1_000).build()?;
/// assert_eq!(config.checkpoint_interval(), 1_000);
/// assert!(config.enable_state_tracking() && config.resume_failed_only());
/// # Ok::<(), pipeline_state::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineConfig {
    values: PipelineConfigBuilder,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)+) => {
        /// Builds a [`PipelineConfig`]. Reads from a file by serde, too: a field that is left out has
        /// its default.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct PipelineConfigBuilder {
            $($name: $type,)+
        }

        impl PipelineConfigBuilder {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            })+
        }

        impl PipelineConfig {
            $($(#[$doc])*
            #[must_use]
            pub const fn $name(&self) -> $type {
                self.values.$name
            })+
        }
    };
}

fields! {
    /// Whether states are kept where a restart finds them. Without, [`StateTracker::open`] keeps them
    /// in memory, whatever the URL says. Default: true.
    ///
    /// [`StateTracker::open`]: crate::StateTracker::open
    enable_state_tracking: bool,
    /// Whether calls go through circuits: for the caller to read. Default: true.
    enable_circuit_breakers: bool,
    /// Whether work goes through a job queue: for the caller to read. Default: true.
    enable_job_queue: bool,
    /// Whether checkpoints are made by count and time. Those that the caller makes are made all the
    /// same. Default: true.
    enable_checkpoints: bool,
    /// Settled items from one checkpoint to the next. At least 1. Default: 100.
    checkpoint_interval: u32,
    /// The pipeline that [`StateTracker::start`](crate::StateTracker::start) goes on with. Default: none, it makes a new one.
    resume_from_pipeline_id: Option<PipelineId>,
    /// Whether going on means the failed items only; otherwise the failed and the pending. Default: true.
    resume_failed_only: bool,
    /// Longest time from one checkpoint to the next while items are settled. At least 1 ms. Default: 60 s.
    checkpoint_time: Duration,
    /// How long a claim holds without being renewed. From 1 ms to 30 days. Default: 5 min.
    lease: Duration,
    /// How many leases on an item may run out before it counts as failed, of category `abandoned`: it
    /// may be what kills the workers. Resetting it begins anew. At least 1. Default: 3.
    max_lost_leases: u32,
}

impl Default for PipelineConfigBuilder {
    fn default() -> Self {
        Self {
            enable_state_tracking: true,
            enable_circuit_breakers: true,
            enable_job_queue: true,
            enable_checkpoints: true,
            checkpoint_interval: 100,
            resume_from_pipeline_id: None,
            resume_failed_only: true,
            checkpoint_time: Duration::from_secs(60),
            lease: Duration::from_secs(300),
            max_lost_leases: 3,
        }
    }
}

const LONGEST_LEASE: Duration = Duration::from_secs(30 * 24 * 3_600);
const SHORTEST: Duration = Duration::from_millis(1);

impl PipelineConfigBuilder {
    /// Checks the values.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work.
    pub fn build(self) -> Result<PipelineConfig, ConfigError> {
        let mut problems = Vec::new();
        let mut problem = |wrong: bool, text: &str| {
            if wrong {
                problems.push(text.to_owned());
            }
        };
        problem(self.checkpoint_interval == 0, "`checkpoint_interval` must be at least 1 item");
        problem(self.checkpoint_time < SHORTEST, "`checkpoint_time` must be at least 1 ms");
        problem(
            !(SHORTEST..=LONGEST_LEASE).contains(&self.lease),
            "`lease` must be from 1 ms to 30 days",
        );
        problem(self.max_lost_leases == 0, "`max_lost_leases` must be at least 1");
        problem(
            self.resume_from_pipeline_id.is_some_and(|id| id.0 <= 0),
            "`resume_from_pipeline_id` must be the number of a pipeline, 1 or more",
        );
        problem(
            !self.enable_state_tracking && self.resume_from_pipeline_id.is_some(),
            "`resume_from_pipeline_id` needs `enable_state_tracking`: without it nothing is kept",
        );
        if problems.is_empty() {
            Ok(PipelineConfig { values: self })
        } else {
            Err(ConfigError { problems })
        }
    }
}

impl PipelineConfig {
    /// Starts from the defaults.
    #[must_use]
    pub fn builder() -> PipelineConfigBuilder {
        PipelineConfigBuilder::default()
    }

    pub(crate) fn cadence(&self) -> Option<Cadence> {
        let cadence = Cadence { items: self.checkpoint_interval(), time: self.checkpoint_time() };
        self.enable_checkpoints().then_some(cadence)
    }
}

/// A [`PipelineConfigBuilder`] was given values that cannot work. It lists all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline's configuration cannot work: {}", problems.join("; "))]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    /// One sentence for each value that cannot work.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_seed() {
        let config = PipelineConfig::builder().build().unwrap();
        assert!(config.enable_state_tracking() && config.enable_circuit_breakers());
        assert!(config.enable_job_queue() && config.enable_checkpoints());
        assert_eq!(config.checkpoint_interval(), 100);
        assert_eq!(config.resume_from_pipeline_id(), None);
        assert!(config.resume_failed_only());
        assert_eq!(config, PipelineConfig::default());
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let wrong = PipelineConfig::builder()
            .checkpoint_interval(0)
            .checkpoint_time(Duration::ZERO)
            .lease(LONGEST_LEASE + SHORTEST)
            .max_lost_leases(0)
            .resume_from_pipeline_id(Some(0.into()))
            .enable_state_tracking(false);
        let error = wrong.build().unwrap_err();
        assert_eq!(error.problems().len(), 6, "{error}");
        for name in ["checkpoint_interval", "checkpoint_time", "lease", "max_lost_leases"] {
            assert!(error.to_string().contains(name), "{name}: {error}");
        }
        let edge = PipelineConfig::builder().lease(LONGEST_LEASE).checkpoint_time(SHORTEST);
        edge.checkpoint_interval(1).max_lost_leases(1).build().unwrap();
    }

    #[test]
    fn a_file_may_leave_fields_out_and_may_not_misspell_them() {
        let read = |text: &str| serde_json::from_str::<PipelineConfigBuilder>(text);
        let given = read(r#"{"checkpoint_interval": 7, "resume_from_pipeline_id": 3}"#).unwrap();
        let built = PipelineConfig::builder().checkpoint_interval(7);
        assert_eq!(given, built.resume_from_pipeline_id(Some(3.into())));
        assert!(read(r#"{"checkpoint_intervall": 7}"#).is_err());
    }
}
