//! The command line.

mod demo;
mod export;
mod look;
mod sync;

pub use self::{
    demo::{Demo, FaultMix},
    export::{Export, Format},
    look::{CircuitAction, Circuits, Config, Errors, Health, HealthCheck, Limits, Status, Verify},
    sync::{FailedItems, FieldsOf, Resume, RetryFailed, Runs, Sweep, Sync, SyncCustomFields},
};

use std::{fmt, path::PathBuf};

use clap::{
    Args, Parser, Subcommand,
    builder::{NonEmptyStringValueParser, TypedValueParser as _},
};

use crate::{progress::Style, store::Database};

/// The variable that names the database.
pub const DATABASE_VARIABLE: &str = "PIPEDRIVE_DATABASE";
/// The variable that names the schema of a PostgreSQL database.
pub const SCHEMA_VARIABLE: &str = "PIPEDRIVE_DATABASE_SCHEMA";
/// The variable that says how often whole lists are read again.
pub const SWEEP_VARIABLE: &str = "PIPEDRIVE_SYNC_SWEEP_EVERY";
/// The variable that says of which kinds recents are believed when they show no change.
pub const BY_RECENTS_VARIABLE: &str = "PIPEDRIVE_SYNC_BY_RECENTS";
/// Variables of this program, which are no settings of its client.
pub const OWN_VARIABLES: [&str; 4] =
    [DATABASE_VARIABLE, SCHEMA_VARIABLE, SWEEP_VARIABLE, BY_RECENTS_VARIABLE];
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
    /// The largest page, 1 to 500 rows.
    #[arg(long, visible_alias = "page-size", value_name = "ROWS")]
    pub max_batch_size: Option<u32>,
}

/// Where the copy is.
#[derive(Clone, Debug, Args)]
pub struct DatabaseArg {
    /// An SQLite file, as a path or as sqlite:PATH, or postgres://USER:PASSWORD@HOST/DATABASE[?schema=NAME]. A password is
    /// better given by the variable: the command line is for all to see.
    // The value of the variable may be a password, which help must not show.
    #[arg(long, global = true, env = DATABASE_VARIABLE, hide_env_values = true, default_value = DEFAULT_DATABASE, value_name = "DATABASE", value_parser = NonEmptyStringValueParser::new().map(DatabaseName))]
    pub database: DatabaseName,
}

/// A database as it was named; a password may be in it, which `Debug` leaves out.
#[derive(Clone)]
pub struct DatabaseName(pub String);

impl fmt::Debug for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseName").field(&self.0.parse::<Database>().ok()).finish()
    }
}

fn age(text: &str) -> Result<jiff::SignedDuration, String> {
    let age = text.parse::<jiff::SignedDuration>().ok().filter(|age| !age.is_negative());
    age.ok_or_else(|| "expected a time such as 26h or 90m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_name_of_a_database_is_not_shown() {
        let name = "postgres://sync:hunter2@db.example.org/crm";
        for command in ["demo", "sync", "status"] {
            let cli = Cli::try_parse_from(["pipedrive", command, "--database", name]).unwrap();
            let shown = format!("{cli:?}");
            assert!(shown.contains("db.example.org") && !shown.contains("hunter2"), "{shown}");
        }
    }
}
