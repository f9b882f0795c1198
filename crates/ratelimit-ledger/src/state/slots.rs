//! Pure: one rolling window, kept as units by the tick at which they stop (and
//! begin) to count. All rounding is toward counting longer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FORGET, Turn, allowed};
use crate::{Answer, Ask, GrantedSlot, HeldUnits};

/// Ticks in one window.
const STEPS: u64 = 128;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SlotsBudget {
    window: u64,
    /// `ends[t]`: units that stop counting when tick `t` begins. Kept for one
    /// window more, to tell what counted a while ago.
    ends: BTreeMap<u64, u64>,
    /// `starts[t]`: of these, units that only begin to count at tick `t`.
    starts: BTreeMap<u64, u64>,
    members: BTreeMap<String, Member>,
    /// Where slots are spread: the next one begins then, or later.
    due: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Member {
    seq: u64,
    seen: u64,
    want: u64,
    held: u64,
    /// What it stated and was granted since: `(starts or 0, ends, units)`.
    stated: Vec<(u64, u64, u64)>,
}

impl SlotsBudget {
    pub(super) const fn new(window: u64) -> Self {
        Self {
            window,
            ends: BTreeMap::new(),
            starts: BTreeMap::new(),
            members: BTreeMap::new(),
            due: 0,
        }
    }

    pub(super) const fn window(&self) -> u64 {
        self.window
    }

    /// Whether nothing counts any more.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.ends.last_key_value().is_none_or(|(&end, _)| end <= now / self.tick())
    }

    pub(super) fn is_stale(&self, member: &str, seq: u64) -> bool {
        self.members.get(member).is_some_and(|known| known.seq >= seq)
    }

    fn tick(&self) -> u64 {
        (self.window / STEPS).max(1)
    }

    pub(super) fn exchange(&mut self, turn: &Turn<'_>, ask: &Ask) -> Answer {
        let HeldUnits::Slots { transit, counting, level, .. } = &ask.held_units else {
            return Answer::default();
        };
        let (now, tick) = (turn.now, self.tick());
        let at = now / tick;
        let mut answer = Answer::default();
        self.forget(now, at);
        // The new statement takes the old one's place.
        let mut me = self.members.remove(turn.member).unwrap_or_default();
        for &(start, end, units) in &me.stated {
            if end > at {
                take(&mut self.ends, end, units);
            }
            if start > at {
                take(&mut self.starts, start, units);
            }
        }
        me.stated.clear();
        for counted in counting {
            if counted.ends_in == 0 || counted.units == 0 {
                continue;
            }
            let end = (now + counted.ends_in) / tick + 1;
            let start = counted.dated / tick;
            self.put(&mut me, at, start, end, counted.units);
        }
        if let Some(level) = level.filter(|said| said.late_at == 0 || now < said.late_at) {
            let then = now.saturating_sub(level.age) / tick;
            let counted: u64 = self.ends.range(then + 1..).map(|(_, n)| n).sum();
            let ours = counted - self.starts.values().sum::<u64>().min(counted);
            answer.foreign = level.counted.saturating_sub(ours);
            if answer.foreign > 0 {
                *self.ends.entry((now + self.window) / tick + 1).or_default() += answer.foreign;
            }
        }
        (me.seq, me.seen, me.want, me.held) = (turn.seq, now, ask.want, ask.held);
        answer.quiet = now < turn.created + ask.quiet && turn.created > 0;
        if answer.quiet {
            answer.retry_in = Some(turn.created + ask.quiet - now);
        } else if ask.want > 0 {
            self.grant(now, ask, *transit, &mut me, &mut answer);
        }
        answer.used = self.ends.range(at + 1..).map(|(_, n)| n).sum();
        self.members.insert(turn.member.to_owned(), me);
        answer
    }

    fn forget(&mut self, now: u64, at: u64) {
        self.ends = self.ends.split_off(&(at + 1).saturating_sub(STEPS + 2));
        self.starts = self.starts.split_off(&(at + 1));
        self.members.retain(|_, member| {
            member.seen + FORGET > now || member.stated.iter().any(|&(_, end, _)| end > at)
        });
    }

    fn put(&mut self, me: &mut Member, at: u64, start: u64, end: u64, units: u64) {
        let start = if start > at { start } else { 0 };
        *self.ends.entry(end).or_default() += units;
        if start > 0 {
            *self.starts.entry(start).or_default() += units;
        }
        me.stated.push((start, end, units));
    }

    fn grant(&mut self, now: u64, ask: &Ask, transit: u64, me: &mut Member, answer: &mut Answer) {
        let tick = self.tick();
        let at = now / tick;
        let levels = self.levels(at);
        let horizon = (now + ask.ahead) / tick;
        // Wanting now, or lately.
        let others = self.members.values().filter(|m| m.want > 0 && m.seen + self.window > now);
        let (wanting, held) =
            others.fold((1, ask.held), |(count, held), m| (count + 1, held + m.held));
        let last = levels.iter().rev().find(|&&(t, _)| t <= horizon);
        let available = ask.limit.saturating_sub(last.map_or(0, |&(_, most)| most));
        let allowed = allowed(ask, available, wanting, held).min(ask.limit);
        let first = ask.first.clamp(1, allowed.max(1));
        // Spread, slots lie three quarters of the budget's pace apart, so that those
        // that are not used cost nothing; a twentieth may go together.
        let gap = if ask.even { self.window * 3 / (4 * ask.limit.max(1)) } else { 0 };
        let burst = if ask.even { (ask.limit / 20).max(1) } else { u64::MAX };
        let mut given = 0;
        'levels: for &(t, most) in &levels {
            while given < allowed {
                let units = ask.limit.saturating_sub(most + given).min(allowed - given);
                let mut from = if t == at { now } else { t * tick };
                if ask.even {
                    from = from.max(self.due);
                }
                if from > now + ask.ahead && (given > 0 || first <= 1) {
                    if ask.limit > most + given {
                        let wait = (from - now - ask.ahead).max(ask.ahead / 4);
                        answer.retry_in = Some(wait.max(1_000));
                        break 'levels;
                    }
                    continue 'levels;
                }
                if units == 0 || (given == 0 && units < first) {
                    continue 'levels;
                }
                let units = units.min(if given == 0 { burst.max(first) } else { burst });
                let until = from + ask.life;
                let end = (until + transit + self.window) / tick + 1;
                self.put(me, at, from / tick, end, units);
                let (from_in, until_in) = (from - now, until - now);
                answer.slots.push(GrantedSlot { from_in, until_in, units });
                self.due = from + units * gap;
                given += units;
            }
        }
        me.held += given;
        if given >= ask.want {
            answer.retry_in = None;
        } else if answer.retry_in.is_none() {
            answer.retry_in = Some((ask.ahead / 2).max(1_000));
        }
    }

    /// For each tick from `at` on at which something changes: the most that counts
    /// at it or later.
    fn levels(&self, at: u64) -> Vec<(u64, u64)> {
        let mut count: u64 = self.ends.range(at + 1..).map(|(_, n)| n).sum();
        count -= self.starts.values().sum::<u64>().min(count);
        let mut ticks: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (&t, &n) in self.ends.range(at + 1..) {
            ticks.entry(t).or_default().0 += n;
        }
        for (&t, &n) in self.starts.range(at + 1..) {
            ticks.entry(t).or_default().1 += n;
        }
        let mut levels = vec![(at, count)];
        for (t, (ends, starts)) in ticks {
            count = count + starts - ends.min(count + starts);
            levels.push((t, count));
        }
        let mut most = 0;
        for level in levels.iter_mut().rev() {
            most = level.1.max(most);
            level.1 = most;
        }
        levels
    }
}

fn take(ticks: &mut BTreeMap<u64, u64>, tick: u64, units: u64) {
    if let Some(known) = ticks.get_mut(&tick) {
        *known = known.saturating_sub(units);
        if *known == 0 {
            ticks.remove(&tick);
        }
    }
}
