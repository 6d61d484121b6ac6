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
    /// Where it began.
    pub(super) first_revision: i64,
    /// The last compaction before it was opened, or -1.
    pub(super) compacted_before: i64,
    /// Whether it hears of progress at the next tick: it asked for that, and
    /// has heard of no event since the last one.
    pub(super) notice_due: bool,
}

impl Watch {
    /// Whether everything up to `revision` has been told, and, where that matters,
    /// the watch has begun.
    pub(super) fn is_at(&self, revision: i64, waits_for_begin: bool) -> bool {
        let has_begun = self.spec.start_revision <= revision;
        matches!(self.progress, Progress::Synced) && (has_begun || !waits_for_begin)
    }
}

/// What each watch of a set is to be told of some records. Looks at no more records
/// when `full` watches can be told no more at a time.
pub(super) fn batches<'a>(
    interest: &Interest,
    watches: &BTreeMap<WatchKey, Watch>,
    seen: MemberView<'_>,
    records: impl Iterator<Item = &'a Record>,
    full: usize,
) -> BTreeMap<WatchKey, Batch> {
    let mut batches: BTreeMap<WatchKey, Batch> = BTreeMap::new();
    let mut full_ones = 0;
    for record in records {
        if full_ones == full {
            break;
        }
        interest.of(record.key(), |id| {
            let watch = &watches[&id];
            if record.mod_revision() >= watch.next_revision {
                let batch = batches.entry(id).or_default();
                let was_full = batch.more_from.is_some();
                batch.add(&watch.spec, seen, record);
                full_ones += usize::from(batch.more_from.is_some() && !was_full);
            }
        });
    }
    batches
}
