//! All versions of all keys, by key.

use super::key_range::KeyRange;
use super::ordered::{Key, Ordered};
use super::points::{Point, Points, Slot};
use super::record::Record;

/// At which point in history a read looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Now, with what the running transaction has done so far.
    Now,
    /// After all mutations of this revision.
    Revision(i64),
}

/// Every version of one key since the last compaction, oldest first.
#[derive(Debug)]
struct History {
    latest: Record,
    older: Vec<Record>,
}

impl History {
    /// The version that was valid after `revision`, tombstones included.
    fn at(&self, revision: i64) -> Option<&Record> {
        if self.latest.mod_revision() <= revision {
            return Some(&self.latest);
        }
        let newer = self.older.partition_point(|r| r.mod_revision() <= revision);
        newer.checked_sub(1).map(|i| &self.older[i])
    }
}

/// All versions of all keys.
///
/// Points are found through a hash table, ranges through ordered keys: apart from each
/// other those that exist and those that were deleted and not yet compacted. A read of
/// the present steps over no tombstones, however many a queue has left behind.
///
/// # Invariants
/// - Each key of `points` is in exactly one of `live` and `dead`, with the same
///   slot, in `dead` if and only if its latest record is a tombstone. That record is
///   also the latest of the history at the slot.
#[derive(Debug, Default)]
pub(super) struct Index {
    points: Points,
    live: Ordered,
    dead: Ordered,
    histories: Vec<Option<History>>,
    free: Vec<Slot>,
}

impl Index {
    /// The newest version of a key and where the others are, if it has any.
    pub(super) fn find(&self, key: &[u8]) -> Option<&Point> {
        self.points.find(key)
    }

    /// The version of a key that existed at a point in history.
    pub(super) fn get(&self, key: &[u8], at: At) -> Option<&Record> {
        let point = self.find(key)?;
        match at {
            At::Now => point.live(),
            At::Revision(_) => self.existing(point.slot, at),
        }
    }

    /// Calls `visit` with each existing version in the range, in order of keys.
    pub(super) fn visit<'a>(
        &'a self,
        range: KeyRange<'_>,
        at: At,
        mut visit: impl FnMut(&'a Record),
    ) {
        if let KeyRange::One(key) = range {
            return self.get(key, at).into_iter().for_each(visit);
        }
        let Some(span) = range.span() else { return };
        let (live, _) = self.live.range(span);
        if at == At::Now {
            return live.for_each(|&(_, slot)| visit(&self.history(slot).latest));
        }
        let mut live = live.peekable();
        let mut dead = self.dead.range(span).0.peekable();
        loop {
            let next = match (live.peek(), dead.peek()) {
                (Some((a, _)), Some((b, _))) if a < b => live.next(),
                (Some(_), None) => live.next(),
                _ => dead.next(),
            };
            let Some(&(_, slot)) = next else { return };
            if let Some(record) = self.existing(slot, at) {
                visit(record);
            }
        }
    }

    /// The first `limit` existing versions in the range, in order of keys, and how many
    /// there are. In the present, those beyond the limit are counted without a look at
    /// them.
    pub(super) fn first(
        &self,
        range: KeyRange<'_>,
        at: At,
        limit: Option<usize>,
    ) -> (Vec<&Record>, usize) {
        let limit = limit.unwrap_or(usize::MAX);
        if at == At::Now
            && let Some(span) = range.span()
        {
            let (live, count) = self.live.range(span);
            let mut records = Vec::with_capacity(limit.min(count));
            let first = live.take(limit);
            records.extend(first.map(|&(_, slot)| &self.history(slot).latest));
            return (records, count);
        }
        let mut records = Vec::new();
        let mut count = 0;
        self.visit(range, at, |record| {
            if records.len() < limit {
                records.push(record);
            }
            count += 1;
        });
        (records, count)
    }

    /// How many keys of the range existed at a point in history.
    pub(super) fn count(&self, range: KeyRange<'_>, at: At) -> usize {
        if at == At::Now
            && let Some(span) = range.span()
        {
            return self.live.count(span);
        }
        let mut count = 0;
        self.visit(range, at, |_| count += 1);
        count
    }

    /// Adds the newest version of a key; `slot` is where [`Index::find`] found it.
    pub(super) fn append(&mut self, slot: Option<Slot>, record: Record) {
        let Some(slot) = slot else {
            return self.insert(record);
        };
        let tombstone = record.is_tombstone();
        self.points.replace(slot, record.clone());
        let history = self.histories[slot.place()]
            .as_mut()
            .expect("a found key has a history");
        let was_tombstone = history.latest.is_tombstone();
        history
            .older
            .push(std::mem::replace(&mut history.latest, record));
        if tombstone != was_tombstone {
            let key = history.latest.key();
            let (from, to) = if tombstone {
                (&mut self.live, &mut self.dead)
            } else {
                (&mut self.dead, &mut self.live)
            };
            let (key, slot) = from.remove(key).expect("a key is live or dead");
            to.insert(key, slot);
        }
    }

    /// The version of a found key before `revision`, deletions included.
    pub(super) fn before(&self, slot: Slot, revision: i64) -> Option<&Record> {
        self.history(slot).at(revision - 1)
    }

    /// Forgets the newest version of a key; the one before it, deletions included.
    pub(super) fn undo(&mut self, key: &[u8]) -> Option<Record> {
        let slot = self.find(key)?.slot;
        let history = self.histories[slot.place()].as_mut()?;
        let Some(before) = history.older.pop() else {
            self.live.remove(key);
            self.remove(key, slot);
            return None;
        };
        history.latest = before.clone();
        self.points.replace(slot, before.clone());
        let (from, to) = match before.is_tombstone() {
            true => (&mut self.live, &mut self.dead),
            false => (&mut self.dead, &mut self.live),
        };
        if let Some((key, slot)) = from.remove(key) {
            to.insert(key, slot);
        }
        Some(before)
    }

    /// Forgets the versions of a key that no read at `revision` or later needs.
    ///
    /// Kept is what exists at `revision`; a tombstone there is no longer needed
    /// (`keyIndex.compact` in etcd's `server/storage/mvcc/key_index.go`).
    pub(super) fn compact(&mut self, key: &[u8], revision: i64) {
        let Some(slot) = self.find(key).map(|point| point.slot) else {
            return;
        };
        let history = self.histories[slot.place()]
            .as_mut()
            .expect("a found key has a history");
        if history.latest.mod_revision() <= revision {
            history.older = Vec::new();
            if history.latest.is_tombstone() {
                self.remove(key, slot);
            }
            return;
        }
        let newer = history
            .older
            .partition_point(|r| r.mod_revision() <= revision);
        let keeps_one = newer > 0 && !history.older[newer - 1].is_tombstone();
        history.older.drain(..newer - usize::from(keeps_one));
    }

    /// How many keys exist.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    fn insert(&mut self, record: Record) {
        assert!(
            !record.is_tombstone(),
            "a key without versions cannot be deleted"
        );
        let key = Key::from_slice(record.key());
        let latest = record.clone();
        let history = Some(History {
            latest: record,
            older: Vec::new(),
        });
        let slot = match self.free.pop() {
            Some(slot) => {
                self.histories[slot.place()] = history;
                slot
            }
            None => {
                self.histories.push(history);
                Slot::new(self.histories.len() - 1)
            }
        };
        self.points.insert(slot, latest);
        self.live.insert(key, slot);
    }

    fn remove(&mut self, key: &[u8], slot: Slot) {
        self.points.remove(key, slot);
        self.dead.remove(key);
        self.histories[slot.place()] = None;
        self.free.push(slot);
    }

    fn existing(&self, slot: Slot, at: At) -> Option<&Record> {
        let history = self.history(slot);
        let version = match at {
            At::Now => Some(&history.latest),
            At::Revision(revision) => history.at(revision),
        };
        version.filter(|record| !record.is_tombstone())
    }

    fn history(&self, slot: Slot) -> &History {
        self.histories[slot.place()]
            .as_ref()
            .expect("a found key has a history")
    }
}
