//! Reads, writes, transactions, compaction.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService,
    PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse,
    PbResponseHeader, PbTxnOpRequest, PbTxnRequest, PbTxnResponse,
};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

use super::nested::TxnCodec;
use super::{answer, unknown_method};
use crate::cluster::{Command, Executed, Member, Outcome, receive_limit};
use crate::store::is_read_only;

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

    /// Has the cluster carry out a request, completes the header, and says
    /// whether anything was changed.
    async fn propose<T>(
        &self,
        metadata: &MetadataMap,
        command: Command,
        message: impl FnOnce(Outcome) -> Option<T>,
        header: impl FnOnce(&mut T) -> &mut Option<PbResponseHeader>,
    ) -> Result<Response<T>, Status> {
        let Executed {
            outcome, applied, ..
        } = self.member.propose_for(metadata, command).await?;
        let message = message(outcome?);
        let mut message = message.ok_or_else(|| Status::internal("another kind of outcome"))?;
        self.member.lock().fill(header(&mut message));
        Ok(answer(message, applied))
    }

    /// A transaction that only reads is not part of the history.
    async fn read_txn(
        &self,
        metadata: &MetadataMap,
        request: &PbTxnRequest,
    ) -> Result<Response<PbTxnResponse>, Status> {
        if !is_serializable(request) {
            self.member.confirm_read().await?;
        }
        let caller = self.member.caller(metadata).await;
        let guard = self.member.lock();
        if guard.auth().is_enabled() || caller.is_err() {
            guard.view().store.precheck_txn(request)?;
        }
        guard.permits_txn(caller?.as_ref(), request)?;
        let seen = guard.view();
        let mut message = seen.store.txn_in(request, seen.view)?;
        guard.fill(&mut message.header);
        Ok(Response::new(message))
    }
}

/// The method `Txn` alone, for the sake of its decoder.
pub(super) struct TxnMethod(pub(super) Arc<KvService>);

impl TxnMethod {
    /// Answers a request for this method.
    pub(super) async fn serve(self, request: http::Request<Body>) -> http::Response<Body> {
        let codec: TxnCodec<PbTxnResponse> = TxnCodec::default();
        let mut grpc = Grpc::new(codec).max_decoding_message_size(usize::MAX);
        grpc.unary(self, request).await
    }
}

impl UnaryService<PbTxnRequest> for TxnMethod {
    type Response = PbTxnResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<PbTxnResponse>, Status>> + Send>>;

    fn call(&mut self, request: Request<PbTxnRequest>) -> Self::Future {
        let kv = Arc::clone(&self.0);
        Box::pin(async move { kv.txn(request).await })
    }
}

/// Whether nothing of a transaction that only reads needs the present
/// (`IsTxnSerializable` in etcd's `server/etcdserver/txn/txn.go`).
fn is_serializable(request: &PbTxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| match &op.request {
        Some(PbTxnOpRequest::RequestRange(range)) => range.serializable,
        _ => true,
    })
}

#[tonic::async_trait]
impl PbKvService for KvService {
    async fn range(
        &self,
        request: Request<PbRangeRequest>,
    ) -> Result<Response<PbRangeResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        receive_limit(&request, self.request_bytes_max)?;
        if !request.serializable {
            self.member.confirm_read().await?;
        }
        let caller = self.member.caller(&metadata).await;
        let guard = self.member.lock();
        if guard.auth().is_enabled() || caller.is_err() {
            guard.view().store.precheck_range(&request)?;
        }
        guard.permits_range(caller?.as_ref(), &request.key, &request.range_end)?;
        let seen = guard.view();
        let mut message = seen.store.range_in(&request, seen.view)?;
        guard.fill(&mut message.header);
        Ok(Response::new(message))
    }

    type RangeStreamStream = tokio_stream::Empty<Result<PbRangeStreamResponse, Status>>;

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        // Only 3.7 has it.
        Err(unknown_method("etcdserverpb.KV", "RangeStream"))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        receive_limit(&request, self.request_bytes_max)?;
        let message = |outcome| match outcome {
            Outcome::Put(message) => Some(message),
            _ => None,
        };
        self.propose(&metadata, Command::Put(request), message, |put| {
            &mut put.header
        })
        .await
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        receive_limit(&request, self.request_bytes_max)?;
        let message = |outcome| match outcome {
            Outcome::Delete(message) => Some(message),
            _ => None,
        };
        self.propose(&metadata, Command::Delete(request), message, |delete| {
            &mut delete.header
        })
        .await
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        receive_limit(&request, self.request_bytes_max)?;
        if is_read_only(&request) {
            return self.read_txn(&metadata, &request).await;
        }
        let message = |outcome| match outcome {
            Outcome::Txn(message) => Some(message),
            _ => None,
        };
        self.propose(&metadata, Command::Txn(request), message, |txn| {
            &mut txn.header
        })
        .await
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let message = |outcome| match outcome {
            Outcome::Compact(message) => Some(message),
            _ => None,
        };
        self.propose(&metadata, Command::Compact(request), message, |compact| {
            &mut compact.header
        })
        .await
    }
}
