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
            let life = self.is_open().await;
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
                // It lets go of the listener, so that whoever connects is refused, tells its
                // clients to go away, and ends what they have asked.
                .serve_with_incoming_shutdown(gate, incoming, self.is_closed());
            match select(pin!(server), pin!(self.is_gone(life))).await {
                Either::Left(_) | Either::Right(_) => self.connections.cut(),
            }
        }
    }

    /// Waits until the member can be connected to; the life that it is in.
    async fn is_open(&self) -> Option<u64> {
        loop {
            let changed = self.network.changed();
            let stops = self.network.stop_of(self.member).is_some();
            let refused_until = self.network.refused_until(STRANGERS, self.member);
            match refused_until.filter(|_| !stops) {
                Some(at) if at <= now() => return self.network.life(self.member),
                Some(at) => {
                    select(pin!(changed), pin!(sleep_until(at))).await;
                }
                None => changed.await,
            }
        }
    }

    /// Waits until the member is told to stop.
    async fn is_closed(&self) {
        loop {
            let changed = self.network.changed();
            if self.network.stop_of(self.member).is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the connections to the member break: that life of it is over, or the
    /// network refuses them. Meanwhile it cuts connections that are reset.
    async fn is_gone(&self, life: Option<u64>) {
        let mut resets = self.network.resets(STRANGERS);
        loop {
            let changed = self.network.changed();
            let refused_until = self.network.refused_until(STRANGERS, self.member);
            let is_refused = refused_until.is_none_or(|until| until > now());
            if is_refused || self.network.life(self.member) != life {
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
