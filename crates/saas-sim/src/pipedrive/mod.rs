//! Pipedrive: its entities, limits and faults. Begin with [`Sim`].

mod answer;
mod body;
mod churn;
mod churn_state;
mod clock;
mod config;
mod control;
mod data;
mod digest;
mod exchange;
mod faults;
mod faults_state;
mod limits;
mod limits_day;
mod limits_window;
pub mod ops;
mod price;
mod routes;
mod service;
mod sim;
mod truth;

pub use self::body::SimBody;
pub use self::churn::Churn;
pub use self::clock::real_now;
pub use self::config::{
    AuthKind, ConfigError, DEFAULT_API_TOKEN, DEFAULT_OAUTH_TOKEN, Edge, IdleHeaders, Plan,
    SimConfig,
};
pub use self::data::{
    Account, AccountOptions, EPOCH, Entity, Recents, RecentsDeleted, RecentsTooOld, Reply, Sizes,
    Unknown,
};
pub use self::digest::Digest;
pub use self::faults::{Drip, Expire, FaultKind, Faults, Rule};
pub use self::price::{ListPrice, Price};
pub use self::service::{SimError, SimFuture, SimService};
pub use self::sim::Sim;
pub use self::truth::{
    Answered, ChurnTruth, DayTruth, LogEntry, OperationTruth, Refusals, Truth, WindowTruth,
};
