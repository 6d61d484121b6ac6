//! Compares the simulated etcd with a real one.
//!
//! Random requests, many of them hostile, go to a real etcd and to the simulated
//! one, as the same protobuf messages, and each answer is compared field by field.
//! Sequences that give another answer are made shorter until nothing can be taken
//! away. The simulated member answers as the release does that the real one says
//! it is ([`etcd_sim::version`]).
//!
//! ```no_run
//! use etcd_conform::{Campaign, Progress, Target};
//!
//! let target = Target::Start { program: "etcd".into() };
//! let report = Campaign::new(target, 7).requests(1_000).run(&mut |_: Progress| {})?;
//! assert!(report.difference.is_none(), "{}", report.difference.unwrap());
//! # Ok::<(), etcd_conform::ConformError>(())
//! ```
//!
//! # What is evened out
//!
//! Ids of cluster and member, the term (present or not), ids of leases that a
//! server has chosen, the seconds that a lease has left (to 100 s), the order of
//! answers to different watches of a stream, and the order of a lease's keys.
//!
//! # What is never sent
//!
//! [`exclusion::ALL`]: what etcd leaves open, and what its releases cannot stand.
//!
//! | module | what it knows |
//! |---|---|
//! | [`step`] | one request, and how a person reads it |
//! | `generate` | which requests are made up |
//! | `api`, `listen` | how they are sent, and what the answers are taken for |
//! | `real`, `simulated` | the two sides |
//! | `pair` | both sides side by side |
//! | `campaign` | many sequences |
//! | `pursuit`, `shrink` | one that differed, again, and the shortest that still does |
//! | [`scenario`] | sequences that chance would not find |
//! | [`timing`] | how long a real etcd takes for what the simulation models |

mod api;
mod campaign;
pub mod exclusion;
mod generate;
mod listen;
mod outcome;
mod own;
mod pair;
mod pursuit;
mod real;
pub mod scenario;
mod show;
mod shrink;
mod simulated;
pub mod step;
pub mod timing;

pub use campaign::{Campaign, Difference, Progress, Report, Target};
pub use own::OwnCluster;
pub use real::ConformError;
