//! What the responses of known APIs say about budgets.
//!
//! Each dialect is a [`Dialect`] for
//! [`TokenLimitLayer::dialect`](crate::TokenLimitLayer::dialect) and an
//! [`HttpDialect`] for responses of other types. Its own page
//! says which header is read as what.
//!
//! | dialect | levels from | refusals told apart | source | not confirmed, so a setting |
//! | --- | --- | --- | --- | --- |
//! | [`IetfDialect`] | `RateLimit` and `RateLimit-Policy`; `RateLimit-Limit`, `-Remaining`, `-Reset` | by violated policy; short and long; abnormal use | [draft 11], RFC 9651 | what is [long](IetfDialect::long) |
//! | [`GithubDialect`] | `x-ratelimit-limit`, `-remaining`, `-used`, `-reset`, by `-resource` | primary, secondary | [GitHub][github] | – |
//! | [`HubspotDialect`] | `x-hubspot-ratelimit-max`, `-remaining`, `-daily`, `-daily-remaining`, `-secondly`, `-secondly-remaining` | ten seconds, one second, day, migration | [HubSpot][hubspot] | the [second](HubspotDialect::secondly) |
//! | [`ShopifyDialect`] | `x-shopify-shop-api-call-limit`; `extensions.cost` in the body | REST, throttled query | [Shopify][shopify] | – |
//! | [`AutotaskDialect`] | the answer of `ThresholdInformation` | threads, hour | [Autotask][autotask] | the [status](AutotaskDialect::refused_with) of a refusal; how long it lasts, for the [hour](AutotaskDialect::refused_for) and for [threads](AutotaskDialect::threads_for) |
//! | [`OpenAiDialect`] | `x-ratelimit-limit-requests`, `-remaining-`, `-reset-`, and the same of `-tokens` | requests, tokens, no money left | [OpenAI][openai] | how long [no money](OpenAiDialect::quota_for) lasts |
//! | [`PipedriveDialect`] | `x-ratelimit-limit`, `-remaining`, `-reset`; `x-daily-ratelimit-token-limit`, `-remaining` | burst, day, ban | [Pipedrive][pipedrive] | how long a [ban](PipedriveDialect::ban_for) lasts |
//! | [`GenericDialect`] | whatever they are called | by window; too fast or exhausted | – | all of it |
//! | [`RetryAfterDialect`] | – | – | [RFC 9110] | a 429 [without a time](RetryAfterDialect::too_many) |
//!
//! Two tell what a request has really cost
//! ([`Observation::Cost`]): Shopify's
//! `actualQueryCost` and OpenAI's `usage.total_tokens`.
//!
//! # `Retry-After`
//!
//! Every dialect reads both of its forms, seconds (a fraction is rounded up) and
//! an HTTP date in any of the three forms of RFC 9110, and with a 503 closes the
//! gate for that time. A date is held against the response's own `Date`, or else
//! against the wall clock. Sent twice, the longer counts.
//!
//! # What servers say that cannot be
//!
//! - A number is digits and perhaps a fraction. What is empty, negative, too
//!   great, `NaN`, or has an exponent counts as not said.
//! - A header that is sent twice with different values counts as not said.
//! - Units left are rounded down, times are rounded up.
//! - A pause or reset longer than [`BELIEVED_PAUSE`], 32 days, counts as not said.
//!   Each dialect has a `believe_up_to` to move that bound, though never beyond
//!   [`MAX_PAUSE`], 366 days. A pause within it is never shortened. So a server
//!   that counts in milliseconds or from another year cannot close the gate for
//!   good: what holds without a time holds then.
//! - A pause of nothing, where a request was refused, counts as not said too.
//!
//! Reading never panics and allocates nothing, whatever is sent. Of a body the
//! first MiB is looked through for figures, the first 4 KiB for words.
//!
//! [draft 11]: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/
//! [github]: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
//! [hubspot]: https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
//! [shopify]: https://shopify.dev/docs/api/usage/limits
//! [autotask]: https://www.autotask.net/help/developerhelp/Content/APIs/General/ThreadLimiting.htm
//! [openai]: https://developers.openai.com/api/docs/guides/rate-limits
//! [pipedrive]: https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting
//! [RFC 9110]: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after

mod autotask;
mod by_name;
mod date;
mod fields;
mod generic;
mod github;
mod hubspot;
mod ietf;
mod json;
mod open_ai;
mod pause;
mod pipedrive;
mod retry_after;
mod shopify;
mod text;

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

use self::pause::Belief;
pub use self::{
    autotask::AutotaskDialect,
    generic::GenericDialect,
    github::GithubDialect,
    hubspot::HubspotDialect,
    ietf::{IetfDialect, QuotaUnit},
    open_ai::OpenAiDialect,
    pause::{BELIEVED_PAUSE, MAX_PAUSE, ResetForm},
    pipedrive::PipedriveDialect,
    retry_after::{RetryAfterDialect, retry_after},
    shopify::ShopifyDialect,
};
use crate::{BodyText, Dialect, GateReason, HttpDialect, Observation, Observations, WallClock};

/// A refusal that asks for this long or longer is no matter of a short window.
const LONG: Duration = Duration::from_secs(60);

/// Reads responses whose bodies are at hand.
macro_rules! reads_bodies {
    ($($dialect:ty),+) => {$(
        impl<B: BodyText> Dialect<Response<B>> for $dialect {
            fn observe(&self, response: &Response<B>, clock: &dyn WallClock) -> Observations {
                self.read(response.status(), response.headers(), response.body().text(), clock)
            }
        }
    )+};
}

reads_bodies!(
    AutotaskDialect,
    GithubDialect,
    HubspotDialect,
    IetfDialect,
    OpenAiDialect,
    PipedriveDialect,
    ShopifyDialect
);

/// The server wants to be left alone by all.
const fn closed(retry_after: Duration) -> Observation {
    Observation::Closed { reason: GateReason::RetryAfter, retry_after }
}

/// A 503 that says when to come back.
fn unavailable(
    status: StatusCode,
    headers: &HeaderMap,
    clock: &dyn WallClock,
    belief: Belief,
) -> Observations {
    let down = status == StatusCode::SERVICE_UNAVAILABLE;
    let pause = down.then(|| belief.retry_after(headers, clock)).flatten();
    pause.map_or_else(Observations::none, |pause| closed(pause).into())
}

/// A pause of nothing would let the next call run into the same wall.
fn some_time(pause: Option<Duration>) -> Option<Duration> {
    pause.filter(|pause| !pause.is_zero())
}
