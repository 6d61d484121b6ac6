//! Elections within the server, for clients that have no recipes.
//!
//! etcd's service runs the Go recipe `Election` for its caller
//! (`server/etcdserver/api/v3election/election.go`): a candidate's key is
//! `NAME/LEASE`, the lease in hexadecimal, its value the proclamation, and who
//! created its key first leads.

use std::sync::Arc;

use etcd_client::proto::{
    PbCampaignResponse, PbDeleteRequest, PbKeyValue, PbLeaderKey, PbLeaderResponse,
    PbProclaimResponse, PbResignResponse, PbResponseHeader, PbTxnOpRequest,
};
use futures_util::future::{Either, select};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::{Request, Response, Status};

use super::method::{Answered, server_streaming, unary, unknown};
use super::recipe::{
    Inside, Recipe, below, end_of, first_created, found, get, if_created_at, key_of, put, revision,
};
use crate::store::{EVENT_DELETE, EVENT_PUT};

/// The service `v3electionpb.Election`.
#[derive(Clone, Debug)]
pub(super) struct ElectionService {
    inside: Inside,
}

/// `CampaignRequest` of etcd's `v3election.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct CampaignRequest {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(int64, tag = "2")]
    lease: i64,
    #[prost(bytes = "vec", tag = "3")]
    value: Vec<u8>,
}

/// `LeaderRequest` of etcd's `v3election.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct LeaderRequest {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
}

/// `ResignRequest` of etcd's `v3election.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct ResignRequest {
    #[prost(message, optional, tag = "1")]
    leader: Option<PbLeaderKey>,
}

/// `ProclaimRequest` of etcd's `v3election.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct ProclaimRequest {
    #[prost(message, optional, tag = "1")]
    leader: Option<PbLeaderKey>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

type Observed = ReceiverStream<Result<PbLeaderResponse, Status>>;

impl ElectionService {
    pub(super) fn new(inside: Inside) -> Self {
        ElectionService { inside }
    }

    /// Answers a call by its path.
    pub(super) fn call(self: Arc<Self>, request: http::Request<Body>) -> Answered {
        match request.uri().path().rsplit('/').next().unwrap_or_default() {
            "Campaign" => unary(request, move |request| Arc::clone(&self).campaign(request)),
            "Proclaim" => unary(request, move |request| Arc::clone(&self).proclaim(request)),
            "Leader" => unary(request, move |request| Arc::clone(&self).leader(request)),
            "Resign" => unary(request, move |request| Arc::clone(&self).resign(request)),
            "Observe" => server_streaming(request, move |request| {
                let observed = self.observe(request);
                std::future::ready(Ok(Response::new(observed)))
            }),
            _ => unknown(&request),
        }
    }

    async fn campaign(
        self: Arc<Self>,
        request: Request<CampaignRequest>,
    ) -> Result<Response<PbCampaignResponse>, Status> {
        let (metadata, _, CampaignRequest { name, lease, value }) = request.into_parts();
        let recipe = self.inside.called(metadata);
        let lease = recipe.session(lease).await?;
        let prefix = below(&name);
        let key = key_of(&prefix, lease);
        let create = if_created_at(
            &key,
            0,
            vec![put(&key, value.clone(), lease)],
            vec![PbTxnOpRequest::RequestRange(get(&key))],
        );
        let answer = recipe.txn(create).await?;
        let mut candidate = PbLeaderKey {
            name,
            key,
            rev: revision(answer.header.as_ref()),
            lease,
        };
        if !answer.succeeded
            && let Some(own) = found(&answer, 0)
        {
            candidate.rev = own.create_revision;
            if own.value != value
                && let Err(refused) = proclaim(&recipe, &candidate, value).await
            {
                let _given_up = resign(&recipe, &candidate).await;
                return Err(refused);
            }
        }
        let waiting = Waiting::new(&recipe, &candidate);
        let waited = recipe.wait_deletes(&prefix, candidate.rev - 1).await;
        // Only a caller that goes away while it waits takes its key with it.
        waiting.end();
        waited?;
        Ok(Response::new(PbCampaignResponse {
            header: answer.header,
            leader: Some(candidate),
        }))
    }

    async fn proclaim(
        self: Arc<Self>,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<PbProclaimResponse>, Status> {
        let (metadata, _, ProclaimRequest { leader, value }) = request.into_parts();
        let leader = leader.ok_or_else(no_leader_key)?;
        let recipe = self.inside.called(metadata);
        let leader = with_session(&recipe, leader).await?;
        let header = proclaim(&recipe, &leader, value).await?;
        Ok(Response::new(PbProclaimResponse { header }))
    }

    async fn resign(
        self: Arc<Self>,
        request: Request<ResignRequest>,
    ) -> Result<Response<PbResignResponse>, Status> {
        let (metadata, _, ResignRequest { leader }) = request.into_parts();
        let leader = leader.ok_or_else(no_leader_key)?;
        let recipe = self.inside.called(metadata);
        let leader = with_session(&recipe, leader).await?;
        let header = resign(&recipe, &leader).await?;
        Ok(Response::new(PbResignResponse { header }))
    }

    async fn leader(
        self: Arc<Self>,
        request: Request<LeaderRequest>,
    ) -> Result<Response<PbLeaderResponse>, Status> {
        let (metadata, _, LeaderRequest { name }) = request.into_parts();
        let recipe = self.inside.called(metadata);
        let answer = recipe.get(first_created(&below(&name))).await?;
        let Some(leader) = answer.kvs.into_iter().next() else {
            return Err(Status::unknown("election: no leader"));
        };
        Ok(Response::new(PbLeaderResponse {
            header: answer.header,
            kv: Some(leader),
        }))
    }

    fn observe(&self, request: Request<LeaderRequest>) -> Observed {
        let (metadata, _, LeaderRequest { name }) = request.into_parts();
        let recipe = self.inside.called(metadata);
        let (send, observed) = mpsc::channel(1);
        let member = self.inside.member.clone();
        member.spawn(async move {
            let gone = send.clone();
            let gone = std::pin::pin!(gone.closed());
            let prefix = below(&name);
            let observe = std::pin::pin!(observe(&recipe, &prefix, &send));
            match select(observe, gone).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        });
        ReceiverStream::new(observed)
    }
}

fn no_leader_key() -> Status {
    Status::unknown(r#""leader" field must be provided"#)
}

/// Like Go's, a call about a leader without a lease takes a session of its own.
async fn with_session(recipe: &Recipe, leader: PbLeaderKey) -> Result<PbLeaderKey, Status> {
    let lease = recipe.session(leader.lease).await?;
    Ok(PbLeaderKey { lease, ..leader })
}

/// Puts another value, if the candidate's key is still there (`Election.Proclaim`).
async fn proclaim(
    recipe: &Recipe,
    leader: &PbLeaderKey,
    value: Vec<u8>,
) -> Result<Option<PbResponseHeader>, Status> {
    let put = put(&leader.key, value, leader.lease);
    let txn = if_created_at(&leader.key, leader.rev, vec![put], Vec::new());
    let answer = recipe.txn(txn).await?;
    if answer.succeeded {
        Ok(answer.header)
    } else {
        Err(Status::unknown("election: not leader"))
    }
}

/// Deletes the candidate's key, if it is still that one (`Election.Resign`).
async fn resign(recipe: &Recipe, leader: &PbLeaderKey) -> Result<Option<PbResponseHeader>, Status> {
    let delete = PbTxnOpRequest::RequestDeleteRange(PbDeleteRequest {
        key: leader.key.clone(),
        ..Default::default()
    });
    let txn = if_created_at(&leader.key, leader.rev, vec![delete], Vec::new());
    Ok(recipe.txn(txn).await?.header)
}

type Listener = mpsc::Sender<Result<PbLeaderResponse, Status>>;

/// Tells of leaders and what they proclaim, until something fails or nobody listens
/// (`Election.observe`). Like Go's it can miss some, and ends without a reason.
async fn observe(recipe: &Recipe, prefix: &[u8], listener: &Listener) -> Option<()> {
    loop {
        let answer = recipe.get(first_created(prefix)).await.ok()?;
        let header = answer.header?;
        let (header, leader) = match answer.kvs.into_iter().next() {
            Some(leader) => (header, leader),
            None => first_put(recipe, prefix, header.revision).await?,
        };
        let (key, from) = (leader.key.clone(), header.revision + 1);
        tell(listener, header, leader).await?;
        follow(recipe, key, from, listener).await?;
    }
}

/// The first candidate that comes.
async fn first_put(
    recipe: &Recipe,
    prefix: &[u8],
    from: i64,
) -> Option<(PbResponseHeader, PbKeyValue)> {
    let mut watch = recipe.watch(prefix.to_vec(), end_of(prefix), from).await;
    loop {
        let answer = watch.next().await.filter(|answer| !answer.canceled)?;
        let mut events = answer.events.into_iter();
        if let Some(put) = events.find(|event| event.r#type == EVENT_PUT) {
            let (mut header, leader) = (answer.header?, put.kv?);
            header.revision = leader.mod_revision;
            return Some((header, leader));
        }
    }
}

/// Tells what a leader proclaims until its key is deleted.
async fn follow(recipe: &Recipe, key: Vec<u8>, from: i64, listener: &Listener) -> Option<()> {
    let mut watch = recipe.watch(key, Vec::new(), from).await;
    loop {
        let answer = watch.next().await.filter(|answer| !answer.canceled)?;
        for event in answer.events {
            if event.r#type == EVENT_DELETE {
                return Some(());
            }
            tell(listener, answer.header?, event.kv?).await?;
        }
    }
}

async fn tell(listener: &Listener, header: PbResponseHeader, leader: PbKeyValue) -> Option<()> {
    let answer = PbLeaderResponse {
        header: Some(header),
        kv: Some(leader),
    };
    listener.send(Ok(answer)).await.ok()
}

/// A candidate whose caller goes away resigns. That happens in the name of nobody:
/// where users are checked the key stays until its lease ends.
struct Waiting {
    recipe: Recipe,
    candidate: Option<PbLeaderKey>,
}

impl Waiting {
    fn new(recipe: &Recipe, candidate: &PbLeaderKey) -> Waiting {
        Waiting {
            recipe: recipe.without_caller(),
            candidate: Some(candidate.clone()),
        }
    }

    fn end(mut self) {
        self.candidate = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(candidate) = self.candidate.take() {
            let recipe = self.recipe.clone();
            let member = recipe.inside.member.clone();
            member.spawn(async move {
                let _refused = resign(&recipe, &candidate).await;
            });
        }
    }
}
