//! The rows of the seed as their list endpoints show them: version 2 where there is one.

mod business;
mod contact;
mod plan;
mod text;

use super::base::{Base, Meta, mix};
use super::entity::Table;
use super::json;
use super::words;

/// Writes a row as one JSON object, keys in order.
pub(crate) fn write(base: &Base, table: Table, meta: &Meta, out: &mut Vec<u8>) {
    let start = out.len();
    plain(base, table, meta, out);
    let small = matches!(table, Table::Pipelines | Table::Stages | Table::Users);
    if base.row_bytes > 0 && !small {
        pad(start + base.row_bytes, out);
    }
}

/// Adds a property that makes the object end at `end`, if it is shorter.
fn pad(end: usize, out: &mut Vec<u8>) {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789";
    let rest = LETTERS.repeat(64);
    out.pop();
    out.extend_from_slice(b",\"x_padding\":\"");
    while out.len() + 2 < end {
        let piece = rest.len().min(end - 2 - out.len());
        out.extend_from_slice(&rest[..piece]);
    }
    out.extend_from_slice(b"\"}");
}

fn plain(base: &Base, table: Table, meta: &Meta, out: &mut Vec<u8>) {
    match table {
        Table::Deals => business::deal(base, meta, out),
        Table::Products => business::product(base, meta, out),
        Table::Leads => business::lead(base, meta, out),
        Table::Persons => contact::person(base, meta, out),
        Table::Organizations => contact::organization(base, meta, out),
        Table::Users => contact::user(base, meta, out),
        Table::Activities => plan::activity(base, meta, out),
        Table::Pipelines => plan::pipeline(meta, out),
        Table::Stages => plan::stage(base, meta, out),
        Table::Notes => text::note(base, meta, out),
        Table::Files => text::file(base, meta, out),
    }
}

/// What a row of the seed is called.
pub(crate) fn name(base: &Base, table: Table, id: u64) -> String {
    let bits = mix(super::base::hash(base.seed, table, id));
    let pick = |from: &[&'static str], shift: u32| from[(bits >> shift) as usize % from.len()];
    match table {
        Table::Persons | Table::Users => {
            format!("{} {}", pick(&words::FIRST, 8), pick(&words::LAST, 20))
        }
        Table::Organizations => {
            format!("{} {} {id}", pick(&words::FIRM, 8), pick(&words::FORM, 20))
        }
        Table::Deals => format!("{} {} #{id}", pick(&words::FIRM, 8), pick(&words::DEAL, 20)),
        Table::Leads => format!("{} {} (lead {id})", pick(&words::FIRM, 8), pick(&words::DEAL, 20)),
        Table::Activities => pick(&words::SUBJECT, 8).to_owned(),
        Table::Products => format!("{} {id}", pick(&words::PRODUCT, 8)),
        Table::Pipelines => words::PIPELINE[(id as usize - 1) % words::PIPELINE.len()].to_owned(),
        Table::Stages => words::STAGE[(id as usize - 1) % words::STAGE.len()].to_owned(),
        Table::Notes => pick(&words::NOTE, 8).to_owned(),
        Table::Files => format!("{id}_{}", pick(&words::FILE, 8)),
    }
}

/// The first and the last name of a person of the seed.
pub(crate) fn names(base: &Base, table: Table, id: u64) -> (&'static str, &'static str) {
    let bits = mix(super::base::hash(base.seed, table, id));
    (
        words::FIRST[(bits >> 8) as usize % words::FIRST.len()],
        words::LAST[(bits >> 20) as usize % words::LAST.len()],
    )
}

/// An address at which nobody reads mail.
pub(crate) fn email(table: Table, id: u64) -> String {
    match table {
        Table::Users => format!("user{id}@acme.test"),
        _ => format!("person{id}@example.test"),
    }
}

/// `[]`, or one label.
fn label_ids(bits: u64, out: &mut Vec<u8>) {
    out.push(b'[');
    if bits & 3 == 1 {
        json::int(out, 11 + (bits >> 2) % 4);
    }
    out.push(b']');
}

/// Who may see the row: 1 owner, 3 company.
fn visible_to(bits: u64) -> u64 {
    if (bits >> 50) & 7 == 0 { 1 } else { 3 }
}
