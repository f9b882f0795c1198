//! How much to ask for at a time: page size from memory and server limits, and resumable page walkers.
//!
//! Whoever copies whole lists out of an API wants the largest page the server
//! gives, for a page often costs the same whatever it holds, and must not run
//! out of memory on the way. Three parts, each of use alone:
//!
//! - [`PageController`] turns memory figures into a page size.
//! - [`AdaptivePageLayer`] rewrites the page-size parameter of list requests,
//!   and nothing else.
//! - [`walk`] turns any service into a stream of pages.
//!
//! ```text
//!  walk(service, Walk)         AdaptivePage<S>                       S
//!  ┌──────────────────┐  call ┌────────────────────────────┐  call ┌───────────┐
//!  │ position ─ ask   │ ────▶ │ a list?  no ───────────────│─────▶ │           │
//!  │    ▲        │    │       │   │yes                     │       │   inner   │
//!  │    │        ▼    │       │   ├─ memory > 95 %: wait,  │       │  service  │
//!  │  next ◀── parse  │ ◀──── │   │  30 s at most          │       │           │
//!  └──────────────────┘       │   └─ limit=min(asked,size)─│─────▶ │           │
//!                             │ learn rows, bytes, time ◀──│────── │           │
//!                             └────────────────────────────┘       └───────────┘
//!                       PageController ◀── MemoryProbe: own limit, cgroup, host
//! ```
//!
//! # The rule
//!
//! Pages start at the server's maximum. Memory is looked at by whoever calls
//! next, at most every 250 ms.
//!
//! | memory in use | what happens |
//! | --- | --- |
//! | below 60 % | pages grow by a tenth each second, 5 s after the last time they shrank, back to the maximum |
//! | 60 to 80 % | pages stay as they are, so that the size does not swing; where rows are dear, they grow up to 70 % |
//! | above 80 % | pages shrink at once: by a tenth, rising to one half at 95 %; the allocator is [purged](PageControllerBuilder::purge), every 10 s at most |
//! | above 85 % | the same, and the event `memory_alert` |
//! | above 95 % | no page is asked for; a call waits, and fails with [`MemoryError`] after 30 s |
//!
//! Each time growing turns out to be a mistake, the wait before the next growth
//! doubles: what swings once does not go on swinging.
//!
//! Besides, a page is never larger than
//!
//! - what a quarter of the memory left holds, once the weight of a row is known,
//!   nor than three quarters of [`max_page_bytes`](PageControllerBuilder::max_page_bytes);
//! - half of one whose answer was too large to be held
//!   ([`AdaptivePageLayer::too_large`]); if that is again too large, the smallest
//!   page is asked for, which shows what a row weighs;
//! - what comes within [`max_page_time`](PageControllerBuilder::max_page_time), if
//!   that is set, and if smaller pages do come faster. A page mostly costs the same
//!   whatever it holds ([`Price`]), so for the sake of time a row becomes twice as
//!   dear at most. For the sake of memory it costs what it must.
//!
//! Every figure can be set; see [`PageControllerBuilder`].
//!
//! # Example
//!
//! ```
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_adaptive_page::{AdaptivePageLayer, BoxError, LearnBody, PageController, detect};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! // A limit of our own: 4 GiB for this process.
//! let pages = PageController::builder().server_max(500).probe(detect(Some(4 << 30))).build()?;
//! let mut client = ServiceBuilder::new()
//!     .layer(AdaptivePageLayer::new(pages.clone()).learn(LearnBody))
//!     .service(service_fn(|request: Request<()>| async move {
//!         Ok::<_, BoxError>(Response::new(request.uri().to_string()))
//!     }));
//!
//! let list = Request::get("/deals?status=won&limit=1000").body(())?;
//! let answer = client.ready().await?.call(list).await?;
//! assert_eq!(answer.body(), "/deals?status=won&limit=500");
//!
//! // What is no list passes untouched.
//! let one = Request::get("/deals/7").body(())?;
//! assert_eq!(client.ready().await?.call(one).await?.body(), "/deals/7");
//!
//! assert_eq!(pages.status().sizes_used, [(500, 1)]);
//! # Ok(())
//! # }
//! ```
//!
//! # Walks
//!
//! [`Walk::new`] takes two closures: one that builds the request for the page at
//! a [`Position`], one that reads an answer. [`Walk::get`] builds the requests by
//! itself. Each [`Page`] says where it was and where the walk goes on: keep its
//! `next` together with its rows, and a later walk that begins [`from`] there
//! has every row once. A failed call ends the walk; [`WalkError::position`] says
//! where to begin again. The walk does not retry: put a retry layer into the
//! service.
//!
//! [`Pages`] works while it is polled. [`Pages::into_driver`] gives a driver to
//! spawn, which fetches while the consumer is at work; with
//! [`prefetch(n)`](Walk::prefetch) at most `n` pages beyond the one in the
//! consumer's hands have been asked for. Pages of one walk are asked for one
//! after the other, as each names the next; where pages are named by offset or
//! number, and the server says how long the list is, [several at
//! once](Walk::at_once).
//!
//! Rows that are deleted under an offset walk make others move up, unseen, into
//! pages that were had. With an [overlap](Walk::overlap) of one row a walk notices
//! and repairs that: rows that exist throughout come exactly once. Without it
//! [`Page::shrank`] says that it may have happened. An answer that is [too
//! large](Walk::too_large) to be held is asked for again with fewer rows.
//!
//! Whether a list is walked by offset, page number, cursor, next URL or `Link`
//! header ([`Next::link`]), [`suggest_style`] tells from one answer.
//!
//! Servers that lead in circles are detected: a next position that this walk has
//! had is not believed. The page that named it is asked for once more, then the
//! walk ends with [`WalkError::RepeatedCursor`]. The last 4,096 positions are
//! known, so a circle of at most so many pages is detected before a row comes
//! twice; a longer one after at most three rounds; a list that grows without end
//! at [`Walk::max_pages`]. A walk that was resumed does not know the positions of
//! the walks before it. An offset must go forward. A next URL must stay within
//! the origin of the walk, by scheme, host and port, and without a user name;
//! else it is not asked, so no credential goes there.
//!
//! # What is shared
//!
//! A [`PageController`] is a handle; its clones share one state, and so do all
//! services of a layer and all walks that are given one. There is one page size,
//! not one for each list: the memory is one, too. A walk shares nothing but what
//! the service shares.
//!
//! # Readiness
//!
//! `poll_ready` is that of the inner service. A call that need not wait for memory
//! calls the readied service itself. One that must wait lets that readiness go,
//! so that a concurrency permit or a buffer slot serves others, and readies a
//! clone afterwards. A walk readies its service right before each request.
//!
//! # Cancellation
//!
//! Dropping a response future that waits means that nothing was sent. Dropping
//! [`Pages`] or [`PageReceiver`] drops the request that is under way and the pages
//! that nobody took; a new walk asks for them again. Dropping [`PageDriver`]
//! before the end gives the receiver [`WalkError::DriverDropped`] behind the
//! pages that had come.
//!
//! # What it does not do
//!
//! It frees no memory but by your own [`purge`](PageControllerBuilder::purge), it
//! only asks for less. It does not retry, and it knows no rate limits. It links no
//! allocator: [`AllocatorMemory`] takes a closure, and the probe is a trait.
//!
//! # Events
//!
//! | target | name | level | fields |
//! | --- | --- | --- | --- |
//! | `tower_adaptive_page::memory` | `memory_ok` | info | `used`, `limit` (bytes), `size` (rows), `before` |
//! | `tower_adaptive_page::memory` | `memory_high` | info | the same |
//! | `tower_adaptive_page::memory` | `memory_alert` | warn | the same |
//! | `tower_adaptive_page::memory` | `memory_pause` | warn | the same |
//! | `tower_adaptive_page::memory` | `memory_purged` | info | `returned`, `used`, `limit` (bytes) |
//! | `tower_adaptive_page::memory` | `memory_small` | warn | `operation`, `limit` (bytes) |
//! | `tower_adaptive_page::memory` | `memory_operation` | info | `operation`, `took_ms`, `peak` (bytes), `pages`, `rows`, `bytes` |
//! | `tower_adaptive_page::walk` | `page_leads_back` | warn | `position` (no query of a URL), `again` |
//! | `tower_adaptive_page::walk` | `page_too_large` | info | `asked`, `now` (rows) |
//! | `tower_adaptive_page::walk` | `rows_shifted` | warn | `position`, `back_to` |
//! | `tower_adaptive_page::walk` | `total_shrank` | warn | `position`, `shrank` (rows) |
//!
//! Of the first four one is sent when what memory asks for changes, not at every reading.
//! [`PageStatus::advice`] says in words what would make it better.
//!
//! # Features
//!
//! `serde`: [`Position`], [`Memory`] and [`Action`] can be written and read,
//! [`PageStatus`] can be written.
//!
//! [`from`]: Walk::from
#![forbid(unsafe_code)]

mod advice;
mod ahead;
mod anchors;
mod cgroup;
mod config;
mod config_error;
mod controller;
mod driver;
mod error;
mod fields;
mod future;
mod handle;
mod hold;
mod items;
mod layer;
mod learn;
mod link;
mod memory;
mod monitor;
mod origin;
mod pace;
mod pages;
mod position;
mod price;
mod probe;
mod query;
mod room;
mod rules;
mod seen;
mod service;
mod status;
mod style;
mod suggest;
mod walk;
mod walker;

pub use self::{
    advice::Advice,
    cgroup::{CgroupV1, CgroupV2},
    config::PageControllerBuilder,
    config_error::{ConfigError, Problem},
    controller::Action,
    driver::{PageDriver, PageReceiver},
    error::{MemoryError, WalkError},
    future::ResponseFuture,
    handle::{PageController, PageSample},
    items::Items,
    layer::AdaptivePageLayer,
    learn::{Learn, LearnBody, LearnContentLength, LearnTime, Learned, Lists, NamesPageSize},
    memory::{Memory, MemoryProbe},
    monitor::{MemoryReport, Monitor},
    pages::{Pages, walk},
    position::{Next, Page, ParsePositionError, Parsed, Position, row_key},
    price::Price,
    probe::{AllocatorMemory, Detected, ExplicitLimit, HostMemory, detect, detect_at},
    room::Room,
    service::AdaptivePage,
    status::PageStatus,
    style::{GetPages, MakeRequest, Style, StyleError},
    suggest::{Suggestion, suggest_style},
    walk::Walk,
};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
