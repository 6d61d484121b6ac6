//! Calls that no generated server takes: for services whose traits `etcd-client` does
//! not export.

use std::future::Future;
use std::pin::Pin;

use tokio_stream::Stream;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// What a method gives over HTTP.
pub(super) type Answered = Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>;

/// A call of one message each way.
pub(super) fn unary<Q, A, F, Fut>(request: http::Request<Body>, method: F) -> Answered
where
    Q: prost::Message + Default + Send + 'static,
    A: prost::Message + Default + Send + 'static,
    F: FnMut(Request<Q>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<A>, Status>> + Send + 'static,
{
    Box::pin(async move {
        let mut grpc = Grpc::new(ProstCodec::<A, Q>::default());
        grpc.unary(tower::service_fn(method), request).await
    })
}

/// A call with one message, and any number of answers.
pub(super) fn server_streaming<Q, A, S, F, Fut>(request: http::Request<Body>, method: F) -> Answered
where
    Q: prost::Message + Default + Send + 'static,
    A: prost::Message + Default + Send + 'static,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
    F: FnMut(Request<Q>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Response<S>, Status>> + Send + 'static,
{
    Box::pin(async move {
        let mut grpc = Grpc::new(ProstCodec::<A, Q>::default());
        grpc.server_streaming(tower::service_fn(method), request)
            .await
    })
}

/// The answer to a method that there is not, in the words of Go's gRPC library.
pub(super) fn unknown(request: &http::Request<Body>) -> Answered {
    let mut path = request.uri().path().split('/').skip(1);
    let (service, method) = (path.next().unwrap_or(""), path.next().unwrap_or(""));
    let status = Status::unimplemented(format!("unknown method {method} for service {service}"));
    Box::pin(std::future::ready(status.into_http()))
}
