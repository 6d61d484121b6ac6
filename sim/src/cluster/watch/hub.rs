//! All watches of a member and how they keep up.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};

use etcd_client::proto::PbWatchResponse;

use super::batch::{Batch, WatchSpec};
use super::fragment::fragments;
use super::interest::Interest;
use super::stream::{Outbox, StreamId, WatchKey};
use super::watcher::{Progress, Watch, batches};
use crate::bug::EtcdBug;
use crate::cluster::state::Identity;
use crate::cluster::view::MemberView;
use crate::store::KeyRange;
use crate::version::{NegativeStart, Profile, ProgressRequests, Version};

/// How many watches that lag behind are served at a time (`maxWatchersPerSync`
/// in etcd's `server/storage/mvcc/watchable_store.go`).
const SYNC_MAX: usize = 512;

/// The id in answers that belong to no watch (`InvalidWatchID` in etcd's
/// `client/v3/watch.go`).
pub(crate) const NO_WATCH: i64 = -1;

/// All watches of a member.
///
/// # Invariants
/// - `synced` holds the watches that are [`Progress::Synced`], `unsynced` and
///   `victims` the ids of those that are that.
/// - A synced watch has been told everything up to the revision of the store.
#[derive(Debug)]
pub(crate) struct WatchHub {
    identity: Identity,
    profile: Profile,
    bug: Option<EtcdBug>,
    /// Where answers are split for those that want it, in bytes.
    fragment_bytes: usize,
    streams: BTreeMap<StreamId, Outbox>,
    streams_opened: u64,
    watches: BTreeMap<WatchKey, Watch>,
    synced: Interest,
    unsynced: BTreeSet<WatchKey>,
    victims: BTreeSet<WatchKey>,
}

impl WatchHub {
    pub(crate) fn new(identity: Identity, fragment_bytes: usize) -> Self {
        WatchHub {
            identity,
            profile: Version::default().profile(),
            bug: None,
            fragment_bytes,
            streams: BTreeMap::new(),
            streams_opened: 0,
            watches: BTreeMap::new(),
            synced: Interest::default(),
            unsynced: BTreeSet::new(),
            victims: BTreeSet::new(),
        }
    }

    /// The same as a release of etcd has it.
    pub(crate) fn answering_as(self, version: Version) -> Self {
        let profile = version.profile();
        WatchHub { profile, ..self }
    }

    /// The same with a known bug of etcd's put in.
    pub(crate) fn with_bug(self, bug: Option<EtcdBug>) -> Self {
        WatchHub { bug, ..self }
    }

    fn has(&self, bug: EtcdBug) -> bool {
        self.bug == Some(bug)
    }

    /// Opens a stream without watches.
    pub(crate) fn open(&mut self) -> StreamId {
        self.streams_opened += 1;
        let id = StreamId(self.streams_opened);
        self.streams.insert(id, Outbox::default());
        id
    }

    /// Ends a stream and its watches; who is to be woken for that. To be done
    /// without the lock of the member: it can end tasks that need it.
    #[must_use]
    pub(crate) fn close(&mut self, stream: StreamId) -> Vec<Waker> {
        let ids: Vec<WatchKey> = self
            .watches
            .range(WatchKey::of(stream))
            .map(|(&id, _)| id)
            .collect();
        for id in ids {
            self.remove(id);
        }
        let outbox = self.streams.remove(&stream);
        outbox.into_iter().flat_map(Outbox::close).collect()
    }

    /// Ends all streams, for the process that held them is gone; who is to be
    /// woken for that, as with [`WatchHub::close`].
    #[must_use]
    pub(crate) fn close_all(&mut self, identity: Identity) -> Vec<Waker> {
        self.identity = identity;
        self.watches.clear();
        self.synced = Interest::default();
        self.unsynced.clear();
        self.victims.clear();
        let streams = std::mem::take(&mut self.streams);
        streams.into_values().flat_map(Outbox::close).collect()
    }

    /// Takes the next answer of a stream; `None` when the stream has ended.
    pub(crate) fn poll_next(
        &mut self,
        stream: StreamId,
        context: &mut Context<'_>,
    ) -> Poll<Option<PbWatchResponse>> {
        match self.streams.get_mut(&stream) {
            Some(outbox) => outbox.poll_next(context).map(Some),
            None => Poll::Ready(None),
        }
    }

    /// Is ready when the stream can take the answer to another request; with
    /// false when the stream has ended.
    pub(crate) fn poll_room(&mut self, stream: StreamId, context: &mut Context<'_>) -> Poll<bool> {
        match self.streams.get_mut(&stream) {
            Some(outbox) => outbox.poll_room(context).map(|()| true),
            None => Poll::Ready(false),
        }
    }

    /// Answers a request to watch (`recvLoop` in etcd's
    /// `server/etcdserver/api/v3rpc/watch.go`).
    pub(crate) fn create(&mut self, stream: StreamId, mut spec: WatchSpec, seen: MemberView<'_>) {
        if spec.key.is_empty() {
            spec.key = vec![0];
        }
        if let Err(reason) = self.admit(stream, &mut spec) {
            return self.refuse(stream, NO_WATCH, reason.to_owned(), seen);
        }
        let created = PbWatchResponse {
            watch_id: spec.watch_id,
            created: true,
            ..self.answer(seen.revision())
        };
        self.control(stream, created);
        self.insert(stream, spec, seen);
    }

    /// Answers a request to watch that is not granted.
    pub(crate) fn refuse(
        &mut self,
        stream: StreamId,
        watch_id: i64,
        cancel_reason: String,
        seen: MemberView<'_>,
    ) {
        let refusal = PbWatchResponse {
            watch_id,
            created: true,
            canceled: true,
            cancel_reason,
            ..self.answer(seen.revision())
        };
        self.control(stream, refusal);
    }

    /// Ends one watch; silent when there is none with this id, as etcd is.
    pub(crate) fn cancel(&mut self, stream: StreamId, watch_id: i64, seen: MemberView<'_>) {
        if self.remove(WatchKey { stream, watch_id }) {
            let answer = self.answer(seen.revision());
            let canceled = PbWatchResponse {
                watch_id,
                canceled: true,
                ..answer
            };
            self.control(stream, canceled);
        }
    }

    /// Answers a request for progress, on behalf of all watches of the stream
    /// (`progressIfSync` in etcd's `server/storage/mvcc/watchable_store.go`; in old
    /// releases `recvLoop` in `etcdserver/api/v3rpc/watch.go`).
    pub(crate) fn report_progress(&mut self, stream: StreamId, seen: MemberView<'_>) {
        let revision = seen.revision();
        if self.profile.progress_requests == ProgressRequests::AtOnce {
            let answer = PbWatchResponse {
                watch_id: NO_WATCH,
                ..self.answer(revision)
            };
            return self.control(stream, answer);
        }
        let is_early = self.has(EtcdBug::ProgressAheadOfEvents);
        let mut watches = self.watches.range(WatchKey::of(stream)).peekable();
        let is_any = watches.peek().is_some();
        let waits_for_begin = self.waits_for_begin();
        if is_any && (is_early || watches.all(|(_, watch)| watch.is_at(revision, waits_for_begin)))
        {
            self.notice(stream, NO_WATCH, revision);
        }
    }

    /// The periodic notices of progress of a stream.
    pub(crate) fn tick_progress(&mut self, stream: StreamId, seen: MemberView<'_>) {
        let revision = seen.revision();
        let waits_for_begin = self.waits_for_begin();
        let mut due = Vec::new();
        for (id, watch) in self.watches.range_mut(WatchKey::of(stream)) {
            if !watch.spec.progress_notify {
                continue;
            }
            if watch.notice_due && watch.is_at(revision, waits_for_begin) {
                due.push(id.watch_id);
            }
            watch.notice_due = true;
        }
        for watch_id in due {
            self.notice(stream, watch_id, revision);
        }
    }

    /// Whether a watch hears of no progress before the revision at which it starts.
    fn waits_for_begin(&self) -> bool {
        self.profile.progress_requests == ProgressRequests::WhenBegun
    }

    /// Whether a stream has a watch that wants periodic notices.
    pub(crate) fn wants_progress(&self, stream: StreamId) -> bool {
        self.watches
            .range(WatchKey::of(stream))
            .any(|(_, watch)| watch.spec.progress_notify)
    }

    /// The member says from now on of itself what `identity` says.
    pub(crate) fn identify(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// Lets all watches lag behind that have been told everything up to
    /// `revision`: they hear of what follows in batches, as soon as
    /// [`WatchHub::sync`] serves them.
    pub(crate) fn hold(&mut self, revision: i64) {
        let is_synced = |watch: &Watch| matches!(watch.progress, Progress::Synced);
        let watches = self.watches.iter();
        let synced: Vec<WatchKey> = watches
            .filter(|(_, watch)| is_synced(watch))
            .map(|(&id, _)| id)
            .collect();
        for id in synced {
            let watch = self.watch(id);
            watch.next_revision = watch.next_revision.max(revision + 1);
            self.set_progress(id, Progress::Unsynced);
        }
    }

    /// Where answers are split from now on for those that want it, in bytes.
    pub(crate) fn fragment_at(&mut self, bytes: usize) {
        self.fragment_bytes = bytes;
    }

    /// Tells the synced watches what happened at `revision`, the newest one that
    /// they have not been told.
    pub(crate) fn notify(&mut self, seen: MemberView<'_>, revision: i64) {
        if self.synced.is_empty() {
            return;
        }
        let events = seen.events(revision);
        let events = events.take_while(|record| record.mod_revision() == revision);
        let batches = batches(&self.synced, &self.watches, seen, events, usize::MAX);
        for (id, batch) in batches {
            let watch = self.watch(id);
            watch.next_revision = revision + 1;
            self.deliver(id, batch, revision, revision);
        }
    }

    /// How many watches there are.
    pub(crate) fn len(&self) -> usize {
        self.watches.len()
    }

    /// Whether a watch could not be served because its stream was full.
    pub(crate) fn has_victims(&self) -> bool {
        !self.victims.is_empty()
    }

    /// How many watches lag behind.
    pub(crate) fn unsynced_len(&self) -> usize {
        self.unsynced.len()
    }

    /// Serves watches that lag behind; how many still do. (`syncWatchers` in
    /// etcd's `server/storage/mvcc/watchable_store.go`.)
    pub(crate) fn sync(&mut self, seen: MemberView<'_>) -> usize {
        let chosen: Vec<WatchKey> = self.unsynced.iter().copied().take(SYNC_MAX).collect();
        let mut lagging = Interest::default();
        let mut oldest = i64::MAX;
        let mut late = Vec::new();
        for id in chosen {
            let watch = &self.watches[&id];
            if watch.next_revision < seen.compacted_revision() {
                self.tell_compacted(id, seen.compacted_revision());
                continue;
            }
            oldest = oldest.min(watch.next_revision);
            lagging.insert(id, &watch.spec);
            late.push(id);
        }
        let current = seen.revision();
        // etcd keeps revisions as bytes, in which a negative one lies behind all others:
        // who is served together with a watch from there hears nothing of the past either.
        let first = if oldest < 0 { i64::MAX } else { oldest };
        let events = seen.events(first);
        let mut batches = batches(&lagging, &self.watches, seen, events, late.len());
        for id in late {
            let mut batch = batches.remove(&id).unwrap_or_default();
            if self.loses_deletions(id, seen) {
                batch.forget_deletions_at(seen.compacted_revision());
            }
            let watch = self.watch(id);
            watch.next_revision = batch
                .more_from
                .unwrap_or(watch.next_revision.max(current + 1));
            self.deliver(id, batch, current, current);
        }
        self.unsynced.len()
    }

    /// Whether a known bug of etcd's takes the deletions at the compacted revision
    /// from a watch.
    fn loses_deletions(&self, id: WatchKey, seen: MemberView<'_>) -> bool {
        let opened_after = self.watches[&id].compacted_before >= seen.compacted_revision();
        self.has(EtcdBug::CompactionDropsEvent)
            || self.has(EtcdBug::CompactionDropsDeletion) && opened_after
    }

    /// The member was brought up to date after it had been cut off.
    pub(crate) fn restored(&mut self) {
        if !self.has(EtcdBug::WatchTravelsBack) {
            return;
        }
        let watches = self.watches.iter();
        let synced: Vec<WatchKey> = watches
            .filter(|(_, watch)| matches!(watch.progress, Progress::Synced))
            .map(|(&id, _)| id)
            .collect();
        for id in synced {
            let watch = self.watch(id);
            watch.next_revision = watch.first_revision;
            self.set_progress(id, Progress::Unsynced);
        }
    }

    /// Tries again to serve the watches whose streams were full; how many
    /// still are. (`moveVictims`, same file.)
    pub(crate) fn move_victims(&mut self, seen: MemberView<'_>) -> usize {
        for id in std::mem::take(&mut self.victims) {
            let watch = self.watch(id);
            let header_revision = watch.next_revision - 1;
            match std::mem::replace(&mut watch.progress, Progress::Unsynced) {
                Progress::Victim(batch) => {
                    self.deliver(id, batch, header_revision, seen.revision());
                }
                other => watch.progress = other,
            }
        }
        self.victims.len()
    }

    /// Sends a batch and decides how the watch goes on.
    fn deliver(&mut self, id: WatchKey, batch: Batch, header_revision: i64, current: i64) {
        let outbox = &self.streams[&id.stream];
        let starves = self.has(EtcdBug::StarvedWatchLosesEvents);
        let has_room = outbox.has_room() && !(starves && outbox.is_starved());
        let sent = batch.events.is_empty() || has_room;
        let progress = if !sent && !starves {
            Progress::Victim(batch)
        } else {
            if sent && !batch.events.is_empty() {
                self.send(id, batch, header_revision);
            }
            match self.watches[&id].next_revision <= current {
                true => Progress::Unsynced,
                false => Progress::Synced,
            }
        };
        self.set_progress(id, progress);
    }

    fn send(&mut self, id: WatchKey, mut batch: Batch, header_revision: i64) {
        if self.has(EtcdBug::DuplicateEvent) {
            batch.repeat_last_of_several();
        }
        let answer = PbWatchResponse {
            watch_id: id.watch_id,
            events: batch.events,
            ..self.answer(header_revision)
        };
        let watch = self.watch(id);
        watch.notice_due = false;
        let parts = match watch.spec.fragment {
            true => fragments(answer, self.fragment_bytes),
            false => vec![answer],
        };
        self.outbox(id.stream).events(parts);
    }

    fn tell_compacted(&mut self, id: WatchKey, compact_revision: i64) {
        if !self.streams[&id.stream].has_room() {
            return;
        }
        // This answer carries no revision in its header (`chooseAll` in etcd's
        // `server/storage/mvcc/watcher_group.go`), and who was overtaken by a
        // compaction at 0, as a watch from -1 can be, is not told that it is over
        // (`sendLoop` in `server/etcdserver/api/v3rpc/watch.go`).
        let answer = PbWatchResponse {
            watch_id: id.watch_id,
            canceled: compact_revision != 0,
            compact_revision,
            ..self.answer(0)
        };
        self.outbox(id.stream).events(vec![answer]);
        self.set_progress(id, Progress::Compacted);
    }

    fn notice(&mut self, stream: StreamId, watch_id: i64, revision: i64) {
        let answer = PbWatchResponse {
            watch_id,
            ..self.answer(revision)
        };
        let outbox = self.outbox(stream);
        if outbox.has_room() {
            outbox.events(vec![answer]);
        }
    }

    /// Checks a request and settles its id. The texts are those of etcd's
    /// `server/storage/mvcc/watcher.go`.
    fn admit(&mut self, stream: StreamId, spec: &mut WatchSpec) -> Result<(), &'static str> {
        if spec.start_revision < 0 && self.profile.negative_start == NegativeStart::Refused {
            return Err("etcdserver: mvcc: required revision has been compacted");
        }
        if let KeyRange::Between(start, end) = spec.range()
            && start >= end
        {
            return Err("mvcc: watcher range is empty");
        }
        let taken = |watch_id| self.watches.contains_key(&WatchKey { stream, watch_id });
        if spec.watch_id != 0 {
            let reason = "mvcc: duplicate watch ID provided on the WatchStream";
            return if taken(spec.watch_id) {
                Err(reason)
            } else {
                Ok(())
            };
        }
        let next = self
            .streams
            .get(&stream)
            .map_or(0, |outbox| outbox.next_watch_id);
        spec.watch_id = (next..)
            .find(|&id| !taken(id))
            .expect("not all ids are taken");
        self.outbox(stream).next_watch_id = spec.watch_id + 1;
        Ok(())
    }

    fn insert(&mut self, stream: StreamId, spec: WatchSpec, seen: MemberView<'_>) {
        let current = seen.revision();
        let id = WatchKey {
            stream,
            watch_id: spec.watch_id,
        };
        let start = spec.start_revision;
        let synced = start == 0 || start > current;
        let next_revision = if synced && self.has(EtcdBug::FutureWatchHearsThePast) {
            current + 1
        } else if synced {
            start.max(current + 1)
        } else {
            start
        };
        let notice_due = spec.progress_notify;
        let progress = Progress::Unsynced;
        self.watches.insert(
            id,
            Watch {
                spec,
                progress,
                next_revision,
                first_revision: next_revision,
                compacted_before: seen.compacted_revision(),
                notice_due,
            },
        );
        self.set_progress(
            id,
            if synced {
                Progress::Synced
            } else {
                Progress::Unsynced
            },
        );
    }

    fn remove(&mut self, id: WatchKey) -> bool {
        let Some(watch) = self.watches.remove(&id) else {
            return false;
        };
        self.synced.remove(id, &watch.spec);
        self.unsynced.remove(&id);
        self.victims.remove(&id);
        true
    }

    fn set_progress(&mut self, id: WatchKey, progress: Progress) {
        let watch = self.watches.get_mut(&id).expect("a watch in use exists");
        let was_synced = matches!(watch.progress, Progress::Synced);
        let is_synced = matches!(progress, Progress::Synced);
        let moved = std::mem::discriminant(&watch.progress) != std::mem::discriminant(&progress);
        watch.progress = progress;
        if was_synced && !is_synced {
            self.synced.remove(id, &watch.spec);
        } else if is_synced && !was_synced {
            self.synced.insert(id, &watch.spec);
        }
        let progress = &watch.progress;
        if moved {
            self.unsynced.remove(&id);
            self.victims.remove(&id);
        }
        match progress {
            Progress::Unsynced => drop(self.unsynced.insert(id)),
            Progress::Victim(_) => drop(self.victims.insert(id)),
            Progress::Synced | Progress::Compacted => {}
        }
    }

    fn answer(&self, revision: i64) -> PbWatchResponse {
        PbWatchResponse {
            header: Some(self.identity.header(revision)),
            ..Default::default()
        }
    }

    fn control(&mut self, stream: StreamId, answer: PbWatchResponse) {
        self.outbox(stream).control(answer);
    }

    fn outbox(&mut self, stream: StreamId) -> &mut Outbox {
        self.streams
            .get_mut(&stream)
            .expect("a stream in use is open")
    }

    fn watch(&mut self, id: WatchKey) -> &mut Watch {
        self.watches.get_mut(&id).expect("a watch in use exists")
    }
}
