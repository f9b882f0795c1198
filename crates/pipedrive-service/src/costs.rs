//! What each operation costs in tokens of the day's budget.
//!
//! The figures are those of the `x-token-cost` extension in Pipedrive's own OpenAPI documents of versions 1 and 2.
//! The page size does not change the price.

use std::{collections::HashMap, sync::OnceLock};

use http::Method;

/// The cost of an operation that the table does not know: that of a version 1 list, the commonest.
const UNKNOWN_V1: u32 = 20;
/// The same for version 2.
const UNKNOWN_V2: u32 = 10;

/// The tokens that an operation costs, by its path template such as `/api/v2/deals/{id}`.
///
/// An operation that the table does not know is taken for a list: 20 in version 1, 10 in version 2.
#[must_use]
pub fn of(method: &Method, template: &str) -> u32 {
    known(method, template).unwrap_or(if template.starts_with("/api/v2/") {
        UNKNOWN_V2
    } else {
        UNKNOWN_V1
    })
}

/// The tokens that an operation costs, if the table knows it.
#[must_use]
pub fn known(method: &Method, template: &str) -> Option<u32> {
    TABLE
        .iter()
        .find(|(verb, path, _)| *path == template && *verb == method.as_str())
        .map(|(_, _, cost)| *cost)
}

/// The template that a path belongs to, and what the operation costs.
///
/// `/v1/…` is read as `/api/v1/…`. A path that the table does not know has a template of its version only. Allocates
/// nothing.
#[must_use]
pub fn matching(method: &Method, path: &str) -> (&'static str, u32) {
    let known = path.strip_prefix("/api").unwrap_or(path);
    let second = known.starts_with("/v2/");
    let fits = |template: &str| {
        let template = template.strip_prefix("/api").unwrap_or(template);
        let mut wanted = template.split('/');
        let mut given = known.split('/');
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if wanted == given => {}
                (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
                _ => return false,
            }
        }
    };
    let rows = index().get(&key(known)).map_or(&[][..], Vec::as_slice);
    // A literal part wins over a place for an identifier: `/users/me` over `/users/{id}`.
    let best = rows
        .iter()
        .map(|row| &TABLE[*row])
        .filter(|(verb, template, _)| *verb == method.as_str() && fits(template))
        .min_by_key(|(_, template, _)| template.matches('{').count());
    match best {
        Some((_, template, cost)) => (template, *cost),
        None if second => ("/api/v2/{path}", UNKNOWN_V2),
        None => ("/api/v1/{path}", UNKNOWN_V1),
    }
}

/// The rows of the table by version and first part of the path, such as `/v2/deals`.
fn index() -> &'static HashMap<&'static str, Vec<usize>> {
    static INDEX: OnceLock<HashMap<&'static str, Vec<usize>>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index: HashMap<&'static str, Vec<usize>> = HashMap::new();
        for (row, (_, template, _)) in TABLE.iter().enumerate() {
            index
                .entry(key(template.strip_prefix("/api").unwrap_or(template)))
                .or_default()
                .push(row);
        }
        index
    })
}

/// The first two parts of a path.
fn key(path: &str) -> &str {
    let end = path.match_indices('/').nth(2).map_or(path.len(), |(end, _)| end);
    &path[..end]
}

/// Whether an operation falls into the search window, by its path template.
#[must_use]
pub fn is_search(template: &str) -> bool {
    template.ends_with("/search") || template.contains("/itemSearch")
}

/// Every operation whose price is known: method, path template, tokens.
#[rustfmt::skip]
pub const TABLE: &[(&str, &str, u32)] = &[
    ("GET", "/api/v1/activityFields", 20),
    ("GET", "/api/v1/activityTypes", 20),
    ("POST", "/api/v1/activityTypes", 10),
    ("DELETE", "/api/v1/activityTypes/{id}", 6),
    ("PUT", "/api/v1/activityTypes/{id}", 10),
    ("GET", "/api/v1/currencies", 20),
    ("GET", "/api/v1/dealFields", 20),
    ("POST", "/api/v1/dealFields", 10),
    ("DELETE", "/api/v1/dealFields", 10),
    ("GET", "/api/v1/dealFields/{id}", 2),
    ("DELETE", "/api/v1/dealFields/{id}", 6),
    ("PUT", "/api/v1/dealFields/{id}", 10),
    ("GET", "/api/v1/deals/archived", 40),
    ("GET", "/api/v1/deals/summary", 40),
    ("GET", "/api/v1/deals/summary/archived", 80),
    ("GET", "/api/v1/deals/timeline", 20),
    ("GET", "/api/v1/deals/timeline/archived", 40),
    ("GET", "/api/v1/deals/{id}/changelog", 20),
    ("POST", "/api/v1/deals/{id}/duplicate", 10),
    ("GET", "/api/v1/deals/{id}/files", 20),
    ("GET", "/api/v1/deals/{id}/flow", 40),
    ("GET", "/api/v1/deals/{id}/followers", 20),
    ("POST", "/api/v1/deals/{id}/followers", 10),
    ("DELETE", "/api/v1/deals/{id}/followers/{follower_id}", 6),
    ("GET", "/api/v1/deals/{id}/mailMessages", 20),
    ("PUT", "/api/v1/deals/{id}/merge", 40),
    ("GET", "/api/v1/deals/{id}/participants", 10),
    ("POST", "/api/v1/deals/{id}/participants", 10),
    ("DELETE", "/api/v1/deals/{id}/participants/{deal_participant_id}", 6),
    ("GET", "/api/v1/deals/{id}/participantsChangelog", 10),
    ("GET", "/api/v1/deals/{id}/permittedUsers", 10),
    ("GET", "/api/v1/files", 20),
    ("POST", "/api/v1/files", 10),
    ("POST", "/api/v1/files/remote", 10),
    ("POST", "/api/v1/files/remoteLink", 10),
    ("DELETE", "/api/v1/files/{id}", 6),
    ("GET", "/api/v1/files/{id}", 2),
    ("PUT", "/api/v1/files/{id}", 10),
    ("GET", "/api/v1/files/{id}/download", 20),
    ("DELETE", "/api/v1/filters", 10),
    ("GET", "/api/v1/filters", 20),
    ("POST", "/api/v1/filters", 10),
    ("GET", "/api/v1/filters/helpers", 20),
    ("DELETE", "/api/v1/filters/{id}", 6),
    ("GET", "/api/v1/filters/{id}", 2),
    ("PUT", "/api/v1/filters/{id}", 10),
    ("POST", "/api/v1/goals", 10),
    ("GET", "/api/v1/goals/find", 20),
    ("PUT", "/api/v1/goals/{id}", 10),
    ("DELETE", "/api/v1/goals/{id}", 6),
    ("GET", "/api/v1/goals/{id}/results", 20),
    ("GET", "/api/v1/leadLabels", 10),
    ("POST", "/api/v1/leadLabels", 10),
    ("PATCH", "/api/v1/leadLabels/{id}", 10),
    ("DELETE", "/api/v1/leadLabels/{id}", 6),
    ("GET", "/api/v1/leads", 20),
    ("POST", "/api/v1/leads", 10),
    ("GET", "/api/v1/leads/archived", 40),
    ("GET", "/api/v1/leads/search", 40),
    ("GET", "/api/v1/leads/{id}", 2),
    ("PATCH", "/api/v1/leads/{id}", 10),
    ("DELETE", "/api/v1/leads/{id}", 6),
    ("GET", "/api/v1/leads/{id}/permittedUsers", 10),
    ("GET", "/api/v1/noteFields", 20),
    ("GET", "/api/v1/notes", 20),
    ("POST", "/api/v1/notes", 10),
    ("DELETE", "/api/v1/notes/{id}", 6),
    ("GET", "/api/v1/notes/{id}", 2),
    ("PUT", "/api/v1/notes/{id}", 10),
    ("GET", "/api/v1/notes/{id}/comments", 20),
    ("POST", "/api/v1/notes/{id}/comments", 10),
    ("GET", "/api/v1/notes/{id}/comments/{commentId}", 2),
    ("PUT", "/api/v1/notes/{id}/comments/{commentId}", 10),
    ("DELETE", "/api/v1/notes/{id}/comments/{commentId}", 6),
    ("GET", "/api/v1/organizationFields", 20),
    ("POST", "/api/v1/organizationFields", 10),
    ("DELETE", "/api/v1/organizationFields", 10),
    ("GET", "/api/v1/organizationFields/{id}", 2),
    ("DELETE", "/api/v1/organizationFields/{id}", 6),
    ("PUT", "/api/v1/organizationFields/{id}", 10),
    ("GET", "/api/v1/organizations/{id}/changelog", 20),
    ("GET", "/api/v1/organizations/{id}/files", 20),
    ("GET", "/api/v1/organizations/{id}/flow", 40),
    ("GET", "/api/v1/organizations/{id}/followers", 20),
    ("POST", "/api/v1/organizations/{id}/followers", 10),
    ("DELETE", "/api/v1/organizations/{id}/followers/{follower_id}", 6),
    ("GET", "/api/v1/organizations/{id}/mailMessages", 20),
    ("PUT", "/api/v1/organizations/{id}/merge", 40),
    ("GET", "/api/v1/organizations/{id}/permittedUsers", 10),
    ("GET", "/api/v1/permissionSets", 20),
    ("GET", "/api/v1/permissionSets/{id}", 2),
    ("GET", "/api/v1/permissionSets/{id}/assignments", 20),
    ("GET", "/api/v1/personFields", 20),
    ("POST", "/api/v1/personFields", 10),
    ("DELETE", "/api/v1/personFields", 10),
    ("GET", "/api/v1/personFields/{id}", 2),
    ("DELETE", "/api/v1/personFields/{id}", 6),
    ("PUT", "/api/v1/personFields/{id}", 10),
    ("GET", "/api/v1/persons/{id}/changelog", 20),
    ("GET", "/api/v1/persons/{id}/files", 20),
    ("GET", "/api/v1/persons/{id}/flow", 40),
    ("GET", "/api/v1/persons/{id}/followers", 20),
    ("POST", "/api/v1/persons/{id}/followers", 10),
    ("DELETE", "/api/v1/persons/{id}/followers/{follower_id}", 6),
    ("GET", "/api/v1/persons/{id}/mailMessages", 20),
    ("PUT", "/api/v1/persons/{id}/merge", 40),
    ("GET", "/api/v1/persons/{id}/permittedUsers", 10),
    ("DELETE", "/api/v1/persons/{id}/picture", 6),
    ("POST", "/api/v1/persons/{id}/picture", 10),
    ("GET", "/api/v1/persons/{id}/products", 20),
    ("GET", "/api/v1/pipelines/{id}/conversion_statistics", 40),
    ("GET", "/api/v1/pipelines/{id}/deals", 20),
    ("GET", "/api/v1/pipelines/{id}/movement_statistics", 40),
    ("DELETE", "/api/v1/productFields", 10),
    ("GET", "/api/v1/productFields", 20),
    ("POST", "/api/v1/productFields", 10),
    ("DELETE", "/api/v1/productFields/{id}", 6),
    ("GET", "/api/v1/productFields/{id}", 2),
    ("PUT", "/api/v1/productFields/{id}", 10),
    ("GET", "/api/v1/products/{id}/deals", 20),
    ("GET", "/api/v1/products/{id}/files", 20),
    ("GET", "/api/v1/products/{id}/followers", 20),
    ("POST", "/api/v1/products/{id}/followers", 10),
    ("DELETE", "/api/v1/products/{id}/followers/{follower_id}", 6),
    ("GET", "/api/v1/products/{id}/permittedUsers", 10),
    ("GET", "/api/v1/recents", 20),
    ("GET", "/api/v1/roles", 20),
    ("POST", "/api/v1/roles", 10),
    ("DELETE", "/api/v1/roles/{id}", 6),
    ("GET", "/api/v1/roles/{id}", 2),
    ("PUT", "/api/v1/roles/{id}", 10),
    ("DELETE", "/api/v1/roles/{id}/assignments", 6),
    ("GET", "/api/v1/roles/{id}/assignments", 10),
    ("POST", "/api/v1/roles/{id}/assignments", 10),
    ("GET", "/api/v1/roles/{id}/pipelines", 20),
    ("PUT", "/api/v1/roles/{id}/pipelines", 10),
    ("GET", "/api/v1/roles/{id}/settings", 20),
    ("POST", "/api/v1/roles/{id}/settings", 10),
    ("GET", "/api/v1/stages/{id}/deals", 20),
    ("GET", "/api/v1/userConnections", 20),
    ("GET", "/api/v1/userSettings", 2),
    ("GET", "/api/v1/users", 20),
    ("POST", "/api/v1/users", 10),
    ("GET", "/api/v1/users/find", 40),
    ("GET", "/api/v1/users/me", 2),
    ("GET", "/api/v1/users/{id}", 2),
    ("PUT", "/api/v1/users/{id}", 10),
    ("GET", "/api/v1/users/{id}/followers", 20),
    ("GET", "/api/v1/users/{id}/permissions", 10),
    ("GET", "/api/v1/users/{id}/roleAssignments", 10),
    ("GET", "/api/v1/users/{id}/roleSettings", 10),
    ("GET", "/api/v1/webhooks", 10),
    ("POST", "/api/v1/webhooks", 10),
    ("DELETE", "/api/v1/webhooks/{id}", 6),
    ("GET", "/api/v2/activities", 10),
    ("POST", "/api/v2/activities", 5),
    ("DELETE", "/api/v2/activities/{id}", 3),
    ("GET", "/api/v2/activities/{id}", 1),
    ("PATCH", "/api/v2/activities/{id}", 5),
    ("GET", "/api/v2/activityFields", 10),
    ("GET", "/api/v2/activityFields/{field_code}", 1),
    ("GET", "/api/v2/dealFields", 10),
    ("POST", "/api/v2/dealFields", 5),
    ("GET", "/api/v2/dealFields/{field_code}", 1),
    ("PATCH", "/api/v2/dealFields/{field_code}", 5),
    ("DELETE", "/api/v2/dealFields/{field_code}", 3),
    ("POST", "/api/v2/dealFields/{field_code}/options", 5),
    ("DELETE", "/api/v2/dealFields/{field_code}/options", 3),
    ("PATCH", "/api/v2/dealFields/{field_code}/options", 5),
    ("GET", "/api/v2/deals", 10),
    ("POST", "/api/v2/deals", 5),
    ("GET", "/api/v2/deals/archived", 20),
    ("GET", "/api/v2/deals/installments", 10),
    ("GET", "/api/v2/deals/products", 10),
    ("GET", "/api/v2/deals/search", 20),
    ("DELETE", "/api/v2/deals/{id}", 3),
    ("GET", "/api/v2/deals/{id}", 1),
    ("PATCH", "/api/v2/deals/{id}", 5),
    ("POST", "/api/v2/deals/{id}/convert/lead", 40),
    ("GET", "/api/v2/deals/{id}/convert/status/{conversion_id}", 1),
    ("GET", "/api/v2/deals/{id}/discounts", 10),
    ("POST", "/api/v2/deals/{id}/discounts", 5),
    ("PATCH", "/api/v2/deals/{id}/discounts/{discount_id}", 5),
    ("DELETE", "/api/v2/deals/{id}/discounts/{discount_id}", 3),
    ("GET", "/api/v2/deals/{id}/followers", 10),
    ("POST", "/api/v2/deals/{id}/followers", 5),
    ("GET", "/api/v2/deals/{id}/followers/changelog", 10),
    ("DELETE", "/api/v2/deals/{id}/followers/{follower_id}", 3),
    ("POST", "/api/v2/deals/{id}/installments", 5),
    ("PATCH", "/api/v2/deals/{id}/installments/{installment_id}", 5),
    ("DELETE", "/api/v2/deals/{id}/installments/{installment_id}", 3),
    ("GET", "/api/v2/deals/{id}/products", 10),
    ("POST", "/api/v2/deals/{id}/products", 5),
    ("DELETE", "/api/v2/deals/{id}/products", 15),
    ("POST", "/api/v2/deals/{id}/products/bulk", 25),
    ("PATCH", "/api/v2/deals/{id}/products/{product_attachment_id}", 5),
    ("DELETE", "/api/v2/deals/{id}/products/{product_attachment_id}", 3),
    ("GET", "/api/v2/itemSearch", 20),
    ("GET", "/api/v2/itemSearch/field", 20),
    ("GET", "/api/v2/leads/search", 20),
    ("POST", "/api/v2/leads/{id}/convert/deal", 40),
    ("GET", "/api/v2/leads/{id}/convert/status/{conversion_id}", 1),
    ("GET", "/api/v2/organizationFields", 10),
    ("POST", "/api/v2/organizationFields", 5),
    ("GET", "/api/v2/organizationFields/{field_code}", 1),
    ("PATCH", "/api/v2/organizationFields/{field_code}", 5),
    ("DELETE", "/api/v2/organizationFields/{field_code}", 3),
    ("POST", "/api/v2/organizationFields/{field_code}/options", 5),
    ("DELETE", "/api/v2/organizationFields/{field_code}/options", 3),
    ("PATCH", "/api/v2/organizationFields/{field_code}/options", 5),
    ("GET", "/api/v2/organizations", 10),
    ("POST", "/api/v2/organizations", 5),
    ("GET", "/api/v2/organizations/search", 20),
    ("DELETE", "/api/v2/organizations/{id}", 3),
    ("GET", "/api/v2/organizations/{id}", 1),
    ("PATCH", "/api/v2/organizations/{id}", 5),
    ("GET", "/api/v2/organizations/{id}/followers", 10),
    ("POST", "/api/v2/organizations/{id}/followers", 5),
    ("GET", "/api/v2/organizations/{id}/followers/changelog", 10),
    ("DELETE", "/api/v2/organizations/{id}/followers/{follower_id}", 3),
    ("GET", "/api/v2/personFields", 10),
    ("POST", "/api/v2/personFields", 5),
    ("GET", "/api/v2/personFields/{field_code}", 1),
    ("PATCH", "/api/v2/personFields/{field_code}", 5),
    ("DELETE", "/api/v2/personFields/{field_code}", 3),
    ("POST", "/api/v2/personFields/{field_code}/options", 5),
    ("DELETE", "/api/v2/personFields/{field_code}/options", 3),
    ("PATCH", "/api/v2/personFields/{field_code}/options", 5),
    ("GET", "/api/v2/persons", 10),
    ("POST", "/api/v2/persons", 5),
    ("GET", "/api/v2/persons/search", 20),
    ("DELETE", "/api/v2/persons/{id}", 3),
    ("GET", "/api/v2/persons/{id}", 1),
    ("PATCH", "/api/v2/persons/{id}", 5),
    ("GET", "/api/v2/persons/{id}/followers", 10),
    ("POST", "/api/v2/persons/{id}/followers", 5),
    ("GET", "/api/v2/persons/{id}/followers/changelog", 10),
    ("DELETE", "/api/v2/persons/{id}/followers/{follower_id}", 3),
    ("GET", "/api/v2/persons/{id}/picture", 1),
    ("GET", "/api/v2/pipelines", 5),
    ("POST", "/api/v2/pipelines", 5),
    ("DELETE", "/api/v2/pipelines/{id}", 3),
    ("GET", "/api/v2/pipelines/{id}", 1),
    ("PATCH", "/api/v2/pipelines/{id}", 5),
    ("GET", "/api/v2/productFields", 10),
    ("POST", "/api/v2/productFields", 5),
    ("GET", "/api/v2/productFields/{field_code}", 1),
    ("PATCH", "/api/v2/productFields/{field_code}", 5),
    ("DELETE", "/api/v2/productFields/{field_code}", 3),
    ("POST", "/api/v2/productFields/{field_code}/options", 5),
    ("DELETE", "/api/v2/productFields/{field_code}/options", 3),
    ("PATCH", "/api/v2/productFields/{field_code}/options", 5),
    ("GET", "/api/v2/products", 10),
    ("POST", "/api/v2/products", 5),
    ("GET", "/api/v2/products/search", 20),
    ("DELETE", "/api/v2/products/{id}", 3),
    ("GET", "/api/v2/products/{id}", 1),
    ("PATCH", "/api/v2/products/{id}", 5),
    ("POST", "/api/v2/products/{id}/duplicate", 5),
    ("GET", "/api/v2/products/{id}/followers", 10),
    ("POST", "/api/v2/products/{id}/followers", 5),
    ("GET", "/api/v2/products/{id}/followers/changelog", 10),
    ("DELETE", "/api/v2/products/{id}/followers/{follower_id}", 3),
    ("GET", "/api/v2/products/{id}/images", 10),
    ("POST", "/api/v2/products/{id}/images", 20),
    ("PUT", "/api/v2/products/{id}/images", 20),
    ("DELETE", "/api/v2/products/{id}/images", 6),
    ("GET", "/api/v2/products/{id}/variations", 10),
    ("POST", "/api/v2/products/{id}/variations", 5),
    ("PATCH", "/api/v2/products/{id}/variations/{product_variation_id}", 5),
    ("DELETE", "/api/v2/products/{id}/variations/{product_variation_id}", 3),
    ("GET", "/api/v2/stages", 5),
    ("POST", "/api/v2/stages", 5),
    ("DELETE", "/api/v2/stages/{id}", 3),
    ("GET", "/api/v2/stages/{id}", 1),
    ("PATCH", "/api/v2/stages/{id}", 5),
    ("GET", "/api/v2/users/{id}/followers", 10),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn prices_follow_the_published_classes() {
        let price = |method: Method, path: &str| of(&method, path);
        assert_eq!(price(Method::GET, "/api/v2/deals"), 10);
        assert_eq!(price(Method::GET, "/api/v2/deals/{id}"), 1);
        assert_eq!(price(Method::PATCH, "/api/v2/persons/{id}"), 5);
        assert_eq!(price(Method::DELETE, "/api/v2/products/{id}"), 3);
        assert_eq!(price(Method::GET, "/api/v2/itemSearch"), 20);
        assert_eq!(price(Method::GET, "/api/v2/deals/archived"), 20);
        assert_eq!(price(Method::GET, "/api/v2/pipelines"), 5);
        assert_eq!(price(Method::GET, "/api/v1/users/me"), 2);
        assert_eq!(price(Method::GET, "/api/v1/webhooks"), 10);
        assert_eq!(price(Method::GET, "/api/v1/deals/summary/archived"), 80);
    }

    #[test]
    fn an_unknown_operation_is_priced_as_a_list_of_its_version() {
        assert_eq!(of(&Method::GET, "/api/v2/novelties"), 10);
        assert_eq!(of(&Method::GET, "/api/v1/novelties"), 20);
    }

    #[test]
    fn paths_find_their_template() {
        let found = |path: &str| matching(&Method::GET, path);
        assert_eq!(found("/api/v2/deals/812"), ("/api/v2/deals/{id}", 1));
        assert_eq!(found("/api/v2/deals/archived"), ("/api/v2/deals/archived", 20));
        assert_eq!(found("/v1/users/me"), ("/api/v1/users/me", 2));
        assert_eq!(found("/api/v1/deals/7/flow"), ("/api/v1/deals/{id}/flow", 40));
        assert_eq!(found("/api/v2/nothing"), ("/api/v2/{path}", 10));
        assert_eq!(found("/elsewhere"), ("/api/v1/{path}", 20));
    }

    #[test]
    fn no_operation_is_priced_twice() {
        let mut seen = HashSet::new();
        for (method, path, cost) in TABLE {
            assert!(seen.insert((method, path)), "{method} {path}");
            assert!((1..=80).contains(cost));
        }
        assert!(TABLE.len() > 200);
    }
}
