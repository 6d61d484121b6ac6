//! Leases: who holds which keys, and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::StoreError;

/// The longest time to live that can be asked for, in seconds
/// (`MaxLeaseTTL` in etcd's `server/lease/lessor.go`).
pub const TTL_MAX: i64 = 9_000_000_000;

/// The id of a lease; 0 stands for "no lease".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// The id that stands for "no lease".
    pub const NONE: LeaseId = LeaseId(0);
}

/// What is known about a lease at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The time that is left; zero once it has expired and is about to be
    /// revoked; [`Duration::MAX`] while no leader keeps time.
    pub remaining: Duration,
    /// The time to live that was granted, in seconds.
    pub granted_ttl: i64,
    /// The keys that go with it, in order.
    pub keys: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Lease {
    ttl: i64,
    /// `None`: never, because nobody keeps time.
    expiry: Option<Duration>,
    keys: BTreeSet<Box<[u8]>>,
}

/// All leases.
///
/// Times are durations since an origin that the caller chooses and keeps.
///
/// # Invariants
/// - `by_expiry` holds each lease that has an expiry, once.
#[derive(Debug)]
pub(super) struct Lessor {
    leases: BTreeMap<LeaseId, Lease>,
    by_expiry: BTreeSet<(Duration, LeaseId)>,
    ttl_min: i64,
}

impl Lessor {
    pub(super) fn new(ttl_min: i64) -> Self {
        Lessor {
            leases: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            ttl_min,
        }
    }

    /// Grants a lease and returns its time to live in seconds, which is never
    /// below the minimum. Checks in the order of `lessor.Grant`
    /// (`server/lease/lessor.go`).
    pub(super) fn grant(
        &mut self,
        now: Duration,
        id: LeaseId,
        ttl: i64,
    ) -> Result<i64, StoreError> {
        if id == LeaseId::NONE {
            return Err(StoreError::LeaseNotFound);
        }
        if ttl > TTL_MAX {
            return Err(StoreError::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(StoreError::LeaseExists);
        }
        let ttl = ttl.max(self.ttl_min);
        self.leases.insert(
            id,
            Lease {
                ttl,
                expiry: None,
                keys: BTreeSet::new(),
            },
        );
        self.refresh(id, now, Duration::ZERO);
        Ok(ttl)
    }

    /// Starts the time of a lease anew; its time to live in seconds.
    pub(super) fn renew(&mut self, now: Duration, id: LeaseId) -> Result<i64, StoreError> {
        let ttl = self.leases.get(&id).ok_or(StoreError::LeaseNotFound)?.ttl;
        self.refresh(id, now, Duration::ZERO);
        Ok(ttl)
    }

    /// Removes a lease; its keys in order, which the caller has to delete.
    pub(super) fn remove(&mut self, id: LeaseId) -> Result<Vec<Box<[u8]>>, StoreError> {
        let lease = self.leases.remove(&id).ok_or(StoreError::LeaseNotFound)?;
        if let Some(expiry) = lease.expiry {
            self.by_expiry.remove(&(expiry, id));
        }
        Ok(lease.keys.into_iter().collect())
    }

    pub(super) fn contains(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// Moves a key from one lease to another; either may be none or gone.
    pub(super) fn attach(&mut self, key: &[u8], old: LeaseId, new: LeaseId) {
        if old == new {
            return;
        }
        if let Some(lease) = self.leases.get_mut(&old) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.leases.get_mut(&new) {
            lease.keys.insert(key.into());
        }
    }

    pub(super) fn status(&self, now: Duration, id: LeaseId) -> Option<LeaseStatus> {
        let lease = self.leases.get(&id)?;
        Some(LeaseStatus {
            remaining: lease
                .expiry
                .map_or(Duration::MAX, |at| at.saturating_sub(now)),
            granted_ttl: lease.ttl,
            keys: lease.keys.iter().map(|key| key.to_vec()).collect(),
        })
    }

    /// All leases: the one that expires first comes first, as in
    /// `leasesByExpiry` (`server/lease/lease.go`); among equals, which etcd
    /// leaves open, the smaller id.
    pub(super) fn ids(&self) -> Vec<LeaseId> {
        let never = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.expiry.is_none());
        let timed = self.by_expiry.iter().map(|&(_, id)| id);
        timed.chain(never.map(|(&id, _)| id)).collect()
    }

    /// The leases whose time is over, at most `max` of them, oldest first.
    pub(super) fn expired(&self, now: Duration, max: usize) -> Vec<LeaseId> {
        let over = self.by_expiry.iter().take_while(|&&(at, _)| at <= now);
        over.map(|&(_, id)| id).take(max).collect()
    }

    /// When the first lease expires, if any does.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.by_expiry.first().map(|&(at, _)| at)
    }

    /// Whether a lease exists whose time is over.
    pub(super) fn is_expired(&self, now: Duration, id: LeaseId) -> bool {
        let expiry = self.leases.get(&id).and_then(|lease| lease.expiry);
        expiry.is_some_and(|at| at <= now)
    }

    pub(super) fn promote(&mut self, now: Duration, extend: Duration) {
        let ids: Vec<LeaseId> = self.leases.keys().copied().collect();
        for id in ids {
            self.refresh(id, now, extend);
        }
    }

    pub(super) fn demote(&mut self) {
        self.by_expiry.clear();
        self.leases
            .values_mut()
            .for_each(|lease| lease.expiry = None);
    }

    fn refresh(&mut self, id: LeaseId, now: Duration, extend: Duration) {
        let lease = self
            .leases
            .get_mut(&id)
            .expect("the caller has looked the lease up");
        if let Some(old) = lease.expiry {
            self.by_expiry.remove(&(old, id));
        }
        let ttl =
            Duration::from_secs(u64::try_from(lease.ttl).expect("a time to live is positive"));
        let expiry = now + extend + ttl;
        lease.expiry = Some(expiry);
        self.by_expiry.insert((expiry, id));
    }
}
