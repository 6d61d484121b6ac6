//! Exit codes: part of the command's interface, so they never change meaning.

use std::process::ExitCode;

/// Everything that was checked is valid.
pub(crate) const VALID: u8 = 0;
/// A safety violation: something happened that must not.
pub(crate) const SAFETY: u8 = 1;
/// Wrong usage, or a file that cannot be read or written. clap uses the same.
pub(crate) const USAGE: u8 = 2;
/// A liveness violation: something that must happen did not in time.
pub(crate) const LIVENESS: u8 = 3;
/// The checker could not decide within its budget.
pub(crate) const UNDECIDED: u8 = 4;
/// The cluster could not be used.
pub(crate) const CLUSTER: u8 = 5;
/// Interrupted a second time, while cleaning up: as shells report SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// For `--help`.
pub(crate) const HELP: &str = "\
Exit codes, the first that applies:
  1  a safety violation was found: something happened that must not
  3  a liveness violation was found: something did not finish in time
  5  the cluster could not be used
  2  wrong usage, or a file that cannot be read or written
  4  the checker could not decide within its budget
  0  everything that was checked is valid";

/// What became of the command, the gravest last: of several the greatest
/// decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// See [`VALID`].
    Valid,
    /// See [`UNDECIDED`].
    Undecided,
    /// See [`USAGE`].
    Usage,
    /// See [`CLUSTER`].
    Cluster,
    /// See [`LIVENESS`].
    Liveness,
    /// See [`SAFETY`].
    Safety,
}

impl Status {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Status::Valid => VALID,
            Status::Undecided => UNDECIDED,
            Status::Usage => USAGE,
            Status::Cluster => CLUSTER,
            Status::Liveness => LIVENESS,
            Status::Safety => SAFETY,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_decides() {
        let mut all = [
            Status::Cluster,
            Status::Valid,
            Status::Safety,
            Status::Undecided,
            Status::Liveness,
            Status::Usage,
        ];
        all.sort();
        let codes: Vec<u8> = all.into_iter().rev().map(Status::code).collect();
        assert_eq!(codes, [1, 3, 5, 2, 4, 0]);
    }
}
