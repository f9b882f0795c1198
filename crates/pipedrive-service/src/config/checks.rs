//! Checks of texts that are settings.

use jiff::{civil::Time, tz::TimeZone};

use super::ledger::LedgerUrl;
use crate::{Entity, auth::Origin, transport::ProxyUri};

pub(super) fn company(text: &str) -> bool {
    let name = text.strip_suffix(".pipedrive.com").unwrap_or(text);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

pub(super) fn origin(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let host_only = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        bare && host_only
            && Origin::of(&uri).is_some()
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

pub(super) fn proxy(text: &str) -> bool {
    ProxyUri::parse(text).is_ok()
}

pub(super) fn ledger(text: &str) -> bool {
    LedgerUrl::parse(text).is_some()
}

pub(super) fn time_zone(text: &str) -> bool {
    TimeZone::get(text).is_ok()
}

pub(super) fn time_of_day(text: &str) -> bool {
    text.parse::<Time>().is_ok()
}

pub(super) fn entity(text: &str) -> bool {
    Entity::named(text).is_some()
}

/// The seeds know two more names than there are entities; both are taken.
pub(super) fn token_cost(text: &str) -> bool {
    text == "webhooks" || (text != "all" && entity(text))
}
