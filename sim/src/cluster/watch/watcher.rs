//! One watch and how far it has come.

use std::collections::BTreeMap;

use super::batch::{Batch, WatchSpec};
use super::interest::Interest;
use super::stream::WatchKey;
use crate::cluster::view::MemberView;
use crate::store::Record;

/// Whether a watch keeps up.
#[derive(Debug)]
pub(super) enum Progress {
    Synced,
    Unsynced,
    /// The stream was full; this is still to be sent.
    Victim(Batch),
    /// Has been told that what it asked for is compacted. It hears nothing any
    /// more, but keeps its id until the client cancels it.
    Compacted,
}

/// A watch that a client has asked for.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) spec: WatchSpec,
    pub(super) progress: Progress,
    /// The first revision that it has not been told about.
    pub(super) next_revision: i64,
    /// Whether it hears of progress at the next tick: it asked for that, and
    /// has heard of no event since the last one.
    pub(super) notice_due: bool,
}

impl Watch {
    /// Whether everything up to `revision` has been told, and the watch has
    /// begun.
    pub(super) fn is_at(&self, revision: i64) -> bool {
        matches!(self.progress, Progress::Synced) && self.spec.start_revision <= revision
    }
}

/// What each watch of a set is to be told of some records.
pub(super) fn batches<'a>(
    interest: &Interest,
    watches: &BTreeMap<WatchKey, Watch>,
    seen: MemberView<'_>,
    records: impl Iterator<Item = &'a Record>,
) -> BTreeMap<WatchKey, Batch> {
    let mut batches: BTreeMap<WatchKey, Batch> = BTreeMap::new();
    for record in records {
        interest.of(record.key(), |id| {
            let watch = &watches[&id];
            if record.mod_revision() >= watch.next_revision {
                batches
                    .entry(id)
                    .or_default()
                    .add(&watch.spec, seen, record);
            }
        });
    }
    batches
}
