//! The simulator as a program.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that tells where it listens")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use saas_sim::pipedrive::{Churn, Faults, Plan, Sim, SimConfig, real_now};
use saas_sim::{BoxError, Listen, serve};

/// A simulated Pipedrive account with real limits and, if asked, faults.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Allow an address that other machines can reach.
    #[arg(long)]
    beyond_loopback: bool,
    /// Serve TLS with a certificate made at the start.
    #[arg(long)]
    https: bool,
    /// Write the certificate of the TLS authority to this file.
    #[arg(long, requires = "https", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Settings in TOML; the options below go before them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Records in the account [default: 50000].
    #[arg(long)]
    records: Option<u64>,
    /// Bytes that each row of the large kinds has at least [default: 0].
    #[arg(long, value_name = "BYTES")]
    row_bytes: Option<usize>,
    /// Seed of the data, of the faults and of the changes [default: 1].
    #[arg(long)]
    seed: Option<u64>,
    /// The company's plan [default: premium].
    #[arg(long, value_enum)]
    plan: Option<PlanName>,
    /// Paid seats; the daily tokens grow with them [default: 1].
    #[arg(long)]
    seats: Option<u32>,
    /// The API token to accept.
    #[arg(long, value_name = "TOKEN")]
    api_token: Option<String>,
    /// A ready-made mix of faults [default: none].
    #[arg(long, value_enum)]
    faults: Option<Preset>,
    /// Faults in TOML, in place of a mix.
    #[arg(long, value_name = "FILE", conflicts_with = "faults")]
    faults_file: Option<PathBuf>,
    /// A ready-made mix of changes that come by themselves [default: none].
    #[arg(long, value_enum)]
    churn: Option<ChurnPreset>,
    /// Changes that come by themselves in TOML, in place of a mix.
    #[arg(long, value_name = "FILE", conflicts_with = "churn")]
    churn_file: Option<PathBuf>,
    /// Count requests and tokens, but refuse none.
    #[arg(long)]
    no_limits: bool,
}

const EXAMPLES: &str = "\
Examples:
  saas-sim                                     a Premium account of 50,000 records
  saas-sim --plan lite --faults storm --seed 7
  saas-sim --https --ca-file ca.pem --listen 127.0.0.1:8443
  curl -H \"x-api-token: $TOKEN\" 'http://127.0.0.1:8080/api/v2/deals?limit=2'
  curl http://127.0.0.1:8080/__sim/truth";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PlanName {
    Lite,
    Growth,
    Professional,
    Premium,
    Ultimate,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    None,
    Default,
    Storm,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ChurnPreset {
    None,
    Busy,
}

/// The settings in a file. The clock shows the real time unless the file says `start`.
fn from_file(path: &Path) -> Result<SimConfig, BoxError> {
    // Read once: it may be a pipe.
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut config = SimConfig::from_toml(&text)?;
    if !toml::from_str::<toml::Table>(&text)?.contains_key("start") {
        config.start = real_now();
    }
    Ok(config)
}

impl Args {
    fn settings(&self) -> Result<SimConfig, BoxError> {
        let mut config = match &self.config {
            Some(path) => from_file(path)?,
            None => SimConfig { start: real_now(), ..SimConfig::default() },
        };
        if let Some(preset) = self.faults {
            config.faults = match preset {
                Preset::None => Faults::none(),
                Preset::Default => Faults::default_mix(),
                Preset::Storm => Faults::storm(),
            };
        }
        if let Some(path) = &self.faults_file {
            config.faults = Faults::from_file(path)?;
        }
        if let Some(preset) = self.churn {
            config.churn = match preset {
                ChurnPreset::None => Churn::none(),
                ChurnPreset::Busy => Churn::busy(),
            };
        }
        if let Some(path) = &self.churn_file {
            config.churn = Churn::from_file(path)?;
        }
        if let Some(seed) = self.seed {
            config.seed = seed;
            config.faults.seed = seed;
            config.churn.seed = seed;
        }
        if let Some(plan) = self.plan {
            config.plan = match plan {
                PlanName::Lite => Plan::Lite,
                PlanName::Growth => Plan::Growth,
                PlanName::Professional => Plan::Professional,
                PlanName::Premium => Plan::Premium,
                PlanName::Ultimate => Plan::Ultimate,
            };
        }
        config.records = self.records.unwrap_or(config.records);
        config.row_bytes = self.row_bytes.unwrap_or(config.row_bytes);
        config.seats = self.seats.unwrap_or(config.seats);
        config.limits &= !self.no_limits;
        if let Some(token) = &self.api_token {
            config.api_token.clone_from(token);
        }
        Ok(config)
    }

    async fn run(self) -> Result<(), BoxError> {
        let sim = Sim::new(self.settings()?)?;
        let listen =
            if self.https { Listen::https(self.listen) } else { Listen::http(self.listen) };
        let listen = if self.beyond_loopback { listen.beyond_loopback() } else { listen };
        let server = serve(&sim, listen).await?;
        if let (Some(path), Some(pem)) = (&self.ca_file, server.ca_pem()) {
            std::fs::write(path, pem)?;
        }
        // Before the address is known: who reads it may end us at once.
        let end = End::listen()?;
        println!("url    {}", server.url());
        println!("token  {}", sim.api_token());
        println!("truth  {}/__sim/truth", server.url());
        end.come().await?;
        server.shutdown().await;
        Ok(())
    }
}

/// Ctrl-C, or SIGTERM where there is one.
#[cfg(unix)]
struct End {
    interrupted: tokio::signal::unix::Signal,
    terminated: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl End {
    /// From now on a signal is not lost, and does not kill.
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupted = signal(SignalKind::interrupt())?;
        Ok(Self { interrupted, terminated: signal(SignalKind::terminate())? })
    }

    async fn come(mut self) -> std::io::Result<()> {
        tokio::select! {
            _ = self.interrupted.recv() => Ok(()),
            _ = self.terminated.recv() => Ok(()),
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct End;

#[cfg(not(unix))]
impl End {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn come(self) -> std::io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match Args::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                line.push_str(": ");
                line.push_str(&cause.to_string());
                source = cause.source();
            }
            eprintln!("saas-sim: {line}");
            ExitCode::FAILURE
        }
    }
}
