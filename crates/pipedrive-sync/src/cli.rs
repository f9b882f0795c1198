//! The command line.

use std::{fmt, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use jiff::SignedDuration;

use crate::{
    engine::{SyncOptions, plan::Wanted},
    progress::{EventsTo, Style},
    store::Database,
};

/// The variable that names the database.
pub const DATABASE_VARIABLE: &str = "PIPEDRIVE_DATABASE";
/// The variable that names the schema of a PostgreSQL database.
pub const SCHEMA_VARIABLE: &str = "PIPEDRIVE_DATABASE_SCHEMA";
/// The variable that says how often whole lists are read again.
pub const SWEEP_VARIABLE: &str = "PIPEDRIVE_SYNC_SWEEP_EVERY";
/// Variables of this program, which are no settings of its client.
pub const OWN_VARIABLES: [&str; 3] = [DATABASE_VARIABLE, SCHEMA_VARIABLE, SWEEP_VARIABLE];
/// The database unless another is named.
pub const DEFAULT_DATABASE: &str = "pipedrive.sqlite";

const EXAMPLES: &str = "\
Examples:
  pipedrive demo                                   see it work, without an account
  pipedrive demo --faults storm --seed 7           the same on a very bad day
  PIPEDRIVE_API_TOKEN=... PIPEDRIVE_COMPANY_DOMAIN=acme \\
    pipedrive sync --database acme.sqlite          copy a whole account; run again to go on or to update
  pipedrive sync --entity deals,persons --full     two entities, from the beginning
  pipedrive sync --wait --events jsonl:events      cross as many days as it takes; events for a program
  pipedrive resume                                 go on with the last run that was not complete, as it was begun
  pipedrive failed-items; pipedrive retry-failed   rows that could not be used, and walks that failed
  pipedrive sync --dry-run                         what it would do, by what is known here; asks nobody
  pipedrive sync --plan                            what that would cost and when it would end; copies nothing
  pipedrive limits --ask                           budgets, forecast, others' use, who waits; asks for 2 tokens
  pipedrive verify --database acme.sqlite          compare the copy with the account
  pipedrive export --format csv --output folder    a file for each entity, custom fields by their names
  pipedrive status --json                          where every walk stands
  pipedrive circuits reset                         ask again at once what was down, also of a sync that runs
  pipedrive errors --last 60m                      what failed, and what came of it
  pipedrive health-check --max-age 26h             for a container's HEALTHCHECK
  pipedrive config                                 what is in effect, and where it came from

Exit codes: 0 done, 1 other (a signal, two syncs at once, a failing disk), 2 usage or configuration,
3 authentication, 4 budget exhausted, 5 API unavailable.";

/// Copies a Pipedrive account into an SQLite or PostgreSQL database: complete, resumable, never over the limits.
#[derive(Debug, Parser)]
#[command(name = "pipedrive", version, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// More of what happens, on standard error; twice for all of it. RUST_LOG goes before it.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copy a simulated account, faults included, and prove that the copy is equal.
    Demo(Demo),
    /// Copy an account into a database, or go on, or bring the copy up to date.
    #[command(alias = "sync-entities")]
    Sync(Box<Sync>),
    /// Go on with the last run that was not complete, with the entities and options that it had.
    Resume(Resume),
    /// Say what was run, when, and what came of it. Asks the API nothing.
    Runs(Runs),
    /// Say which rows could not be used and which walks failed finally. Asks the API nothing.
    FailedItems(FailedItems),
    /// Ask again for the rows that could not be used, one by one, and walk again what failed.
    RetryFailed(RetryFailed),
    /// Copy the definitions of custom fields only, and bring the views up to date. A few tokens.
    SyncCustomFields(SyncCustomFields),
    /// Write the copy to files or to standard output. Asks the API nothing.
    Export(Export),
    /// Compare a database with the account.
    Verify(Verify),
    /// Say where every walk stands. Asks the API nothing.
    Status(Status),
    /// Say what may be spent, what was, by whom, and how long it lasts. Asks the API nothing, unless told to.
    Limits(Limits),
    /// Say whether the API was left alone when it was last asked, and why; or forget that. Asks the API nothing.
    Circuits(Circuits),
    /// Say what failed lately, how it ended and what to do about it. Asks the API nothing.
    Errors(Errors),
    /// Say how everything is doing, part by part with reasons, as the last sync left it. Asks the API nothing.
    Health(Health),
    /// Say by exit code whether the copy is there and fresh.
    HealthCheck(HealthCheck),
    /// Show the configuration in effect, and where each value came from.
    Config(Config),
}

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Output {
    /// The result as one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
    /// No progress and no report; errors only.
    #[arg(short, long)]
    pub quiet: bool,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t)]
    pub progress: Style,
}

impl Output {
    /// The style in effect.
    #[must_use]
    pub fn style(self) -> Style {
        match self.progress {
            Style::Auto if self.quiet => Style::None,
            style => style,
        }
    }

    /// Whether standard output is taken by an object or by objects.
    #[must_use]
    pub fn takes_stdout(self) -> bool {
        self.json || self.progress == Style::Json
    }
}

/// Which account, and how to reach it. What is not given comes from the environment or a file.
#[derive(Clone, Debug, Default, Args)]
pub struct Connection {
    /// Scheme and host of the API in place of the company's.
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// A PEM file of certificates to trust besides the public ones.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Settings in TOML; also by PIPEDRIVE_CONFIG.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A profile of settings; also by PIPEDRIVE_PROFILE.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The largest page, 10 to 500 rows.
    #[arg(long, visible_alias = "page-size", value_name = "ROWS")]
    pub max_batch_size: Option<u32>,
}

/// Where the copy is.
#[derive(Clone, Args)]
pub struct DatabaseArg {
    /// An SQLite file, as a path or as sqlite:PATH, or postgres://USER:PASSWORD@HOST/DATABASE[?schema=NAME]. A password is
    /// better given by the variable: the command line is for all to see.
    // The value of the variable may be a password, which help must not show.
    #[arg(long, global = true, env = DATABASE_VARIABLE, hide_env_values = true, default_value = DEFAULT_DATABASE, value_name = "DATABASE", value_parser = NonEmptyStringValueParser::new())]
    pub database: String,
}

impl fmt::Debug for DatabaseArg {
    /// Without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseArg").field(&self.database.parse::<Database>().ok()).finish()
    }
}

/// `pipedrive demo`
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Records in the simulated account, all entities together.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
    pub records: u64,
    /// What goes wrong.
    #[arg(long, value_enum, default_value_t)]
    pub faults: FaultMix,
    /// Seed of the account and of its faults.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the copy in this database; a temporary file is used otherwise.
    #[arg(long, value_name = "DATABASE")]
    pub database: Option<String>,
    /// The company's plan, which sets the limits.
    #[arg(long, default_value = "premium", value_parser = ["lite", "growth", "professional", "premium", "ultimate"])]
    pub plan: String,
    /// The largest page, 10 to 500 rows.
    #[arg(long, visible_alias = "page-size", value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub max_batch_size: Option<u32>,
    /// Entities to copy; all unless some are named.
    #[arg(long = "entity", value_name = "NAME")]
    pub entities: Vec<String>,
    /// Milliseconds before a request is counted and after it, least and most, as 5-40. The mix's own otherwise.
    #[arg(long, value_name = "MIN-MAX", value_parser = latency)]
    pub latency: Option<[u64; 2]>,
    /// How results are shown.
    #[command(flatten)]
    pub output: Output,
}

fn latency(text: &str) -> Result<[u64; 2], String> {
    let (least, most) = text.split_once('-').ok_or("expected two numbers such as 5-40")?;
    let number =
        |text: &str| text.trim().parse::<u64>().map_err(|_| format!("{text:?} is not a number"));
    let range = [number(least)?, number(most)?];
    if range[0] > range[1] { Err("the least is more than the most".into()) } else { Ok(range) }
}

/// Faults of the demo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FaultMix {
    /// Nothing goes wrong.
    None,
    /// About 3 % of the requests fail.
    #[default]
    Default,
    /// At least 10 % of the requests fail, in every transient way.
    Storm,
}

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

/// `pipedrive export`
#[derive(Clone, Debug, Args)]
pub struct Export {
    /// Entities to write, by name, separated by commas or given several times; all unless some are named.
    #[arg(long = "entity", visible_alias = "entities", value_name = "NAME")]
    pub entities: Vec<String>,
    /// How rows are written: `csv` and `parquet` have a column for each field, custom ones by their names; `jsonl` has the
    /// JSON of each row as the API sent it, one to a line.
    #[arg(long, value_enum)]
    pub format: Format,
    /// A folder for a file for each entity, a file for one entity, or `-` for standard output. A file that is there is
    /// replaced when the new one is whole. Standard output unless given, which takes one entity.
    #[arg(long, short, value_name = "PATH", default_value = "-")]
    pub output: PathBuf,
    /// Only rows that have changed since, such as 2026-03-01 or 2026-03-01T12:00:00Z; and those of which that is not known.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<jiff::Timestamp>,
    /// Deleted rows too.
    #[arg(long)]
    pub deleted: bool,
    /// Put an apostrophe before texts that a spreadsheet would take for a formula (those that begin with = + - @, a tab or
    /// a line break). Only for `csv`; without it every text is written as it is, so whoever opens the file in a
    /// spreadsheet runs what a customer may have typed.
    #[arg(long)]
    pub for_spreadsheets: bool,
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a head line.
    Csv,
    /// One JSON object to a line.
    #[value(alias = "json", alias = "ndjson")]
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

fn time(text: &str) -> Result<jiff::Timestamp, String> {
    let date = || text.parse::<jiff::civil::Date>().ok();
    let midnight = || date()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let at = text.parse().ok().or_else(midnight);
    at.ok_or_else(|| "expected a time such as 2026-03-01 or 2026-03-01T12:00:00Z".to_owned())
}

/// `pipedrive verify`
#[derive(Clone, Debug, Args)]
pub struct Verify {
    /// Entities to compare; all unless some are named.
    #[arg(long = "entity", visible_alias = "entities", value_name = "NAME")]
    pub entities: Vec<String>,
    /// Rows of each entity to fetch one by one and compare as well.
    #[arg(long, default_value_t = 5, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub sample: u32,
    /// Only the sample: cheap, but says nothing of rows that are missing.
    #[arg(long)]
    pub sample_only: bool,
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

/// `pipedrive status`
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// As one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `pipedrive limits`
#[derive(Clone, Debug, Args)]
pub struct Limits {
    /// Ask the API for its own count: `GET /v1/users/me`, 2 tokens each time.
    #[arg(long)]
    pub ask: bool,
    /// Where the copy is; what it says of the day and of the last sync is shown.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// Which account.
    #[command(flatten)]
    pub connection: Connection,
    /// As one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `pipedrive circuits`
#[derive(Clone, Debug, Args)]
pub struct Circuits {
    /// What to do; shows them otherwise.
    #[command(subcommand)]
    pub action: Option<CircuitAction>,
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// As one JSON object on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with circuits.
#[derive(Clone, Debug, Subcommand)]
pub enum CircuitAction {
    /// Close a circuit, for the next sync and for one that runs.
    Reset {
        /// Its name; all unless one is named.
        name: Option<String>,
    },
}

/// `pipedrive errors`
#[derive(Clone, Debug, Args)]
pub struct Errors {
    /// How far to look back, such as 60m or 26h.
    #[arg(long, default_value = "60m", value_parser = age)]
    pub last: jiff::SignedDuration,
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// As one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `pipedrive health`
#[derive(Clone, Debug, Args)]
pub struct Health {
    /// How old the last complete copy may be, such as 26h or 90m.
    #[arg(long, default_value = "26h", value_parser = age)]
    pub max_age: jiff::SignedDuration,
    /// How many samples of the past are shown.
    #[arg(long, default_value_t = 10, value_name = "SAMPLES", value_parser = clap::value_parser!(u32).range(0..=20_000))]
    pub samples: u32,
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// As one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

/// `pipedrive health-check`
#[derive(Clone, Debug, Args)]
pub struct HealthCheck {
    /// Entities that must be complete; all that were ever begun unless some are named.
    #[arg(long = "entity", visible_alias = "entities", value_name = "NAME")]
    pub entities: Vec<String>,
    /// How old the last complete copy may be, such as 26h or 90m.
    #[arg(long, default_value = "26h", value_parser = age)]
    pub max_age: jiff::SignedDuration,
    /// Ask the API too (2 tokens each time).
    #[arg(long)]
    pub probe: bool,
    /// Where the copy is.
    #[command(flatten)]
    pub database: DatabaseArg,
    /// Which account.
    #[command(flatten)]
    pub connection: Connection,
    /// As one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}

fn age(text: &str) -> Result<jiff::SignedDuration, String> {
    let age = text.parse::<jiff::SignedDuration>().ok().filter(|age| !age.is_negative());
    age.ok_or_else(|| "expected a time such as 26h or 90m".to_owned())
}

/// `pipedrive config`
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Only what differs from the defaults.
    #[arg(long)]
    pub changed: bool,
    /// Which account.
    #[command(flatten)]
    pub connection: Connection,
    /// As one JSON object on standard output.
    #[arg(long)]
    pub json: bool,
}
