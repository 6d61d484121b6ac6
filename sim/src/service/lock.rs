//! Locks within the server, for clients that have no recipes.
//!
//! etcd's service runs the Go recipe `Mutex` for its caller
//! (`server/etcdserver/api/v3lock/lock.go`): the key is `NAME/LEASE`, the lease in
//! hexadecimal, and who created its key first holds the lock.

use std::sync::Arc;

use etcd_client::proto::{PbLockResponse, PbResponseHeader, PbTxnOpRequest, PbUnlockResponse};
use tonic::body::Body;
use tonic::{Request, Response, Status};

use super::method::{Answered, unary, unknown};
use super::recipe::{
    Inside, Recipe, below, first_created, found, get, if_created_at, key_of, put, revision,
};

/// The service `v3lockpb.Lock`.
#[derive(Clone, Debug)]
pub(super) struct LockService {
    inside: Inside,
}

/// `LockRequest` of etcd's `v3lock.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct LockRequest {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(int64, tag = "2")]
    lease: i64,
}

/// `UnlockRequest` of etcd's `v3lock.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct UnlockRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

impl LockService {
    pub(super) fn new(inside: Inside) -> Self {
        LockService { inside }
    }

    /// Answers a call by its path.
    pub(super) fn call(self: Arc<Self>, request: http::Request<Body>) -> Answered {
        match request.uri().path().rsplit('/').next().unwrap_or_default() {
            "Lock" => unary(request, move |request| Arc::clone(&self).lock(request)),
            "Unlock" => unary(request, move |request| Arc::clone(&self).unlock(request)),
            _ => unknown(&request),
        }
    }

    async fn lock(
        self: Arc<Self>,
        request: Request<LockRequest>,
    ) -> Result<Response<PbLockResponse>, Status> {
        let (metadata, _, LockRequest { name, lease }) = request.into_parts();
        let recipe = self.inside.called(metadata);
        let lease = recipe.session(lease).await?;
        let prefix = below(&name);
        let key = key_of(&prefix, lease);
        let header = acquire(&recipe, &prefix, &key, lease).await?;
        Ok(Response::new(PbLockResponse { header, key }))
    }

    async fn unlock(
        self: Arc<Self>,
        request: Request<UnlockRequest>,
    ) -> Result<Response<PbUnlockResponse>, Status> {
        let (metadata, _, UnlockRequest { key }) = request.into_parts();
        let header = self.inside.called(metadata).delete(key).await?;
        Ok(Response::new(PbUnlockResponse { header }))
    }
}

/// Creates the key and waits for all that were there before (`Mutex.Lock` in etcd's
/// `client/v3/concurrency/mutex.go`).
async fn acquire(
    recipe: &Recipe,
    prefix: &[u8],
    key: &[u8],
    lease: i64,
) -> Result<Option<PbResponseHeader>, Status> {
    let owner = || PbTxnOpRequest::RequestRange(first_created(prefix));
    let create = if_created_at(
        key,
        0,
        vec![put(key, Vec::new(), lease), owner()],
        vec![PbTxnOpRequest::RequestRange(get(key)), owner()],
    );
    let answer = recipe.txn(create).await?;
    let created_at = match found(&answer, 0) {
        Some(own) if !answer.succeeded => own.create_revision,
        _ => revision(answer.header.as_ref()),
    };
    if found(&answer, 1).is_none_or(|owner| owner.create_revision == created_at) {
        return Ok(answer.header);
    }
    let waiting = Waiting::new(recipe, key);
    let mut header = recipe.wait_deletes(prefix, created_at - 1).await?;
    // Since 3.5 it looks whether its own key is still there.
    if recipe.inside.member.options().is_at_least(3, 5) {
        let own = recipe.get(get(key)).await?;
        if own.kvs.is_empty() {
            waiting.end();
            return Err(Status::unknown("mutex: session is expired"));
        }
        header = own.header;
    }
    waiting.end();
    Ok(header)
}

/// Whoever waits for a lock deletes its key when the wait fails, or its caller goes
/// away. That happens in the name of nobody: where users are checked the key stays
/// until its lease ends.
struct Waiting {
    recipe: Recipe,
    key: Option<Vec<u8>>,
}

impl Waiting {
    fn new(recipe: &Recipe, key: &[u8]) -> Waiting {
        Waiting {
            recipe: recipe.without_caller(),
            key: Some(key.to_vec()),
        }
    }

    fn end(mut self) {
        self.key = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let recipe = self.recipe.clone();
            let member = recipe.inside.member.clone();
            member.spawn(async move {
                let _refused = recipe.delete(key).await;
            });
        }
    }
}
