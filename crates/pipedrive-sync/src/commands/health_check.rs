//! `pipedrive health-check`

use serde_json::json;

use super::common;
use crate::{
    cli,
    engine::{START_UP_TOKENS, plan},
    exit::{Code, Failure},
    ledger,
    store::{Reader, note_spent},
    wall,
};

pub(super) async fn run(args: cli::HealthCheck) -> Result<(), Failure> {
    let database = common::database(&args.database)?;
    let found = check(&args, &database).await;
    if args.json {
        let (healthy, line, code) = match &found {
            Ok(line) => (true, line.as_str(), Code::Done),
            Err(failure) => (false, failure.line.as_str(), failure.code),
        };
        common::print(
            true,
            &json!({"healthy": healthy, "detail": line, "exit_code": code.number()}),
            "",
        );
    } else if let Ok(line) = &found {
        common::print(false, &(), line);
    }
    found.map(drop)
}

async fn check(
    args: &cli::HealthCheck,
    database: &crate::store::Database,
) -> Result<String, Failure> {
    let mut reader = Reader::open(database).await?;
    let walks = reader.walks().await?;
    let wanted: Vec<&str> = match args.entities.as_slice() {
        // Recents are asked only beside what is brought up to date by changes.
        [] => walks
            .iter()
            .map(|walk| walk.entity.as_str())
            .filter(|entity| *entity != plan::RECENTS)
            .collect(),
        names => plan::entities(names)
            .map_err(|line| Failure::new(Code::Usage, line))?
            .iter()
            .map(|entity| entity.name())
            .collect(),
    };
    // The copy is as old as its oldest part. A walk that is under way counts by the one before.
    let done = |entity: &&str| {
        let main = walks.iter().find(|walk| walk.walk == **entity)?;
        main.last_done.as_deref().and_then(wall::parse)
    };
    let oldest = wanted.iter().map(done).min().flatten();
    let last_run = reader.runs(1).await?.into_iter().next();
    let age = oldest.map(|done| wall::now().duration_since(done));
    let line = match age {
        Some(age) if age <= args.max_age => {
            format!("healthy: every entity was complete {age:#} ago or less")
        }
        Some(age) => {
            return Err(Failure::new(
                Code::Other,
                format!("unhealthy: the copy is {age:#} old, {:#} are allowed", args.max_age),
            ));
        }
        None => {
            let outcome = last_run
                .and_then(|run| run.outcome)
                .unwrap_or_else(|| "no sync has ended yet".into());
            return Err(Failure::new(
                Code::Other,
                format!("unhealthy: not every entity is complete; {outcome}"),
            ));
        }
    };
    if args.probe {
        drop(reader);
        let config = common::load(&common::sources(&args.connection))?;
        let (client, day) = common::asking_client(config)?;
        note_spent(database, &day, START_UP_TOKENS).await?;
        ledger::during(&client, async |_| Ok(client.me().await?)).await?;
    }
    Ok(line)
}
