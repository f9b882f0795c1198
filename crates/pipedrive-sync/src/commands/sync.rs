//! `pipedrive sync`

use std::sync::Arc;

use jiff::SignedDuration;

use super::common;
use crate::{
    cli,
    engine::{self, Job, Outcome, Settings, plan::Wanted},
    exit::{Code, Failure},
    report::Report,
    signals,
    store::Store,
};

pub(super) async fn run(args: cli::Sync) -> Result<(), Failure> {
    let json = args.output.json;
    let (outcome, reported) = match sync(args).await {
        Ok(outcome) => (outcome.failure, true),
        Err(failure) => (Some(failure), false),
    };
    let Some(failure) = outcome else { return Ok(()) };
    if json && !reported {
        let value =
            serde_json::json!({"outcome": failure.line, "exit_code": failure.code.number()});
        common::print(true, &value, "");
    }
    Err(failure)
}

async fn sync(args: cli::Sync) -> Result<Outcome, Failure> {
    let config = common::load(&common::sources(&args.connection))?;
    let entities = common::entities(&args.entities, &config)?;
    let settings = Settings {
        limit: args.limit,
        across_days: args.across_days,
        overlap: SignedDuration::from_secs(args.overlap.into()),
        lease_chunk: args.lease,
        page: config.memory_management.max_batch_size,
        ..Settings::default()
    };
    let database = common::database(&args.database)?;
    let client = common::leased_client(config)?;
    let stop = signals::stop_flag()
        .map_err(|error| Failure::new(Code::Other, format!("no signals: {error}")))?;
    // The last thing before work begins: what was wrong above leaves no file behind.
    let store = Store::open(&database).await?;
    let job = Job {
        client: client.clone(),
        store,
        entities,
        wanted: match (args.full, args.incremental) {
            (true, _) => Wanted::Full,
            (_, true) => Wanted::Incremental,
            _ => Wanted::Auto,
        },
        settings,
        progress: Arc::from(args.output.style().start()),
        stop,
        totals: None,
        command: "sync",
    };
    let outcome = engine::sync(job).await?;
    let report = Report::new(&outcome, &client, database.path()).await?;
    if args.output.json || !args.output.quiet {
        common::print(args.output.json, &report, &report.to_string());
    }
    Ok(outcome)
}
