//! The first read of a copy, where somebody else does it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::View;
use crate::runtime;

/// For how long the copy waits for what was promised, before it reads for itself.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether somebody does the read, and what it has found.
#[derive(Debug, Default)]
pub(super) struct FirstRead {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Nobody,
    Promised,
    Done(View),
}

impl FirstRead {
    /// Somebody is about to read.
    pub(super) fn promise(&self) {
        *self.lock() = State::Promised;
    }

    /// This was read.
    pub(super) fn keep(&self, view: View) {
        self.change(State::Done(view));
    }

    /// Nothing will be read, unless it was already.
    pub(super) fn give_up(&self) {
        if matches!(*self.lock(), State::Promised) {
            self.change(State::Nobody);
        }
    }

    /// What was read, once. Waits for it while it is promised.
    pub(super) async fn wait(&self) -> Option<View> {
        let kept = async {
            loop {
                // Made before the state is looked at: it sees every change since.
                let changed = self.changed.notified();
                if !matches!(*self.lock(), State::Promised) {
                    return;
                }
                changed.await;
            }
        };
        // Whoever comes too late is ignored.
        let _ = runtime::timeout(PATIENCE, kept).await;
        match std::mem::take(&mut *self.lock()) {
            State::Done(view) => Some(view),
            State::Nobody | State::Promised => None,
        }
    }

    fn change(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
