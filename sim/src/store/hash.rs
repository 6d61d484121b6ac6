//! A fingerprint of the store, and its size.

use crc::{CRC_32_ISCSI, Crc, Table};
use etcd_client::proto::PbKeyValue;
use prost::Message as _;

use super::index::At;
use super::key_range::KeyRange;
use super::{Record, Store, StoreError, View};

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

    /// [`Store::hash_in`] of everything that has happened.
    ///
    /// # Errors
    ///
    /// Those of [`Store::hash_in`].
    pub fn hash(&self, revision: i64) -> Result<u32, StoreError> {
        self.hash_in(revision, self.present())
    }

    /// The hash of a store that never held anything.
    pub fn hash_of_nothing() -> u32 {
        CRC.checksum(BUCKET)
    }

    /// What etcd computes for the keys up to `revision` (0: now), as a view shows them:
    /// the CRC-32C of all records that it keeps, in the order in which they were
    /// applied (`hashByRev` and `kvHasher` in etcd's `server/storage/mvcc`).
    ///
    /// Of what was compacted it takes what existed at `revision`, or if nothing did,
    /// what existed at the compaction. A compaction counts as carried out, and etcd's
    /// memory of what it computed at past compactions is no part of the store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Compacted`], in some releases also for the very revision that was
    /// compacted; [`StoreError::FutureRevision`].
    pub fn hash_in(&self, revision: i64, view: View) -> Result<u32, StoreError> {
        let View {
            revision: newest,
            compacted,
        } = view;
        let hashes_compacted = self.options.version.profile().hashes_compacted_revision;
        if revision > 0 && (revision < compacted || revision == compacted && !hashes_compacted) {
            return Err(StoreError::Compacted);
        }
        if revision > newest {
            return Err(StoreError::FutureRevision);
        }
        let revision = if revision == 0 { newest } else { revision };
        let mut older: Vec<&Record> = Vec::new();
        let mut kept = 0;
        self.index.visit(ALL, At::Revision(revision), |record| {
            if self.is_taken_for_deleted(record, revision) {
                return;
            }
            kept += 1;
            if record.mod_revision() <= compacted {
                older.push(record);
            }
        });
        if kept == 0 && compacted > 0 {
            let at = At::Revision(compacted);
            self.index.visit(ALL, at, |record| older.push(record));
            older.retain(|record| record.mod_revision() <= revision);
        }
        older.sort_unstable_by_key(|record| (record.mod_revision(), record.sub_revision()));
        let newer = self.events(compacted + 1);
        let newer = newer.take_while(|record| record.mod_revision() <= revision);
        let mut hash = CRC.digest();
        hash.update(BUCKET);
        let mut value = Vec::new();
        for record in older.into_iter().chain(newer) {
            value.clear();
            hash.update(&place(record));
            if record.is_tombstone() {
                hash.update(b"t");
            }
            stored(record)
                .encode(&mut value)
                .expect("a vector grows as needed");
            hash.update(&value);
        }
        Ok(hash.finalize())
    }

    /// Whether etcd, at a hash up to this revision, finds the deletion of a key that the
    /// same transaction has created anew, and takes it for the last of the key
    /// (`keyIndex.doCompact` in etcd's `server/storage/mvcc/key_index.go`, since it keeps
    /// deletions at the compacted revision).
    fn is_taken_for_deleted(&self, record: &Record, revision: i64) -> bool {
        let keeps_deletion = self.options.version.profile().compaction_keeps_deletion;
        let is_new = record.create_revision() == revision && record.sub_revision() > 0;
        keeps_deletion && is_new && {
            let of_then = self.events(revision);
            let mut of_then = of_then.take_while(|other| other.mod_revision() == revision);
            of_then.any(|other| other.is_tombstone() && other.key() == record.key())
        }
    }
}

const CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The name of the table in which etcd keeps its keys.
const BUCKET: &[u8] = b"key";

const ALL: KeyRange<'static> = KeyRange::From(b"");

/// By what etcd finds a record (`BucketKeyToBytes` in etcd's
/// `server/storage/mvcc/revision.go`), but for the mark of a deletion.
fn place(record: &Record) -> [u8; 17] {
    let mut place = [b'_'; 17];
    place[..8].copy_from_slice(&record.mod_revision().to_be_bytes());
    place[9..].copy_from_slice(&record.sub_revision().to_be_bytes());
    place
}

/// What etcd keeps of a record: of a deletion the key alone.
fn stored(record: &Record) -> PbKeyValue {
    match record.is_tombstone() {
        true => PbKeyValue {
            key: record.key().to_vec(),
            ..Default::default()
        },
        false => record.key_value(),
    }
}
