use http::Response;

use crate::{Observations, WallClock};

/// Reads what a response says about budgets.
///
/// ```
/// use tower_ratelimit_tokens::{BudgetId, Dialect, Observation, Observations, WallClock};
///
/// /// A service whose responses carry the number of calls left.
/// struct Left(BudgetId);
///
/// impl Dialect<u64> for Left {
///     fn observe(&self, left: &u64, _: &dyn WallClock) -> Observations {
///         Observation::Level { budget: self.0, limit: None, remaining: *left, reset: None }.into()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not read `{Response}`",
    note = "most dialects look at the text of a refusal: collect the body below the limiter, or wrap \
            the dialect in `HeadersOnly`"
)]
pub trait Dialect<Response> {
    /// Whether it ever says anything. If not, it is never called.
    const READS: bool = true;

    /// Called once for each response; an error of the inner service is none, and
    /// says nothing here. Should not allocate. `clock` is for
    /// headers that name a date.
    fn observe(&self, response: &Response, clock: &dyn WallClock) -> Observations;
}

/// Responses say nothing: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDialect;

impl<R> Dialect<R> for NoDialect {
    const READS: bool = false;

    fn observe(&self, _: &R, _: &dyn WallClock) -> Observations {
        Observations::none()
    }
}

/// A body whose text can be looked at without reading on: one that was collected
/// before it came here.
#[diagnostic::on_unimplemented(
    message = "the text of `{Self}` is not at hand",
    note = "collect the body below the limiter, or wrap the dialect in `HeadersOnly`"
)]
pub trait BodyText {
    /// The bytes, or as many as are at hand.
    fn text(&self) -> &[u8];
}

impl BodyText for () {
    fn text(&self) -> &[u8] {
        &[]
    }
}

impl BodyText for bytes::Bytes {
    fn text(&self) -> &[u8] {
        self
    }
}

impl BodyText for &[u8] {
    fn text(&self) -> &[u8] {
        self
    }
}

impl BodyText for Vec<u8> {
    fn text(&self) -> &[u8] {
        self
    }
}

impl BodyText for String {
    fn text(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl BodyText for &str {
    fn text(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Reads a response without its body, for bodies that stream.
///
/// Wraps a dialect that would look at the body; refusals that only the text tells
/// apart are then judged by the headers alone, and what only a body tells, such
/// as a cost, is not seen.
#[derive(Clone, Copy, Debug)]
pub struct HeadersOnly<D>(pub D);

impl<D, B> Dialect<Response<B>> for HeadersOnly<D>
where
    D: HttpDialect,
{
    fn observe(&self, response: &Response<B>, clock: &dyn WallClock) -> Observations {
        self.0.read(response.status(), response.headers(), &[], clock)
    }
}

/// A dialect of HTTP. What it reads comes apart from the type of the body.
///
/// For responses that are no [`http::Response`], such as those of a client with
/// types of its own, a [`Dialect`] of three lines calls [`read`](Self::read).
pub trait HttpDialect {
    /// As [`Dialect::observe`]; `text` is empty if the body streams.
    fn read(
        &self,
        status: http::StatusCode,
        headers: &http::HeaderMap,
        text: &[u8],
        clock: &dyn WallClock,
    ) -> Observations;
}
