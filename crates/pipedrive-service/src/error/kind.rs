use std::fmt;

use http::StatusCode;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 429: the burst window is full, or the day's tokens are spent.
    RateLimit {
        /// The day's budget of the company is spent, not only the burst window.
        daily: bool,
    },
    /// The edge answered 403 with a page of its own: too many calls after a 429.
    Banned,
    /// 401 or 403: the token is wrong or may not do this.
    Auth {
        /// The status of the answer.
        status: StatusCode,
    },
    /// 402: the company's account is not open.
    Quota,
    /// 404 or 410.
    NotFound {
        /// The status of the answer.
        status: StatusCode,
    },
    /// Any other 4xx: the request itself is at fault.
    BadRequest {
        /// The status of the answer.
        status: StatusCode,
    },
    /// 5xx.
    Server {
        /// The status of the answer.
        status: StatusCode,
    },
    /// A success whose body is not what the API promises: cut short, HTML, or without data.
    Garbled,
    /// One attempt took longer than the request time-out.
    Timeout,
    /// No answer could be had over the network.
    Connection(ConnectionFault),
    /// The answer was longer than we are ready to hold.
    BodyTooLarge {
        /// The bound in bytes.
        limit: u64,
    },
    /// Memory stayed above the critical threshold.
    Memory {
        /// Bytes in use.
        used: u64,
        /// Bytes that may be used.
        limit: u64,
    },
    /// Our own circuit is open: the API failed too often a moment ago.
    CircuitOpen,
    /// Our own limiter refused: a budget has nothing left in time.
    BudgetExhausted {
        /// The budget: `burst`, `search` or `day`.
        budget: String,
    },
    /// Our own limiter refused: its queue is full, its gate is closed, or the deadline is too near. Or a health gate of a
    /// user's own did.
    NotAdmitted,
    /// A walk cannot go on: the server repeats itself or points elsewhere.
    Paging,
    /// The request would have gone to a host other than the configured one.
    WrongHost,
    /// The API has no such operation for this kind of record.
    Unsupported,
    /// What the caller handed in cannot be sent.
    Invalid,
    /// Something that none of the above describes.
    Other,
}

/// How the network failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionFault {
    /// The host's name has no address.
    UnknownHost,
    /// Nobody listens there.
    Refused,
    /// The certificate or the TLS handshake is wrong.
    Tls,
    /// The connection broke before the whole answer had come.
    Broken,
    /// Anything else.
    Other,
}

impl fmt::Display for ConnectionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownHost => "the host is unknown",
            Self::Refused => "the connection was refused",
            Self::Tls => "the TLS handshake failed",
            Self::Broken => "the connection broke before the answer was whole",
            Self::Other => "the API could not be reached",
        })
    }
}
