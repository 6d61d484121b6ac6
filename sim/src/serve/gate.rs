//! From a request over TCP to the simulated network.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::plain;
use crate::cluster::Member;
use crate::network::Channel;

/// Everything that strangers can ask of one member.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) channel: Arc<Channel>,
    pub(super) etcd: Member,
}

impl Service<http::Request<Body>> for Gate {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.version() != http::Version::HTTP_2 {
            let asked = (request.method().clone(), request.uri().clone());
            return Box::pin(asked_plainly(self.etcd.clone(), asked));
        }
        let call = Arc::clone(&self.channel).call(request);
        Box::pin(async move {
            let answered = call.await;
            Ok(answered.unwrap_or_else(|broken| Status::from_error(broken).into_http()))
        })
    }
}

/// The member answers, unless its process stands still.
async fn asked_plainly(
    etcd: Member,
    (method, uri): (http::Method, http::Uri),
) -> Result<http::Response<Body>, Infallible> {
    let (tell, told) = oneshot::channel();
    let of_member = etcd.clone();
    etcd.spawn(async move {
        // Whoever has asked may be gone.
        let _ = tell.send(plain::answer(&of_member, &method, &uri).await);
    });
    match told.await {
        Ok(answer) => Ok(answer),
        // The process is gone, and its connections break.
        Err(_) => std::future::pending().await,
    }
}
