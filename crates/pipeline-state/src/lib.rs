#![doc = include_str!("guide.md")]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;

mod any;
mod bounds;
mod checkpoint;
mod config;
mod error;
mod item;
mod pipeline;
mod plan;
mod progress;
mod sql;
mod store;
mod tracker;

pub use self::{
    any::AnyStore,
    bounds::{
        KEPT_CHECKPOINTS, MAX_BATCH, MAX_CATEGORY, MAX_MESSAGE, MAX_NAME, MAX_PAYLOAD, MAX_PHASES,
    },
    checkpoint::{Cadence, Checkpoint},
    config::{ConfigError, PipelineConfig, PipelineConfigBuilder},
    error::StateError,
    item::{FailedItem, Failure, Item, ItemId, ItemState, LeaseId, Outcome, PipelineId, Update},
    pipeline::Pipeline,
    progress::{Counts, PhaseProgress, Progress},
    sql::SqliteStore,
    store::{
        Added, CheckpointInfo, Claim, ClaimRequest, Lease, PipelineInfo, Resume, Resumed,
        SCHEMA_VERSION, SettleRequest, Settled, Store,
    },
    tracker::StateTracker,
};
