//! Coordination recipes for [etcd](https://etcd.io): the building blocks that
//! programs on several machines need to work together, on the ordinary
//! [`etcd_client`].
//!
//! - [`Mutex`] and [`RwLock`]: locks, in order of arrival, with fencing tokens;
//! - [`Queue`]: first in, first out, any number of producers and consumers;
//! - [`PriorityQueue`]: the lowest number first, ties in the order of arrival;
//! - [`ReliableQueue`]: items come back unless their consumer acknowledges them;
//! - [`Barrier`], [`DoubleBarrier`], [`CyclicBarrier`]: waiting for a release, and for
//!   each other;
//! - [`Stm`]: transactions over any keys, written like ordinary code;
//! - [`Election`]: one leader at a time, terms, observers;
//! - [`Session`]: a lease that is kept alive, and the signal that it is lost;
//! - [`PrefixWatch`](watch::PrefixWatch): one lasting watch that recipes share.
//!
//! Keys are laid out as etcd's Go recipes lay them out, so programs in both
//! languages can share them; [`ReliableQueue`] and [`CyclicBarrier`], which Go does
//! not have, have layouts of their own.
//!
//! ```no_run
//! use etcd_recipes::{Queue, etcd_client::Client};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(["127.0.0.1:2379"], None).await?;
//! let queue = Queue::new(&client, "jobs")?;
//! queue.enqueue("clean up").await?;
//! let item = queue.dequeue().await?;
//! println!("{}", String::from_utf8_lossy(&item.value));
//! # Ok(())
//! # }
//! ```
//!
//! # What all recipes have in common
//!
//! - **They say what they know.** A request whose answer is lost may have been
//!   applied. [`Error::is_outcome_unknown`] tells such an error from one that
//!   means that nothing happened. No write is sent twice where a second one
//!   could do something else than the first.
//! - **Every request has a deadline**, and every wait can be cancelled by
//!   dropping its future.
//! - **They run where you run them**: on tokio, and unchanged in a simulation
//!   ([`runtime`]).
//! - **They log through [`tracing`]**: waits, claims, retries and losses, with
//!   keys, leases and revisions; values never. With the feature `metrics` they count, too
//!   ([`telemetry`]).
//!
//! # Map
//!
//! One recipe, one module: [`queue`], [`priority_queue`], [`reliable_queue`], [`mutex`],
//! [`rw_lock`], [`election`], [`barrier`], [`double_barrier`], [`cyclic_barrier`], [`stm`],
//! [`session`]. What they share:
//! [`error`] (outcomes), [`watch`], [`runtime`] (time, tasks, randomness),
//! [`telemetry`] (spans, metrics), and
//! inside the crate `request` (deadlines), `keys` (names and layouts) and
//! `dequeue` (consumers that share items). With the feature `transport`,
//! `transport` connects a client so that a request is one write.

pub mod barrier;
#[cfg(feature = "harness")]
pub mod bench;
#[cfg(feature = "harness")]
pub mod campaign;
pub mod cyclic_barrier;
mod dequeue;
pub mod double_barrier;
pub mod election;
pub mod error;
pub mod hold;
mod keys;
pub mod mutex;
pub mod priority_queue;
pub mod queue;
pub mod reliable_queue;
mod request;
pub mod runtime;
pub mod rw_lock;
pub mod session;
pub mod stm;
pub mod telemetry;
#[cfg(feature = "transport")]
pub mod transport;
pub mod watch;
#[cfg(feature = "harness")]
pub mod workload;

#[doc(no_inline)]
pub use etcd_client;

pub use barrier::{Barrier, BarrierOptions, HeldBarrier};
pub use cyclic_barrier::{CyclicBarrier, Round};
pub use double_barrier::DoubleBarrier;
pub use election::{Election, Leader, Leadership, Observation, Observer};
pub use error::Error;
pub use hold::Hold;
pub use mutex::{Locker, Mutex, MutexGuard};
pub use priority_queue::{PriorityItem, PriorityQueue, PriorityQueueOptions};
pub use queue::{Enqueued, Item, Queue, QueueOptions};
pub use reliable_queue::{ReliableItem, ReliableQueue, ReliableQueueOptions};
pub use request::DEFAULT_REQUEST_DEADLINE;
pub use rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use session::{Session, SessionOptions, SessionState};
pub use stm::{Committed, Isolation, Stm, StmError, Transaction};
pub use watch::Watches;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
