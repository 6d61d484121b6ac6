//! Counting what a client sends to etcd.
//!
//! A [`Counter`] stands on the channel of a client, between the client and the
//! wire. A unary call counts when it is sent. On a stream (a watch, the
//! keep-alive of leases) each message that the client sends counts: it is a
//! request as any other, such as to begin another watch. Answers and events are
//! not counted. It costs an atomic addition for a request.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use etcd_client::Channel;
use http_body::{Frame, SizeHint};
use serde::Serialize;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

use super::connection::{Counted, Writes};

/// What is counted, by the path of the call and its name in reports.
const METHODS: [(&str, &str); 12] = [
    ("/etcdserverpb.KV/Range", "range"),
    ("/etcdserverpb.KV/Put", "put"),
    ("/etcdserverpb.KV/DeleteRange", "delete"),
    ("/etcdserverpb.KV/Txn", "txn"),
    ("/etcdserverpb.KV/Compact", "compact"),
    ("/etcdserverpb.Lease/LeaseGrant", "lease-grant"),
    ("/etcdserverpb.Lease/LeaseRevoke", "lease-revoke"),
    ("/etcdserverpb.Lease/LeaseTimeToLive", "lease-time-to-live"),
    ("/etcdserverpb.Lease/LeaseKeepAlive", "keep-alive"),
    ("/etcdserverpb.Watch/Watch", "watch"),
    ("/etcdserverpb.Auth/Authenticate", "authenticate"),
    ("", "other"),
];

/// Counts the requests of all clients whose channels it stands on. Clones share
/// the counts.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: [AtomicU64; METHODS.len()],
    streams: AtomicU64,
}

/// How many requests of each kind were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Unary calls and messages on streams; kinds without any are left out.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// How many streams were opened.
    pub streams: u64,
}

impl Requests {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// Those of a kind, such as `txn`.
    pub fn of(&self, kind: &str) -> u64 {
        self.by_kind.get(kind).copied().unwrap_or(0)
    }

    /// What came on top of an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Requests) -> Requests {
        let more = |(kind, count): (&&'static str, &u64)| (*kind, count - earlier.of(kind));
        let by_kind = self
            .by_kind
            .iter()
            .map(more)
            .filter(|(_, count)| *count > 0);
        Requests {
            by_kind: by_kind.collect(),
            streams: self.streams - earlier.streams,
        }
    }
}

impl Counter {
    /// A counter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was sent so far.
    pub fn requests(&self) -> Requests {
        let counts = METHODS.iter().zip(&self.0.requests);
        let by_kind = counts.map(|((_, kind), count)| (*kind, count.load(Ordering::Relaxed)));
        Requests {
            by_kind: by_kind.filter(|(_, count)| *count > 0).collect(),
            streams: self.0.streams.load(Ordering::Relaxed),
        }
    }

    /// The channel, with this counter on it.
    pub fn on(&self, channel: Channel) -> Channel {
        Channel::Custom(BoxCloneSyncService::new(Counting {
            channel,
            counter: self.clone(),
        }))
    }

    /// For [`Client::connect_with_balanced_channel`](etcd_client::Client::connect_with_balanced_channel):
    /// makes the channels that the client makes by itself, with this counter on
    /// them.
    pub fn builder(&self, writes: Writes) -> Counted {
        Counted {
            counter: self.clone(),
            writes,
        }
    }

    fn count(&self, method: usize) {
        self.0.requests[method].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a unary call; of a stream the messages will be counted.
    fn saw(&self, request: Request) -> Request {
        let path = request.uri().path();
        let known = METHODS.iter().position(|(known, _)| *known == path);
        let method = known.unwrap_or(METHODS.len() - 1);
        if !["keep-alive", "watch"].contains(&METHODS[method].1) {
            self.count(method);
            return request;
        }
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        let counter = self.clone();
        request.map(|body| {
            Body::new(Stream {
                body,
                messages: Messages::default(),
                counter,
                method,
            })
        })
    }
}

type Request = http::Request<Body>;
type Response = http::Response<Body>;

#[derive(Clone)]
struct Counting {
    channel: Channel,
    counter: Counter,
}

impl Service<Request> for Counting {
    type Response = Response;
    type Error = BoxError;
    type Future = <Channel as Service<Request>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let request = self.counter.saw(request);
        self.channel.call(request)
    }
}

/// A request body whose messages are counted.
struct Stream {
    body: Body,
    messages: Messages,
    counter: Counter,
    method: usize,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            for _ in 0..self.messages.begun_in(data) {
                self.counter.count(self.method);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tells where messages begin in a stream of bytes: gRPC puts a flag and four
/// bytes of length in front of each ("Length-Prefixed-Message" in gRPC's
/// PROTOCOL-HTTP2). A frame may hold several, or a part of one.
#[derive(Default)]
struct Messages {
    header: Vec<u8>,
    body_left: usize,
}

impl Messages {
    /// How many have their header end in these bytes.
    fn begun_in(&mut self, mut bytes: &[u8]) -> u64 {
        const HEADER: usize = 5;
        let mut begun = 0;
        while !bytes.is_empty() {
            let skipped = self.body_left.min(bytes.len());
            self.body_left -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let [_, a, b, c, d] = self.header[..] {
                self.body_left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.header.clear();
                begun += 1;
            }
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let message = |length: u8| {
            let mut bytes = vec![0, 0, 0, 0, length];
            bytes.extend(std::iter::repeat_n(7, usize::from(length)));
            bytes
        };
        let stream: Vec<u8> = [3, 0, 200, 1].into_iter().flat_map(message).collect();
        for size in 1..=stream.len() {
            let mut messages = Messages::default();
            let counted: u64 = stream
                .chunks(size)
                .map(|part| messages.begun_in(part))
                .sum();
            assert_eq!(counted, 4, "in parts of {size} bytes");
        }
    }

    #[test]
    fn what_came_on_top_is_the_difference() {
        let counter = Counter::new();
        counter.count(0);
        let before = counter.requests();
        counter.count(0);
        counter.count(3);
        let since = counter.requests().since(&before);
        assert_eq!(since.by_kind, BTreeMap::from([("range", 1), ("txn", 1)]));
        assert_eq!(since.total(), 2);
    }
}
