//! What happens to a cluster that no single client is told of: for those who draw
//! or explain a run.

use std::sync::Arc;

use super::consensus::MemberId;
use crate::executor::SimTime;
use crate::fault::ClientId;
use crate::store::LeaseId;

/// Something that happened to a cluster as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A member leads from now on.
    Leads {
        /// Which one.
        member: MemberId,
        /// Its term.
        term: u64,
    },
    /// Nobody leads any more.
    LeaderLost,
    /// A lease was granted.
    LeaseGranted {
        /// Its id.
        lease: LeaseId,
        /// Its time to live in seconds.
        ttl: i64,
        /// Who asked for it; none when that is not known.
        client: Option<ClientId>,
    },
    /// A lease has ended, and its keys are gone.
    LeaseEnded {
        /// Its id.
        lease: LeaseId,
        /// Its time was over; otherwise it was revoked.
        expired: bool,
    },
}

/// Told of each event of a cluster as it happens. It must not look at the cluster,
/// which is locked meanwhile.
pub type ClusterObserver = Arc<dyn Fn(SimTime, &ClusterEvent) + Send + Sync>;
