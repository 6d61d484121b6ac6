//! Who belongs to the cluster.

use etcd_client::proto::{
    PbClusterService, PbMember, PbMemberAddRequest, PbMemberAddResponse, PbMemberListRequest,
    PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse, PbMemberRemoveRequest,
    PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse, PbResponseHeader,
};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::cluster::{Change, Listed, Member, age, id_of, peer_urls};
use crate::executor;

/// The service `etcdserverpb.Cluster`: the list of members and its changes. Members that
/// are added never start.
#[derive(Debug)]
pub(super) struct ClusterService {
    member: Member,
}

impl ClusterService {
    pub(super) fn new(member: Member) -> Self {
        ClusterService { member }
    }

    /// Changes the list for whoever may do that; the list after that.
    async fn change(
        &self,
        metadata: &MetadataMap,
        change: Change,
    ) -> Result<Vec<PbMember>, Status> {
        self.member.permits_admin(metadata).await?;
        let members = self.member.change_members(change).await?;
        Ok(members.iter().map(|member| self.message(member)).collect())
    }

    fn message(&self, listed: &Listed) -> PbMember {
        let cluster = self.member.cluster();
        let started = listed.process.map(|number| cluster.member(number));
        let name = started.as_ref().map(|member| member.options().name.clone());
        let client_url = listed.process.map(|number| cluster.advertised(number));
        PbMember {
            id: listed.id,
            name: name.unwrap_or_default(),
            peer_ur_ls: listed.peer_urls.clone(),
            client_ur_ls: client_url.into_iter().collect(),
            is_learner: listed.is_learner,
        }
    }

    /// The headers of these answers come without a revision, as in etcd
    /// (`server/etcdserver/api/v3rpc/member.go`).
    fn header(&self) -> Option<PbResponseHeader> {
        Some(self.member.lock().identity().header(0))
    }
}

#[tonic::async_trait]
impl PbClusterService for ClusterService {
    async fn member_add(
        &self,
        request: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let peer_urls = peer_urls(&request.peer_ur_ls)?;
        let cluster_id = self.member.options().cluster_id;
        let added = Listed {
            id: id_of(cluster_id, &peer_urls, age(executor::now())),
            process: None,
            peer_urls,
            is_learner: request.is_learner,
            votes: !request.is_learner,
        };
        let member = Some(self.message(&added));
        let members = self.change(&metadata, Change::Add(added)).await?;
        Ok(Response::new(PbMemberAddResponse {
            header: self.header(),
            member,
            members,
        }))
    }

    async fn member_remove(
        &self,
        request: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let members = self.change(&metadata, Change::Remove(request.id)).await?;
        Ok(Response::new(PbMemberRemoveResponse {
            header: self.header(),
            members,
        }))
    }

    async fn member_update(
        &self,
        request: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let update = Change::Update {
            id: request.id,
            peer_urls: request.peer_ur_ls,
        };
        let members = self.change(&metadata, update).await?;
        Ok(Response::new(PbMemberUpdateResponse {
            header: self.header(),
            members,
        }))
    }

    async fn member_list(
        &self,
        request: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        // Before 3.5 nobody can ask for that.
        if request.get_ref().linearizable && self.member.options().is_at_least(3, 5) {
            self.member.confirm_read().await?;
        }
        let checks = self.member.checks();
        if checks.guards_all {
            let by_users = checks.users_look;
            self.member
                .permits_look(request.metadata(), by_users)
                .await?;
        }
        let listed = self.member.lock().roster().members().to_vec();
        Ok(Response::new(PbMemberListResponse {
            header: self.header(),
            members: listed.iter().map(|member| self.message(member)).collect(),
        }))
    }

    async fn member_promote(
        &self,
        request: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let members = self.change(&metadata, Change::Promote(request.id)).await?;
        Ok(Response::new(PbMemberPromoteResponse {
            header: self.header(),
            members,
        }))
    }
}
