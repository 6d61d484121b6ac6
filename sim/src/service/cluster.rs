//! Who belongs to the cluster.

use etcd_client::proto::{
    PbClusterService, PbMember, PbMemberAddRequest, PbMemberAddResponse, PbMemberListRequest,
    PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse, PbMemberRemoveRequest,
    PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse,
};
use tonic::{Request, Response, Status};

use super::left_out;
use crate::cluster::Member;

const NAME: &str = "etcdserverpb.Cluster";

/// The service `etcdserverpb.Cluster`: the list of members.
#[derive(Debug)]
pub(super) struct ClusterService {
    member: Member,
}

impl ClusterService {
    pub(super) fn new(member: Member) -> Self {
        ClusterService { member }
    }
}

#[tonic::async_trait]
impl PbClusterService for ClusterService {
    async fn member_add(
        &self,
        _: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        Err(left_out(NAME, "MemberAdd"))
    }

    async fn member_remove(
        &self,
        _: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        Err(left_out(NAME, "MemberRemove"))
    }

    async fn member_update(
        &self,
        _: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        Err(left_out(NAME, "MemberUpdate"))
    }

    async fn member_list(
        &self,
        _: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        let members = self.member.cluster().members().map(|member| {
            let options = member.options();
            PbMember {
                id: options.member_id,
                name: options.name.clone(),
                peer_ur_ls: vec![format!("http://{}:2380", options.name)],
                client_ur_ls: vec![member.client_url()],
                is_learner: false,
            }
        });
        // The list comes without a revision, as in etcd
        // (`server/etcdserver/api/v3rpc/member.go`).
        let header = Some(self.member.lock().identity().header(0));
        Ok(Response::new(PbMemberListResponse {
            header,
            members: members.collect(),
        }))
    }

    async fn member_promote(
        &self,
        _: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        Err(left_out(NAME, "MemberPromote"))
    }
}
