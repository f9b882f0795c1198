use std::fmt;

use crate::{BoxError, Verdict};

/// Says what went wrong with an outcome, and whether trying again can help.
///
/// Closures implement it. Annotate their arguments, so that the compiler sees
/// that they work for every lifetime:
///
/// ```
/// use tower_retry_classify::{BoxError, Class, Classify, Verdict};
///
/// let teapots = |_: &(), outcome: Result<&u16, &BoxError>| match outcome {
///     Ok(418) => Verdict::never(Class::Custom("teapot")),
///     _ => Verdict::NoOpinion,
/// };
/// assert_eq!(teapots.classify(&(), Ok(&418)).class(), Some(Class::Custom("teapot")));
/// ```
pub trait Classify<Req, Res> {
    /// Judges the outcome of one attempt. Called on the hot path, for successes
    /// too: it should be quick and allocate nothing.
    fn classify(&self, request: &Req, outcome: Result<&Res, &BoxError>) -> Verdict;
}

impl<F, Req, Res> Classify<Req, Res> for F
where
    F: Fn(&Req, Result<&Res, &BoxError>) -> Verdict,
{
    fn classify(&self, request: &Req, outcome: Result<&Res, &BoxError>) -> Verdict {
        self(request, outcome)
    }
}

/// Classifiers in a row, the general ones first.
///
/// Each is asked in turn, and one that has an opinion overrules those before it, be
/// it *retry* or *never*: the last word is that of the most special.
///
/// ```
/// use tower_retry_classify::{BoxError, Chain, Class, Classify, Verdict};
///
/// let chain = Chain::new()
///     .then(|_: &(), outcome: Result<&u16, &BoxError>| match outcome {
///         Ok(500..) => Verdict::retry(Class::Server),
///         _ => Verdict::NoOpinion,
///     })
///     .then(|_: &(), outcome: Result<&u16, &BoxError>| match outcome {
///         Ok(501) => Verdict::never(Class::BadRequest),
///         _ => Verdict::NoOpinion,
///     });
/// assert_eq!(chain.classify(&(), Ok(&500)), Verdict::retry(Class::Server));
/// assert_eq!(chain.classify(&(), Ok(&501)), Verdict::never(Class::BadRequest));
/// assert_eq!(chain.classify(&(), Ok(&200)), Verdict::NoOpinion);
/// ```
pub struct Chain<Req, Res> {
    links: Vec<Link<Req, Res>>,
}

type Link<Req, Res> = Box<dyn Classify<Req, Res> + Send + Sync>;

impl<Req, Res> Chain<Req, Res> {
    /// An empty row, which never has an opinion.
    #[must_use]
    pub const fn new() -> Self {
        Self { links: Vec::new() }
    }

    /// Adds a classifier that may overrule those before it.
    #[must_use]
    pub fn then(mut self, classifier: impl Classify<Req, Res> + Send + Sync + 'static) -> Self {
        self.links.push(Box::new(classifier));
        self
    }
}

impl<Req, Res> Default for Chain<Req, Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Res> Classify<Req, Res> for Chain<Req, Res> {
    fn classify(&self, request: &Req, outcome: Result<&Res, &BoxError>) -> Verdict {
        let mut verdict = Verdict::NoOpinion;
        for link in &self.links {
            match link.classify(request, outcome) {
                Verdict::NoOpinion => {}
                opinion => verdict = opinion,
            }
        }
        verdict
    }
}

impl<Req, Res> fmt::Debug for Chain<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("links", &self.links.len()).finish()
    }
}
