//! The cluster as a real network endpoint: etcd's gRPC over TCP, in real time.
//!
//! The same members, services and faults as in a simulation, for clients that know
//! nothing of simulations: etcdctl, programs in Go or Python, a service in another
//! process. Nothing is deterministic here, for time and strangers are real.
//!
//! Each member listens at an address of its own. Whoever connects counts as the
//! client [`STRANGERS`], so that a plan can lose, delay and cut off what is sent to
//! and fro; a member that crashes closes its connections and refuses new ones.
//!
//! ```no_run
//! use etcd_sim::serve::{Options, run};
//!
//! let options = Options::new("127.0.0.1:2379".parse().unwrap());
//! run(options, |served| async move {
//!     println!("{:?}", served.endpoints());
//!     std::future::pending::<()>().await
//! })
//! .unwrap();
//! ```
//!
//! - `door`: where a member listens, and when it does not.
//! - `connection`: a TCP connection that can be cut.
//! - `authority`: authorities that are no addresses, which HTTP/2 does not know.
//! - `gate`: from a request over TCP to the simulated network.
//! - `metrics`: what they say about themselves.
//! - `plain`: what members answer to plain HTTP, `/health` above all.
//! - `tls`: connections with TLS; feature `tls`.

mod authority;
mod connection;
mod door;
mod gate;
mod metrics;
mod plain;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::bug::EtcdBug;
use crate::cluster::AUTH_TOKEN_TTL;
use crate::executor::{self, Panicked};
use crate::fault::{ClientId, FaultKind, Party};
use crate::network::{ChannelOptions, Endpoints, Observer};
use crate::plan::Plan;
use crate::simulation::{self, Simulation};
use crate::version::Version;
use door::Door;

/// The number by which a plan's faults know whoever connects over TCP.
pub const STRANGERS: ClientId = 0;

/// What is to be served, and where.
#[derive(Clone)]
pub struct Options {
    /// Where the first member listens; the others on the ports that follow. With
    /// port 0 each gets any port that is free.
    pub listen: SocketAddr,
    /// How many members there are, how long messages take, and what goes wrong, in
    /// milliseconds from the start. Its `endpoints` mean nothing here.
    pub plan: Plan,
    /// A known bug of etcd's that is put in; default: none.
    pub bug: Option<EtcdBug>,
    /// The release of etcd that the members are.
    pub version: Version,
    /// For how long a token of a user is good without being used; default: 300 s
    /// (`--auth-token-ttl`).
    pub auth_token_ttl: Duration,
    /// Told of each fault as it takes effect.
    pub observer: Option<Observer>,
    /// The members speak TLS and nothing else; default: they do not.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

impl Options {
    /// One member, no faults.
    pub fn new(listen: SocketAddr) -> Self {
        Options {
            listen,
            plan: Plan::quiet(0),
            bug: None,
            version: Version::default(),
            auth_token_ttl: AUTH_TOKEN_TTL,
            observer: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// A cluster that is being served.
#[derive(Clone)]
pub struct Served {
    simulation: Simulation,
    endpoints: Vec<SocketAddr>,
}

impl Served {
    /// Where the members listen, in their order.
    pub fn endpoints(&self) -> &[SocketAddr] {
        &self.endpoints
    }

    /// The cluster behind it, to look into and to do harm to.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A member cannot listen at its address.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// There are not enough ports for all members.
    #[error("there is no port for member {member} after {listen}")]
    NoPort {
        /// Where the first member listens.
        listen: SocketAddr,
        /// Which member, counted from 0.
        member: usize,
    },
    /// The simulated etcd has a mistake.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// Serves a cluster until `body` ends, in a thread of its own.
///
/// # Errors
///
/// [`ServeError`]: an address cannot be listened at, or something panicked.
pub fn run<T, F, Fut>(options: Options, body: F) -> Result<T, ServeError>
where
    F: FnOnce(Served) -> Fut + Send + 'static,
    Fut: Future<Output = T>,
    T: Send + 'static,
{
    executor::block_on_real_time(move || async move {
        let listeners = listen(options.listen, options.plan.members).await?;
        let served = start(options, listeners);
        Ok(body(served).await)
    })?
}

/// Why a fault of a plan cannot strike where strangers are served; none if it can. Such
/// faults are left out.
pub fn cannot_strike(kind: &FaultKind) -> Option<Idle> {
    let exists = |party: &Party| !matches!(party, Party::Client(client) if *client != STRANGERS);
    let exist = match kind {
        FaultKind::Cut { from, to, .. } => from.iter().any(exists) && to.iter().any(exists),
        kind => kind.parties().iter().all(exists),
    };
    match kind {
        _ if !exist => Some(Idle::NoSuchClient),
        FaultKind::PauseClient { .. }
        | FaultKind::KillClient { .. }
        | FaultKind::RestartClient { .. } => Some(Idle::Process),
        FaultKind::SkewClock { .. } | FaultKind::JumpClock { .. } => Some(Idle::Clock),
        _ => None,
    }
}

/// Why a fault cannot strike strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Idle {
    /// It is of another client than [`STRANGERS`].
    NoSuchClient,
    /// It is of a client's process.
    Process,
    /// It is of the clock that a client reads.
    Clock,
}

/// The faults of a plan that can strike, of those whom they can.
fn striking(plan: Plan) -> Plan {
    let mut plan = plan.with_clients(STRANGERS + 1);
    plan.faults
        .retain(|fault| cannot_strike(&fault.kind).is_none());
    plan
}

/// Listens for all members before any of them starts: either all are there or none.
async fn listen(
    first: SocketAddr,
    members: usize,
) -> Result<Vec<(SocketAddr, TcpListener)>, ServeError> {
    let mut listeners = Vec::with_capacity(members);
    for member in 0..members {
        let mut address = first;
        if first.port() != 0 {
            let port = u16::try_from(member)
                .ok()
                .and_then(|member| first.port().checked_add(member));
            address.set_port(port.ok_or(ServeError::NoPort {
                listen: first,
                member,
            })?);
        }
        let failed = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        listeners.push((bound, listener));
    }
    Ok(listeners)
}

fn start(options: Options, listeners: Vec<(SocketAddr, TcpListener)>) -> Served {
    let endpoints: Vec<SocketAddr> = listeners.iter().map(|(address, _)| *address).collect();
    let simulation = Simulation::start(simulation::Options {
        messages_max: u64::MAX,
        polls_max: u64::MAX,
        bug: options.bug,
        version: options.version,
        auth_token_ttl: options.auth_token_ttl,
        observer: options.observer,
        ..simulation::Options::new(striking(options.plan))
    });
    #[cfg(feature = "tls")]
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    #[cfg(not(feature = "tls"))]
    let scheme = "http";
    let urls = endpoints.iter().map(|address| url(scheme, *address));
    simulation.cluster().advertise(urls.collect());
    let channel = simulation.channel(STRANGERS, ChannelOptions::default());
    for (member, (address, listener)) in listeners.into_iter().enumerate() {
        let door = Door {
            network: simulation.network().clone(),
            member,
            address,
            channel: channel.clone().with_endpoints(Endpoints::One(member)),
            etcd: simulation.cluster().member(member),
            connections: Arc::default(),
            #[cfg(feature = "tls")]
            tls: options.tls.clone(),
        };
        door.spawn(listener);
    }
    Served {
        simulation,
        endpoints,
    }
}

/// What a member tells clients about where it is.
fn url(scheme: &str, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    format!("{scheme}://{address}")
}
