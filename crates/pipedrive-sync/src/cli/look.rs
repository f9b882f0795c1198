//! The command line of what looks at a copy, and at what the API said.

use clap::{Args, Subcommand};

use super::{Connection, DatabaseArg, Output, age};

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
