//! Deals, products and leads.

use super::super::base::{Base, Meta, Status};
use super::super::custom;
use super::super::entity::Table;
use super::super::json::{self, Object};
use super::super::words;
use super::{label_ids, name, visible_to};

/// What the deal is worth: whole, or with a half.
fn amount(bits: u64, out: &mut Vec<u8>) {
    json::int(out, (bits >> 12) % 90_000);
    if bits & 0x70 == 0x10 {
        out.extend_from_slice(b".5");
    }
}

pub(super) fn deal(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let bits = meta.bits;
    let (won, lost) = (meta.status == Status::Won, meta.status == Status::Lost);
    let mut row = Object::open(out);
    row.null("acv");
    row.time("add_time", meta.add);
    if meta.archived {
        row.time("archive_time", meta.update)
    } else {
        row.null("archive_time")
    }
    row.null("arr");
    row.null("channel");
    row.null("channel_id");
    closed(&mut row, "close_time", won || lost, meta);
    row.int("creator_user_id", meta.owner);
    row.str("currency", words::CURRENCY[(bits >> 4) as usize % 4]);
    custom::write(base.custom(Table::Deals), bits, row.key("custom_fields"));
    row.date("expected_close_date", meta.add.div_euclid(86_400) + 30 + (bits % 200) as i64);
    row.int("id", meta.id);
    row.bool("is_archived", meta.archived);
    row.bool("is_deleted", meta.deleted);
    label_ids(bits >> 30, row.key("label_ids"));
    closed_day(&mut row, "local_close_date", won || lost, meta);
    closed_day(&mut row, "local_lost_date", lost, meta);
    closed_day(&mut row, "local_won_date", won, meta);
    if lost {
        row.str("lost_reason", "Too expensive")
    } else {
        row.null("lost_reason")
    }
    closed(&mut row, "lost_time", lost, meta);
    row.null("mrr");
    row.id("org_id", meta.org);
    row.str("origin", "ManuallyCreated");
    row.null("origin_id");
    row.int("owner_id", meta.owner);
    row.id("person_id", meta.person);
    row.id("pipeline_id", meta.pipeline);
    if bits & 0x300 == 0 {
        row.int("probability", bits % 101)
    } else {
        row.null("probability")
    }
    row.null("source_lead_id");
    row.null("stage_change_time");
    row.id("stage_id", meta.stage);
    row.str("status", meta.status.name());
    row.str("title", &name(base, Table::Deals, meta.id));
    row.time("update_time", meta.update);
    amount(bits, row.key("value"));
    row.int("visible_to", visible_to(bits));
    closed(&mut row, "won_time", won, meta);
    row.close();
}

fn closed<'a>(row: &mut Object<'a>, key: &'a str, so: bool, meta: &Meta) {
    if so { row.time(key, meta.update) } else { row.null(key) }
}

fn closed_day<'a>(row: &mut Object<'a>, key: &'a str, so: bool, meta: &Meta) {
    if so { row.date(key, meta.update.div_euclid(86_400)) } else { row.null(key) }
}

pub(super) fn product(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let bits = meta.bits;
    let mut row = Object::open(out);
    row.time("add_time", meta.add);
    row.str("billing_frequency", if bits & 1 == 0 { "one-time" } else { "monthly" });
    row.null("billing_frequency_cycles");
    row.null("category");
    row.str("code", &format!("P-{:05}", meta.id));
    custom::write(base.custom(Table::Products), bits, row.key("custom_fields"));
    row.null("description");
    row.int("id", meta.id);
    row.bool("is_deleted", meta.deleted);
    row.bool("is_linkable", true);
    row.str("name", &name(base, Table::Products, meta.id));
    row.int("owner_id", meta.owner);
    let prices = row.key("prices");
    prices.push(b'[');
    let mut price = Object::open(prices);
    price.int("cost", 0);
    price.str("currency", words::CURRENCY[(bits >> 4) as usize % 4]);
    price.null("direct_cost");
    price.str("notes", "");
    amount(bits, price.key("price"));
    price.int("product_id", meta.id);
    price.close();
    prices.push(b']');
    row.int("tax", (bits >> 8) % 3 * 10);
    row.str("unit", if bits & 2 == 0 { "piece" } else { "hour" });
    row.time("update_time", meta.update);
    row.int("visible_to", visible_to(bits));
    row.close();
}

pub(super) fn lead(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let bits = meta.bits;
    let mut row = Object::open(out);
    instant(&mut row, "add_time", meta.add);
    row.str("cc_email", &format!("acme+lead{}@pipedrivemail.com", meta.id));
    row.null("channel");
    row.null("channel_id");
    row.int("creator_id", meta.owner);
    row.null("expected_close_date");
    row.str("id", &base.id_text(Table::Leads, meta.id));
    row.bool("is_archived", meta.archived);
    row.raw("label_ids", "[]");
    row.null("next_activity_id");
    row.id("organization_id", meta.org);
    row.str("origin", "ManuallyCreated");
    row.null("origin_id");
    row.int("owner_id", meta.owner);
    row.id("person_id", meta.person);
    row.null("source_deal_id");
    row.str("source_name", "Manually created");
    row.str("title", &name(base, Table::Leads, meta.id));
    instant(&mut row, "update_time", meta.update);
    row.object("value", |value| {
        amount(bits, value.key("amount"));
        value.str("currency", words::CURRENCY[(bits >> 4) as usize % 4]);
    });
    row.str("visible_to", if visible_to(bits) == 1 { "1" } else { "3" });
    row.bool("was_seen", bits & 1 == 1);
    row.close();
}

/// Leads tell milliseconds.
fn instant<'a>(row: &mut Object<'a>, key: &'a str, seconds: i64) {
    let out = row.key(key);
    out.push(b'"');
    json::moment(out, seconds, b'T');
    out.extend_from_slice(b".000Z\"");
}
