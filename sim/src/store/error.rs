//! What etcd refuses, in etcd's own words.

use tonic::Code;

/// A request that the store refused. Nothing of it was applied.
///
/// The texts and codes are etcd's: `api/v3rpc/rpctypes/error.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The key of an operation or of a comparison is empty.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// `ignore_value` or `ignore_lease` on an absent key, or an operation of a
    /// transaction that holds no request.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// `ignore_value` together with a value.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// `ignore_lease` together with a lease.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// A transaction beyond [`StoreOptions::txn_ops_max`](super::StoreOptions).
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// A transaction that could write a key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or sort target that does not exist.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// A mutation beyond [`StoreOptions::request_bytes_max`](super::StoreOptions).
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// The revision lies below the last compaction.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision has not happened yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// The lease does not exist, or no longer.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// A grant of an id that is in use.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// A grant for more than [`TTL_MAX`](super::TTL_MAX) seconds.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
}

impl StoreError {
    /// The gRPC code that etcd sends with this text.
    pub const fn code(self) -> Code {
        match self {
            StoreError::EmptyKey
            | StoreError::KeyNotFound
            | StoreError::ValueProvided
            | StoreError::LeaseProvided
            | StoreError::TooManyOps
            | StoreError::DuplicateKey
            | StoreError::InvalidSortOption
            | StoreError::RequestTooLarge => Code::InvalidArgument,
            StoreError::Compacted | StoreError::FutureRevision | StoreError::LeaseTtlTooLarge => {
                Code::OutOfRange
            }
            StoreError::LeaseNotFound => Code::NotFound,
            StoreError::LeaseExists => Code::FailedPrecondition,
        }
    }
}
