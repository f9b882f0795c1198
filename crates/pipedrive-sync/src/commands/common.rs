//! What several commands share.

use std::{
    io::{self, Write as _},
    sync::OnceLock,
};

use pipedrive_service::{
    Client, OnLimit, Priority,
    config::{Config, ConfigError, Sources},
};
use serde::Serialize;

use crate::{
    cli::{Connection, DatabaseArg, OWN_VARIABLES, SCHEMA_VARIABLE},
    exit::{Code, Failure},
    store::{Database, StoreError},
};

/// The environment, a file, a profile, and what the command line says over them.
pub(super) fn sources(connection: &Connection) -> Sources {
    // Our own variables are none of the client's settings.
    let variables = std::env::vars_os()
        // What is not Unicode becomes a wrong value, which is reported; it must not be passed over.
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .filter(|(name, _)| !OWN_VARIABLES.contains(&name.as_str()));
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
    let shared = config.rate_limiting.ledger.is_some();
    Client::builder(config).leased(true).shared(shared).build().map_err(|error| wrong(&error))
}

/// A client for one request or two, for which somebody waits and which a sync that runs beside does not know of; with
/// the day from whose tokens they are paid. They are to be noted by [`note_spent`](crate::store::note_spent) first.
pub(super) fn asking_client(config: Config) -> Result<(Client, String), Failure> {
    let day = today(&config)?;
    let shared = config.rate_limiting.ledger.is_some();
    let client = Client::builder(config).shared(shared).build().map_err(|error| wrong(&error))?;
    Ok((client.with_priority(Priority::HIGH).with_on_limit(OnLimit::Wait), day))
}

/// The day from whose tokens a call would be paid now, by the date on which it began.
pub(super) fn today(config: &Config) -> Result<String, Failure> {
    let leased = Client::builder(config.clone()).leased(true);
    let (limiter, budgets) = leased.limiter().map_err(|error| wrong(&error))?;
    let lease = limiter.lease(budgets.day).expect("it was built with a leased day");
    Ok(lease.day().to_string())
}

pub(super) fn wrong(error: &ConfigError) -> Failure {
    let lines: Vec<_> = error.problems().iter().map(ToString::to_string).collect();
    Failure::new(Code::Usage, lines.join("\n"))
}

pub(super) fn database(arg: &DatabaseArg) -> Result<Database, StoreError> {
    named(&arg.database.0)
}

/// A database by its name, in the schema that the environment names if the name does not.
pub(super) fn named(name: &str) -> Result<Database, StoreError> {
    let database: Database = name.parse()?;
    match std::env::var(SCHEMA_VARIABLE) {
        Ok(schema) if !schema.is_empty() => database.in_schema(&schema),
        _ => Ok(database),
    }
}

/// Shows what was found, or why nothing was.
pub(super) fn show<T: Serialize>(
    json: bool,
    found: Result<T, Failure>,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match found {
        Ok(found) => {
            let text = if json { String::new() } else { text(&found) };
            print(json, &found, &text);
            Ok(())
        }
        Err(failure) => {
            print_failure(json, &failure);
            Err(failure)
        }
    }
}

/// Why a command could not do its work, as an object for programs. People get the line on standard error.
pub(super) fn print_failure(json: bool, failure: &Failure) {
    if json {
        let value =
            serde_json::json!({"outcome": failure.line, "exit_code": failure.code.number()});
        print(true, &value, "");
    }
}

/// A text for people where standard output is taken.
pub(super) fn print_aside(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}

/// A text for people or an object for programs, on standard output. A reader that has gone away is no failure.
pub(super) fn print(json: bool, value: &impl Serialize, text: &str) {
    let mut out = io::stdout().lock();
    let line = if json {
        serde_json::to_string(value).expect("reports have text keys and finite numbers")
    } else {
        text.trim_end().to_owned()
    };
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = UNWRITTEN.set(error.to_string());
    }
}

/// Why standard output could not be written, if it could not: it is as global as standard output itself.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// Whether all that was printed was written.
pub(super) fn written() -> Result<(), Failure> {
    UNWRITTEN.get().map_or(Ok(()), |error| {
        Err(Failure::new(Code::Other, format!("standard output cannot be written: {error}")))
    })
}
