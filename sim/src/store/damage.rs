//! What known bugs of etcd's do to the history (see [`EtcdBug`](crate::bug::EtcdBug)).

use super::lessor::LeaseId;
use super::{FIRST_REVISION, Store};

impl Store {
    /// Undoes the last mutation as if it had never been. False when there is none, or
    /// when what was before is not known any more: it is compacted, or the end of a
    /// lease.
    pub(crate) fn undo_newest(&mut self) -> bool {
        let revision = self.revision;
        if revision == FIRST_REVISION || self.compacted >= revision {
            return false;
        }
        let first = self.log.partition_point(|r| r.mod_revision() < revision);
        let before = |record: &super::Record| {
            let slot = self.index.find(record.key())?.slot;
            let before = self.index.before(slot, revision)?;
            Some(LeaseId(before.lease()))
        };
        let leases_live = self.log.range(first..).all(|record| {
            before(record).is_none_or(|lease| lease == LeaseId::NONE || self.lessor.contains(lease))
        });
        if !leases_live {
            return false;
        }
        for record in self.log.split_off(first).into_iter().rev() {
            let lease = LeaseId(record.lease());
            let restored = self.index.undo(record.key());
            let restored = restored.map_or(LeaseId::NONE, |r| LeaseId(r.lease()));
            self.lessor.attach(record.key(), lease, restored);
        }
        self.revision = revision - 1;
        true
    }

    /// How many revisions at the end of the history up to `newest` are deletions and
    /// nothing else.
    pub(crate) fn deletions_up_to(&self, newest: i64) -> i64 {
        let mut revision = newest;
        loop {
            let mut records = self.events(revision);
            let mut here = records
                .by_ref()
                .take_while(|record| record.mod_revision() == revision)
                .peekable();
            if here.peek().is_none() || !here.all(super::Record::is_tombstone) {
                return newest - revision;
            }
            revision -= 1;
        }
    }

    /// Takes this for the newest revision: later mutations take the revisions after it.
    pub(crate) fn count_from(&mut self, revision: i64) {
        self.revision = revision;
    }
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::{PbDeleteRequest, PbPutRequest, PbRangeRequest, PbRangeResponse};

    use super::*;

    fn put(store: &mut Store, key: &str, value: &str) {
        let request = PbPutRequest {
            key: key.into(),
            value: value.into(),
            ..Default::default()
        };
        store.put(request).unwrap();
    }

    fn delete(store: &mut Store, key: &str) {
        let request = PbDeleteRequest {
            key: key.into(),
            ..Default::default()
        };
        store.delete_range(&request).unwrap();
    }

    fn all(store: &Store) -> PbRangeResponse {
        let request = PbRangeRequest {
            key: vec![0],
            range_end: vec![0],
            ..Default::default()
        };
        store.range(&request).unwrap()
    }

    #[test]
    fn what_is_undone_was_never_there() {
        let mut store = Store::default();
        assert!(!store.undo_newest());
        put(&mut store, "a", "1");
        let first = all(&store);
        for change in [
            |store: &mut Store| put(store, "a", "2"),
            |store: &mut Store| delete(store, "a"),
            |store: &mut Store| put(store, "b", "1"),
        ] {
            change(&mut store);
            assert_ne!(all(&store), first);
            assert!(store.undo_newest());
            assert_eq!(all(&store), first);
        }
        put(&mut store, "b", "2");
        assert_eq!(all(&store).kvs[1].create_revision, 3);
    }

    #[test]
    fn revisions_of_deletions_at_the_end_are_counted() {
        let mut store = Store::default();
        put(&mut store, "a", "1");
        put(&mut store, "b", "1");
        assert_eq!(store.deletions_up_to(3), 0);
        delete(&mut store, "a");
        delete(&mut store, "b");
        assert_eq!(store.deletions_up_to(5), 2);
        assert_eq!(store.deletions_up_to(4), 1);
        store.count_from(3);
        put(&mut store, "c", "1");
        assert_eq!(store.revision(), 4);
    }
}
