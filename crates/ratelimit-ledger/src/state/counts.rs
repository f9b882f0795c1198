//! Pure: one calendar day. What counts is what each member has stated as spent,
//! and what it was given and may still spend; corrected by the server's count.
//!
//! A server's count belongs to one moment. What a member had settled before that
//! moment is surely in it, so
//!
//! ```text
//! used = count + all that is spent or held - what was settled before the count
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FORGET, Turn, allowed};
use crate::{Answer, Ask, CountLevel, HeldUnits};

/// How often a member's settled units are written down for later comparison.
const SNAPSHOT: u64 = 400_000;
/// How many of these are kept.
const SNAPSHOTS: usize = 8;
/// Before more is asked for when nothing is left.
const PAUSE: u64 = 1_000_000;
/// How long a request of a dead member may still be on its way.
const TRANSIT: u64 = 1_000_000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct CountsBudget {
    period: String,
    /// Spent by members that are forgotten.
    gone: u64,
    members: BTreeMap<String, Member>,
    level: Option<Level>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Member {
    seq: u64,
    seen: u64,
    want: u64,
    spent: u64,
    held: u64,
    /// Since then it was silent for too long: it spends nothing any more. 0 while
    /// it lives.
    dead: u64,
    /// Some moments, and what was settled at them; the newest first.
    settled: Vec<(u64, u64)>,
}

impl Member {
    const fn counts(&self) -> u64 {
        self.spent + self.held
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Level {
    counted: u64,
    since: u64,
    /// What of ours is surely in it.
    ours: u64,
}

impl CountsBudget {
    pub(super) fn is_stale(&self, member: &str, seq: u64) -> bool {
        self.members.get(member).is_some_and(|known| known.seq >= seq)
    }

    pub(super) fn exchange(&mut self, turn: &Turn<'_>, ask: &Ask) -> Answer {
        let HeldUnits::Counts { period, spent, settled, dead_after, returned, level, .. } =
            &ask.held_units
        else {
            return Answer::default();
        };
        let now = turn.now;
        let mut answer = Answer::default();
        if *period < self.period {
            // It has not seen yet that a new day began.
            (answer.revoked, answer.retry_in) = (true, Some(PAUSE / 4));
            return answer;
        }
        if *period > self.period {
            *self = Self { period: period.clone(), ..Self::default() };
        }
        answer.quiet = turn.created > 0 && now < turn.created + ask.quiet;
        self.bury(now, *dead_after, *returned);
        let new = !self.members.contains_key(turn.member);
        let mut held = ask.held;
        if let Some(me) = self.members.get_mut(turn.member).filter(|me| me.dead > 0) {
            // It came back, and what it holds has run out.
            (answer.revoked, held) = (held > 0, 0);
            if let Some(level) = self.level.as_mut().filter(|level| level.since >= me.dead) {
                let counted = me.counts();
                level.ours = (level.ours + counted.min(*settled)).saturating_sub(counted);
            }
            me.dead = 0;
        }
        if let Some(level) = level {
            self.level(turn.member, level, answer.quiet);
        }
        let me = self.members.entry(turn.member.to_owned()).or_default();
        if new {
            me.settled = vec![(0, *settled)];
            // A survivor that tells of its past: the server has counted that.
            if let (true, Some(level)) = (answer.quiet, &mut self.level) {
                level.ours += *settled;
            }
        } else if me.settled.first().is_none_or(|&(at, _)| now >= at + SNAPSHOT) {
            me.settled.insert(0, (now, *settled));
            me.settled.truncate(SNAPSHOTS);
        }
        (me.seq, me.seen, me.want) = (turn.seq, now, ask.want);
        (me.spent, me.held) = (*spent, held);
        if answer.quiet {
            answer.retry_in = Some(turn.created + ask.quiet - now);
        } else if ask.want > 0 {
            let available = ask.limit.saturating_sub(self.used());
            let others = self.members.iter().filter(|(name, m)| {
                name.as_str() != turn.member && m.want > 0 && m.seen + dead_after > now
            });
            let (wanting, held) =
                others.fold((1, held), |(count, held), (_, m)| (count + 1, held + m.held));
            let units = allowed(ask, available, wanting, held).min(available);
            answer.granted = units;
            if units < ask.want {
                let wait = if available == 0 { PAUSE } else { ask.ahead / 2 };
                answer.retry_in = Some(wait.max(1_000));
            }
            if let Some(me) = self.members.get_mut(turn.member) {
                me.held += units;
            }
        }
        answer.used = self.used();
        let living = self.members.values().filter(|member| member.dead == 0);
        answer.held = living.map(|member| member.held).sum();
        answer
    }

    fn ours(&self) -> u64 {
        self.gone + self.members.values().map(Member::counts).sum::<u64>()
    }

    fn used(&self) -> u64 {
        let ours = self.ours();
        self.level.map_or(ours, |level| (level.counted + ours).saturating_sub(level.ours))
    }

    /// Members that are silent for too long spend nothing any more; later they are
    /// forgotten.
    fn bury(&mut self, now: u64, dead_after: u64, returned: bool) {
        let gone = &mut self.gone;
        self.members.retain(|_, member| {
            let dead = member.seen + dead_after + TRANSIT;
            if member.dead == 0 && dead <= now {
                (member.dead, member.want) = (dead, 0);
                if returned {
                    member.held = 0;
                }
            }
            let forgotten = member.dead > 0 && member.seen + FORGET <= now;
            if forgotten {
                *gone += member.counts();
            }
            !forgotten
        });
    }

    /// The server has counted, as `who` was told.
    fn level(&mut self, who: &str, said: &CountLevel, quiet: bool) {
        let (counted, since) = (said.counted, said.since);
        let newer =
            self.level.is_none_or(|level| since > level.since || quiet && counted > level.counted);
        if !newer {
            return;
        }
        let mut ours = self.gone;
        for (name, member) in &self.members {
            ours += if name == who {
                said.ours
            } else if member.dead > 0 && member.dead <= since {
                // Whatever it spent has been counted.
                member.counts()
            } else if let Some(&(_, settled)) = member.settled.iter().find(|s| s.0 <= since) {
                settled
            } else if member.settled.first().is_none_or(|&(_, settled)| settled == 0) {
                0
            } else {
                // Too old to be compared.
                return;
            };
        }
        self.level = Some(Level { counted, since, ours });
    }
}
