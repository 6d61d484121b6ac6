//! A simulated etcd with faults that the unmodified [`etcd_client`] talks to in
//! memory, deterministically.
//!
//! Programs that coordinate through etcd fail when an answer is lost, a lease
//! runs out during a pause, or a dead process's request lands late. On a real
//! cluster such moments are rare and do not come back. Here they are data: a
//! [`Plan`](plan::Plan) says what goes wrong and when, a seed decides the rest,
//! and the same plan gives the same run again. Only the wire is simulated: the
//! program under test uses the client that it uses in production, and the member
//! answers through etcd's own gRPC services.
//!
//! ```
//! use etcd_sim::fault::{Fault, FaultKind};
//! use etcd_sim::plan::Plan;
//! use etcd_sim::simulation::{Options, run};
//!
//! let kind = FaultKind::KillClient { client: 0 };
//! let plan = Plan { faults: vec![Fault { at_ms: 50, kind }], ..Plan::quiet(7) };
//! let revision = run(Options::new(plan), |simulation| async move {
//!     simulation.spawn(0, |process| async move {
//!         let mut etcd = process.connect().await.unwrap();
//!         etcd.put("key", "value", None).await.unwrap();
//!         std::future::pending().await // killed here
//!     });
//!     simulation.healed().await;
//!     simulation.member().with_store(|store| store.revision())
//! });
//! assert_eq!(revision.unwrap(), 2);
//! ```
//!
//! - [`simulation`]: a run: a cluster, client processes, the faults of a plan.
//! - [`plan`], [`fault`], [`seed`]: what determines a run, as data.
//! - [`bug`]: known bugs of etcd, to be put in.
//! - [`executor`]: simulated time and tasks, on madsim or on tokio.
//! - [`network`]: the wire, and what becomes of each message on it.
//! - [`serve`]: the cluster over TCP, in real time.
//! - [`service`]: etcd's gRPC services.
//! - [`cluster`]: the members behind them: who leads, what each has applied, its
//!   watches.
//! - [`store`]: the keys of all revisions, a state machine without a clock.
//! - [`version`]: the releases of etcd, and in what they differ.
//!
//! # Executors
//!
//! On madsim (`--cfg madsim`) the order of tasks is random and comes from the
//! seed, and killing or pausing a process takes all its tasks with it. The
//! program must not use `tokio::spawn` or `tokio::time`. On tokio it may, so an
//! ordinary service runs as it is; but tasks run in the order in which they
//! became ready, and a kill or pause takes only the program's own future and
//! what was spawned through its [`Node`](executor::Node). Other tasks run on;
//! after a kill the calls that they open reach nobody.
//!
//! The same plan gives the same run on one executor and one build, provided that
//! the program asks nothing else: no real time, no randomness of the operating
//! system, no order of a `HashMap`, no `tokio::select!` without `biased`.
//!
//! A program that is always ready to run again would stop the clock. One that
//! sends too much or is polled too often is stopped
//! ([`Options`](simulation::Options)). Not counted are the polls of tasks that
//! it spawns by itself: on tokio such a run does not end, on madsim it ends late,
//! because each poll takes less than a tenth of a microsecond of simulated time.
//!
//! # Known differences
//!
//! To a real etcd:
//!
//! - Members agree through a model of Raft, not through Raft: heartbeats and votes
//!   take no time, requests that time out are looked for twice a second, and what a
//!   deposed leader had not committed never comes back. The list of leases, and
//!   what is left of one, is always the leader's. A lease that a new leader has
//!   extended never ends by what the old one had proposed; in etcd there is a moment
//!   in which it can ([`bug::EtcdBug::OldLeaderRevokes`]).
//! - Members join and leave never. There is no quota but as a fault, and no range
//!   stream.
//! - Users, roles and alarms are the newest everywhere, also on a member that lags
//!   behind. Tokens are simple ones: no JSON web tokens, no names from certificates.
//!   What is refused is what 3.4.23 refuses; later releases also check puts with
//!   leases and previous values within transactions, and who asks for the keys of a
//!   lease.
//! - A snapshot ends with its hash as etcd's does, but nothing can be restored from
//!   it; hashes are those of the same keys in another simulated etcd, not in a real
//!   one; the sizes of databases are estimates.
//! - A transaction that is nested more than 1000 levels deep is refused as one with
//!   too many operations, whatever else is wrong with it.
//! - A read in an order of a target that does not exist makes a real etcd before 3.6
//!   crash, and so does a transaction that keeps the value of a key which it has
//!   deleted by a range without an end. Here the one is refused, and the other keeps
//!   an empty value.
//!
//! To a real network:
//!
//! - Where a client knows several members, its calls go to any that is connected, as
//!   with tonic's balanced channel; a connection that is broken is there again as
//!   soon as it can be.
//! - A lost message, and one that meets a partition, is lost for good with all
//!   that follows on its stream; TCP would send it again when the network is
//!   back. Later calls pass.
//! - A channel has one timeout, that of a call. There are no timeouts for
//!   connecting and no HTTP/2 keep-alive, so a stream that has fallen silent
//!   stays open.
//! - A client that was cut off while the member crashed hears nothing of it
//!   afterwards either: its old streams stay silent.

pub mod auth;
pub mod bug;
pub mod clock;
pub mod cluster;
pub mod executor;
pub mod fault;
pub mod network;
pub mod plan;
pub mod seed;
pub mod serve;
pub mod service;
pub mod simulation;
pub mod store;
pub mod version;
