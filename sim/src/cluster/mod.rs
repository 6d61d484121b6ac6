//! The members of a simulated cluster.
//!
//! A [`Member`] is one etcd process: the history that it has applied, the
//! leases that it times, the watches that its clients have opened, and the loops
//! that run beside its requests. It runs on a [`Node`](crate::executor::Node):
//! whoever kills the node stops the loops and the requests under way, tells the
//! member so ([`Member::crash`]), and can start it again on another node.
//!
//! There is one member so far, which is its own leader and quorum: each
//! mutation takes effect at the moment at which its request is handled.

mod member;
mod state;
mod watch;

pub use crate::service::Router;
pub(crate) use member::now;
pub use member::{Applied, Member, MemberOptions};
pub(crate) use state::{State, receive_limit};
pub(crate) use watch::{StreamId, WatchSpec};
