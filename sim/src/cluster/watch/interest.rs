//! Which watches want to hear of a key.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::WatchSpec;
use super::stream::WatchKey;
use crate::store::KeyRange;

/// A set of watches that is asked by key.
#[derive(Debug, Default)]
pub(super) struct Interest {
    keys: BTreeMap<Vec<u8>, BTreeSet<WatchKey>>,
    ranges: BTreeMap<WatchKey, (Vec<u8>, Vec<u8>)>,
}

impl Interest {
    pub(super) fn insert(&mut self, id: WatchKey, spec: &WatchSpec) {
        match spec.range() {
            KeyRange::One(key) => {
                self.keys.entry(key.to_vec()).or_default().insert(id);
            }
            _ => {
                self.ranges
                    .insert(id, (spec.key.clone(), spec.range_end.clone()));
            }
        }
    }

    pub(super) fn remove(&mut self, id: WatchKey, spec: &WatchSpec) {
        self.ranges.remove(&id);
        if let Some(watches) = self.keys.get_mut(&spec.key) {
            watches.remove(&id);
            if watches.is_empty() {
                self.keys.remove(&spec.key);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// Calls `each` with the watches that want to hear of `key`.
    pub(super) fn of(&self, key: &[u8], mut each: impl FnMut(WatchKey)) {
        self.keys
            .get(key)
            .into_iter()
            .flatten()
            .copied()
            .for_each(&mut each);
        for (&id, (start, end)) in &self.ranges {
            if KeyRange::new(start, end).contains(key) {
                each(id);
            }
        }
    }
}
