//! Pure: what a grant holds of the leases of a ledger.

use std::{sync::Arc, time::Duration};

use super::Core;
use crate::{
    BudgetId, Charge, Counting, LeaseReport, LeasedBudget, LeasedUnits, ServerLevel,
    book::{Holding, LeaseBook},
    budget::{Account, State},
    leases::level_of,
    moment::Nanos,
};

impl Core {
    /// Takes the leases of a charge for which all accounts have room. Returns the
    /// moment before which it must be sent: the first at which one of them ends.
    pub(super) fn take_leases(&mut self, charge: &Charge) -> Nanos {
        let mut until = Nanos::MAX;
        for (budget, n) in charge.parts() {
            if let Some(book) = &mut self.accounts[budget].book {
                until = until.min(book.take(n));
            }
        }
        for (budget, n) in charge.parts() {
            if let Some(book) = &mut self.accounts[budget].book {
                book.hold(until, n);
            }
        }
        until
    }

    pub(super) fn send_leases(&mut self, now: Nanos, charge: &Charge, until: Nanos, tracked: bool) {
        for (budget, n) in charge.parts() {
            if let Some(book) = self.accounts[budget].book_at(now) {
                book.sent(now, until, n, tracked);
            }
        }
    }

    pub(super) fn return_leases(&mut self, now: Nanos, charge: &Charge, until: Nanos) {
        for (budget, n) in charge.parts() {
            if let Some(book) = self.accounts[budget].book_at(now) {
                book.give_back(now, until, n);
            }
        }
    }

    /// Whether more is wanted of this budget, from a treasurer or from a ledger.
    pub(super) fn wants_lease(&mut self, index: usize) -> bool {
        self.book_wants(index).unwrap_or_else(|| {
            let (need, low_water) = (self.queue.need(index), self.specs[index].low_water);
            self.accounts[index].wanted(low_water, need).is_some()
        })
    }

    /// Whether a ledger's budget is short; `None` if it is none. Of one without a
    /// limit, of which nobody can spend, nothing is wanted.
    fn book_wants(&mut self, index: usize) -> Option<bool> {
        let (need, now) = (self.queue.need(index), self.latest);
        let account = &mut self.accounts[index];
        let spends = account.limit() > 0;
        account.book_at(now).map(|book| spends && book.wanted(now, need).is_some())
    }

    /// Gives the leased days to a ledger.
    pub(crate) fn open_books(&mut self) {
        for (account, spec) in self.accounts.shared_mut().iter_mut().zip(&self.specs) {
            let Account { state: State::Day(day), book: book @ None, .. } = account else {
                continue;
            };
            if day.granted().is_some() {
                day.give_up_lease();
                *book = Some(Box::new(LeaseBook::counts(spec.low_water.unwrap_or(0))));
            }
        }
    }
}

impl Core {
    /// Whether a budget of which a ledger keeps the book is short.
    pub(crate) fn books_wanted(&mut self, of: &impl Fn(BudgetId) -> bool) -> bool {
        (0..self.specs.len())
            .filter(|&index| of(BudgetId(index as u8)))
            .any(|index| self.book_wants(index) == Some(true))
    }

    pub(crate) fn empty_books(&mut self, now: Nanos) {
        for account in self.accounts.shared_mut() {
            if let Some(book) = account.book_at(now) {
                book.empty();
            }
        }
    }

    pub(crate) fn lease_report(&mut self, now: Nanos) -> LeaseReport {
        let epoch = self.epoch;
        let first = self.queue.first().map(|first| self.queue.want(first).charge);
        let mut budgets = Vec::new();
        for (index, account) in self.accounts.shared_mut().iter_mut().enumerate() {
            let (limit, name) = (account.limit(), Arc::clone(&self.specs[index].name));
            let ends = account.day().map_or(now, |day| day.resets_at());
            let even = account.is_even();
            let Some(book) = account.book_at(now) else { continue };
            let wanted = book.reckon(now, self.queue.need(index)).min(limit);
            let in_hand = book.in_hand(now);
            let mut level = level_of(&book.holding);
            let units = match &mut book.holding {
                Holding::Slots(slots) => {
                    let window = slots.window();
                    level = level.filter(|level| now < level.sent_at.saturating_add(window));
                    let mut counting = Vec::new();
                    slots.counting(now, |dated, ends, units| {
                        counting.push(Counting { dated, ends: epoch.instant(ends), units });
                    });
                    LeasedUnits::Slots {
                        window: Duration::from_nanos(window),
                        transit: Duration::from_nanos(slots.transit()),
                        counting,
                        unsent: slots.unsent(),
                    }
                }
                Holding::Counts(counts) => {
                    let Some(period) = counts.day() else { continue };
                    LeasedUnits::Counts {
                        period,
                        ends: epoch.instant(ends),
                        spent: counts.spent(),
                        held: counts.held(),
                        settled: counts.settled(),
                    }
                }
            };
            budgets.push(LeasedBudget {
                id: BudgetId(index as u8),
                name,
                limit,
                wanted,
                first: first.map_or(1, |charge| charge.amount(index)).max(1),
                in_hand,
                even,
                level: level.map(|level| ServerLevel {
                    counted: level.counted,
                    sent_at: epoch.instant(level.sent_at),
                    ours: level.ours,
                }),
                units,
            });
        }
        LeaseReport { at: epoch.instant(now), budgets }
    }
}
