//! What a request must look like, before anything of it is tried.
//!
//! The checks, and their order, are those of etcd's
//! `server/etcdserver/api/v3rpc/key.go`.

use etcd_client::proto::{
    PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};

use super::StoreError;
use super::overlap::check_overlaps;
use crate::version::{UnknownSort, Version};

/// The sort orders are 0 (none), 1 (ascending) and 2 (descending).
const SORT_ORDER_MAX: i32 = 2;
/// The sort targets are 0 (key) to 4 (value).
const SORT_TARGET_MAX: i32 = 4;

/// How many bytes the envelope adds in which etcd writes a request to its log:
/// the tag and length of the request, and a header with the request's id
/// (`InternalRaftRequest` in `api/etcdserverpb/raft_internal.proto`).
const ENVELOPE_BYTES: usize = 18;

pub(super) fn check_range(request: &PbRangeRequest, version: Version) -> Result<(), StoreError> {
    if request.key.is_empty() {
        return Err(StoreError::EmptyKey);
    }
    let is_known_target = (0..=SORT_TARGET_MAX).contains(&request.sort_target);
    let is_known_order = (0..=SORT_ORDER_MAX).contains(&request.sort_order);
    if is_known_target
        && (is_known_order || version.profile().unknown_sort == UnknownSort::Unsorted)
    {
        Ok(())
    } else {
        Err(StoreError::InvalidSortOption)
    }
}

pub(super) fn check_put(request: &PbPutRequest) -> Result<(), StoreError> {
    if request.key.is_empty() {
        return Err(StoreError::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(StoreError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(StoreError::LeaseProvided);
    }
    Ok(())
}

pub(super) fn check_delete(request: &PbDeleteRequest) -> Result<(), StoreError> {
    if request.key.is_empty() {
        Err(StoreError::EmptyKey)
    } else {
        Ok(())
    }
}

pub(super) fn check_txn(
    request: &PbTxnRequest,
    ops_max: usize,
    version: Version,
) -> Result<(), StoreError> {
    check_level(request, ops_max, version)?;
    check_overlaps(&request.success)?;
    check_overlaps(&request.failure)
}

/// Whether a mutation may go into etcd's log (`raftRequest` in
/// `server/etcdserver/v3_server.go`).
pub(super) fn check_size(
    request: &impl prost::Message,
    bytes_max: usize,
) -> Result<(), StoreError> {
    if request.encoded_len() + ENVELOPE_BYTES > bytes_max {
        return Err(StoreError::RequestTooLarge);
    }
    Ok(())
}

/// One level of a transaction costs its longest list; what is left goes to
/// each of the nested transactions.
fn check_level(request: &PbTxnRequest, ops_max: usize, version: Version) -> Result<(), StoreError> {
    let lists = [
        request.compare.len(),
        request.success.len(),
        request.failure.len(),
    ];
    let cost = lists.into_iter().max().unwrap_or(0);
    let left = ops_max.checked_sub(cost).ok_or(StoreError::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(StoreError::EmptyKey);
    }
    let mut ops = request.success.iter().chain(&request.failure);
    ops.try_for_each(|op| check_op(op, left, version))
}

fn check_op(op: &PbTxnRequestOp, ops_max: usize, version: Version) -> Result<(), StoreError> {
    match &op.request {
        Some(PbTxnOpRequest::RequestRange(range)) => check_range(range, version),
        Some(PbTxnOpRequest::RequestPut(put)) => check_put(put),
        Some(PbTxnOpRequest::RequestDeleteRange(delete)) => check_delete(delete),
        Some(PbTxnOpRequest::RequestTxn(txn)) => check_level(txn, ops_max, version),
        None => Err(StoreError::KeyNotFound),
    }
}
