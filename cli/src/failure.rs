//! What the user or the outside world did wrong.

use std::fmt;

use crate::exit_code::Status;

/// An expected failure: says what, where, and what to do. Everything else that
/// goes wrong is an ordinary [`anyhow::Error`].
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    what: String,
    hint: Option<String>,
}

impl Failure {
    /// Wrong usage, or a file that cannot be used.
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Failure::new(Status::Usage, what)
    }

    /// The cluster cannot be used.
    pub(crate) fn cluster(what: impl fmt::Display) -> Self {
        Failure::new(Status::Cluster, what)
    }

    fn new(status: Status, what: impl fmt::Display) -> Self {
        Failure {
            status,
            what: what.to_string(),
            hint: None,
        }
    }

    /// What to do about it, as a sentence of its own.
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// What the shell is told about an error. One that nobody expected is, as far
/// as is known, about files: there is nothing else that the command needs.
pub(crate) fn status_of(error: &anyhow::Error) -> Status {
    match error.downcast_ref::<Failure>() {
        Some(failure) => failure.status,
        None => Status::Usage,
    }
}
