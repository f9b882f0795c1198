use std::{fmt, sync::Arc};

use tower_layer::Layer;

use crate::{AdaptivePage, BoxError, LearnTime, NamesPageSize, PageController};

/// Tells whether an error says that an answer was too large to be held.
pub(crate) type TooLarge = Arc<dyn Fn(&BoxError) -> bool + Send + Sync>;

/// What all services of one layer share.
pub(crate) struct Shared<L, F> {
    pub(crate) controller: PageController,
    pub(crate) parameter: Box<str>,
    pub(crate) lists: L,
    pub(crate) learn: F,
    pub(crate) too_large: Option<TooLarge>,
    pub(crate) enabled: bool,
}

/// Applies [`AdaptivePage`] to a service.
pub struct AdaptivePageLayer<L = NamesPageSize, F = LearnTime> {
    controller: PageController,
    parameter: Box<str>,
    lists: L,
    learn: F,
    too_large: Option<TooLarge>,
    enabled: bool,
}

impl AdaptivePageLayer {
    /// A layer that follows `controller`. It rewrites the parameter `limit` of
    /// GET requests that have one, and learns nothing but the time.
    #[must_use]
    pub fn new(controller: PageController) -> Self {
        Self {
            controller,
            parameter: "limit".into(),
            lists: NamesPageSize,
            learn: LearnTime,
            too_large: None,
            enabled: true,
        }
    }
}

impl<L, F> AdaptivePageLayer<L, F> {
    /// The name of the page-size parameter, not encoded. Default: `limit`.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<Box<str>>) -> Self {
        self.parameter = name.into();
        self
    }

    /// Which requests ask for a page; all others pass untouched. A list request
    /// without the parameter gets one. Default: [`NamesPageSize`].
    #[must_use]
    pub fn only<L2>(self, lists: L2) -> AdaptivePageLayer<L2, F> {
        let Self { controller, parameter, learn, too_large, enabled, .. } = self;
        AdaptivePageLayer { controller, parameter, lists, learn, too_large, enabled }
    }

    /// How to learn the rows and bytes of an answer. Default: [`LearnTime`].
    #[must_use]
    pub fn learn<F2>(self, learn: F2) -> AdaptivePageLayer<L, F2> {
        let Self { controller, parameter, lists, too_large, enabled, .. } = self;
        AdaptivePageLayer { controller, parameter, lists, learn, too_large, enabled }
    }

    /// Which errors say that an answer was too large to be held; the next pages
    /// are at most half as large. Default: none.
    #[must_use]
    pub fn too_large(
        mut self,
        is_too_large: impl Fn(&BoxError) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.too_large = Some(Arc::new(is_too_large));
        self
    }

    /// Switched off, every request passes untouched. Default: on.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }
}

impl<L: Clone, F: Clone> Clone for AdaptivePageLayer<L, F> {
    fn clone(&self) -> Self {
        Self {
            controller: self.controller.clone(),
            parameter: self.parameter.clone(),
            lists: self.lists.clone(),
            learn: self.learn.clone(),
            too_large: self.too_large.clone(),
            enabled: self.enabled,
        }
    }
}

impl<S, L: Clone, F: Clone> Layer<S> for AdaptivePageLayer<L, F> {
    type Service = AdaptivePage<S, L, F>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { controller, parameter, lists, learn, too_large, enabled } = self.clone();
        let shared = Shared { controller, parameter, lists, learn, too_large, enabled };
        AdaptivePage::new(inner, Arc::new(shared))
    }
}

impl<L, F> fmt::Debug for AdaptivePageLayer<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptivePageLayer")
            .field("controller", &self.controller)
            .field("parameter", &self.parameter)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}
