//! `pipedrive demo`

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, str::FromStr as _, sync::Arc};

use futures_util::TryStreamExt as _;
use pipedrive_service::{Entity, config::Sources};
use saas_sim::{
    Listen,
    pipedrive::{self as sim, Faults, Plan, Sim, SimConfig},
    serve,
};
use serde::Serialize;
use tokio::time::Instant;

use super::common;
use crate::{
    cli::{self, FaultMix},
    digest::{Digester, EntityDigest},
    engine::{self, Request, SyncOptions},
    exit::{Code, Failure},
    progress::Event,
    report::SyncResult,
    signals,
    store::{Database, Reader},
};

/// What the demo says: the sync's report, and what the simulator knows.
#[derive(Debug, Serialize)]
struct DemoReport {
    #[serde(flatten)]
    report: SyncResult,
    /// Whether the database is there afterwards.
    kept: bool,
    /// Whether the database equals the account.
    equal: bool,
    /// Entities whose rows differ.
    differ: Vec<Difference>,
    /// Seed of the account and its faults.
    seed: u64,
    /// Requests that came, by the simulator's count.
    requests: u64,
    /// 429s and bans that our own haste caused, by the simulator's count.
    refusals_caused: u64,
    /// Tokens spent, by the simulator's count.
    tokens_by_server: u64,
    /// Faults that occurred.
    faults: BTreeMap<String, u64>,
    /// Share of the requests that failed by a fault.
    share_failed: f64,
    /// The most requests in one window, and the limit.
    window_peak: (u64, u64),
    /// While four or more walks had pages left: seconds, requests counted, share of the allowance.
    busy: Option<Busy>,
}

#[derive(Debug, Serialize)]
struct Difference {
    entity: &'static str,
    account: EntityDigest,
    database: EntityDigest,
}

#[derive(Debug, Serialize)]
struct Busy {
    seconds: f64,
    requests: u64,
    share: f64,
}

pub(super) async fn run(args: cli::Demo) -> Result<(), Failure> {
    let other = |error: &dyn std::fmt::Display| Failure::new(Code::Other, error.to_string());
    let usage = |error: &dyn std::fmt::Display| Failure::new(Code::Usage, error.to_string());
    let entities = match args.entities.as_slice() {
        [] => Entity::ALL.to_vec(),
        names => engine::plan::entities(names).map_err(|line| usage(&line))?,
    };
    // A folder of its own, which goes when the demo ends; a file that was named stays.
    let folder =
        tempfile::tempdir().map_err(|error| other(&format!("no temporary folder: {error}")))?;
    let database: Database = match &args.database {
        Some(name) => common::named(&name.0)?,
        None => PathBuf::from(folder.path()).join("demo.sqlite").into(),
    };
    let stop = signals::stop_flag().map_err(|error| other(&error))?;
    let progress: Arc<dyn crate::progress::Progress> = Arc::from(args.output.style().start());

    progress.event(&Event::note("making a simulated account"));
    let sim = Sim::new(sim_config(&args)).map_err(|error| usage(&error))?;
    let server =
        serve(&sim, Listen::http((Ipv4Addr::LOCALHOST, 0))).await.map_err(|error| other(&error))?;
    // Nobody else writes to this account, so its digests hold to the end.
    let account: Account = sim::Entity::ALL
        .into_iter()
        .filter_map(|theirs| Some((ours(theirs)?, sim.digest(theirs))))
        .collect();
    let totals: BTreeMap<&'static str, u64> =
        account.iter().map(|(entity, digest)| (entity.name(), digest.rows)).collect();
    let mut config = common::load(&sources(&args, &server.url(), &sim.api_token()))?;
    // Nobody else knows of this account.
    config.rate_limiting.ledger = None;
    let client = common::leased_client(config)?;
    progress.event(&Event::note(format!(
        "a simulated account of {} records, plan {}, faults {:?}, at {}",
        totals.values().sum::<u64>(),
        args.plan,
        args.faults,
        server.url()
    )));
    let before = sim.truth().day.used_ever;
    let request = Request {
        client,
        database: database.clone(),
        options: SyncOptions { entities: args.entities.clone(), ..SyncOptions::default() },
        command: "demo",
        progress,
        stop,
        totals: Some(totals),
    };
    let result = engine::run(request).await?;
    let differ = compare(&account, &database, &entities).await?;
    let failure = result.failure();
    let report = gather(&args, result, differ, &sim, before);
    if args.output.json || !args.output.quiet {
        common::print(args.output.json, &report, &report.to_string());
    }
    server.shutdown().await;
    match failure {
        Some(failure) => Err(failure),
        None if report.equal => Ok(()),
        None => {
            let names: Vec<_> = report.differ.iter().map(|differs| differs.entity).collect();
            let line = format!(
                "the database does not equal the account in {}; a database that was there before must hold the same --seed and --records",
                names.join(", ")
            );
            Err(Failure::new(Code::Other, line))
        }
    }
}

fn sim_config(args: &cli::Demo) -> SimConfig {
    let mut faults = match args.faults {
        FaultMix::None => Faults::none(),
        FaultMix::Default => Faults::default_mix(),
        FaultMix::Storm => Faults::storm(),
    };
    faults.seed = args.seed;
    if let Some(range) = args.latency {
        faults.latency_before_ms = range;
        faults.latency_after_ms = range;
    }
    let plan = match args.plan.as_str() {
        "lite" => Plan::Lite,
        "growth" => Plan::Growth,
        "professional" => Plan::Professional,
        "ultimate" => Plan::Ultimate,
        _ => Plan::Premium,
    };
    SimConfig { seed: args.seed, records: args.records, plan, faults, ..SimConfig::default() }
}

/// The user's own settings apply to the demo too, but for those that name an account.
fn sources(args: &cli::Demo, url: &str, token: &str) -> Sources {
    let connection =
        cli::Connection { max_batch_size: args.max_batch_size, ..cli::Connection::default() };
    common::sources(&connection)
        .set("connection.base_url", url)
        .set("connection.api_token", token)
        .set("connection.auth", "api_token")
        .set("connection.no_proxy", "127.0.0.1")
        .set("account.plan", &args.plan)
        .set("account.seats", "1")
        // A hang costs one time-out: short here, where every answer is near.
        .set("robustness.error_handling.request_timeout", "5s")
}

fn ours(entity: sim::Entity) -> Option<Entity> {
    Entity::from_str(entity.name()).ok()
}

/// What the simulator says of each entity.
type Account = BTreeMap<Entity, sim::Digest>;

async fn compare(
    account: &Account,
    database: &Database,
    entities: &[Entity],
) -> Result<Vec<Difference>, Failure> {
    let mut reader = Reader::open(database).await?;
    let mut differ = Vec::new();
    for (entity, theirs) in account.iter().filter(|(entity, _)| entities.contains(entity)) {
        let account = EntityDigest { rows: theirs.rows, sha256: theirs.sha256.clone() };
        let database = digest(&mut reader, entity.name()).await?;
        if account != database {
            differ.push(Difference { entity: entity.name(), account, database });
        }
    }
    Ok(differ)
}

async fn digest(reader: &mut Reader, entity: &'static str) -> Result<EntityDigest, Failure> {
    let mut digester = Digester::default();
    let mut rows = reader.rows(entity);
    while let Some((id, data)) = rows.try_next().await? {
        digester.add(&id, &data).map_err(|error| {
            Failure::new(Code::Other, format!("{entity} {id} is not JSON: {error}"))
        })?;
    }
    Ok(digester.finish())
}

fn gather(
    args: &cli::Demo,
    report: SyncResult,
    differ: Vec<Difference>,
    sim: &Sim,
    before: u64,
) -> DemoReport {
    let truth = sim.truth();
    let busy =
        report.busy.map(|interval| busy(sim, interval, truth.window.limit, truth.window.window_ms));
    DemoReport {
        kept: args.database.is_some(),
        equal: differ.is_empty() && report.exit_code == Code::Done.number(),
        report,
        differ,
        seed: args.seed,
        requests: truth.requests,
        refusals_caused: truth.refusals.caused() + truth.refusals.edge,
        tokens_by_server: truth.day.used_ever - before,
        faults: truth.faults.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect(),
        share_failed: truth.share_failed(),
        window_peak: (truth.window.peak as u64, truth.window.limit.into()),
        busy,
    }
}

fn busy(sim: &Sim, (from, until): (Instant, Instant), limit: u32, window_ms: u64) -> Busy {
    let requests = sim.charged_between(from, until);
    let seconds = until.saturating_duration_since(from).as_secs_f64();
    let allowed = f64::from(limit) * seconds * 1000.0 / window_ms as f64;
    Busy { seconds, requests, share: if allowed > 0.0 { requests as f64 / allowed } else { 0.0 } }
}

/// Under so many seconds, five windows, no average share of the allowance is printed.
const SHORT_RUN: f64 = 10.0;

impl std::fmt::Display for DemoReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.report.fmt(f)?;
        if !self.kept {
            writeln!(f, "database   removed at the end; --database FILE keeps it")?;
        }
        writeln!(
            f,
            "server     {} requests, {} tokens, {} refusals caused by us",
            self.requests, self.tokens_by_server, self.refusals_caused
        )?;
        let (peak, limit) = self.window_peak;
        write!(f, "burst      at most {peak} of {limit} requests in a window")?;
        match &self.busy {
            // One window's worth may come at once, which a short run would count as more than all.
            Some(busy) if busy.seconds < SHORT_RUN => writeln!(
                f,
                ", {:.0} % of it; {:.1} s with four or more walks are too short for an average",
                peak as f64 / limit.max(1) as f64 * 100.0,
                busy.seconds
            )?,
            Some(busy) => writeln!(
                f,
                ", {:.1} % of the allowance used in the {:.1} s while four or more walks had pages left",
                busy.share * 100.0,
                busy.seconds
            )?,
            None => writeln!(f)?,
        }
        let faults: Vec<_> =
            self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        if !faults.is_empty() {
            writeln!(
                f,
                "faults     {} ({:.1} % of the requests failed)",
                faults.join(", "),
                self.share_failed * 100.0
            )?;
        }
        for Difference { entity, account, database } in &self.differ {
            writeln!(
                f,
                "differs    {entity}: {} rows in the account, {} in the database",
                account.rows, database.rows
            )?;
        }
        writeln!(
            f,
            "{}",
            if self.equal {
                "EQUAL: the database holds the account, row for row"
            } else {
                "NOT EQUAL"
            }
        )
    }
}
