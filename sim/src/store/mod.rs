//! The state machine of etcd: keys with all their versions, transactions,
//! leases, compaction.
//!
//! Pure: it holds no clock, no randomness and nothing asynchronous. Time is an
//! argument, ids are chosen by the caller, and the same calls in the same order
//! give the same answers. It speaks the protobuf messages of etcd's API, so
//! that an answer can be compared with that of a real etcd field by field.
//!
//! What is claimed about etcd here cites the file of etcd that shows it, and
//! the package `etcd-conform` compares both on random requests.
//!
//! Left out: the size of the database and its quota, users and roles, and what
//! a real member adds to each answer about itself (cluster id, member id,
//! term), which the services fill in.
//!
//! | module | what it knows |
//! |---|---|
//! | `check`, `overlap` | which requests are refused unseen |
//! | `range` | reads: limits, filters, sorting, counting |
//! | `write` | puts and deletes, and the revision they take |
//! | `txn` | comparisons, branches, all or nothing |
//! | `lessor` | leases, their keys and their end |
//! | `index`, `points`, `ordered`, `record` | the versions of each key |
//! | `view` | the past as a member sees it that has not applied all |
//! | `damage` | what known bugs of etcd's do to the history |
//!
//! ```
//! use etcd_client::proto::{PbPutRequest, PbRangeRequest};
//! use etcd_sim::store::Store;
//!
//! let mut store = Store::default();
//! let put = PbPutRequest { key: b"k".to_vec(), value: b"v".to_vec(), ..Default::default() };
//! store.put(put)?;
//! let read = store.range(&PbRangeRequest { key: b"k".to_vec(), ..Default::default() })?;
//! assert_eq!(read.kvs[0].value, b"v");
//! assert_eq!(store.revision(), 2);
//! # Ok::<(), etcd_sim::store::StoreError>(())
//! ```

mod check;
mod damage;
mod error;
mod hash;
mod index;
mod key_range;
mod lessor;
mod ordered;
mod overlap;
mod points;
mod range;
mod record;
mod txn;
mod view;
mod write;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbRangeRequest, PbRangeResponse, PbResponseHeader,
};

pub use error::StoreError;
pub use key_range::KeyRange;
pub use lessor::{LeaseId, LeaseStatus, TTL_MAX};
pub use record::{EVENT_DELETE, EVENT_PUT, Record};
pub use txn::is_read_only;
pub use view::View;

use crate::bug::EtcdBug;
use crate::version::Version;
use index::{At, Index};
use lessor::Lessor;

/// The revision of a store in which nothing has happened.
pub const FIRST_REVISION: i64 = 1;

/// What can be configured about etcd, with etcd's own default values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// How many operations one path through a transaction may have. Each level
    /// costs its longest list; default 128 (`--max-txn-ops`).
    pub txn_ops_max: usize,
    /// How large a mutation may be, in bytes; default 1.5 MiB
    /// (`--max-request-bytes`).
    pub request_bytes_max: usize,
    /// The shortest time to live of a lease, in seconds. etcd takes one and a
    /// half election timeouts, rounded up; default 2
    /// (`server/etcdserver/server.go`, `MinLeaseTTL`).
    pub lease_ttl_min: i64,
    /// The release of etcd that it answers as.
    pub version: Version,
    /// A known bug of etcd's that is put in; default none.
    pub bug: Option<EtcdBug>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            txn_ops_max: 128,
            request_bytes_max: 3 << 19,
            lease_ttl_min: 2,
            version: Version::default(),
            bug: None,
        }
    }
}

/// The state machine of etcd.
///
/// # Invariants
/// - `revision` is that of the last mutation; the log holds at least all records
///   of `compacted..=revision` in the order in which they were applied.
/// - Between two calls `changes` is 0: no mutation is half done.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    revision: i64,
    /// The last compaction, or -1 (`compactMainRev` in etcd's
    /// `server/storage/mvcc/kvstore.go`).
    compacted: i64,
    /// How many records the running transaction has written.
    changes: i64,
    index: Index,
    log: VecDeque<Record>,
    lessor: Lessor,
    /// Memory to make records in.
    scratch: Vec<u8>,
}

impl Default for Store {
    fn default() -> Self {
        Store::new(StoreOptions::default())
    }
}

impl Store {
    /// An empty store at revision 1.
    pub fn new(options: StoreOptions) -> Self {
        Store {
            options,
            revision: FIRST_REVISION,
            compacted: -1,
            changes: 0,
            index: Index::default(),
            log: VecDeque::new(),
            lessor: Lessor::new(options.lease_ttl_min),
            scratch: Vec::new(),
        }
    }

    /// How it was made.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// The revision of the last mutation; 1 when there was none.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision of the last compaction, the oldest that can be read; -1
    /// when there was none.
    pub fn compacted_revision(&self) -> i64 {
        self.compacted
    }

    /// Reads keys, now or at a past revision.
    ///
    /// # Errors
    ///
    /// [`StoreError::EmptyKey`], [`StoreError::InvalidSortOption`],
    /// [`StoreError::FutureRevision`], [`StoreError::Compacted`].
    pub fn range(&self, request: &PbRangeRequest) -> Result<PbRangeResponse, StoreError> {
        check::check_range(request, self.options.version)?;
        self.read(request)
    }

    /// Forgets what only reads below a revision need.
    ///
    /// # Errors
    ///
    /// [`StoreError::Compacted`] when that has happened already,
    /// [`StoreError::FutureRevision`].
    pub fn compact(
        &mut self,
        request: &PbCompactionRequest,
    ) -> Result<PbCompactionResponse, StoreError> {
        let response = self.mark_compacted(request)?;
        self.discard();
        Ok(response)
    }

    /// A compaction of which nothing is forgotten before [`Store::discard`]:
    /// older [`View`]s show what they showed before.
    ///
    /// # Errors
    ///
    /// As [`Store::compact`].
    pub fn mark_compacted(
        &mut self,
        request: &PbCompactionRequest,
    ) -> Result<PbCompactionResponse, StoreError> {
        let revision = request.revision;
        if revision <= self.compacted {
            return Err(StoreError::Compacted);
        }
        if revision > self.revision {
            return Err(StoreError::FutureRevision);
        }
        self.compacted = revision;
        Ok(PbCompactionResponse {
            header: header(self.revision),
        })
    }

    /// Forgets what [`Store::mark_compacted`] has left.
    pub fn discard(&mut self) {
        let revision = self.compacted;
        for record in self.log.iter().take_while(|r| r.mod_revision() <= revision) {
            self.index.compact(record.key(), revision);
        }
        let kept = self.log.partition_point(|r| r.mod_revision() < revision);
        self.log.drain(..kept);
        self.discard_at(revision);
    }

    /// Of what happened at the compacted revision itself, the last change of each
    /// key can still be watched (`keyIndex.doCompact` in etcd's
    /// `server/storage/mvcc/key_index.go`), a deletion not in every release.
    fn discard_at(&mut self, revision: i64) {
        let end = self.log.partition_point(|r| r.mod_revision() <= revision);
        let keeps_deletion = self.options.version.profile().compaction_keeps_deletion;
        let mut keys = BTreeSet::new();
        let is_kept = |record: &Record| {
            keys.insert(record.key().to_vec()) && (keeps_deletion || !record.is_tombstone())
        };
        let kept: Vec<_> = self.log.drain(..end).rev().filter(is_kept).collect();
        kept.into_iter()
            .for_each(|record| self.log.push_front(record));
    }

    /// The records that were written at `from` or later and are not compacted,
    /// in the order in which they were applied.
    pub fn events(&self, from: i64) -> impl DoubleEndedIterator<Item = &Record> {
        let start = self.log.partition_point(|r| r.mod_revision() < from);
        self.log.range(start..)
    }

    /// The version of a key that existed after `revision`. `None` also when
    /// that revision is compacted or has not happened.
    pub fn key_at(&self, key: &[u8], revision: i64) -> Option<&Record> {
        self.key_in(key, revision, self.present())
    }

    /// The version of a key that existed after `revision`, as a view shows it.
    pub fn key_in(&self, key: &[u8], revision: i64, view: View) -> Option<&Record> {
        if revision > view.revision || revision < view.compacted {
            return None;
        }
        self.index.get(key, At::Revision(revision))
    }

    /// The keys that exist now, in order.
    pub fn current(&self) -> impl Iterator<Item = &Record> {
        let mut records = Vec::with_capacity(self.index.len());
        self.index
            .visit(KeyRange::From(b""), At::Now, |record| records.push(record));
        records.into_iter()
    }

    /// Grants a lease; its time to live in seconds, which can be longer than
    /// asked for. `now` counts from an origin that stays the same for all calls.
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseNotFound`] for the id 0,
    /// [`StoreError::LeaseTtlTooLarge`], [`StoreError::LeaseExists`].
    pub fn lease_grant(&mut self, now: Duration, id: LeaseId, ttl: i64) -> Result<i64, StoreError> {
        self.lessor.grant(now, id, ttl)
    }

    /// Ends a lease and deletes its keys, in order and in one revision; takes
    /// no revision when there are none.
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseNotFound`].
    pub fn lease_revoke(&mut self, id: LeaseId) -> Result<(), StoreError> {
        let mut keys = self.lessor.remove(id)?;
        if self.options.bug == Some(EtcdBug::LeaseLeavesKeys) {
            keys.pop();
        }
        for key in keys {
            self.write_delete(&key);
        }
        self.commit();
        Ok(())
    }

    /// Starts the time of a lease anew; its time to live in seconds. Also of a
    /// lease that has expired and is not revoked yet: etcd lets such a renewal
    /// wait for the revocation (`lessor.Renew`), and so does the service.
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseNotFound`].
    pub fn lease_keep_alive(&mut self, now: Duration, id: LeaseId) -> Result<i64, StoreError> {
        self.lessor.renew(now, id)
    }

    /// What is known about a lease; `None` when it does not exist.
    pub fn lease_status(&self, now: Duration, id: LeaseId) -> Option<LeaseStatus> {
        self.lessor.status(now, id)
    }

    /// All leases, the one that expires first in front.
    pub fn leases(&self) -> Vec<LeaseId> {
        self.lessor.ids()
    }

    /// The leases whose time is over, at most `max`, the longest over in front.
    /// They live on until they are revoked.
    pub fn expired(&self, now: Duration, max: usize) -> Vec<LeaseId> {
        self.lessor.expired(now, max)
    }

    /// When the time of the first lease is over; `None` while that of none is.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.lessor.next_expiry()
    }

    /// Whether a lease exists and its time is over.
    pub fn is_expired(&self, now: Duration, id: LeaseId) -> bool {
        self.lessor.is_expired(now, id)
    }

    /// A new leader keeps time: every lease gets its full time to live, plus
    /// `extend`. etcd also spreads the ends of 1000 leases and more over time
    /// (`lessor.Promote`); that is left out.
    pub fn promote(&mut self, now: Duration, extend: Duration) {
        self.lessor.promote(now, extend);
    }

    /// Nobody keeps time any more: no lease expires until
    /// [`promote`](Store::promote).
    pub fn demote(&mut self) {
        self.lessor.demote();
    }
}

/// A header that says only the revision; the services add the rest.
fn header(revision: i64) -> Option<PbResponseHeader> {
    Some(PbResponseHeader {
        revision,
        ..Default::default()
    })
}
