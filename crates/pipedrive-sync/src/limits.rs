//! What the limiter knows, as a picture that can be kept, shown, and looked at from another process.
//!
//! A sync keeps its picture in the database every few seconds and at its end; `pipedrive limits` shows it.

mod forecast;
mod ledger;
mod text;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pipedrive_service::{Budgets, Client, Config, ConfigError, Priority};
use ratelimit_ledger::LedgerStatus;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tower_ratelimit_tokens::{BudgetKind, BudgetStatus, Limiter};

pub(crate) use self::text::span;
pub use self::{
    forecast::{Basis, Outlook},
    ledger::{LedgerBudgetPicture, LedgerPicture},
    text::Shown,
};
use crate::{
    exit::{Code, Failure},
    wall,
};

/// Everything about the limits at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// The moment.
    pub at: Timestamp,
    /// `burst`, `search`, `day`.
    pub budgets: Vec<BudgetPicture>,
    /// Whether the day's tokens last, if something has been spent.
    pub outlook: Option<Outlook>,
    /// Calls that wait for budget.
    pub waiting: usize,
    /// The same by priority, from 0 to 10.
    pub waiting_by_priority: Vec<usize>,
    /// Why and until when nothing is sent at all.
    pub gate: Option<GatePicture>,
    /// Who is turned away, and why.
    pub shedding: Option<ShedPicture>,
    /// How the process stands to the ledger by which it shares its budgets, if it does.
    #[serde(default)]
    pub ledger: Option<LedgerPicture>,
    /// Refusals since the process began.
    pub refusals: RefusalPicture,
    /// Use by endpoint since the process began, the greatest first.
    pub endpoints: Vec<EndpointPicture>,
    /// Costs that the server's answers show to be others than those charged.
    pub proposals: Vec<ProposalPicture>,
}

/// One budget at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetPicture {
    /// Its name.
    pub name: String,
    /// What is counted, over what time.
    pub unit: String,
    /// Units that it holds when whole.
    pub limit: u64,
    /// The limit by the configuration alone; another one was learnt.
    pub configured: u64,
    /// Units spent or spoken for.
    pub used: u64,
    /// Units left of the limit.
    pub remaining: u64,
    /// Of the remaining, units that are kept for urgent calls.
    pub kept: u64,
    /// When the units come back all at once; the day's only.
    pub resets_at: Option<Timestamp>,
    /// Units that waiting calls need.
    pub waiting: u64,
    /// Units that others spent, as far as the server's counts show.
    pub foreign: u64,
    /// By how much the server's newest count changed ours.
    pub drift: i64,
    /// Whether the server has said that nothing is left.
    pub exhausted: bool,
}

impl BudgetPicture {
    /// Whether the limit is not the one that the configuration names.
    #[must_use]
    pub const fn is_learnt(&self) -> bool {
        self.limit != self.configured
    }
}

/// A closed gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatePicture {
    /// Why.
    pub reason: String,
    /// Until when.
    pub opens_at: Timestamp,
}

/// Who is turned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShedPicture {
    /// Calls of less than this priority.
    pub below: u8,
    /// Why.
    pub reason: String,
}

/// Refusals by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalPicture {
    /// By the server, for coming too fast.
    pub burst: u64,
    /// By the server, because the day was spent.
    pub day: u64,
    /// By the server's edge.
    pub banned: u64,
    /// By the server, for another reason.
    pub paused: u64,
    /// Here, before anything was sent.
    pub local: u64,
}

/// What one endpoint has used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPicture {
    /// Its path template; empty for calls that name none.
    pub endpoint: String,
    /// Calls sent.
    pub calls: u64,
    /// Tokens of the day.
    pub tokens: u64,
}

/// A cost that is probably wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalPicture {
    /// The endpoint.
    pub endpoint: String,
    /// The budget.
    pub budget: String,
    /// What is charged.
    pub charged: u32,
    /// What most answers have shown.
    pub actual: u32,
    /// How many answers have been seen.
    pub answers: u32,
}

/// Takes pictures of one limiter.
#[derive(Clone, Debug)]
pub struct Camera {
    limiter: Limiter,
    budgets: Budgets,
    config: Config,
    /// Limits by the configuration alone, by budget.
    configured: Vec<u64>,
    ledger: Option<watch::Receiver<LedgerStatus>>,
}

/// A picture as a sync keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Number of the run.
    pub run: i64,
    /// What ran.
    pub command: String,
    /// The picture.
    pub picture: Picture,
}

pub(crate) fn kept_picture(run: i64, command: &str, picture: Picture) -> String {
    let kept = Kept { run, command: command.to_owned(), picture };
    serde_json::to_string(&kept).expect("a picture has text keys and finite numbers")
}

impl Camera {
    /// For a client's limiter.
    ///
    /// # Errors
    ///
    /// If no limiter can be made of its configuration; then there would be no client either.
    pub fn of(client: &Client) -> Result<Self, Failure> {
        Self::new(client.limiter().clone(), client.budgets().clone(), client.config())
            .map_err(|error| Failure::new(Code::Usage, error.to_string()))
    }

    /// For the limiter of a client with this configuration.
    ///
    /// # Errors
    ///
    /// If no limiter can be made of the configuration.
    pub fn new(limiter: Limiter, budgets: Budgets, config: &Config) -> Result<Self, ConfigError> {
        let (fresh, _) = Client::builder(config.clone()).limiter()?;
        let configured = fresh.status().budgets.iter().map(|budget| budget.limit).collect();
        Ok(Self { limiter, budgets, config: config.clone(), configured, ledger: None })
    }

    /// Shows a ledger too.
    #[must_use]
    pub fn with_ledger(mut self, ledger: Option<watch::Receiver<LedgerStatus>>) -> Self {
        self.ledger = ledger;
        self
    }

    /// The picture now; `now` is the time of day, as exact as it is known.
    #[must_use]
    pub fn take(&self, now: Timestamp) -> Picture {
        let status = self.limiter.status();
        let budgets: Vec<_> = status
            .budgets
            .iter()
            .zip(&self.configured)
            .map(|(budget, configured)| self.budget(now, budget, *configured))
            .collect();
        let day = self.budgets.day;
        let outlook = budgets.iter().find(|budget| budget.name == "day").and_then(|picture| {
            let recent = self.limiter.forecast(day).filter(|recent| recent.spent > 0);
            let resets_at = picture.resets_at?;
            match recent {
                Some(recent) => {
                    let over = recent.over;
                    Outlook::new(
                        now,
                        Basis::Recent,
                        recent.spent,
                        over,
                        picture.remaining,
                        resets_at,
                    )
                }
                None => {
                    let over = self.since_reset(now, resets_at)?;
                    let (used, left) = (picture.used, picture.remaining);
                    Outlook::new(now, Basis::SinceReset, used, over, left, resets_at)
                }
            }
        });
        let named = self.config.rate_limiting.ledger.as_ref();
        let ledger = named
            .zip(self.ledger.as_ref())
            .map(|(named, status)| LedgerPicture::of(&named.url, &status.borrow()));
        let refusals = status.refusals;
        Picture {
            at: wall::nearest(now),
            budgets,
            outlook,
            waiting: status.waiting,
            waiting_by_priority: status.waiting_by_priority.to_vec(),
            gate: status.gate.map(|gate| GatePicture {
                reason: gate.reason.to_string(),
                opens_at: wall::ceil(later(now, gate.opens_in)),
            }),
            shedding: status.shedding.map(|shed| ShedPicture {
                below: shed.below.level(),
                reason: shed.reason.as_ref().to_owned(),
            }),
            ledger,
            refusals: RefusalPicture {
                burst: refusals.burst,
                day: refusals.exhausted,
                banned: refusals.banned,
                paused: refusals.paused,
                local: refusals.local,
            },
            endpoints: self
                .limiter
                .quota_report(day)
                .into_iter()
                .map(|usage| EndpointPicture {
                    endpoint: usage.name.as_ref().to_owned(),
                    calls: usage.calls,
                    tokens: usage.spent[day.index()],
                })
                .collect(),
            proposals: self
                .limiter
                .cost_proposals()
                .into_iter()
                .map(|proposal| ProposalPicture {
                    endpoint: proposal.endpoint.as_ref().to_owned(),
                    budget: proposal.budget.as_ref().to_owned(),
                    charged: proposal.charged,
                    actual: proposal.actual,
                    answers: proposal.answers,
                })
                .collect(),
        }
    }

    fn budget(&self, now: Timestamp, budget: &BudgetStatus, configured: u64) -> BudgetPicture {
        let is_day = budget.kind == BudgetKind::Day;
        let limiting = &self.config.rate_limiting;
        let kept = if is_day { limiting.kept(budget.limit, Priority::LOWEST) } else { 0 };
        BudgetPicture {
            name: budget.name.as_ref().to_owned(),
            unit: if is_day { "tokens a day" } else { "requests in 2 s" }.to_owned(),
            limit: budget.limit,
            configured,
            used: budget.used,
            remaining: budget.remaining,
            kept: kept.min(budget.remaining),
            // The reset of a calendar day is at a whole second, which the sum all but meets.
            resets_at: budget.resets_in.map(|after| wall::nearest(later(now, after))),
            waiting: budget.waiting,
            foreign: budget.foreign,
            drift: budget.drift,
            exhausted: budget.exhausted,
        }
    }

    /// How long the day has lasted: a calendar day in its own time zone, which may have 23 or 25 hours.
    fn since_reset(&self, now: Timestamp, resets_at: Timestamp) -> Option<Duration> {
        let zoned = resets_at.to_zoned(self.config.account.reset_time_zone.clone());
        let began = zoned.yesterday().ok()?.timestamp();
        now.duration_since(began).try_into().ok()
    }
}

fn later(now: Timestamp, after: Duration) -> Timestamp {
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    now.saturating_add(after).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use pipedrive_service::Sources;
    use tokio::time::{Instant, advance};
    use tower_ratelimit_tokens::{AnchoredClock, Charge, GateReason, Settle};

    use super::*;

    fn camera(settings: &[(&str, &str)]) -> Camera {
        let config = Config::load(&Sources::new().env(settings.iter().copied())).unwrap();
        let clock = AnchoredClock::new("2026-03-10T18:00:00Z".parse().unwrap());
        let builder = Client::builder(config.clone()).wall_clock(clock);
        let (limiter, budgets) = builder.limiter().unwrap();
        Camera::new(limiter, budgets, &config).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_the_limiter_knows_is_in_the_picture_and_survives_being_kept() {
        let camera = camera(&[("PIPEDRIVE_RATE_LIMIT_RESERVE", "0.1")]);
        let (limiter, budgets) = (&camera.limiter, &camera.budgets);
        let notes = limiter.endpoint("/api/v1/notes");
        let charge = budgets.charge("/api/v1/notes", 20).at(notes);
        for _ in 0..10 {
            let ticket = limiter.acquire(charge, None).await.unwrap();
            let really = Charge::new().with(budgets.day, 10);
            ticket.answered(Instant::now(), Settle::Actual(really));
        }
        limiter.set_limit(budgets.burst, 40);
        limiter.shed(Priority::new(3), "half of all fails");
        advance(Duration::from_secs(600)).await;
        limiter.close_until(Instant::now() + Duration::from_millis(1_500), GateReason::Burst);
        let waiting = tokio::spawn(limiter.acquire(charge, Priority::HIGH));
        tokio::task::yield_now().await;

        let picture = camera.take(at("2026-03-10T18:10:00.4Z"));
        let day = &picture.budgets[2];
        assert_eq!((day.used, day.remaining, day.kept, day.waiting), (100, 9_900, 1_000, 20));
        assert_eq!(day.resets_at, Some(at("2026-03-11T00:00:00Z")), "to the second");
        assert!(!day.is_learnt() && picture.budgets[0].is_learnt());
        assert_eq!((picture.budgets[0].limit, picture.budgets[0].configured), (40, 20));
        let outlook = picture.outlook.unwrap();
        assert_eq!((outlook.basis, outlook.spent, outlook.lasts), (Basis::Recent, 100, true));
        assert_eq!(picture.gate.as_ref().unwrap().opens_at, at("2026-03-10T18:10:02Z"));
        assert_eq!(picture.shedding.as_ref().unwrap().below, 3);
        assert_eq!((picture.waiting, picture.waiting_by_priority[8]), (1, 1));
        let endpoint = &picture.endpoints[0];
        assert_eq!(
            (endpoint.endpoint.as_str(), endpoint.calls, endpoint.tokens),
            ("/api/v1/notes", 10, 100)
        );
        let proposal = &picture.proposals[0];
        assert_eq!((proposal.charged, proposal.actual, proposal.answers), (20, 10, 10));
        waiting.abort();

        let kept = kept_picture(7, "sync", picture.clone());
        let read: Kept = serde_json::from_str(&kept).unwrap();
        assert_eq!((read.run, read.command.as_str(), read.picture), (7, "sync", picture));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_trend_the_day_so_far_is_carried_on() {
        let camera = camera(&[]);
        camera.limiter.set_used(camera.budgets.day, 3_000);
        let outlook = camera.take(at("2026-03-10T18:00:00Z")).outlook.unwrap();
        assert_eq!((outlook.basis, outlook.over_s), (Basis::SinceReset, 18 * 3_600));
        assert_eq!((outlook.lasts, outlook.left_at_reset), (true, 6_000));
    }
}
