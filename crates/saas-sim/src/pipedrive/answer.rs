//! The answers that do not come from the account: refusals, errors, pages of the edge.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use jiff::Timestamp;

use super::body::SimBody;
use super::limits::{Figures, Refusal};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=UTF-8");

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const WRITES_LEFT: HeaderName = HeaderName::from_static("x-daily-requests-left");
const DAY_LIMIT: HeaderName = HeaderName::from_static("x-daily-ratelimit-token-limit");
const DAY_REMAINING: HeaderName = HeaderName::from_static("x-daily-ratelimit-token-remaining");
const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");
const BY_GATEWAY: HeaderName = HeaderName::from_static("x-401-by-gw");

pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Response<SimBody> {
    answer(status, JSON, SimBody::whole(body))
}

pub(super) fn html(status: u16, title: &str, text: &str) -> Response<SimBody> {
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><title>{title}</title></head>\
         <body><h1>{title}</h1><p>{text}</p></body></html>\n"
    );
    answer(status, HTML, SimBody::whole(page))
}

pub(super) fn with_body(status: u16, body: SimBody) -> Response<SimBody> {
    answer(status, JSON, body)
}

fn answer(status: u16, kind: HeaderValue, body: SimBody) -> Response<SimBody> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).expect("the simulator gives statuses of three digits only");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// An error as the gateway words it.
pub(super) fn error(status: u16, text: &str) -> Response<SimBody> {
    let body = serde_json::json!({
        "success": false,
        "error": text,
        "errorCode": status,
        "error_info": "Please check developers.pipedrive.com",
        "data": null,
        "additional_data": null,
    });
    json(status, body.to_string())
}

pub(super) fn unauthorized() -> Response<SimBody> {
    let body = r#"{"success":false,"error":"unauthorized access","errorCode":401,"error_info":"Please check developers.pipedrive.com"}"#;
    let mut response = json(401, body);
    response.headers_mut().insert(BY_GATEWAY, HeaderValue::from_static("true"));
    response
}

pub(super) fn refused(refusal: Refusal) -> Response<SimBody> {
    match refusal {
        Refusal::Burst | Refusal::Search => error(429, "request over limit"),
        Refusal::Day => error(429, "daily request budget exceeded"),
    }
}

/// The page that the edge shows to a banned token. Its wording is invented.
pub(super) fn banned() -> Response<SimBody> {
    html(
        403,
        "Attention Required! | Cloudflare",
        "Sorry, you have been blocked. You are unable to access pipedrive.com.",
    )
}

pub(super) fn server_error(status: u16) -> Response<SimBody> {
    match status {
        500 => error(500, "Internal server error"),
        503 => error(503, "Service temporarily unavailable"),
        502 => html(502, "502 Bad Gateway", "The web server reported a bad gateway error."),
        504 => html(504, "504 Gateway Time-out", "The gateway did not get an answer in time."),
        _ => html(status, "524: A timeout occurred", "The origin web server timed out responding."),
    }
}

/// Puts the limits' headers on an answer.
pub(super) fn figures(headers: &mut HeaderMap, figures: &Figures) {
    if let Some((limit, remaining, reset)) = figures.window {
        headers.insert(LIMIT, limit.into());
        headers.insert(REMAINING, remaining.into());
        headers.insert(RESET, reset.into());
    }
    if let Some((limit, remaining)) = figures.day {
        headers.insert(DAY_LIMIT, limit.into());
        headers.insert(DAY_REMAINING, remaining.into());
    }
    if let Some(left) = figures.writes_left {
        headers.insert(WRITES_LEFT, left.into());
    }
    if let Some(after) = figures.retry_after {
        headers.insert(RETRY_AFTER, after.into());
    }
}

/// Puts the account's clock on an answer, as a server does with its own.
pub(super) fn date(headers: &mut HeaderMap, now: Timestamp) {
    let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::try_from(text) {
        headers.insert(DATE, date);
    }
}

/// Names the request on its answer.
pub(super) fn correlate(headers: &mut HeaderMap, seed: u64, number: u64) {
    let id = format!("{:08x}-0000-4000-8000-{number:012x}", seed & 0xffff_ffff);
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(CORRELATION, id);
    }
}
