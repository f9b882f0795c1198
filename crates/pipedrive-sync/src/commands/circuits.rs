//! `pipedrive circuits`

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tower_circuit::{Mode, Snapshot, State};

use super::common;
use crate::{
    cli,
    exit::{Code, Failure},
    limits::span,
    store::{Database, Reader, reset_circuits},
    table::table,
    wall,
};

/// What is known of the circuits.
#[derive(Debug, Serialize)]
struct Circuits {
    database: Database,
    circuits: Vec<CircuitPicture>,
    /// Those that are reset, which a sync that runs or comes next has yet to hear.
    reset: Vec<String>,
}

/// One circuit as a sync that starts now would take it up.
#[derive(Debug, Serialize)]
pub(super) struct CircuitPicture {
    name: String,
    pub(super) state: State,
    pub(super) mode: Mode,
    /// When the first trial may go; none unless it is open, or if that is not known.
    pub(super) opens_at: Option<Timestamp>,
    /// Why it opened last; none if it never did.
    pub(super) reason: Option<String>,
    consecutive_failures: u32,
    /// Openings in a row.
    openings: u32,
    refused: u64,
    /// When it was seen like this.
    seen_at: Timestamp,
}

impl CircuitPicture {
    pub(super) fn at(now: Timestamp, kept: Snapshot) -> Self {
        let millis = i64::try_from(kept.taken_at_ms).unwrap_or(i64::MAX);
        let seen_at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
        // As the next sync takes it up.
        let left = kept.left(now.into()).filter(|left| !left.is_zero());
        let opens_at = left
            .and_then(|left| SignedDuration::try_from(left).ok())
            .and_then(|left| now.checked_add(left).ok())
            .map(wall::ceil);
        let is_over = left.is_none() && kept.mode == Mode::Automatic;
        let state = if kept.state == State::Open && is_over { State::HalfOpen } else { kept.state };
        Self {
            state,
            mode: kept.mode,
            opens_at: opens_at.filter(|_| state == State::Open),
            reason: (kept.openings > 0 || state != State::Closed)
                .then(|| kept.opened_by.to_string()),
            consecutive_failures: kept.consecutive_failures,
            openings: kept.openings,
            refused: kept.refused,
            seen_at: wall::nearest(seen_at),
            name: kept.name,
        }
    }
}

pub(super) async fn run(args: cli::Circuits) -> Result<(), Failure> {
    common::show(args.json, circuits(&args).await, text)
}

async fn circuits(args: &cli::Circuits) -> Result<Circuits, Failure> {
    let database = common::database(&args.database)?;
    if let Some(cli::CircuitAction::Reset { name }) = &args.action {
        reset(&database, name.as_deref()).await?;
    }
    let mut reader = Reader::open(&database).await?;
    let (kept, reset) = (reader.circuits().await?, reader.resets().await?);
    let now = wall::exact();
    let circuits = kept.into_iter().map(|kept| CircuitPicture::at(now, kept)).collect();
    Ok(Circuits { database: database.clone(), circuits, reset })
}

async fn reset(database: &Database, name: Option<&str>) -> Result<(), Failure> {
    if let Some(name) = name {
        let mut reader = Reader::open(database).await?;
        let kept = reader.circuits().await?.into_iter().map(|kept| kept.name);
        let known: Vec<_> = kept.chain(reader.resets().await?).collect();
        if !known.iter().any(|known| known == name) {
            let names = if known.is_empty() { "none yet".into() } else { known.join(", ") };
            let line = format!("no circuit is called {name:?}: there is {names}");
            return Err(Failure::new(Code::Usage, line));
        }
    }
    reset_circuits(database, name).await?;
    Ok(())
}

fn text(found: &Circuits) -> String {
    let mut text = format!("{}\n", found.database);
    for name in &found.reset {
        text.push_str(&format!(
            "{name} is reset: closed for the next sync, and within seconds for one that runs\n"
        ));
    }
    if found.circuits.is_empty() && found.reset.is_empty() {
        text.push_str("no sync has said anything of its circuits yet\n");
    }
    if found.circuits.is_empty() {
        return text;
    }
    let head =
        ["circuit", "state", "first trial", "failures", "refused", "seen", "why it opened last"];
    let mut rows = vec![head.map(String::from).to_vec()];
    let now = wall::exact();
    for circuit in &found.circuits {
        let state = match circuit.mode {
            Mode::Automatic => circuit.state.to_string(),
            mode => mode.as_str().to_owned(),
        };
        let wait = |at: Timestamp| format!("in {}", span(at.duration_since(now)));
        rows.push(vec![
            circuit.name.clone(),
            state,
            circuit.opens_at.map_or_else(|| "-".into(), wait),
            circuit.consecutive_failures.to_string(),
            circuit.refused.to_string(),
            format!("{} ago", span(now.duration_since(circuit.seen_at).max(SignedDuration::ZERO))),
            circuit.reason.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    text.push_str(&table(&rows));
    text
}
