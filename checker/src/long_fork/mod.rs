//! Long forks: reads that saw writes in opposite orders.
//!
//! # The question
//!
//! Each key is written once. Transactions read several keys at once. Is there an order of
//! the writes such that every read has seen the first so many of them?
//!
//! ```text
//! w a 1                  |-----|
//! w b 1                  |-----|
//! r a -> 1, r b -> null      |-----|        a came before b
//! r a -> null, r b -> 1       |-----|       b came before a
//! ```
//!
//! Snapshot isolation forbids that, and with it everything stronger; parallel snapshot
//! isolation does not (Sovran et al. 2011; Cerone and Gotsman, "Analysing snapshot isolation",
//! 2016). The order need not be that of real time.
//!
//! # The answer
//!
//! What a read has seen of its keys is a set. Of the reads of a *group* of keys there is such an
//! order exactly when, of any two sets, one is within the other; and that is so when, sorted by
//! their size, each is within the next: O(n log n). Two neighbours of which neither is within
//! the other are the witness.
//!
//! Groups that share no key have nothing to do with each other, as in Jepsen's tests. Where they
//! do, or several keys were written at once, a read comes behind each write that it has seen and
//! before each that it has missed; there is an order exactly when these do not go in a circle
//! (`circle`): O(n log n) for n keys in all reads, and more where there is a circle, for the
//! shortest one.
//!
//! A value that nobody wrote, or whose write failed, is in no such order. Jepsen's checker does
//! not look for these, and refuses reads of other numbers of keys.
//!
//! # Pending operations
//!
//! A write of unknown outcome happened if somebody has seen it, and else it does not
//! matter. Reads of unknown outcome say nothing.

mod circle;
mod extract;
mod judge;

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{History, HistoryError};
use crate::linearization::Linearization;
use crate::verdict::Verdict;

use circle::{Pair, Precedence};
use extract::Told;

/// Decides whether the reads agree on the order of the writes.
///
/// Operations: `write` with `[["w", key, value]]`, one for each key; `read` with a list of
/// `["r", key, value]`, null where nothing had been written; and `txn`, which is one or the
/// other.
///
/// # Errors
/// When an event is no such operation, or a key is written twice, and neither write failed.
pub fn check(history: &History) -> Result<Verdict, HistoryError> {
    let operations = history.operations();
    let mut told = Told::of(&operations)?;
    Ok(told.verdict(&operations))
}

/// The writes that took effect, and the reads, in an order in which each read sees the writes
/// before it and no other. It need not be that of real time.
///
/// # Errors
/// As [`check`].
pub(crate) fn linearization(history: &History) -> Result<Linearization, HistoryError> {
    let operations = history.operations();
    let mut told = Told::of(&operations)?;
    let verdict = told.verdict(&operations);
    if !verdict.is_valid() {
        return Ok(Linearization::of_no_valid(&verdict));
    }
    let members = told.members(&operations);
    let pairs = told.pairs(|write| members.contains(&write));
    Ok(Linearization::Order(sorted(&members, pairs)))
}

/// These operations in an order that all pairs respect, otherwise by when they were called.
fn sorted(members: &BTreeSet<usize>, pairs: Vec<Pair>) -> Vec<usize> {
    let mut waits_for: BTreeMap<usize, usize> = members.iter().map(|index| (*index, 0)).collect();
    let precedence = Precedence::of(pairs);
    for (_, second) in precedence.pairs() {
        *waits_for.entry(*second as usize).or_default() += 1;
    }
    let free = waits_for.iter().filter(|(_, waits_for)| **waits_for == 0);
    let mut free: BTreeSet<usize> = free.map(|(index, _)| *index).collect();
    let mut order = Vec::new();
    while let Some(first) = free.pop_first() {
        order.push(first);
        let number = u32::try_from(first).expect("fewer than 2^32 operations");
        for second in precedence.behind(number) {
            let second = second as usize;
            let waits_for = waits_for.entry(second).or_default();
            *waits_for -= 1;
            if *waits_for == 0 {
                free.insert(second);
            }
        }
    }
    order
}
