//! Rows in quarantine, asked for again one by one.

use std::{collections::BTreeSet, str::FromStr as _};

use pipedrive_service::{Action, Client, Entity, ErrorKind, OnLimit, Priority, RowId};
use serde::{Deserialize, Serialize};

use super::{DayLease, START_UP_TOKENS, company, writer};
use crate::{
    exit::{Code, Failure},
    store::{Id, Mode, PageWrite, QuarantineRow, Store, WalkState},
    wall,
};

/// What came of asking again for rows in quarantine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healed {
    /// Tokens that were planned for it.
    pub tokens_planned: u64,
    /// Rows asked for.
    pub asked: u64,
    /// Of these, the ones that are in their tables now.
    pub healed: u64,
    /// Of these, the ones that the account has no longer.
    pub gone: u64,
    /// Of these, the ones that still cannot be used.
    pub left: u64,
    /// Rows without an identifier, or of kinds that cannot be asked for one by one: only another walk can heal them.
    pub not_asked: u64,
    /// Entities of the rows that only another walk can heal.
    pub walk_again: BTreeSet<String>,
}

/// Asks for each row in quarantine that has an identifier, once and with high priority, and writes those that can be
/// used now. The price is compared with what the day has left before the first of them.
///
/// # Errors
///
/// If the day has not enough tokens, the token is not accepted, the API does not answer, or the database cannot be
/// written. What was healed before stays healed.
pub async fn heal(
    client: &Client,
    store: &mut Store,
    rows: &[QuarantineRow],
    run: i64,
) -> Result<Healed, Failure> {
    let mut healed = Healed { tokens_planned: START_UP_TOKENS, ..Healed::default() };
    let mut asked = Vec::new();
    for row in rows {
        let Ok(entity) = Entity::from_str(&row.entity) else { continue };
        match (&row.row_id, entity.operation(Action::Get)) {
            (Some(id), Some(operation)) => {
                healed.tokens_planned += u64::from(operation.cost);
                asked.push((
                    entity,
                    row,
                    RowId::from_str(id).unwrap_or_else(|never| match never {}),
                ));
            }
            _ => {
                healed.not_asked += 1;
                healed.walk_again.insert(row.entity.clone());
            }
        }
    }
    if asked.is_empty() {
        healed.tokens_planned = 0;
        return Ok(healed);
    }
    let client = client.with_priority(Priority::HIGH).with_on_limit(OnLimit::Wait);
    let mut lease = DayLease::open(&client, None, store).await?;
    let result = under_lease(&client, store, &mut lease, &asked, run, &mut healed).await;
    lease.close(store).await?;
    result.map(|()| healed)
}

async fn under_lease(
    client: &Client,
    store: &mut Store,
    lease: &mut DayLease,
    asked: &[(Entity, &QuarantineRow, RowId)],
    run: i64,
    healed: &mut Healed,
) -> Result<(), Failure> {
    let me = lease.during(store, client.me()).await??;
    store.claim(&company(&me)).await?;
    let left = lease.left();
    if healed.tokens_planned > left.saturating_add(START_UP_TOKENS) {
        let again_at = lease.resets_at();
        let line = format!("{} tokens are needed and {left} are left today", healed.tokens_planned);
        return Err(Failure { again_at, ..Failure::new(Code::Budget, line) });
    }
    for (entity, row, id) in asked {
        healed.asked += 1;
        match lease.during(store, client.get(*entity, id.clone())).await? {
            Ok(found) => {
                write(store, lease, *entity, row, &found, run).await?;
                healed.healed += 1;
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                store.forget_quarantined(&row.entity, &row.item, Id::from(id)).await?;
                healed.gone += 1;
            }
            // Asked for by an identifier that the API does not take, it says nothing of the others.
            Err(error)
                if matches!(error.kind(), ErrorKind::Garbled | ErrorKind::BadRequest { .. }) =>
            {
                healed.left += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn write(
    store: &mut Store,
    lease: &mut DayLease,
    entity: Entity,
    row: &QuarantineRow,
    found: &pipedrive_service::Row,
    run: i64,
) -> Result<(), Failure> {
    // A walk of its own that stands nowhere: where the entity's walks stand is not touched.
    let walk = format!("{}:retry", entity.name());
    let now = wall::now_text();
    let state = WalkState::begun(walk, entity.name(), Mode::Incremental, now, run);
    let (rows, items) = ([writer::row(found)], [row.item.clone()]);
    let page = PageWrite { rows: &rows, healed: &items, ..PageWrite::of(&state) };
    let settled = lease.settle();
    store.commit(&[page], settled.as_ref()).await?;
    Ok(())
}
