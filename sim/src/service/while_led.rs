//! Streams of clients that require a leader: they end when the member has had none for a while
//! (`monitorLeader` in etcd's `server/etcdserver/api/v3rpc/interceptor.go`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

use crate::cluster::{ClusterError, Member};
use crate::executor;

/// After so many looks in a row that found no leader, one each election timeout, the streams
/// end (`maxNoLeaderCnt`).
const LOOKS: u32 = 3;

/// The same answer, for as long as the member knows a leader.
pub(super) fn while_led(member: Member, body: Body) -> Body {
    Body::new(WhileLed {
        body: Some(body),
        lost: Box::pin(until_lost(member)),
    })
}

async fn until_lost(member: Member) {
    let mut looks = 0;
    while looks < LOOKS {
        executor::sleep(member.options().election_timeout).await;
        looks = if member.has_leader() { 0 } else { looks + 1 };
    }
}

struct WhileLed {
    /// None when it has ended.
    body: Option<Body>,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl http_body::Body for WhileLed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.lost.as_mut().poll(context));
        self.body = None;
        let refused = Status::from(ClusterError::NoLeader).into_http::<()>();
        let mut trailers = refused.into_parts().0.headers;
        // The head of the stream has said that.
        trailers.remove(http::header::CONTENT_TYPE);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}
