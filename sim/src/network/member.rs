//! The member's end of a call: a task of the member's node.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame};
use smallvec::SmallVec;
use tonic::body::Body;
use tower::Service as _;

use super::exchange::{Broken, Down, Exchange, Up as Message};
use super::inbox::{self, Inbox, Letter};
use super::soon;
use crate::cluster::{Applied, Router};
use crate::executor::{Node, SimTime, now, sleep_until};
use crate::service::Caller;

/// A member that accepts connections.
pub(super) struct Up {
    pub(super) node: Node,
    router: Router,
    inbox: Arc<Inbox>,
}

impl Up {
    /// A member that answers through `router`, in tasks of `node`.
    pub(super) fn new(node: Node, router: Router) -> Self {
        let inbox = Arc::new(Inbox::default());
        node.spawn(inbox::work_off(Arc::clone(&inbox), router.clone()));
        Up {
            node,
            router,
            inbox,
        }
    }

    /// Nothing new is handled before `until`.
    pub(super) fn stall(&self, until: SimTime) {
        self.inbox.stall(until);
    }

    /// Ends a [`stall`](Up::stall).
    pub(super) fn go_on(&self) {
        self.inbox.go_on();
    }

    /// A call that is one message arrives at `arrival`.
    pub(super) fn receive(&self, arrival: SimTime, letter: Letter) {
        self.inbox.put(arrival, letter);
    }

    /// Hands any other call over to the member: its first message arrives at `arrival`.
    pub(super) fn accept(
        &self,
        exchange: Arc<Exchange>,
        parts: Box<http::request::Parts>,
        arrival: SimTime,
    ) {
        let (inbox, router) = (Arc::clone(&self.inbox), self.router.clone());
        self.node.spawn(async move {
            sleep_until(arrival).await;
            while inbox.stalled_until() > now() {
                sleep_until(soon(inbox.stalled_until())).await;
            }
            serve(router, exchange, *parts).await;
        });
    }
}

/// Whether a call that waits is given up when nobody waits for its answer any more: one
/// that runs a recipe does something about that, and a change of membership has no time
/// limit of its own. All others are requests to the cluster, which go on.
fn ends_with_its_caller(path: &str) -> bool {
    let prefixes = ["/v3lockpb.", "/v3electionpb.", "/etcdserverpb.Cluster/"];
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

/// Any other call.
async fn serve(mut router: Router, exchange: Arc<Exchange>, parts: http::request::Parts) {
    if exchange.broken().is_some() {
        return;
    }
    let body = Body::new(RequestBody {
        exchange: Arc::clone(&exchange),
        done: false,
    });
    let ends_with_its_caller = ends_with_its_caller(parts.uri.path());
    let mut request = http::Request::from_parts(parts, body);
    request.extensions_mut().insert(Caller(exchange.client));
    let mut call = router.call(request);
    let response = std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Pending if ends_with_its_caller => exchange.poll_over(context).map(|()| None),
        answered => answered.map(Some),
    });
    let response = match response.await {
        Some(Ok(response)) => response,
        Some(Err(never)) => match never {},
        None => return,
    };
    let (head, body) = response.into_parts();
    if head.extensions.get::<Applied>().is_some() {
        exchange.applied();
    }
    answer(&exchange, head, body).await;
}

/// Relays the response: the head with the first message, the trailers with the
/// last one, every message in between by itself.
async fn answer(exchange: &Exchange, head: http::response::Parts, body: Body) {
    let mut body = pin!(body);
    let mut head = Some(Box::new(head));
    loop {
        let ready = std::future::poll_fn(|context| match poll_ready(body.as_mut(), context) {
            Poll::Ready(ready) => Poll::Ready(Some(ready)),
            Poll::Pending => exchange.poll_over(context).map(|()| None),
        })
        .await;
        let Some(ready) = ready else { return };
        for mut down in ready {
            let end = down.end;
            down.head = head.take();
            if !exchange.send_down(down) || end {
                return;
            }
        }
    }
}

/// What the member has to say at one moment, message by message.
type Ready = SmallVec<[Down; 1]>;

/// Collects all frames that are ready.
fn poll_ready(mut body: Pin<&mut Body>, context: &mut Context<'_>) -> Poll<Ready> {
    let mut ready = Ready::new();
    loop {
        match body.as_mut().poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => ready.extend(split(data).map(|message| Down {
                    data: Some(message),
                    ..Down::default()
                })),
                Err(frame) => last(&mut ready).trailers = frame.into_trailers().ok(),
            },
            // The services report errors in trailers; a body that breaks is a
            // stream that ends.
            Poll::Ready(Some(Err(_)) | None) => {
                last(&mut ready).end = true;
                return Poll::Ready(ready);
            }
            Poll::Pending if ready.is_empty() => return Poll::Pending,
            Poll::Pending => return Poll::Ready(ready),
        }
    }
}

/// The last message that is ready; an empty one when there is none.
fn last(ready: &mut Ready) -> &mut Down {
    if ready.is_empty() {
        ready.push(Down::default());
    }
    ready.last_mut().expect("there is one")
}

/// Cuts a frame into gRPC messages: a flag byte, four bytes of length, the
/// message (gRPC over HTTP/2, "Length-Prefixed-Message").
pub(super) fn split(data: Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let mut data = rest.take()?;
        if data.len() > 5 {
            let length = (&data[1..5]).get_u32() as usize + 5;
            if length < data.len() {
                let message = data.split_to(length);
                rest = Some(data);
                return Some(message);
            }
        }
        Some(data)
    })
}

/// The body of a request as the member reads it.
struct RequestBody {
    exchange: Arc<Exchange>,
    done: bool,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let message = match this.exchange.poll_up(context) {
            Poll::Ready(message) => message,
            Poll::Pending => return Poll::Pending,
        };
        this.done = !matches!(message, Ok(Message::Message(_)));
        Poll::Ready(match message {
            Ok(Message::Message(data)) => Some(Ok(Frame::data(data))),
            Ok(Message::End) => None,
            Ok(Message::Cancel) => Some(Err(tonic::Status::cancelled("context canceled"))),
            Err(Broken::Reset) => Some(Err(tonic::Status::cancelled("connection reset by peer"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn a_frame_is_cut_into_its_messages() {
        let all = [message("one"), message(""), message("three")];
        let parts: Vec<_> = split(Bytes::from(all.concat())).collect();
        assert_eq!(parts, all.map(Bytes::from).to_vec());
    }

    #[test]
    fn what_is_no_whole_message_is_kept_as_it_is() {
        let bytes = Bytes::from_static(b"\0\0\0\0\x09abc");
        assert_eq!(split(bytes.clone()).collect::<Vec<_>>(), vec![bytes]);
    }
}
