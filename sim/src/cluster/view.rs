//! The history as one member sees it.

use crate::store::{Record, Store, View};

/// The history up to the revision that a member has applied.
#[derive(Clone, Copy)]
pub(crate) struct MemberView<'a> {
    pub(crate) store: &'a Store,
    pub(crate) view: View,
}

impl<'a> MemberView<'a> {
    /// The newest revision that the member has applied.
    pub(crate) fn revision(self) -> i64 {
        self.view.revision
    }

    /// The last compaction that it has applied, or -1.
    pub(crate) fn compacted_revision(self) -> i64 {
        self.view.compacted
    }

    /// What it has applied at `from` and later.
    pub(crate) fn events(self, from: i64) -> impl Iterator<Item = &'a Record> {
        let newest = self.view.revision;
        let events = self.store.events(from);
        events.take_while(move |record| record.mod_revision() <= newest)
    }

    /// The version of a key that existed after `revision`.
    pub(crate) fn key_at(self, key: &[u8], revision: i64) -> Option<&'a Record> {
        self.store.key_in(key, revision, self.view)
    }
}
