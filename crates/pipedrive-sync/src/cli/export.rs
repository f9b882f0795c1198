//! The command line of the export.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::DatabaseArg;

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
