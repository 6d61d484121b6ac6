//! What a member says about itself.

use etcd_client::proto::{
    PbAlarmMember, PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse,
    PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
};
use tonic::{Request, Response, Status};

use super::{left_out, unknown_method};
use crate::cluster::Member;
use crate::version::Version;

/// The alarm of a full database, `NOSPACE` in etcd's `rpc.proto`.
const NO_SPACE: i32 = 1;

const NAME: &str = "etcdserverpb.Maintenance";

/// The service `etcdserverpb.Maintenance`: status, hash, alarms and an
/// empty answer about defragmentation.
#[derive(Debug)]
pub(super) struct MaintenanceService {
    member: Member,
}

impl MaintenanceService {
    pub(super) fn new(member: Member) -> Self {
        MaintenanceService { member }
    }
}

#[tonic::async_trait]
impl PbMaintenanceService for MaintenanceService {
    async fn alarm(&self, _: Request<PbAlarmRequest>) -> Result<Response<PbAlarmResponse>, Status> {
        let guard = self.member.lock();
        let alarm = PbAlarmMember {
            member_id: guard.identity().member_id,
            alarm: NO_SPACE,
        };
        Ok(Response::new(PbAlarmResponse {
            header: Some(guard.header()),
            alarms: guard.is_full().then_some(alarm).into_iter().collect(),
        }))
    }

    async fn status(
        &self,
        _: Request<PbStatusRequest>,
    ) -> Result<Response<PbStatusResponse>, Status> {
        let state = self.member.lock();
        Ok(Response::new(PbStatusResponse {
            header: Some(state.header()),
            version: self.member.options().version.to_string(),
            leader: state.leader_id(),
            raft_index: state.raft_index(),
            raft_applied_index: state.raft_index(),
            raft_term: state.identity().term,
            ..Default::default()
        }))
    }

    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        let header = Some(self.member.lock().header());
        Ok(Response::new(PbDefragmentResponse { header }))
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        let state = self.member.lock();
        let hash = state.view().store.hash(0)?;
        Ok(Response::new(PbHashResponse {
            header: Some(state.header()),
            hash,
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<PbHashKvRequest>,
    ) -> Result<Response<PbHashKvResponse>, Status> {
        let revision = request.into_inner().revision;
        let state = self.member.lock();
        let hash_revision = if revision == 0 {
            state.view().store.revision()
        } else {
            revision
        };
        Ok(Response::new(PbHashKvResponse {
            header: Some(state.header()),
            hash: state.view().store.hash(revision)?,
            compact_revision: state.view().store.compacted_revision(),
            hash_revision,
        }))
    }

    type SnapshotStream = tokio_stream::Empty<Result<PbSnapshotResponse, Status>>;

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(left_out(NAME, "Snapshot"))
    }

    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Err(left_out(NAME, "MoveLeader"))
    }

    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        if self.member.options().version < Version::new(3, 5, 0) {
            return Err(unknown_method(NAME, "Downgrade"));
        }
        Err(left_out(NAME, "Downgrade"))
    }
}
