//! `pipedrive verify`

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _};
use pipedrive_service::{Action, Client, Entity, OnLimit, Priority, RowId, WalkOptions};
use serde::Serialize;
use serde_json::Value;

use super::common;
use crate::{
    cli, digest,
    engine::{DayLease, START_UP_TOKENS, company, entities_of, plan::requests},
    exit::{Code, Failure},
    ledger,
    progress::{Event, Progress},
    store::{Database, Reader, Store},
    table::table,
};

/// What was compared, and what differs.
#[derive(Clone, Debug, Default, Serialize)]
struct Compared {
    database: u64,
    account: Option<u64>,
    missing: u64,
    surplus: u64,
    differ: u64,
    sampled: u32,
    sample_differs: u32,
    /// Rows of the account that cannot be used; see `pipedrive failed-items`.
    unusable: u64,
}

impl Compared {
    fn equal(&self) -> bool {
        self.missing + self.surplus + self.differ == 0 && self.sample_differs == 0
    }
}

pub(super) async fn run(args: cli::Verify) -> Result<(), Failure> {
    let config = common::load(&common::sources(&args.connection))?;
    let entities = entities_of(&args.entities, &config)?;
    let page = config.memory_management.max_batch_size;
    let database = common::database(&args.database)?;
    Reader::open(&database).await?;
    // Somebody waits for the answer.
    let client =
        common::leased_client(config)?.with_priority(Priority::HIGH).with_on_limit(OnLimit::Wait);
    // As a sync does: what is spent here must not be forgotten either.
    let mut store = Store::open(&database).await?;
    let progress: Arc<dyn Progress> = Arc::from(args.output.style().start());
    let price = price(&mut store, &entities, &args, page).await?;
    let line = format!("comparing {} entities will cost about {price} tokens", entities.len());
    progress.event(&Event::note(line));

    let mut lease = DayLease::open(&client, None, &mut store).await?;
    let asked = async |_| {
        let me = lease.during(&mut store, client.me()).await??;
        store.claim(&company(&me)).await?;
        let left = lease.limit().saturating_sub(lease.used()).saturating_sub(lease.kept());
        if price > left {
            return Err(Failure::new(
                Code::Budget,
                format!(
                    "the comparison needs {price} tokens and {left} are left today; name fewer entities, or pass --sample-only"
                ),
            ));
        }
        lease.during(&mut store, compare_all(&client, &database, &entities, &args)).await?
    };
    let compared = ledger::during(&client, asked).await;
    lease.close(&mut store).await?;
    let compared = compared?;
    let report: BTreeMap<_, _> =
        entities.iter().map(|entity| entity.name()).zip(compared).collect();
    let equal = report.values().all(Compared::equal);
    if args.output.json || !args.output.quiet {
        common::print(
            args.output.json,
            &serde_json::json!({"equal": equal, "entities": report, "tokens_planned": price}),
            &text(&report, equal),
        );
    }
    store.close().await?;
    if equal {
        Ok(())
    } else {
        Err(Failure::new(
            Code::Other,
            "the database differs from the account; `pipedrive sync --full` repairs it",
        ))
    }
}

async fn price(
    store: &mut Store,
    entities: &[Entity],
    args: &cli::Verify,
    page: u32,
) -> Result<u64, Failure> {
    let counts = store.counts().await?;
    let mut price = START_UP_TOKENS;
    for &entity in entities {
        let rows = counts.get(entity.name()).map_or(0, |(rows, _)| *rows);
        if !args.sample_only {
            price += requests(entity, rows, page) * u64::from(entity.list_cost());
        }
        if let Some(get) = entity.operation(Action::Get) {
            price += u64::from(args.sample).min(rows) * u64::from(get.cost);
        }
    }
    Ok(price)
}

async fn compare_all(
    client: &Client,
    database: &Database,
    entities: &[Entity],
    args: &cli::Verify,
) -> Result<Vec<Compared>, Failure> {
    futures_util::stream::iter(entities.iter().copied())
        .map(|entity| compare(client, database, entity, args))
        .buffered(8)
        .try_collect()
        .await
}

async fn compare(
    client: &Client,
    database: &Database,
    entity: Entity,
    args: &cli::Verify,
) -> Result<Compared, Failure> {
    let mut reader = Reader::open(database).await?;
    let mut held = BTreeMap::new();
    let mut rows = reader.rows(entity.name());
    while let Some((id, data)) = rows.try_next().await? {
        held.insert(id, hash(&data)?);
    }
    drop(rows);
    let mut compared = Compared { database: held.len() as u64, ..Compared::default() };
    if !args.sample_only {
        let mut pages = std::pin::pin!(client.walk(entity, WalkOptions::new()));
        let mut account = 0;
        while let Some(page) = pages.try_next().await? {
            // What the API shows and nobody can use is held as it was before, if at all.
            for row in &page.rejected {
                account += 1;
                compared.unusable += 1;
                row.id.as_ref().map(|id| held.remove(&id.to_string()));
            }
            for row in page.rows {
                account += 1;
                match held.remove(&row.id.to_string()) {
                    None => compared.missing += 1,
                    Some(hash) if hash != self::hash(row.raw.get())? => compared.differ += 1,
                    Some(_) => {}
                }
            }
        }
        compared.account = Some(account);
        compared.surplus = held.len() as u64;
    }
    if entity.operation(Action::Get).is_some() {
        for (id, data) in reader.sample(entity.name(), args.sample).await? {
            let id: RowId = id.parse().expect("every text is an identifier");
            let same = match client.get(entity, id).await {
                Ok(row) => agree(&data, row.raw.get()),
                Err(error)
                    if error.is_retryable()
                        || error.status().is_none_or(|status| status.as_u16() != 404) =>
                {
                    return Err(error.into());
                }
                Err(_) => false,
            };
            compared.sampled += 1;
            compared.sample_differs += u32::from(!same);
        }
    }
    Ok(compared)
}

fn hash(data: &str) -> Result<String, Failure> {
    digest::row(data)
        .map_err(|error| Failure::new(Code::Other, format!("a row is not JSON: {error}")))
}

/// One record may have more fields than its row in a list: those of both must agree.
fn agree(list: &str, one: &str) -> bool {
    let (Ok(Value::Object(list)), Ok(Value::Object(one))) =
        (serde_json::from_str(list), serde_json::from_str(one))
    else {
        return false;
    };
    list.iter().all(|(key, value)| one.get(key).is_none_or(|other| other == value))
}

fn text(report: &BTreeMap<&'static str, Compared>, equal: bool) -> String {
    let head = ["entity", "database", "account", "missing", "surplus", "differ", "sample"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for (name, compared) in report {
        let sample = match compared.sample_differs {
            0 => format!("{} agree", compared.sampled),
            differ => format!("{differ} of {} differ", compared.sampled),
        };
        rows.push(vec![
            (*name).to_owned(),
            compared.database.to_string(),
            compared.account.map_or_else(|| "-".to_owned(), |rows| rows.to_string()),
            compared.missing.to_string(),
            compared.surplus.to_string(),
            compared.differ.to_string(),
            sample,
        ]);
    }
    table(&rows) + if equal { "equal" } else { "not equal" }
}
