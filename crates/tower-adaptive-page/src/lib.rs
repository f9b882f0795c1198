//! How much to ask for at a time: page size from memory and server limits, and resumable page walkers.
#![forbid(unsafe_code)]

mod config;
mod controller;
mod driver;
mod error;
mod future;
mod handle;
mod items;
mod layer;
mod learn;
mod memory;
mod origin;
mod pages;
mod position;
mod probe;
mod query;
mod room;
mod seen;
mod service;
mod style;
mod walk;
mod walker;

pub use self::{
    config::PageControllerBuilder,
    controller::Action,
    driver::{PageDriver, PageReceiver},
    error::{ConfigError, MemoryError, Problem, WalkError},
    future::ResponseFuture,
    handle::{PageController, PageSample, PageStatus},
    items::Items,
    layer::AdaptivePageLayer,
    learn::{Learn, LearnBody, LearnContentLength, LearnTime, Learned, Lists, NamesPageSize},
    memory::{Memory, MemoryProbe},
    pages::{Pages, walk},
    position::{Next, Page, ParsePositionError, Parsed, Position},
    probe::{CgroupV2, Detected, ExplicitLimit, HostMemory, detect, detect_at},
    room::Room,
    service::AdaptivePage,
    style::{GetPages, MakeRequest, Style, StyleError},
    walk::Walk,
};

/// A type-erased error, the same type as `tower::BoxError`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
