//! What Pipedrive keeps, where each kind lives, and how its lists are read.

use std::{fmt, str::FromStr};

use http::Method;

use crate::costs;

/// A kind of record in a Pipedrive account.
///
/// Version 2 of the API is used where it exists, version 1 otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Entity {
    /// Deals that are not archived.
    Deals,
    /// Archived deals, which `/deals` does not show.
    ArchivedDeals,
    /// Persons.
    Persons,
    /// Organizations.
    Organizations,
    /// Activities.
    Activities,
    /// Products.
    Products,
    /// Pipelines.
    Pipelines,
    /// Stages of all pipelines.
    Stages,
    /// Definitions of the fields of deals.
    DealFields,
    /// Definitions of the fields of persons.
    PersonFields,
    /// Definitions of the fields of organizations.
    OrganizationFields,
    /// Definitions of the fields of products.
    ProductFields,
    /// Definitions of the fields of activities.
    ActivityFields,
    /// Notes.
    Notes,
    /// Files: their descriptions, not their contents.
    Files,
    /// Goals, read through `/goals/find`.
    Goals,
    /// Users of the company.
    Users,
    /// Types of activities.
    ActivityTypes,
    /// Saved filters.
    Filters,
    /// Currencies.
    Currencies,
    /// Leads.
    Leads,
}

/// How a list is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Paging {
    /// Version 2: an opaque cursor in `additional_data.next_cursor`.
    Cursor,
    /// Version 1: `start` and `limit`, `additional_data.pagination`.
    Offset,
    /// One answer holds everything; `limit` is not understood.
    Whole,
}

/// Version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `/api/v1`.
    V1,
    /// `/api/v2`.
    V2,
}

/// What can be done with a kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// One page of the list.
    List,
    /// One record by its identifier.
    Get,
    /// A new record.
    Create,
    /// A change of a record.
    Update,
    /// Removal of a record (soft, for 30 days, where the API does so).
    Delete,
}

/// One operation of the API: what errors, costs and statistics name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// HTTP method.
    pub method: Method,
    /// Path with `{id}` where an identifier goes, such as `/api/v2/deals/{id}`.
    pub template: &'static str,
    /// Tokens of the day's budget that the operation costs.
    pub cost: u32,
}

#[derive(Clone, Copy)]
struct Facts {
    name: &'static str,
    aliases: &'static [&'static str],
    list: &'static str,
    one: Option<&'static str>,
    verbs: &'static str, // of g(et) c(reate) u(pdate) d(elete)
    paging: Paging,
    incremental: bool,
}

const fn facts(
    name: &'static str,
    aliases: &'static [&'static str],
    list: &'static str,
    one: &'static str,
    verbs: &'static str,
    paging: Paging,
) -> Facts {
    Facts { name, aliases, list, one: Some(one), verbs, paging, incremental: false }
}

const fn incremental(facts: Facts) -> Facts {
    Facts { incremental: true, ..facts }
}

impl Entity {
    /// Every kind, in the order in which a whole account is best read: what others refer to comes first.
    pub const ALL: [Self; 21] = [
        Self::Users,
        Self::Currencies,
        Self::ActivityTypes,
        Self::Filters,
        Self::Pipelines,
        Self::Stages,
        Self::DealFields,
        Self::PersonFields,
        Self::OrganizationFields,
        Self::ProductFields,
        Self::ActivityFields,
        Self::Goals,
        Self::Organizations,
        Self::Persons,
        Self::Products,
        Self::Deals,
        Self::ArchivedDeals,
        Self::Leads,
        Self::Activities,
        Self::Notes,
        Self::Files,
    ];

    /// The field lists, which the seeds call `custom_fields`.
    pub const CUSTOM_FIELDS: [Self; 5] = [
        Self::DealFields,
        Self::PersonFields,
        Self::OrganizationFields,
        Self::ProductFields,
        Self::ActivityFields,
    ];

    #[rustfmt::skip]
    const fn facts(self) -> Facts {
        use Paging::{Cursor, Offset, Whole};
        match self {
            Self::Deals => incremental(facts("deals", &["deal"], "/api/v2/deals", "/api/v2/deals/{id}", "gcud", Cursor)),
            Self::ArchivedDeals => incremental(facts("archived_deals", &["archived_deal", "archivedDeals", "deals/archived"], "/api/v2/deals/archived", "/api/v2/deals/{id}", "g", Cursor)),
            Self::Persons => incremental(facts("persons", &["person"], "/api/v2/persons", "/api/v2/persons/{id}", "gcud", Cursor)),
            Self::Organizations => incremental(facts("organizations", &["organization", "organisations", "organisation", "orgs", "org"], "/api/v2/organizations", "/api/v2/organizations/{id}", "gcud", Cursor)),
            Self::Activities => incremental(facts("activities", &["activity"], "/api/v2/activities", "/api/v2/activities/{id}", "gcud", Cursor)),
            Self::Products => incremental(facts("products", &["product"], "/api/v2/products", "/api/v2/products/{id}", "gcud", Cursor)),
            Self::Pipelines => facts("pipelines", &["pipeline"], "/api/v2/pipelines", "/api/v2/pipelines/{id}", "gcud", Cursor),
            Self::Stages => facts("stages", &["stage"], "/api/v2/stages", "/api/v2/stages/{id}", "gcud", Cursor),
            Self::DealFields => facts("deal_fields", &["deal_field", "dealFields"], "/api/v2/dealFields", "/api/v2/dealFields/{field_code}", "gcud", Cursor),
            Self::PersonFields => facts("person_fields", &["person_field", "personFields"], "/api/v2/personFields", "/api/v2/personFields/{field_code}", "gcud", Cursor),
            Self::OrganizationFields => facts("organization_fields", &["organization_field", "organizationFields"], "/api/v2/organizationFields", "/api/v2/organizationFields/{field_code}", "gcud", Cursor),
            Self::ProductFields => facts("product_fields", &["product_field", "productFields"], "/api/v2/productFields", "/api/v2/productFields/{field_code}", "gcud", Cursor),
            Self::ActivityFields => facts("activity_fields", &["activity_field", "activityFields"], "/api/v2/activityFields", "/api/v2/activityFields/{field_code}", "g", Cursor),
            Self::Notes => incremental(facts("notes", &["note"], "/api/v1/notes", "/api/v1/notes/{id}", "gcud", Offset)),
            // A new file is a multipart upload, which this client leaves to its user.
            Self::Files => facts("files", &["file"], "/api/v1/files", "/api/v1/files/{id}", "gud", Offset),
            Self::Goals => Facts { name: "goals", aliases: &["goal"], list: "/api/v1/goals/find", one: Some("/api/v1/goals/{id}"), verbs: "cud", paging: Whole, incremental: false },
            Self::Users => facts("users", &["user"], "/api/v1/users", "/api/v1/users/{id}", "gcu", Whole),
            Self::ActivityTypes => facts("activity_types", &["activity_type", "activityTypes", "activityType"], "/api/v1/activityTypes", "/api/v1/activityTypes/{id}", "cud", Whole),
            Self::Filters => facts("filters", &["filter"], "/api/v1/filters", "/api/v1/filters/{id}", "gcud", Whole),
            Self::Currencies => Facts { name: "currencies", aliases: &["currency"], list: "/api/v1/currencies", one: None, verbs: "", paging: Whole, incremental: false },
            Self::Leads => incremental(facts("leads", &["lead"], "/api/v1/leads", "/api/v1/leads/{id}", "gcud", Offset)),
        }
    }

    /// The name used in configuration, tables and reports, such as `archived_deals`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Other spellings that [`Entity::from_str`] understands.
    #[must_use]
    pub const fn aliases(self) -> &'static [&'static str] {
        self.facts().aliases
    }

    /// The path of the list, such as `/api/v2/deals`.
    #[must_use]
    pub const fn endpoint(self) -> &'static str {
        self.facts().list
    }

    /// The version of the API that serves this kind.
    #[must_use]
    pub const fn version(self) -> Version {
        if self.endpoint().as_bytes()[6] == b'2' { Version::V2 } else { Version::V1 }
    }

    /// How the list is walked.
    #[must_use]
    pub const fn paging(self) -> Paging {
        self.facts().paging
    }

    /// The most rows that one page may hold; 500, but 100 for files.
    #[must_use]
    pub const fn max_limit(self) -> u32 {
        if matches!(self, Self::Files) { 100 } else { 500 }
    }

    /// Whether the list understands `updated_since`.
    #[must_use]
    pub const fn incremental(self) -> bool {
        self.facts().incremental
    }

    /// The operation behind an action, or none where the API has no such thing.
    #[must_use]
    pub fn operation(self, action: Action) -> Option<Operation> {
        let facts = self.facts();
        let (verb, method, template) = match action {
            Action::List => return Some(Operation::new(Method::GET, facts.list)),
            Action::Get => ('g', Method::GET, facts.one?),
            // A new goal goes to `/goals`, though the list is at `/goals/find`.
            Action::Create if self == Self::Goals => ('c', Method::POST, "/api/v1/goals"),
            Action::Create => ('c', Method::POST, facts.list),
            Action::Update => {
                let patch = self.version() == Version::V2 || self == Self::Leads;
                ('u', if patch { Method::PATCH } else { Method::PUT }, facts.one?)
            }
            Action::Delete => ('d', Method::DELETE, facts.one?),
        };
        facts.verbs.contains(verb).then(|| Operation::new(method, template))
    }

    /// The tokens that one page of the list costs.
    #[must_use]
    pub fn list_cost(self) -> u32 {
        costs::of(&Method::GET, self.endpoint())
    }

    /// Every kind that a name stands for: `all`, `custom_fields`, or one kind by any of its spellings.
    #[must_use]
    pub fn named(name: &str) -> Option<Vec<Self>> {
        match name.trim() {
            "all" => Some(Self::ALL.to_vec()),
            "custom_fields" => Some(Self::CUSTOM_FIELDS.to_vec()),
            one => one.parse().ok().map(|entity| vec![entity]),
        }
    }
}

impl Operation {
    fn new(method: Method, template: &'static str) -> Self {
        let cost = costs::of(&method, template);
        Self { method, template, cost }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Entity {
    type Err = UnknownEntity;

    fn from_str(text: &str) -> Result<Self, UnknownEntity> {
        let wanted = text.trim();
        Self::ALL
            .into_iter()
            .find(|entity| {
                let same = |name: &str| name.eq_ignore_ascii_case(wanted);
                same(entity.name()) || entity.aliases().iter().any(|alias| same(alias))
            })
            .ok_or_else(|| UnknownEntity { name: wanted.to_owned() })
    }
}

/// No kind of record goes by that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no entity is called {name:?}; there are {}", names())]
pub struct UnknownEntity {
    name: String,
}

impl UnknownEntity {
    /// The name that was not understood.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn names() -> String {
    let mut names: Vec<_> = Entity::ALL.iter().map(|entity| entity.name()).collect();
    names.sort_unstable();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_found_by_all_its_names() {
        for entity in Entity::ALL {
            assert_eq!(Entity::ALL.iter().filter(|other| **other == entity).count(), 1);
            assert_eq!(entity.name().parse(), Ok(entity));
            for alias in entity.aliases() {
                assert_eq!(alias.parse(), Ok(entity), "{alias}");
            }
        }
        assert_eq!(Entity::named("custom_fields").map(|kinds| kinds.len()), Some(5));
        assert!("dael".parse::<Entity>().unwrap_err().to_string().contains("archived_deals"));
    }

    #[test]
    fn every_operation_has_a_cost_in_the_table() {
        for entity in Entity::ALL {
            for action in
                [Action::List, Action::Get, Action::Create, Action::Update, Action::Delete]
            {
                let Some(operation) = entity.operation(action) else { continue };
                assert!(
                    costs::known(&operation.method, operation.template).is_some(),
                    "{entity} {action:?}: {} {}",
                    operation.method,
                    operation.template
                );
            }
        }
    }

    #[test]
    fn version_two_is_used_where_it_exists() {
        let second = Entity::ALL.iter().filter(|entity| entity.version() == Version::V2).count();
        assert_eq!(second, 13);
        assert_eq!(Entity::Deals.list_cost(), 10);
        assert_eq!(Entity::ArchivedDeals.list_cost(), 20);
        assert_eq!(Entity::Pipelines.list_cost(), 5);
        assert_eq!(Entity::Notes.list_cost(), 20);
        assert_eq!(Entity::Files.max_limit(), 100);
        assert!(!Entity::Pipelines.incremental() && Entity::Notes.incremental());
    }
}
