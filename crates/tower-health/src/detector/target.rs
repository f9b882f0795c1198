//! What becomes of one target. Free of clocks and locks.

use std::time::Duration;

use tokio::time::Instant;

use super::beats::{Alarm, Beats, Spans};
use crate::{
    FailureKind, Operation, TargetReason, TargetState,
    ring::{Ring, Sum, nanos},
};

/// What the builder has checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) interval: Duration,
    pub(crate) alarm: Alarm,
    /// Failures in a row that make it unhealthy.
    pub(crate) failures: u32,
    /// Signs of life that make it whole again.
    pub(crate) recover_after: u32,
    pub(crate) window: Duration,
    pub(crate) min_calls: u64,
    pub(crate) error_rate: f64,
    pub(crate) latency: Option<Duration>,
}

/// One change of one target, not named yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    pub(crate) from: TargetState,
    pub(crate) to: TargetState,
    pub(crate) reason: TargetReason,
    pub(crate) at: Instant,
}

/// Where the changes go. It takes memory only when there is one.
pub(crate) type Turns = Vec<Turn>;

/// What a beat needs comes first and lies together: with thousands of targets each look at
/// another line of memory counts.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) state: TargetState,
    /// Signs of life since it was unhealthy.
    signs: u32,
    /// The newest sign of life, or the registration.
    pub(crate) heard: Instant,
    late_at: Instant,
    dead_at: Instant,
    pub(crate) beats: Beats,
    pub(crate) heartbeats: u64,
    /// What only operations and changes need.
    pub(crate) work: Box<Work>,
}

#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// Failures since the last success.
    pub(crate) row: u32,
    pub(crate) reason: TargetReason,
    pub(crate) since: Instant,
    pub(crate) changes: u64,
    ring: Ring,
    pub(crate) succeeded: u64,
    pub(crate) failed: [u64; FailureKind::ALL.len()],
    pub(crate) last_success: Option<Operation>,
    pub(crate) last_failure: Option<Operation>,
}

impl Target {
    pub(crate) fn new(rules: &Rules, now: Instant) -> Self {
        let beats = Beats::new(rules.interval, rules.alarm);
        let Spans { late, dead } = beats.spans();
        let work = Work {
            row: 0,
            reason: TargetReason::Registered,
            since: now,
            changes: 0,
            ring: Ring::new(rules.window),
            succeeded: 0,
            failed: [0; FailureKind::ALL.len()],
            last_success: None,
            last_failure: None,
        };
        Self {
            state: TargetState::Unknown,
            signs: 0,
            heard: now,
            late_at: now + late,
            dead_at: now + dead,
            beats,
            heartbeats: 0,
            work: Box::new(work),
        }
    }

    pub(crate) fn heartbeat(&mut self, now: Instant, rules: &Rules, turns: &mut Turns) {
        self.settle(now, turns);
        self.beats.beat(now, rules.interval, rules.alarm);
        self.heartbeats += 1;
        self.hear(now);
        // A beat says nothing of operations, so it makes nobody worse.
        if self.state != TargetState::Healthy {
            self.sign_of_life(now, rules, turns);
        }
    }

    pub(crate) fn success(&mut self, done: Operation, rules: &Rules, turns: &mut Turns) {
        let Operation { took, at: now, .. } = done;
        self.settle(now, turns);
        self.work.last_success = Some(done);
        self.count(now, took, 0);
        self.work.succeeded += 1;
        self.work.row = 0;
        self.hear(now);
        self.sign_of_life(now, rules, turns);
    }

    /// Nothing that fails is a sign of life: a time-out may come from a dead one.
    pub(crate) fn failure(
        &mut self,
        failed: Operation,
        kind: FailureKind,
        rules: &Rules,
        turns: &mut Turns,
    ) {
        let Operation { took, at: now, .. } = failed;
        self.settle(now, turns);
        self.count(now, took, 1);
        self.work.failed[kind as usize] += 1;
        self.work.last_failure = Some(failed);
        self.work.row = self.work.row.saturating_add(1);
        match self.state {
            TargetState::Unhealthy => {}
            TargetState::Recovering => self.fail(now, turns),
            _ if self.work.row >= rules.failures => self.fail(now, turns),
            // A failure makes nothing better: who is degraded may be so for its silence.
            TargetState::Unknown | TargetState::Degraded => {}
            TargetState::Healthy => self.conclude(now, rules, turns),
        }
    }

    fn fail(&mut self, now: Instant, turns: &mut Turns) {
        self.turn(
            now,
            TargetState::Unhealthy,
            TargetReason::Failures { row: self.work.row },
            turns,
        );
    }

    /// Applies what time alone has changed.
    pub(crate) fn settle(&mut self, now: Instant, turns: &mut Turns) {
        if now < self.late_at {
            return;
        }
        if now >= self.dead_at {
            if self.state != TargetState::Unhealthy {
                self.turn(now, TargetState::Unhealthy, self.silence(now, self.dead_at), turns);
            }
        } else if self.state == TargetState::Healthy {
            self.turn(now, TargetState::Degraded, self.silence(now, self.late_at), turns);
        }
    }

    fn silence(&self, now: Instant, until: Instant) -> TargetReason {
        TargetReason::Silent {
            silent: now.saturating_duration_since(self.heard),
            allowed: until.saturating_duration_since(self.heard),
        }
    }

    /// When time alone changes something next. `None` if nothing but a sign of life can.
    pub(crate) const fn due(&self) -> Option<Instant> {
        match self.state {
            TargetState::Unhealthy => None,
            TargetState::Healthy => Some(self.late_at),
            TargetState::Unknown | TargetState::Degraded | TargetState::Recovering => {
                Some(self.dead_at)
            }
        }
    }

    fn hear(&mut self, now: Instant) {
        let Spans { late, dead } = self.beats.spans();
        // Two threads may come in the wrong order.
        self.heard = self.heard.max(now);
        self.late_at = self.heard + late;
        self.dead_at = self.heard + dead;
    }

    fn sign_of_life(&mut self, now: Instant, rules: &Rules, turns: &mut Turns) {
        match self.state {
            TargetState::Unhealthy | TargetState::Recovering => {
                self.signs = self.signs.saturating_add(1);
                if self.signs >= rules.recover_after {
                    self.conclude(now, rules, turns);
                } else if self.state == TargetState::Unhealthy {
                    self.turn(now, TargetState::Recovering, TargetReason::SignOfLife, turns);
                }
            }
            TargetState::Unknown | TargetState::Healthy | TargetState::Degraded => {
                self.conclude(now, rules, turns);
            }
        }
    }

    /// Healthy or degraded, by its operations: it is alive.
    fn conclude(&mut self, now: Instant, rules: &Rules, turns: &mut Turns) {
        let reason = self.operations(now, rules);
        let state = match reason {
            TargetReason::WithinLimits => TargetState::Healthy,
            _ => TargetState::Degraded,
        };
        if state != self.state {
            self.turn(now, state, reason, turns);
        }
    }

    fn operations(&mut self, now: Instant, rules: &Rules) -> TargetReason {
        let Sum { calls, bad, .. } = self.sum(now);
        if calls < rules.min_calls {
            return TargetReason::WithinLimits;
        }
        // Once over a limit, it must come a fifth below it, so that it does not flicker.
        let (rate_held, latency_held) = match self.work.reason {
            TargetReason::ErrorRate { .. } => (0.8, 1.0),
            TargetReason::Latency { .. } => (1.0, 0.8),
            _ => (1.0, 1.0),
        };
        let limit = rules.error_rate;
        if bad as f64 >= limit * rate_held * calls as f64 - 1e-9 {
            return TargetReason::ErrorRate { bad, calls, limit };
        }
        let average = self.work.ring.sum().average();
        match rules.latency {
            Some(limit) if average > limit.mul_f64(latency_held) => {
                TargetReason::Latency { average, limit }
            }
            _ => TargetReason::WithinLimits,
        }
    }

    fn count(&mut self, now: Instant, took: Duration, bad: u64) {
        self.work.ring.turn(now);
        self.work.ring.add(Sum { calls: 1, bad, nanos: nanos(took) });
    }

    /// The operations in the window.
    pub(crate) fn sum(&mut self, now: Instant) -> Sum {
        self.work.ring.turn(now);
        self.work.ring.sum()
    }

    #[cold]
    fn turn(&mut self, now: Instant, to: TargetState, reason: TargetReason, turns: &mut Turns) {
        if to == TargetState::Unhealthy {
            self.signs = 0;
        }
        let from = std::mem::replace(&mut self.state, to);
        self.work.changes += 1;
        self.work.reason = reason;
        self.work.since = now;
        turns.push(Turn { number: self.work.changes, from, to, reason, at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_that_lost_the_race_for_the_lock_shortens_nothing() {
        let second = Duration::from_secs(1);
        let rules = Rules {
            interval: 30 * second,
            alarm: Alarm::Misses(3),
            failures: 3,
            recover_after: 3,
            window: 60 * second,
            min_calls: 10,
            error_rate: 0.1,
            latency: None,
        };
        let (now, mut turns) = (Instant::now() + 100 * second, Turns::new());
        let mut target = Target::new(&rules, now);
        target.heartbeat(now + 10 * second, &rules, &mut turns);
        target.heartbeat(now, &rules, &mut turns);
        assert_eq!(target.due(), Some(now + 70 * second));
        target.settle(now + 69 * second, &mut turns);
        assert_eq!((target.state, turns.len()), (TargetState::Healthy, 1));
        target.settle(now + 70 * second, &mut turns);
        assert_eq!(target.state, TargetState::Degraded);
    }
}
