#![doc = include_str!("guide.md")]
#![cfg_attr(not(feature = "postgres"), allow(rustdoc::broken_intra_doc_links))]
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
mod desk;
mod error;
mod item;
mod pipeline;
mod plan;
mod progress;
mod sql;
mod store;
mod tracker;
mod work;

#[cfg(feature = "postgres")]
pub use self::sql::PostgresStore;
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
    work::{WorkOptions, Worked},
};
