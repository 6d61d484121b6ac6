//! Transactions without known versions: which consistency models does a history satisfy?
//!
//! # The question
//!
//! A [`Consistency`] model says what transactions may see of each other. Adya showed that
//! each is a rule about cycles: draw an arrow from a transaction to each that must come
//! after it, because it overwrote (`ww`), read (`wr`), or made void what the first had read
//! (`rw`), and the models differ in which cycles they forbid.
//!
//! ```text
//!        rw: T1 read x before T2 wrote it
//!     T1 ─────────▶ T2
//!      ◀───────────           a cycle of two rw is write skew: not serializable, but
//!        rw: T2 read y        snapshot isolation allows it
//!        before T1 wrote it
//! ```
//!
//! ```text
//! T1  r x = 0, w y 1    |---------------|
//! T2  r y = 0, w x 1        |---------------|        neither saw the other: write skew
//! T3  r y = 0                                  |---|  T3 rw T1, which had returned: a cycle,
//!                                                    but only with real time
//! ```
//!
//! The arrows follow from the order of the versions of each key, and the systems under test
//! do not tell that. So the workload is chosen such that its reads do: lists that only grow
//! (`list`), or registers that are never set to
//! the same value twice (`register`). This is the idea of Elle (Kingsbury and Alvaro, VLDB 2020), and so are the
//! names of the models and anomalies.
//!
//! # How it is decided
//!
//! 1. Micro-operations become flat tables (`txns`).
//! 2. Versions and dependencies are inferred, by model; what is wrong without a cycle is
//!    noted.
//! 3. One pass finds the strongly connected components of all dependencies and real time
//!    (`components`). Mostly there are none, and the history is strictly serializable.
//! 4. Within these, each kind of cycle is looked for, the worst first, and the shortest is
//!    shown (`cycles`, `cycle`).
//! 5. Each anomaly rules out the models that forbid it (`consistency`); what remains holds
//!    (`judge`).
//!
//! # The serial order
//!
//! Where the strongest model that holds is serializable or stronger, the transactions that took
//! effect can be given in an order in which each sees what those before it wrote: with strict
//! serializability in real time, with strong session serializability in the order of each process
//! (`serial`).
//!
//! # Cost
//!
//! O(n) steps for step 1 to 3 on a history of size n, but for the sorting of the returns.
//! Step 4 looks at no more than a fixed number of edges for each kind of cycle; where that
//! is not enough, the verdict on what depends on it is *unknown*.
//!
//! # What is left out
//!
//! Reads of ranges and predicates, so G2 proper and phantoms.

pub(crate) mod anomaly;
pub(crate) mod components;
mod consistency;
pub(crate) mod cycle;
pub(crate) mod cycles;
pub(crate) mod effort;
pub(crate) mod explain;
pub(crate) mod findings;
pub(crate) mod graph;
mod group;
pub(crate) mod judge;
mod list;
mod micro;
mod options;
mod order;
mod register;
pub(crate) mod sentence;
pub(crate) mod serial;
pub(crate) mod settle;
mod txns;
mod updates;

use crate::history::{History, HistoryError};
use crate::linearization::Linearization;
use crate::search::Budget;
use crate::verdict::Verdict;

pub use anomaly::{Anomaly, Dependencies, Order};
pub use consistency::{Consistency, UnknownConsistency};
pub use options::{KeyOrders, Options};

/// Decides which consistency models a history of appends to lists satisfies, and whether
/// those that are required are among them.
///
/// Operations: `txn`, whose value is a list of `["append", key, value]` and
/// `["r", key, [value, ..]]`. No two transactions append the same value to a key, unless the
/// first failed. A valid verdict and a violation say which models hold.
///
/// # Errors
/// When an event is no such operation or contradicts itself, or a value is not unique.
pub fn check_list_append(history: &History, options: &Options) -> Result<Verdict, HistoryError> {
    list::check(history, options)
}

/// Decides which consistency models a history of reads and writes of registers satisfies, and
/// whether those that are required are among them.
///
/// Operations: `txn`, whose value is a list of `["w", key, value]` and `["r", key, value]`,
/// where `null` is what a key holds before anybody writes it. No two transactions write the
/// same value to a key, unless the first failed. A valid verdict and a violation say which
/// models hold. A value that nobody wrote is a violation if it was certainly never there, and
/// else makes the verdict unknown: it may be older than the history.
///
/// # Errors
/// When an event is no such operation or contradicts itself, or a value is not unique.
pub fn check_rw_register(history: &History, options: &Options) -> Result<Verdict, HistoryError> {
    register::check(history, options)
}

/// A serial order of transactions on lists, if there is one.
pub(crate) fn linearization_of_list_append(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    list::linearization(history, budget)
}

/// A serial order of transactions on registers, if there is one.
pub(crate) fn linearization_of_rw_register(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    register::linearization(history, budget)
}
