//! Leases: grant, revoke, keep alive, list.

use std::pin::pin;

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
    PbLeaseService, PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
    PbResponseHeader,
};
use futures_util::future::{Either, select};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::{Caller, answer};
use crate::auth::{Access, AuthError};
use crate::cluster::{Command, Member, Outcome};
use crate::store::{LeaseId, Store};

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

    /// The header of the answer to a grant or a revocation: of the moment at which it
    /// was carried out, whatever the member has applied since (`newHeader` in etcd's
    /// `server/etcdserver/apply`).
    fn header_at(&self, revision: i64) -> PbResponseHeader {
        self.member.lock().identity().header(revision)
    }

    /// Whether whoever sent these metadata has logged in, and may read the keys of these
    /// leases.
    async fn permits(&self, metadata: &MetadataMap, leases: &[LeaseId]) -> Result<(), AuthError> {
        let member = &self.member;
        member.permits_leases(metadata, Access::Read, leases).await
    }
}

#[tonic::async_trait]
impl PbLeaseService for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let caller = request.extensions().get::<Caller>().copied();
        let (metadata, _, request) = request.into_parts();
        let PbLeaseGrantRequest { ttl, id } = request;
        let id = match id {
            0 => self.member.lock().next_lease_id(),
            id => LeaseId(id),
        };
        if self.member.checks().guards_all {
            self.permits(&metadata, &[]).await?;
        }
        if let Some(Caller(client)) = caller {
            self.member.lock().note_caller(id, client);
        }
        let executed = self
            .member
            .propose_for(&metadata, Command::Grant { id, ttl })
            .await?;
        let ttl = match executed.outcome? {
            Outcome::Granted { ttl } => ttl,
            _ => return Err(Status::internal("another kind of outcome")),
        };
        let message = PbLeaseGrantResponse {
            header: Some(self.header_at(executed.revision)),
            id: id.0,
            ttl,
            error: String::new(),
        };
        Ok(answer(message, executed.applied))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        if self.member.checks().guards_all {
            self.permits(&metadata, &[]).await?;
        }
        let revoke = Command::Revoke(LeaseId(request.id));
        let executed = self.member.propose_for(&metadata, revoke).await?;
        executed.outcome?;
        let message = PbLeaseRevokeResponse {
            header: Some(self.header_at(executed.revision)),
        };
        Ok(answer(message, executed.applied))
    }

    type LeaseKeepAliveStream = ReceiverStream<Result<PbLeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let (metadata, _, requests) = request.into_parts();
        let member = self.member.clone();
        self.member
            .spawn(keep_alive(member, metadata, requests, answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let PbLeaseTimeToLiveRequest { id, keys } = request;
        let checks = self.member.checks();
        if keys && checks.keys_of_leases {
            self.permits(&metadata, &[LeaseId(id)]).await?;
        } else if checks.guards_all {
            self.permits(&metadata, &[]).await?;
        }
        let look = |store: &Store, now| store.lease_status(now, LeaseId(id));
        let status = self.member.ask_of_lease(look).await?;
        let header = Some(self.member.lock().header());
        let message = match status {
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
        request: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let leases = self.member.leases().await?;
        if self.member.checks().guards_all {
            self.permits(request.metadata(), &leases).await?;
        }
        let leases = leases.into_iter().map(|id| PbLeaseStatus { id: id.0 });
        let message = PbLeaseLeasesResponse {
            header: Some(self.member.lock().header()),
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
    metadata: MetadataMap,
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
            if member.checks().guards_all {
                let ids = [LeaseId(id)];
                let permitted = member.permits_leases(&metadata, Access::Write, &ids);
                if let Err(refused) = permitted.await {
                    return drop(answers.send(Err(refused.into())).await);
                }
            }
            // The header is made before the renewal: its revision must not lie
            // behind a revocation that overtakes it.
            let header = Some(member.lock().header());
            let message = match member.renew(LeaseId(id)).await {
                Ok(ttl) => PbLeaseKeepAliveResponse { header, id, ttl },
                Err(error) => return drop(answers.send(Err(error.into())).await),
            };
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
