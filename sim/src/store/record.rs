//! One version of one key.

use etcd_client::proto::{PbEvent, PbKeyValue};

/// The type of an event that stores a value: `PUT` in etcd's `kv.proto`.
pub const EVENT_PUT: i32 = 0;
/// The type of an event that removes a key: `DELETE` in etcd's `kv.proto`.
pub const EVENT_DELETE: i32 = 1;

/// One version of one key: what a put stored, or that a delete removed it.
///
/// # Invariants
/// - `mod_revision` is the revision of the mutation, and records of one
///   revision have distinct sub-revisions that count up from 0 in the order in
///   which they were applied.
/// - A tombstone has no value, version, creation revision or lease: that is
///   how etcd sends delete events (`server/storage/mvcc/kvstore_txn.go`).
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub(super) key_value: PbKeyValue,
    pub(super) sub_revision: i64,
    pub(super) tombstone: bool,
}

impl Record {
    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.key_value.key
    }

    /// The value; empty for a tombstone.
    pub fn value(&self) -> &[u8] {
        &self.key_value.value
    }

    /// The revision of the mutation.
    pub fn mod_revision(&self) -> i64 {
        self.key_value.mod_revision
    }

    /// The place of the mutation among those of the same revision, from 0.
    pub fn sub_revision(&self) -> i64 {
        self.sub_revision
    }

    /// Whether the mutation removed the key.
    pub fn is_tombstone(&self) -> bool {
        self.tombstone
    }

    /// Whether the mutation stored a key that did not exist.
    pub fn is_creation(&self) -> bool {
        !self.tombstone && self.key_value.create_revision == self.key_value.mod_revision
    }

    /// The record as etcd sends it.
    pub fn key_value(&self) -> &PbKeyValue {
        &self.key_value
    }

    /// The watch event of the mutation, without the previous value.
    pub fn event(&self) -> PbEvent {
        PbEvent {
            r#type: if self.tombstone {
                EVENT_DELETE
            } else {
                EVENT_PUT
            },
            kv: Some(self.key_value.clone()),
            prev_kv: None,
        }
    }
}
