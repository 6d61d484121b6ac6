//! What etcd's errors say about what happened.

use std::error::Error as StdError;

use etcd_client::Error as EtcdError;

/// The text of an etcd error without metadata.
pub(crate) fn brief(error: &EtcdError) -> String {
    match error {
        EtcdError::GRpcStatus(status) if !status.message().is_empty() => {
            status.message().to_owned()
        }
        EtcdError::GRpcStatus(status) => status.code().to_string(),
        other => other.to_string(),
    }
}

/// What is known about a write that ended with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It may have happened, or may still happen.
    Unknown,
    /// etcd refused it: it did not happen.
    Refused,
    /// It never left this process.
    NotSent,
}

impl Outcome {
    /// Judges an error that a put, delete, txn, grant or revoke ended with.
    ///
    /// The rule is cautious: only texts that etcd gives before it proposes
    /// anything count as a refusal, whatever their code, because etcd sends
    /// some of them with a code that says less (`too many requests` comes as
    /// `Unknown`). Everything else is unknown: timeouts, cancelled calls,
    /// broken connections, a server that stops, leaders that change, and
    /// answers that cannot be decoded. `database space exceeded` leaves it open
    /// too: etcd mostly says so before it proposes, but a write that finds the
    /// quota exceeded only when it is applied *is* applied, and answered with
    /// this same text (`quotaApplierV3` in etcd's `server/etcdserver/apply`).
    /// Sources: etcd's `api/v3rpc/rpctypes/error.go`, and Jepsen's
    /// classification in `jepsen-io/etcd`.
    pub fn of_mutation(error: &EtcdError) -> Self {
        match error {
            EtcdError::GRpcStatus(status) if is_refusal(status.message()) => Self::Refused,
            EtcdError::GRpcStatus(status) if is_too_large_for_server(status.message()) => {
                Self::Refused
            }
            EtcdError::InvalidArgs(_)
            | EtcdError::InvalidUri(_)
            | EtcdError::InvalidMetadataValue(_)
            | EtcdError::EndpointError(_)
            | EtcdError::EndpointsNotManaged => Self::NotSent,
            other if is_connection_refused(other) => Self::NotSent,
            _ => Self::Unknown,
        }
    }
}

/// Whether etcd has said this before it proposed anything to the cluster.
fn is_refusal(message: &str) -> bool {
    matches!(
        message,
        "etcdserver: permission denied"
            | "etcdserver: invalid auth token"
            | "etcdserver: revision of auth store is old"
            | "etcdserver: authentication failed, invalid user ID or password"
            | "etcdserver: authentication is not enabled"
            | "etcdserver: user name is empty"
            | "etcdserver: user name not found"
            | "etcdserver: request is too large"
            | "etcdserver: too many operations in txn request"
            | "etcdserver: duplicate key given in txn request"
            | "etcdserver: key is not provided"
            | "etcdserver: key not found"
            | "etcdserver: value is provided"
            | "etcdserver: lease is provided"
            | "etcdserver: mvcc: required revision has been compacted"
            | "etcdserver: mvcc: required revision is a future revision"
            | "etcdserver: requested lease not found"
            | "etcdserver: lease already exists"
            | "etcdserver: too large lease TTL"
            | "etcdserver: too many requests"
            | "etcdserver: no leader"
            | "etcdserver: not leader"
            | "etcdserver: unhealthy cluster"
    )
}

/// Whether gRPC in the server did not even take the request in. etcd allows its
/// own limit for requests and 512 KiB more (`server/etcdserver/api/v3rpc/grpc.go`).
fn is_too_large_for_server(message: &str) -> bool {
    message.starts_with("grpc: received message larger than max")
}

/// Whether no connection came about. tonic fails a request that waits for a
/// connection with the error of the attempt to connect, and a request on a
/// connection that breaks with another one, so this request was not sent.
fn is_connection_refused(error: &EtcdError) -> bool {
    if let EtcdError::GRpcStatus(status) = error
        && status.message().contains("tcp connect error")
    {
        return true;
    }
    causes(error).any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
            || cause.to_string() == "tcp connect error"
    })
}

/// The error's causes. etcd-client's own type names none, so this looks inside.
fn causes(error: &EtcdError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let first: Option<&(dyn StdError + 'static)> = match error {
        EtcdError::GRpcStatus(status) => status.source(),
        EtcdError::TransportError(e) => Some(e),
        EtcdError::IoError(e) => Some(e),
        _ => None,
    };
    std::iter::successors(first, |&cause| cause.source())
}

/// Whether a read that failed like this may succeed in a moment.
pub(crate) fn is_passing(error: &EtcdError) -> bool {
    // gRPC codes by number, because etcd-client does not export tonic's type:
    // cancelled, unknown, unavailable.
    const PASSING: [i32; 3] = [1, 2, 14];
    match error {
        EtcdError::GRpcStatus(status) => PASSING.contains(&code_of(status.code())),
        EtcdError::TransportError(_) | EtcdError::IoError(_) => true,
        _ => false,
    }
}

/// Whether etcd says that the lease does not exist. etcd-client turns a
/// keep-alive that is answered with a TTL of 0 into an error of its own.
pub(crate) fn is_lease_not_found(error: &EtcdError) -> bool {
    match error {
        EtcdError::GRpcStatus(status) => {
            status.message() == "etcdserver: requested lease not found"
        }
        EtcdError::LeaseKeepAliveError(text) => text == "lease not found",
        _ => false,
    }
}

/// Whether etcd says that a read asked for a revision it no longer has.
pub(crate) fn is_compacted(error: &EtcdError) -> bool {
    is_status(
        error,
        "etcdserver: mvcc: required revision has been compacted",
    )
}

/// Whether a member says that it has not got as far as the revision asked for.
pub(crate) fn is_future_revision(error: &EtcdError) -> bool {
    is_status(
        error,
        "etcdserver: mvcc: required revision is a future revision",
    )
}

/// Whether the answer was larger than the client accepts: `OutOfRange`.
pub(crate) fn is_answer_too_large(error: &EtcdError) -> bool {
    match error {
        EtcdError::GRpcStatus(status) => {
            code_of(status.code()) == 11 && status.message().contains("message length too large")
        }
        _ => false,
    }
}

/// Whether a grant failed because the id is taken.
pub(crate) fn is_lease_taken(error: &EtcdError) -> bool {
    is_status(error, "etcdserver: lease already exists")
}

fn is_status(error: &EtcdError, text: &str) -> bool {
    matches!(error, EtcdError::GRpcStatus(status) if status.message() == text)
}

fn code_of(code: impl Into<i32>) -> i32 {
    code.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_have_happened_is_definite() {
        let of = |e: &EtcdError| Outcome::of_mutation(e);
        assert_eq!(of(&EtcdError::InvalidArgs(String::new())), Outcome::NotSent);
        assert_eq!(of(&EtcdError::Internal(String::new())), Outcome::Unknown);
        assert_eq!(of(&EtcdError::WatchError(String::new())), Outcome::Unknown);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(of(&EtcdError::IoError(refused)), Outcome::NotSent);
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(of(&EtcdError::IoError(reset)), Outcome::Unknown);
    }

    #[test]
    fn texts_that_leave_the_outcome_open_are_no_refusals() {
        for text in [
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure",
            "etcdserver: request timed out, possibly due to connection lost",
            "etcdserver: server stopped",
            "etcdserver: leader changed",
            "etcdserver: mvcc: database space exceeded",
            "etcdserver: request canceled",
            "raft: stopped",
            "Timeout expired",
            "transport error",
            "",
        ] {
            assert!(!is_refusal(text), "{text}");
        }
        assert!(is_refusal("etcdserver: permission denied"));
        assert!(is_refusal("etcdserver: too many requests"));
    }
}
