//! The JSON of the reports, as etcd's `tests/robustness/model/types.go`, `watch.go` and
//! `replay.go` define it. Go's encoder writes field names as they are declared, and
//! embedded structures flat.

use std::borrow::Cow;

use serde::Deserialize;

/// One operation of `operations.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Operation<'a> {
    #[serde(alias = "ClientID")]
    pub(super) client_id: i64,
    #[serde(borrow)]
    pub(super) input: Request<'a>,
    pub(super) call: i64,
    #[serde(borrow)]
    pub(super) output: Response<'a>,
    #[serde(rename = "Return")]
    pub(super) returned: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Request<'a> {
    #[serde(rename = "Type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) lease_grant: Option<Lease>,
    #[serde(default)]
    pub(super) lease_revoke: Option<Lease>,
    #[serde(borrow, default)]
    pub(super) range: Option<Range<'a>>,
    #[serde(borrow, default)]
    pub(super) txn: Option<Txn<'a>>,
    #[serde(default)]
    pub(super) compact: Option<Compact>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Lease {
    #[serde(rename = "LeaseID", default)]
    pub(super) id: i64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Compact {
    #[serde(default)]
    pub(super) revision: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Range<'a> {
    #[serde(borrow)]
    pub(super) start: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) end: Cow<'a, str>,
    pub(super) limit: i64,
    pub(super) keys_only: bool,
    /// Only of a request, not of an operation in a transaction.
    pub(super) revision: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Txn<'a> {
    #[serde(borrow, default)]
    pub(super) conditions: Option<Vec<Condition<'a>>>,
    #[serde(borrow, default)]
    pub(super) operations_on_success: Option<Vec<TxnOperation<'a>>>,
    #[serde(borrow, default)]
    pub(super) operations_on_failure: Option<Vec<TxnOperation<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Condition<'a> {
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    pub(super) expected_revision: i64,
    pub(super) expected_version: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TxnOperation<'a> {
    #[serde(rename = "Type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) range: Range<'a>,
    #[serde(borrow, default)]
    pub(super) put: Put<'a>,
    #[serde(borrow, default)]
    pub(super) delete: Delete<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Put<'a> {
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) value: Value<'a>,
    #[serde(rename = "LeaseID")]
    pub(super) lease: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Delete<'a> {
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
}

/// A value, or the hash of one that is long.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Value<'a> {
    #[serde(borrow)]
    pub(super) value: Cow<'a, str>,
    pub(super) hash: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) txn: Option<TxnResponse<'a>>,
    #[serde(borrow)]
    pub(super) range: Option<RangeResponse<'a>>,
    #[serde(borrow)]
    pub(super) client_error: Cow<'a, str>,
    pub(super) revision: i64,
    #[serde(alias = "PartialResponse")]
    pub(super) persisted: bool,
    #[serde(borrow)]
    pub(super) error: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TxnResponse<'a> {
    pub(super) failure: bool,
    #[serde(borrow)]
    pub(super) results: Option<Vec<TxnResult<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RangeResponse<'a> {
    #[serde(rename = "KVs", borrow)]
    pub(super) kvs: Option<Vec<KeyValue<'a>>>,
    pub(super) count: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TxnResult<'a> {
    #[serde(rename = "KVs", borrow)]
    pub(super) kvs: Option<Vec<KeyValue<'a>>>,
    pub(super) count: i64,
    pub(super) deleted: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct KeyValue<'a> {
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) value: Value<'a>,
    /// 0 when the report does not say.
    pub(super) mod_revision: i64,
    /// 0 when the report does not say, as those before 2024 do not.
    pub(super) version: i64,
}

/// One watch of `watch.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Watch<'a> {
    #[serde(borrow)]
    pub(super) request: WatchRequest<'a>,
    #[serde(borrow, default)]
    pub(super) responses: Option<Vec<WatchResponse<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WatchRequest<'a> {
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    pub(super) revision: i64,
    pub(super) with_prefix: bool,
    #[serde(rename = "WithPrevKV")]
    pub(super) with_prev_kv: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WatchResponse<'a> {
    #[serde(borrow)]
    pub(super) events: Option<Vec<WatchEvent<'a>>>,
    pub(super) is_progress_notify: bool,
    pub(super) revision: i64,
    pub(super) time: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WatchEvent<'a> {
    #[serde(rename = "Type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) value: Value<'a>,
    pub(super) revision: i64,
    /// Left out by reports of 2023, and by those of 2026 where it is false.
    pub(super) is_create: Option<bool>,
    #[serde(borrow)]
    pub(super) prev_value: Option<KeyValue<'a>>,
}
