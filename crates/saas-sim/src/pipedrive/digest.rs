//! What a complete and correct copy of an entity must add up to.

use std::fmt::Write;
use std::ops::ControlFlow;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::data::{Account, Entity, FieldKind, Order, Table, object, table_of, value};

/// The number of rows that an entity's list shows, and a hash over all of them.
///
/// For each row, ascending by id (numbers as numbers, strings as strings), one line: the id, a
/// tab, the SHA-256 of the row's JSON printed compactly with sorted keys, a line feed. The digest
/// is the SHA-256 of all lines. Both hashes in lower-case hex. Fields of version 2 have no id;
/// their `field_code` takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// How many rows.
    pub rows: u64,
    /// The hash over all of them.
    pub sha256: String,
}

impl Account {
    /// The digest of what a full read of the entity's list shows: version 2 where it exists, no
    /// filter, so without deleted rows, and archived deals on their own.
    #[must_use]
    pub fn digest(&self, entity: Entity) -> Digest {
        let mut lines = Lines::default();
        if let Some(table) = table_of(entity) {
            self.rows(entity, table, &mut lines);
        } else if let Some(kind) = FieldKind::by_entity(entity) {
            for field in self.fields.of(kind) {
                lines.put(&field.code, |out| object(field.v2(), out));
            }
            lines.sort();
        } else {
            for row in &*self.fixed.of(entity).unwrap_or_default() {
                let text = row["id"].as_str().map_or_else(|| row["id"].to_string(), str::to_owned);
                lines.put(&text, |out| value(row, out));
            }
            if entity == Entity::Goals {
                lines.sort();
            }
        }
        lines.finish()
    }

    fn rows(&self, entity: Entity, table: Table, lines: &mut Lines) {
        let archived = entity == Entity::ArchivedDeals;
        let reader = self.read();
        let view = reader.view(table);
        view.walk(Order::Id, false, None, |_, found| {
            let meta = found.meta();
            // The list of users shows the inactive ones too.
            let gone = meta.deleted && table != Table::Users;
            if !gone && meta.archived == archived {
                lines.put(&self.base.id_text(table, meta.id), |out| view.write(&found, out));
            }
            ControlFlow::Continue(())
        });
        if table == Table::Leads {
            lines.sort();
        }
    }
}

#[derive(Default)]
struct Lines {
    lines: Vec<(String, String)>,
    row: Vec<u8>,
}

impl Lines {
    fn put(&mut self, id: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.row.clear();
        write(&mut self.row);
        self.lines.push((id.to_owned(), hex(&Sha256::digest(&self.row))));
    }

    fn sort(&mut self) {
        self.lines.sort();
    }

    fn finish(self) -> Digest {
        let mut all = Sha256::new();
        for (id, hash) in &self.lines {
            all.update(format!("{id}\t{hash}\n"));
        }
        Digest { rows: self.lines.len() as u64, sha256: hex(&all.finalize()) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
