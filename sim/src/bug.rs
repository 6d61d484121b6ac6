//! Known bugs of etcd, as switches: to see that what tests a service, or etcd, would
//! notice them.
//!
//! A simulation has at most one of them ([`Options::bug`](crate::simulation::Options)).
//! Each is the effect that clients saw, not the code that caused it.

use std::fmt;

/// A bug that can be put into the simulated etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EtcdBug {
    /// Asked for progress, a member answers at once, ahead of events that it has not
    /// sent yet ([15220](https://github.com/etcd-io/etcd/issues/15220); before 3.4.25
    /// and 3.5.8).
    ProgressAheadOfEvents,
    /// A watch hears twice of the last change of a transaction
    /// ([17247](https://github.com/etcd-io/etcd/issues/17247)).
    DuplicateEvent,
    /// What a watch cannot be sent because its stream starves is lost; a stream starves
    /// here as soon as a few answers wait, since the simulated network is never full
    /// ([17529](https://github.com/etcd-io/etcd/issues/17529)).
    StarvedWatchLosesEvents,
    /// When a member was cut off and is brought up to date, its watches begin anew
    /// where they once began: events travel back in time
    /// ([15271](https://github.com/etcd-io/etcd/issues/15271)). Needs several members.
    WatchTravelsBack,
    /// A watch that is opened at the very revision that was compacted misses a deletion
    /// there ([18089](https://github.com/etcd-io/etcd/issues/18089)).
    CompactionDropsDeletion,
    /// The same, and also when the watch was opened before the compaction and has not
    /// been served yet ([19179](https://github.com/etcd-io/etcd/issues/19179)).
    CompactionDropsEvent,
    /// A watch that starts in the future hears of what happens before
    /// ([20221](https://github.com/etcd-io/etcd/issues/20221)).
    FutureWatchHearsThePast,
    /// A member whose process stood still answers linearizable reads by what it knew
    /// before, until it is brought up to date
    /// ([20418](https://github.com/etcd-io/etcd/issues/20418)). Needs several members.
    StaleReadAfterPause,
    /// After a crash a member counts from before the deletions at the end of what it
    /// had, once something was compacted: revisions go back
    /// ([17780](https://github.com/etcd-io/etcd/issues/17780)).
    RevisionGoesBack,
    /// A crash of the only member loses the last write, although it was answered
    /// ([14370](https://github.com/etcd-io/etcd/issues/14370)).
    CrashLosesWrite,
    /// Each write of a transaction takes a revision of its own. No bug of etcd's.
    TornTxn,
    /// The last key of a lease outlives it. No bug of etcd's.
    LeaseLeavesKeys,
}

impl EtcdBug {
    /// All of them.
    pub const ALL: &'static [EtcdBug] = &[
        EtcdBug::ProgressAheadOfEvents,
        EtcdBug::DuplicateEvent,
        EtcdBug::StarvedWatchLosesEvents,
        EtcdBug::WatchTravelsBack,
        EtcdBug::CompactionDropsDeletion,
        EtcdBug::CompactionDropsEvent,
        EtcdBug::FutureWatchHearsThePast,
        EtcdBug::StaleReadAfterPause,
        EtcdBug::RevisionGoesBack,
        EtcdBug::CrashLosesWrite,
        EtcdBug::TornTxn,
        EtcdBug::LeaseLeavesKeys,
    ];

    /// The name on the command line: the number of etcd's issue, if there is one.
    pub const fn name(self) -> &'static str {
        match self {
            EtcdBug::ProgressAheadOfEvents => "etcd-15220",
            EtcdBug::DuplicateEvent => "etcd-17247",
            EtcdBug::StarvedWatchLosesEvents => "etcd-17529",
            EtcdBug::WatchTravelsBack => "etcd-15271",
            EtcdBug::CompactionDropsDeletion => "etcd-18089",
            EtcdBug::CompactionDropsEvent => "etcd-19179",
            EtcdBug::FutureWatchHearsThePast => "etcd-20221",
            EtcdBug::StaleReadAfterPause => "etcd-20418",
            EtcdBug::RevisionGoesBack => "etcd-17780",
            EtcdBug::CrashLosesWrite => "etcd-14370",
            EtcdBug::TornTxn => "etcd-torn-txn",
            EtcdBug::LeaseLeavesKeys => "etcd-lease-leaves-keys",
        }
    }

    /// What is wrong, in one line.
    pub const fn about(self) -> &'static str {
        match self {
            EtcdBug::ProgressAheadOfEvents => "notices of progress come ahead of events",
            EtcdBug::DuplicateEvent => "a watch hears twice of the last change of a transaction",
            EtcdBug::StarvedWatchLosesEvents => "a watch whose stream starves loses events",
            EtcdBug::WatchTravelsBack => {
                "watches of a member that was cut off hear once more of what they had heard of"
            }
            EtcdBug::CompactionDropsDeletion => {
                "a watch opened at the revision that was compacted misses the deletion there"
            }
            EtcdBug::CompactionDropsEvent => {
                "a watch misses the deletion at the revision that was compacted"
            }
            EtcdBug::FutureWatchHearsThePast => {
                "a watch from a future revision on hears of earlier ones"
            }
            EtcdBug::StaleReadAfterPause => {
                "a member that stood still answers linearizable reads by what it knew before"
            }
            EtcdBug::RevisionGoesBack => {
                "revisions of deletions are counted once more after a crash"
            }
            EtcdBug::CrashLosesWrite => "a crash of the only member loses the last write",
            EtcdBug::TornTxn => "each write of a transaction takes a revision of its own",
            EtcdBug::LeaseLeavesKeys => "the last key of a lease outlives it",
        }
    }

    /// How many members a cluster needs for it to show: between these two.
    pub const fn members(self) -> (usize, usize) {
        match self {
            EtcdBug::WatchTravelsBack | EtcdBug::StaleReadAfterPause => (3, 5),
            EtcdBug::CrashLosesWrite => (1, 1),
            _ => (1, 5),
        }
    }

    /// The bug of this name.
    pub fn find(name: &str) -> Option<EtcdBug> {
        EtcdBug::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

impl fmt::Display for EtcdBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
