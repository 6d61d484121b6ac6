//! Taking turns within a process.
//!
//! The key of a lock or a candidacy is a function of the lease, so two tasks
//! that share a session would share the key: etcd could not tell them apart.
//! They take turns here, in order of arrival, before etcd is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The right to use the key of a session under one prefix, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    guard: OwnedMutexGuard<()>,
}

impl Turn {
    /// A place to wait for the next turn.
    pub(crate) fn place(&self) -> Place {
        Place(OwnedMutexGuard::mutex(&self.guard).clone())
    }
}

/// Where a turn was, and can be waited for again.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<AsyncMutex<()>>);

impl Place {
    pub(crate) async fn turn(&self) -> Turn {
        let guard = self.0.clone().lock_owned().await;
        Turn { guard }
    }
}

/// The turns of one session.
#[derive(Debug, Default)]
pub(super) struct Turns {
    by_prefix: Mutex<BTreeMap<String, Weak<AsyncMutex<()>>>>,
}

impl Turns {
    pub(super) async fn turn(&self, prefix: &str) -> Turn {
        let guard = self.of(prefix).lock_owned().await;
        Turn { guard }
    }

    pub(super) fn try_turn(&self, prefix: &str) -> Option<Turn> {
        let guard = self.of(prefix).try_lock_owned().ok()?;
        Some(Turn { guard })
    }

    fn of(&self, prefix: &str) -> Arc<AsyncMutex<()>> {
        let mut by_prefix = self
            .by_prefix
            .lock()
            // Whole at every moment.
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = by_prefix.get(prefix).and_then(Weak::upgrade) {
            return turns;
        }
        by_prefix.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(AsyncMutex::new(()));
        by_prefix.insert(prefix.to_owned(), Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_one_at_a_time_and_per_prefix() {
        let turns = Turns::default();
        let first = turns.turn("a/").await;
        assert!(turns.try_turn("a/").is_none());
        assert!(turns.try_turn("b/").is_some());
        drop(first);
        assert!(turns.try_turn("a/").is_some());
    }
}
