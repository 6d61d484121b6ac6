//! Transactions.

use etcd_client::proto::{
    PbCompare, PbRangeRequest, PbTargetUnion, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};
use etcd_sim::version::Version;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::{chance, key_and_end, kv, sometimes, value};
use crate::step::{from_current, operations};

/// How deep transactions are nested.
const LEVELS: u32 = 3;

pub(super) fn txn(version: Version) -> BoxedStrategy<PbTxnRequest> {
    prop_oneof![
        49 => nested(version, LEVELS),
        1 => wide(),
    ]
    .prop_map(without_kept_values_of_deleted_keys)
    .boxed()
}

/// One without other transactions in it.
pub(super) fn flat(version: Version) -> BoxedStrategy<PbTxnRequest> {
    nested(version, 1)
        .prop_map(without_kept_values_of_deleted_keys)
        .boxed()
}

fn nested(version: Version, levels: u32) -> BoxedStrategy<PbTxnRequest> {
    let compares = vec(compare(), 0..3);
    let branch = || vec(op(version, levels), 0..4);
    (compares, branch(), branch())
        .prop_map(|(compare, success, failure)| PbTxnRequest {
            compare,
            success,
            failure,
        })
        .boxed()
}

fn op(version: Version, levels: u32) -> BoxedStrategy<PbTxnRequestOp> {
    let range = (kv::range(version), chance(70)).prop_map(|(mut range, is_present)| {
        if is_present {
            range.revision = 0;
        }
        PbTxnOpRequest::RequestRange(range)
    });
    let put = kv::put().prop_map(PbTxnOpRequest::RequestPut);
    let delete = kv::delete().prop_map(PbTxnOpRequest::RequestDeleteRange);
    let op = if levels > 1 {
        let txn = nested(version, levels - 1).prop_map(PbTxnOpRequest::RequestTxn);
        prop_oneof![35 => range, 30 => put, 15 => delete, 20 => txn].boxed()
    } else {
        prop_oneof![35 => range, 45 => put, 15 => delete].boxed()
    };
    prop_oneof![99 => op.prop_map(Some), 1 => Just(None)]
        .prop_map(|request| PbTxnRequestOp { request })
        .boxed()
}

/// A transaction around the limit of operations.
fn wide() -> BoxedStrategy<PbTxnRequest> {
    let get = || PbTxnRequestOp {
        request: Some(PbTxnOpRequest::RequestRange(PbRangeRequest {
            key: b"a".to_vec(),
            count_only: true,
            ..Default::default()
        })),
    };
    let gets = move |count: usize| -> Vec<_> { (0..count).map(|_| get()).collect() };
    (60..68usize, 60..68usize, 0..130usize)
        .prop_map(move |(inner, outer, failure)| {
            let nested = PbTxnRequest {
                success: gets(inner),
                ..Default::default()
            };
            let mut success = gets(outer);
            success.push(PbTxnRequestOp {
                request: Some(PbTxnOpRequest::RequestTxn(nested)),
            });
            PbTxnRequest {
                success,
                failure: gets(failure),
                ..Default::default()
            }
        })
        .boxed()
}

fn compare() -> BoxedStrategy<PbCompare> {
    let revision = || prop_oneof![2 => Just(0), 3 => (-20..=0i64).prop_map(from_current)];
    let union = prop_oneof![
        (0..4i64).prop_map(|version| (0, PbTargetUnion::Version(version))),
        revision().prop_map(|revision| (1, PbTargetUnion::CreateRevision(revision))),
        revision().prop_map(|revision| (2, PbTargetUnion::ModRevision(revision))),
        value().prop_map(|value| (3, PbTargetUnion::Value(value))),
        (0..8i64).prop_map(|lease| (4, PbTargetUnion::Lease(lease))),
    ];
    // Another target than the union's, or none.
    let target = sometimes(5, (0..5i32).prop_map(Some));
    let result = prop_oneof![60 => 0..4i32, 1 => Just(4), 1 => Just(-1)];
    (key_and_end(2), chance(30), union, target, chance(3), result)
        .prop_map(
            |((key, range_end), is_range, (kind, union), target, is_bare, result)| PbCompare {
                result,
                target: target.unwrap_or(kind),
                key,
                range_end: if is_range { range_end } else { Vec::new() },
                target_union: (!is_bare).then_some(union),
            },
        )
        .boxed()
}

/// See [`crate::exclusion::KEPT_VALUE`].
fn without_kept_values_of_deleted_keys(mut txn: PbTxnRequest) -> PbTxnRequest {
    if deletes_from_key(&mut txn) {
        keep_nothing(&mut txn);
    }
    txn
}

fn deletes_from_key(txn: &mut PbTxnRequest) -> bool {
    operations(txn).any(|op| match &mut op.request {
        Some(PbTxnOpRequest::RequestDeleteRange(delete)) => delete.range_end == [0],
        Some(PbTxnOpRequest::RequestTxn(txn)) => deletes_from_key(txn),
        _ => false,
    })
}

fn keep_nothing(txn: &mut PbTxnRequest) {
    for op in operations(txn) {
        match &mut op.request {
            Some(PbTxnOpRequest::RequestPut(put)) => {
                put.ignore_value = false;
                put.ignore_lease = false;
            }
            Some(PbTxnOpRequest::RequestTxn(txn)) => keep_nothing(txn),
            _ => {}
        }
    }
}
