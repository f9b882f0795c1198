//! Who the token belongs to, and what the server says of its limits.

use http::{HeaderMap, header};
use jiff::{Timestamp, fmt::rfc2822};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Client;
use crate::{
    error::{Context, Error, ErrorKind},
    page::{self, RowId},
};

#[derive(Default, Deserialize)]
struct Known {
    #[serde(default)]
    name: String,
    #[serde(default)]
    company_id: Option<i64>,
    #[serde(default)]
    company_domain: Option<String>,
}

/// Who the token belongs to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Me {
    /// Identifier of the user.
    pub id: i64,
    /// Name of the user.
    pub name: String,
    /// Identifier of the company.
    pub company_id: Option<i64>,
    /// The company's part of the host name.
    pub company_domain: Option<String>,
    /// What the answer's headers said of the account's limits.
    pub count: ServerCount,
    /// The server's clock when it answered (`Date`), to the second.
    pub server_time: Option<Timestamp>,
    /// The whole record.
    pub raw: Box<RawValue>,
}

/// The server's own count, as the headers of one answer gave it. The limiter has taken it in already.
///
/// Nothing where a header is absent or no number: Pipedrive documents those of the burst, and its staff say of those
/// of the day that they may be missing after a long rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServerCount {
    /// Requests per window of two seconds (`x-ratelimit-limit`).
    pub burst_limit: Option<u64>,
    /// Of these, the ones left (`x-ratelimit-remaining`).
    pub burst_remaining: Option<u64>,
    /// Tokens a day (`x-daily-ratelimit-token-limit`).
    pub day_limit: Option<u64>,
    /// Of these, the ones left (`x-daily-ratelimit-token-remaining`).
    pub day_remaining: Option<u64>,
}

impl ServerCount {
    fn of(headers: &HeaderMap) -> Self {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse().ok();
        Self {
            burst_limit: number("x-ratelimit-limit"),
            burst_remaining: number("x-ratelimit-remaining"),
            day_limit: number("x-daily-ratelimit-token-limit"),
            day_remaining: number("x-daily-ratelimit-token-remaining"),
        }
    }
}

impl Client {
    /// Who the token belongs to. Costs 2 tokens; its answer also teaches the limiter the account's limits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Auth`] for a wrong token; see [`Error`].
    pub async fn me(&self) -> Result<Me, Error> {
        let request = self.requests.plain("/api/v1/users/me")?;
        let read = |response: &http::Response<bytes::Bytes>| {
            let time = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
            let time = time.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp());
            Ok((page::one(response.body())?, ServerCount::of(response.headers()), time))
        };
        let (row, count, server_time) = self.fetch_whole(request, read).await?;
        let known: Known = row.parse().unwrap_or_default();
        let RowId::Number(id) = row.id else {
            return Err(Error::new(ErrorKind::Garbled, Context::default())
                .message("the user has no number"));
        };
        Ok(Me {
            id,
            name: known.name,
            company_id: known.company_id,
            company_domain: known.company_domain,
            count,
            server_time,
            raw: row.raw,
        })
    }
}
