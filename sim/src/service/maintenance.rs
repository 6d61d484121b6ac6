//! What a member says about itself, and what can be done to it.

use etcd_client::proto::{
    PbAlarmMember, PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse,
    PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::{answer, left_out, unknown_method};
use crate::auth::AuthError;
use crate::cluster::{ClusterError, Command, Executed, Member, NO_SPACE, NONE, Outcome};
use crate::store::Store;
use crate::version::Version;

/// Looking at alarms, `GET` in etcd's `rpc.proto`.
const ALARM_GET: i32 = 0;

/// What can be done about a downgrade.
const VALIDATE: i32 = 0;
const ENABLE: i32 = 1;
const CANCEL: i32 = 2;

const NAME: &str = "etcdserverpb.Maintenance";

/// How many bytes of a snapshot are sent at a time (`snapshotSendBufferSize` in etcd's
/// `server/etcdserver/api/v3rpc/maintenance.go`).
const SNAPSHOT_CHUNK: usize = 32 * 1024;
/// A snapshot is a whole number of these, as a file of bbolt is; clients know by that
/// whether the hash at its end is there.
const PAGE: usize = 4096;
/// How a snapshot begins: it is none of bbolt, and nothing can be restored from it.
const SNAPSHOT_MARK: &[u8] = b"etcd-sim snapshot 1\n";

/// The last compaction where there was none.
const NEVER_COMPACTED: i64 = -1;

/// The quota of a database (`DefaultQuotaBytes` in etcd's `server/storage/quota.go`).
const QUOTA: i64 = 2 * 1024 * 1024 * 1024;

/// The service `etcdserverpb.Maintenance`.
#[derive(Debug)]
pub(super) struct MaintenanceService {
    member: Member,
}

impl MaintenanceService {
    pub(super) fn new(member: Member) -> Self {
        MaintenanceService { member }
    }

    /// Whether the caller may look at all data and do what blocks the member. Before
    /// 3.6 refusals come as etcd has them inside, without a code of their own.
    async fn permits_admin(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let permitted = self.member.permits_admin(metadata).await;
        permitted.map_err(|refused: AuthError| {
            if self.member.options().is_at_least(3, 6) {
                refused.into()
            } else {
                Status::unknown(refused.internal())
            }
        })
    }

    /// Whether all members could become of this release, if they could: the release before
    /// (`downgradeValidate` in etcd's `server/etcdserver/v3_server.go`). What the cluster
    /// is now.
    async fn validate_downgrade(&self, target: &str) -> Result<String, Status> {
        let parsed = target.parse().or_else(|_| format!("{target}.0").parse());
        let target: Version = parsed.map_err(|_| {
            Status::invalid_argument("etcdserver: wrong downgrade target version format")
        })?;
        self.member.confirm_read().await?;
        if !target.is_just_before(self.member.version()) {
            let text = "etcdserver: invalid downgrade target version";
            return Err(Status::invalid_argument(text));
        }
        Ok(self.member.options().minor_version())
    }

    /// All keys as they are now, and the hash of that.
    fn snapshot_messages(&self) -> Vec<PbSnapshotResponse> {
        let mut blob = SNAPSHOT_MARK.to_vec();
        {
            let guard = self.member.lock();
            for record in guard.view().store.current() {
                let key_value = record.key_value();
                key_value
                    .encode_length_delimited(&mut blob)
                    .expect("a vector grows as needed");
            }
        }
        blob.resize(blob.len().next_multiple_of(PAGE), 0);
        let hash = Sha256::digest(&blob).to_vec();
        let mut remaining = blob.len();
        let chunks = blob.chunks(SNAPSHOT_CHUNK).map(|chunk| {
            remaining -= chunk.len();
            self.snapshot_message(remaining as u64, chunk.to_vec())
        });
        let mut messages: Vec<_> = chunks.collect();
        messages.push(self.snapshot_message(0, hash));
        messages
    }

    fn snapshot_message(&self, remaining_bytes: u64, blob: Vec<u8>) -> PbSnapshotResponse {
        let is_3_6 = self.member.options().is_at_least(3, 6);
        PbSnapshotResponse {
            remaining_bytes,
            blob,
            version: if is_3_6 {
                self.member.version().to_string()
            } else {
                String::new()
            },
            ..Default::default()
        }
    }
}

/// An alarm as Go prints it: a field that is 0 is not written (`String` of etcd's
/// messages).
fn shown(alarm: &PbAlarmMember) -> String {
    let member = match alarm.member_id {
        0 => String::new(),
        id => format!("memberID:{id} "),
    };
    let name = match alarm.alarm {
        NONE => "",
        NO_SPACE => "alarm:NOSPACE ",
        _ => "alarm:CORRUPT ",
    };
    member + name
}

#[tonic::async_trait]
impl PbMaintenanceService for MaintenanceService {
    async fn alarm(
        &self,
        request: Request<PbAlarmRequest>,
    ) -> Result<Response<PbAlarmResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let checks = self.member.checks();
        if checks.guards_all {
            let by_users = checks.users_look && request.action == ALARM_GET;
            self.member.permits_look(&metadata, by_users).await?;
        }
        if !self.member.options().is_at_least(3, 5) {
            // What is refused comes as etcd has it inside, without a code of its own.
            let caller = self.member.caller(&metadata).await;
            caller.map_err(|refused| Status::unknown(refused.internal()))?;
        }
        let command = Command::Alarm(request);
        let Executed {
            outcome, applied, ..
        } = self.member.propose_for(&metadata, command).await?;
        match outcome? {
            Outcome::Alarms(alarms) => {
                let has_header = self.member.options().is_at_least(3, 5);
                let header = has_header.then(|| self.member.lock().header());
                Ok(answer(PbAlarmResponse { header, alarms }, applied))
            }
            _ => Err(Status::internal("another kind of outcome")),
        }
    }

    async fn status(
        &self,
        request: Request<PbStatusRequest>,
    ) -> Result<Response<PbStatusResponse>, Status> {
        let checks = self.member.checks();
        if checks.status {
            let by_users = checks.status_of_users;
            self.member
                .permits_look(request.metadata(), by_users)
                .await?;
        }
        let mut state = self.member.lock();
        let (db_size, db_size_in_use) = state.db_size();
        let leader = state.leader_id();
        let no_leader = (leader == 0).then(|| ClusterError::NoLeader.to_string());
        let alarms = state.alarms();
        let is_3_6 = self.member.options().is_at_least(3, 6);
        Ok(Response::new(PbStatusResponse {
            header: Some(state.header()),
            version: self.member.version().to_string(),
            db_size,
            db_size_in_use,
            leader,
            raft_index: state.raft_index(),
            raft_applied_index: state.raft_index(),
            raft_term: state.identity().term,
            errors: no_leader
                .into_iter()
                .chain(alarms.iter().map(shown))
                .collect(),
            storage_version: if is_3_6 {
                self.member.options().minor_version()
            } else {
                String::new()
            },
            db_size_quota: if is_3_6 { QUOTA } else { 0 },
            ..Default::default()
        }))
    }

    async fn defragment(
        &self,
        request: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        self.permits_admin(request.metadata()).await?;
        self.member.lock().defragment();
        Ok(Response::new(PbDefragmentResponse::default()))
    }

    async fn hash(
        &self,
        request: Request<PbHashRequest>,
    ) -> Result<Response<PbHashResponse>, Status> {
        self.permits_admin(request.metadata()).await?;
        let state = self.member.lock();
        let view = state.view();
        let hash = view.store.hash_in(0, view.view)?;
        Ok(Response::new(PbHashResponse {
            header: Some(state.header()),
            hash,
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<PbHashKvRequest>,
    ) -> Result<Response<PbHashKvResponse>, Status> {
        self.permits_admin(request.metadata()).await?;
        let revision = request.into_inner().revision;
        let state = self.member.lock();
        if revision == 0 && state.remembers_hash_of_zero() {
            return Ok(Response::new(PbHashKvResponse {
                header: Some(state.header()),
                hash: Store::hash_of_nothing(),
                compact_revision: NEVER_COMPACTED,
                hash_revision: 0,
            }));
        }
        let view = state.view();
        let hash_revision = match revision {
            _ if !self.member.options().is_at_least(3, 6) => 0,
            0 => view.revision(),
            revision => revision,
        };
        Ok(Response::new(PbHashKvResponse {
            header: Some(state.header()),
            hash: view.store.hash_in(revision, view.view)?,
            compact_revision: view.compacted_revision(),
            hash_revision,
        }))
    }

    type SnapshotStream =
        tokio_stream::Iter<std::vec::IntoIter<Result<PbSnapshotResponse, Status>>>;

    async fn snapshot(
        &self,
        request: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        self.permits_admin(request.metadata()).await?;
        let messages: Vec<_> = self.snapshot_messages().into_iter().map(Ok).collect();
        Ok(Response::new(tokio_stream::iter(messages)))
    }

    async fn move_leader(
        &self,
        request: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        if self.member.checks().status {
            self.member.permits_admin(request.metadata()).await?;
        }
        self.member
            .move_leader(request.into_inner().target_id)
            .await?;
        Ok(Response::new(PbMoveLeaderResponse::default()))
    }

    async fn downgrade(
        &self,
        request: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        if self.member.options().version < Version::new(3, 5, 0) {
            return Err(unknown_method(NAME, "Downgrade"));
        }
        if self.member.checks().status {
            self.member.permits_admin(request.metadata()).await?;
        }
        let request = request.into_inner();
        match request.action {
            VALIDATE => Ok(Response::new(PbDowngradeResponse {
                version: self.validate_downgrade(&request.version).await?,
                header: Some(self.member.lock().header()),
            })),
            ENABLE => {
                self.validate_downgrade(&request.version).await?;
                Err(left_out(NAME, "Downgrade"))
            }
            CANCEL => {
                self.member.confirm_read().await?;
                let text = "etcdserver: no inflight downgrade job";
                Err(Status::failed_precondition(text))
            }
            _ => Err(Status::unknown("etcdserver: unknown method")),
        }
    }
}
