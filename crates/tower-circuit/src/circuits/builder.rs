use std::{
    hash::RandomState,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Circuits, Inner, shard::Shard};
use crate::{CircuitBuilder, ConfigError};

/// Below this many keys one lock is enough, and the bound is exact.
const SHARDED: usize = 4_096;
const SHARDS: usize = 16;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Configures [`Circuits`]; see [`CircuitBuilder::keyed`].
///
/// | setting | default |
/// | --- | --- |
/// | [`max_keys`](Self::max_keys) | 10,000 |
/// | [`idle`](Self::idle) | 1 hour |
#[derive(Clone, Debug)]
#[must_use]
pub struct CircuitsBuilder {
    each: CircuitBuilder,
    max_keys: usize,
    idle: Duration,
}

impl CircuitsBuilder {
    pub(crate) const fn new(each: CircuitBuilder) -> Self {
        Self { each, max_keys: 10_000, idle: Duration::from_secs(60 * 60) }
    }

    /// At most so many circuits are kept. Default: 10,000. Between 1 and 100,000,000.
    ///
    /// From 4,096 on they are spread over 16 parts of equal size, each with its own lock, so that a part
    /// may be full a little before the whole is.
    pub const fn max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys;
        self
    }

    /// After this time without use a circuit may be forgotten. Default: 1 hour. Above zero and at most a day.
    pub const fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Builds the registry, still empty.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] lists every value that cannot work, those of the circuits too.
    pub fn build<K: Eq>(self) -> Result<Circuits<K>, ConfigError> {
        let mut problems = self.each.problems();
        let mut check = |right: bool, field, value: String, allowed| {
            if !right {
                problems.push(crate::Problem { field, value, allowed });
            }
        };
        let Self { max_keys, idle, .. } = self;
        check(
            (1..=100_000_000).contains(&max_keys),
            "max_keys",
            max_keys.to_string(),
            "1 to 100,000,000",
        );
        let right = !idle.is_zero() && idle <= DAY;
        check(right, "idle", format!("{idle:?}"), "above zero and at most a day");
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let shards = if max_keys < SHARDED { 1 } else { SHARDS };
        let shard = || Mutex::new(Shard::new(max_keys / shards));
        let inner = Inner {
            name: self.each.name(),
            settings: Arc::new(self.each.settings()?),
            idle,
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| shard()).collect(),
        };
        Ok(Circuits { inner: Arc::new(inner) })
    }
}
