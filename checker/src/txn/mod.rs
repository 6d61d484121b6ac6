//! Transactions: strict serializability and weaker levels, from the revisions that
//! etcd reveals.
//!
//! # The question
//!
//! Is there one order of all committed transactions in which each sees exactly what
//! those before it wrote, and which respects real time: what had returned comes
//! before what began later?
//!
//! ```text
//! T1  r x = 100 @5, w x = 90   |---------------|  committed at 7
//! T2  r x = 100 @5, w x = 80        |----------------|  committed at 8
//!                                                 T1's write is lost: lost-update
//! ```
//!
//! For values alone that is NP-complete. But etcd says which revision wrote each
//! value that a transaction read (`mod_revision`), and at which revision each
//! transaction committed. So the versions of every key are known in their order,
//! and both halves of the answer are cheap.
//!
//! # The good case: a certificate
//!
//! In etcd a transaction that committed at revision R saw the store at R - 1. If all
//! reads agree with that, and read-only transactions fit between the revisions, and
//! real time agrees too, then the order of the revisions *is* the order that was
//! asked for. One sweep over the events finds out (`certificate`).
//!
//! # The bad case: a cycle
//!
//! Revisions are evidence, not authority: a violation must hold from what the
//! clients saw. With the versions in order, all dependencies between transactions
//! are known (Adya's ww, wr, rw, and real time), and an order exists exactly when
//! they form no cycle (`graph`). If they do, the strongest and then shortest cycle
//! is shown, by the names of the literature (`cycle`): G0, G1c, G-single (with
//! lost-update, fractured-read and stale-read as its plain cases), G2-item, and
//! `-realtime` where real time is needed to close it. G1a, G1b and garbage reads
//! show without a cycle (`model`).
//!
//! # Weaker levels
//!
//! What is not strictly serializable may still satisfy a weaker [`Level`], each a rule
//! about which dependencies must not form a cycle; and what is may be more: opaque, if
//! also the *attempts*, the runs of a transaction's closure that did not commit, saw
//! states of the store that there were. For that each attempt is a transaction that
//! only reads (`levels`).
//!
//! # Unknown outcomes
//!
//! A transaction of unknown outcome committed if somebody saw its writes; which one
//! made a revision is mostly obvious, and otherwise found by search within a budget
//! (`resolve`). One of which nothing is known, not even what it attempted, may have
//! made any one revision that nobody else made.
//!
//! # Cost
//!
//! O(n log n) in events and micro-operations, but for the search, which is bounded.
//!
//! # When the verdict is unknown
//!
//! - A committed transaction's revision, or the mod revision of a read, is missing,
//!   and nothing is wrong with the rest.
//! - Reads of absent keys can be explained in several ways, because the key was
//!   deleted several times, or may have been deleted by a transaction of unknown
//!   outcome, and the order of the revisions explains none.
//! - The budget of the search ran out.
//!
//! # What is left out
//!
//! Range reads and predicates (G2 proper, phantoms), and keys that vanish with their
//! lease: record such a deletion as a transaction of its own.

mod bank;
mod certificate;
mod cycle;
mod explain;
mod extract;
mod graph;
mod level;
mod levels;
mod model;
mod resolve;
mod runs;

use crate::history::{History, HistoryError};
use crate::liveness::{Deadline, STUCK};
use crate::verdict::{Class, Summary, Verdict, Violation, count};

use extract::{Attempts, Txns};
use model::Commits;

pub use level::{Level, UnknownLevel};
pub use levels::check_levels;
use resolve::Finding;

/// Decides whether the history is strictly serializable.
///
/// Operations: `txn`, whose value is a list of
/// [micro-operations](crate::history::MicroOperation). Versions that keys had before
/// the run stand in the header's parameters, as `initial`: a list of
/// `[key, value, mod_revision]`; other keys were absent.
///
/// # Errors
/// When an event is no such operation or contradicts itself.
pub fn check(history: &History) -> Result<Verdict, HistoryError> {
    let (txns, internal) = Txns::of(history, Attempts::Refuse)?;
    Ok(judge(history, &txns, internal))
}

/// Decides whether the history is strictly serializable and the accounts of the bank
/// always add up.
///
/// Operations are those of [`check`]. The header's parameters must have `accounts`, a
/// list of keys, and `total`, their sum; `"allow_negative":false` forbids balances
/// below zero.
///
/// # Errors
/// As for [`check`]; and when the parameters are missing, or an account holds
/// something else than a whole number.
pub fn check_bank(history: &History) -> Result<Verdict, HistoryError> {
    let (txns, internal) = Txns::of(history, Attempts::Refuse)?;
    let bank = bank::find(history, &txns)?;
    Ok(match (judge(history, &txns, internal), bank) {
        (verdict, None) => verdict,
        (Verdict::Violation(mut cause), Some(effect)) if cause.class == Class::Safety => {
            cause.also.push(effect.sentence);
            Verdict::Violation(cause)
        }
        (_, Some(violation)) => Verdict::Violation(violation),
    })
}

fn judge(history: &History, txns: &Txns<'_>, internal: Option<Violation>) -> Verdict {
    if let Some(violation) = internal {
        return Verdict::Violation(violation);
    }
    let missing = match resolve::resolve(txns, Level::StrictSerializable) {
        Finding::Violation(violation) => return Verdict::Violation(*violation),
        Finding::Explained(commits) => missing_revision(txns, &commits),
        Finding::Unknown(reason) => Some(reason),
    };
    match (find_stuck(history, txns), missing) {
        (Some(violation), _) => Verdict::Violation(violation),
        (None, Some(reason)) => Verdict::Unknown { reason },
        (None, None) => Verdict::Valid(Summary::of(&txns.operations)),
    }
}

/// The first transaction that could not be checked for want of a revision.
fn missing_revision(txns: &Txns<'_>, commits: &Commits) -> Option<String> {
    for (txn, revision) in txns.txns.iter().zip(commits) {
        let operation = &txns.operations[txn.operation];
        let line = operation
            .completion
            .map_or(operation.invoke.line, |event| event.line);
        if txn.committed && revision.is_none() && !txn.writes.is_empty() {
            return Some(format!(
                "the transaction that ends in line {line} wrote, but its revision is missing; the check needs revisions"
            ));
        }
        let counts = txn.committed || revision.is_some();
        if let Some(read) = txn
            .reads
            .iter()
            .find(|read| counts && read.revision.is_none())
        {
            let key = txns.show_key(read.key);
            return Some(format!(
                "the read of {key} in line {line} has no mod revision; the check needs revisions"
            ));
        }
    }
    None
}

fn find_stuck(history: &History, txns: &Txns<'_>) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let mut stuck = deadline.overdue(&txns.operations);
    // An attempt is stuck with its transaction.
    stuck.retain(|operation| operation.invoke.f == "txn");
    let (first, others) = stuck.split_first()?;
    let mut violation = Violation::new(Class::Liveness, STUCK, deadline.sentence(first), [*first]);
    if !others.is_empty() {
        violation.also.push(format!(
            "{} had not finished either",
            count(others.len() as u64, "other operation")
        ));
    }
    Some(violation)
}
