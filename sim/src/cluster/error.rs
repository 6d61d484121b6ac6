//! What a cluster cannot do just now, in etcd's own words.

use tonic::{Code, Status};

use crate::store::StoreError;

/// Why a request came to nothing although there was nothing wrong with it.
///
/// The texts and codes are etcd's: `api/v3rpc/rpctypes/error.go`, and
/// `togRPCError` in `server/etcdserver/api/v3rpc/util.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The member knows no leader, and the client requires one.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// The leader changed while a read waited. The read can be repeated.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    /// The request was not answered in time. A mutation may still happen.
    #[error("etcdserver: request timed out")]
    Timeout,
    /// The same, and a leader was lost meanwhile.
    #[error("etcdserver: request timed out, possibly due to previous leader failure")]
    TimeoutLeaderFailed,
    /// The same, and members could not talk to each other meanwhile.
    #[error("etcdserver: request timed out, possibly due to connection lost")]
    TimeoutConnectionLost,
    /// The leader was asked about a lease, and did not carry out in time what is
    /// committed.
    #[error("etcdserver: request timed out, waiting for the applied index took too long")]
    TimeoutAppliedIndex,
    /// The process ends, and what it was asked may still happen.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// The process ends, and has not even passed on what it was asked.
    #[error("raft: stopped")]
    RaftStopped,
    /// A leader that is handing over its lead takes nothing in. Nothing happened.
    #[error("raft proposal dropped")]
    ProposalDropped,
    /// The member has too much to do. Nothing happened.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// The database has reached its quota. Nothing happened.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// An alarm says that members disagree: nothing is changed any more.
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    /// Only the leader can do that.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// The lead was to be given to somebody who is no member.
    #[error("etcdserver: bad leader transferee")]
    BadLeaderTransferee,
    /// The lead was to be given away, and nobody took it in time.
    #[error("etcdserver: request timed out, leader transfer took too long")]
    TimeoutLeaderTransfer,
    /// A lease was to be renewed by a member that does not lead any more.
    #[error("not a primary lessor")]
    NotPrimary,
}

impl ClusterError {
    /// The gRPC code that etcd sends with this text.
    ///
    /// Some come without one of their own: "too many requests" is mapped to the
    /// client's form of the error, which carries no code, and "not a primary
    /// lessor", those of the library `raft` and that of a leader transfer are not mapped
    /// at all. gRPC sends
    /// `Unknown` for such.
    pub const fn code(self) -> Code {
        match self {
            ClusterError::NoLeader
            | ClusterError::LeaderChanged
            | ClusterError::Timeout
            | ClusterError::TimeoutLeaderFailed
            | ClusterError::TimeoutConnectionLost
            | ClusterError::TimeoutAppliedIndex
            | ClusterError::Stopped => Code::Unavailable,
            ClusterError::TooManyRequests
            | ClusterError::ProposalDropped
            | ClusterError::RaftStopped
            | ClusterError::NotPrimary
            | ClusterError::TimeoutLeaderTransfer => Code::Unknown,
            ClusterError::NoSpace => Code::ResourceExhausted,
            ClusterError::Corrupt => Code::DataLoss,
            ClusterError::NotLeader | ClusterError::BadLeaderTransferee => Code::FailedPrecondition,
        }
    }
}

impl From<ClusterError> for Status {
    fn from(error: ClusterError) -> Status {
        Status::new(error.code(), error.to_string())
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Status {
        Status::new(error.code(), error.to_string())
    }
}
