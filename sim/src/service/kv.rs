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
use crate::auth::{AuthError, Caller};
use crate::cluster::{Begun, Command, Executed, Member, Outcome, receive_limit};
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

    /// Takes in a request that changes something, of somebody without a token.
    ///
    /// # Errors
    ///
    /// When it is refused at once.
    pub(super) fn begin<C: Change>(&self, change: C) -> Result<Begun<Executed>, Status> {
        receive_limit(&change, self.request_bytes_max)?;
        Ok(self.member.begin_change(change.command())?)
    }

    /// Whether somebody without a token may compact.
    ///
    /// # Errors
    ///
    /// [`AuthError::UserEmpty`].
    pub(super) fn permits_compaction(&self) -> Result<(), AuthError> {
        match self.member.checks().guards_all {
            true => self.member.lock().auth().permits_admin(None),
            false => Ok(()),
        }
    }

    /// Has the cluster carry out a request.
    async fn change<C: Change>(&self, request: Request<C>) -> Result<Response<C::Answer>, Status> {
        let (metadata, _, change) = request.into_parts();
        receive_limit(&change, self.request_bytes_max)?;
        let executed = self.member.propose_for(&metadata, change.command()).await?;
        let (message, applied) = self.answer::<C>(executed)?;
        Ok(answer(message, applied))
    }

    /// The answer to a request that was carried out, and the revision after it if it
    /// has changed anything.
    pub(super) fn answer<C: Change>(
        &self,
        executed: Executed,
    ) -> Result<(C::Answer, Option<i64>), Status> {
        let message = C::answer(executed.outcome?);
        let mut message = message.ok_or_else(|| Status::internal("another kind of outcome"))?;
        self.member.lock().fill(C::header(&mut message));
        Ok((message, executed.applied))
    }

    /// Takes in a read, of somebody without a token.
    ///
    /// # Errors
    ///
    /// When it is refused at once.
    pub(super) fn begin_range(&self, request: &PbRangeRequest) -> Result<Begun<()>, Status> {
        receive_limit(request, self.request_bytes_max)?;
        Ok(match request.serializable {
            true => Begun::Done(()),
            false => self.member.begin_read(),
        })
    }

    /// Reads what the member shows.
    pub(super) fn read(
        &self,
        request: &PbRangeRequest,
        caller: Result<Option<Caller>, AuthError>,
    ) -> Result<PbRangeResponse, Status> {
        let guard = self.member.lock();
        if guard.auth().is_enabled() || caller.is_err() {
            guard.view().store.precheck_range(request)?;
        }
        guard.permits_range(caller?.as_ref(), &request.key, &request.range_end)?;
        let seen = guard.view();
        let mut message = seen.store.range_in(request, seen.view)?;
        guard.fill(&mut message.header);
        Ok(message)
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

/// A request that changes something.
pub(super) trait Change: prost::Message + 'static {
    type Answer: prost::Message + 'static;

    fn command(self) -> Command;

    /// None for the outcome of another kind of request.
    fn answer(outcome: Outcome) -> Option<Self::Answer>;

    fn header(answer: &mut Self::Answer) -> &mut Option<PbResponseHeader>;
}

macro_rules! changes {
    ($($request:ident, $kind:ident, $answer:ident;)*) => {
        $(impl Change for $request {
            type Answer = $answer;

            fn command(self) -> Command {
                Command::$kind(self)
            }

            fn answer(outcome: Outcome) -> Option<$answer> {
                match outcome {
                    Outcome::$kind(answer) => Some(answer),
                    _ => None,
                }
            }

            fn header(answer: &mut $answer) -> &mut Option<PbResponseHeader> {
                &mut answer.header
            }
        })*
    };
}

changes! {
    PbPutRequest, Put, PbPutResponse;
    PbDeleteRequest, Delete, PbDeleteResponse;
    PbTxnRequest, Txn, PbTxnResponse;
    PbCompactionRequest, Compact, PbCompactionResponse;
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
        if let Begun::Waits(waiting) = self.begin_range(&request)? {
            waiting.may_read().await?;
        }
        let caller = self.member.caller(&metadata).await;
        self.read(&request, caller).map(Response::new)
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
        self.change(request).await
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        self.change(request).await
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        if !is_read_only(request.get_ref()) {
            return self.change(request).await;
        }
        let (metadata, _, request) = request.into_parts();
        receive_limit(&request, self.request_bytes_max)?;
        self.read_txn(&metadata, &request).await
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        if self.member.checks().guards_all {
            self.member.permits_admin(request.metadata()).await?;
        }
        self.change(request).await
    }
}
