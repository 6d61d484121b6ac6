//! Anomalies: what can be wrong between transactions, by the names of the literature.

use std::fmt;

use crate::verdict::Kind;

/// Something that some consistency model forbids. The order is that in which reports
/// name them: what needs the fewest transactions to show comes first, then the cycles
/// from the worst to the mildest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Anomaly {
    /// Two transactions committed at one revision.
    SameRevision,
    /// A list holds an element twice that was appended once.
    DuplicateElements,
    /// Of one transaction's appends to a key some are missing, or in another order.
    TornAppend,
    /// The versions of a key come after each other in a circle.
    CyclicVersions,
    /// Two reads of a list, neither of which is the beginning of the other.
    IncompatibleOrder,
    /// A value was read that nobody wrote.
    GarbageRead,
    /// A transaction took effect more than once.
    CommittedTwice,
    /// A value was read whose writer had failed.
    G1a,
    /// A committed write follows upon one whose writer had failed.
    DirtyUpdate,
    /// A value was read that its writer overwrote itself.
    G1b,
    /// A transaction read what it will only write later.
    FutureRead,
    /// A transaction contradicts its own reads and writes.
    Internal,
    /// A transaction read a version of a key and overwrote a later one, which it had not
    /// seen (Berenson and others 1995).
    LostUpdate,
    /// Transactions each of which must come before the next, and the last before the
    /// first.
    Cycle(Dependencies, Order),
    /// A transaction saw one write of another and missed a second one (Bailis and others
    /// 2014).
    FracturedRead,
    /// A cycle with missed writes of transactions that write, and at most one that only reads
    /// (Adya 1999).
    GUpdate,
}

/// What a cycle consists of, from the worst to the mildest (Adya 1999; `G-nonadjacent`
/// from Cerone and Gotsman 2016).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependencies {
    /// `ww` alone.
    G0,
    /// `ww` and `wr`.
    G1c,
    /// One `rw`, and else `ww` and `wr`.
    GSingle,
    /// Several `rw`, no two of them in a row.
    GNonadjacent,
    /// Several `rw`.
    G2Item,
}

/// Which order a cycle needs besides what transactions read and wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// None.
    Any,
    /// That of a process, which does one after the other.
    Process,
    /// Real time: what had returned comes before what was invoked later.
    RealTime,
}

impl Dependencies {
    pub(crate) const ALL: [Self; 5] = [
        Self::G0,
        Self::G1c,
        Self::GSingle,
        Self::GNonadjacent,
        Self::G2Item,
    ];
}

impl Order {
    pub(crate) const ALL: [Self; 3] = [Self::Any, Self::Process, Self::RealTime];
}

impl Anomaly {
    /// The anomaly and all that it is a case of.
    pub(crate) fn implied(self) -> Vec<Self> {
        let mut anomalies = vec![self];
        let mut next = 0;
        while let Some(anomaly) = anomalies.get(next).copied() {
            next += 1;
            for implied in anomaly.directly_implied() {
                if !anomalies.contains(&implied) {
                    anomalies.push(implied);
                }
            }
        }
        anomalies
    }

    fn directly_implied(self) -> Vec<Self> {
        use Dependencies as D;
        let Self::Cycle(dependencies, order) = self else {
            return match self {
                Self::FutureRead => vec![Self::Cycle(D::G1c, Order::Any)],
                // Each missed the other's write of that key.
                Self::LostUpdate => vec![Self::GUpdate],
                Self::GUpdate => vec![Self::Cycle(D::G2Item, Order::Any)],
                Self::FracturedRead => vec![Self::Cycle(D::GSingle, Order::Any)],
                // All but one of its runs count as failed.
                Self::CommittedTwice => vec![Self::G1a],
                _ => Vec::new(),
            };
        };
        let milder = match dependencies {
            D::G0 => Some(D::G1c),
            D::GSingle => Some(D::GNonadjacent),
            D::GNonadjacent => Some(D::G2Item),
            D::G1c | D::G2Item => None,
        };
        let stricter = match order {
            Order::Any => Some(Order::Process),
            // A process does one after the other.
            Order::Process => Some(Order::RealTime),
            Order::RealTime => None,
        };
        let milder = milder.map(|milder| Self::Cycle(milder, order));
        let stricter = stricter.map(|stricter| Self::Cycle(dependencies, stricter));
        // Who only reads comes in by what it read and leaves by what it missed.
        let of_updates = (self == Self::Cycle(D::GSingle, Order::Any)).then_some(Self::GUpdate);
        let all = milder.into_iter().chain(stricter);
        all.chain(of_updates).collect()
    }

    /// Whether both are cycles of the same dependencies.
    pub(crate) fn is_alike(self, other: Self) -> bool {
        match (self, other) {
            (Self::Cycle(one, _), Self::Cycle(other, _)) => one == other,
            _ => false,
        }
    }

    /// Whether it is one in whatever order transactions began and ended.
    pub(crate) fn needs_no_order(self) -> bool {
        !matches!(self, Self::Cycle(_, Order::Process | Order::RealTime))
    }

    /// The name, as the literature has it. Names are stable.
    pub fn name(self) -> &'static str {
        self.kind().name
    }

    /// Name and meaning.
    pub fn kind(self) -> Kind {
        let (name, meaning) = match self {
            Self::SameRevision => (
                "same-revision",
                "two transactions committed at one revision",
            ),
            Self::DuplicateElements => (
                "duplicate-elements",
                "a list holds an element twice that was appended once",
            ),
            Self::TornAppend => (
                "torn-append",
                "of one transaction's appends to a key some are missing, or in another order",
            ),
            Self::CyclicVersions => (
                "cyclic-versions",
                "the versions of a key come after each other in a circle",
            ),
            Self::IncompatibleOrder => (
                "incompatible-order",
                "two reads of a list, neither of which is the beginning of the other",
            ),
            Self::GarbageRead => ("garbage-read", "a value was seen that nobody wrote"),
            Self::CommittedTwice => (
                "committed-twice",
                "a transaction took effect more than once",
            ),
            Self::G1a => (
                "G1a",
                "aborted read: a value was seen whose writer had failed",
            ),
            Self::DirtyUpdate => (
                "dirty-update",
                "a committed write builds upon one whose writer had failed",
            ),
            Self::G1b => (
                "G1b",
                "intermediate read: a value was seen that its writer overwrote itself",
            ),
            Self::FutureRead => (
                "future-read",
                "a transaction saw what it was to write only later",
            ),
            Self::Internal => (
                "internal",
                "a transaction contradicts its own reads and writes",
            ),
            Self::LostUpdate => (
                "lost-update",
                "a write was overwritten by a transaction that had read the version before it",
            ),
            Self::Cycle(dependencies, order) => cycle(dependencies, order),
            Self::FracturedRead => (
                "fractured-read",
                "a transaction saw one write of another but not all",
            ),
            Self::GUpdate => (
                "G-update",
                "missed writes in a circle, of transactions that write and at most one other",
            ),
        };
        Kind { name, meaning }
    }
}

fn cycle(dependencies: Dependencies, order: Order) -> (&'static str, &'static str) {
    use Dependencies as D;
    match (dependencies, order) {
        (D::G0, Order::Any) => ("G0", "write cycle: transactions overwrote each other"),
        (D::G0, Order::Process) => (
            "G0-process",
            "writes in another order than a process made them",
        ),
        (D::G0, Order::RealTime) => (
            "G0-realtime",
            "writes in another order than they were acknowledged",
        ),
        (D::G1c, Order::Any) => ("G1c", "circular information flow"),
        (D::G1c, Order::Process) => (
            "G1c-process",
            "circular information flow, through the order of a process",
        ),
        (D::G1c, Order::RealTime) => ("G1c-realtime", "a transaction saw what had not begun"),
        (D::GSingle, Order::Any) => (
            "G-single",
            "read skew: a transaction saw the effects of another and missed it",
        ),
        (D::GSingle, Order::Process) => (
            "G-single-process",
            "read skew with what the same process did or saw before",
        ),
        (D::GSingle, Order::RealTime) => {
            ("G-single-realtime", "read skew with what was acknowledged")
        }
        (D::GNonadjacent, Order::Any) => (
            "G-nonadjacent",
            "transactions missed each other's writes, but no two in a row",
        ),
        (D::GNonadjacent, Order::Process) => (
            "G-nonadjacent-process",
            "missed writes, no two in a row, and the order of a process",
        ),
        (D::GNonadjacent, Order::RealTime) => (
            "G-nonadjacent-realtime",
            "missed writes, no two in a row, and what was acknowledged",
        ),
        (D::G2Item, Order::Any) => (
            "G2-item",
            "write skew: transactions missed each other's writes",
        ),
        (D::G2Item, Order::Process) => (
            "G2-item-process",
            "write skew, through the order of a process",
        ),
        (D::G2Item, Order::RealTime) => {
            ("G2-item-realtime", "write skew with what was acknowledged")
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
