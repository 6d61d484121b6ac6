//! Sends steps to an etcd, real or simulated, and takes down its answers.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::proto::{
    PbCompactionResponse, PbDeleteResponse, PbHashKvRequest, PbHashKvResponse, PbLeaseGrantRequest,
    PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseLeasesRequest,
    PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseTimeToLiveRequest,
    PbLeaseTimeToLiveResponse, PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse,
    PbStatusRequest, PbStatusResponse, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::StdError;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::listen::Streams;
use crate::outcome::{Even, NestedTxnResponse, Outcome, even_header};
use crate::real::wipe;
use crate::show::count;
use crate::step::{Step, each_lease, nth_chosen};

/// An id that no lease has: the nth that the server has chosen, when it has chosen
/// fewer.
const NO_LEASE: i64 = i64::MAX - 1;

pub(crate) type Pause = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// An etcd that is reached through `T`.
pub(crate) struct Api<T> {
    grpc: Grpc<T>,
    pause: Pause,
    streams: Streams,
    /// The ids of leases that the server has chosen.
    chosen: Vec<i64>,
    /// How many of them it had chosen before this sequence: they live on in the past.
    forgotten: usize,
    /// A key may have been attached to one of them: what is kept differs then, and so do
    /// hashes of it.
    keeps_chosen: bool,
}

impl<T> Api<T>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    pub(crate) fn new(transport: T, pause: Pause) -> Self {
        let grpc = Grpc::new(transport).max_decoding_message_size(usize::MAX);
        Api {
            grpc,
            pause,
            streams: Streams::default(),
            chosen: Vec::new(),
            forgotten: 0,
            keeps_chosen: false,
        }
    }

    /// Takes a step. `expected` is what the other side has answered: who listens need
    /// not wait for more than that.
    pub(crate) async fn perform(
        &mut self,
        step: &Step,
        lags: bool,
        expected: Option<&Outcome>,
    ) -> Outcome {
        let mut step = step.clone();
        let mut names_chosen = false;
        each_lease(&mut step, &mut |id| {
            if let Some(nth) = nth_chosen(*id) {
                let chosen = self.chosen.get(self.forgotten + nth).copied();
                names_chosen |= chosen.is_some();
                *id = chosen.unwrap_or(NO_LEASE);
            }
        });
        self.keeps_chosen |= names_chosen && matches!(step, Step::Put(_) | Step::Txn(_));
        let outcome = self.send(step, lags, expected).await;
        let chosen = self.chosen.iter().enumerate();
        chosen.fold(outcome, |outcome, (nth, id)| {
            outcome.replace(&id.to_string(), &format!("chosen-{nth}"))
        })
    }

    async fn send(&mut self, step: Step, lags: bool, expected: Option<&Outcome>) -> Outcome {
        match step {
            Step::Range(range) => self.unary::<_, PbRangeResponse>("KV/Range", range).await,
            Step::Put(put) => self.unary::<_, PbPutResponse>("KV/Put", put).await,
            Step::Delete(delete) => {
                self.unary::<_, PbDeleteResponse>("KV/DeleteRange", delete)
                    .await
            }
            Step::Txn(txn) => self.unary::<_, PbTxnResponse>("KV/Txn", txn).await,
            Step::Nested { levels, put } => {
                self.unary::<_, NestedTxnResponse>("KV/Txn", nested(levels, put))
                    .await
            }
            Step::Compact(compact) => {
                self.unary::<_, PbCompactionResponse>("KV/Compact", compact)
                    .await
            }
            Step::Grant { id, ttl } => self.grant(id, ttl).await,
            Step::ShortGrant { id, ttl } => {
                let granted = self.grant(id, ttl).await;
                let revoked = self.revoke(id).await;
                Outcome::Answer(format!("{granted}\n{revoked}"))
            }
            Step::Revoke { id } => self.revoke(id).await,
            Step::TimeToLive { id, keys } => {
                let question = PbLeaseTimeToLiveRequest { id, keys };
                self.unary::<_, PbLeaseTimeToLiveResponse>("Lease/LeaseTimeToLive", question)
                    .await
            }
            Step::Leases => {
                self.unary::<_, PbLeaseLeasesResponse>("Lease/LeaseLeases", PbLeaseLeasesRequest {})
                    .await
            }
            Step::Hash { revision } => {
                let question = PbHashKvRequest { revision };
                let answer = self.call::<_, PbHashKvResponse>("Maintenance/HashKV", question);
                match answer.await {
                    Ok(mut answer) => {
                        answer.even();
                        if self.keeps_chosen {
                            answer.hash = 0;
                        }
                        Outcome::of(&answer)
                    }
                    Err(status) => Outcome::refusal(&status),
                }
            }
            Step::KeepAlive { ids } => self.keep_alive(ids).await,
            Step::Watch { stream, requests } => {
                let Api { grpc, streams, .. } = self;
                if let Err(status) = streams.send(grpc, stream, requests).await {
                    return Outcome::refusal(&status);
                }
                self.streams
                    .listen(stream, self.pause, lags, expected)
                    .await
            }
            Step::Listen { stream } => {
                self.streams
                    .listen(stream, self.pause, false, expected)
                    .await
            }
            Step::HalfClose { stream } => {
                self.streams.half_close(stream);
                Outcome::Answer("half closed".to_owned())
            }
            Step::Method(method) => {
                self.unary::<_, PbRangeResponse>(method, PbRangeRequest::default())
                    .await
            }
            Step::Wait(time) => {
                (self.pause)(time).await;
                Outcome::Answer("waited".to_owned())
            }
            Step::Wipe => self.wipe().await,
        }
    }

    /// Makes a unary call.
    pub(crate) async fn call<Q, A>(&mut self, method: &str, request: Q) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        ready(&mut self.grpc).await?;
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let request = Request::new(request);
        let response = self.grpc.unary(request, path(method), codec).await?;
        Ok(response.into_inner())
    }

    async fn unary<Q, A>(&mut self, method: &str, request: Q) -> Outcome
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + std::fmt::Debug + Default + Even + Send + Sync + 'static,
    {
        match self.call::<Q, A>(method, request).await {
            Ok(mut answer) => {
                answer.even();
                Outcome::of(&answer)
            }
            Err(status) => Outcome::refusal(&status),
        }
    }

    /// Removes all keys and leases, and ends all streams; what is left, and the
    /// revision that it took.
    async fn wipe(&mut self) -> Outcome {
        let size = match wipe(self).await {
            Ok(()) => self.size().await,
            Err(status) => Err(status),
        };
        match size {
            Ok((keys, revision)) => {
                let keys = count(keys, "key");
                Outcome::Answer(format!("left: {keys}, at revision {revision}"))
            }
            Err(status) => Outcome::refusal(&status),
        }
    }

    async fn grant(&mut self, id: i64, ttl: i64) -> Outcome {
        let grant = PbLeaseGrantRequest { id, ttl };
        let granted = self.call::<_, PbLeaseGrantResponse>("Lease/LeaseGrant", grant);
        match granted.await {
            Ok(mut answer) => {
                if id == 0 {
                    self.chosen.push(answer.id);
                }
                answer.even();
                Outcome::of(&answer)
            }
            Err(status) => Outcome::refusal(&status),
        }
    }

    async fn revoke(&mut self, id: i64) -> Outcome {
        let revoke = PbLeaseRevokeRequest { id };
        self.unary::<_, PbLeaseRevokeResponse>("Lease/LeaseRevoke", revoke)
            .await
    }

    async fn keep_alive(&mut self, ids: Vec<i64>) -> Outcome {
        let count = ids.len();
        let requests = ids.into_iter().map(|id| PbLeaseKeepAliveRequest { id });
        let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
        let codec: ProstCodec<_, PbLeaseKeepAliveResponse> = ProstCodec::default();
        let answers = async {
            ready(&mut self.grpc).await?;
            let method = path("Lease/LeaseKeepAlive");
            let opened = self.grpc.streaming(Request::new(requests), method, codec);
            let mut stream = opened.await?.into_inner();
            let mut answers = Vec::new();
            for _ in 0..count {
                let Some(mut answer) = stream.message().await? else {
                    break;
                };
                even_header(&mut answer.header);
                answers.push(answer);
            }
            Ok(answers)
        };
        match answers.await {
            Ok(answers) => Outcome::of(&answers),
            Err(status) => Outcome::refusal(&status),
        }
    }

    /// Waits no longer than this for what the other side has heard.
    pub(crate) fn be_patient_for(&mut self, patience: Duration) {
        self.streams.patience = patience;
    }

    /// What nobody has listened to yet, on any stream.
    pub(crate) async fn rest(&mut self) -> Outcome {
        self.streams.rest(self.pause).await
    }

    /// Ends all streams, and forgets what was said.
    pub(crate) fn forget(&mut self) {
        self.streams.close();
        self.forgotten = self.chosen.len();
    }

    /// Forgets the ids that the server has chosen: nothing of the past is left.
    pub(crate) fn forget_leases(&mut self) {
        self.chosen.clear();
        self.forgotten = 0;
        self.keeps_chosen = false;
    }

    /// The leases that there are, with ids as the server has them.
    pub(crate) async fn leases(&mut self) -> Result<Vec<i64>, Status> {
        let answer: PbLeaseLeasesResponse = self
            .call("Lease/LeaseLeases", PbLeaseLeasesRequest {})
            .await?;
        Ok(answer.leases.into_iter().map(|lease| lease.id).collect())
    }

    /// How many keys there are, and the present revision.
    pub(crate) async fn size(&mut self) -> Result<(i64, i64), Status> {
        let all = PbRangeRequest {
            key: vec![0],
            range_end: vec![0],
            count_only: true,
            ..Default::default()
        };
        let answer: PbRangeResponse = self.call("KV/Range", all).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        Ok((answer.count, revision))
    }

    pub(crate) async fn status(&mut self) -> Result<PbStatusResponse, Status> {
        self.call("Maintenance/Status", PbStatusRequest {}).await
    }
}

/// Waits until a call can be made.
pub(crate) async fn ready<T>(grpc: &mut Grpc<T>) -> Result<(), Status>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
{
    grpc.ready()
        .await
        .map_err(|error| Status::unknown(error.into().to_string()))
}

pub(crate) fn path(method: &str) -> http::uri::PathAndQuery {
    format!("/etcdserverpb.{method}")
        .parse()
        .expect("a method is a path")
}

/// A put within so many transactions.
fn nested(levels: usize, put: PbPutRequest) -> PbTxnRequest {
    let within = |request| PbTxnRequest {
        success: vec![PbTxnRequestOp {
            request: Some(request),
        }],
        ..Default::default()
    };
    let innermost = within(PbTxnOpRequest::RequestPut(put));
    (1..levels).fold(innermost, |txn, _| within(PbTxnOpRequest::RequestTxn(txn)))
}
