//! What a member knows.

use std::task::Waker;
use std::time::Duration;

use etcd_client::proto::PbResponseHeader;
use tonic::Status;

use super::member::MemberOptions;
use super::watch::WatchHub;
use crate::store::{LeaseId, Record, Store, StoreError};

/// How many leases one round of the expiry loop revokes at most: half of the
/// rate per second (`defaultLeaseRevokeRate` in etcd's `server/lease/lessor.go`).
const EXPIRED_MAX: usize = 500;

/// By how much a message may exceed the limit of a request before gRPC itself
/// refuses it (`grpcOverheadBytes` in etcd's `server/embed/config.go`).
const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

/// What a member says about itself in each answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    pub(crate) term: u64,
}

impl Identity {
    pub(crate) fn header(&self, revision: i64) -> PbResponseHeader {
        PbResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
            revision,
            raft_term: self.term,
        }
    }
}

/// Who is told of every change of the store.
pub(crate) type Listener = Box<dyn Fn(&Record) + Send>;

/// What a member knows: the part behind its lock.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) watches: WatchHub,
    pub(crate) identity: Identity,
    /// How many requests have been written to the log.
    pub(crate) raft_index: u64,
    leases_granted: i64,
    pub(super) listeners: Vec<Listener>,
}

impl State {
    pub(super) fn new(options: &MemberOptions) -> Self {
        let identity = Identity {
            cluster_id: options.cluster_id,
            member_id: options.member_id,
            term: options.term,
        };
        State {
            store: Store::new(options.store),
            watches: WatchHub::new(
                identity,
                options.store.request_bytes_max + GRPC_OVERHEAD_BYTES,
            )
            .with_bug(options.store.bug),
            identity,
            // Electing the leader takes the first entry of the log.
            raft_index: 1,
            leases_granted: 0,
            listeners: Vec::new(),
        }
    }

    /// The header of an answer about the present.
    pub(crate) fn header(&self) -> PbResponseHeader {
        self.identity.header(self.store.revision())
    }

    /// Completes the header of an answer of the store; a revision that it does
    /// not give is the present one (`header.fill` in etcd's
    /// `server/etcdserver/api/v3rpc/header.go`).
    pub(crate) fn fill(&self, header: &mut Option<PbResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        let revision = if revision == 0 {
            self.store.revision()
        } else {
            revision
        };
        *header = Some(self.identity.header(revision));
    }

    /// Changes the store and tells the watches what happened.
    pub(crate) fn mutate<T>(
        &mut self,
        change: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let before = self.store.revision();
        self.raft_index += 1;
        let result = change(&mut self.store);
        let revision = self.store.revision();
        if revision > before {
            for listener in &self.listeners {
                self.store.events(before + 1).for_each(listener);
            }
            self.watches.notify(&self.store, revision);
        }
        result
    }

    /// An id for a lease that nobody has: positive, and too large for a number
    /// of JSON, as etcd's are (`pkg/idutil`).
    pub(crate) fn next_lease_id(&mut self) -> LeaseId {
        let member = i64::try_from(self.identity.member_id & 0x7fff).unwrap_or(0);
        self.leases_granted += 1;
        LeaseId(member.max(1) << 48 | self.leases_granted << 8)
    }

    /// Revokes leases whose time is over; whether there were any.
    pub(super) fn revoke_expired(&mut self, now: Duration) -> bool {
        let expired = self.store.expired(now, EXPIRED_MAX);
        for &id in &expired {
            self.mutate(|store| store.lease_revoke(id))
                .expect("an expired lease exists");
        }
        !expired.is_empty()
    }

    /// Loses what a crash loses; see [`Member::crash`](super::Member::crash). Who
    /// is to be woken for that, without a lock.
    #[must_use]
    pub(super) fn lose_volatile(&mut self) -> Vec<Waker> {
        self.identity.term += 1;
        self.store.demote();
        self.watches.close_all(self.identity)
    }
}

/// Refuses a message that gRPC itself would refuse, in the words of grpc-go.
pub(crate) fn receive_limit(
    message: &impl prost::Message,
    request_bytes_max: usize,
) -> Result<(), Status> {
    let (size, max) = (
        message.encoded_len(),
        request_bytes_max + GRPC_OVERHEAD_BYTES,
    );
    if size > max {
        let text = format!("grpc: received message larger than max ({size} vs. {max})");
        return Err(Status::resource_exhausted(text));
    }
    Ok(())
}
