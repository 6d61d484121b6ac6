//! One request, or what is done between requests.

use etcd_client::proto::{
    PbCompactionRequest, PbCompare, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTargetUnion,
    PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp, PbWatchRequest, PbWatchRequestUnion,
};
use std::time::Duration;

/// One request, or what is done between requests. Its `Display` is for people.
///
/// Revisions may be given in relation to the present one or to the last compaction
/// ([`from_current`], [`from_compacted`]), and ids of leases as "the nth that the
/// server has chosen" ([`chosen_lease`]): then a sequence keeps its sense when
/// something is taken out of it.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the requests are etcd's")]
pub enum Step {
    Range(PbRangeRequest),
    Put(PbPutRequest),
    Delete(PbDeleteRequest),
    Txn(PbTxnRequest),
    Compact(PbCompactionRequest),
    Grant {
        id: i64,
        ttl: i64,
    },
    /// A grant of a lease that would soon end, and its revocation.
    ShortGrant {
        id: i64,
        ttl: i64,
    },
    Revoke {
        id: i64,
    },
    TimeToLive {
        id: i64,
        keys: bool,
    },
    Leases,
    /// The hash of all keys up to a revision.
    Hash {
        revision: i64,
    },
    /// Several keep-alives on one stream.
    KeepAlive {
        ids: Vec<i64>,
    },
    /// Requests on a stream of watches, which is opened if need be. None waits for the
    /// answer to the one before.
    Watch {
        stream: usize,
        requests: Vec<PbWatchRequest>,
    },
    /// What the watches of a stream have to say.
    Listen {
        stream: usize,
    },
    /// The client sends no more requests on a stream of watches, and goes on
    /// listening.
    HalfClose {
        stream: usize,
    },
    /// A put within so many transactions.
    Nested {
        levels: usize,
        put: PbPutRequest,
    },
    /// A method that this release may not have.
    Method(&'static str),
    Wait(Duration),
    /// All keys and leases are removed, and all streams ended: what lies between two
    /// sequences.
    Wipe,
}

pub(crate) const CURRENT: i64 = 1 << 50;
const COMPACTED: i64 = 1 << 51;
const CHOSEN: i64 = 1 << 52;
/// How far a number may lie from the one that it is relative to.
const REACH: i64 = 1 << 40;

/// The revision that lies so far behind (or before) the present one.
pub const fn from_current(distance: i64) -> i64 {
    CURRENT + distance
}

/// The revision that lies so far behind (or before) the last compaction.
pub const fn from_compacted(distance: i64) -> i64 {
    COMPACTED + distance
}

/// The nth lease, from 0, of those whose id the server has chosen.
pub const fn chosen_lease(nth: i64) -> i64 {
    CHOSEN + nth
}

/// What an id of [`chosen_lease`] stands for.
pub(crate) fn nth_chosen(id: i64) -> Option<usize> {
    relative(id, CHOSEN).and_then(|nth| usize::try_from(nth).ok())
}

fn relative(number: i64, base: i64) -> Option<i64> {
    let distance = number.wrapping_sub(base);
    (-REACH..REACH).contains(&distance).then_some(distance)
}

/// How far the history of both sides has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Horizon {
    pub(crate) current: i64,
    pub(crate) compacted: i64,
    /// Whether the last compaction was over when it was answered.
    pub(crate) is_compaction_over: bool,
}

impl Step {
    /// How many requests it sends.
    pub(crate) fn requests(&self) -> u64 {
        match self {
            Step::Listen { .. } | Step::HalfClose { .. } | Step::Wait(_) | Step::Wipe => 0,
            Step::ShortGrant { .. } => 2,
            Step::KeepAlive { ids } => ids.len() as u64,
            Step::Watch { requests, .. } => requests.len() as u64,
            _ => 1,
        }
    }

    /// How long it waits on purpose.
    pub(crate) fn waits(&self) -> Duration {
        match self {
            Step::Wait(time) => *time,
            _ => Duration::ZERO,
        }
    }

    /// The stream of watches that it is about.
    pub(crate) fn stream(&self) -> Option<usize> {
        match *self {
            Step::Watch { stream, .. } | Step::Listen { stream } | Step::HalfClose { stream } => {
                Some(stream)
            }
            _ => None,
        }
    }

    /// A name for the kind of request.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Step::Range(_) => "range",
            Step::Put(_) => "put",
            Step::Delete(_) => "delete",
            Step::Txn(_) | Step::Nested { .. } => "txn",
            Step::Compact(_) => "compact",
            Step::Grant { .. } | Step::ShortGrant { .. } => "lease grant",
            Step::Revoke { .. } => "lease revoke",
            Step::TimeToLive { .. } => "lease time to live",
            Step::Leases => "lease list",
            Step::Hash { .. } => "hash",
            Step::KeepAlive { .. } => "lease keep-alive",
            Step::Watch { requests, .. } => match requests.first().and_then(union) {
                Some(PbWatchRequestUnion::CreateRequest(_)) => "watch create",
                Some(PbWatchRequestUnion::CancelRequest(_)) => "watch cancel",
                Some(PbWatchRequestUnion::ProgressRequest(_)) => "watch progress",
                None => "watch",
            },
            Step::Method(_) => "unknown method",
            Step::Listen { .. } | Step::HalfClose { .. } | Step::Wait(_) | Step::Wipe => "",
        }
    }

    /// Whether it creates a watch that has to catch up.
    pub(crate) fn lags(&self, horizon: Horizon) -> bool {
        let Step::Watch { requests, .. } = self else {
            return false;
        };
        requests.iter().any(|request| match union(request) {
            Some(PbWatchRequestUnion::CreateRequest(create)) => {
                create.start_revision != 0 && create.start_revision <= horizon.current
            }
            _ => false,
        })
    }

    /// The same with absolute revisions.
    pub(crate) fn resolved(&self, horizon: Horizon) -> Step {
        let mut step = self.clone();
        match &mut step {
            Step::Range(range) => resolve_range(range, horizon),
            Step::Txn(txn) => resolve_txn(txn, horizon),
            Step::Compact(compact) => resolve(&mut compact.revision, horizon),
            Step::Hash { revision } => return resolved_hash(*revision, horizon),
            Step::Watch { requests, .. } => {
                for request in requests {
                    if let Some(PbWatchRequestUnion::CreateRequest(create)) =
                        &mut request.request_union
                    {
                        resolve_start(&mut create.start_revision, horizon);
                    }
                }
            }
            _ => {}
        }
        step
    }
}

fn union(request: &PbWatchRequest) -> Option<&PbWatchRequestUnion> {
    request.request_union.as_ref()
}

fn resolve(revision: &mut i64, horizon: Horizon) {
    if let Some(distance) = relative(*revision, CURRENT) {
        *revision = horizon.current + distance;
    } else if let Some(distance) = relative(*revision, COMPACTED) {
        *revision = horizon.compacted + distance;
    }
}

/// Only what was asked for shall lie below zero. And what a watch hears of the
/// compacted revision itself is open while etcd is still at it.
fn resolve_start(revision: &mut i64, horizon: Horizon) {
    let asked = *revision;
    resolve(revision, horizon);
    if *revision != asked {
        *revision = (*revision).max(1);
    }
    if *revision == horizon.compacted && !horizon.is_compaction_over {
        *revision += 1;
    }
}

/// etcd remembers the hashes of what it has compacted, so only younger revisions are
/// asked for. While it is at a compaction, the hash of no keys at all depends on how
/// far it has come: it is not asked for then.
fn resolved_hash(mut revision: i64, horizon: Horizon) -> Step {
    resolve(&mut revision, horizon);
    match horizon.is_compaction_over {
        true if (1..=horizon.compacted).contains(&revision) => Step::Hash { revision: 0 },
        true => Step::Hash { revision },
        false => Step::Wait(Duration::ZERO),
    }
}

fn resolve_range(range: &mut PbRangeRequest, horizon: Horizon) {
    for revision in [
        &mut range.revision,
        &mut range.min_mod_revision,
        &mut range.max_mod_revision,
        &mut range.min_create_revision,
        &mut range.max_create_revision,
    ] {
        resolve(revision, horizon);
    }
}

fn resolve_txn(txn: &mut PbTxnRequest, horizon: Horizon) {
    for compare in &mut txn.compare {
        resolve_compare(compare, horizon);
    }
    for op in operations(txn) {
        match &mut op.request {
            Some(PbTxnOpRequest::RequestRange(range)) => resolve_range(range, horizon),
            Some(PbTxnOpRequest::RequestTxn(txn)) => resolve_txn(txn, horizon),
            _ => {}
        }
    }
}

fn resolve_compare(compare: &mut PbCompare, horizon: Horizon) {
    if let Some(PbTargetUnion::CreateRevision(revision) | PbTargetUnion::ModRevision(revision)) =
        &mut compare.target_union
    {
        resolve(revision, horizon);
    }
}

/// The operations of both branches.
pub(crate) fn operations(txn: &mut PbTxnRequest) -> impl Iterator<Item = &mut PbTxnRequestOp> {
    txn.success.iter_mut().chain(&mut txn.failure)
}

/// Calls `each` with every id of a lease that a request names.
pub(crate) fn each_lease(step: &mut Step, each: &mut impl FnMut(&mut i64)) {
    match step {
        Step::Put(put) | Step::Nested { put, .. } => each(&mut put.lease),
        Step::Txn(txn) => each_lease_of_txn(txn, each),
        Step::Revoke { id }
        | Step::TimeToLive { id, .. }
        | Step::Grant { id, .. }
        | Step::ShortGrant { id, .. } => each(id),
        Step::KeepAlive { ids } => ids.iter_mut().for_each(each),
        _ => {}
    }
}

fn each_lease_of_txn(txn: &mut PbTxnRequest, each: &mut impl FnMut(&mut i64)) {
    for compare in &mut txn.compare {
        if let Some(PbTargetUnion::Lease(lease)) = &mut compare.target_union {
            each(lease);
        }
    }
    for op in operations(txn) {
        match &mut op.request {
            Some(PbTxnOpRequest::RequestPut(put)) => each(&mut put.lease),
            Some(PbTxnOpRequest::RequestTxn(txn)) => each_lease_of_txn(txn, each),
            _ => {}
        }
    }
}

/// How a person reads a revision, which may be relative.
pub(crate) fn shown(revision: i64) -> String {
    if let Some(distance) = relative(revision, CURRENT) {
        format!("current{distance:+}")
    } else if let Some(distance) = relative(revision, COMPACTED) {
        format!("compacted{distance:+}")
    } else {
        revision.to_string()
    }
}

/// How a person reads the id of a lease.
pub(crate) fn shown_lease(id: i64) -> String {
    match nth_chosen(id) {
        Some(nth) => format!("chosen-{nth}"),
        None => id.to_string(),
    }
}
