//! Connections that send the head and the body of a request together.
//!
//! The channel that [`Client::connect`](etcd_client::Client::connect) makes sends
//! each request in two writes: HTTP/2 opens a stream with the head, and the body
//! follows when the stream is open. On one machine, or in one rack, the second
//! system call and the second time that etcd is woken are a tenth of the whole
//! request. A client that is connected through [`WriteCoalescing`] lets every task
//! that is ready add what it has to send, and writes it all at once, as the Go
//! client does. Nothing waits for time to pass, so that no request is sent later.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use etcd_recipes::etcd_client::Client;
//! use etcd_recipes::transport::WriteCoalescing;
//!
//! let endpoints = ["http://127.0.0.1:2379"];
//! let client =
//!     Client::connect_with_balanced_channel(endpoints, None, WriteCoalescing::new()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Recipes take any client; nothing else depends on how it is connected.

mod coalescing;
mod connector;
mod members;

use etcd_client::{BalancedChannelBuilder, Channel};
use http::Uri;
use tokio::sync::mpsc::Sender;
use tonic::transport::Endpoint;
use tonic::transport::channel::Change;
use tower::util::BoxCloneSyncService;

use self::members::Members;

/// For [`Client::connect_with_balanced_channel`](etcd_client::Client::connect_with_balanced_channel):
/// makes channels whose connections write what is to be sent at once. See the
/// [module](self).
///
/// # What it promises
///
/// - All of [`ConnectOptions`](etcd_client::ConnectOptions) hold: TLS, users,
///   time limits, keep-alive, TCP settings.
/// - Requests go to the endpoints in turn. While an endpoint is being connected to,
///   those that can go elsewhere do. A request that meets a connection which
///   cannot be made fails with that error, and the next one to that endpoint tries
///   to connect again.
/// - Endpoints that the client adds and removes later are taken up and given up.
///
/// # What it does not promise
///
/// It does not look whether a member is healthy: one that is connected and does not
/// answer keeps its share of the requests, as with the client's own channel.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct WriteCoalescing;

impl WriteCoalescing {
    /// A builder of such channels.
    #[must_use]
    pub fn new() -> Self {
        WriteCoalescing
    }
}

impl BalancedChannelBuilder for WriteCoalescing {
    type Error = etcd_client::Error;

    fn balanced_channel(
        self,
        buffer_size: usize,
    ) -> Result<(Channel, Sender<Change<Uri, Endpoint>>), etcd_client::Error> {
        let (changes, members) = Members::new(buffer_size, connector::channel);
        let channel = Channel::Custom(BoxCloneSyncService::new(members));
        Ok((channel, changes))
    }
}
