//! `pipedrive status`

use serde_json::{Value, json};

use super::common;
use crate::{
    cli,
    engine::plan::RECENTS,
    exit::Failure,
    store::{Reader, WalkState},
    table::table,
};

pub(super) async fn run(args: cli::Status) -> Result<(), Failure> {
    let database = common::database(&args.database)?;
    let mut reader = Reader::open(&database).await?;
    let (walks, counts) = (reader.walks().await?, reader.counts().await?);
    let (runs, budget, company) =
        (reader.runs(5).await?, reader.last_budget().await?, reader.company().await?);

    let mut rows = vec![["walk", "state", "mode", "rows", "seen up to"].map(String::from).to_vec()];
    let mut list: Vec<Value> = Vec::new();
    // Where the first look for deleted rows will begin is no walk yet.
    let begun = |walk: &&WalkState| walk.walk != RECENTS || walk.pages > 0;
    for walk in walks.iter().filter(begun) {
        let held = counts.get(walk.entity.as_str()).map_or(0, |(rows, _)| *rows);
        let state = walk.done_at.as_ref().map_or_else(
            || format!("under way, {} pages", walk.pages),
            |done| format!("complete {done}"),
        );
        rows.push(vec![
            walk.walk.clone(),
            state,
            walk.mode.name().into(),
            held.to_string(),
            walk.high_water.clone().unwrap_or_else(|| "-".into()),
        ]);
        list.push(json!({
            "walk": walk.walk, "mode": walk.mode, "done_at": walk.done_at, "last_done": walk.last_done, "pages": walk.pages,
            "rows_in_walk": walk.rows, "rows_held": held, "high_water": walk.high_water, "run": walk.run,
        }));
    }
    let mut text =
        format!("{}  company {}\n", database, company.as_deref().unwrap_or("not known yet"));
    text.push_str(&table(&rows));
    if let Some(budget) = &budget {
        let of = budget.limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        text.push_str(&format!(
            "budget of {}: {}{of} tokens spent, {} leased\n",
            budget.day, budget.settled, budget.leased
        ));
    }
    for run in &runs {
        let end = match (&run.ended_at, run.exit_code) {
            (Some(at), Some(code)) => {
                format!("ended {at} with {code}: {}", run.outcome.as_deref().unwrap_or(""))
            }
            _ => "under way, or killed".into(),
        };
        text.push_str(&format!(
            "run {} {}: began {}, {end}\n",
            run.id, run.command, run.started_at
        ));
    }
    let value = json!({
        "database": database, "company": company, "walks": list, "budget": budget, "runs": runs,
        "counts": counts.iter().map(|(name, (rows, deleted))| ((*name).to_owned(), json!({"rows": rows, "deleted": deleted}))).collect::<serde_json::Map<_, _>>(),
    });
    common::print(args.json, &value, &text);
    Ok(())
}
