//! The program `pipedrive`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a program tells why it failed")]

use std::process::ExitCode;

use clap::Parser as _;
use pipedrive_sync::{cli::Cli, commands, exit::Code};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; everything else is one of usage.
            let _ = error.print();
            return if error.use_stderr() {
                Code::Usage.number().into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pipedrive: no runtime: {error}");
            return Code::Other.number().into();
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.line.lines() {
                eprintln!("pipedrive: {line}");
            }
            failure.code.number().into()
        }
    }
}
