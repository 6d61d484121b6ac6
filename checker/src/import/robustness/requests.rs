//! Requests and answers of the reports in the words of the model `etcd`.

use std::borrow::Cow;

use super::report::{
    KeyValue, Lease, Operation, Put, Range, Request, Txn, TxnOperation, TxnResult, Value,
};
use crate::etcd::message::{
    self, Compare, OpResult, Relation, Target, TxnOp, UNKNOWN, UNTIL_REVOKED,
};
use crate::history::Json;

/// What an operation is in a history of the model `etcd`.
pub(super) struct Told {
    pub(super) f: &'static str,
    pub(super) invoke: Json,
    pub(super) end: End,
}

/// How it ended.
pub(super) enum End {
    Ok { value: Json, revision: i64 },
    Fail(String),
    Info(String),
}

/// Nothing when it says nothing; an error says what makes no sense.
pub(super) fn told(operation: &Operation<'_>) -> Result<Option<Told>, String> {
    let (input, output) = (&operation.input, &operation.output);
    let has_error = !output.error.is_empty();
    let revision = output.revision;
    let refused = refusal(&output.client_error);
    if !output.client_error.is_empty() && refused.is_none() {
        return Err(format!("unknown client error {:?}", output.client_error));
    }
    let missing = |what: &str| format!("an operation of type {:?} lacks {what}", input.kind);
    let (f, invoke, answer) = match input.kind.as_ref() {
        "defragment" => return Ok(None),
        "range" => {
            let range = input.range.as_ref().ok_or_else(|| missing("the range"))?;
            let answer = output.range.as_ref().map(|result| {
                let kvs = result.kvs.as_deref().unwrap_or_default();
                json(&range_result(range, kvs, result.count))
            });
            ("range", json(&range_request(range)), answer)
        }
        "leaseGrant" => {
            let Some(Lease { id }) = input.lease_grant.filter(|lease| lease.id != 0) else {
                // Nobody learned the lease, so nobody can use it.
                return Ok(None);
            };
            // In these tests leases end by a revocation alone.
            let lease = message::Lease {
                lease: id,
                ttl: UNTIL_REVOKED,
            };
            let answer = message::LeaseResult {
                ttl: UNTIL_REVOKED,
                keys: Vec::new(),
            };
            ("grant", json(&lease), Some(json(&answer)))
        }
        "leaseRevoke" => {
            let Lease { id } = input.lease_revoke.ok_or_else(|| missing("the lease"))?;
            let lease = message::Lease { lease: id, ttl: 0 };
            ("revoke", json(&lease), Some(Json::NULL))
        }
        "compact" => {
            let compact = input.compact.ok_or_else(|| missing("the revision"))?;
            let request = message::Compact {
                revision: compact.revision,
            };
            ("compact", json(&request), Some(Json::NULL))
        }
        "txn" => {
            let txn = input
                .txn
                .as_ref()
                .ok_or_else(|| missing("the transaction"))?;
            transaction(txn, output.txn.as_ref())?
        }
        other => return Err(format!("unknown type of request {other:?}")),
    };
    let end = if has_error || output.persisted {
        let error = if has_error {
            output.error.to_string()
        } else {
            "persisted, but nobody was told".to_owned()
        };
        if is_read(input) {
            End::Fail(error)
        } else {
            End::Info(error)
        }
    } else if let Some(refused) = refused {
        End::Ok {
            value: json(&message::Refused { refused }),
            revision: revision.max(0),
        }
    } else {
        let value = answer.ok_or_else(|| missing("its answer"))?;
        // The answer to a compaction has no revision here; the store had this one.
        let revision = match input.compact {
            Some(compact) => compact.revision.max(1),
            None => revision,
        };
        End::Ok { value, revision }
    };
    Ok(Some(Told { f, invoke, end }))
}

fn refusal(error: &str) -> Option<message::Refusal> {
    if error.contains("compacted") {
        Some(message::Refusal::Compacted)
    } else if error.contains("future") {
        Some(message::Refusal::Future)
    } else {
        None
    }
}

/// Whether the request changes nothing.
fn is_read(request: &Request<'_>) -> bool {
    match (&request.range, &request.txn) {
        (Some(_), _) => request.kind == "range",
        (_, Some(txn)) => {
            let all = [&txn.operations_on_success, &txn.operations_on_failure];
            let mut all = all.into_iter().flatten().flatten();
            all.all(|operation| operation.kind == "range-operation")
        }
        _ => false,
    }
}

/// A transaction; one that is a put or a deletion and nothing else as such.
fn transaction(
    txn: &Txn<'_>,
    response: Option<&super::report::TxnResponse<'_>>,
) -> Result<(&'static str, Json, Option<Json>), String> {
    let conditions = txn.conditions.as_deref().unwrap_or_default();
    let success = txn.operations_on_success.as_deref().unwrap_or_default();
    let failure = txn.operations_on_failure.as_deref().unwrap_or_default();
    let results = response.map(|response| response.results.as_deref().unwrap_or_default());
    if conditions.is_empty()
        && failure.is_empty()
        && let [only] = success
        && response.is_none_or(|response| !response.failure)
    {
        match only.kind.as_ref() {
            "put-operation" => {
                let answer = results.map(|_| Json::NULL);
                return Ok(("put", json(&put(&only.put)), answer));
            }
            "delete-operation" => {
                let deleted = |results: &[TxnResult<'_>]| message::DeleteResult {
                    deleted: results.first().map_or(0, |result| result.deleted),
                    prev: Vec::new(),
                };
                let answer = results.map(|results| json(&deleted(results)));
                return Ok(("delete", json(&delete(&only.delete)), answer));
            }
            _ => {}
        }
    }
    let request = message::Txn {
        compare: conditions
            .iter()
            .map(|condition| {
                let (target, operand) = if condition.expected_version > 0 {
                    (Target::Version, condition.expected_version)
                } else {
                    (Target::Mod, condition.expected_revision)
                };
                let key = Cow::Borrowed(condition.key.as_ref());
                Compare(target, key, Relation::Equal, operand)
            })
            .collect(),
        success: success.iter().map(txn_op).collect::<Result<_, _>>()?,
        failure: failure.iter().map(txn_op).collect::<Result<_, _>>()?,
    };
    let answer = match response {
        None => None,
        Some(response) => {
            let branch = if response.failure { failure } else { success };
            let results = response.results.as_deref().unwrap_or_default();
            if branch.len() != results.len() {
                return Err("a transaction has another number of results than operations".into());
            }
            let results = branch
                .iter()
                .zip(results)
                .map(|(op, result)| op_result(op, result));
            Some(json(&message::TxnResult {
                succeeded: !response.failure,
                results: results.collect(),
            }))
        }
    };
    Ok(("txn", json(&request), answer))
}

fn txn_op<'a>(operation: &'a TxnOperation<'_>) -> Result<TxnOp<'a>, String> {
    Ok(match operation.kind.as_ref() {
        "range-operation" => TxnOp::Range(range_request(&operation.range)),
        "put-operation" => TxnOp::Put(put(&operation.put)),
        "delete-operation" => TxnOp::Delete(delete(&operation.delete)),
        other => return Err(format!("unknown type of operation {other:?}")),
    })
}

fn op_result<'a>(operation: &TxnOperation<'_>, result: &'a TxnResult<'_>) -> OpResult<'a> {
    match operation.kind.as_ref() {
        "put-operation" => OpResult::Put(message::PutResult::default()),
        "delete-operation" => OpResult::Delete(message::DeleteResult {
            deleted: result.deleted,
            prev: Vec::new(),
        }),
        _ => {
            let kvs = result.kvs.as_deref().unwrap_or_default();
            OpResult::Range(range_result(&operation.range, kvs, result.count))
        }
    }
}

fn range_request<'a>(range: &'a Range<'_>) -> message::Range<'a> {
    message::Range {
        span: message::Span {
            key: Cow::Borrowed(range.start.as_ref()),
            end: (!range.end.is_empty()).then(|| Cow::Borrowed(range.end.as_ref())),
        },
        revision: (range.revision != 0).then_some(range.revision),
        serializable: false,
        limit: range.limit,
        count_only: false,
        keys_only: range.keys_only,
    }
}

fn range_result<'a>(
    range: &Range<'_>,
    kvs: &'a [KeyValue<'_>],
    count: i64,
) -> message::RangeResult<'a> {
    let returned = i64::try_from(kvs.len()).unwrap_or(i64::MAX);
    message::RangeResult {
        kvs: kvs.iter().map(|kv| version(kv, range.keys_only)).collect(),
        count,
        // Reports leave it out.
        more: range.limit > 0 && returned == range.limit && count > returned,
    }
}

fn put<'a>(put: &'a Put<'_>) -> message::Put<'a> {
    message::Put {
        key: Cow::Borrowed(put.key.as_ref()),
        value: value(&put.value),
        lease: put.lease,
        prev_kv: false,
    }
}

fn delete<'a>(delete: &'a super::report::Delete<'_>) -> message::Delete<'a> {
    message::Delete {
        span: message::Span {
            key: Cow::Borrowed(delete.key.as_ref()),
            end: None,
        },
        prev_kv: false,
    }
}

/// The value, or what there is of a long one.
pub(super) fn value<'a>(value: &'a Value<'_>) -> Cow<'a, str> {
    if value.hash == 0 {
        Cow::Borrowed(value.value.as_ref())
    } else {
        Cow::Owned(format!("hash {}", value.hash))
    }
}

/// A version of a key; reports have neither its create revision nor its lease.
pub(super) fn version<'a>(kv: &'a KeyValue<'_>, keys_only: bool) -> message::KeyValue<'a> {
    message::KeyValue(
        Cow::Borrowed(kv.key.as_ref()),
        (!keys_only).then(|| value(&kv.value)),
        UNKNOWN,
        told_or_unknown(kv.mod_revision),
        told_or_unknown(kv.version),
        UNKNOWN,
    )
}

/// A count that is left out where it is 0; that of a key which exists never is.
fn told_or_unknown(count: i64) -> i64 {
    if count == 0 { UNKNOWN } else { count }
}

pub(super) fn json<T: serde::Serialize>(message: &T) -> Json {
    Json::new(message).expect("messages have a JSON form")
}
