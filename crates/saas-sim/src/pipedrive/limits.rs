//! The limits together: burst windows, the day's tokens, the ban at the edge. Pure; `now` is
//! given.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::config::{AuthKind, SimConfig};
use super::limits_day::Day;
use super::limits_window::Window;

/// POST and PUT that a user has in a UTC day by the rule of 2019. Shown, never enforced.
const WRITES_A_DAY: u64 = 10_000;

/// What the limits know of one token.
#[derive(Debug)]
struct User {
    kind: AuthKind,
    burst: Window,
    search: Window,
    refusals: VecDeque<Instant>,
    banned_until: Option<Instant>,
    writes: u64,
    writes_day: i64,
}

/// Which limit refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Burst,
    Search,
    Day,
}

/// The figures that go into the headers of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Limit, remaining and seconds to the reset of the window.
    pub(super) window: Option<(u32, u32, u64)>,
    /// Limit and remaining tokens of the day.
    pub(super) day: Option<(u64, u64)>,
    pub(super) writes_left: Option<u64>,
    pub(super) retry_after: Option<u64>,
}

/// One call, as the limits see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) user: usize,
    pub(super) tokens: u64,
    pub(super) search: bool,
    pub(super) write: bool,
}

/// All limits of the company.
#[derive(Debug)]
pub(super) struct Limits {
    config: SimConfig,
    users: Vec<User>,
    day: Day,
    last_call: Option<Instant>,
    answers_without: u32,
}

impl Limits {
    /// `users`: how each token proves itself, in the order of [`Call::user`].
    pub(super) fn new(config: &SimConfig, day: Day, users: &[AuthKind]) -> Self {
        let length = Duration::from_millis(config.window_ms);
        let user = |&kind| User {
            kind,
            burst: Window::new(length),
            search: Window::new(length),
            refusals: VecDeque::new(),
            banned_until: None,
            writes: 0,
            writes_day: 0,
        };
        Self {
            config: config.clone(),
            users: users.iter().map(user).collect(),
            day,
            last_call: None,
            answers_without: 0,
        }
    }

    /// Whether the edge bans this user now.
    pub(super) fn banned(&mut self, user: usize, now: Instant) -> bool {
        let user = &mut self.users[user];
        if user.banned_until.is_some_and(|until| until <= now) {
            user.banned_until = None;
            user.refusals.clear();
        }
        user.banned_until.is_some()
    }

    /// Counts a call or refuses it, and says what the headers show.
    pub(super) fn count(
        &mut self,
        call: Call,
        now: Instant,
        wall: Timestamp,
    ) -> (Result<(), Refusal>, Figures) {
        self.day.roll(wall);
        self.note_idle(now);
        let outcome = self.admit(call, now);
        if let Err(refusal) = outcome {
            if self.config.refused_calls_cost {
                self.day.charge(call.tokens);
            }
            self.note_refusal(call.user, now);
            let mut figures = self.figures(call, now, wall);
            let until_oldest = self.window(call).until_oldest_leaves(now);
            figures.retry_after = match refusal {
                Refusal::Day if self.config.retry_after_on_daily => {
                    Some(seconds(self.until_reset(wall)))
                }
                Refusal::Burst | Refusal::Search if self.config.retry_after_on_burst => {
                    Some(seconds(until_oldest))
                }
                Refusal::Burst | Refusal::Search | Refusal::Day => None,
            };
            return (outcome, figures);
        }
        self.window(call).count(now);
        self.day.charge(call.tokens);
        if call.write {
            self.note_write(call.user, wall);
        }
        (outcome, self.figures(call, now, wall))
    }

    /// The headers of a 429 that no limit caused: those of a full window, and nothing changes.
    pub(super) fn full(&mut self, call: Call, now: Instant, wall: Timestamp) -> Figures {
        self.day.roll(wall);
        let mut figures = self.figures(call, now, wall);
        let window = seconds(Duration::from_millis(self.config.window_ms));
        if let Some((_, remaining, reset)) = &mut figures.window {
            *remaining = 0;
            *reset = (*reset).clamp(1, window);
        }
        figures.retry_after = self.config.retry_after_on_burst.then_some(window);
        figures
    }

    pub(super) fn day(&mut self, wall: Timestamp) -> &mut Day {
        self.day.roll(wall);
        &mut self.day
    }

    /// The most requests that any user had in one window: burst, then search.
    pub(super) fn peaks(&self) -> (usize, usize) {
        let peak = |of: fn(&User) -> &Window| {
            self.users.iter().map(|user| of(user).peak()).max().unwrap_or(0)
        };
        (peak(|user| &user.burst), peak(|user| &user.search))
    }

    fn admit(&mut self, call: Call, now: Instant) -> Result<(), Refusal> {
        let used = self.window(call).used(now);
        if !self.config.limits {
            return Ok(());
        }
        if used >= self.window_limit(call) as usize {
            return Err(if call.search { Refusal::Search } else { Refusal::Burst });
        }
        if self.day.used().saturating_add(call.tokens) > self.config.tokens_a_day() {
            return Err(Refusal::Day);
        }
        Ok(())
    }

    fn window(&mut self, call: Call) -> &mut Window {
        let user = &mut self.users[call.user];
        if call.search { &mut user.search } else { &mut user.burst }
    }

    fn window_limit(&self, call: Call) -> u32 {
        if call.search {
            self.config.search_burst
        } else {
            self.config.burst_limit(self.users[call.user].kind)
        }
    }

    fn figures(&mut self, call: Call, now: Instant, wall: Timestamp) -> Figures {
        if !self.config.limits {
            return Figures::default();
        }
        let limit = self.window_limit(call);
        let window = self.window(call);
        let used = u32::try_from(window.used(now)).unwrap_or(u32::MAX);
        let reset = seconds(window.until_oldest_leaves(now));
        let day_limit = self.config.tokens_a_day();
        let day = (self.config.token_headers && self.answers_without == 0)
            .then(|| (day_limit, day_limit.saturating_sub(self.day.used())));
        self.answers_without = self.answers_without.saturating_sub(1);
        let user = &self.users[call.user];
        let writes = if user.writes_day == day_of(wall) { user.writes } else { 0 };
        let shown = self.config.daily_requests_left && user.kind == AuthKind::ApiToken;
        Figures {
            window: Some((limit, limit.saturating_sub(used), reset)),
            day,
            writes_left: shown.then(|| WRITES_A_DAY.saturating_sub(writes)),
            retry_after: None,
        }
    }

    fn until_reset(&self, wall: Timestamp) -> Duration {
        Duration::try_from(self.day.ends().duration_since(wall)).unwrap_or(Duration::ZERO)
    }

    fn note_idle(&mut self, now: Instant) {
        if let (Some(idle), Some(last)) = (self.config.token_headers_idle, self.last_call)
            && now.saturating_duration_since(last) >= Duration::from_secs(idle.after_s)
        {
            self.answers_without = idle.answers;
        }
        self.last_call = Some(now);
    }

    fn note_refusal(&mut self, user: usize, now: Instant) {
        let edge = self.config.edge;
        let user = &mut self.users[user];
        if !edge.enabled || user.kind != AuthKind::ApiToken {
            return;
        }
        let within = Duration::from_secs(edge.within_s);
        while user.refusals.front().is_some_and(|&oldest| oldest + within <= now) {
            user.refusals.pop_front();
        }
        user.refusals.push_back(now);
        if user.refusals.len() >= edge.refusals as usize {
            user.banned_until = Some(now + Duration::from_secs(edge.block_s));
        }
    }

    fn note_write(&mut self, user: usize, wall: Timestamp) {
        let user = &mut self.users[user];
        if user.writes_day != day_of(wall) {
            user.writes_day = day_of(wall);
            user.writes = 0;
        }
        user.writes += 1;
    }
}

fn day_of(wall: Timestamp) -> i64 {
    wall.as_second().div_euclid(86_400)
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
