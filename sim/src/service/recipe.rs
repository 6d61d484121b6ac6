//! What the services for locks and elections share: etcd runs its Go recipes within
//! the server, on a client that reaches the services directly
//! (`client/v3/concurrency`, `server/etcdserver/api/v3client`).

use std::sync::Arc;

use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbKeyValue, PbKvService as _, PbLeaseGrantRequest, PbPutRequest,
    PbRangeRequest, PbRangeResponse, PbResponseHeader, PbTargetUnion, PbTxnOpRequest,
    PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Status};

use super::kv::KvService;
use super::lease::LeaseService;
use super::watch::OwnWatch;
use crate::cluster::{Member, WatchSpec};
use crate::store::EVENT_DELETE;

/// For how long the session of a caller without a lease lives, in seconds.
const SESSION_TTL: i64 = 60;

/// The numbers of etcd's `rpc.proto`.
const EQUAL: i32 = 0;
const CREATE: i32 = 1;
const ASCENDING: i32 = 1;
const DESCENDING: i32 = 2;
const BY_CREATE_REVISION: i32 = 2;

/// A client within the member.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    pub(super) member: Member,
    kv: Arc<KvService>,
    lease: Arc<LeaseService>,
}

/// The client for one call: what it asks is asked by whoever made that call.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) inside: Inside,
    metadata: MetadataMap,
}

impl Inside {
    pub(super) fn new(member: Member, kv: Arc<KvService>) -> Self {
        let lease = Arc::new(LeaseService::new(member.clone()));
        Inside { member, kv, lease }
    }

    /// For a call with these metadata.
    pub(super) fn called(&self, metadata: MetadataMap) -> Recipe {
        Recipe {
            inside: self.clone(),
            metadata,
        }
    }
}

impl Recipe {
    /// The same for the member itself: nobody's token is with what it asks.
    pub(super) fn without_caller(&self) -> Recipe {
        self.inside.called(MetadataMap::new())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.metadata.clone(), Extensions::default(), message)
    }

    /// The lease of a session: the given one, or a new one that lives for a minute
    /// and that nobody keeps alive.
    pub(super) async fn session(&self, lease: i64) -> Result<i64, Status> {
        use etcd_client::proto::PbLeaseService as _;

        if lease != 0 {
            return Ok(lease);
        }
        let grant = PbLeaseGrantRequest {
            ttl: SESSION_TTL,
            id: 0,
        };
        let granted = self.inside.lease.lease_grant(self.request(grant)).await;
        Ok(granted.map_err(codeless)?.into_inner().id)
    }

    pub(super) async fn get(&self, get: PbRangeRequest) -> Result<PbRangeResponse, Status> {
        let answer = self.inside.kv.range(self.request(get)).await;
        Ok(answer.map_err(codeless)?.into_inner())
    }

    pub(super) async fn txn(&self, txn: PbTxnRequest) -> Result<PbTxnResponse, Status> {
        let answer = self.inside.kv.txn(self.request(txn)).await;
        Ok(answer.map_err(codeless)?.into_inner())
    }

    pub(super) async fn delete(&self, key: Vec<u8>) -> Result<Option<PbResponseHeader>, Status> {
        let delete = PbDeleteRequest {
            key,
            ..Default::default()
        };
        let answer = self.inside.kv.delete_range(self.request(delete)).await;
        Ok(answer.map_err(codeless)?.into_inner().header)
    }

    pub(super) async fn watch(&self, key: Vec<u8>, range_end: Vec<u8>, from: i64) -> OwnWatch {
        let spec = WatchSpec {
            key,
            range_end,
            start_revision: from,
            ..WatchSpec::default()
        };
        OwnWatch::open(&self.inside.member, &self.metadata, spec).await
    }

    /// Waits until all keys below `prefix` are gone that were created at
    /// `max_create_revision` or earlier, one after the other from the last to the
    /// first (`waitDeletes`). The header of the read that found none.
    pub(super) async fn wait_deletes(
        &self,
        prefix: &[u8],
        max_create_revision: i64,
    ) -> Result<Option<PbResponseHeader>, Status> {
        loop {
            let last = PbRangeRequest {
                max_create_revision,
                sort_order: DESCENDING,
                ..first_created(prefix)
            };
            let answer = self.get(last).await?;
            let Some(last) = answer.kvs.into_iter().next() else {
                return Ok(answer.header);
            };
            let from = answer.header.map_or(0, |header| header.revision);
            self.wait_delete(last.key, from).await?;
        }
    }

    async fn wait_delete(&self, key: Vec<u8>, from: i64) -> Result<(), Status> {
        let mut watch = self.watch(key, Vec::new(), from).await;
        while let Some(answer) = watch.next().await {
            if answer.canceled {
                return Err(ended(&answer));
            }
            if answer
                .events
                .iter()
                .any(|event| event.r#type == EVENT_DELETE)
            {
                return Ok(());
            }
        }
        Err(Status::unknown("lost watcher waiting for delete"))
    }
}

/// Why a watch has ended, as the Go client says it.
pub(super) fn ended(answer: &etcd_client::proto::PbWatchResponse) -> Status {
    if answer.compact_revision != 0 {
        return Status::unknown("etcdserver: mvcc: required revision has been compacted");
    }
    if answer.cancel_reason.is_empty() {
        return Status::unknown("etcdserver: mvcc: required revision is a future revision");
    }
    Status::failed_precondition(answer.cancel_reason.clone())
}

/// An error as it comes out of a recipe: the client within the server loses the code.
#[expect(clippy::needless_pass_by_value, reason = "maps an error")]
fn codeless(status: Status) -> Status {
    Status::unknown(status.message())
}

/// Where the keys of a lock or an election are.
pub(super) fn below(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}

/// The key of a session below a prefix: the lease in hexadecimal, as Go prints it.
pub(super) fn key_of(prefix: &[u8], lease: i64) -> Vec<u8> {
    let sign = if lease < 0 { "-" } else { "" };
    let lease = format!("{sign}{:x}", lease.unsigned_abs());
    [prefix, lease.as_bytes()].concat()
}

/// A read of the key below a prefix that was created first.
pub(super) fn first_created(prefix: &[u8]) -> PbRangeRequest {
    PbRangeRequest {
        key: prefix.to_vec(),
        range_end: end_of(prefix),
        limit: 1,
        sort_order: ASCENDING,
        sort_target: BY_CREATE_REVISION,
        ..Default::default()
    }
}

/// A read of one key.
pub(super) fn get(key: &[u8]) -> PbRangeRequest {
    PbRangeRequest {
        key: key.to_vec(),
        ..Default::default()
    }
}

/// Where the keys below a prefix end (`getPrefix` in etcd's `client/v3/op.go`).
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// A transaction that does something if a key was created at a revision; 0: if there
/// is no such key.
pub(super) fn if_created_at(
    key: &[u8],
    revision: i64,
    then: Vec<PbTxnOpRequest>,
    otherwise: Vec<PbTxnOpRequest>,
) -> PbTxnRequest {
    let ops = |ops: Vec<PbTxnOpRequest>| {
        let op = |request| PbTxnRequestOp {
            request: Some(request),
        };
        ops.into_iter().map(op).collect()
    };
    PbTxnRequest {
        compare: vec![PbCompare {
            result: EQUAL,
            target: CREATE,
            key: key.to_vec(),
            target_union: Some(PbTargetUnion::CreateRevision(revision)),
            ..Default::default()
        }],
        success: ops(then),
        failure: ops(otherwise),
    }
}

/// A put of a session's key.
pub(super) fn put(key: &[u8], value: Vec<u8>, lease: i64) -> PbTxnOpRequest {
    PbTxnOpRequest::RequestPut(PbPutRequest {
        key: key.to_vec(),
        value,
        lease,
        ..Default::default()
    })
}

/// What the read at this place of a transaction has found first.
pub(super) fn found(answer: &PbTxnResponse, place: usize) -> Option<&PbKeyValue> {
    match &answer.responses.get(place)?.response {
        Some(PbTxnOpResponse::ResponseRange(range)) => range.kvs.first(),
        _ => None,
    }
}

/// The revision of an answer.
pub(super) fn revision(header: Option<&PbResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}
