//! Ctrl-C and requests to terminate.

use std::io;
use std::process;
use std::sync::Arc;

use etcd_recipes::runtime;
use tokio::sync::Notify;

use crate::exit_code;
use crate::output;

/// Is notified of the first Ctrl-C or request to terminate, which is told with what
/// comes of it; a second one ends the program where it stands, after `leave`. Listens
/// for as long as the task is kept.
pub(crate) fn on_interrupt(
    what_comes: &'static str,
    leave: impl FnOnce() + Send + 'static,
) -> (Arc<Notify>, runtime::Task) {
    let notify = Arc::new(Notify::new());
    let interrupted = Arc::clone(&notify);
    let listen = async move {
        if signalled().await.is_err() {
            return;
        }
        // Kept until a run asks, should none be listening just now.
        interrupted.notify_one();
        output::note(format_args!("interrupted: {what_comes}"));
        if signalled().await.is_ok() {
            leave();
            process::exit(i32::from(exit_code::INTERRUPTED));
        }
    };
    (notify, runtime::spawn(listen))
}

async fn signalled() -> io::Result<()> {
    Signals::listen()?.next().await;
    Ok(())
}

/// What a process is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// A request to terminate.
    Terminate,
}

/// From its creation on, signals no longer end the process by themselves.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one. Can be cancelled by dropping it.
    pub(crate) async fn next(&mut self) -> Signal {
        use std::pin::pin;

        use futures_util::future::{Either, select};

        let (interrupt, terminate) = (self.interrupt.recv(), self.terminate.recv());
        match select(pin!(interrupt), pin!(terminate)).await {
            Either::Left(_) => Signal::Interrupt,
            Either::Right(_) => Signal::Terminate,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Signals {})
    }

    /// The next one. Can be cancelled by dropping it.
    pub(crate) async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Interrupt,
            // Nobody can tell this process anything.
            Err(_) => std::future::pending().await,
        }
    }
}
