//! A fingerprint of the store, and its size.

use prost::Message as _;

use super::index::At;
use super::key_range::KeyRange;
use super::{Record, Store, StoreError};

/// What an empty database has (bbolt's first pages and etcd's buckets).
const EMPTY_BYTES: i64 = 20 * 1024;
/// What a record needs beside its message: its revision as a key, and bbolt's
/// bookkeeping.
const RECORD_BYTES: i64 = 17 + 16;
/// The size of a page of bbolt.
const PAGE_BYTES: i64 = 4096;

impl Store {
    /// About how many bytes etcd's database would have for what is kept, in whole
    /// pages.
    pub fn bytes(&self) -> i64 {
        let bytes = |record: &Record| {
            RECORD_BYTES + i64::try_from(record.key_value().encoded_len()).unwrap_or(0)
        };
        let oldest = self.log.front().map_or(i64::MAX, Record::mod_revision);
        let older = self.current().filter(|kept| kept.mod_revision() < oldest);
        let needed: i64 = self.log.iter().chain(older).map(bytes).sum();
        EMPTY_BYTES + (needed + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES
    }

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
            hash.bytes(record.key());
            hash.bytes(record.value());
            let numbers = [
                record.create_revision(),
                record.mod_revision(),
                record.version(),
                record.lease(),
            ];
            for number in numbers {
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
