//! Activities, pipelines and stages.

use super::super::base::{Base, Meta};
use super::super::entity::Table;
use super::super::json::{self, Object};
use super::super::words;
use super::name;

pub(super) fn activity(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let bits = meta.bits;
    let mut row = Object::open(out);
    row.time("add_time", meta.add);
    row.raw("attendees", "[]");
    row.bool("busy", bits & 1 == 1);
    row.int("creator_user_id", meta.owner);
    row.id("deal_id", meta.deal);
    row.bool("done", meta.done);
    row.date("due_date", meta.due);
    if bits & 6 == 0 {
        row.null("due_time");
        row.null("duration");
    } else {
        row.str("due_time", if bits & 8 == 0 { "09:00:00" } else { "14:30:00" });
        row.str("duration", "00:30:00");
    }
    row.int("id", meta.id);
    row.bool("is_deleted", meta.deleted);
    row.null("lead_id");
    row.null("location");
    if meta.done {
        row.time("marked_as_done_time", meta.update);
    } else {
        row.null("marked_as_done_time");
    }
    if bits & 0x30 == 0 {
        row.str("note", words::NOTE[(bits >> 6) as usize % words::NOTE.len()]);
    } else {
        row.null("note");
    }
    row.id("org_id", meta.org);
    row.int("owner_id", meta.owner);
    let list = row.key("participants");
    list.push(b'[');
    if meta.person != 0 {
        list.extend_from_slice(b"{\"person_id\":");
        json::int(list, meta.person);
        list.extend_from_slice(b",\"primary\":true}");
    }
    list.push(b']');
    row.id("person_id", meta.person);
    row.null("priority");
    row.null("project_id");
    row.null("public_description");
    row.str("subject", &name(base, Table::Activities, meta.id));
    row.str("type", words::ACTIVITY[(bits >> 12) as usize % words::ACTIVITY.len()]);
    row.time("update_time", meta.update);
    row.close();
}

pub(super) fn pipeline(meta: &Meta, out: &mut Vec<u8>) {
    let mut row = Object::open(out);
    row.time("add_time", meta.add);
    row.int("id", meta.id);
    row.bool("is_deal_probability_enabled", true);
    row.bool("is_deleted", meta.deleted);
    row.bool("is_selected", meta.id == 1);
    row.str("name", words::PIPELINE[(meta.id as usize - 1) % words::PIPELINE.len()]);
    row.int("order_nr", meta.id);
    row.time("update_time", meta.update);
    row.close();
}

pub(super) fn stage(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let first = (1..=meta.id).rev().take_while(|id| base.pipeline_of_stage(*id) == meta.pipeline);
    let nth = first.count() as u64;
    let mut row = Object::open(out);
    row.time("add_time", meta.add);
    row.null("days_to_rotten");
    row.int("deal_probability", (10 + 15 * nth).min(100));
    row.int("id", meta.id);
    row.bool("is_deal_rot_enabled", false);
    row.bool("is_deleted", meta.deleted);
    row.str("name", &name(base, Table::Stages, meta.id));
    row.int("order_nr", nth);
    row.id("pipeline_id", meta.pipeline);
    row.time("update_time", meta.update);
    row.close();
}
