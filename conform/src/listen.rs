//! Streams of watches, and what is heard on them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse};
use futures_util::future::{Either, select};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::StdError;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::api::{Pause, path, ready};
use crate::outcome::{Outcome, even_header};

/// How long a watch must be silent to have said everything: longer than the loop
/// that serves watches that lag behind takes.
pub(crate) const SILENCE: Duration = Duration::from_millis(220);

/// How long what the other side has heard may take to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The id in answers that belong to no watch.
const NO_WATCH: i64 = -1;
/// Stands for the notices of progress that belong to no watch.
const NOTICE: i64 = i64::MIN;
/// Stands for the end of a stream.
const END: i64 = i64::MIN + 1;

/// The streams that are open.
pub(crate) struct Streams {
    open: BTreeMap<usize, Stream>,
    /// How long what the other side has heard may take to come.
    pub(crate) patience: Duration,
}

struct Stream {
    /// None when the client has half closed the stream.
    requests: Option<mpsc::UnboundedSender<PbWatchRequest>>,
    answers: Streaming<PbWatchResponse>,
    /// Has ended, for this reason.
    ended: Option<String>,
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            open: BTreeMap::new(),
            patience: PATIENCE,
        }
    }
}

impl Streams {
    /// Ends all of them.
    pub(crate) fn close(&mut self) {
        self.open.clear();
    }

    /// Sends requests on a stream, and after them one that is refused at once: when
    /// that is answered, the others have been read.
    pub(crate) async fn send<T>(
        &mut self,
        grpc: &mut Grpc<T>,
        stream: usize,
        asked: Vec<PbWatchRequest>,
    ) -> Result<(), Status>
    where
        T: GrpcService<Body>,
        T::Error: Into<StdError>,
        T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
        <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
    {
        let asked = asked.into_iter().chain([refused_at_once()]);
        let ask = |requests: &mpsc::UnboundedSender<PbWatchRequest>| {
            // A stream that has ended says so to who listens.
            asked.for_each(|request| drop(requests.send(request)));
        };
        if let Some(stream) = self.open.get(&stream) {
            stream.requests.as_ref().map(ask);
            return Ok(());
        }
        let (requests, receiver) = mpsc::unbounded_channel();
        ask(&requests);
        let codec: ProstCodec<PbWatchRequest, PbWatchResponse> = ProstCodec::default();
        ready(grpc).await?;
        let receiver = Request::new(UnboundedReceiverStream::new(receiver));
        let opened = grpc.streaming(receiver, path("Watch/Watch"), codec).await?;
        let opened = Stream {
            requests: Some(requests),
            answers: opened.into_inner(),
            ended: None,
        };
        self.open.insert(stream, opened);
        Ok(())
    }

    pub(crate) fn half_close(&mut self, stream: usize) {
        if let Some(stream) = self.open.get_mut(&stream) {
            stream.requests = None;
        }
    }

    /// Takes down what comes: as much as the other side has heard, or until nothing
    /// more comes. A watch that lags behind and has nothing to say has caught up
    /// after a silence.
    pub(crate) async fn listen(
        &mut self,
        stream: usize,
        pause: Pause,
        lags: bool,
        expected: Option<&Outcome>,
    ) -> Outcome {
        let patience = self.patience;
        let mut heard = BTreeMap::new();
        let Some(stream) = self.open.get_mut(&stream) else {
            return Outcome::Watches(heard);
        };
        let is_silent = expected.is_some_and(Outcome::has_silent_watch);
        let expected = expected.map(Outcome::watch_answers);
        let mut missing = expected.unwrap_or(usize::MAX);
        while missing > 0 {
            let patience = match expected {
                Some(_) => patience,
                None => SILENCE,
            };
            if !stream.hear(pause, patience, &mut heard).await {
                break;
            }
            missing -= 1;
        }
        if lags && is_silent {
            pause(SILENCE).await;
        }
        Outcome::Watches(heard)
    }

    /// What nobody expected, on any stream.
    pub(crate) async fn rest(&mut self, pause: Pause) -> Outcome {
        let mut heard = BTreeMap::new();
        for stream in self.open.values_mut() {
            while stream.hear(pause, SILENCE, &mut heard).await {}
        }
        Outcome::Watches(heard)
    }
}

impl Stream {
    /// Waits for one answer; whether one came.
    async fn hear(
        &mut self,
        pause: Pause,
        patience: Duration,
        heard: &mut BTreeMap<i64, Vec<String>>,
    ) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let next = pin!(self.answers.message());
        let answer = match select(next, pause(patience)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => return false,
        };
        let (id, text) = match answer {
            Ok(Some(mut answer)) => {
                even_header(&mut answer.header);
                // Notices of progress overtake answers to requests, or are overtaken.
                let is_notice = answer.watch_id == NO_WATCH && !answer.created;
                let id = if is_notice { NOTICE } else { answer.watch_id };
                (id, format!("{answer:#?}"))
            }
            Ok(None) => (END, "end".to_owned()),
            Err(status) => (END, Outcome::refusal(&status).to_string()),
        };
        if id == END {
            self.ended = Some(text.clone());
        }
        heard.entry(id).or_default().push(text);
        true
    }
}

/// A watch of an empty range.
fn refused_at_once() -> PbWatchRequest {
    let mut create = PbWatchRequestUnion::CreateRequest(Default::default());
    if let PbWatchRequestUnion::CreateRequest(create) = &mut create {
        create.key = b"b".to_vec();
        create.range_end = b"a".to_vec();
    }
    PbWatchRequest {
        request_union: Some(create),
    }
}
