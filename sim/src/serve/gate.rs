//! From a request over TCP to the simulated network.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tower::Service;

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
            let answer = plain(&self.etcd, request.uri().path());
            return Box::pin(std::future::ready(Ok(answer)));
        }
        let call = Arc::clone(&self.channel).call(request);
        Box::pin(async move {
            let answered = call.await;
            Ok(answered.unwrap_or_else(|broken| Status::from_error(broken).into_http()))
        })
    }
}

/// What etcd answers to plain HTTP beside gRPC: `/health` and `/version`
/// (`server/etcdserver/api/etcdhttp`). There is no JSON gateway.
fn plain(etcd: &Member, path: &str) -> http::Response<Body> {
    let (code, content_type, text) = match path {
        "/health" if etcd.has_leader() => (200, "application/json", r#"{"health":"true"}"#.into()),
        "/health" => (503, "application/json", r#"{"health":"false"}"#.into()),
        "/version" => {
            let (version, cluster) = (etcd.version(), etcd.options().minor_version());
            let text = format!(r#"{{"etcdserver":"{version}","etcdcluster":"{cluster}"}}"#);
            (200, "application/json", text)
        }
        _ => (
            404,
            "text/plain; charset=utf-8",
            "404 page not found\n".into(),
        ),
    };
    let mut answer = http::Response::new(Body::new(text));
    *answer.status_mut() = http::StatusCode::from_u16(code).expect("it is one of three");
    let content_type = http::HeaderValue::from_static(content_type);
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    answer
}
