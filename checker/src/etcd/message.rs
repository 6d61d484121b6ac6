//! Requests and answers as histories have them.
//!
//! The workload writes these types and the checker reads them, so the format has
//! one definition. `docs/history-format.md` describes it for others.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::lent;

/// What stands for a number of a version that is not known; `null` in JSON.
pub const UNKNOWN: i64 = -1;

/// What stands for a create revision of which only is known that it is older than the
/// version.
pub const EARLIER: i64 = 0;

/// A key with its value at some revision; a list in JSON:
/// `[key, value, create_revision, mod_revision, version, lease]`. Numbers that are not
/// known are `null`, and a create revision that is only known to be older is 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue<'a>(
    /// The key.
    #[serde(borrow)]
    pub Cow<'a, str>,
    /// The value; none when only keys were asked for.
    #[serde(borrow, deserialize_with = "lent::optional")]
    pub Option<Cow<'a, str>>,
    /// The revision that created the key.
    #[serde(with = "known")]
    pub i64,
    /// The revision that wrote this value.
    #[serde(with = "known")]
    pub i64,
    /// How many times the key was written since it was created.
    #[serde(with = "known")]
    pub i64,
    /// The lease that the key is attached to; 0 for none.
    #[serde(with = "known")]
    pub i64,
);

/// Numbers that may be unknown.
mod known {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
    pub(super) fn serialize<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        let known = (*number != super::UNKNOWN).then_some(*number);
        known.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let known = Option::<i64>::deserialize(deserializer)?;
        Ok(known.unwrap_or(super::UNKNOWN))
    }
}

/// Keys from `key` up to and without `end`, or `key` alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span<'a> {
    /// The first key.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// The first key behind the range, `"\0"` where it has no end; none for a single key.
    #[serde(
        borrow,
        default,
        deserialize_with = "lent::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub end: Option<Cow<'a, str>>,
}

/// What an `end` is behind which there is no key, as etcd has it.
const NO_END: &str = "\0";

impl Span<'_> {
    /// Whether it has no last key.
    pub(super) fn is_endless(&self) -> bool {
        self.end.as_deref() == Some(NO_END)
    }

    /// Whether all keys are in it.
    pub(super) fn is_everything(&self) -> bool {
        // No key is shorter than one byte.
        self.is_endless() && matches!(&*self.key, "" | "\0")
    }
}

/// Reads a range; `range` in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range<'a> {
    /// Which keys.
    #[serde(borrow, flatten)]
    pub span: Span<'a>,
    /// At which revision; none for the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Whether any member may answer from what it knows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub serializable: bool,
    /// The largest number of keys wanted; 0 for all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: i64,
    /// Whether only the number of keys is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub count_only: bool,
    /// Whether values are left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keys_only: bool,
}

/// Writes a key; `put` in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put<'a> {
    /// The key.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// The value, which nobody else writes in the whole history.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
    /// The lease to attach it to; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lease: i64,
    /// Whether the previous version is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prev_kv: bool,
}

/// Deletes a range; `delete` in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete<'a> {
    /// Which keys.
    #[serde(borrow, flatten)]
    pub span: Span<'a>,
    /// Whether the deleted versions are wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prev_kv: bool,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TxnOp<'a> {
    /// Reads.
    Range(#[serde(borrow)] Range<'a>),
    /// Writes.
    Put(#[serde(borrow)] Put<'a>),
    /// Deletes.
    Delete(#[serde(borrow)] Delete<'a>),
}

/// What a comparison looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The version, 0 for an absent key.
    Version,
    /// The create revision, 0 for an absent key.
    Create,
    /// The mod revision, 0 for an absent key.
    Mod,
    /// The lease, 0 for none.
    Lease,
}

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// Equal.
    #[serde(rename = "=")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Greater.
    #[serde(rename = ">")]
    Greater,
    /// Less.
    #[serde(rename = "<")]
    Less,
}

/// A comparison of one key; a list in JSON: `["mod", key, "=", 7]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare<'a>(
    /// What is looked at.
    pub Target,
    /// The key.
    #[serde(borrow)]
    pub Cow<'a, str>,
    /// How.
    pub Relation,
    /// With what.
    pub i64,
);

/// A transaction; `txn` in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn<'a> {
    /// What must hold, all of it.
    #[serde(borrow, rename = "if")]
    pub compare: Vec<Compare<'a>>,
    /// What is done when it holds.
    #[serde(borrow, rename = "then")]
    pub success: Vec<TxnOp<'a>>,
    /// What is done when it does not.
    #[serde(borrow, rename = "else", default)]
    pub failure: Vec<TxnOp<'a>>,
}

impl<'a> Txn<'a> {
    /// The operations of a branch.
    pub fn branch(&self, succeeded: bool) -> &[TxnOp<'a>] {
        if succeeded {
            &self.success
        } else {
            &self.failure
        }
    }
}

/// A lease and how long it is to live; `grant`, `revoke`, `keep-alive` and
/// `time-to-live` in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The lease, which is granted at most once in a history.
    pub lease: i64,
    /// Seconds, or [`UNTIL_REVOKED`]; only in a `grant`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ttl: i64,
}

/// Compacts; `compact` in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compact {
    /// Everything that was overwritten before this revision goes.
    pub revision: i64,
}

/// Asks for a watch; `watch` in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch<'a> {
    /// The name of the watch in this history; no two have the same.
    pub watch: u64,
    /// The stream that it shares with others; none for one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u64>,
    /// Which keys.
    #[serde(borrow, flatten)]
    pub span: Span<'a>,
    /// The first revision wanted; 0: from now on.
    pub start: i64,
    /// Whether previous versions are wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prev_kv: bool,
    /// Whether puts are left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_put: bool,
    /// Whether deletions are left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_delete: bool,
}

/// What a watch hears; `notice` in a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice<'a> {
    /// Which watch; none for all of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<u64>,
    /// Which stream, when it is all of its watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u64>,
    /// What happened to the keys; none for a notice of progress.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<WatchEvent<'a>>,
    /// Whether more events of the same answer follow in the next notice.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fragment: bool,
    /// The watch ended because it asked for what is compacted up to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted: Option<i64>,
}

/// What a watch hears of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchEvent<'a> {
    /// It was written: the new version, and the previous one if it was sent.
    Put(
        #[serde(borrow)] KeyValue<'a>,
        #[serde(borrow)] Option<KeyValue<'a>>,
    ),
    /// It was deleted at this revision.
    Delete(
        #[serde(borrow)] Cow<'a, str>,
        i64,
        #[serde(borrow)] Option<KeyValue<'a>>,
    ),
}

impl WatchEvent<'_> {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(kv, _) => &kv.0,
            Self::Delete(key, ..) => key,
        }
    }

    /// The revision at which it happened.
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(kv, _) => kv.3,
            Self::Delete(_, revision, _) => *revision,
        }
    }
}

/// Why etcd refused a request: a fact about its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The revision is compacted.
    Compacted,
    /// The revision is still to come.
    Future,
    /// There is no such lease.
    LeaseNotFound,
    /// The lease was granted before.
    LeaseExists,
}

/// What a `range` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeResult<'a> {
    /// The keys, in order.
    #[serde(borrow, default)]
    pub kvs: Vec<KeyValue<'a>>,
    /// How many there are, whatever the limit.
    pub count: i64,
    /// Whether the limit left some out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
}

/// What a `put` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutResult<'a> {
    /// The previous version, if it was asked for and there was one.
    #[serde(borrow, default)]
    pub prev: Option<KeyValue<'a>>,
}

/// What a `delete` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteResult<'a> {
    /// How many keys there were.
    pub deleted: i64,
    /// What they were, if it was asked for.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub prev: Vec<KeyValue<'a>>,
}

/// What one operation of a transaction gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpResult<'a> {
    /// Of a read.
    Range(#[serde(borrow)] RangeResult<'a>),
    /// Of a write.
    Put(#[serde(borrow)] PutResult<'a>),
    /// Of a deletion.
    Delete(#[serde(borrow)] DeleteResult<'a>),
}

/// What a `txn` gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnResult<'a> {
    /// Whether the comparisons held.
    pub succeeded: bool,
    /// One for each operation of the branch.
    #[serde(borrow)]
    pub results: Vec<OpResult<'a>>,
}

/// The time to live of a grant of which only a revocation is told to end the lease.
pub const UNTIL_REVOKED: i64 = -1;

/// What a `grant`, a `keep-alive` or a `time-to-live` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseResult<'a> {
    /// Seconds left; 0 or less: there is no such lease, but for [`UNTIL_REVOKED`] of a `grant`.
    pub ttl: i64,
    /// The keys attached to it, if they were asked for.
    #[serde(
        borrow,
        default,
        deserialize_with = "lent::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub keys: Vec<Cow<'a, str>>,
}

/// A request that etcd refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub refused: Refusal,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}
