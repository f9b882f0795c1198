//! Which rows a list shows.

use super::super::data::{Meta, PURGE, Status, Table};
use super::Ask;
use super::query::Query;
use super::reply::Fail;

#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Archived rows, or the others.
    pub(super) archived: bool,
    /// No filter at all besides the default of the list.
    pub(super) plain: bool,
    status: Option<Wanted>,
    pub(super) owner: Option<u64>,
    person: Option<u64>,
    org: Option<u64>,
    deal: Option<u64>,
    pipeline: Option<u64>,
    stage: Option<u64>,
    done: Option<bool>,
    since: Option<i64>,
    until: Option<i64>,
    pub(super) added: (Option<i64>, Option<i64>),
    pub(super) ids: Option<Vec<u64>>,
    lead: Option<u64>,
}

#[derive(Debug, Default)]
struct Wanted {
    live: Vec<Status>,
    deleted: bool,
}

impl Filter {
    /// What both versions read alike.
    pub(super) fn parse(ask: &Ask<'_>, table: Table, archived: bool) -> Result<Self, Fail> {
        let query = &ask.query;
        let org = if table == Table::Leads { "organization_id" } else { "org_id" };
        let mut filter = Self {
            archived,
            person: query.number("person_id")?,
            org: query.number(org)?,
            deal: query.number("deal_id")?,
            pipeline: query.number("pipeline_id")?,
            stage: query.number("stage_id")?,
            done: query.flag("done")?,
            since: query.time("updated_since")?,
            until: query.time("updated_until")?,
            ids: ids(query)?,
            lead: query.text("lead_id").map(|lead| {
                // A lead that does not exist is referred to by no row.
                ask.account.base.id_of(Table::Leads, lead).unwrap_or(u64::MAX)
            }),
            ..Self::default()
        };
        if table == Table::Files {
            // The list of files knows no filter by time; what it does not know it ignores.
            (filter.since, filter.until) = (None, None);
        }
        if table == Table::Deals {
            filter.status = status(query)?;
        }
        if let Some(id) = query.number("filter_id")? {
            let known = ask.account.fixed.of(super::Entity::Filters).unwrap_or_default();
            if !known.iter().any(|filter| filter["id"] == id) {
                return Err(Fail::bad(format!("Filter {id} does not exist")));
            }
        }
        Ok(filter)
    }

    /// Notes whether anything narrows the list.
    pub(super) fn settle(mut self) -> Self {
        let Self {
            status,
            owner,
            person,
            org,
            deal,
            lead,
            pipeline,
            stage,
            done,
            since,
            until,
            ..
        } = &self;
        let numbers = [owner, person, org, deal, lead, pipeline, stage];
        let times = [since, until, &self.added.0, &self.added.1];
        self.plain = !self.archived
            && status.is_none()
            && done.is_none()
            && self.ids.is_none()
            && numbers.iter().all(|number| number.is_none())
            && times.iter().all(|time| time.is_none());
        self
    }

    pub(super) fn shows(&self, meta: &Meta, now: i64) -> bool {
        let same = |wanted: Option<u64>, is: u64| wanted.is_none_or(|wanted| wanted == is);
        self.status_fits(meta, now)
            && meta.archived == self.archived
            && same(self.owner, meta.owner)
            && same(self.person, meta.person)
            && same(self.org, meta.org)
            && same(self.deal, meta.deal)
            && same(self.lead, meta.lead)
            && same(self.pipeline, meta.pipeline)
            && same(self.stage, meta.stage)
            && self.done.is_none_or(|done| done == meta.done)
            && self.since.is_none_or(|since| meta.update >= since)
            && self.until.is_none_or(|until| meta.update < until)
            && self.added.0.is_none_or(|from| meta.add >= from)
            && self.added.1.is_none_or(|to| meta.add < to)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&meta.id))
    }

    fn status_fits(&self, meta: &Meta, now: i64) -> bool {
        match &self.status {
            None => !meta.deleted,
            Some(wanted) if meta.deleted => wanted.deleted && meta.update >= now - PURGE,
            Some(wanted) => wanted.live.contains(&meta.status),
        }
    }
}

fn status(query: &Query) -> Result<Option<Wanted>, Fail> {
    let Some(text) = query.text("status") else { return Ok(None) };
    let mut wanted = Wanted::default();
    for name in text.split(',').map(str::trim) {
        match (name, Status::by_name(name)) {
            (_, Some(status)) => wanted.live.push(status),
            ("deleted", _) => wanted.deleted = true,
            ("all_not_deleted", _) => {
                wanted.live.extend([Status::Open, Status::Won, Status::Lost]);
            }
            _ => return Err(Fail::bad("Parameter 'status' must be open, won, lost or deleted")),
        }
    }
    Ok(Some(wanted))
}

fn ids(query: &Query) -> Result<Option<Vec<u64>>, Fail> {
    let (Some(text), false) = (query.text("ids"), query.has("filter_id")) else { return Ok(None) };
    let ids: Result<Vec<u64>, _> = text.split(',').map(|id| id.trim().parse()).collect();
    match ids {
        Ok(ids) if ids.len() <= 100 => Ok(Some(ids)),
        Ok(_) => Err(Fail::bad("Parameter 'ids' must name at most 100 ids")),
        Err(_) => Err(Fail::bad("Parameter 'ids' must be integers with commas between")),
    }
}
