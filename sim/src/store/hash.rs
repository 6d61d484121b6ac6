//! A fingerprint of the store.

use super::index::At;
use super::key_range::KeyRange;
use super::{Store, StoreError};

impl Store {
    /// A fingerprint of the keys that existed after `revision` (0: now), with
    /// their values, versions, revisions and leases. Equal stores have equal
    /// fingerprints; it is not the number that a real etcd computes, which
    /// hashes its own file format.
    ///
    /// # Errors
    ///
    /// [`StoreError::FutureRevision`], [`StoreError::Compacted`].
    pub fn hash(&self, revision: i64) -> Result<u32, StoreError> {
        if revision > self.revision {
            return Err(StoreError::FutureRevision);
        }
        if revision > 0 && revision < self.compacted {
            return Err(StoreError::Compacted);
        }
        let at = if revision > 0 {
            At::Revision(revision)
        } else {
            At::Now
        };
        let mut hash = Fnv::default();
        self.index.visit(KeyRange::From(b""), at, |record| {
            let kv = record.key_value();
            hash.bytes(&kv.key);
            hash.bytes(&kv.value);
            for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
                hash.bytes(&number.to_le_bytes());
            }
        });
        Ok(hash.0)
    }
}

/// The hash FNV-1a with 32 bits.
struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0x811c_9dc5)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        for &byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
}
