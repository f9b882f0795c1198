//! The command line of the demo.

use clap::{
    Args, ValueEnum,
    builder::{NonEmptyStringValueParser, TypedValueParser as _},
};

use super::{DatabaseName, Output};

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
    #[arg(long, value_name = "DATABASE", value_parser = NonEmptyStringValueParser::new().map(DatabaseName))]
    pub database: Option<DatabaseName>,
    /// The company's plan, which sets the limits.
    #[arg(long, default_value = "premium", value_parser = ["lite", "growth", "professional", "premium", "ultimate"])]
    pub plan: String,
    /// The largest page, 1 to 500 rows.
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
