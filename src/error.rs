//! What went wrong, told by what the caller can know and do next.
//!
//! The question that matters after a failed write is whether it happened. etcd
//! answers it in some cases and not in others: a request whose answer is lost
//! may have been applied, and may even be applied later. [`Error`] keeps the
//! two apart; [`Outcome::of_mutation`] holds the rule.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::Error as EtcdError;

/// An error of a recipe. Cheap to clone.
///
/// Keys and names appear in messages, values never do.
#[derive(Debug, Clone)]
pub struct Error(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    /// What was tried, as a verb phrase: "enqueue into".
    operation: &'static str,
    /// The name or key it was tried on.
    target: String,
    waited: Option<Duration>,
    detail: Option<String>,
    source: Option<EtcdError>,
}

/// The kinds of [`Error`], by what the caller can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A write was sent and not clearly answered: it may have happened, and it
    /// may still happen.
    OutcomeUnknown,
    /// etcd said no. Nothing was changed.
    Refused,
    /// The request never left: there was no connection. Nothing was changed.
    NotSent,
    /// A read or a watch failed. Nothing was changed.
    ReadFailed,
    /// Time ran out while no write was on its way. Nothing was changed.
    DeadlineElapsed,
    /// The transaction met conflicts as often as it was allowed to. Nothing
    /// was changed.
    TooManyAttempts,
    /// The session's lease is gone, or can no longer be relied on.
    SessionLost,
    /// A name, key or id cannot be used. Nothing was sent.
    InvalidName,
    /// The call does not fit the options it was made with. Nothing was sent.
    InvalidOption,
    /// A key holds something that no recipe wrote.
    ForeignData,
}

impl Error {
    /// What the caller can know.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the operation may have happened, now or later. Every other error
    /// means that it did not and will not.
    pub fn is_outcome_unknown(&self) -> bool {
        self.0.kind == ErrorKind::OutcomeUnknown
    }

    /// Whether it is certain that nothing was changed: the opposite of
    /// [`is_outcome_unknown`](Self::is_outcome_unknown).
    pub fn is_definite(&self) -> bool {
        !self.is_outcome_unknown()
    }

    /// Whether etcd itself said no, for example for lack of permission.
    pub fn is_refused(&self) -> bool {
        self.0.kind == ErrorKind::Refused
    }

    /// Whether the request never left this process.
    pub fn is_not_sent(&self) -> bool {
        self.0.kind == ErrorKind::NotSent
    }

    /// Whether a deadline was the cause. For a write that was already sent this
    /// comes together with [`is_outcome_unknown`](Self::is_outcome_unknown).
    pub fn is_deadline_elapsed(&self) -> bool {
        self.0.waited.is_some()
    }

    /// Whether a transaction was given up after too many conflicts.
    pub fn is_too_many_attempts(&self) -> bool {
        self.0.kind == ErrorKind::TooManyAttempts
    }

    /// Whether a session's lease is gone or can no longer be relied on.
    pub fn is_session_lost(&self) -> bool {
        self.0.kind == ErrorKind::SessionLost
    }

    /// Whether a name, key or id cannot be used; the message says why.
    pub fn is_invalid_name(&self) -> bool {
        self.0.kind == ErrorKind::InvalidName
    }

    /// What was tried, for example `enqueue into`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The name or key it was tried on.
    pub fn target(&self) -> &str {
        &self.0.target
    }

    /// How long was waited, when a deadline was the cause.
    pub fn waited(&self) -> Option<Duration> {
        self.0.waited
    }

    /// The error of the etcd client, where one was the cause.
    pub fn etcd_error(&self) -> Option<&EtcdError> {
        self.0.source.as_ref()
    }

    /// A write failed with `source`.
    pub(crate) fn mutation(operation: &'static str, target: &str, source: EtcdError) -> Self {
        let kind = match Outcome::of_mutation(&source) {
            Outcome::Unknown => ErrorKind::OutcomeUnknown,
            Outcome::Refused => ErrorKind::Refused,
            Outcome::NotSent => ErrorKind::NotSent,
        };
        let source = Some(source);
        Inner::new(kind, operation, target).with(|e| e.source = source)
    }

    /// A read or a watch failed with `source`.
    pub(crate) fn read(operation: &'static str, target: &str, source: EtcdError) -> Self {
        let kind = match Outcome::of_mutation(&source) {
            Outcome::Unknown => ErrorKind::ReadFailed,
            Outcome::Refused => ErrorKind::Refused,
            Outcome::NotSent => ErrorKind::NotSent,
        };
        let source = Some(source);
        Inner::new(kind, operation, target).with(|e| e.source = source)
    }

    /// A write was not answered within `waited`.
    pub(crate) fn mutation_deadline(
        operation: &'static str,
        target: &str,
        waited: Duration,
    ) -> Self {
        Inner::new(ErrorKind::OutcomeUnknown, operation, target).with(|e| e.waited = Some(waited))
    }

    /// Time ran out while no write was on its way; `source` is what went wrong
    /// meanwhile, if anything did.
    pub(crate) fn deadline(
        operation: &'static str,
        target: &str,
        waited: Duration,
        source: Option<EtcdError>,
    ) -> Self {
        Inner::new(ErrorKind::DeadlineElapsed, operation, target).with(|e| {
            e.waited = Some(waited);
            e.source = source;
        })
    }

    /// A write was answered with something that makes no sense.
    pub(crate) fn unreadable_answer(operation: &'static str, target: &str) -> Self {
        Inner::new(ErrorKind::OutcomeUnknown, operation, target)
            .with(|e| e.detail = Some("the answer does not fit the request".to_owned()))
    }

    /// A watch was refused, or ended for a reason that will not go away.
    pub(crate) fn watch_refused(target: &str, reason: &str) -> Self {
        Inner::new(ErrorKind::Refused, "watch", target).with(|e| e.detail = Some(reason.to_owned()))
    }

    pub(crate) fn too_many_attempts(attempts: u32) -> Self {
        Inner::new(ErrorKind::TooManyAttempts, "commit", "a transaction")
            .with(|e| e.detail = Some(format!("{attempts} attempts met a conflict each")))
    }

    pub(crate) fn session_lost(lease: i64, reason: &str) -> Self {
        Inner::new(ErrorKind::SessionLost, "use", &format!("lease {lease:x}"))
            .with(|e| e.detail = Some(reason.to_owned()))
    }

    pub(crate) fn invalid_name(name: &str, reason: &str) -> Self {
        Inner::new(ErrorKind::InvalidName, "use", name).with(|e| e.detail = Some(reason.to_owned()))
    }

    pub(crate) fn invalid_option(operation: &'static str, target: &str, reason: &str) -> Self {
        Inner::new(ErrorKind::InvalidOption, operation, target)
            .with(|e| e.detail = Some(reason.to_owned()))
    }

    pub(crate) fn foreign_data(target: &str, reason: &str) -> Self {
        Inner::new(ErrorKind::ForeignData, "read", target)
            .with(|e| e.detail = Some(reason.to_owned()))
    }
}

impl Inner {
    fn new(kind: ErrorKind, operation: &'static str, target: &str) -> Self {
        Self {
            kind,
            operation,
            target: target.to_owned(),
            waited: None,
            detail: None,
            source: None,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Error {
        change(&mut self);
        Error(Arc::new(self))
    }

    /// Why it failed, in a few words.
    fn cause(&self) -> String {
        match (&self.detail, &self.source, self.waited) {
            (Some(detail), _, _) => detail.clone(),
            (None, Some(source), Some(waited)) => {
                format!("not done within {waited:?}, at last {}", brief(source))
            }
            (None, Some(source), None) => brief(source),
            (None, None, Some(waited)) => format!("no answer within {waited:?}"),
            (None, None, None) => "no reason was given".to_owned(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let (operation, target, cause) = (inner.operation, &inner.target, inner.cause());
        let (verdict, advice) = match inner.kind {
            ErrorKind::OutcomeUnknown => (
                "has an unknown outcome",
                "; it may have happened or may still happen: look before doing it again",
            ),
            ErrorKind::Refused => ("was refused", "; nothing was changed"),
            ErrorKind::NotSent => (
                "was not sent",
                "; nothing was changed: see that etcd can be reached, then try again",
            ),
            ErrorKind::ReadFailed => ("failed", "; nothing was changed: it can be tried again"),
            ErrorKind::DeadlineElapsed => (
                "took too long",
                "; nothing was changed: it can be tried again",
            ),
            ErrorKind::TooManyAttempts => (
                "was given up",
                "; nothing was changed: try again later or allow more attempts",
            ),
            ErrorKind::SessionLost => (
                "is no longer possible",
                "; whatever the session held may belong to somebody else: open a new session",
            ),
            ErrorKind::InvalidName | ErrorKind::InvalidOption => ("is not possible", ""),
            ErrorKind::ForeignData => (
                "found data that no recipe wrote",
                "; use another name, or remove the key",
            ),
        };
        write!(f, "{operation} {target:?} {verdict}: {cause}{advice}")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|e| e as _)
    }
}

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

    #[test]
    fn messages_say_what_happened_to_what_and_what_to_do() {
        let error = Error::mutation_deadline("enqueue into", "jobs", Duration::from_secs(5));
        assert!(error.is_outcome_unknown() && error.is_deadline_elapsed());
        assert_eq!(
            error.to_string(),
            "enqueue into \"jobs\" has an unknown outcome: no answer within 5s; \
             it may have happened or may still happen: look before doing it again"
        );
        let error = Error::deadline("read", "jobs", Duration::from_secs(5), None);
        assert!(error.is_definite() && error.is_deadline_elapsed());
    }
}
