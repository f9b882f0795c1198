//! A sync as a whole: the one path for the program and for others that want a sync inside.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use pipedrive_service::Client;
use tokio::{sync::watch, time::sleep};

use super::{Job, Outcome, SyncOptions, sync};
use crate::{
    exit::{Code, Failure},
    ledger,
    progress::{Event, Progress},
    report::SyncResult,
    store::{Database, Store},
    wall,
};

/// A sync to run.
#[derive(Debug)]
pub struct Request {
    /// The API; built as [leased](pipedrive_service::ClientBuilder::leased), and as shared where a ledger is named.
    pub client: Client,
    /// Where the copy goes.
    pub database: Database,
    /// What is asked for.
    pub options: SyncOptions,
    /// Name of the command, for the table of runs.
    pub command: &'static str,
    /// Who listens.
    pub progress: Arc<dyn Progress>,
    /// Set to end cleanly.
    pub stop: watch::Receiver<bool>,
    /// Rows in the account by entity, where somebody knows.
    pub totals: Option<BTreeMap<&'static str, u64>>,
}

/// Syncs, and with [`SyncOptions::wait`] goes on the next day as often as it must.
///
/// A sync that is not complete is a result too: [`SyncResult::failure`] says why.
///
/// # Errors
///
/// If it could not begin: options or database cannot be used, the plan does not fit the budget, the token is not accepted,
/// the API does not answer.
///
/// # Cancellation
///
/// As after a kill: what was committed stays, and the next sync goes on from there. Better set [`Request::stop`].
pub async fn run(request: Request) -> Result<SyncResult, Failure> {
    let mut options = request.options.clone();
    loop {
        let ran = once(&request, &options).await;
        let failure = match &ran {
            Ok((outcome, _)) => outcome.failure.as_ref(),
            Err(failure) => Some(failure),
        };
        let parked = failure.filter(|failure| options.wait && failure.code == Code::Budget);
        if let Some((failure, until)) =
            parked.and_then(|failure| Some((failure, failure.again_at?)))
        {
            let reason = failure.line.clone();
            request.progress.event(&Event::Parked { until: wall::text(until), reason });
            if park(until, request.stop.clone()).await {
                options = options.resumed();
                continue;
            }
            return Err(Failure::interrupted());
        }
        return ran.map(|(_, result)| result);
    }
}

async fn once(request: &Request, options: &SyncOptions) -> Result<(Outcome, SyncResult), Failure> {
    let config = request.client.config();
    let entities = options.entities(config)?;
    let settings = options.settings(config);
    let store = Store::open(&request.database).await?;
    let client = &request.client;
    let job = |ledger| Job {
        client: client.clone(),
        store,
        entities,
        wanted: options.mode,
        settings,
        progress: Arc::clone(&request.progress),
        stop: request.stop.clone(),
        totals: request.totals.clone(),
        command: request.command,
        options: Some(options.clone()),
        ledger,
    };
    let outcome = ledger::during(client, async |ledger| sync(job(ledger)).await).await?;
    let result = SyncResult::new(&outcome, client, &request.database);
    Ok((outcome, result))
}

/// Waits until then. False if told to stop.
async fn park(until: Timestamp, mut stop: watch::Receiver<bool>) -> bool {
    let wait = until.duration_since(wall::exact()).try_into().unwrap_or_default();
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => false,
        () = sleep(wait) => true,
    }
}
