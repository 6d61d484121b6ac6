//! Watches: many of them on one stream.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchService};
use futures_util::future::{AbortHandle, Either, abortable, pending, poll_fn, select};
use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::AuthError;
use crate::cluster::{Member, MemberView, NO_WATCH, StreamId, WatchHub, WatchSpec};
use crate::executor::{self, SimTime};
use crate::version::Checks;

/// The filter against puts, `NOPUT` in etcd's `rpc.proto`.
const NO_PUT: i32 = 0;
/// The filter against deletes, `NODELETE` in etcd's `rpc.proto`.
const NO_DELETE: i32 = 1;

/// The service `etcdserverpb.Watch`.
#[derive(Debug)]
pub(super) struct WatchService {
    member: Member,
}

impl WatchService {
    pub(super) fn new(member: Member) -> Self {
        WatchService { member }
    }
}

#[tonic::async_trait]
impl PbWatchService for WatchService {
    type WatchStream = WatchAnswers;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<WatchAnswers>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let member = self.member.clone();
        let stream = member.lock().watches().open();
        let requests = Requests {
            member: member.clone(),
            metadata,
            stream,
            requests,
            half_closed: false,
            next_tick: executor::now() + member.options().progress_notify_interval,
        };
        let (receive, receiver) = abortable(requests.serve());
        member.spawn(async move {
            let _aborted = receive.await;
        });
        Ok(Response::new(WatchAnswers {
            member,
            stream,
            receiver,
        }))
    }
}

/// Whether whoever sent these metadata may watch these keys (`isWatchPermitted` in
/// etcd's `server/etcdserver/api/v3rpc/watch.go`).
async fn permits(
    member: &Member,
    metadata: &MetadataMap,
    key: &[u8],
    range_end: &[u8],
) -> Result<(), AuthError> {
    let caller = member.caller(metadata).await?;
    let key = if key.is_empty() { b"\0" } else { key };
    // Older releases write the end of all keys as they do that of a single key, and check
    // that.
    let range_end = match range_end {
        [0] if !member.checks().ends_of_watches => b"",
        end => end,
    };
    let guard = member.lock();
    guard.permits_range(caller.as_ref(), key, range_end)
}

/// What a watch is told that is not permitted: the id, and the error as Go prints it.
fn refusal(checks: Checks, asked_id: i64, refused: AuthError) -> (i64, String) {
    let says_why = checks.says_why_of_watches;
    let refused = match refused {
        AuthError::InvalidToken | AuthError::OldRevision | AuthError::UserEmpty if says_why => {
            refused
        }
        _ => AuthError::PermissionDenied,
    };
    let id = if says_why { NO_WATCH } else { asked_id };
    let reason = format!("rpc error: code = {:?} desc = {refused}", refused.code());
    (id, reason)
}

/// A watch of the member's own, for whoever sent these metadata.
pub(super) struct OwnWatch {
    answers: WatchAnswers,
}

impl OwnWatch {
    /// Watches keys from a revision on.
    pub(super) async fn open(member: &Member, metadata: &MetadataMap, spec: WatchSpec) -> OwnWatch {
        let permitted = permits(member, metadata, &spec.key, &spec.range_end).await;
        let stream = member.change_watches(|watches, view| {
            let stream = watches.open();
            match permitted {
                Ok(()) => watches.create(stream, spec, view),
                Err(refused) => {
                    let (id, reason) = refusal(member.checks(), spec.watch_id, refused);
                    watches.refuse(stream, id, reason, view);
                }
            }
            stream
        });
        let (receiver, _) = AbortHandle::new_pair();
        OwnWatch {
            answers: WatchAnswers {
                member: member.clone(),
                stream,
                receiver,
            },
        }
    }

    /// The next answer; none when the member goes down.
    pub(super) async fn next(&mut self) -> Option<PbWatchResponse> {
        let answer = poll_fn(|context| Pin::new(&mut self.answers).poll_next(context)).await;
        answer.and_then(Result::ok)
    }
}

/// What the client receives on one stream. The watches end with it.
#[derive(Debug)]
pub(super) struct WatchAnswers {
    member: Member,
    stream: StreamId,
    receiver: AbortHandle,
}

impl Stream for WatchAnswers {
    type Item = Result<PbWatchResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = self.member.lock().watches().poll_next(self.stream, context);
        answer.map(|answer| answer.map(Ok))
    }
}

impl Drop for WatchAnswers {
    fn drop(&mut self) {
        self.receiver.abort();
        self.member.close_watches(self.stream);
    }
}

/// What the client sends on one stream.
struct Requests {
    member: Member,
    /// With whose token the stream was opened.
    metadata: MetadataMap,
    stream: StreamId,
    requests: Streaming<PbWatchRequest>,
    /// The client will send no more, but goes on listening.
    half_closed: bool,
    next_tick: SimTime,
}

enum Step {
    Request(PbWatchRequest),
    HalfClosed,
    Tick,
    Gone,
}

impl Requests {
    /// Handles requests until the stream is gone. A client that has sent its
    /// last request still hears of events (`recvLoop` in etcd's
    /// `server/etcdserver/api/v3rpc/watch.go`).
    async fn serve(mut self) {
        loop {
            let (member, stream) = (self.member.clone(), self.stream);
            if !poll_fn(|context| member.lock().watches().poll_room(stream, context)).await {
                return;
            }
            match self.step().await {
                Step::Request(request) => self.handle(request).await,
                Step::HalfClosed => self.half_closed = true,
                Step::Tick => self.tick(),
                Step::Gone => return self.member.close_watches(stream),
            }
        }
    }

    async fn step(&mut self) -> Step {
        let tick = self
            .member
            .lock()
            .watches()
            .wants_progress(self.stream)
            .then_some(self.next_tick);
        let requests = &mut self.requests;
        let half_closed = self.half_closed;
        let request = pin!(async {
            if half_closed {
                return pending().await;
            }
            match requests.message().await {
                Ok(Some(request)) => Step::Request(request),
                Ok(None) => Step::HalfClosed,
                Err(_) => Step::Gone,
            }
        });
        let Some(tick) = tick else {
            return request.await;
        };
        match select(request, pin!(executor::sleep_until(tick))).await {
            Either::Left((step, _)) => step,
            Either::Right(_) => Step::Tick,
        }
    }

    async fn handle(&mut self, request: PbWatchRequest) {
        self.skip_ticks();
        let permitted = match &request.request_union {
            Some(PbWatchRequestUnion::CreateRequest(create)) => {
                permits(&self.member, &self.metadata, &create.key, &create.range_end).await
            }
            _ => Ok(()),
        };
        let (stream, checks) = (self.stream, self.member.checks());
        let answer = |watches: &mut WatchHub, view: MemberView<'_>| match request.request_union {
            Some(PbWatchRequestUnion::CreateRequest(create)) => {
                if let Err(refused) = permitted {
                    let (id, reason) = refusal(checks, create.watch_id, refused);
                    return watches.refuse(stream, id, reason, view);
                }
                let spec = WatchSpec {
                    key: create.key,
                    range_end: create.range_end,
                    start_revision: create.start_revision,
                    watch_id: create.watch_id,
                    no_put: create.filters.contains(&NO_PUT),
                    no_delete: create.filters.contains(&NO_DELETE),
                    prev_kv: create.prev_kv,
                    progress_notify: create.progress_notify,
                    fragment: create.fragment,
                };
                watches.create(stream, spec, view);
            }
            Some(PbWatchRequestUnion::CancelRequest(cancel)) => {
                watches.cancel(stream, cancel.watch_id, view);
            }
            Some(PbWatchRequestUnion::ProgressRequest(_)) => {
                watches.report_progress(stream, view);
            }
            None => {}
        };
        self.member.change_watches(answer);
    }

    fn tick(&mut self) {
        let mut guard = self.member.lock();
        let (watches, view) = guard.watches_and_view();
        watches.tick_progress(self.stream, view);
        drop(guard);
        self.next_tick = self.next_tick + self.member.options().progress_notify_interval;
    }

    /// Ticks pass unheard while no watch wants them.
    fn skip_ticks(&mut self) {
        while self.next_tick <= executor::now() {
            self.next_tick = self.next_tick + self.member.options().progress_notify_interval;
        }
    }
}
