//! The digest of what a walk has read, by the rule that the simulator uses, written a second time.

use std::collections::BTreeMap;

use pipedrive_service::{Entity, Row, RowId};
use saas_sim::pipedrive::Entity as SimEntity;
use sha2::{Digest as _, Sha256};

/// Number of rows and digest: a line of id and hash for each row, ascending by id.
///
/// # Panics
///
/// If a row came twice.
#[must_use]
pub fn digest_of(rows: &[Row]) -> (u64, String) {
    let mut lines: BTreeMap<&RowId, String> = BTreeMap::new();
    for row in rows {
        let hash = hex(&Sha256::digest(row.value().to_string()));
        let twice = lines.insert(&row.id, hash);
        assert!(twice.is_none(), "row {} came twice", row.id);
    }
    let mut all = Sha256::new();
    for (id, hash) in lines {
        all.update(format!("{id}\t{hash}\n"));
    }
    (rows.len() as u64, hex(&all.finalize()))
}

/// What the simulator calls this entity.
#[must_use]
pub fn sim_entity(entity: Entity) -> SimEntity {
    let called = |name: &str| name == entity.name() || entity.aliases().contains(&name);
    SimEntity::ALL
        .into_iter()
        .find(|other| called(other.name()))
        .expect("both sides know the same entities")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
