//! `pipedrive sync`

use std::sync::Arc;

use jiff::SignedDuration;
use pipedrive_service::Priority;

use super::common;
use crate::{
    cli,
    engine::{self, Job, Outcome, Settings},
    exit::{Code, Failure},
    ledger,
    report::Report,
    signals,
    store::Store,
};

pub(super) async fn run(args: cli::Sync) -> Result<(), Failure> {
    if args.plan {
        return super::plan::run(args).await;
    }
    let json = args.output.json;
    let (outcome, reported) = match sync(args).await {
        Ok(outcome) => (outcome.failure, true),
        Err(failure) => (Some(failure), false),
    };
    let Some(failure) = outcome else { return Ok(()) };
    if !reported {
        common::print_failure(json, &failure);
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
        priority: Priority::new(args.priority),
        // A day that is spread evenly makes calls wait for longer than a busy window does.
        patience: Settings::default().patience.max(2 * config.rate_limiting.queue_timeout),
        ..Settings::default()
    };
    let wanted = common::wanted(&args);
    let database = common::database(&args.database)?;
    let client = common::leased_client(config)?;
    let stop = signals::stop_flag()
        .map_err(|error| Failure::new(Code::Other, format!("no signals: {error}")))?;
    // The last thing before work begins: what was wrong above leaves no file behind.
    let store = Store::open(&database).await?;
    let job = |ledger| Job {
        client: client.clone(),
        store,
        entities,
        wanted,
        settings,
        progress: Arc::from(args.output.style().start()),
        stop,
        totals: None,
        command: "sync",
        ledger,
    };
    let outcome = ledger::during(&client, async |ledger| engine::sync(job(ledger)).await).await?;
    let report = Report::new(&outcome, &client, &database).await?;
    if args.output.json || !args.output.quiet {
        common::print(args.output.json, &report, &report.to_string());
    }
    Ok(outcome)
}
