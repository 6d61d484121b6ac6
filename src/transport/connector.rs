//! TCP connections to an endpoint, with its settings, that coalesce their writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use super::coalescing::Coalescing;

/// Whether a connection is being made right now.
#[derive(Clone, Debug, Default)]
pub(super) struct Connecting(Arc<AtomicBool>);

impl Connecting {
    pub(super) fn is_in_progress(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) -> Attempt {
        self.0.store(true, Ordering::Relaxed);
        Attempt(self.clone())
    }
}

/// One attempt to connect; over when it is dropped, however it ended.
pub(super) struct Attempt(Connecting);

impl Drop for Attempt {
    fn drop(&mut self) {
        (self.0.0).store(false, Ordering::Relaxed);
    }
}

/// A channel to the endpoint that connects when it is first used. TLS and the time
/// limit of connecting are added by the endpoint itself.
pub(super) fn channel(endpoint: &Endpoint, connecting: Connecting) -> Channel {
    let mut tcp = tcp(endpoint);
    endpoint.connect_with_connector_lazy(tower::service_fn(move |address: Uri| {
        let attempt = connecting.begin();
        let connected = tcp.call(address);
        async move {
            let connected = connected.await;
            drop(attempt);
            let stream = connected.map(TokioIo::into_inner);
            stream.map(|stream| TokioIo::new(Coalescing::new(stream)))
        }
    }))
}

/// As tonic sets it up for its own connections.
fn tcp(endpoint: &Endpoint) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    // The scheme may be https: TLS is above.
    tcp.enforce_http(false);
    tcp.set_nodelay(endpoint.get_tcp_nodelay());
    tcp.set_keepalive(endpoint.get_tcp_keepalive());
    tcp.set_keepalive_interval(endpoint.get_tcp_keepalive_interval());
    tcp.set_keepalive_retries(endpoint.get_tcp_keepalive_retries());
    tcp.set_connect_timeout(endpoint.get_connect_timeout());
    tcp
}
