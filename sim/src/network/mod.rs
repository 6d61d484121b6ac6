//! The wire between clients and the member.
//!
//! ```text
//!   client's process            |  network                 |  member's node
//!   etcd_client                 |                          |
//!     Channel::Custom ──────────┼─ message ── fate ────────┼─> serve ─> services
//!        (channel.rs)           |   delivered at t,        |   (member.rs)
//!     Streaming<..> <───────────┼── or lost ── message ────┼──
//! ```
//!
//! A message that was sent belongs to the network and then to the member: it
//! is handled in a task of the member's node. Nothing that happens to the
//! client afterwards stops or undoes it. Every message, in both directions and
//! on unary calls and streams alike, has a *fate*: it arrives after a delay, or
//! never. Within a stream the order is kept, so whatever follows a lost message
//! on the same stream is lost as well: TCP does not skip. A side that is cut
//! off notices nothing until its own timeout.
//!
//! - [`Channel`]: the client's end, what `etcd_client` is built on.
//! - `exchange`: one call: two queues of messages and what broke them.
//! - `link`: the state of the connection of one client, and the fates.
//! - `member`, `inbox`: the member's end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::executor::{Node, SimTime};
use crate::fault::{ClientId, FaultKind};
use crate::plan::Latency;

mod channel;
mod exchange;
mod inbox;
mod link;
mod member;

pub use channel::{Channel, ChannelOptions};

use exchange::{Broken, Exchange};
use link::Link;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives(SimTime),
    Lost,
}

/// A fault that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultEvent {
    /// When it took effect.
    pub at: SimTime,
    /// One of [`FaultKind::NAMES`].
    pub kind: &'static str,
    /// The client that it struck; none for the member.
    pub client: Option<ClientId>,
    /// The path of the call that it struck, such as `/etcdserverpb.KV/Txn`;
    /// empty where no single call was.
    pub call: String,
}

/// Told of each fault as it takes effect.
pub type Observer = Arc<dyn Fn(&FaultEvent) + Send + Sync>;

/// What happened on the wire during a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkReport {
    /// Messages sent, in both directions.
    pub messages: u64,
    /// Calls opened, unary and streams.
    pub calls: u64,
    /// Mutations that the member applied although the client never got the
    /// answer: what a client sees as an unknown outcome.
    pub applied_unanswered: u64,
    /// How often each kind of fault took effect, by [`FaultKind::NAMES`].
    pub faults: BTreeMap<&'static str, u64>,
}

/// The network of a run: one link between each client and the member.
#[derive(Clone)]
pub(crate) struct Network {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    seed: u64,
    latency: Latency,
    messages_max: u64,
    observer: Option<Observer>,
    state: Mutex<State>,
}

struct State {
    links: BTreeMap<ClientId, Link>,
    /// None while the member is down.
    member: Option<member::Up>,
    report: NetworkReport,
}

/// How a network is made.
pub(crate) struct NetworkOptions {
    pub(crate) seed: u64,
    pub(crate) latency: Latency,
    /// The run stops answering after this many messages.
    pub(crate) messages_max: u64,
    pub(crate) observer: Option<Observer>,
}

impl Network {
    pub(crate) fn new(options: NetworkOptions) -> Self {
        Network {
            shared: Arc::new(Shared {
                seed: crate::seed::Stream::Network.seed(options.seed),
                latency: options.latency,
                messages_max: options.messages_max,
                observer: options.observer,
                state: Mutex::new(State {
                    links: BTreeMap::new(),
                    member: None,
                    report: NetworkReport::default(),
                }),
            }),
        }
    }

    /// The member is up: it runs on `node` and answers through `router`.
    pub(crate) fn member_up(&self, node: Node, router: crate::cluster::Router) {
        let member = member::Up::new(node, router);
        self.lock().member = Some(member);
    }

    pub(crate) fn member_is_up(&self) -> bool {
        self.lock().member.is_some()
    }

    /// The member's process dies with every request that it was handling: it
    /// refuses connections, and those it had are reset; a client that is cut off
    /// at that moment hears nothing of it. False when it was down.
    pub(crate) fn member_dies(&self, now: SimTime) -> bool {
        let (member, exchanges) = {
            let mut state = self.lock();
            let Some(member) = state.member.take() else {
                return false;
            };
            let links = state.links.values_mut();
            let reached = links.filter(|link| !link.is_partitioned(now));
            let exchanges: Vec<_> = reached.flat_map(Link::take_exchanges).collect();
            (member, exchanges)
        };
        member.node.kill();
        break_all(&exchanges, Broken::Reset);
        true
    }

    /// Starts a new incarnation of a client's process; whatever the old one
    /// still sends goes nowhere.
    pub(crate) fn new_incarnation(&self, client: ClientId) -> u64 {
        let mut state = self.lock();
        let link = state.links.entry(client).or_default();
        link.incarnation += 1;
        link.dead = false;
        link.incarnation
    }

    /// The current incarnation of a client's process has died: it opens no more
    /// calls. What it has sent is on its way all the same.
    pub(crate) fn client_dies(&self, client: ClientId) {
        self.lock().links.entry(client).or_default().dead = true;
    }

    /// Whether the run has used up its messages.
    pub(crate) fn exhausted(&self) -> bool {
        self.lock().report.messages > self.shared.messages_max
    }

    pub(crate) fn report(&self) -> NetworkReport {
        self.lock().report.clone()
    }

    /// Applies the part of a fault that concerns the wire.
    pub(crate) fn strike(&self, kind: &FaultKind, now: SimTime) {
        let Some(client) = kind.client() else { return };
        let until = SimTime::from_millis(kind.lasts_ms()).as_nanos();
        let until = now + std::time::Duration::from_nanos(until);
        let broken = {
            let mut state = self.lock();
            let link = state.links.entry(client).or_default();
            match *kind {
                FaultKind::LoseRequest { .. } => link.lose_requests += 1,
                FaultKind::LoseResponse { .. } => link.lose_responses += 1,
                FaultKind::Delay { by_ms, .. } => link.delay_until(until, by_ms),
                FaultKind::Partition { .. } => link.partition_until(until),
                _ => {}
            }
            match kind {
                FaultKind::Reset { .. } => link.take_exchanges(),
                _ => Vec::new(),
            }
        };
        if break_all(&broken, Broken::Reset) {
            self.happened(now, kind.name(), Some(client), "");
        }
    }

    /// Ends every fault of the wire. What was lost stays lost.
    pub(crate) fn heal(&self) {
        self.lock().links.values_mut().for_each(Link::heal);
    }

    /// Counts a fault that took effect and tells the observer.
    pub(crate) fn happened(
        &self,
        at: SimTime,
        kind: &'static str,
        client: Option<ClientId>,
        call: &str,
    ) {
        *self.lock().report.faults.entry(kind).or_default() += 1;
        if let Some(observer) = &self.shared.observer {
            observer(&FaultEvent {
                at,
                kind,
                client,
                call: call.to_owned(),
            });
        }
    }

    /// Decides what becomes of the next message of `client`.
    fn fate(&self, client: ClientId, direction: Direction, now: SimTime, call: &str) -> Fate {
        let struck = {
            let mut state = self.lock();
            state.report.messages += 1;
            if state.report.messages > self.shared.messages_max {
                return Fate::Lost;
            }
            let link = state.links.entry(client).or_default();
            link.fate(client, direction, now, &self.shared)
        };
        if let Some(kind) = struck.fault {
            self.happened(now, kind, Some(client), call);
        }
        struck.fate
    }

    /// What becomes of the notice that a client has dropped a call: it takes its
    /// time and does not pass a partition, but no planned loss is spent on it.
    fn fate_of_cancellation(&self, client: ClientId, now: SimTime) -> Fate {
        let mut state = self.lock();
        let link = state.links.entry(client).or_default();
        link.fate_of_cancellation(client, now, &self.shared)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .expect("nothing panics while it holds the network's state")
    }
}

/// Whether there was anything to break.
fn break_all(exchanges: &[Arc<Exchange>], broken: Broken) -> bool {
    let mut any = false;
    for exchange in exchanges {
        any |= exchange.break_off(broken);
    }
    any
}
