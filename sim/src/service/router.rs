//! From the path of a request to the service that answers it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use etcd_client::proto::{
    PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer,
};
use http::header::HeaderName;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use super::auth::AuthService;
use super::cluster::ClusterService;
use super::election::ElectionService;
use super::health;
use super::kv::{KvService, TxnMethod};
use super::lease::LeaseService;
use super::lock::LockService;
use super::maintenance::MaintenanceService;
use super::malformed::in_words_of_go;
use super::method::{Answered, unknown};
use super::recipe::Inside;
use super::unary::{Call, Method};
use super::unknown_method;
use super::watch::WatchService;
use super::while_led::while_led;
use crate::cluster::{ClusterError, Member};
use crate::version::Version;

/// The services of one member: a gRPC server without a transport.
///
/// Errors travel inside the response, as gRPC statuses. A path that no service
/// knows is answered with "unimplemented".
#[derive(Clone, Debug)]
pub struct Router {
    services: Arc<Services>,
}

#[derive(Debug)]
struct Services {
    member: Member,
    kv: Arc<KvService>,
    kv_server: PbKvServer<KvService>,
    watch: PbWatchServer<WatchService>,
    lease: PbLeaseServer<LeaseService>,
    maintenance: PbMaintenanceServer<MaintenanceService>,
    cluster: PbClusterServer<ClusterService>,
    auth: Arc<AuthService>,
    lock: Arc<LockService>,
    election: Arc<ElectionService>,
}

impl Router {
    pub(crate) fn new(member: Member) -> Router {
        // The services check sizes themselves, to refuse in etcd's words.
        let kv = Arc::new(KvService::new(member.clone()));
        let inside = Inside::new(member.clone(), Arc::clone(&kv));
        let services = Services {
            member: member.clone(),
            kv: Arc::clone(&kv),
            auth: Arc::new(AuthService::new(member.clone())),
            lock: Arc::new(LockService::new(inside.clone())),
            election: Arc::new(ElectionService::new(inside)),
            kv_server: PbKvServer::from_arc(kv).max_decoding_message_size(usize::MAX),
            watch: PbWatchServer::new(WatchService::new(member.clone()))
                .max_decoding_message_size(usize::MAX),
            lease: PbLeaseServer::new(LeaseService::new(member.clone())),
            maintenance: PbMaintenanceServer::new(MaintenanceService::new(member.clone())),
            cluster: PbClusterServer::new(ClusterService::new(member)),
        };
        Router {
            services: Arc::new(services),
        }
    }
}

impl Router {
    /// Starts a unary call on keys, with the bytes of its one message.
    pub(crate) fn call_unary(
        &self,
        method: Method,
        headers: http::HeaderMap,
        message: Bytes,
    ) -> Call {
        match self.check_leader(&headers) {
            Ok(_) => method.call(&self.services.kv, headers, message),
            Err(refused) => Call::Answered(Err(refused)),
        }
    }

    /// Refuses a call that requires a leader while the member knows none
    /// (`newUnaryInterceptor` in etcd's `server/etcdserver/api/v3rpc/interceptor.go`).
    /// Whether it requires one.
    fn check_leader(&self, headers: &http::HeaderMap) -> Result<bool, Status> {
        static HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");
        let value = headers.get(&HAS_LEADER);
        let requires_leader = value.is_some_and(|value| value == "true");
        if requires_leader && !self.services.member.has_leader() {
            return Err(ClusterError::NoLeader.into());
        }
        Ok(requires_leader)
    }
}

/// An answer that cannot fail, for whoever expects that it could.
fn well(
    answered: Answered,
) -> Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>> {
    Box::pin(async move { Ok(answered.await) })
}

impl Service<http::Request<Body>> for Router {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let services = &self.services;
        let requires_leader = match self.check_leader(request.headers()) {
            Ok(requires_leader) => requires_leader,
            Err(refused) => return Box::pin(std::future::ready(Ok(refused.into_http()))),
        };
        let path = request.uri().path();
        if path == "/etcdserverpb.KV/Txn" {
            let txn = TxnMethod(Arc::clone(&services.kv));
            return Box::pin(async move { Ok(txn.serve(request).await) });
        }
        let options = services.member.options();
        let Some((service, method)) = split(request.uri()) else {
            let refused = malformed_name(request.uri(), options.version);
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        };
        let answer: Self::Future = match service.as_str() {
            // What it does not have it does not read either.
            "etcdserverpb.KV" if method == "RangeStream" => well(unknown(&request)),
            "etcdserverpb.Maintenance" if method == "Downgrade" && !options.is_at_least(3, 5) => {
                well(unknown(&request))
            }
            "grpc.health.v1.Health" => {
                let has_list = options.version.profile().lists_health;
                well(health::call(has_list, request))
            }
            "etcdserverpb.KV" => services.kv_server.clone().call(request),
            "etcdserverpb.Watch" => services.watch.clone().call(request),
            "etcdserverpb.Lease" => services.lease.clone().call(request),
            "etcdserverpb.Maintenance" => services.maintenance.clone().call(request),
            "etcdserverpb.Cluster" => services.cluster.clone().call(request),
            "etcdserverpb.Auth" => well(Arc::clone(&services.auth).call(request)),
            "v3lockpb.Lock" => well(Arc::clone(&services.lock).call(request)),
            "v3electionpb.Election" => well(Arc::clone(&services.election).call(request)),
            unknown => {
                let status = Status::unimplemented(format!("unknown service {unknown}"));
                return Box::pin(std::future::ready(Ok(status.into_http())));
            }
        };
        let member = requires_leader.then(|| services.member.clone());
        Box::pin(async move {
            let answer = answer.await?;
            if is_unknown_method(&answer) {
                return Ok(unknown_method(&service, &method).into_http());
            }
            let refused = Status::from_header_map(answer.headers());
            if let Some(refused) = refused.as_ref().and_then(in_words_of_go) {
                return Ok(refused.into_http());
            }
            Ok(match member {
                Some(member) => answer.map(|body| while_led(member, body)),
                None => answer,
            })
        })
    }
}

/// Service and method of a path, as Go's gRPC library takes it apart.
fn split(uri: &http::Uri) -> Option<(String, String)> {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let (service, method) = path.strip_prefix('/').unwrap_or(path).rsplit_once('/')?;
    Some((service.to_owned(), method.to_owned()))
}

/// The answer to a path that has no service.
fn malformed_name(uri: &http::Uri, version: Version) -> Status {
    let code = version.profile().malformed_name;
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    Status::new(code, format!("malformed method name: {path:?}"))
}

/// What the generated code answers to a method that it does not know: no more than
/// a code.
fn is_unknown_method(answer: &http::Response<Body>) -> bool {
    let headers = answer.headers();
    headers
        .get("grpc-status")
        .is_some_and(|status| *status == i32::from(Code::Unimplemented).to_string())
        && headers
            .get("grpc-message")
            .is_none_or(http::HeaderValue::is_empty)
}
