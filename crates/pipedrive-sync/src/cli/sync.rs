//! The command line of what copies, and of what was left over.

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::{BY_RECENTS_VARIABLE, Connection, DatabaseArg, Output, SWEEP_VARIABLE, age};
use crate::{
    engine::{
        SyncOptions,
        plan::{ByRecents, Wanted},
    },
    progress::EventsTo,
};

/// `pipedrive sync`
#[derive(Clone, Debug, Args)]
pub struct Sync {
    /// Entities to copy, by name, separated by commas or given several times; all unless some are named.
    #[arg(long = "entity", visible_alias = "entities", value_name = "NAME")]
    pub entities: Vec<String>,
    /// Everything, from the beginning (or on from where a full copy stopped).
    #[arg(long, visible_alias = "full-data", conflicts_with = "incremental")]
    pub full: bool,
    /// What has changed; all of what cannot be asked so.
    #[arg(long)]
    pub incremental: bool,
    /// Stop each entity after so many rows; the next run goes on from there.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Say what it would cost and when it could end, and copy nothing. Costs the 2 tokens of `GET /v1/users/me`, which
    /// every start asks for. Exit code 4 if it does not fit into what is left of the day.
    #[arg(long)]
    pub plan: bool,
    /// As --plan, but by what is known here: asks nobody, spends nothing, writes nothing.
    #[arg(long, conflicts_with = "plan")]
    pub dry_run: bool,
    /// Begin every walk anew, although it is known where it stopped.
    #[arg(long)]
    pub force: bool,
    /// When the day's tokens are spent, sleep until more come and go on. Without it: exit code 4, and the same command
    /// goes on later.
    #[arg(long)]
    pub wait: bool,
    /// How old the last reading of a whole list may be, such as 7d or 36h, before it is read whole again to find what was
    /// deleted silently; off for never. Passed over on a day that has no tokens for it.
    #[arg(long, env = SWEEP_VARIABLE, default_value = "7d", value_name = "AGE", value_parser = sweep)]
    pub sweep_every: Sweep,
    /// Kinds whose lists are not read while `/v1/recents` shows no change of them: names, separated by commas, all or off. Of
    /// users, activity_types, filters, pipelines, stages and files.
    #[arg(long, env = BY_RECENTS_VARIABLE, default_value_t, value_name = "NAMES")]
    pub by_recents: ByRecents,
    /// What happens, as JSON objects: jsonl for standard output, which then holds nothing else, or jsonl:FILE.
    #[arg(long, value_name = "jsonl[:FILE]")]
    pub events: Option<EventsTo>,
    /// How urgent its requests are, from 0 to 10, beside others on the same budgets and against what is kept of the day.
    #[arg(long, default_value_t = 2, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=10))]
    pub priority: u8,
    /// Begin even what one day's budget cannot finish.
    #[arg(long)]
    pub across_days: bool,
    /// By how much an incremental copy reaches back behind what it has seen, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub overlap: u32,
    /// Tokens written down as spent before they are, at a time; one hundredth of the day's unless given.
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    pub lease: Option<u64>,
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// Which account.
    #[command(flatten)]
    pub connection: Connection,
    /// How results are shown.
    #[command(flatten)]
    pub output: Output,
}

impl Sync {
    /// As a value.
    #[must_use]
    pub fn options(&self) -> SyncOptions {
        let names = self.entities.iter().flat_map(|names| names.split(','));
        let names = names.map(str::trim).filter(|name| !name.is_empty());
        SyncOptions {
            entities: names.map(str::to_owned).collect(),
            mode: match (self.full, self.incremental) {
                (true, _) => Wanted::Full,
                (_, true) => Wanted::Incremental,
                _ => Wanted::Auto,
            },
            force: self.force,
            limit: self.limit,
            across_days: self.across_days,
            wait: self.wait,
            overlap_s: self.overlap,
            lease: self.lease,
            priority: self.priority,
            sweep_every: self.sweep_every.0,
            by_recents: self.by_recents.clone(),
        }
    }
}

/// How old the last reading of a whole list may be; none for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep(pub Option<SignedDuration>);

fn sweep(text: &str) -> Result<Sweep, String> {
    if text == "off" {
        return Ok(Sweep(None));
    }
    let days = |factor: i64, number: &str| {
        let number = number.trim().parse::<u32>().ok()?;
        Some(SignedDuration::from_hours(i64::from(number) * 24 * factor))
    };
    let age = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(number), _) => days(1, number),
        (_, Some(number)) => days(7, number),
        _ => age(text).ok(),
    };
    age.map(|age| Sweep(Some(age)))
        .ok_or_else(|| "expected a time such as 7d or 36h, or off".to_owned())
}

/// `pipedrive resume`
#[derive(Clone, Debug, Args)]
pub struct Resume {
    /// When the day's tokens are spent, sleep until more come and go on, even if the run did not.
    #[arg(long)]
    pub wait: bool,
    /// What happens, as JSON objects: jsonl for standard output, which then holds nothing else, or jsonl:FILE.
    #[arg(long, value_name = "jsonl[:FILE]")]
    pub events: Option<EventsTo>,
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// Which account.
    #[command(flatten)]
    pub connection: Connection,
    /// How results are shown.
    #[command(flatten)]
    pub output: Output,
}

/// `pipedrive runs`
#[derive(Clone, Debug, Args)]
pub struct Runs {
    /// How many, the newest first.
    #[arg(long, default_value_t = 10, value_name = "RUNS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub last: u32,
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// As one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `pipedrive failed-items`
#[derive(Clone, Debug, Args)]
pub struct FailedItems {
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// As one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `pipedrive retry-failed`
#[derive(Clone, Debug, Args)]
pub struct RetryFailed {
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// Which account.
    #[command(flatten)]
    pub connection: Connection,
    /// How results are shown.
    #[command(flatten)]
    pub output: Output,
}

/// `pipedrive sync-custom-fields`
#[derive(Clone, Debug, Args)]
pub struct SyncCustomFields {
    /// Kinds whose fields to copy, separated by commas or given several times; all unless some are named.
    #[arg(
        long = "entity",
        visible_alias = "entities",
        value_name = "KIND",
        value_enum,
        value_delimiter = ','
    )]
    pub entities: Vec<FieldsOf>,
    /// From the beginning, and not on from where a copy stopped.
    #[arg(long, visible_alias = "full")]
    pub full_data: bool,
    /// Make every view anew, even where no definition has changed.
    #[arg(long)]
    pub force: bool,
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// Which account.
    #[command(flatten)]
    pub connection: Connection,
    /// How results are shown.
    #[command(flatten)]
    pub output: Output,
}

/// Kinds of records that can have custom fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FieldsOf {
    /// Deals, and leads with them.
    #[value(alias = "deals")]
    Deal,
    /// Persons.
    #[value(alias = "persons")]
    Person,
    /// Organizations.
    #[value(alias = "organizations")]
    Organization,
    /// Products.
    #[value(alias = "products")]
    Product,
    /// Activities.
    #[value(alias = "activities")]
    Activity,
}
