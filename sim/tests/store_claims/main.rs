//! What the store promises, one claim a test.

mod lease;
mod limits;
mod range;
mod txn;
mod write;

use etcd_client::proto::{
    PbCompactionRequest, PbCompare, PbDeleteRequest, PbKeyValue, PbPutRequest, PbRangeRequest,
    PbRangeResponse, PbTargetUnion, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};
use etcd_sim::store::{Store, StoreError};

fn put_request(key: &str, value: &str) -> PbPutRequest {
    PbPutRequest {
        key: key.into(),
        value: value.into(),
        ..Default::default()
    }
}

fn range_request(key: &str, range_end: &str) -> PbRangeRequest {
    PbRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..Default::default()
    }
}

fn delete_request(key: &str, range_end: &str) -> PbDeleteRequest {
    PbDeleteRequest {
        key: key.into(),
        range_end: range_end.into(),
        prev_kv: false,
    }
}

fn put(store: &mut Store, key: &str, value: &str) -> i64 {
    let answer = store.put(put_request(key, value)).unwrap();
    answer.header.unwrap().revision
}

fn delete(store: &mut Store, key: &str, range_end: &str) -> i64 {
    store
        .delete_range(&delete_request(key, range_end))
        .unwrap()
        .deleted
}

fn compact(store: &mut Store, revision: i64) -> Result<(), StoreError> {
    store
        .compact(&PbCompactionRequest {
            revision,
            physical: false,
        })
        .map(drop)
}

fn get(store: &Store, key: &str) -> Option<PbKeyValue> {
    store.range(&range_request(key, "")).unwrap().kvs.pop()
}

/// The keys of an answer, in its order.
fn keys(answer: &PbRangeResponse) -> Vec<&str> {
    answer
        .kvs
        .iter()
        .map(|kv| std::str::from_utf8(&kv.key).unwrap())
        .collect()
}

fn op(request: PbTxnOpRequest) -> PbTxnRequestOp {
    PbTxnRequestOp {
        request: Some(request),
    }
}

fn put_op(key: &str) -> PbTxnRequestOp {
    op(PbTxnOpRequest::RequestPut(put_request(key, "")))
}

fn range_op(key: &str) -> PbTxnRequestOp {
    op(PbTxnOpRequest::RequestRange(range_request(key, "")))
}

fn delete_op(key: &str, range_end: &str) -> PbTxnRequestOp {
    op(PbTxnOpRequest::RequestDeleteRange(delete_request(
        key, range_end,
    )))
}

fn txn_op(txn: PbTxnRequest) -> PbTxnRequestOp {
    op(PbTxnOpRequest::RequestTxn(txn))
}

/// A transaction without comparisons, of which `success` happens.
fn txn(success: Vec<PbTxnRequestOp>, failure: Vec<PbTxnRequestOp>) -> PbTxnRequest {
    PbTxnRequest {
        compare: Vec::new(),
        success,
        failure,
    }
}

fn compare(key: &str, result: i32, target: i32, union: PbTargetUnion) -> PbCompare {
    PbCompare {
        key: key.into(),
        result,
        target,
        target_union: Some(union),
        range_end: Vec::new(),
    }
}
