//! Budgets that outlive and outgrow a process: leases for
//! [tower-ratelimit-tokens](tower_ratelimit_tokens) from SQLite, Redis or memory.
//!
//! A limiter's [leased](tower_ratelimit_tokens::Budget::leased) budgets admit only
//! what was granted to it. A [`Driver`], a future that you spawn, gets grants from a
//! [`Ledger`] before they are needed. The limiter itself never waits for the network:
//! a request with a lease in hand costs what it costs without.
//!
//! ```text
//!   process A                                   process B, C, ...
//!  ┌────────────────────────────────────┐      ┌────────────────────────┐
//!  │ calls ─▶ limiter ─▶ inner service  │      │ calls ─▶ limiter ─▶ ... │
//!  │             │ ▲  slots and counts  │      │             │ ▲        │
//!  │             ▼ │  in hand           │      │             ▼ │        │
//!  │           driver                   │      │           driver       │
//!  └─────────────┬─▲────────────────────┘      └─────────────┬─▲────────┘
//!      what is   │ │ grants, dated                           │ │
//!      held and  ▼ │                                         ▼ │
//!      wanted  ┌─────────────────────────────────────────────────┐
//!              │ ledger: one step decides all budgets, one clock │
//!              └─────────────────────────────────────────────────┘
//! ```
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use ratelimit_ledger::{Driver, MemoryLedger};
//! use tower_ratelimit_tokens::{Budget, Charge, Limiter};
//!
//! // Two limiters; in earnest they are two processes, and the ledger is a
//! // `SqliteLedger` or a `RedisLedger`.
//! let ledger = MemoryLedger::new();
//! let mut members = Vec::new();
//! for _ in 0..2 {
//!     let mut limits = Limiter::builder();
//!     let burst = Budget::rolling(100, Duration::from_secs(2)).leased();
//!     let burst = limits.budget("burst", burst);
//!     let limiter = limits.build()?;
//!     tokio::spawn(Driver::new(&limiter, ledger.clone()).run());
//!     members.push((limiter, burst));
//! }
//!
//! let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
//! let mut sent = 0;
//! for (limiter, burst) in members.iter().cycle() {
//!     let charge = Charge::new().with(*burst, 1);
//!     let Ok(mut ticket) = limiter.acquire(charge, Some(deadline)).await else { break };
//!     ticket.try_sent(tokio::time::Instant::now())?;
//!     sent += 1;
//! }
//! assert!((90..=100).contains(&sent), "together they sent {sent}");
//! # Ok(())
//! # }
//! ```
//!
//! # What a lease is
//!
//! Of a rolling or fixed window: **dated send slots**, units that can be sent from one
//! moment to another. The ledger counts a slot from the grant on as if it were sent
//! at its last moment, until the member says when it was sent, answered or given back.
//! So the slots of a process that dies run out by themselves. When the window is full,
//! slots are dated ahead, to the moment at which others end. A fixed window is leased
//! as a rolling one of the same length.
//!
//! Of a calendar day: **counts**, renewed while the member lives. What a dead member
//! held counts as spent until the server has told a count made after the death, or
//! goes back after a time: [`DeadLeases`].
//!
//! How much is held follows the rate of spending: 200 ms of a window's, 1.5 s of a
//! day's; see [`Sizing`](tower_ratelimit_tokens::Sizing). Nobody gets more than a
//! fair share while others want some too.
//!
//! # The promise
//!
//! With [`WhenUnreachable::Closed`], the default, all members together never exceed a
//! budget, whatever is delayed, lost, killed or restarted, as long as
//!
//! - no request is on its way for longer than the budget's
//!   [`freed_by_answer`](tower_ratelimit_tokens::Budget::freed_by_answer) says;
//! - tickets are sent in time: the layer sees to it, by hand it is
//!   [`try_sent`](tower_ratelimit_tokens::Ticket::try_sent);
//! - the clocks of the store and of the members run equally fast, and the store's is
//!   not set forward while leases are out. Set back it may be. They need not agree.
//!
//! With [`Open`](WhenUnreachable::Open) or [`Share`](WhenUnreachable::Share) they may
//! exceed it by what their statuses report as
//! [overshoot](LedgerStatus::overshoot), and by no more.
//!
//! A store that has lost its memory (a Redis that was started empty) grants nothing
//! for one window, the transit bound and the life of a slot; in that time the members
//! tell what they hold, and the server's counts of the day with it. A new Redis is
//! taken for such a one.
//!
//! # What is shared
//!
//! All limiters whose drivers use one ledger, that is one prefix on one store, share
//! the budgets of equal names. They must have equal windows; limits may differ, as
//! they do while one has learnt of a new one. Each keeps its own queue and gate.
//!
//! # Readiness and cancellation
//!
//! The driver is no service. Its future may be dropped at any time: leases run out.
//! To give them back at once, [stop](Driver::stopper) it. It ends by itself when the
//! limiter's last handle is gone. An [exchange](Ledger::exchange) that is dropped has
//! reached the store or not: the next one takes its place.
//!
//! # Events
//!
//! Target `ratelimit_ledger`; the field `event` is the name.
//!
//! | level | event | fields |
//! | --- | --- | --- |
//! | info | `ledger_connected` | `round_trip_us`, `quiet` |
//! | warn | `ledger_unreachable` | `error`, `source`, `policy` |
//! | warn | `ledger_memory_lost` | |
//! | debug | `allowed_without_ledger` | `budget`, `units` |
//! | debug | `foreign_use` | `budget`, `units` |
//!
//! # Features
//!
//! - `sqlite`: [`SqliteLedger`], by sqlx.
//! - `redis`: [`RedisLedger`], by redis.
//!
//! # What it does not do
//!
//! It elects nobody, and replicates nothing: the store decides, alone. Token buckets
//! and concurrency are not leased.
#![cfg_attr(
    not(all(feature = "sqlite", feature = "redis")),
    allow(rustdoc::broken_intra_doc_links)
)]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;

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
