//! One round trip: what goes out, and what comes back.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, timeout};
use tower_ratelimit_tokens::{BudgetId, LeaseReport, LeasedUnits};

use super::{Driver, FIRST_BACKOFF, IDLE, LONGEST_PAUSE};
use crate::{
    Answer, Exchange, Ledger, LedgerError, Reply,
    alone::allow,
    events,
    statement::{Heard, ask},
};

impl<L: Ledger> Driver<L> {
    pub(super) async fn exchange(
        &mut self,
        report: &LeaseReport,
        leaving: bool,
    ) -> Result<(), LedgerError> {
        let at = report.at;
        let mut ids = Vec::with_capacity(report.budgets.len());
        let mut asks = Vec::with_capacity(report.budgets.len());
        for budget in &report.budgets {
            if let Some(ask) = ask(budget, at, self.heard, &self.config, leaving) {
                ids.push((budget.id, budget));
                asks.push(ask);
            }
        }
        self.seq += 1;
        let nonce = format!("{:016x}", fastrand::u64(..));
        let exchange = Exchange { member: self.member.clone(), seq: self.seq, nonce, asks };
        let result = self.round_trip(&exchange).await;
        let heard = Instant::now();
        match result {
            Ok(reply) if reply.answers.len() == exchange.asks.len() => {
                self.answered(at, heard, &reply);
                let mut active = false;
                for ((id, budget), (answer, ask)) in
                    ids.iter().zip(reply.answers.iter().zip(&exchange.asks))
                {
                    if let LeasedUnits::Counts { spent, .. } = &budget.units
                        && let Some(alone) = self.alone.get_mut(&id.index())
                    {
                        alone.over(*spent);
                    }
                    self.take_in(at, heard, &reply, *id, &budget.units, answer);
                    self.pause(heard, *id, answer, ask.want);
                    let spends = ask.want > 0 || ask.held > 0 || budget.in_hand > 0;
                    let life = match budget.units {
                        LeasedUnits::Slots { .. } => self.config.slot_life,
                        _ => self.config.count_life,
                    };
                    if spends || answer.quiet {
                        let due = at + life / 2;
                        self.due = if active { self.due.min(due) } else { due };
                        active = true;
                    }
                    let name = &budget.name;
                    if answer.foreign > 0 {
                        events::foreign(name, answer.foreign);
                    }
                    self.status.send_modify(|status| {
                        let of = status.of(name);
                        of.used = answer.used;
                        of.foreign += answer.foreign;
                        of.granted += answer.granted;
                        of.granted += answer.slots.iter().map(|slot| slot.units).sum::<u64>();
                    });
                }
                if !active {
                    self.due = heard + IDLE;
                }
                Ok(())
            }
            Ok(_) => Err(self.lost(heard, LedgerError::Corrupt("an answer is missing".into()))),
            Err(error) => Err(self.lost(heard, error)),
        }
    }

    /// Asks the store. Who goes alone meanwhile does not wait for it.
    async fn round_trip(&mut self, exchange: &Exchange) -> Result<Reply, LedgerError> {
        let alone = self.goes_alone();
        let policies = (self.config, &self.policies);
        let mut allowed = std::mem::take(&mut self.alone);
        let asked = async {
            match timeout(self.config.timeout, self.ledger.exchange(exchange)).await {
                Ok(result) => result,
                Err(elapsed) => Err(LedgerError::Unreachable(Box::new(elapsed))),
            }
        };
        let mut asked = pin!(asked);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut asked => break result,
                true = self.leases.wanted(), if alone => {
                    let short = allow(&self.leases, policies, &mut allowed, &self.status);
                    if !short.is_empty() {
                        // Nothing more is allowed: the answer is all that can help.
                        break asked.await;
                    }
                }
            }
        };
        self.alone = allowed;
        result
    }

    fn answered(&mut self, at: Instant, heard: Instant, reply: &Reply) {
        let lost = !self.epoch.is_empty() && self.epoch != reply.epoch;
        let quiet = reply.answers.iter().any(|answer| answer.quiet);
        if lost {
            events::memory_lost();
        }
        if self.failed > 0 || self.heard.is_none() {
            events::connected(heard - at, quiet);
        }
        self.failed = 0;
        self.heard = Some(Heard { at: heard, now: reply.now, trip: heard - at });
        self.epoch.clone_from(&reply.epoch);
        self.status.send_modify(|status| {
            status.connected = true;
            status.quiet = quiet;
            status.exchanges += 1;
            status.last_exchange = Some(heard);
            status.round_trip = heard - at;
            status.error = None;
            status.memory_lost += u64::from(lost);
        });
    }

    fn take_in(
        &self,
        at: Instant,
        heard: Instant,
        reply: &Reply,
        id: BudgetId,
        units: &LeasedUnits,
        answer: &Answer,
    ) {
        match units {
            LeasedUnits::Slots { .. } => {
                for slot in &answer.slots {
                    // What the ledger dates lies between the sending and the answer.
                    let from = heard + Duration::from_micros(slot.from_in);
                    let until = at + Duration::from_micros(slot.until_in);
                    let dated = reply.now + slot.from_in;
                    self.leases.grant_slots(id, slot.units, from, until, dated);
                }
            }
            LeasedUnits::Counts { period, spent, .. } => {
                if answer.revoked {
                    self.leases.give_up_of(id);
                } else if !answer.quiet {
                    // What others hold can come back; the rest is gone.
                    let gone = answer.used.saturating_sub(answer.held);
                    self.leases.spent_elsewhere(id, *period, gone.saturating_sub(*spent));
                }
                let until = at + self.config.count_life;
                self.leases.grant_count(id, *period, answer.granted, until);
            }
            _ => {}
        }
    }

    /// Asks no more of a budget until the ledger may have some.
    fn pause(&mut self, heard: Instant, id: BudgetId, answer: &Answer, want: u64) {
        let got = answer.granted + answer.slots.iter().map(|slot| slot.units).sum::<u64>();
        let mut pause = self.config.min_gap;
        if got < want {
            let retry = Duration::from_micros(answer.retry_in.unwrap_or(0));
            // Not all at the same moment.
            let retry = retry.min(LONGEST_PAUSE).mul_f64(1.0 + 0.1 * fastrand::f64());
            pause = pause.max(retry);
            self.leases.retry_at(id, heard + pause);
        }
        self.paused.insert(id.index(), heard + pause);
    }

    fn lost(&mut self, now: Instant, error: LedgerError) -> LedgerError {
        let first = self.failed == 0;
        self.failed = self.failed.saturating_add(1);
        let doubled = FIRST_BACKOFF.saturating_mul(1 << self.failed.saturating_sub(1).min(10));
        let longest = if error.is_transient() {
            self.config.max_backoff
        } else {
            self.config.max_backoff.saturating_mul(5)
        };
        let pause = doubled.min(longest).mul_f64(0.5 + 0.5 * fastrand::f64());
        (self.backoff, self.due) = (now + pause, now + pause);
        if first {
            events::unreachable(&error, self.config.when_unreachable);
        }
        self.status.send_modify(|status| {
            status.connected = false;
            status.failures += 1;
            status.error = Some(error.to_string().into());
        });
        error
    }
}
