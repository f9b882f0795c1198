//! `pipedrive sync` and `pipedrive resume`

use std::{collections::HashSet, sync::Arc};

use pipedrive_service::Entity;

use super::common;
use crate::{
    cli,
    engine::{self, Request, SyncOptions, plan},
    exit::{Code, Failure},
    progress::{EventsTo, Feed, FeedWriter, Progress},
    report::SyncResult,
    signals,
    store::{Reader, RunRecord},
};

/// So many runs are searched for one to resume.
const RUNS_SEARCHED: u32 = 1000;

pub(super) async fn run(args: cli::Sync) -> Result<(), Failure> {
    if args.plan || args.dry_run {
        return super::plan::run(args).await;
    }
    let how = How {
        database: &args.database,
        connection: &args.connection,
        output: args.output,
        events: args.events.as_ref(),
        command: "sync",
    };
    how.run(args.options()).await
}

pub(super) async fn resume(args: cli::Resume) -> Result<(), Failure> {
    let how = How {
        database: &args.database,
        connection: &args.connection,
        output: args.output,
        events: args.events.as_ref(),
        command: "resume",
    };
    let options = match unfinished(&args).await {
        Ok(options) => options,
        Err(failure) => {
            common::print_failure(args.output.json, &failure);
            return Err(failure);
        }
    };
    how.run(SyncOptions { wait: args.wait || options.wait, ..options.resumed() }).await
}

async fn unfinished(args: &cli::Resume) -> Result<SyncOptions, Failure> {
    let database = common::database(&args.database)?;
    let records = Reader::open(&database).await?.run_records(RUNS_SEARCHED).await?;
    find_unfinished(&records).ok_or_else(|| {
        Failure::new(
            Code::Usage,
            "there is nothing to resume: every run that began reached its end, or a later one did; `pipedrive sync` brings the copy up to date",
        )
    })
}

/// The options of the newest run that was not complete, unless later ones have completed all that it was to read.
fn find_unfinished(newest_first: &[RunRecord]) -> Option<SyncOptions> {
    let mut done: HashSet<Entity> = HashSet::new();
    for record in newest_first {
        let options = record.options.clone()?;
        let options: SyncOptions = serde_json::from_value(options).ok()?;
        // By what the names stand for: one entity has several. No name stands for all.
        let entities = plan::entities(&options.entities).ok()?;
        if record.run.exit_code == Some(0) {
            if options.limit.is_none() {
                done.extend(entities);
            }
        } else if entities.iter().any(|entity| !done.contains(entity)) {
            return Some(options);
        }
    }
    None
}

/// How a sync is run from the command line.
pub(super) struct How<'a> {
    pub(super) database: &'a cli::DatabaseArg,
    pub(super) connection: &'a cli::Connection,
    pub(super) output: cli::Output,
    pub(super) events: Option<&'a EventsTo>,
    pub(super) command: &'static str,
}

impl How<'_> {
    pub(super) async fn run(&self, options: SyncOptions) -> Result<(), Failure> {
        let json = self.output.json;
        let result = match self.sync(options).await {
            Ok(result) => result,
            Err(failure) => {
                common::print_failure(json, &failure);
                return Err(failure);
            }
        };
        self.show(&result);
        result.failure().map_or(Ok(()), Err)
    }

    fn show(&self, result: &SyncResult) {
        if self.events == Some(&EventsTo::Stdout) {
            if !self.output.quiet {
                common::print_aside(&result.to_string());
            }
        } else if self.output.json || !self.output.quiet {
            common::print(self.output.json, result, &result.to_string());
        }
    }

    pub(super) async fn sync(&self, options: SyncOptions) -> Result<SyncResult, Failure> {
        if self.events == Some(&EventsTo::Stdout) && self.output.takes_stdout() {
            return Err(Failure::new(
                Code::Usage,
                "--events jsonl has standard output for itself; with --json or --progress json give it a file: --events jsonl:FILE",
            ));
        }
        let config = common::load(&common::sources(self.connection))?;
        options.entities(&config)?;
        let database = common::database(self.database)?;
        let client = common::leased_client(config)?;
        let stop = signals::stop_flag()
            .map_err(|error| Failure::new(Code::Other, format!("no signals: {error}")))?;
        let (progress, writer) = self.progress()?;
        let request = Request {
            client,
            database,
            options,
            command: self.command,
            progress,
            stop,
            totals: None,
        };
        let result = engine::run(request).await;
        if let Some(writer) = writer {
            writer.finish();
        }
        result
    }

    fn progress(&self) -> Result<(Arc<dyn Progress>, Option<FeedWriter>), Failure> {
        let listener: Arc<dyn Progress> = Arc::from(self.output.style().start());
        let Some(events) = self.events else { return Ok((listener, None)) };
        let feed = Feed::new(listener);
        let writer = events.start(feed.subscribe()).map_err(|error| {
            Failure::new(Code::Usage, format!("the events cannot be written: {error}"))
        })?;
        Ok((Arc::new(feed), Some(writer)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::RunRow;

    fn record(entities: &[&str], exit_code: Option<i64>) -> RunRecord {
        let run = RunRow {
            id: 1,
            command: "sync".into(),
            started_at: String::new(),
            ended_at: None,
            exit_code,
            outcome: None,
        };
        RunRecord { run, options: Some(json!({ "entities": entities })), walks: None }
    }

    #[test]
    fn the_newest_run_that_nobody_has_finished_since_is_resumed() {
        let found = |records: &[RunRecord]| {
            find_unfinished(records).map(|options| options.entities.join(","))
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[record(&[], Some(0)), record(&["deals"], None)]), None);
        assert_eq!(found(&[record(&["deals"], None)]).as_deref(), Some("deals"));
        assert_eq!(found(&[record(&["deals"], Some(5))]).as_deref(), Some("deals"));
        // Another one since has done something else, or the same.
        let since = |entity| [record(&[entity], Some(0)), record(&["deals"], None)];
        assert_eq!(found(&since("notes")).as_deref(), Some("deals"));
        assert_eq!(found(&since("deals")), None);
        assert_eq!(found(&since("deal")), None, "another name of the same");
        // Of before options were written down.
        let old = RunRecord { options: None, ..record(&[], None) };
        assert_eq!(found(&[old]), None);
    }
}
