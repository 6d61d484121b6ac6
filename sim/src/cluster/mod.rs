//! INTERFACE that simulation.rs and network/ use (a toy until the real one
//! replaces it; keep these names and signatures):
//! `Member::new(MemberOptions)`, `start(&self, node: &Node)` (called again with
//! a new node after each crash), `crash(&self)` (what a process loses: streams,
//! watch registrations; term + 1; leases extended on the next start),
//! `router()`, `Router`, `Applied`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use etcd_client::proto::*;

/// Marks a response.
#[derive(Clone, Copy, Debug)]
pub struct Applied {
    /// Revision.
    pub revision: i64,
}
/// Options.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemberOptions {}
/// Member.
#[derive(Clone, Default)]
pub struct Member(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);
impl Member {
    /// New.
    pub fn new(_: MemberOptions) -> Self {
        Self::default()
    }
    /// Start.
    pub fn start(&self, _: &crate::executor::Node) {}
    /// Crash.
    pub fn crash(&self) {}
    /// Router.
    pub fn router(&self) -> Router {
        PbKvServer::new(self.clone())
    }
}
/// Router.
pub type Router = PbKvServer<Member>;

#[tonic::async_trait]
impl PbKvService for Member {
    async fn range(
        &self,
        r: tonic::Request<PbRangeRequest>,
    ) -> Result<tonic::Response<PbRangeResponse>, tonic::Status> {
        let s = self.0.lock().unwrap();
        let kvs = s.get(&r.into_inner().key).map(|v| PbKeyValue {
            value: v.clone(),
            mod_revision: 2,
            ..Default::default()
        });
        Ok(tonic::Response::new(PbRangeResponse {
            kvs: kvs.into_iter().collect(),
            ..Default::default()
        }))
    }
    async fn put(
        &self,
        r: tonic::Request<PbPutRequest>,
    ) -> Result<tonic::Response<PbPutResponse>, tonic::Status> {
        let r = r.into_inner();
        self.0.lock().unwrap().insert(r.key, r.value);
        let mut response = tonic::Response::new(PbPutResponse::default());
        response.extensions_mut().insert(Applied { revision: 2 });
        Ok(response)
    }
    async fn delete_range(
        &self,
        _: tonic::Request<PbDeleteRequest>,
    ) -> Result<tonic::Response<PbDeleteResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented("toy"))
    }
    async fn txn(
        &self,
        _: tonic::Request<PbTxnRequest>,
    ) -> Result<tonic::Response<PbTxnResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented("toy"))
    }
    async fn compact(
        &self,
        _: tonic::Request<PbCompactionRequest>,
    ) -> Result<tonic::Response<PbCompactionResponse>, tonic::Status> {
        Err(tonic::Status::unimplemented("toy"))
    }
    type RangeStreamStream = tokio_stream::Pending<Result<PbRangeStreamResponse, tonic::Status>>;
    async fn range_stream(
        &self,
        _: tonic::Request<PbRangeRequest>,
    ) -> Result<tonic::Response<Self::RangeStreamStream>, tonic::Status> {
        Err(tonic::Status::unimplemented("toy"))
    }
}
