//! How the clients of a benchmark are connected.

use etcd_client::{BalancedChannelBuilder, Channel};
use http::Uri;
use tokio::sync::mpsc::Sender;
use tonic::transport::Endpoint;
use tonic::transport::channel::Change;

use super::requests::Counter;
use crate::transport::WriteCoalescing;

/// How requests are written to a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Writes {
    /// As by [`WriteCoalescing`]: head and body at once.
    #[default]
    Coalesced,
    /// As by [`Client::connect`](etcd_client::Client::connect): one after the other.
    Separate,
}

/// See [`Counter::builder`].
#[derive(Debug)]
pub struct Counted {
    pub(super) counter: Counter,
    pub(super) writes: Writes,
}

impl BalancedChannelBuilder for Counted {
    type Error = etcd_client::Error;

    fn balanced_channel(
        self,
        buffer_size: usize,
    ) -> Result<(Channel, Sender<Change<Uri, Endpoint>>), etcd_client::Error> {
        let (channel, endpoints) = match self.writes {
            Writes::Coalesced => WriteCoalescing::new().balanced_channel(buffer_size)?,
            Writes::Separate => {
                let (channel, endpoints) = tonic::transport::Channel::balance_channel(buffer_size);
                (Channel::Tonic(channel), endpoints)
            }
        };
        Ok((self.counter.on(channel), endpoints))
    }
}
