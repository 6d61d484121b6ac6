//! Consistency models, each by what it forbids and by what it implies.

use std::fmt;
use std::str::FromStr;

use super::anomaly::{Anomaly, Dependencies, Order};

/// What transactions are promised to see of each other.
///
/// The models of Adya ("Weak Consistency", 1999), their variants that also respect the
/// order of each session (Daudjee and Salem 2004) or real time (Papadimitriou 1979), and
/// the weaker ones of Bailis and others ("Highly Available Transactions", 2013). Names
/// are those that users of Elle and of Jepsen know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Consistency {
    /// As if one by one, each between its invocation and its return.
    StrictSerializable,
    /// As if one by one, those of each process in its order.
    StrongSessionSerializable,
    /// As if one by one, in some order (Adya's PL-3).
    Serializable,
    /// Snapshot isolation whose snapshots hold all that was acknowledged before.
    StrongSnapshotIsolation,
    /// Snapshot isolation whose snapshots hold what the same process has done or seen.
    StrongSessionSnapshotIsolation,
    /// Each reads from one snapshot, and of two that overlap and write one key one fails.
    SnapshotIsolation,
    /// Serializable but for reads of ranges (Adya's PL-2.99). As the histories that are
    /// checked here have no such reads, it forbids the same as `serializable` does.
    RepeatableRead,
    /// Those that write are serializable, together with each one that only reads (PL-3U).
    UpdateSerializable,
    /// Adya's PL-FCV: a snapshot that may hold more than what was there at the start. As nobody
    /// says which transactions had committed when one started, none need have: it forbids the
    /// same as `consistent-view` does.
    ForwardConsistentView,
    /// Who sees one effect of another misses none of it (PL-2+).
    ConsistentView,
    /// Who sees one effect of another has missed none of it from then on (PL-2L).
    MonotonicView,
    /// Each read is of a snapshot, and these never go back (PL-MSR).
    MonotonicSnapshotRead,
    /// No update of a key is lost (PL-CS).
    CursorStability,
    /// All effects of a transaction are seen, or none (Bailis and others 2014).
    ReadAtomic,
    /// From the first effect that is seen, all are.
    MonotonicAtomicView,
    /// As `read-committed`, in the order of real time.
    StrongReadCommitted,
    /// As `read-committed`, in the order of each process.
    StrongSessionReadCommitted,
    /// Only what was committed is seen (PL-2).
    ReadCommitted,
    /// As `read-uncommitted`, in the order of real time.
    StrongReadUncommitted,
    /// As `read-uncommitted`, in the order of each process.
    StrongSessionReadUncommitted,
    /// Writes of transactions do not mix (PL-1).
    ReadUncommitted,
}

impl Consistency {
    /// All models, each before those that it implies.
    pub const ALL: [Self; 21] = [
        Self::StrictSerializable,
        Self::StrongSessionSerializable,
        Self::Serializable,
        Self::StrongSnapshotIsolation,
        Self::StrongSessionSnapshotIsolation,
        Self::SnapshotIsolation,
        Self::RepeatableRead,
        Self::UpdateSerializable,
        Self::ForwardConsistentView,
        Self::ConsistentView,
        Self::MonotonicView,
        Self::MonotonicSnapshotRead,
        Self::CursorStability,
        Self::ReadAtomic,
        Self::MonotonicAtomicView,
        Self::StrongReadCommitted,
        Self::StrongSessionReadCommitted,
        Self::ReadCommitted,
        Self::StrongReadUncommitted,
        Self::StrongSessionReadUncommitted,
        Self::ReadUncommitted,
    ];

    /// Models that others know and that are not decided here: they are defined by what each
    /// transaction sees, not by cycles that a history shows.
    pub const UNDECIDED: [&'static str; 6] = [
        "causal",
        "causal-cerone",
        "causal-consistency",
        "parallel-snapshot-isolation",
        "prefix",
        "prefix-consistency",
    ];

    /// What is said of objects, and is no model of transactions.
    pub const OF_OBJECTS: [&'static str; 2] = ["linearizable", "linearizability"];

    /// The name, as headers and reports have it.
    pub fn name(self) -> &'static str {
        self.names()[0]
    }

    /// Other names that it is known by.
    pub fn aliases(self) -> &'static [&'static str] {
        &self.names()[1..]
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::StrictSerializable => "as if one by one, in the order of real time",
            Self::StrongSessionSerializable => "as if one by one, each process in its order",
            Self::Serializable => "as if one by one, in some order",
            Self::StrongSnapshotIsolation => {
                "each reads a snapshot of all that was acknowledged before it began; write skew is possible"
            }
            Self::StrongSessionSnapshotIsolation => {
                "each reads a snapshot that holds what its process did before; write skew is possible"
            }
            Self::SnapshotIsolation => "each reads from one snapshot; write skew is possible",
            Self::RepeatableRead => "as if one by one, but for reads of ranges",
            Self::UpdateSerializable => "those that write are as if one by one",
            Self::ForwardConsistentView => {
                "each reads a snapshot that may be of later than its start"
            }
            Self::ConsistentView => "who sees one effect of another misses none of it",
            Self::MonotonicView => "who has seen one effect of another misses none afterwards",
            Self::MonotonicSnapshotRead => "each read is of a snapshot, and these never go back",
            Self::CursorStability => "no update of a key is lost",
            Self::ReadAtomic => "all effects of a transaction are seen, or none",
            Self::MonotonicAtomicView => "from the first effect that is seen, all are",
            Self::StrongReadCommitted => {
                "only what was committed is seen, in the order of real time"
            }
            Self::StrongSessionReadCommitted => {
                "only what was committed is seen, in the order of each process"
            }
            Self::ReadCommitted => "only what was committed is seen",
            Self::StrongReadUncommitted => "writes do not mix, in the order of real time",
            Self::StrongSessionReadUncommitted => "writes do not mix, in the order of each process",
            Self::ReadUncommitted => "writes of transactions do not mix",
        }
    }

    /// Whether a history with this anomaly breaks the model.
    pub fn forbids(self, anomaly: Anomaly) -> bool {
        let implied = anomaly.implied();
        let weaker = self.and_weaker();
        let direct = |model: &Self| model.adds().iter().any(|added| implied.contains(added));
        weaker.iter().any(direct)
    }

    /// Whether each history that satisfies this model satisfies the other one too.
    pub fn implies(self, other: Self) -> bool {
        self.and_weaker().contains(&other)
    }

    /// Whether anomalies that the checkers look for completely decide if a history
    /// satisfies the model. The others are only known to be broken, or to follow from a
    /// stronger one.
    pub(super) fn is_decided(self) -> bool {
        !matches!(
            self,
            Self::MonotonicView
                | Self::MonotonicSnapshotRead
                | Self::CursorStability
                | Self::MonotonicAtomicView
        )
    }

    /// The model and all that it implies.
    fn and_weaker(self) -> Vec<Self> {
        let mut models = vec![self];
        let mut next = 0;
        while let Some(model) = models.get(next).copied() {
            next += 1;
            for weaker in model.next_weaker() {
                if !models.contains(weaker) {
                    models.push(*weaker);
                }
            }
        }
        models
    }

    /// The models that this one implies without another in between.
    fn next_weaker(self) -> &'static [Self] {
        match self {
            Self::StrictSerializable => &[
                Self::StrongSessionSerializable,
                Self::StrongSnapshotIsolation,
            ],
            Self::StrongSessionSerializable => {
                &[Self::Serializable, Self::StrongSessionSnapshotIsolation]
            }
            Self::Serializable => &[
                Self::RepeatableRead,
                Self::SnapshotIsolation,
                Self::UpdateSerializable,
            ],
            Self::StrongSnapshotIsolation => &[
                Self::StrongSessionSnapshotIsolation,
                Self::StrongReadCommitted,
            ],
            Self::StrongSessionSnapshotIsolation => {
                &[Self::SnapshotIsolation, Self::StrongSessionReadCommitted]
            }
            Self::SnapshotIsolation => &[
                Self::ForwardConsistentView,
                Self::ReadAtomic,
                Self::MonotonicSnapshotRead,
            ],
            Self::UpdateSerializable => &[Self::ForwardConsistentView],
            Self::RepeatableRead => &[Self::CursorStability, Self::MonotonicAtomicView],
            Self::ForwardConsistentView => &[Self::ConsistentView],
            Self::ConsistentView => &[Self::CursorStability, Self::MonotonicView],
            Self::ReadAtomic => &[Self::MonotonicAtomicView],
            Self::StrongReadCommitted => &[
                Self::StrongSessionReadCommitted,
                Self::StrongReadUncommitted,
            ],
            Self::StrongSessionReadCommitted => {
                &[Self::ReadCommitted, Self::StrongSessionReadUncommitted]
            }
            Self::MonotonicView
            | Self::MonotonicSnapshotRead
            | Self::CursorStability
            | Self::MonotonicAtomicView => &[Self::ReadCommitted],
            Self::StrongReadUncommitted => &[Self::StrongSessionReadUncommitted],
            Self::ReadCommitted | Self::StrongSessionReadUncommitted => &[Self::ReadUncommitted],
            Self::ReadUncommitted => &[],
        }
    }

    /// What it forbids beyond what weaker models do.
    fn adds(self) -> &'static [Anomaly] {
        use Anomaly as A;
        use Dependencies as D;
        match self {
            Self::StrictSerializable => &[A::Cycle(D::G2Item, Order::RealTime)],
            Self::StrongSessionSerializable => &[A::Cycle(D::G2Item, Order::Process)],
            Self::Serializable => &[A::Cycle(D::G2Item, Order::Any)],
            Self::RepeatableRead => &[A::Cycle(D::G2Item, Order::Any), A::LostUpdate, A::Internal],
            Self::StrongSnapshotIsolation => &[A::Cycle(D::GNonadjacent, Order::RealTime)],
            Self::StrongSessionSnapshotIsolation => &[A::Cycle(D::GNonadjacent, Order::Process)],
            Self::SnapshotIsolation => &[A::Cycle(D::GNonadjacent, Order::Any)],
            Self::ConsistentView => &[A::Cycle(D::GSingle, Order::Any)],
            Self::CursorStability => &[A::LostUpdate],
            Self::ReadAtomic => &[A::Internal, A::FracturedRead],
            Self::StrongReadCommitted => &[A::Cycle(D::G1c, Order::RealTime)],
            Self::StrongSessionReadCommitted => &[A::Cycle(D::G1c, Order::Process)],
            Self::ReadCommitted => &[
                A::Cycle(D::G1c, Order::Any),
                A::G1a,
                A::G1b,
                A::GarbageRead,
                A::DirtyUpdate,
                A::IncompatibleOrder,
            ],
            Self::StrongReadUncommitted => &[A::Cycle(D::G0, Order::RealTime)],
            Self::StrongSessionReadUncommitted => &[A::Cycle(D::G0, Order::Process)],
            Self::ReadUncommitted => &[
                A::Cycle(D::G0, Order::Any),
                A::SameRevision,
                A::DuplicateElements,
                A::TornAppend,
                A::CyclicVersions,
            ],
            Self::UpdateSerializable => &[A::GUpdate],
            Self::ForwardConsistentView
            | Self::MonotonicView
            | Self::MonotonicSnapshotRead
            | Self::MonotonicAtomicView => &[],
        }
    }

    /// Its name, and the others that it is known by.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::StrictSerializable => &["strict-serializable", "strong-serializable", "PL-SS"],
            Self::StrongSessionSerializable => &["strong-session-serializable"],
            Self::Serializable => &["serializable", "conflict-serializable", "PL-3"],
            Self::StrongSnapshotIsolation => &["strong-snapshot-isolation"],
            Self::StrongSessionSnapshotIsolation => &["strong-session-snapshot-isolation"],
            Self::SnapshotIsolation => &["snapshot-isolation", "PL-SI"],
            Self::RepeatableRead => &["repeatable-read", "PL-2.99"],
            Self::UpdateSerializable => &["update-serializable", "PL-3U"],
            Self::ForwardConsistentView => &["forward-consistent-view", "PL-FCV"],
            Self::ConsistentView => &["consistent-view", "PL-2+"],
            Self::MonotonicView => &["monotonic-view", "PL-2L"],
            Self::MonotonicSnapshotRead => &["monotonic-snapshot-read", "PL-MSR"],
            Self::CursorStability => &["cursor-stability", "PL-CS"],
            Self::ReadAtomic => &["read-atomic"],
            Self::MonotonicAtomicView => &["monotonic-atomic-view"],
            Self::StrongReadCommitted => &["strong-read-committed", "strong-PL-2"],
            Self::StrongSessionReadCommitted => {
                &["strong-session-read-committed", "strong-session-PL-2"]
            }
            Self::ReadCommitted => &["read-committed", "PL-2"],
            Self::StrongReadUncommitted => &["strong-read-uncommitted", "strong-PL-1"],
            Self::StrongSessionReadUncommitted => {
                &["strong-session-read-uncommitted", "strong-session-PL-1"]
            }
            Self::ReadUncommitted => &["read-uncommitted", "PL-1"],
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Consistency {
    type Err = UnknownConsistency;

    fn from_str(name: &str) -> Result<Self, UnknownConsistency> {
        let found = Self::ALL
            .into_iter()
            .find(|model| model.names().contains(&name));
        found.ok_or_else(|| UnknownConsistency {
            name: name.to_owned(),
        })
    }
}

/// There is no consistency model of this name, or it is not decided here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {name:?}{}; known are {}", self.what(), self.why(), Consistency::ALL.map(Consistency::name).join(", "))]
pub struct UnknownConsistency {
    /// What was asked for.
    pub name: String,
}

impl UnknownConsistency {
    fn is_undecided(&self) -> bool {
        Consistency::UNDECIDED.contains(&self.name.as_str())
    }

    /// Whether it is what objects are said to be, not transactions.
    fn is_of_objects(&self) -> bool {
        Consistency::OF_OBJECTS.contains(&self.name.as_str())
    }

    fn what(&self) -> &'static str {
        if self.is_of_objects() {
            "no consistency model of transactions is"
        } else if self.is_undecided() {
            "there is no check for the consistency model"
        } else {
            "unknown consistency model"
        }
    }

    fn why(&self) -> &'static str {
        if self.is_of_objects() {
            ", which is said of single objects, such as registers and queues, and is what their models \
             check without being asked; of transactions the same is said by strict-serializable"
        } else if self.is_undecided() {
            ", which is defined by what each transaction sees, not by cycles that a history shows; \
             snapshot-isolation is stronger, read-atomic is weaker"
        } else {
            ""
        }
    }
}
