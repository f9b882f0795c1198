//! Budgets that outlive and outgrow a process.
#![forbid(unsafe_code)]

mod alone;
mod config;
mod driver;
mod error;
mod events;
mod ledger;
mod memory;
mod message;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod state;
mod statement;
mod status;

#[cfg(feature = "redis")]
pub use self::redis::RedisLedger;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteLedger;
pub use self::{
    config::{DeadLeases, WhenUnreachable},
    driver::{Driver, Stopper},
    error::{LedgerError, STATE_VERSION},
    ledger::Ledger,
    memory::MemoryLedger,
    message::{
        Answer, Ask, CountLevel, Counted, Exchange, GrantedSlot, HeldUnits, Reply, SlotLevel,
    },
    status::{LedgerBudget, LedgerStatus},
};
