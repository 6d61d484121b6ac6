//! The wire between clients and members.
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
//! - `deadline`: how long its calls may take.
//! - `exchange`: one call: two queues of messages and what broke them.
//! - `balance`: which member a call goes to.
//! - `link`: the connections of one client, and the fates of its messages.
//! - `member`, `inbox`: the member's end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::cluster::MEMBERS_MAX;
use crate::executor::{Node, SimTime};
use crate::fault::{ClientId, FaultKind, MemberId, Party};
use crate::plan::Latency;

mod balance;
mod channel;
mod deadline;
mod exchange;
mod inbox;
mod link;
mod member;

pub use channel::{Channel, ChannelOptions, Endpoints};

use exchange::{Broken, Exchange};
use link::{Link, Links};

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
    /// The client that it struck; none for a member.
    pub client: Option<ClientId>,
    /// The member that it struck, in a cluster of several; none for a client.
    pub member: Option<MemberId>,
    /// How long it lasts from then on; nothing for what happens at an instant.
    pub lasts: Duration,
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

/// The network of a run: one link between each client and each member.
#[derive(Clone)]
pub(crate) struct Network {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    seed: u64,
    latency: Latency,
    endpoints: Endpoints,
    messages_max: u64,
    observers: Mutex<Vec<Observer>>,
    state: Mutex<State>,
    /// Somebody can be connected to that could not, or the other way round.
    changed: Notify,
}

struct State {
    links: BTreeMap<ClientId, Links>,
    /// None while a member is down.
    members: Vec<Option<Arc<member::Up>>>,
    /// How often each has come up.
    lives: [u64; MEMBERS_MAX],
    /// Which of them take no new connections, and which stop that is.
    closing: [Option<u64>; MEMBERS_MAX],
    /// How often a member was told to stop.
    stops: u64,
    report: NetworkReport,
}

impl State {
    fn links(&mut self, client: ClientId) -> &mut Links {
        let members = self.members.len();
        let links = self.links.entry(client);
        links.or_insert_with(|| Links::new(members))
    }
}

/// How a network is made.
pub(crate) struct NetworkOptions {
    pub(crate) seed: u64,
    pub(crate) latency: Latency,
    /// How many members there are.
    pub(crate) members: usize,
    /// Which of them clients know.
    pub(crate) endpoints: Endpoints,
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
                endpoints: options.endpoints,
                messages_max: options.messages_max,
                observers: Mutex::new(options.observer.into_iter().collect()),
                state: Mutex::new(State {
                    links: BTreeMap::new(),
                    members: vec![None; options.members],
                    lives: [0; MEMBERS_MAX],
                    closing: [None; MEMBERS_MAX],
                    stops: 0,
                    report: NetworkReport::default(),
                }),
                changed: Notify::new(),
            }),
        }
    }

    /// A member is up: it runs on `node` and answers through `router`.
    pub(crate) fn member_up(&self, member: MemberId, node: Node, router: crate::cluster::Router) {
        let up = member::Up::new(node, router);
        let mut state = self.lock();
        state.members[member] = Some(Arc::new(up));
        state.lives[member] += 1;
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// Which of its lives a member is in; none while it is down.
    pub(crate) fn life(&self, member: MemberId) -> Option<u64> {
        let state = self.lock();
        let is_up = state.members[member].is_some();
        is_up.then_some(state.lives[member])
    }

    pub(crate) fn member_is_up(&self, member: MemberId) -> bool {
        self.lock().members[member].is_some()
    }

    /// A member's process stands still, or goes on.
    pub(crate) fn pause_member(&self, member: MemberId, pause: bool) {
        let node = self.lock().members[member]
            .as_ref()
            .map(|up| up.node.clone());
        match node {
            Some(node) if pause => node.pause(),
            Some(node) => node.resume(),
            None => {}
        }
    }

    /// A member takes no new connections, and on those that it has no new calls. The
    /// number of this stop; none where it is down or about to stop already.
    pub(crate) fn member_closes(&self, member: MemberId, now: SimTime) -> Option<u64> {
        let mut state = self.lock();
        if state.members[member].is_none() || state.closing[member].is_some() {
            return None;
        }
        state.stops += 1;
        state.closing[member] = Some(state.stops);
        for links in state.links.values_mut() {
            links.to[member].go_away(now);
        }
        let stop = state.stops;
        drop(state);
        self.shared.changed.notify_waiters();
        Some(stop)
    }

    /// The number that [`Network::member_closes`] gave, if a member is about to stop.
    pub(crate) fn stop_of(&self, member: MemberId) -> Option<u64> {
        self.lock().closing[member]
    }

    /// Whether a member has calls that are not answered.
    pub(crate) fn has_calls(&self, member: MemberId) -> bool {
        let state = self.lock();
        let mut links = state.links.values().map(|links| &links.to[member]);
        links.any(Link::has_calls)
    }

    /// A member handles nothing new before `until`.
    fn stall_member(&self, member: MemberId, until: SimTime) {
        if let Some(Some(up)) = self.lock().members.get(member) {
            up.stall(until);
        }
    }

    /// A member's process dies with every request that it was handling: it
    /// refuses connections, and those it had are reset; a client that is cut off
    /// at that moment hears nothing of it. False when it was down.
    pub(crate) fn member_dies(&self, member: MemberId, now: SimTime) -> bool {
        let (up, exchanges) = {
            let mut state = self.lock();
            let Some(up) = state.members[member].take() else {
                return false;
            };
            state.closing[member] = None;
            let links = state.links.values_mut().map(|links| &mut links.to[member]);
            let reached = links.filter(|link| !link.is_partitioned(now));
            let exchanges: Vec<_> = reached.flat_map(|link| link.take_exchanges(now)).collect();
            (up, exchanges)
        };
        up.node.kill();
        break_all(&exchanges, Broken::Reset);
        self.shared.changed.notify_waiters();
        true
    }

    /// The run is over: members hear no more, and calls on their way to them, which hold the
    /// network, are dropped.
    pub(crate) fn close(&self) {
        let members: Vec<_> = {
            let mut state = self.lock();
            state.members.iter_mut().map(Option::take).collect()
        };
        drop(members);
    }

    /// Waits for a change of who can be connected to. Sees every change since it
    /// was made.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// Until when the network refuses a client's connections to a member; none while that
    /// is down.
    pub(crate) fn refused_until(&self, client: ClientId, member: MemberId) -> Option<SimTime> {
        let mut state = self.lock();
        state.members[member].as_ref()?;
        Some(state.links(client).to[member].refused_until())
    }

    /// How often a client's connections were reset.
    pub(crate) fn resets(&self, client: ClientId) -> u64 {
        self.lock().links(client).resets
    }

    /// Starts a new incarnation of a client's process; whatever the old one
    /// still sends goes nowhere.
    pub(crate) fn new_incarnation(&self, client: ClientId) -> u64 {
        let mut state = self.lock();
        let links = state.links(client);
        links.incarnation += 1;
        links.dead = false;
        links.incarnation
    }

    /// The current incarnation of a client's process has died: it opens no more
    /// calls. What it has sent is on its way all the same.
    pub(crate) fn client_dies(&self, client: ClientId) {
        self.lock().links(client).dead = true;
    }

    /// Whether the run has used up its messages.
    pub(crate) fn exhausted(&self) -> bool {
        self.lock().report.messages > self.shared.messages_max
    }

    pub(crate) fn report(&self) -> NetworkReport {
        self.lock().report.clone()
    }

    /// Applies the part of a fault that concerns the wire; what lasts, until `until`.
    pub(crate) fn strike(&self, kind: &FaultKind, now: SimTime, until: SimTime) {
        self.impose(kind, until);
        let Some(client) = kind.client() else { return };
        let broken = {
            let mut state = self.lock();
            let links = state.links(client);
            match *kind {
                FaultKind::LoseRequest { .. } => links.lose_requests += 1,
                FaultKind::LoseResponse { .. } => links.lose_responses += 1,
                FaultKind::HoldRequest { by_ms, .. } => {
                    links.hold_requests.push(Duration::from_millis(by_ms));
                }
                FaultKind::Delay { .. } => links.untold.delay = until,
                FaultKind::Partition { .. } => links.untold.partition = until,
                _ => {}
            }
            if let FaultKind::Reset { .. } | FaultKind::Refuse { .. } = kind {
                links.resets += 1;
            }
            let links = links.to.iter_mut();
            match kind {
                FaultKind::Reset { .. } | FaultKind::Refuse { .. } => {
                    links.flat_map(|link| link.take_exchanges(now)).collect()
                }
                FaultKind::BreakWatches { .. } => {
                    links.flat_map(|link| link.calls_of(WATCH)).collect()
                }
                _ => Vec::new(),
            }
        };
        let refuses = matches!(kind, FaultKind::Refuse { .. });
        if break_all(&broken, Broken::Reset) || refuses {
            self.happened(&FaultEvent {
                at: now,
                kind: kind.name(),
                client: Some(client),
                member: None,
                lasts: Duration::from_millis(kind.lasts_ms()),
                call: String::new(),
            });
        }
        self.shared.changed.notify_waiters();
    }

    /// The lasting part of a fault of the wire, until `until`.
    pub(crate) fn impose(&self, kind: &FaultKind, until: SimTime) {
        let ms = Duration::from_millis;
        match *kind {
            FaultKind::Cut {
                ref from,
                ref to,
                one_way,
                ..
            } => {
                self.cut(from, to, until);
                if !one_way {
                    self.cut(to, from, until);
                }
            }
            FaultKind::DelayLink {
                between: (a, b),
                by_ms,
                jitter_ms,
                ..
            } => {
                if let (Party::Client(client), Party::Member(member))
                | (Party::Member(member), Party::Client(client)) = (a, b)
                {
                    self.slow_down((client, member), until, ms(by_ms), ms(jitter_ms));
                }
            }
            FaultKind::Delay { client, by_ms, .. } => {
                let delay = |link: &mut Link| link.delay_until(until, ms(by_ms), ms(0));
                self.lock().links(client).to.iter_mut().for_each(delay);
            }
            FaultKind::Partition { client, .. } => {
                for link in &mut self.lock().links(client).to {
                    link.cut_until(Direction::Request, until);
                    link.cut_until(Direction::Response, until);
                }
            }
            FaultKind::Refuse { client, .. } => {
                let refuse = |link: &mut Link| link.refuse_until(until);
                self.lock().links(client).to.iter_mut().for_each(refuse);
            }
            FaultKind::StallMember { member, .. } => self.stall_member(member, until),
            _ => {}
        }
    }

    /// What clients and members on one side send to those on the other is lost.
    fn cut(&self, from: &[Party], to: &[Party], until: SimTime) {
        let mut state = self.lock();
        for pair in from
            .iter()
            .flat_map(|from| to.iter().map(move |to| (from, to)))
        {
            let (client, member, direction) = match pair {
                (Party::Client(client), Party::Member(member)) => {
                    (*client, *member, Direction::Request)
                }
                (Party::Member(member), Party::Client(client)) => {
                    (*client, *member, Direction::Response)
                }
                _ => continue,
            };
            if member < state.members.len() {
                state.links(client).to[member].cut_until(direction, until);
            }
        }
    }

    /// Messages between a client and a member take longer until `until`.
    fn slow_down(
        &self,
        (client, member): (ClientId, MemberId),
        until: SimTime,
        by: Duration,
        jitter: Duration,
    ) {
        let mut state = self.lock();
        if member < state.members.len() {
            state.links(client).to[member].delay_until(until, by, jitter);
        }
    }

    /// Ends every fault of the wire. What was lost stays lost.
    pub(crate) fn heal(&self) {
        self.lock().links.values_mut().for_each(Links::disarm);
        self.relax();
    }

    /// Ends every fault of the wire that lasts.
    pub(crate) fn relax(&self) {
        let mut state = self.lock();
        state.links.values_mut().for_each(Links::relax);
        for up in state.members.iter().flatten() {
            up.go_on();
        }
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// The clients that have ever had a connection.
    pub(crate) fn clients(&self) -> Vec<ClientId> {
        self.lock().links.keys().copied().collect()
    }

    /// Counts a fault that took effect and tells the observer.
    pub(crate) fn happened(&self, event: &FaultEvent) {
        *self.lock().report.faults.entry(event.kind).or_default() += 1;
        let observers = self.observers().clone();
        observers.iter().for_each(|observer| observer(event));
    }

    /// One more is told of each fault from now on.
    pub(crate) fn observe(&self, observer: Observer) {
        self.observers().push(observer);
    }

    fn observers(&self) -> MutexGuard<'_, Vec<Observer>> {
        self.shared
            .observers
            .lock()
            .expect("nothing panics while it holds the observers")
    }

    /// Decides what becomes of the next message between a client and a member.
    fn fate(
        &self,
        link: (ClientId, MemberId),
        direction: Direction,
        now: SimTime,
        call: &str,
    ) -> Fate {
        let (client, member) = link;
        let (struck, several) = {
            let mut state = self.lock();
            state.report.messages += 1;
            if state.report.messages > self.shared.messages_max {
                return Fate::Lost;
            }
            let several = state.members.len() > 1;
            let links = state.links(client);
            (links.fate(link, direction, now, &self.shared), several)
        };
        if let Some(kind) = struck.fault {
            let member = several.then_some(member);
            self.happened(&FaultEvent {
                at: now,
                kind,
                client: Some(client),
                member,
                lasts: struck.lasts,
                call: call.to_owned(),
            });
        }
        struck.fate
    }

    /// What becomes of the notice that a client has dropped a call: it takes its
    /// time and does not pass a partition, but no planned loss is spent on it.
    fn fate_of_cancellation(&self, link: (ClientId, MemberId), now: SimTime) -> Fate {
        let mut state = self.lock();
        let links = state.links(link.0);
        links.fate_of_cancellation(link, now, &self.shared)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .expect("nothing panics while it holds the network's state")
    }
}

/// How long a fault lasts that is held until somebody lets go: a hundred years.
pub(crate) const HELD: SimTime = SimTime::from_millis(100 * 365 * 86_400_000);

/// When to look again at something that ends at `until`: what is held may end at
/// any time.
fn soon(until: SimTime) -> SimTime {
    if until < HELD {
        until
    } else {
        crate::executor::now() + Duration::from_millis(10)
    }
}

/// The call that carries a client's watches.
const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// Whether there was anything to break.
fn break_all(exchanges: &[Arc<Exchange>], broken: Broken) -> bool {
    let mut any = false;
    for exchange in exchanges {
        any |= exchange.break_off(broken);
    }
    any
}
