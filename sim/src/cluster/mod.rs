//! The members of a simulated cluster.
//!
//! A cluster has *one* history of committed revisions, and a [`Member`] is a view
//! of it: the revision that it has applied, the watches that its clients have
//! opened, and the loops that run beside its requests. It runs on a
//! [`Node`](crate::executor::Node): whoever kills the node stops the loops and
//! the requests under way, tells the member so ([`Member::crash`]), and can start
//! it again on another node.
//!
//! ```text
//!   request ──> Member ── proposal ──> consensus: leader, quorum ── commit ──> store
//!     answer <── Progress: applied <── heard, a message later ──────────────────┘
//!                └─> watches, reads that waited
//! ```
//!
//! - What changes something is proposed to the leader, takes its place in the
//!   history when a quorum has it, and is answered when the member that took it in
//!   has applied it. In a cluster of one member that is one moment.
//! - A linearizable read waits until the leader has confirmed that it leads, and
//!   until the member has applied what was committed then; a serializable one
//!   shows what the member has applied.
//! - Leases are timed by the leader, and each one extended by a new leader; `ask` is how a
//!   member asks it about them.
//!
//! Nothing is copied: lag, old reads, late watches and changes of leaders cost a
//! few numbers each. `consensus` is pure, with time as an argument; `state` applies
//! what comes out of it; [`Cluster`] and [`Member`] are the doors.
//!
//! Everything happens at its time, but not before somebody can notice it: whoever looks
//! has done what is due by then, and the `pump` does it where somebody waits.

mod access;
mod ask;
#[expect(clippy::module_inception, reason = "the cluster itself")]
mod cluster;
mod command;
mod consensus;
mod error;
mod event;
mod hash_memory;
mod member;
mod membership;
mod progress;
mod pump;
mod roster;
mod state;
mod ticket;
mod view;
mod waiting;
mod watch;

pub use crate::service::Router;
pub(crate) use access::{CORRUPT, NO_SPACE, NONE};
pub use cluster::{Cluster, ClusterOptions};
pub(crate) use command::{Command, Done, Executed, Outcome};
pub(crate) use consensus::MEMBERS_MAX;
pub use error::ClusterError;
pub use event::{ClusterEvent, ClusterObserver};
pub(crate) use member::token;
pub use member::{AUTH_TOKEN_TTL, Applied, Member, MemberOptions};
pub(crate) use roster::{Change, Listed, id_of, peer_urls};
pub(crate) use state::{age, receive_limit};
pub(crate) use view::MemberView;
pub(crate) use waiting::Begun;
pub(crate) use watch::{NO_WATCH, StreamId, WatchHub, WatchSpec};
