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
//! # The bad case: all anomalies
//!
//! Revisions are evidence, not authority: a violation must hold from what the
//! clients saw. A cycle lies near to where the order of the revisions fails, and only there it
//! is looked for (`suspects`). With the versions in order, all dependencies between transactions
//! are known (Adya's ww, wr, rw: `edges`), and the orders of processes and of real time
//! with them. From there on it goes as for histories [without versions](crate::isolation):
//! each kind of cycle is looked for, from G0 to G2-item, alone, with the order of the
//! processes, and with real time; each rules out the
//! [consistency models](crate::Consistency) that forbid it, and what remains holds. What is
//! wrong without a cycle (`choice`, `model`): G1a, G1b, garbage reads, a transaction that
//! contradicts itself; and lost updates and fractured reads have names of their own.
//!
//! # Levels of the STM
//!
//! A history may be more than strictly serializable: opaque, if also the *attempts*, the
//! runs of a transaction's closure that did not commit, saw states of the store that there
//! were. For that each attempt is a transaction that only reads (`levels`).
//!
//! # Unknown outcomes
//!
//! A transaction of unknown outcome committed if somebody saw its writes; which one
//! made a revision is mostly obvious, and otherwise found by search within a budget
//! (`resolve`). One of which nothing is known, not even what it attempted, may have
//! made any one revision that nobody else made. An anomaly is certain if it follows
//! whoever it was; a model holds if it does for one choice.
//!
//! # The serial order
//!
//! That of the strongest model that holds, if it is serializable or stronger: the order of the
//! revisions where it explains everything, or else one in which each transaction stands behind
//! all that it must come behind. Those of unknown outcome are part of it if they made a revision
//! that somebody saw; attempts are not.
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
//! - The budget of the search ran out. Its time is counted in choices, a thousand for a minute,
//!   or 5 000 000 transactions that are looked at, so that the verdict is the same on every
//!   machine, unless it is so slow that the time itself is over before.
//!
//! # What is left out
//!
//! Range reads and predicates (G2 proper, phantoms), and keys that vanish with their
//! lease: record such a deletion as a transaction of its own.

mod absence;
mod bank;
mod certificate;
mod choice;
mod edges;
mod explain;
mod extract;
mod level;
mod levels;
mod model;
mod order;
mod resolve;
mod runs;
mod suspects;

use crate::history::{Event, History, HistoryError};
use crate::isolation::judge::{self, Evidence};
use crate::isolation::settle::open_questions;
use crate::isolation::{Consistency, Options};
use crate::linearization::Linearization;
use crate::liveness::{Deadline, STUCK};
use crate::search::Budget;
use crate::verdict::{Class, Verdict, Violation, count};

use extract::{Attempts, Txns};
use model::Commits;
use resolve::{Answer, Finding};

pub use level::{Level, UnknownLevel};
pub use levels::check_levels;

/// Decides which consistency models the history satisfies, and whether those that are
/// required are among them: strict serializability when nobody says.
///
/// Operations: `txn`, whose value is a list of
/// [micro-operations](crate::history::MicroOperation). Versions that keys had before
/// the run stand in the header's parameters, as `initial`: a list of
/// `[key, value, mod_revision]`; other keys were absent.
///
/// # Errors
/// When an event is no such operation or contradicts itself.
pub fn check(history: &History, options: &Options) -> Result<Verdict, HistoryError> {
    let required = options.required(history)?;
    let txns = Txns::of(history, Attempts::Refuse, &options.budget)?;
    Ok(verdict(history, &txns, &required))
}

/// As [`check`], and decides whether the accounts of the bank always add up.
///
/// Operations are those of [`check`]. The header's parameters must have `accounts`, a
/// list of keys, and `total`, their sum; `"allow_negative":false` forbids balances
/// below zero.
///
/// # Errors
/// As for [`check`]; and when the parameters are missing, or an account holds
/// something else than a whole number.
pub fn check_bank(history: &History, options: &Options) -> Result<Verdict, HistoryError> {
    let required = options.required(history)?;
    let txns = Txns::of(history, Attempts::Refuse, &options.budget)?;
    let bank = bank::find(history, &txns)?;
    Ok(match (verdict(history, &txns, &required), bank) {
        (verdict, None) => verdict,
        (Verdict::Violation(mut cause), Some(effect)) if cause.class == Class::Safety => {
            cause.also.insert(0, effect.sentence);
            Verdict::Violation(cause)
        }
        (_, Some(violation)) => Verdict::Violation(violation),
    })
}

fn verdict(history: &History, txns: &Txns<'_>, required: &[Consistency]) -> Verdict {
    match evidence(txns, required) {
        Ok((evidence, _)) => judge::verdict(history, &txns.operations, required, evidence),
        Err(violation) => Verdict::Violation(*violation),
    }
}

/// A serial order of the transactions, if there is one.
pub(crate) fn linearization(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    Ok(order::of(&Txns::of(history, Attempts::Refuse, budget)?))
}

/// A serial order of the transactions whose attempts are recorded, if there is one.
pub(crate) fn linearization_of_stm(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    Ok(order::of(&Txns::of(history, Attempts::LeaveOut, budget)?))
}

/// What the history shows, and the likeliest choice of who made which revision.
///
/// # Errors
/// A violation that each choice has, where weaker models depend on the choice.
fn evidence(
    txns: &Txns<'_>,
    required: &[Consistency],
) -> Result<(Evidence, Option<Commits>), Box<Violation>> {
    let is_asked = |anomaly| required.iter().any(|model| model.forbids(anomaly));
    let Finding {
        answer,
        mut certain,
        mut open,
        mut reason,
    } = resolve::resolve(txns, &is_asked);
    let mut likeliest = None;
    match answer {
        Answer::Explained(commits) | Answer::Certain(commits) => {
            if let Some(missing) = missing_revision(txns, &commits) {
                open = open_questions(&certain);
                reason = missing;
            }
            likeliest = Some(commits);
        }
        Answer::Always(Some(common), found) => certain.note(common, || *found),
        // Which weaker models are broken with it depends on the choice.
        Answer::Always(None, found) => return Err(Box::new(found.violation)),
        Answer::Unknown => {}
    }
    let evidence = Evidence {
        found: certain.into_vec(),
        unknown: open,
        reason,
    };
    Ok((evidence, likeliest))
}

/// The first transaction that could not be checked for want of a revision.
fn missing_revision(txns: &Txns<'_>, commits: &Commits) -> Option<String> {
    for (txn, revision) in txns.txns.iter().zip(commits) {
        let operation = &txns.operations[txn.operation];
        let line = operation
            .completion
            .map_or(operation.invoke.line(), Event::line);
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
    stuck.retain(|operation| operation.invoke.f() == "txn");
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
