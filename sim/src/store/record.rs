//! One version of one key.

use etcd_client::proto::{PbEvent, PbKeyValue};
use triomphe::ThinArc;

/// The type of an event that stores a value: `PUT` in etcd's `kv.proto`.
pub const EVENT_PUT: i32 = 0;
/// The type of an event that removes a key: `DELETE` in etcd's `kv.proto`.
pub const EVENT_DELETE: i32 = 1;

/// One version of one key: what a put stored, or that a delete removed it.
///
/// It never changes, and a clone is the same record: one allocation holds all of it, so
/// that who reads a key steps to one place in memory.
///
/// # Invariants
/// - `mod_revision` is the revision of the mutation, and records of one
///   revision have distinct sub-revisions that count up from 0 in the order in
///   which they were applied.
/// - A tombstone has no value, version, creation revision or lease: that is
///   how etcd sends delete events (`server/storage/mvcc/kvstore_txn.go`). What is not a
///   tombstone has a version of at least 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The key and, right behind it, the value.
    shared: ThinArc<Head, u8>,
}

/// What a record has beside key and value.
#[derive(Debug, PartialEq)]
struct Head {
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    lease: i64,
    sub_revision: u32,
    key_length: u32,
}

impl Record {
    /// The record of a mutation; `scratch` is memory to work in.
    pub(super) fn new(key_value: &PbKeyValue, sub_revision: i64, scratch: &mut Vec<u8>) -> Record {
        let head = Head {
            create_revision: key_value.create_revision,
            mod_revision: key_value.mod_revision,
            version: key_value.version,
            lease: key_value.lease,
            sub_revision: u32::try_from(sub_revision).expect("a transaction is not that long"),
            key_length: u32::try_from(key_value.key.len()).expect("a key is not that long"),
        };
        scratch.clear();
        scratch.extend_from_slice(&key_value.key);
        scratch.extend_from_slice(&key_value.value);
        let shared = ThinArc::from_header_and_slice(head, scratch);
        Record { shared }
    }

    fn head(&self) -> &Head {
        &self.shared.header.header
    }

    fn key_length(&self) -> usize {
        self.head().key_length as usize
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.shared.slice[..self.key_length()]
    }

    /// The value; empty for a tombstone.
    pub fn value(&self) -> &[u8] {
        &self.shared.slice[self.key_length()..]
    }

    /// The revision of the mutation.
    pub fn mod_revision(&self) -> i64 {
        self.head().mod_revision
    }

    /// The revision of the mutation that created the key; 0 for a tombstone.
    pub fn create_revision(&self) -> i64 {
        self.head().create_revision
    }

    /// How many mutations the key has had since it was created; 0 for a tombstone.
    pub fn version(&self) -> i64 {
        self.head().version
    }

    /// The lease that the key is attached to, or 0.
    pub fn lease(&self) -> i64 {
        self.head().lease
    }

    /// The place of the mutation among those of the same revision, from 0.
    pub fn sub_revision(&self) -> i64 {
        i64::from(self.head().sub_revision)
    }

    /// Whether the mutation removed the key.
    pub fn is_tombstone(&self) -> bool {
        self.version() == 0
    }

    /// Whether the mutation stored a key that did not exist.
    pub fn is_creation(&self) -> bool {
        !self.is_tombstone() && self.create_revision() == self.mod_revision()
    }

    /// The record as etcd sends it.
    pub fn key_value(&self) -> PbKeyValue {
        self.with_value(self.value())
    }

    /// The record as etcd sends it, but with another value.
    pub(super) fn with_value(&self, value: &[u8]) -> PbKeyValue {
        PbKeyValue {
            key: self.key().to_vec(),
            create_revision: self.create_revision(),
            mod_revision: self.mod_revision(),
            version: self.version(),
            value: value.to_vec(),
            lease: self.lease(),
        }
    }

    /// The watch event of the mutation, without the previous value.
    pub fn event(&self) -> PbEvent {
        PbEvent {
            r#type: if self.is_tombstone() {
                EVENT_DELETE
            } else {
                EVENT_PUT
            },
            kv: Some(self.key_value()),
            prev_kv: None,
        }
    }
}
