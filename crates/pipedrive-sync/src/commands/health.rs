//! `pipedrive health`

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tower_circuit::{Mode, Snapshot};
use tower_health::{Assessment, State, SystemHealth, SystemReport, TargetState};

use super::{circuits::CircuitPicture, common};
use crate::{
    cli,
    engine::plan::RECENTS,
    exit::{Code, Failure},
    limits::{Kept, span},
    store::{Database, HealthRow, HostRow, Reader, WalkState},
    table::table,
    wall,
};

/// What an idle hour ago says of now: nothing.
const STALE: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Serialize)]
struct Shown {
    database: Database,
    #[serde(flatten)]
    report: SystemReport,
    /// The newest first.
    samples: Vec<HealthRow>,
}

pub(super) async fn run(args: cli::Health) -> Result<(), Failure> {
    common::show(args.json, health(&args).await, text)
}

async fn health(args: &cli::Health) -> Result<Shown, Failure> {
    let database = common::database(&args.database)?;
    let mut reader = Reader::open(&database).await?;
    let now = wall::exact();
    let mut samples = reader.health(args.samples.max(1)).await?;
    let api = api(now, samples.first());
    samples.truncate(args.samples as usize);
    let circuits = circuits(now, reader.circuits().await?);
    let kept = reader.limits().await?.and_then(|text| serde_json::from_str(&text).ok());
    let budget = budget(now, kept.as_ref());
    let copy = copy(now, &reader.walks().await?, args.max_age);
    let mut parts = SystemHealth::builder("pipedrive").required("api", move || api.clone());
    for (name, circuit) in circuits {
        parts = parts.required(name, move || circuit.clone());
    }
    if let Some(seen) = reader.host().await? {
        let (name, host) = (format!("host {}", seen.host), host(now, &seen));
        parts = parts.optional(name, move || host.clone());
    }
    let report = parts
        .optional("day's tokens", move || budget.clone())
        .required("copy", move || copy.clone())
        .build()
        .map_err(|error| Failure::new(Code::Other, error.to_string()))?
        .report();
    Ok(Shown { database: database.clone(), report, samples })
}

/// How the API was doing when it was last asked.
fn api(now: Timestamp, newest: Option<&HealthRow>) -> Assessment {
    let Some(newest) = newest else {
        return Assessment::new(State::Unknown, "no sync has asked it yet");
    };
    let age = now.duration_since(newest.at);
    let HealthRow { calls, bad, state, .. } = newest;
    let seen = format!(
        "{bad} of {calls} attempts were bad, {} ms each; seen {}",
        newest.average_ms,
        ago(age)
    );
    Assessment::new(if is_news(age) { *state } else { State::Unknown }, seen)
}

/// How long ago; nothing lies ahead.
fn ago(age: SignedDuration) -> String {
    format!("{} ago", span(age.max(SignedDuration::ZERO)))
}

/// How the host was doing, as the failure detector saw it.
fn host(now: Timestamp, seen: &HostRow) -> Assessment {
    let age = now.duration_since(seen.at);
    let state = match seen.state {
        _ if !is_news(age) => State::Unknown,
        TargetState::Unknown => State::Unknown,
        TargetState::Healthy => State::Healthy,
        TargetState::Degraded | TargetState::Recovering => State::Degraded,
        TargetState::Unhealthy => State::Unavailable,
    };
    let HostRow { calls, bad, reason, state: detector, .. } = seen;
    Assessment::new(
        state,
        format!("{detector}: {reason}; {bad} of {calls} attempts failed; seen {}", ago(age)),
    )
}

/// Whether what was seen so long ago says something of now. A clock that went back says nothing either.
fn is_news(age: SignedDuration) -> bool {
    age <= STALE && age >= -SignedDuration::from_mins(1)
}

/// Where the circuits stand: one is called just that, of several each has its own name.
fn circuits(now: Timestamp, kept: Vec<Snapshot>) -> Vec<(String, Assessment)> {
    if kept.len() < 2 {
        return vec![("circuit".to_owned(), circuit(now, kept.into_iter().next()))];
    }
    let named = |kept: Snapshot| (format!("circuit {}", kept.name), circuit(now, Some(kept)));
    kept.into_iter().map(named).collect()
}

fn circuit(now: Timestamp, kept: Option<Snapshot>) -> Assessment {
    let Some(kept) = kept else {
        return Assessment::new(State::Healthy, "no sync has said anything of it yet");
    };
    let seen = CircuitPicture::at(now, kept);
    let reason = seen.reason.unwrap_or_default();
    match (seen.state, seen.mode) {
        (tower_circuit::State::Closed, _) | (_, Mode::ForcedClosed | Mode::Disabled) => {
            Assessment::new(State::Healthy, "closed")
        }
        (tower_circuit::State::Open, Mode::Automatic) => {
            let left = seen.opens_at.map_or(SignedDuration::MAX, |at| at.duration_since(now));
            Assessment::new(
                State::Unavailable,
                format!("open for another {}: {reason}", span(left)),
            )
        }
        (_, Mode::Automatic | Mode::Observing) => {
            Assessment::new(State::Degraded, format!("the next call is a trial: {reason}"))
        }
        (_, mode) => Assessment::new(State::Unavailable, mode.as_str()),
    }
}

/// What is left of the day.
fn budget(now: Timestamp, kept: Option<&Kept>) -> Assessment {
    let day = kept.and_then(|kept| kept.picture.budgets.iter().find(|budget| budget.name == "day"));
    match day {
        None => Assessment::new(State::Unknown, "no sync has spent any yet"),
        Some(day) if day.resets_at.is_some_and(|at| at <= now) => {
            Assessment::new(State::Healthy, "a new day has begun")
        }
        Some(day) if day.exhausted => Assessment::new(State::Critical, "spent"),
        Some(day) => {
            let share = day.used as f64 / day.limit.max(1) as f64;
            let reason = format!("{} of {} used", day.used, day.limit);
            Assessment { reason, ..Assessment::of_value(share, 0.8, 1.0) }
        }
    }
}

/// Whether the copy is whole and fresh, as `health-check` sees it.
fn copy(now: Timestamp, walks: &[WalkState], max_age: SignedDuration) -> Assessment {
    let mains = || walks.iter().filter(|walk| walk.walk == walk.entity && walk.walk != RECENTS);
    let done = |walk: &WalkState| walk.last_done.as_deref().and_then(wall::parse);
    let open = mains().filter(|walk| done(walk).is_none()).count();
    if walks.is_empty() {
        return Assessment::new(State::Critical, "nothing has been copied yet");
    }
    if open > 0 {
        let reason = format!("{open} of {} entities are not complete", mains().count());
        return Assessment::new(State::Critical, reason);
    }
    let age =
        mains().filter_map(done).min().map_or(SignedDuration::ZERO, |at| now.duration_since(at));
    let state = if age > max_age { State::Degraded } else { State::Healthy };
    Assessment::new(state, format!("complete {}", ago(age)))
}

fn text(found: &Shown) -> String {
    let mut text = format!("{}  {}\n", found.database, found.report.overall);
    let parts = found.report.parts.iter();
    let rows: Vec<_> = parts
        .map(|part| vec![part.name.to_string(), part.state.to_string(), part.reason.clone()])
        .collect();
    text.push_str(&table(&rows));
    if found.samples.is_empty() {
        return text;
    }
    let head = ["api at", "state", "attempts", "bad", "average", "p50", "p95", "p99"];
    let mut rows = vec![head.map(String::from).to_vec()];
    let ms = |time: Option<u64>| time.map_or_else(|| "-".into(), |time| format!("{time} ms"));
    for sample in &found.samples {
        rows.push(vec![
            wall::text(sample.at),
            sample.state.to_string(),
            sample.calls.to_string(),
            sample.bad.to_string(),
            ms(Some(sample.average_ms)),
            ms(sample.p50_ms),
            ms(sample.p95_ms),
            ms(sample.p99_ms),
        ]);
    }
    text + &table(&rows)
}
