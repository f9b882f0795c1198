//! What each command does.

mod circuits;
mod common;
mod config;
mod demo;
mod errors;
mod export;
mod failed;
mod health;
mod health_check;
mod limits;
mod plan;
mod runs;
mod status;
mod sync;
mod sync_custom_fields;
mod verify;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    cli::{Cli, Command},
    exit::Failure,
};

/// Runs a command to its end.
///
/// # Errors
///
/// The exit code and the line for people.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    start_tracing(cli.verbose);
    let done = match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Sync(args) => sync::run(*args).await,
        Command::SyncCustomFields(args) => sync_custom_fields::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Resume(args) => sync::resume(args).await,
        Command::Runs(args) => runs::run(args).await,
        Command::FailedItems(args) => failed::items(args).await,
        Command::RetryFailed(args) => failed::retry(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Limits(args) => limits::run(args).await,
        Command::Circuits(args) => circuits::run(args).await,
        Command::Errors(args) => errors::run(args).await,
        Command::Health(args) => health::run(args).await,
        Command::HealthCheck(args) => health_check::run(args).await,
        Command::Config(args) => config::run(&args),
    };
    done.and_then(|()| common::written())
}

/// To standard error, so that standard output stays clean for results.
fn start_tracing(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(
            fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())),
        )
        .try_init();
}
