//! What the account holds, and how much of it.

use serde::{Deserialize, Serialize};

/// Everything a full read of an account fetches, each by its own list endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Entity {
    /// `/api/v2/deals`: neither archived nor deleted.
    Deals,
    /// `/api/v2/deals/archived`.
    ArchivedDeals,
    /// `/api/v2/persons`.
    Persons,
    /// `/api/v2/organizations`.
    Organizations,
    /// `/api/v2/activities`.
    Activities,
    /// `/api/v2/products`.
    Products,
    /// `/api/v2/pipelines`.
    Pipelines,
    /// `/api/v2/stages`.
    Stages,
    /// `/api/v2/dealFields`; rows are named by `field_code`.
    DealFields,
    /// `/api/v2/personFields`; rows are named by `field_code`.
    PersonFields,
    /// `/api/v2/organizationFields`; rows are named by `field_code`.
    OrganizationFields,
    /// `/api/v2/productFields`; rows are named by `field_code`.
    ProductFields,
    /// `/api/v2/activityFields`; rows are named by `field_code`.
    ActivityFields,
    /// `/v1/notes`.
    Notes,
    /// `/v1/files`.
    Files,
    /// `/v1/goals/find`; ids are strings.
    Goals,
    /// `/v1/users`.
    Users,
    /// `/v1/activityTypes`.
    ActivityTypes,
    /// `/v1/filters`.
    Filters,
    /// `/v1/currencies`.
    Currencies,
    /// `/v1/leads`: not archived; ids are strings.
    Leads,
}

impl Entity {
    /// All of them, in the order of the list above.
    pub const ALL: [Self; 21] = [
        Self::Deals,
        Self::ArchivedDeals,
        Self::Persons,
        Self::Organizations,
        Self::Activities,
        Self::Products,
        Self::Pipelines,
        Self::Stages,
        Self::DealFields,
        Self::PersonFields,
        Self::OrganizationFields,
        Self::ProductFields,
        Self::ActivityFields,
        Self::Notes,
        Self::Files,
        Self::Goals,
        Self::Users,
        Self::ActivityTypes,
        Self::Filters,
        Self::Currencies,
        Self::Leads,
    ];

    /// The name in reports, such as `deals` or `archivedDeals`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deals => "deals",
            Self::ArchivedDeals => "archivedDeals",
            Self::Persons => "persons",
            Self::Organizations => "organizations",
            Self::Activities => "activities",
            Self::Products => "products",
            Self::Pipelines => "pipelines",
            Self::Stages => "stages",
            Self::DealFields => "dealFields",
            Self::PersonFields => "personFields",
            Self::OrganizationFields => "organizationFields",
            Self::ProductFields => "productFields",
            Self::ActivityFields => "activityFields",
            Self::Notes => "notes",
            Self::Files => "files",
            Self::Goals => "goals",
            Self::Users => "users",
            Self::ActivityTypes => "activityTypes",
            Self::Filters => "filters",
            Self::Currencies => "currencies",
            Self::Leads => "leads",
        }
    }

    /// The entity of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.name() == name)
    }

    /// The list endpoint that a full read uses, with its prefix.
    #[must_use]
    pub fn list_path(self) -> String {
        match self {
            Self::ArchivedDeals => "/api/v2/deals/archived".to_owned(),
            Self::Goals => "/v1/goals/find".to_owned(),
            Self::Notes
            | Self::Files
            | Self::Users
            | Self::ActivityTypes
            | Self::Filters
            | Self::Currencies
            | Self::Leads => format!("/v1/{}", self.name()),
            _ => format!("/api/v2/{}", self.name()),
        }
    }
}

/// The kinds of rows that are made on demand and can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Deals,
    Persons,
    Organizations,
    Activities,
    Products,
    Pipelines,
    Stages,
    Notes,
    Files,
    Leads,
    Users,
}

impl Table {
    pub(crate) const COUNT: usize = 11;

    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Deals,
        Self::Persons,
        Self::Organizations,
        Self::Activities,
        Self::Products,
        Self::Pipelines,
        Self::Stages,
        Self::Notes,
        Self::Files,
        Self::Leads,
        Self::Users,
    ];

    /// The first segment of its paths.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Deals => "deals",
            Self::Persons => "persons",
            Self::Organizations => "organizations",
            Self::Activities => "activities",
            Self::Products => "products",
            Self::Pipelines => "pipelines",
            Self::Stages => "stages",
            Self::Notes => "notes",
            Self::Files => "files",
            Self::Leads => "leads",
            Self::Users => "users",
        }
    }

    /// One of its rows in an error message.
    pub(crate) const fn singular(self) -> &'static str {
        match self {
            Self::Deals => "Deal",
            Self::Persons => "Person",
            Self::Organizations => "Organization",
            Self::Activities => "Activity",
            Self::Products => "Product",
            Self::Pipelines => "Pipeline",
            Self::Stages => "Stage",
            Self::Notes => "Note",
            Self::Files => "File",
            Self::Leads => "Lead",
            Self::Users => "User",
        }
    }

    pub(crate) fn by_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.path() == path)
    }

    /// Whether its rows are the version 2 shape (the others exist in version 1 only).
    pub(crate) const fn has_v2(self) -> bool {
        !matches!(self, Self::Notes | Self::Files | Self::Leads | Self::Users)
    }
}

/// How many ids the account has given out per kind when it is new.
///
/// About one row in fifty of the large kinds is deleted, and one deal or lead in twenty is
/// archived, so lists show a little less. Rows are made when they are asked for: a large account
/// costs no memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is the number of ids of the kind it names")]
#[non_exhaustive]
pub struct Sizes {
    pub deals: u64,
    pub persons: u64,
    pub organizations: u64,
    pub activities: u64,
    pub products: u64,
    pub pipelines: u64,
    pub stages: u64,
    pub notes: u64,
    pub files: u64,
    pub leads: u64,
    pub users: u64,
}

impl Sizes {
    /// An account whose lists show at least `rows` rows in all, in the usual proportions.
    #[must_use]
    pub fn total(rows: u64) -> Self {
        let ids = rows + rows / 25 + 50;
        let share = |percent: u64| ids * percent / 100;
        Self {
            deals: share(22),
            persons: share(26),
            organizations: share(12),
            activities: share(22),
            products: share(2),
            pipelines: 4,
            stages: 22,
            notes: share(10),
            files: share(4),
            leads: share(2),
            users: 12,
        }
    }

    /// The same number of each of the large kinds.
    #[must_use]
    pub fn each(ids: u64) -> Self {
        Self {
            deals: ids,
            persons: ids,
            organizations: ids,
            activities: ids,
            products: ids,
            pipelines: 4,
            stages: 22,
            notes: ids,
            files: ids,
            leads: ids,
            users: 12,
        }
    }

    pub(crate) fn of(&self, table: Table) -> u64 {
        match table {
            Table::Deals => self.deals,
            Table::Persons => self.persons,
            Table::Organizations => self.organizations,
            Table::Activities => self.activities,
            Table::Products => self.products,
            Table::Pipelines => self.pipelines,
            Table::Stages => self.stages,
            Table::Notes => self.notes,
            Table::Files => self.files,
            Table::Leads => self.leads,
            Table::Users => self.users,
        }
    }
}

impl Default for Sizes {
    /// `Sizes::total(50_000)`.
    fn default() -> Self {
        Self::total(50_000)
    }
}
