//! The services beside keys, watches and leases: users, locks, elections,
//! maintenance; and the cluster over TCP.
//!
//! - `edges`: users and permissions at their edges, on both.
//! - `live`: the same session, on a real etcd and on a simulated one, has the same
//!   answers. The real one is `$ETCD`, or `etcd` on the `PATH`.
//! - `membership`: members that are added and removed, on both, and in simulated time.
//! - `plain`: `/health` and its like, on both.
//! - `raw`: bytes that are sent as they are, to both.
//! - `simulated`: what is promised in simulated time and under faults.
//! - `served`: what a client over TCP sees of faults.

mod edges;
mod live;
mod membership;
mod plain;
mod raw;
mod real;
mod served;
mod simulated;
mod transcript;
