//! The program `pipedrive`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a program tells why it failed")]

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;
use pipedrive_sync::{cli::Cli, commands, exit::Code};
use tokio::runtime::Runtime;

/// For threads that are just writing something, when all is done.
const LAST: Duration = Duration::from_secs(1);

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
    match to_its_end(runtime, commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.line.lines() {
                eprintln!("pipedrive: {line}");
            }
            failure.code.number().into()
        }
    }
}

/// What still blocks in a thread then, on a file that hangs or a name that is looked up, does not hold the process.
fn to_its_end<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LAST);
    done
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_blocks_for_ever_does_not_hold_the_program() {
        let (ended, told) = mpsc::channel();
        let (hold, held) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
            let done = to_its_end(runtime, async {
                let (begins, begun) = tokio::sync::oneshot::channel();
                drop(tokio::task::spawn_blocking(move || {
                    begins.send(()).unwrap();
                    held.recv()
                }));
                begun.await.unwrap();
                7
            });
            ended.send(done).unwrap();
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(7));
        drop(hold);
    }
}
