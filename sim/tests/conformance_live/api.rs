//! Sends steps to an etcd, real or simulated, and writes down its answers.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::proto::{
    PbCompactionResponse, PbDeleteResponse, PbLeaseGrantRequest, PbLeaseGrantResponse,
    PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseLeasesRequest, PbLeaseLeasesResponse,
    PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseTimeToLiveRequest,
    PbLeaseTimeToLiveResponse, PbPutResponse, PbRangeResponse, PbResponseHeader, PbTxnResponse,
    PbWatchRequest, PbWatchResponse,
};
use futures_util::future::{Either, select};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::StdError;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::generate::{Step, WatchScript};

/// How long a watch must be silent to have said everything: longer than the
/// loop that serves watches that lag behind takes.
const SILENCE: Duration = Duration::from_millis(220);

/// How exact the time that a lease has left must be, in seconds.
const TTL_GRAIN: i64 = 100;

/// What an etcd answered to one step.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Answer(String),
    Refusal(String),
    /// The answers to each watch of a stream, in order.
    Watches(BTreeMap<i64, Vec<String>>),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Answer(text) | Outcome::Refusal(text) => f.write_str(text),
            Outcome::Watches(watches) => write!(f, "{watches:#?}"),
        }
    }
}

pub(crate) type Pause = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// An etcd that is reached through `T`.
pub(crate) struct Api<T> {
    grpc: Grpc<T>,
    pause: Pause,
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
        Api { grpc, pause }
    }

    pub(crate) async fn perform(&mut self, step: &Step) -> Outcome {
        match step.clone() {
            Step::Range(range) => self.unary("KV/Range", range, even_range).await,
            Step::Put(put) => self.unary("KV/Put", put, even_put).await,
            Step::Delete(delete) => self.unary("KV/DeleteRange", delete, even_delete).await,
            Step::Txn(txn) => self.unary("KV/Txn", txn, even_txn).await,
            Step::Compact(compact) => self.unary("KV/Compact", compact, even_compact).await,
            Step::Grant { id, ttl } => {
                let grant = PbLeaseGrantRequest { id, ttl };
                self.unary("Lease/LeaseGrant", grant, even_grant).await
            }
            Step::Revoke { id } => {
                let revoke = PbLeaseRevokeRequest { id };
                self.unary("Lease/LeaseRevoke", revoke, even_revoke).await
            }
            Step::TimeToLive { id, keys } => {
                let question = PbLeaseTimeToLiveRequest { id, keys };
                self.unary("Lease/LeaseTimeToLive", question, even_time_to_live)
                    .await
            }
            Step::Leases => {
                self.unary("Lease/LeaseLeases", PbLeaseLeasesRequest {}, even_leases)
                    .await
            }
            Step::KeepAlive { id } => self.keep_alive(id).await,
            Step::Watch(script) => self.watch(script).await,
            Step::Wait(time) => {
                (self.pause)(time).await;
                Outcome::Answer("waited".to_owned())
            }
        }
    }

    async fn unary<Q, A>(&mut self, method: &str, request: Q, even: fn(&mut A)) -> Outcome
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + std::fmt::Debug + Default + Send + Sync + 'static,
    {
        if let Err(status) = self.ready().await {
            return refusal(&status);
        }
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        match self
            .grpc
            .unary(Request::new(request), path(method), codec)
            .await
        {
            Ok(response) => {
                let mut answer = response.into_inner();
                even(&mut answer);
                Outcome::Answer(format!("{answer:#?}"))
            }
            Err(status) => refusal(&status),
        }
    }

    async fn keep_alive(&mut self, id: i64) -> Outcome {
        let requests = tokio_stream::iter([PbLeaseKeepAliveRequest { id }]);
        let codec: ProstCodec<_, PbLeaseKeepAliveResponse> = ProstCodec::default();
        let first = async {
            self.ready().await?;
            let method = path("Lease/LeaseKeepAlive");
            let answers = self
                .grpc
                .streaming(Request::new(requests), method, codec)
                .await?;
            answers.into_inner().message().await
        };
        match first.await {
            Ok(mut answer) => {
                answer
                    .iter_mut()
                    .for_each(|answer| even_header(&mut answer.header));
                Outcome::Answer(format!("{answer:#?}"))
            }
            Err(status) => refusal(&status),
        }
    }

    async fn watch(&mut self, script: WatchScript) -> Outcome {
        let (requests, receiver) = mpsc::unbounded_channel();
        for request in script.creates {
            requests.send(request).expect("the stream is open");
        }
        let codec: ProstCodec<PbWatchRequest, PbWatchResponse> = ProstCodec::default();
        let opened = async {
            self.ready().await?;
            let receiver = Request::new(UnboundedReceiverStream::new(receiver));
            self.grpc
                .streaming(receiver, path("Watch/Watch"), codec)
                .await
        };
        let mut answers = match opened.await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return refusal(&status),
        };
        let mut heard = BTreeMap::new();
        self.listen(&mut answers, &mut heard).await;
        for step in &script.mutations {
            Box::pin(self.perform(step)).await;
        }
        self.listen(&mut answers, &mut heard).await;
        for request in script.cancels {
            requests.send(request).expect("the stream is open");
        }
        self.listen(&mut answers, &mut heard).await;
        // A client that has sent its last request still hears of events.
        drop(requests);
        (self.pause)(SILENCE).await;
        for step in &script.mutations {
            Box::pin(self.perform(step)).await;
        }
        self.listen(&mut answers, &mut heard).await;
        Outcome::Watches(heard)
    }

    /// Writes down what comes, until nothing more comes.
    async fn listen(
        &self,
        answers: &mut Streaming<PbWatchResponse>,
        heard: &mut BTreeMap<i64, Vec<String>>,
    ) {
        loop {
            let next = pin!(answers.message());
            let answer = match select(next, (self.pause)(SILENCE)).await {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => return,
            };
            match answer {
                Ok(Some(mut answer)) => {
                    even_header(&mut answer.header);
                    let texts = heard.entry(answer.watch_id).or_default();
                    texts.push(format!("{answer:#?}"));
                }
                Ok(None) => return heard.entry(-2).or_default().push("end".to_owned()),
                Err(status) => {
                    return heard
                        .entry(-2)
                        .or_default()
                        .push(refusal(&status).to_string());
                }
            }
        }
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc
            .ready()
            .await
            .map_err(|error| Status::unknown(error.into().to_string()))
    }
}

fn path(method: &str) -> http::uri::PathAndQuery {
    format!("/etcdserverpb.{method}")
        .parse()
        .expect("a method is a path")
}

fn refusal(status: &Status) -> Outcome {
    Outcome::Refusal(format!("{:?}: {}", status.code(), status.message()))
}

/// Ids and terms differ between two clusters; that they are present must not.
fn even_header(header: &mut Option<PbResponseHeader>) {
    if let Some(header) = header {
        header.cluster_id = header.cluster_id.min(1);
        header.member_id = header.member_id.min(1);
        header.raft_term = header.raft_term.min(1);
    }
}

fn even_range(answer: &mut PbRangeResponse) {
    even_header(&mut answer.header);
}

fn even_put(answer: &mut PbPutResponse) {
    even_header(&mut answer.header);
}

fn even_delete(answer: &mut PbDeleteResponse) {
    even_header(&mut answer.header);
}

fn even_txn(answer: &mut PbTxnResponse) {
    even_header(&mut answer.header);
}

fn even_compact(answer: &mut PbCompactionResponse) {
    even_header(&mut answer.header);
}

fn even_grant(answer: &mut PbLeaseGrantResponse) {
    even_header(&mut answer.header);
}

fn even_revoke(answer: &mut PbLeaseRevokeResponse) {
    even_header(&mut answer.header);
}

fn even_leases(answer: &mut PbLeaseLeasesResponse) {
    even_header(&mut answer.header);
}

/// The time that is left runs; the order of the keys is open in etcd.
fn even_time_to_live(answer: &mut PbLeaseTimeToLiveResponse) {
    even_header(&mut answer.header);
    answer.keys.sort();
    if answer.ttl > 0 {
        answer.ttl = (answer.ttl + TTL_GRAIN / 2) / TTL_GRAIN * TTL_GRAIN;
    }
}
