//! Leases: grant, revoke, keep alive, list.

use std::pin::pin;

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
    PbLeaseService, PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
};
use futures_util::future::{Either, select};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{answer, refusal};
use crate::cluster::{Member, now};
use crate::store::LeaseId;

/// How many answers to keep-alives wait for the client before the next
/// keep-alive is read.
const ANSWERS_MAX: usize = 16;

/// The service `etcdserverpb.Lease`.
#[derive(Debug)]
pub(super) struct LeaseService {
    member: Member,
}

impl LeaseService {
    pub(super) fn new(member: Member) -> Self {
        LeaseService { member }
    }
}

#[tonic::async_trait]
impl PbLeaseService for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let PbLeaseGrantRequest { ttl, id } = request.into_inner();
        let mut state = self.member.lock();
        let id = if id == 0 {
            state.next_lease_id()
        } else {
            LeaseId(id)
        };
        let ttl = state
            .mutate(|store| store.lease_grant(now(), id, ttl))
            .map_err(refusal)?;
        let header = Some(state.header());
        let revision = state.store.revision();
        let message = PbLeaseGrantResponse {
            header,
            id: id.0,
            ttl,
            error: String::new(),
        };
        Ok(answer(message, Some(revision)))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let id = LeaseId(request.into_inner().id);
        let mut state = self.member.lock();
        state
            .mutate(|store| store.lease_revoke(id))
            .map_err(refusal)?;
        let message = PbLeaseRevokeResponse {
            header: Some(state.header()),
        };
        let revision = state.store.revision();
        drop(state);
        self.member.wake_renewals();
        self.member.wake_victims();
        Ok(answer(message, Some(revision)))
    }

    type LeaseKeepAliveStream = ReceiverStream<Result<PbLeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        self.member.spawn(keep_alive(
            self.member.clone(),
            request.into_inner(),
            answers,
        ));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let PbLeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let state = self.member.lock();
        let header = Some(state.header());
        let message = match state.store.lease_status(now(), LeaseId(id)) {
            Some(status) => PbLeaseTimeToLiveResponse {
                header,
                id,
                ttl: i64::try_from(status.remaining.as_secs()).unwrap_or(i64::MAX),
                granted_ttl: status.granted_ttl,
                keys: if keys { status.keys } else { Vec::new() },
            },
            None => PbLeaseTimeToLiveResponse {
                header,
                id,
                ttl: -1,
                ..Default::default()
            },
        };
        Ok(Response::new(message))
    }

    async fn lease_leases(
        &self,
        _: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let state = self.member.lock();
        let leases = state
            .store
            .leases()
            .into_iter()
            .map(|id| PbLeaseStatus { id: id.0 });
        let message = PbLeaseLeasesResponse {
            header: Some(state.header()),
            leases: leases.collect(),
        };
        Ok(Response::new(message))
    }
}

/// Answers the keep-alives of one stream, one after the other, until either
/// side ends it. A lease that is gone is answered with a time to live of 0
/// (`leaseKeepAlive` in etcd's `server/etcdserver/api/v3rpc/lease.go`).
async fn keep_alive(
    member: Member,
    mut requests: Streaming<PbLeaseKeepAliveRequest>,
    answers: mpsc::Sender<Result<PbLeaseKeepAliveResponse, Status>>,
) {
    let serve = pin!(async {
        loop {
            let id = match requests.message().await {
                Ok(Some(request)) => request.id,
                Ok(None) => return,
                Err(status) => return drop(answers.send(Err(status)).await),
            };
            // The header is made before the renewal: its revision must not lie
            // behind a revocation that overtakes it.
            let header = Some(member.lock().header());
            let ttl = renew(&member, LeaseId(id)).await;
            let message = PbLeaseKeepAliveResponse { header, id, ttl };
            if answers.send(Ok(message)).await.is_err() {
                return;
            }
        }
    });
    let gone = pin!(answers.closed());
    match select(serve, gone).await {
        Either::Left(_) | Either::Right(_) => {}
    }
}

/// Starts the time of a lease anew; its time to live, 0 when it is gone. A
/// lease that has expired is not saved: the answer waits until it is revoked
/// (`lessor.Renew` in etcd's `server/lease/lessor.go`).
async fn renew(member: &Member, id: LeaseId) -> i64 {
    loop {
        let revocation = member.revocation();
        {
            let mut state = member.lock();
            if !state.store.is_expired(now(), id) {
                return state.store.lease_keep_alive(now(), id).unwrap_or(0);
            }
        }
        revocation.await;
    }
}
