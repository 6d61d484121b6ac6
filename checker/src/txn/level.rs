//! Isolation levels, each by what it forbids.

use std::fmt;
use std::str::FromStr;

use crate::isolation::{Anomaly, Consistency};
use crate::verdict::Guarantee;

/// How much of the truth transactions may miss. Each level implies those after it.
///
/// Dependencies are Adya's ("Weak Consistency", 1999): `ww`, the other overwrote what
/// the one wrote; `wr`, the other read it; `rw`, the other overwrote what the one had
/// read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As [`StrictSerializable`](Level::StrictSerializable), and every run of a
    /// transaction's closure, also one that was repeated or aborted, has seen a state
    /// of the store that there was while it ran (Guerraoui and Kapalka, "On the
    /// Correctness of Transactional Memory", 2008).
    Opaque,
    /// Committed transactions take effect one after the other, each between its
    /// invocation and its return (Papadimitriou 1979): no cycle of dependencies and
    /// real time.
    StrictSerializable,
    /// As if one after the other, in some order: no cycle of dependencies (Adya's
    /// PL-3; without reads of ranges also his PL-2.99, "repeatable read").
    Serializable,
    /// Each reads from one snapshot, and of two that overlap and write the same key
    /// one fails (Berenson and others 1995): no cycle without two `rw` in a row
    /// (Cerone and Gotsman 2016). Forbids lost updates, allows write skew.
    SnapshotIsolation,
    /// A transaction that reads a key again sees it unchanged (Bailis and others,
    /// "Highly Available Transactions", 2013): what etcd's documentation calls
    /// repeatable reads. Allows lost updates.
    ItemCutIsolation,
    /// Only what was committed is seen, and writes take effect together: no cycle of
    /// `ww` and `wr`, no aborted and no intermediate reads (Adya's PL-2).
    ReadCommitted,
}

impl Level {
    /// All levels, the strongest first.
    pub const ALL: [Self; 6] = [
        Self::Opaque,
        Self::StrictSerializable,
        Self::Serializable,
        Self::SnapshotIsolation,
        Self::ItemCutIsolation,
        Self::ReadCommitted,
    ];

    /// The name, as headers and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::StrictSerializable => "strict-serializable",
            Self::Serializable => "serializable",
            Self::SnapshotIsolation => "snapshot-isolation",
            Self::ItemCutIsolation => "item-cut-isolation",
            Self::ReadCommitted => "read-committed",
        }
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Opaque => {
                "strictly serializable, and every attempt saw a state that there was at that time"
            }
            Self::StrictSerializable => {
                "committed transactions take effect one by one, in the order of real time"
            }
            Self::Serializable => "committed transactions take effect as if one by one",
            Self::SnapshotIsolation => {
                "each reads from one snapshot and no update is lost; write skew is possible"
            }
            Self::ItemCutIsolation => {
                "a key that is read again has not changed; updates can be lost"
            }
            Self::ReadCommitted => "only what was committed is seen",
        }
    }

    /// Whether a history with this anomaly breaks the level. Of opacity attempts are
    /// transactions too.
    pub(super) fn forbids(self, anomaly: Anomaly) -> bool {
        match self {
            Self::Opaque | Self::StrictSerializable => {
                Consistency::StrictSerializable.forbids(anomaly)
            }
            Self::Serializable => Consistency::Serializable.forbids(anomaly),
            Self::SnapshotIsolation => Consistency::SnapshotIsolation.forbids(anomaly),
            Self::ItemCutIsolation => {
                anomaly == Anomaly::Internal || Consistency::ReadCommitted.forbids(anomaly)
            }
            Self::ReadCommitted => Consistency::ReadCommitted.forbids(anomaly),
        }
    }

    /// The level as a finding: exactly this one, or perhaps a stronger one.
    pub(super) fn guarantee(self, is_exact: bool) -> Guarantee {
        Guarantee {
            name: self.name(),
            meaning: self.meaning(),
            is_exact,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        let found = Self::ALL.into_iter().find(|level| level.name() == name);
        found.ok_or_else(|| UnknownLevel {
            name: name.to_owned(),
        })
    }
}

/// There is no level of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown level {name:?}; known are {}", Level::ALL.map(Level::name).join(", "))]
pub struct UnknownLevel {
    /// What was asked for.
    pub name: String,
}
