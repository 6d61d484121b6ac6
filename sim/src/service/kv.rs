//! Reads, writes, transactions, compaction.

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService,
    PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse,
    PbResponseHeader, PbTxnRequest, PbTxnResponse,
};
use tonic::{Request, Response, Status};

use super::{answer, left_out, refusal};
use crate::cluster::{Member, receive_limit};
use crate::store::{Store, StoreError};

/// The service `etcdserverpb.KV`.
#[derive(Debug)]
pub(super) struct KvService {
    member: Member,
    request_bytes_max: usize,
}

impl KvService {
    pub(super) fn new(member: Member) -> Self {
        let request_bytes_max = member.options().store.request_bytes_max;
        KvService {
            member,
            request_bytes_max,
        }
    }

    /// Changes the store, tells the watches, completes the header, and says
    /// whether anything was changed.
    fn mutate<T>(
        &self,
        change: impl FnOnce(&mut Store) -> Result<T, StoreError>,
        header: impl FnOnce(&mut T) -> &mut Option<PbResponseHeader>,
    ) -> Result<Response<T>, Status> {
        let mut state = self.member.lock();
        let before = state.store.revision();
        let mut message = state.mutate(change).map_err(refusal)?;
        state.fill(header(&mut message));
        let revision = state.store.revision();
        let victims = state.watches.has_victims();
        drop(state);
        if victims {
            self.member.wake_victims();
        }
        Ok(answer(message, (revision > before).then_some(revision)))
    }
}

#[tonic::async_trait]
impl PbKvService for KvService {
    async fn range(
        &self,
        request: Request<PbRangeRequest>,
    ) -> Result<Response<PbRangeResponse>, Status> {
        let request = request.into_inner();
        receive_limit(&request, self.request_bytes_max)?;
        let state = self.member.lock();
        let mut message = state.store.range(&request).map_err(refusal)?;
        state.fill(&mut message.header);
        Ok(Response::new(message))
    }

    type RangeStreamStream = tokio_stream::Empty<Result<PbRangeStreamResponse, Status>>;

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(left_out("etcdserverpb.KV", "RangeStream"))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let request = request.into_inner();
        receive_limit(&request, self.request_bytes_max)?;
        self.mutate(|store| store.put(request), |message| &mut message.header)
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let request = request.into_inner();
        receive_limit(&request, self.request_bytes_max)?;
        self.mutate(
            |store| store.delete_range(&request),
            |message| &mut message.header,
        )
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let request = request.into_inner();
        receive_limit(&request, self.request_bytes_max)?;
        self.mutate(|store| store.txn(request), |message| &mut message.header)
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        let request = request.into_inner();
        self.mutate(
            |store| store.compact(&request),
            |message| &mut message.header,
        )
    }
}
