//! What a commit reveals serves the next transaction.
//!
//! A commit that succeeds knows what its keys hold at its own revision, and reads
//! in the same request what other keys hold that were lately read here. That is
//! a snapshot. A transaction that follows at once begins with it, and so sends a
//! single request: its commit, which fails if the snapshot is out of date and
//! then brings a new one.
//!
//! Such a snapshot is from before the call. A transaction that writes is not
//! concerned, because its commit compares. One that writes nothing, or aborts,
//! asks etcd whether what it read holds still (`commit::validate`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::transaction::{Reads, Snapshot, Writes};
use crate::runtime;

/// How old a snapshot may be. About as long as a commit takes: from then on
/// reading anew costs less than the conflicts that it avoids.
const FRESH: Duration = Duration::from_millis(5);

/// How many keys to read ahead, and how large their values may be: reading ahead
/// shall not be felt.
const KEYS: usize = 8;
const VALUE_BYTES: usize = 1024;

/// Shared by the clones of an [`Stm`](super::Stm).
#[derive(Default)]
pub(super) struct Ahead {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    snapshot: Option<(Instant, Snapshot)>,
    /// Keys that were read lately and were small, the latest first.
    recent: VecDeque<Vec<u8>>,
}

impl Ahead {
    /// A snapshot to begin with, for one transaction: another one that begins
    /// with the same would conflict with it.
    pub(super) fn take(&self) -> Option<Snapshot> {
        let (since, snapshot) = self.lock().snapshot.take()?;
        let age = runtime::now().saturating_duration_since(since);
        (age <= FRESH).then_some(snapshot)
    }

    /// Leaves a snapshot for the next transaction.
    pub(super) fn offer(&self, snapshot: Snapshot) {
        self.lock().snapshot = Some((runtime::now(), snapshot));
    }

    /// Takes note of what was read. Returns the keys that a commit of these reads
    /// and writes should read ahead.
    pub(super) fn keys_beside(&self, reads: &Reads, writes: &Writes) -> Vec<Vec<u8>> {
        let mut state = self.lock();
        let is_known = |key: &Vec<u8>| reads.contains_key(key) || writes.contains_key(key);
        let beside: Vec<Vec<u8>> = state
            .recent
            .iter()
            .filter(|key| !is_known(key))
            .cloned()
            .collect();
        let small = reads.iter().filter(|(_, version)| {
            let size = version.value.as_ref().map_or(0, Vec::len);
            size <= VALUE_BYTES
        });
        state.recent = small
            .map(|(key, _)| key.clone())
            .chain(beside.iter().cloned())
            .take(KEYS)
            .collect();
        beside
    }

    /// Reads no key ahead that was not read again since.
    pub(super) fn forget(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
