//! What one watch asked for, and what it is to be told.

use etcd_client::proto::PbEvent;

use crate::cluster::view::MemberView;
use crate::store::{EVENT_DELETE, KeyRange, Record};

/// How many revisions a watch that lags behind is told at a time
/// (`watchBatchMaxRevs` in etcd's `server/storage/mvcc/watcher_group.go`).
const BATCH_REVISIONS_MAX: usize = 1000;

/// What a watch asks for: the request to create it.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchSpec {
    pub(crate) key: Vec<u8>,
    pub(crate) range_end: Vec<u8>,
    /// 0: from now on.
    pub(crate) start_revision: i64,
    /// 0: the member chooses.
    pub(crate) watch_id: i64,
    pub(crate) no_put: bool,
    pub(crate) no_delete: bool,
    pub(crate) prev_kv: bool,
    pub(crate) progress_notify: bool,
    pub(crate) fragment: bool,
}

impl WatchSpec {
    pub(super) fn range(&self) -> KeyRange<'_> {
        KeyRange::new(&self.key, &self.range_end)
    }

    fn filters_out(&self, record: &Record) -> bool {
        if record.is_tombstone() {
            self.no_delete
        } else {
            self.no_put
        }
    }

    /// The event that the watch is sent. The previous version is what existed
    /// one revision earlier, if that is not compacted
    /// (`server/etcdserver/api/v3rpc/watch.go`).
    fn event(&self, seen: MemberView<'_>, record: &Record) -> PbEvent {
        let mut event = record.event();
        if self.prev_kv && !record.is_creation() {
            event.prev_kv = seen
                .key_at(record.key(), record.mod_revision() - 1)
                .map(Record::key_value);
        }
        event
    }
}

/// Events for one watch, of at most [`BATCH_REVISIONS_MAX`] revisions.
///
/// Revisions count before events are filtered out, as in etcd.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<PbEvent>,
    /// The first revision that did not fit.
    pub(super) more_from: Option<i64>,
    revisions: usize,
    last_revision: i64,
}

impl Batch {
    pub(super) fn add(&mut self, spec: &WatchSpec, seen: MemberView<'_>, record: &Record) {
        if self.more_from.is_some() {
            return;
        }
        if record.mod_revision() > self.last_revision {
            if self.revisions == BATCH_REVISIONS_MAX {
                self.more_from = Some(record.mod_revision());
                return;
            }
            self.revisions += 1;
            self.last_revision = record.mod_revision();
        }
        if !spec.filters_out(record) {
            self.events.push(spec.event(seen, record));
        }
    }

    /// Loses the deletions at a revision.
    pub(super) fn forget_deletions_at(&mut self, revision: i64) {
        let is_lost = |event: &PbEvent| {
            let at = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            event.r#type == EVENT_DELETE && at == revision
        };
        self.events.retain(|event| !is_lost(event));
    }

    /// Tells the last event twice if another one is of the same revision.
    pub(super) fn repeat_last_of_several(&mut self) {
        let at = |event: &PbEvent| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        if let [.., other, last] = &self.events[..]
            && at(other) == at(last)
        {
            self.events.push(last.clone());
        }
    }
}
