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

mod outcome;

pub use outcome::Outcome;
pub(crate) use outcome::{
    brief, is_answer_too_large, is_compacted, is_future_revision, is_lease_not_found,
    is_lease_taken, is_passing,
};

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
    /// What was held is gone although nobody gave it back: the lease expired at
    /// etcd, or somebody deleted the key. Nothing was changed.
    NotHeld,
    /// As many take part as may. Nothing was changed.
    TooManyClients,
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

    /// Whether what was held is gone although nobody gave it back: the lease
    /// expired at etcd, or somebody deleted the key.
    pub fn is_not_held(&self) -> bool {
        self.0.kind == ErrorKind::NotHeld
    }

    /// Whether as many take part already as may.
    pub fn is_too_many_clients(&self) -> bool {
        self.0.kind == ErrorKind::TooManyClients
    }

    /// Whether a name, key or id cannot be used; the message says why.
    pub fn is_invalid_name(&self) -> bool {
        self.0.kind == ErrorKind::InvalidName
    }

    /// Whether an option, or what was asked for, makes no sense here; the message
    /// says why.
    pub fn is_invalid_option(&self) -> bool {
        self.0.kind == ErrorKind::InvalidOption
    }

    /// Whether etcd said that the user may not do this.
    pub(crate) fn is_permission_denied(&self) -> bool {
        self.0.cause_text_contains("etcdserver: permission denied")
    }

    /// Whether etcd did not accept the client's token.
    pub(crate) fn is_token_expired(&self) -> bool {
        self.0.is_token_expired()
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

    /// What would tell whether a write had its effect is gone.
    pub(crate) fn cannot_tell(operation: &'static str, target: &str, reason: &str) -> Self {
        Inner::new(ErrorKind::OutcomeUnknown, operation, target)
            .with(|e| e.detail = Some(reason.to_owned()))
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

    pub(crate) fn not_held(operation: &'static str, key: &str) -> Self {
        Inner::new(ErrorKind::NotHeld, operation, key).with(|e| {
            e.detail = Some("the key is gone, or is not the one that was held".to_owned());
        })
    }

    pub(crate) fn too_many_clients(operation: &'static str, target: &str, reason: &str) -> Self {
        Inner::new(ErrorKind::TooManyClients, operation, target)
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

    fn cause_text_contains(&self, text: &str) -> bool {
        self.source
            .as_ref()
            .is_some_and(|s| brief(s).contains(text))
    }

    /// Whether etcd did not accept the client's token.
    fn is_token_expired(&self) -> bool {
        const TEXT: &str = "etcdserver: invalid auth token";
        let is_detail = |detail: &String| detail.contains(TEXT);
        self.detail.as_ref().is_some_and(is_detail) || self.cause_text_contains(TEXT)
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
            ErrorKind::Refused if inner.is_token_expired() => (
                "was refused",
                "; nothing was changed: the client's token has expired or is not known to etcd; \
                 connect with ConnectOptions::with_auto_token_refresh(true)",
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
            ErrorKind::NotHeld => (
                "came too late",
                "; nothing was changed: its lease expired or somebody deleted it",
            ),
            ErrorKind::TooManyClients => (
                "came too late",
                "; nothing was changed: try again when these are gone",
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

#[cfg(test)]
mod tests {
    use super::*;

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
