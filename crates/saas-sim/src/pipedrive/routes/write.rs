//! One row: read, made, changed, deleted.

use serde_json::{Value, json};

use super::super::data::{Json, PURGE, Table};
use super::super::ops::Version;
use super::reply::{Fail, Reply};
use super::v1_out::{self, Related};
use super::{Ask, v1_in, v2_in};

impl Ask<'_> {
    fn version(&self) -> Version {
        self.matched.op.version
    }

    /// The row of the path: there, and not deleted so long ago that it is gone.
    fn id(&self, table: Table) -> Result<u64, Fail> {
        let missing = || match table {
            Table::Leads => Fail::new(404, "requested lead not found"),
            Table::Users => Fail::new(404, "User not found or not accessible."),
            _ => Fail::not_found(table.singular()),
        };
        let text = self.matched.param("id").unwrap_or_default();
        let id = self.account.base.id_of(table, text).ok_or_else(|| match table {
            Table::Leads => missing(),
            _ => Fail::bad("Parameter 'id' must be an integer"),
        })?;
        let reader = self.account.read();
        let found = reader.view(table).get(id).ok_or_else(missing)?;
        let meta = found.meta();
        if meta.deleted && meta.update < self.now - PURGE {
            return Err(missing());
        }
        Ok(id)
    }

    /// The answer with one row, in the shape of the version asked.
    fn one(&self, table: Table, status: u16, row: Json) -> Reply {
        if self.version() == Version::V2 {
            return Reply::row(status, &row);
        }
        let mut related = Related::default();
        let row = v1_out::row(&self.account.read(), table, row, &mut related);
        let body = json!({
            "success": true,
            "data": Value::Object(self.select(row)),
            "related_objects": related.into_value(),
        });
        Reply::json(status, &body)
    }

    pub(super) fn get(&self, table: Table) -> Result<Reply, Fail> {
        let id = self.id(table)?;
        let reader = self.account.read();
        let view = reader.view(table);
        let found = view.get(id).ok_or_else(|| Fail::not_found(table.singular()))?;
        let row = view.json(&found);
        drop(reader);
        Ok(self.one(table, 200, row))
    }

    fn patch(&self, table: Table, row: &Json) -> Result<Json, Fail> {
        let own: Vec<String> =
            self.account.base.custom(table).iter().map(|field| field.key.clone()).collect();
        match self.version() {
            Version::V1 => v1_in::read(table, self.body, row, &own),
            Version::V2 => v2_in::read(table, self.body, row, &own),
        }
    }

    pub(super) fn create(&self, table: Table) -> Result<Reply, Fail> {
        let shape = self.account.shape(table, self.now);
        let patch = self.patch(table, &shape)?;
        for name in v2_in::required(table) {
            let empty = patch.get(*name).is_none_or(|value| value.is_null() || *value == json!(""));
            if empty {
                return Err(Fail::bad(format!("'{name}' is required")));
            }
        }
        let refers = |names: &[&str]| {
            names.iter().any(|name| patch.get(*name).is_some_and(|id| !id.is_null()))
        };
        if table == Table::Notes && !refers(&["deal_id", "person_id", "org_id", "lead_id"]) {
            return Err(Fail::bad("A note needs a deal, lead, person or organization"));
        }
        if table == Table::Leads && !refers(&["person_id", "organization_id"]) {
            return Err(Fail::bad("A lead needs a person or an organization"));
        }
        self.refers(table, &patch)?;
        let row = self.account.insert(table, patch, self.now);
        // As documented: 201 for products and leads, 200 for the older kinds.
        let status = if matches!(table, Table::Products | Table::Leads) { 201 } else { 200 };
        Ok(self.one(table, status, row))
    }

    pub(super) fn update(&self, table: Table) -> Result<Reply, Fail> {
        let id = self.id(table)?;
        let shape = self.account.shape(table, self.now);
        let patch = self.patch(table, &shape)?;
        self.refers(table, &patch)?;
        let row = self.account.change(table, id, patch, self.now);
        let row = row.ok_or_else(|| Fail::not_found(table.singular()))?;
        Ok(self.one(table, 200, row))
    }

    /// A stage must exist before a deal can be in it, and so on.
    fn refers(&self, table: Table, patch: &Json) -> Result<(), Fail> {
        let reader = self.account.read();
        for (key, of) in [
            ("stage_id", Table::Stages),
            ("pipeline_id", Table::Pipelines),
            ("person_id", Table::Persons),
            ("org_id", Table::Organizations),
            ("deal_id", Table::Deals),
            ("owner_id", Table::Users),
        ] {
            let Some(id) = patch.get(key).and_then(Value::as_u64) else { continue };
            let there = reader.view(of).get(id).is_some_and(|found| !found.meta().deleted);
            if !there {
                let (what, one) = (of.singular(), table.singular());
                return Err(Fail::bad(format!("{what} {id} of the {one} does not exist")));
            }
        }
        Ok(())
    }

    pub(super) fn delete(&self, table: Table) -> Result<Reply, Fail> {
        if table == Table::Users {
            return Err(Fail::not_simulated());
        }
        let id = self.id(table)?;
        if !self.account.remove(table, id, self.now) {
            return Err(Fail::not_found(table.singular()));
        }
        let id = match table {
            Table::Leads => self.account.base.id_text(table, id).into(),
            _ => json!(id),
        };
        Ok(Reply::data(200, &json!({ "id": id })))
    }

    pub(super) fn delete_many(&self, table: Table) -> Result<Reply, Fail> {
        let ids = self.query.text("ids").ok_or_else(|| Fail::bad("Parameter 'ids' is required"))?;
        let ids: Vec<u64> = ids.split(',').filter_map(|id| id.trim().parse().ok()).collect();
        let gone: Vec<u64> =
            ids.into_iter().filter(|id| self.account.remove(table, *id, self.now)).collect();
        Ok(Reply::data(200, &json!({ "id": gone })))
    }
}
