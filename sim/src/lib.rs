//! A simulated etcd with faults that the unmodified [`etcd_client`] talks to in
//! memory, deterministically.
//!
//! Programs that coordinate through etcd fail when an answer is lost, a lease
//! runs out during a pause, or a dead process's request lands late. On a real
//! cluster such moments are rare and do not come back. Here they are data: a
//! [`Plan`] says what goes wrong and when, a seed decides the rest,
//! and the same plan gives the same run again. Only the wire is simulated: the
//! program under test uses the client that it uses in production, and the member
//! answers through etcd's own gRPC services.
//!
//! ```
//! use std::time::Duration;
//! use etcd_sim::{Faults, Simulation};
//!
//! // In a test: #[etcd_sim::test(seeds = 20, members = 3, faults = Faults::swarm(), ..)]
//! let builder = Simulation::builder().seeds(20).members(3).faults(Faults::swarm());
//! let builder = builder.timeout(Duration::from_secs(2)).lasts(Duration::from_secs(5));
//! builder.check(|simulation| async move {
//!     // A process of its own, which faults pause, kill and start again.
//!     simulation.spawn(0, |process| async move {
//!         let mut etcd = process.connect().await.unwrap();
//!         while etcd.put("greeting", "hello", None).await.is_err() {
//!             process.simulation().sleep(Duration::from_millis(100)).await;
//!         }
//!     });
//!     // Faults by hand: they heal when their guard is dropped.
//!     let guard = simulation.isolate(simulation.members().iter().next().unwrap());
//!     simulation.sleep(Duration::from_secs(3)).await;
//!     drop(guard);
//!     simulation.settle(Duration::from_secs(60)).await;
//! });
//! ```
//!
//! A seed that fails is made smaller, saved, and printed with the command that runs it
//! again ([`harness`]).
//!
//! - [`simulation`]: a run: a cluster, client processes, the faults of a plan; its
//!   [`Builder`], and [faults by hand](Simulation#faults-by-hand).
//! - [`macro@test`], [`harness`]: many seeds, and what becomes of one that fails.
//! - [`plan`], [`fault`], [`seed`]: what determines a run, as data; [`shrink`] makes a
//!   failing plan smaller, [`sweep`] runs many in parallel.
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
//! | | tokio (no settings) | madsim (`--cfg madsim`) |
//! |---|---|---|
//! | the program | any on tokio, as it is | the same source, with `madsim-tokio` under the name `tokio` |
//! | order of tasks | that in which they became ready | random, from the seed |
//! | time | paused tokio time, in milliseconds | nanoseconds; a step takes 50 to 100 |
//! | killing and pausing a client process | its program, and what it spawned through its [`Node`](executor::Node); other tasks run on, but reach nobody after a kill | all its tasks |
//! | a panic in any task | fails the run | fails the run |
//!
//! Without the cfg everything runs on tokio, and there is no dependency on madsim. With
//! it, both are there, and madsim is the default.
//!
//! **The same plan gives the same run**, byte for byte, on one executor and one build,
//! provided that the program asks nothing else: no real time, no randomness of the
//! operating system, no order of a `HashMap` (on madsim that comes from the seed).
//! `tokio::select!` draws which branch it looks at first; where more than one is ready,
//! that is no part of the seed, unless it says `biased;` or the build says `--cfg
//! tokio_unstable`, with which both executors seed it. Etcd's recipes in the crate
//! `etcd-recipes` draw jitter: on tokio begin the body with
//! `let _seeded = etcd_recipes::runtime::seed_thread(simulation.seed());`.
//!
//! A program or a body that is always ready to run again would stop the clock. One that
//! sends too much or is polled too often is stopped ([`Builder::messages_max`],
//! [`Builder::polls_max`]). Not counted are the polls of tasks that
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
//!   in which it can.
//! - There is no quota but as a fault, and no range stream.
//! - Who waits for a change at a member that was removed is always told that it stops
//!   (`server stopped`, or `raft: stopped` where no leader was known); a real process often
//!   ends before it has said so.
//! - Users, roles and alarms are the newest everywhere, also on a member that lags
//!   behind. Tokens are simple ones: no JSON web tokens, no names from certificates.
//!   Who asks for the keys of a lease while users change is not refused for that.
//! - A snapshot ends with its hash as etcd's does, but nothing can be restored from
//!   it; the hash of the whole database is one of the simulation's own (`HashKV`, that of the
//!   keys, is etcd's); the sizes of databases are estimates.
//! - A transaction that is nested more than 1000 levels deep is refused as one with
//!   too many operations, whatever else is wrong with it.
//! - A read in an order of a target that does not exist makes a real etcd before 3.6
//!   crash, and so does a transaction that keeps the value of a key which it has
//!   deleted by a range without an end. Here the one is refused, and the other keeps
//!   an empty value.
//! - `Maintenance.Alarm` with an action that does not exist makes a real etcd crash (3.4.23,
//!   3.5.1, 3.5.16 and 3.5.30 do). Here it is answered, and nothing is changed.
//! - Messages that a client has compressed are refused. etcd takes gzip from 3.5 on; 3.4 refuses
//!   it too, in other words.
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
pub mod harness;
pub mod network;
pub mod plan;
pub mod seed;
pub mod serve;
pub mod service;
pub mod shrink;
pub mod simulation;
pub mod store;
pub mod sweep;
pub mod version;

#[doc(no_inline)]
pub use etcd_client;

/// A test that is run in a simulation, once for each of its seeds.
///
/// The first seed that fails is made smaller and reported, with the commands that run it
/// again; see [`harness`] for that and for the environment variables.
///
/// ```
/// use etcd_sim::{Faults, Simulation};
///
/// #[etcd_sim::test(seeds = 100, members = 3, faults = Faults::swarm())]
/// async fn the_counter_goes_up(simulation: Simulation) {
///     let mut client = simulation.client(0).await.unwrap();
///     simulation.healed().await;
///     client.put("counter", "1", None).await.unwrap();
/// }
/// ```
///
/// The function takes one argument, a [`Simulation`], and returns nothing or a
/// [`Result`]; an `Err` fails the seed. In the attribute stand settings of the
/// [`Builder`]: `members`, `seed`, `seeds`, `faults`, `plan`, `clients`, `lasts`,
/// `endpoints`, `timeout`, `time_limit`, `messages_max`, `polls_max`, `catches_panics`,
/// `executor`, `bug`, `observer`; each value is an expression. Other attributes, such as `#[ignore]` and
/// `#[should_panic]`, stay what they are.
pub use etcd_sim_macros::test;

pub use fault::{Fault, FaultKind, Party};
pub use plan::{Faults, Plan};
pub use simulation::{Builder, Failure, FaultGuard, Incarnation, Settled, Simulation};
