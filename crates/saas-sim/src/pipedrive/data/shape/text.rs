//! Notes and files, which exist in version 1 only.

use super::super::base::{Base, Meta};
use super::super::entity::Table;
use super::super::json::Object;
use super::super::words;
use super::{email, name};

/// `{"<key>": "<name>"}`, or null without a row to name.
fn called<'a>(row: &mut Object<'a>, at: &'a str, key: &str, base: &Base, table: Table, id: u64) {
    if id == 0 {
        row.null(at);
    } else {
        let mut inner = Object::open(row.key(at));
        inner.str(key, &name(base, table, id));
        inner.close();
    }
}

pub(super) fn note(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let bits = meta.bits;
    let mut row = Object::open(out);
    row.bool("active_flag", !meta.deleted);
    row.old_time("add_time", meta.add);
    row.str("content", words::NOTE[(bits >> 8) as usize % words::NOTE.len()]);
    called(&mut row, "deal", "title", base, Table::Deals, meta.deal);
    row.id("deal_id", meta.deal);
    row.int("id", meta.id);
    row.null("last_update_user_id");
    row.null("lead");
    row.null("lead_id");
    row.id("org_id", meta.org);
    called(&mut row, "organization", "name", base, Table::Organizations, meta.org);
    called(&mut row, "person", "name", base, Table::Persons, meta.person);
    row.id("person_id", meta.person);
    row.bool("pinned_to_deal_flag", bits & 0xf0 == 0 && meta.deal != 0);
    row.bool("pinned_to_lead_flag", false);
    row.bool("pinned_to_organization_flag", false);
    row.bool("pinned_to_person_flag", false);
    row.bool("pinned_to_project_flag", false);
    row.null("project_id");
    row.old_time("update_time", meta.update);
    row.object("user", |user| {
        user.str("email", &email(Table::Users, meta.owner));
        user.null("icon_url");
        user.bool("is_you", meta.owner == 1);
        user.str("name", &name(base, Table::Users, meta.owner));
    });
    row.int("user_id", meta.owner);
    row.close();
}

pub(super) fn file(base: &Base, meta: &Meta, out: &mut Vec<u8>) {
    let named = |table: Table, id: u64| (id != 0).then(|| name(base, table, id));
    let file = name(base, Table::Files, meta.id);
    let mut row = Object::open(out);
    row.bool("active_flag", !meta.deleted);
    row.null("activity_id");
    row.old_time("add_time", meta.add);
    row.str("cid", "");
    row.id("deal_id", meta.deal);
    row.text("deal_name", named(Table::Deals, meta.deal).as_deref());
    row.str("description", "");
    row.str("file_name", &file);
    row.int("file_size", 1_000 + meta.bits % 5_000_000);
    row.int("id", meta.id);
    row.bool("inline_flag", false);
    row.null("lead_id");
    row.null("lead_name");
    row.null("log_id");
    row.null("mail_message_id");
    row.null("mail_template_id");
    row.str("name", words::FILE[(meta.bits >> 8) as usize % words::FILE.len()]);
    row.id("org_id", meta.org);
    row.text("org_name", named(Table::Organizations, meta.org).as_deref());
    row.id("person_id", meta.person);
    row.text("person_name", named(Table::Persons, meta.person).as_deref());
    row.null("product_id");
    row.null("product_name");
    row.str("remote_id", "");
    row.str("remote_location", "");
    row.str("s3_bucket", "");
    row.old_time("update_time", meta.update);
    row.str("url", &format!("https://api.pipedrive.com/v1/files/{}/download", meta.id));
    row.int("user_id", meta.owner);
    row.close();
}
