//! Persons, organizations and users.

use super::super::base::{Base, Meta};
use super::super::custom;
use super::super::entity::Table;
use super::super::json::Object;
use super::super::words;
use super::{email, label_ids, name, names, visible_to};

pub(super) fn person(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let bits = meta.bits;
    let (first, last) = names(base, Table::Persons, meta.id);
    let mut row = Object::open(out);
    row.time("add_time", meta.add);
    custom::write(base.custom(Table::Persons), bits, row.key("custom_fields"));
    reach(&mut row, "emails", Some((&email(Table::Persons, meta.id), "work")));
    row.str("first_name", first);
    row.int("id", meta.id);
    row.bool("is_deleted", meta.deleted);
    label_ids(bits >> 30, row.key("label_ids"));
    row.str("last_name", last);
    row.str("name", &name(base, Table::Persons, meta.id));
    row.id("org_id", meta.org);
    row.int("owner_id", meta.owner);
    let phone = (bits & 3 != 0).then(|| format!("+4670{:07}", bits % 10_000_000));
    reach(&mut row, "phones", phone.as_deref().map(|phone| (phone, "mobile")));
    row.null("picture_id");
    row.time("update_time", meta.update);
    row.int("visible_to", visible_to(bits));
    row.close();
}

/// A list of mail addresses or telephone numbers with at most one in it.
fn reach<'a>(row: &mut Object<'a>, key: &'a str, one: Option<(&str, &str)>) {
    let out = row.key(key);
    out.push(b'[');
    if let Some((value, label)) = one {
        let mut item = Object::open(out);
        item.str("label", label);
        item.bool("primary", true);
        item.str("value", value);
        item.close();
    }
    out.push(b']');
}

pub(super) fn organization(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let bits = meta.bits;
    let street = words::STREET[(bits >> 33) as usize % 8];
    let (city, country) = words::CITY[(bits >> 36) as usize % 8];
    let number = (1 + (bits >> 40) % 120).to_string();
    let mut row = Object::open(out);
    row.time("add_time", meta.add);
    row.object("address", |address| {
        address.str("admin_area_level_1", "");
        address.str("admin_area_level_2", "");
        address.str("country", country);
        address.str("locality", city);
        address.str("postal_code", &format!("{:05}", bits % 100_000));
        address.str("route", street);
        address.str("street_number", &number);
        address.str("sublocality", "");
        address.str("subpremise", "");
        address.str("value", &format!("{street} {number}, {city}"));
    });
    row.null("annual_revenue");
    custom::write(base.custom(Table::Organizations), bits, row.key("custom_fields"));
    row.null("employee_count");
    row.int("id", meta.id);
    row.null("industry");
    row.bool("is_deleted", meta.deleted);
    label_ids(bits >> 30, row.key("label_ids"));
    row.null("linkedin");
    row.str("name", &name(base, Table::Organizations, meta.id));
    row.int("owner_id", meta.owner);
    row.time("update_time", meta.update);
    row.int("visible_to", visible_to(bits));
    row.null("website");
    row.close();
}

pub(super) fn user(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let mut row = Object::open(out);
    row.raw("access", r#"[{"admin":false,"app":"sales","permission_set_id":"1"}]"#);
    row.bool("activated", true);
    row.bool("active_flag", !meta.deleted);
    row.old_time("created", meta.add);
    row.str("default_currency", "EUR");
    row.str("email", &email(Table::Users, meta.id));
    row.bool("has_created_company", meta.id == 1);
    row.null("icon_url");
    row.int("id", meta.id);
    row.int("is_admin", u64::from(meta.id <= 2));
    row.bool("is_deleted", meta.deleted);
    row.bool("is_you", meta.id == 1);
    row.int("lang", 1);
    row.old_time("last_login", meta.update);
    row.str("locale", "en_GB");
    row.old_time("modified", meta.update);
    row.str("name", &name(base, Table::Users, meta.id));
    row.null("phone");
    row.int("role_id", 1);
    row.str("timezone_name", "Europe/Berlin");
    row.str("timezone_offset", "+01:00");
    row.close();
}
