//! What several commands share.

use std::io::{self, Write as _};

use pipedrive_service::{
    Client, Entity,
    config::{Config, ConfigError, Sources},
};
use serde::Serialize;

use crate::{
    cli::{Connection, DATABASE_VARIABLE, DatabaseArg},
    engine::plan,
    exit::{Code, Failure},
    store::{Database, StoreError},
};

/// The environment, a file, a profile, and what the command line says over them.
pub(super) fn sources(connection: &Connection) -> Sources {
    // Our own variable is not one of the client's settings.
    let variables = std::env::vars_os()
        // What is not Unicode becomes a wrong value, which is reported; it must not be passed over.
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .filter(|(name, _)| name != DATABASE_VARIABLE);
    let mut sources = Sources::new().env(variables);
    if let Some(file) = &connection.config {
        sources = sources.file(file);
    }
    if let Some(profile) = &connection.profile {
        sources = sources.profile(profile);
    }
    if let Some(url) = &connection.base_url {
        sources = sources.set("connection.base_url", url);
    }
    if let Some(file) = &connection.ca_file {
        sources = sources.set("connection.ca_file", file);
    }
    if let Some(rows) = connection.max_batch_size {
        sources = largest_page(sources, rows);
    }
    sources
}

pub(super) fn largest_page(sources: Sources, rows: u32) -> Sources {
    sources
        .set("robustness.memory_management.max_batch_size", rows.to_string())
        .set("robustness.memory_management.min_batch_size", rows.min(10).to_string())
}

pub(super) fn load(sources: &Sources) -> Result<Config, Failure> {
    let config = Config::load(sources).map_err(|error| wrong(&error))?;
    for variable in config.unknown_variables() {
        tracing::warn!(target: "pipedrive_sync::config", "{variable}");
    }
    Ok(config)
}

/// A client that spends only what the database has leased to it.
pub(super) fn leased_client(config: Config) -> Result<Client, Failure> {
    Client::builder(config).leased(true).build().map_err(|error| wrong(&error))
}

/// A client for one or two requests.
pub(super) fn plain_client(config: Config) -> Result<Client, Failure> {
    Client::new(config).map_err(|error| wrong(&error))
}

fn wrong(error: &ConfigError) -> Failure {
    let lines: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    Failure::new(Code::Usage, lines.join("\n"))
}

pub(super) fn database(arg: &DatabaseArg) -> Result<Database, StoreError> {
    arg.database.parse()
}

/// What was asked for, else what the configuration enables.
pub(super) fn entities(names: &[String], config: &Config) -> Result<Vec<Entity>, Failure> {
    if names.is_empty() {
        return Ok(config.enabled_entities.clone());
    }
    plan::entities(names).map_err(|line| Failure::new(Code::Usage, line))
}

/// A text for people or an object for programs, on standard output. A reader that has gone away is no failure.
pub(super) fn print(json: bool, value: &impl Serialize, text: &str) {
    let mut out = io::stdout().lock();
    let line = if json {
        serde_json::to_string(value).expect("reports have text keys and finite numbers")
    } else {
        text.trim_end().to_owned()
    };
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Columns as wide as their widest cell; all but the first to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                line.push_str(&format!("{cell:width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
