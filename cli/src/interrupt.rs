//! Ctrl-C and requests to terminate.

use std::process;
use std::sync::Arc;

use etcd_recipes::runtime;
use tokio::sync::Notify;

use crate::exit_code;
use crate::output;

/// Is notified of the first Ctrl-C or request to terminate; a second one ends
/// the program where it stands, with a warning about what is left. Listens for
/// as long as the task is kept.
pub(crate) fn on_interrupt(left: String) -> (Arc<Notify>, runtime::Task) {
    let notify = Arc::new(Notify::new());
    let interrupted = Arc::clone(&notify);
    let listen = async move {
        if signalled().await.is_err() {
            return;
        }
        // Kept until a run asks, should none be listening just now.
        interrupted.notify_one();
        output::note("interrupted: removing the keys of the run; once more to leave them");
        if signalled().await.is_ok() {
            output::warning(left);
            process::exit(i32::from(exit_code::INTERRUPTED));
        }
    };
    (notify, runtime::spawn(listen))
}

#[cfg(unix)]
async fn signalled() -> std::io::Result<()> {
    use std::pin::pin;

    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let (interrupt, terminate) = (pin!(interrupt.recv()), pin!(terminate.recv()));
    futures_util::future::select(interrupt, terminate).await;
    Ok(())
}

#[cfg(not(unix))]
async fn signalled() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
