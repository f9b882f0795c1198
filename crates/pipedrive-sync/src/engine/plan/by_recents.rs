//! Lists that are left unread because recents tell of their changes, and for which of them that is believed.

use std::{fmt, str::FromStr};

use pipedrive_service::Entity;
use serde::{Deserialize, Serialize};

use super::entities;

/// Kinds whose lists cannot be asked for what has changed, and whose rows recents show whole.
pub const WHOLE_BY_RECENTS: [Entity; 1] = [Entity::Files];

/// Kinds whose lists cannot be asked for what has changed, and of which recents say whether there is any: their rows may
/// look otherwise there, so the list is read once any is shown.
pub const WHETHER_BY_RECENTS: [Entity; 5] =
    [Entity::Users, Entity::ActivityTypes, Entity::Filters, Entity::Pipelines, Entity::Stages];

/// The kinds whose lists are not read while recents show no change of them. As a text: names, separated by commas, `all` or
/// `off`.
///
/// ```
/// use pipedrive_sync::engine::plan::ByRecents;
///
/// assert_eq!("stages,files".parse::<ByRecents>()?.to_string(), "stages,files");
/// assert_eq!(ByRecents::default().to_string(), "all");
/// assert!("deals".parse::<ByRecents>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByRecents(Vec<Entity>);

impl ByRecents {
    /// Every list is read.
    pub const OFF: Self = Self(Vec::new());

    /// Whether recents are believed when they show no change of this kind.
    #[must_use]
    pub fn contains(&self, entity: Entity) -> bool {
        self.0.contains(&entity)
    }
}

/// The kinds that can be named.
fn all() -> impl Iterator<Item = Entity> {
    Entity::ALL
        .into_iter()
        .filter(|entity| WHOLE_BY_RECENTS.contains(entity) || WHETHER_BY_RECENTS.contains(entity))
}

impl Default for ByRecents {
    fn default() -> Self {
        Self(all().collect())
    }
}

impl FromStr for ByRecents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "off" => return Ok(Self::OFF),
            "all" => return Ok(Self::default()),
            "" => return Err("expected names of kinds, all or off".to_owned()),
            _ => {}
        }
        let chosen = entities(&[text.to_owned()])?;
        let wrong: Vec<_> =
            chosen.iter().filter(|entity| !all().any(|one| one == **entity)).collect();
        if wrong.is_empty() {
            return Ok(Self(chosen));
        }
        let names = |of: &mut dyn Iterator<Item = String>| of.collect::<Vec<_>>().join(", ");
        Err(format!(
            "recents are not asked instead of the list of {}; of these they are: {}",
            names(&mut wrong.into_iter().map(ToString::to_string)),
            names(&mut all().map(|entity| entity.to_string())),
        ))
    }
}

impl TryFrom<String> for ByRecents {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ByRecents> for String {
    fn from(kinds: ByRecents) -> Self {
        kinds.to_string()
    }
}

impl fmt::Display for ByRecents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("off");
        }
        if *self == Self::default() {
            return f.write_str("all");
        }
        for (nth, entity) in self.0.iter().enumerate() {
            write!(f, "{}{entity}", if nth > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_by_names_in_one_order_and_comes_back_as_it_was_said() {
        for (said, kept) in [
            ("off", "off"),
            ("all", "all"),
            (" Stages , users,", "users,stages"),
            ("users,activity_types,filters,pipelines,stages,files", "all"),
        ] {
            let kinds: ByRecents = said.parse().unwrap();
            assert_eq!(kinds.to_string(), kept);
            let json = serde_json::to_string(&kinds).unwrap();
            assert_eq!(serde_json::from_str::<ByRecents>(&json).unwrap(), kinds);
        }
        for wrong in ["", "dael", "goals", "users,persons", "off,users", "custom_fields"] {
            assert!(wrong.parse::<ByRecents>().is_err(), "{wrong}");
        }
        assert!(
            ByRecents::default().contains(Entity::Users) && !ByRecents::OFF.contains(Entity::Users)
        );
    }
}
