//! Puts and deletes.
//!
//! Follows etcd's `server/etcdserver/txn/{put,delete}.go` and
//! `server/storage/mvcc/kvstore_txn.go`.

use std::sync::Arc;

use etcd_client::proto::{
    PbDeleteRequest, PbDeleteResponse, PbKeyValue, PbPutRequest, PbPutResponse,
};

use super::index::At;
use super::key_range::KeyRange;
use super::lessor::LeaseId;
use super::record::Record;
use super::{Store, StoreError, check, header};

impl Store {
    /// Stores a value under a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::EmptyKey`], [`StoreError::ValueProvided`],
    /// [`StoreError::LeaseProvided`], [`StoreError::RequestTooLarge`],
    /// [`StoreError::LeaseNotFound`], and [`StoreError::KeyNotFound`] when the
    /// value or lease of an absent key shall be kept.
    pub fn put(&mut self, request: PbPutRequest) -> Result<PbPutResponse, StoreError> {
        check::check_put(&request)?;
        check::check_size(&request, self.options.request_bytes_max)?;
        self.check_lease(&request)?;
        self.check_previous(&request)?;
        let response = self.apply_put(request);
        self.commit();
        Ok(response)
    }

    /// Removes the keys of a range. Takes no revision when there are none.
    ///
    /// # Errors
    ///
    /// [`StoreError::EmptyKey`], [`StoreError::RequestTooLarge`].
    pub fn delete_range(
        &mut self,
        request: &PbDeleteRequest,
    ) -> Result<PbDeleteResponse, StoreError> {
        check::check_delete(request)?;
        check::check_size(request, self.options.request_bytes_max)?;
        let response = self.apply_delete(request);
        self.commit();
        Ok(response)
    }

    pub(super) fn check_lease(&self, request: &PbPutRequest) -> Result<(), StoreError> {
        let lease = LeaseId(request.lease);
        if lease != LeaseId::NONE && !self.lessor.contains(lease) {
            return Err(StoreError::LeaseNotFound);
        }
        Ok(())
    }

    pub(super) fn check_previous(&self, request: &PbPutRequest) -> Result<(), StoreError> {
        let needed = request.ignore_value || request.ignore_lease;
        if needed && self.index.get(&request.key, At::Now).is_none() {
            return Err(StoreError::KeyNotFound);
        }
        Ok(())
    }

    /// A checked put. When an earlier operation of the same transaction has
    /// removed the key whose value or lease is to be kept, an empty value and
    /// no lease take their place; etcd's server panics on such a transaction.
    pub(super) fn apply_put(&mut self, request: PbPutRequest) -> PbPutResponse {
        let PbPutRequest {
            key,
            mut value,
            mut lease,
            ..
        } = request;
        let slot = self.index.find(&key);
        let previous = slot.and_then(|slot| self.index.live(slot));
        let (mut create_revision, mut version, mut old_lease) = (self.revision + 1, 1, 0);
        let mut prev_kv = None;
        if let Some(record) = previous {
            let kv = &record.key_value;
            (create_revision, version, old_lease) = (kv.create_revision, kv.version + 1, kv.lease);
            if request.ignore_value {
                value.clone_from(&kv.value);
            }
            if request.ignore_lease {
                lease = kv.lease;
            }
            prev_kv = request.prev_kv.then(|| kv.clone());
        }
        self.lessor.attach(&key, LeaseId(old_lease), LeaseId(lease));
        let mod_revision = self.revision + 1;
        let key_value = PbKeyValue {
            key,
            create_revision,
            mod_revision,
            version,
            value,
            lease,
        };
        let record = Record {
            key_value,
            sub_revision: self.changes,
            tombstone: false,
        };
        let record = Arc::new(record);
        self.index.append(slot, Arc::clone(&record));
        self.log.push_back(record);
        self.changes += 1;
        PbPutResponse {
            header: header(mod_revision),
            prev_kv,
        }
    }

    pub(super) fn apply_delete(&mut self, request: &PbDeleteRequest) -> PbDeleteResponse {
        let range = KeyRange::new(&request.key, &request.range_end);
        let mut removed = Vec::new();
        self.index
            .visit(range, At::Now, |record| removed.push(Arc::clone(record)));
        for record in &removed {
            self.write_delete(record.key());
        }
        let prev_kvs = match request.prev_kv {
            true => removed
                .iter()
                .map(|record| record.key_value.clone())
                .collect(),
            false => Vec::new(),
        };
        let deleted = i64::try_from(removed.len()).expect("a count of keys fits into 63 bits");
        PbDeleteResponse {
            header: header(self.visible_revision()),
            deleted,
            prev_kvs,
        }
    }

    /// Removes one key, if it exists.
    pub(super) fn write_delete(&mut self, key: &[u8]) {
        let Some(slot) = self.index.find(key) else {
            return;
        };
        let Some(previous) = self.index.live(slot) else {
            return;
        };
        let lease = LeaseId(previous.key_value.lease);
        self.lessor.attach(key, lease, LeaseId::NONE);
        let key_value = PbKeyValue {
            key: key.to_vec(),
            mod_revision: self.revision + 1,
            ..Default::default()
        };
        let record = Record {
            key_value,
            sub_revision: self.changes,
            tombstone: true,
        };
        let record = Arc::new(record);
        self.index.append(Some(slot), Arc::clone(&record));
        self.log.push_back(record);
        self.changes += 1;
    }

    /// Ends a mutation: it takes a revision if it has written anything.
    pub(super) fn commit(&mut self) {
        self.revision = self.visible_revision();
        self.changes = 0;
    }
}
