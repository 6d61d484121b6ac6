//! The member's end of a call: a task of the member's node.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame};
use tonic::body::Body;
use tower::Service as _;

use super::exchange::{Arrival, Broken, Down, Exchange, Up as Message};
use crate::cluster::{Applied, Router};
use crate::executor::{Node, SimTime, sleep_until};

/// A member that accepts connections.
#[derive(Clone)]
pub(super) struct Up {
    pub(super) node: Node,
    pub(super) router: Router,
}

impl Up {
    /// Hands a call over to the member: its first message arrives at `arrival`.
    pub(super) fn accept(
        self,
        exchange: Arc<Exchange>,
        parts: http::request::Parts,
        arrival: SimTime,
    ) {
        let router = self.router;
        self.node.spawn(async move {
            sleep_until(arrival).await;
            // A reset also destroys what was on its way.
            if exchange.broken().is_none() {
                serve(router, exchange, parts).await;
            }
        });
    }
}

async fn serve(mut router: Router, exchange: Arc<Exchange>, parts: http::request::Parts) {
    let body = Body::new(RequestBody {
        exchange: Arc::clone(&exchange),
        arrival: Arrival::default(),
        done: false,
    });
    let response = match router.call(http::Request::from_parts(parts, body)).await {
        Ok(response) => response,
        Err(never) => match never {},
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
    let mut head = Some(head);
    let mut over = Arrival::default();
    loop {
        let ready = std::future::poll_fn(|context| match poll_ready(body.as_mut(), context) {
            Poll::Ready(ready) => Poll::Ready(Some(ready)),
            Poll::Pending => exchange.poll_over(&mut over, context).map(|()| None),
        })
        .await;
        let Some(ready) = ready else { return };
        for down in ready.into_messages(&mut head) {
            let end = down.end;
            if !exchange.send_down(down) || end {
                return;
            }
        }
    }
}

/// What the member has to say at one moment.
struct Ready {
    frames: Vec<Frame<Bytes>>,
    end: bool,
}

/// Collects all frames that are ready.
fn poll_ready(mut body: Pin<&mut Body>, context: &mut Context<'_>) -> Poll<Ready> {
    let mut frames = Vec::new();
    loop {
        match body.as_mut().poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frames.push(frame),
            // The services report errors in trailers; a body that breaks is a
            // stream that ends.
            Poll::Ready(Some(Err(_)) | None) => {
                return Poll::Ready(Ready { frames, end: true });
            }
            Poll::Pending if frames.is_empty() => return Poll::Pending,
            Poll::Pending => return Poll::Ready(Ready { frames, end: false }),
        }
    }
}

impl Ready {
    fn into_messages(self, head: &mut Option<http::response::Parts>) -> Vec<Down> {
        let mut messages: Vec<Down> = Vec::with_capacity(1);
        for frame in self.frames {
            match frame.into_data() {
                Ok(data) => messages.extend(split(data).into_iter().map(|message| Down {
                    head: head.take(),
                    frames: VecDeque::from([Frame::data(message)]),
                    end: false,
                })),
                Err(trailers) => match messages.last_mut() {
                    Some(last) => last.frames.push_back(trailers),
                    None => messages.push(Down {
                        head: head.take(),
                        frames: VecDeque::from([trailers]),
                        end: false,
                    }),
                },
            }
        }
        if self.end {
            match messages.last_mut() {
                Some(last) => last.end = true,
                None => messages.push(Down {
                    head: head.take(),
                    frames: VecDeque::new(),
                    end: true,
                }),
            }
        }
        messages
    }
}

/// Cuts a frame into gRPC messages: a flag byte, four bytes of length, the
/// message (gRPC over HTTP/2, "Length-Prefixed-Message").
pub(super) fn split(mut data: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::with_capacity(1);
    while data.len() > 5 {
        let length = (&data[1..5]).get_u32() as usize + 5;
        if length >= data.len() {
            break;
        }
        messages.push(data.split_to(length));
    }
    messages.push(data);
    messages
}

/// The body of a request as the member reads it.
struct RequestBody {
    exchange: Arc<Exchange>,
    arrival: Arrival,
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
        let message = match this.exchange.poll_up(&mut this.arrival, context) {
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
        let parts = split(Bytes::from(all.concat()));
        assert_eq!(parts, all.map(Bytes::from).to_vec());
    }

    #[test]
    fn what_is_no_whole_message_is_kept_as_it_is() {
        let bytes = Bytes::from_static(b"\0\0\0\0\x09abc");
        assert_eq!(split(bytes.clone()), vec![bytes]);
    }
}
