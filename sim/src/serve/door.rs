//! Where a member listens, and when it does not.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::net::TcpListener;
use tonic::transport::Server;

use super::STRANGERS;
use super::connection::{Connections, Incoming};
use super::gate::Gate;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::cluster::Member;
use crate::executor::{Node, now, sleep, sleep_until};
use crate::network::{Channel, Network};

/// How long to wait before an address that somebody else uses is tried again.
const LISTEN_AGAIN: Duration = Duration::from_millis(50);

/// Where one member listens.
pub(super) struct Door {
    pub(super) network: Network,
    pub(super) member: usize,
    pub(super) address: SocketAddr,
    /// From strangers to the member.
    pub(super) channel: Channel,
    pub(super) etcd: Member,
    pub(super) connections: Arc<Connections>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
}

impl Door {
    /// Accepts connections for as long as the cluster is served.
    pub(super) fn spawn(self, listener: TcpListener) {
        Node::new(&format!("door-{}", self.member)).spawn(self.keep(listener));
    }

    async fn keep(self, listener: TcpListener) {
        let mut listener = Some(listener);
        loop {
            self.is_open().await;
            let listener = match listener.take() {
                Some(listener) => listener,
                None => self.listen().await,
            };
            let incoming = Incoming {
                listener,
                #[cfg(feature = "tls")]
                tls: self.tls.clone(),
                connections: Arc::clone(&self.connections),
            };
            let gate = Gate {
                channel: Arc::new(self.channel.clone()),
                etcd: self.etcd.clone(),
            };
            let server = Server::builder()
                .accept_http1(true)
                // As many as a client likes, as in etcd (`server/embed/config.go`).
                .max_concurrent_streams(u32::MAX)
                .serve_with_incoming(gate, incoming);
            // With the server goes its listener: whoever connects is refused.
            match select(pin!(server), pin!(self.is_closed())).await {
                Either::Left(_) | Either::Right(_) => self.connections.cut(),
            }
        }
    }

    /// Waits until the member can be connected to.
    async fn is_open(&self) {
        loop {
            let changed = self.network.changed();
            let opens_at = self.network.opens_at(STRANGERS, self.member);
            match opens_at {
                Some(at) if at <= now() => return,
                Some(at) => {
                    select(pin!(changed), pin!(sleep_until(at))).await;
                }
                None => changed.await,
            }
        }
    }

    /// Waits until the member cannot be connected to. Meanwhile it cuts connections
    /// that are reset.
    async fn is_closed(&self) {
        let mut resets = self.network.resets(STRANGERS);
        loop {
            let changed = self.network.changed();
            let opens_at = self.network.opens_at(STRANGERS, self.member);
            if opens_at.is_none_or(|at| at > now()) {
                return;
            }
            let before = std::mem::replace(&mut resets, self.network.resets(STRANGERS));
            if before != resets {
                self.connections.cut();
            }
            changed.await;
        }
    }

    /// Takes the address again. Somebody else may have it for a moment.
    async fn listen(&self) -> TcpListener {
        loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return listener,
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "cannot listen again");
                    sleep(LISTEN_AGAIN).await;
                }
            }
        }
    }
}
