//! `pipedrive failed-items` and `pipedrive retry-failed`

use std::collections::BTreeSet;

use serde::Serialize;

use super::{common, sync::How};
use crate::{
    cli,
    engine::{self, Healed, SyncOptions, plan::Wanted},
    exit::{Code, Failure},
    ledger,
    report::SyncResult,
    store::{FailedWalk, QuarantineRow, Reader, Store},
    table::table,
};

/// What has failed and was not healed since.
#[derive(Debug, Serialize)]
struct Failed {
    /// Rows that could not be used.
    rows: Vec<QuarantineRow>,
    /// Walks that were given up.
    walks: Vec<FailedWalk>,
}

impl Failed {
    async fn read(database: &cli::DatabaseArg) -> Result<Self, Failure> {
        let mut reader = Reader::open(&common::database(database)?).await?;
        Ok(Self { rows: reader.quarantine().await?, walks: reader.failed_walks().await? })
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.walks.is_empty()
    }
}

pub(super) async fn items(args: cli::FailedItems) -> Result<(), Failure> {
    common::show(args.json, Failed::read(&args.database).await, text)
}

fn text(failed: &Failed) -> String {
    if failed.is_empty() {
        return "nothing has failed that was not healed since".to_owned();
    }
    let mut text = String::new();
    if !failed.rows.is_empty() {
        let head = ["entity", "row", "reason", "page", "place", "bytes", "seen"];
        let mut rows = vec![head.map(String::from).to_vec()];
        rows.extend(failed.rows.iter().map(|row| {
            vec![
                row.entity.clone(),
                row.item.clone(),
                row.reason.clone(),
                row.position.chars().take(24).collect(),
                row.place.to_string(),
                row.raw_bytes.to_string(),
                row.at.clone(),
            ]
        }));
        text.push_str(&table(&rows));
    }
    if !failed.walks.is_empty() {
        let mut rows = vec![["walk", "category", "failed", "reason"].map(String::from).to_vec()];
        rows.extend(failed.walks.iter().map(|walk| {
            vec![walk.walk.clone(), walk.category.clone(), walk.at.clone(), walk.reason.clone()]
        }));
        text.push_str(&table(&rows));
    }
    text + "`pipedrive retry-failed` asks again; --json shows the rows as they came"
}

/// What came of asking again.
#[derive(Debug, Serialize)]
struct Retried {
    /// Rows, one by one.
    rows: Healed,
    /// Walks, of those rows that cannot be asked for alone and of what was given up.
    walks: Vec<SyncResult>,
    /// What is left.
    left: Failed,
}

pub(super) async fn retry(args: cli::RetryFailed) -> Result<(), Failure> {
    let json = args.output.json;
    let retried = match retried(&args).await {
        Ok(retried) => retried,
        Err(failure) => {
            common::print_failure(json, &failure);
            return Err(failure);
        }
    };
    if json || !args.output.quiet {
        common::print(json, &retried, &retried_text(&retried));
    }
    if let Some(failure) = retried.walks.iter().find_map(SyncResult::failure) {
        return Err(failure);
    }
    let (rows, walks) = (retried.left.rows.len(), retried.left.walks.len());
    if rows + walks == 0 {
        return Ok(());
    }
    let line = format!("{rows} rows still cannot be used and {walks} walks are not complete");
    Err(Failure::new(Code::Other, line))
}

async fn retried(args: &cli::RetryFailed) -> Result<Retried, Failure> {
    let failed = Failed::read(&args.database).await?;
    let rows =
        if failed.rows.is_empty() { Healed::default() } else { heal(args, &failed.rows).await? };
    let how = How {
        database: &args.database,
        connection: &args.connection,
        output: args.output,
        events: None,
        command: "retry-failed",
    };
    // A row that cannot be named is only seen again where the whole list is read.
    let whole: BTreeSet<_> = rows.walk_again.clone();
    let others: BTreeSet<_> = failed.walks.iter().map(|walk| walk.entity.clone()).collect();
    let mut walks = Vec::new();
    for (entities, mode) in [(&whole, Wanted::Full), (&(&others - &whole), Wanted::Auto)] {
        if !entities.is_empty() {
            let entities = entities.iter().cloned().collect();
            walks.push(how.sync(SyncOptions { entities, mode, ..SyncOptions::default() }).await?);
        }
    }
    Ok(Retried { rows, walks, left: Failed::read(&args.database).await? })
}

async fn heal(args: &cli::RetryFailed, rows: &[QuarantineRow]) -> Result<Healed, Failure> {
    let config = common::load(&common::sources(&args.connection))?;
    let client = common::leased_client(config)?;
    let mut store = Store::open(&common::database(&args.database)?).await?;
    let run = store.begin_run("retry-failed").await?;
    let healed =
        ledger::during(&client, async |_| engine::heal(&client, &mut store, rows, run).await).await;
    let (code, line) = match &healed {
        Ok(_) => (Code::Done, "complete"),
        Err(failure) => (failure.code, failure.line.as_str()),
    };
    store.end_run(run, code.number(), line, "{}").await?;
    store.close().await?;
    healed
}

fn retried_text(retried: &Retried) -> String {
    let Healed { asked, healed, gone, left, tokens_planned, .. } = retried.rows;
    let mut text = format!(
        "rows       {asked} asked for again for {tokens_planned} tokens: {healed} healed, {gone} gone, {left} as before\n"
    );
    for walk in &retried.walks {
        text.push_str(&walk.to_string());
    }
    let (rows, walks) = (retried.left.rows.len(), retried.left.walks.len());
    text + &format!("left       {rows} rows, {walks} walks")
}
