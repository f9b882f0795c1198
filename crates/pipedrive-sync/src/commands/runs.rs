//! `pipedrive runs`

use serde::Serialize;

use super::common;
use crate::{
    cli,
    exit::Failure,
    store::{Reader, RunRecord},
    table::table,
};

#[derive(Debug, Serialize)]
struct Runs {
    /// The newest first.
    runs: Vec<RunRecord>,
}

pub(super) async fn run(args: cli::Runs) -> Result<(), Failure> {
    common::show(args.json, runs(&args).await, text)
}

async fn runs(args: &cli::Runs) -> Result<Runs, Failure> {
    let database = common::database(&args.database)?;
    Ok(Runs { runs: Reader::open(&database).await?.run_records(args.last).await? })
}

fn text(found: &Runs) -> String {
    let head = ["run", "command", "began", "ended", "rows", "code", "outcome"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for RunRecord { run, walks, .. } in &found.runs {
        let walks = walks.iter().filter_map(|walks| walks.as_object()).flatten();
        let written: u64 = walks.filter_map(|(_, walk)| walk["rows"].as_u64()).sum();
        let code = run.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
        let outcome = match &run.exit_code {
            Some(_) => run.outcome.clone().unwrap_or_default(),
            None => "under way, or killed".to_owned(),
        };
        rows.push(vec![
            run.id.to_string(),
            run.command.clone(),
            run.started_at.clone(),
            run.ended_at.clone().unwrap_or_else(|| "-".to_owned()),
            written.to_string(),
            code,
            outcome,
        ]);
    }
    if found.runs.is_empty() { "no run yet".to_owned() } else { table(&rows) }
}
