//! Puts and deletes.
//!
//! Follows etcd's `server/etcdserver/txn/{put,delete}.go` and
//! `server/storage/mvcc/kvstore_txn.go`.

use etcd_client::proto::{
    PbDeleteRequest, PbDeleteResponse, PbKeyValue, PbPutRequest, PbPutResponse,
};

use super::index::At;
use super::key_range::KeyRange;
use super::lessor::LeaseId;
use super::points::{Point, Slot};
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
        let point = self.index.find(&key);
        let slot = point.map(|point| point.slot);
        let (mut create_revision, mut version, mut old_lease) = (self.revision + 1, 1, 0);
        let mut prev_kv = None;
        if let Some(record) = point.and_then(Point::live) {
            create_revision = record.create_revision();
            version = record.version() + 1;
            old_lease = record.lease();
            if request.ignore_value {
                value = record.value().to_vec();
            }
            if request.ignore_lease {
                lease = old_lease;
            }
            prev_kv = request.prev_kv.then(|| record.key_value());
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
        self.append(slot, &key_value);
        PbPutResponse {
            header: header(mod_revision),
            prev_kv,
        }
    }

    pub(super) fn apply_delete(&mut self, request: &PbDeleteRequest) -> PbDeleteResponse {
        let range = KeyRange::new(&request.key, &request.range_end);
        let mut removed = Vec::new();
        self.index
            .visit(range, At::Now, |record| removed.push(record.clone()));
        for record in &removed {
            self.write_delete(record.key());
        }
        let prev_kvs = match request.prev_kv {
            true => removed.iter().map(Record::key_value).collect(),
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
        let Some(point) = self.index.find(key) else {
            return;
        };
        let Some(previous) = point.live() else {
            return;
        };
        let slot = point.slot;
        let lease = LeaseId(previous.lease());
        self.lessor.attach(key, lease, LeaseId::NONE);
        let key_value = PbKeyValue {
            key: key.to_vec(),
            mod_revision: self.revision + 1,
            ..Default::default()
        };
        self.append(Some(slot), &key_value);
    }

    /// Adds the next record of the running mutation; a tombstone has the version 0.
    fn append(&mut self, slot: Option<Slot>, key_value: &PbKeyValue) {
        let record = Record::new(key_value, self.changes, &mut self.scratch);
        self.index.append(slot, record.clone());
        self.log.push_back(record);
        self.changes += 1;
    }

    /// Ends a mutation: it takes a revision if it has written anything.
    pub(super) fn commit(&mut self) {
        self.revision = self.visible_revision();
        self.changes = 0;
    }
}
