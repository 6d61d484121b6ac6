//! Whether the member serves: the service `grpc.health.v1.Health` that every gRPC server of
//! Go's can have, and etcd has.

use std::future::ready;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use tonic::body::Body;
use tonic::{Request, Response, Status};

use super::method::{Answered, server_streaming, unary, unknown};

/// `HealthCheckRequest` of gRPC's `health.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `HealthCheckResponse` of gRPC's `health.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `HealthListRequest` of gRPC's `health.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthListRequest {}

/// `HealthListResponse` of gRPC's `health.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthListResponse {
    #[prost(message, repeated, tag = "1")]
    statuses: Vec<ListedHealth>,
}

/// An entry of its map. Go writes the key also when it is empty.
#[derive(Clone, PartialEq, prost::Message)]
struct ListedHealth {
    #[prost(string, optional, tag = "1")]
    service: Option<String>,
    #[prost(message, optional, tag = "2")]
    status: Option<HealthCheckResponse>,
}

/// `SERVING` and `SERVICE_UNKNOWN` of gRPC's `health.proto`.
const SERVING: HealthCheckResponse = HealthCheckResponse { status: 1 };
const SERVICE_UNKNOWN: HealthCheckResponse = HealthCheckResponse { status: 3 };

/// Answers a call by its path. All services together have the empty name, and no single one
/// is known.
pub(super) fn call(has_list: bool, request: http::Request<Body>) -> Answered {
    match request.uri().path().rsplit('/').next().unwrap_or_default() {
        "Check" => unary(request, |request| ready(check(&request))),
        "Watch" => server_streaming(request, |request| ready(Ok(watch(&request)))),
        "List" if has_list => unary(request, |_: Request<HealthListRequest>| {
            let statuses = vec![ListedHealth {
                service: Some(String::new()),
                status: Some(SERVING),
            }];
            ready(Ok(Response::new(HealthListResponse { statuses })))
        }),
        _ => unknown(&request),
    }
}

fn check(request: &Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
    match request.get_ref().service.as_str() {
        "" => Ok(Response::new(SERVING)),
        _ => Err(Status::not_found("unknown service")),
    }
}

/// What is there, and then nothing new: as long as the member runs, it serves.
fn watch(
    request: &Request<HealthCheckRequest>,
) -> Response<BoxStream<'static, Result<HealthCheckResponse, Status>>> {
    let status = match request.get_ref().service.as_str() {
        "" => SERVING,
        _ => SERVICE_UNKNOWN,
    };
    let first = stream::once(ready(Ok(status)));
    Response::new(first.chain(stream::pending()).boxed())
}
