//! Ctrl-C and SIGTERM: the first ends cleanly, the second at once.

use tokio::sync::watch;

use crate::exit::Code;

/// A flag that the first signal sets. A second signal ends the process.
///
/// # Errors
///
/// If the system does not let us listen.
pub fn stop_flag() -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            #[cfg(unix)]
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            #[cfg(not(unix))]
            let _ = tokio::signal::ctrl_c().await;
            if sender.send_replace(true) {
                // A page half written is rolled back when the database is opened next.
                std::process::exit(i32::from(Code::Other.number()));
            }
        }
    });
    Ok(receiver)
}
