use std::time::Duration;

use http::{Method, Request, Response, header::CONTENT_LENGTH};

use crate::query;

/// Decides which requests ask for a page.
///
/// Closures `Fn(&Request<B>) -> bool` implement it.
pub trait Lists<B> {
    /// Whether the page size of `request` may be rewritten. `parameter` is the
    /// name of the page-size parameter.
    fn is_list(&self, request: &Request<B>, parameter: &str) -> bool;
}

impl<B, F> Lists<B> for F
where
    F: Fn(&Request<B>) -> bool,
{
    fn is_list(&self, request: &Request<B>, _parameter: &str) -> bool {
        self(request)
    }
}

/// The default of [`Lists`]: a GET that names a page size itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamesPageSize;

impl<B> Lists<B> for NamesPageSize {
    fn is_list(&self, request: &Request<B>, parameter: &str) -> bool {
        request.method() == Method::GET && query::has(request.uri(), parameter)
    }
}

/// What an answer tells of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// How many rows came, if known.
    pub rows: Option<u32>,
    /// The size of the answer in bytes, if known.
    pub bytes: Option<u64>,
    /// How long the answer itself took, if the answer tells. Without it the time since the call
    /// counts, and with it all waiting and retrying of the layers below.
    pub took: Option<Duration>,
}

/// Learns from an answer how large a page was.
///
/// Closures `Fn(&Response) -> Learned` implement it.
pub trait Learn<Response> {
    /// Reads what it can. Called for answers to list requests only.
    fn learn(&self, response: &Response) -> Learned;
}

impl<R, F> Learn<R> for F
where
    F: Fn(&R) -> Learned,
{
    fn learn(&self, response: &R) -> Learned {
        self(response)
    }
}

/// The default of [`Learn`]: nothing but the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct LearnTime;

impl<R> Learn<R> for LearnTime {
    fn learn(&self, _response: &R) -> Learned {
        Learned::default()
    }
}

/// Takes the bytes from the `content-length` header, for bodies that are
/// streamed. It is the size on the wire, so a compressed answer seems small.
#[derive(Clone, Copy, Debug, Default)]
pub struct LearnContentLength;

impl<B> Learn<Response<B>> for LearnContentLength {
    fn learn(&self, response: &Response<B>) -> Learned {
        let length = response.headers().get(CONTENT_LENGTH);
        let bytes = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Learned { bytes, ..Learned::default() }
    }
}

/// Takes the bytes from a body that was read as a whole (`bytes::Bytes`,
/// `Vec<u8>`, `String`).
#[derive(Clone, Copy, Debug, Default)]
pub struct LearnBody;

impl<B: AsRef<[u8]>> Learn<Response<B>> for LearnBody {
    fn learn(&self, response: &Response<B>) -> Learned {
        Learned { bytes: Some(response.body().as_ref().len() as u64), ..Learned::default() }
    }
}
