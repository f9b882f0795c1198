use crate::BudgetId;

/// Budgets by the names that a server has for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByName(Vec<(Box<str>, BudgetId)>);

impl ByName {
    /// A name that is there already gets the new budget.
    pub(crate) fn set(&mut self, name: &str, budget: BudgetId) {
        match self.0.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, old)) => *old = budget,
            None => self.0.push((name.into(), budget)),
        }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<BudgetId> {
        let found = self.0.iter().find(|(known, _)| known.as_bytes() == name)?;
        Some(found.1)
    }
}
