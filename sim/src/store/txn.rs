//! Transactions.
//!
//! Follows etcd's `server/etcdserver/txn/txn.go`, and up to release 3.5, where that
//! differs, `server/etcdserver/apply.go`.

use std::cmp::Ordering;

use etcd_client::proto::{
    PbCompare, PbRangeRequest, PbResponseHeader, PbResponseOp, PbTargetUnion, PbTxnOpRequest,
    PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};

use super::index::At;
use super::key_range::KeyRange;
use super::record::Record;
use super::{Store, StoreError, View, check};
use crate::bug::EtcdBug;
use crate::version::TxnChecks;

const TARGET_VALUE: i32 = 3;

impl Store {
    /// Compares, then does one of two lists of operations. All of it or nothing,
    /// in one revision; none when it writes nothing.
    ///
    /// # Errors
    ///
    /// Those of its operations, [`StoreError::TooManyOps`],
    /// [`StoreError::DuplicateKey`], [`StoreError::RequestTooLarge`].
    pub fn txn(&mut self, request: PbTxnRequest) -> Result<PbTxnResponse, StoreError> {
        check::check_txn(&request, self.options.txn_ops_max, self.options.version)?;
        if !is_read_only(&request) {
            check::check_size(&request, self.options.request_bytes_max)?;
        }
        let mut path = Vec::new();
        self.choose(&request, &mut path);
        self.check_operations(&request, &path)?;
        let mut response = self.apply_txn(request, &mut path.into_iter());
        self.commit();
        if let Some(header) = &mut response.header {
            header.revision = self.revision;
        }
        Ok(response)
    }

    /// Does a transaction that [reads only](is_read_only) in what a view shows.
    ///
    /// # Errors
    ///
    /// As [`Store::txn`].
    pub fn txn_in(&self, request: &PbTxnRequest, view: View) -> Result<PbTxnResponse, StoreError> {
        check::check_txn(request, self.options.txn_ops_max, self.options.version)?;
        let at = self.newest(view);
        let succeeded = request.compare.iter().all(|c| self.holds(c, at));
        let reads = || {
            let ops = branch(request, succeeded).iter();
            ops.filter_map(|op| match &op.request {
                Some(PbTxnOpRequest::RequestRange(range)) => Some(range),
                _ => None,
            })
        };
        reads().try_for_each(|range| check_revision(range, view))?;
        let responses = reads().map(|range| {
            let response = self
                .read_in(range, view)
                .expect("the revision of a read is checked");
            let response = Some(PbTxnOpResponse::ResponseRange(response));
            PbResponseOp { response }
        });
        let responses = responses.collect();
        let header = super::header(view.revision);
        Ok(PbTxnResponse {
            header,
            succeeded,
            responses,
        })
    }

    /// Finds which branch each transaction takes: the outer one first, then those
    /// nested in the branch that it takes, in order. All comparisons look at the state
    /// before the transaction.
    fn choose(&self, request: &PbTxnRequest, path: &mut Vec<bool>) {
        let mut comparisons = request.compare.iter();
        let succeeded = comparisons.all(|compare| self.holds(compare, At::Now));
        path.push(succeeded);
        for op in branch(request, succeeded) {
            if let Some(PbTxnOpRequest::RequestTxn(txn)) = &op.request {
                self.choose(txn, path);
            }
        }
    }

    /// A comparison holds if it does for each key of its range. An absent key
    /// has the version, revisions and lease 0, and no value: a comparison of
    /// its value never holds.
    fn holds(&self, compare: &PbCompare, at: At) -> bool {
        let range = KeyRange::new(&compare.key, &compare.range_end);
        let (mut any, mut all) = (false, true);
        self.index.visit(range, at, |record| {
            any = true;
            all = all && key_holds(compare, Some(record));
        });
        if any {
            return all;
        }
        compare.target != TARGET_VALUE && key_holds(compare, None)
    }

    /// Whether the operations of the branches that are taken can be done.
    fn check_operations(&self, request: &PbTxnRequest, path: &[bool]) -> Result<(), StoreError> {
        fn check_puts(store: &Store, op: &PbTxnOpRequest) -> Result<(), StoreError> {
            match op {
                PbTxnOpRequest::RequestPut(put) => {
                    store.check_previous(put)?;
                    store.check_lease(put)
                }
                _ => Ok(()),
            }
        }
        fn check_reads(store: &Store, op: &PbTxnOpRequest) -> Result<(), StoreError> {
            match op {
                PbTxnOpRequest::RequestRange(range) => check_revision(range, store.present()),
                _ => Ok(()),
            }
        }
        let path = || path.iter().copied();
        match self.options.version.profile().txn_checks {
            TxnChecks::PutsFirst => {
                self.check_taken(request, &mut path(), &check_puts)?;
                self.check_taken(request, &mut path(), &check_reads)
            }
            TxnChecks::InOrder => self.check_taken(request, &mut path(), &|store, op| {
                check_puts(store, op)?;
                check_reads(store, op)
            }),
        }
    }

    /// Applies a check to the operations of the branches that are taken.
    fn check_taken(
        &self,
        request: &PbTxnRequest,
        path: &mut impl Iterator<Item = bool>,
        check: &impl Fn(&Store, &PbTxnOpRequest) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let succeeded = path
            .next()
            .expect("each transaction has its place in the path");
        for op in branch(request, succeeded)
            .iter()
            .filter_map(|op| op.request.as_ref())
        {
            match op {
                PbTxnOpRequest::RequestTxn(txn) => self.check_taken(txn, path, check)?,
                op => check(self, op)?,
            }
        }
        Ok(())
    }

    /// Does the operations of the branches that are taken. The header of a
    /// nested transaction stays empty, as in etcd.
    fn apply_txn(
        &mut self,
        request: PbTxnRequest,
        path: &mut impl Iterator<Item = bool>,
    ) -> PbTxnResponse {
        let succeeded = path
            .next()
            .expect("each transaction has its place in the path");
        let ops = if succeeded {
            request.success
        } else {
            request.failure
        };
        let responses = ops.into_iter().map(|op| self.apply_op(op, path)).collect();
        PbTxnResponse {
            header: Some(PbResponseHeader::default()),
            succeeded,
            responses,
        }
    }

    fn apply_op(
        &mut self,
        op: PbTxnRequestOp,
        path: &mut impl Iterator<Item = bool>,
    ) -> PbResponseOp {
        if self.options.bug == Some(EtcdBug::TornTxn) {
            self.commit();
        }
        let response = op.request.map(|request| match request {
            PbTxnOpRequest::RequestRange(range) => {
                let response = self
                    .read(&range)
                    .expect("the revision of a read is checked");
                PbTxnOpResponse::ResponseRange(response)
            }
            PbTxnOpRequest::RequestPut(put) => PbTxnOpResponse::ResponsePut(self.apply_put(put)),
            PbTxnOpRequest::RequestDeleteRange(delete) => {
                PbTxnOpResponse::ResponseDeleteRange(self.apply_delete(&delete))
            }
            PbTxnOpRequest::RequestTxn(txn) => {
                PbTxnOpResponse::ResponseTxn(self.apply_txn(txn, path))
            }
        });
        PbResponseOp { response }
    }
}

/// Whether a transaction may read at a revision. Differs from a plain read in
/// that a negative revision can be too old (`checkRange`).
fn check_revision(request: &PbRangeRequest, view: View) -> Result<(), StoreError> {
    match request.revision {
        0 => Ok(()),
        revision if revision > view.revision => Err(StoreError::FutureRevision),
        revision if revision < view.compacted => Err(StoreError::Compacted),
        _ => Ok(()),
    }
}

/// Whether both branches hold nothing but reads. A nested transaction counts as
/// a write, whatever it holds (`IsTxnReadonly`).
pub fn is_read_only(request: &PbTxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| matches!(op.request, Some(PbTxnOpRequest::RequestRange(_))))
}

fn branch(request: &PbTxnRequest, succeeded: bool) -> &[PbTxnRequestOp] {
    if succeeded {
        &request.success
    } else {
        &request.failure
    }
}

/// Compares one key, `None` being an absent one. A target that does not match the kind
/// of value sent with it compares with zero or nothing, an unknown target finds
/// equality, and an unknown result holds (`compareKV`).
fn key_holds(compare: &PbCompare, record: Option<&Record>) -> bool {
    let number = |field: fn(&Record) -> i64| record.map_or(0, field);
    let value = || record.map_or(&[][..], Record::value);
    let ordering = match (compare.target, &compare.target_union) {
        (0, Some(PbTargetUnion::Version(version))) => number(Record::version).cmp(version),
        (0, _) => number(Record::version).cmp(&0),
        (1, Some(PbTargetUnion::CreateRevision(revision))) => {
            number(Record::create_revision).cmp(revision)
        }
        (1, _) => number(Record::create_revision).cmp(&0),
        (2, Some(PbTargetUnion::ModRevision(revision))) => {
            number(Record::mod_revision).cmp(revision)
        }
        (2, _) => number(Record::mod_revision).cmp(&0),
        (TARGET_VALUE, Some(PbTargetUnion::Value(sent))) => value().cmp(sent),
        (TARGET_VALUE, _) => value().cmp(&[]),
        (4, Some(PbTargetUnion::Lease(lease))) => number(Record::lease).cmp(lease),
        (4, _) => number(Record::lease).cmp(&0),
        _ => Ordering::Equal,
    };
    match compare.result {
        0 => ordering.is_eq(),
        1 => ordering.is_gt(),
        2 => ordering.is_lt(),
        3 => ordering.is_ne(),
        _ => true,
    }
}
