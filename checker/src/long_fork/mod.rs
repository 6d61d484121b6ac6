//! Long forks: two reads that saw writes in opposite orders.
//!
//! # The question
//!
//! Each key is written once. Transactions read groups of keys at once. Is there an order of
//! the writes such that every read of a group has seen the first so many of them?
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
//! 2016).
//!
//! # The answer
//!
//! What a read has seen of its group is a set of keys. There is such an order exactly when,
//! of any two sets of a group, one is within the other; and that is so when, sorted by their
//! size, each is within the next: O(n log n). Two neighbours of which neither is within
//! the other are the witness.
//!
//! # Pending operations
//!
//! A write of unknown outcome happened if somebody has seen it, and else it does not
//! matter. Reads of unknown outcome say nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::history::{Event, History, HistoryError, Operation, Outcome, Problem, Text};
use crate::keyed::unknown_operation;
use crate::linearization::Linearization;
use crate::names::Names;
use crate::read_write::{self, Action, Listed};
use crate::verdict::{Class, Kind, Summary, Verdict, Violation};

const LONG_FORK: Kind = Kind {
    name: "long-fork",
    meaning: "two reads saw two writes in opposite orders",
};

/// Decides whether any two reads of the same keys agree on the order of the writes.
///
/// Operations: `write` with `[["w", key, value]]`, one for each key; `read` with a list of
/// `["r", key, value]`, null where nothing had been written; and `txn`, which is one or the
/// other.
///
/// # Errors
/// When an event is no such operation, or a key is written twice.
pub fn check(history: &History) -> Result<Verdict, HistoryError> {
    let operations = history.operations();
    let mut told = Told::of(&operations)?;
    Ok(told.verdict(&operations))
}

/// The writes that took effect, and the reads, in an order in which each read sees the writes
/// before it and no other. It need not be that of real time.
///
/// There is none where the reads of several groups contradict each other, whose keys are partly
/// the same or were written at once: of each group alone there is one.
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
    Ok(match told.pairs(&operations) {
        Ok((members, pairs)) => sorted(&members, pairs),
        Err(reason) => Linearization::none(reason),
    })
}

/// What the history tells.
#[derive(Default)]
struct Told<'o> {
    keys: Names<'o>,
    written: FxHashMap<u32, Written<'o>>,
    /// By the keys that are read at once.
    groups: BTreeMap<Vec<u32>, Vec<Read<'o>>>,
    /// What each key was read as.
    values: FxHashMap<u32, Cow<'o, str>>,
}

/// The write of a key.
struct Written<'o> {
    /// By which operation.
    index: usize,
    value: Option<Cow<'o, str>>,
}

impl<'o> Told<'o> {
    fn of(operations: &'o [Operation<'o>]) -> Result<Self, HistoryError> {
        let mut told = Self::default();
        for (index, operation) in operations.iter().enumerate() {
            let asked = micro(operation.invoke)?;
            let only_reads = asked.iter().all(|micro| micro.kind == Action::Read);
            let only_writes = asked.iter().all(|micro| micro.kind == Action::Write);
            let is_fitting = match operation.invoke.f() {
                "read" => only_reads,
                "write" => only_writes,
                "txn" => only_reads || only_writes,
                _ => return Err(unknown_operation(operation.invoke, "long-fork", KNOWN)),
            };
            if !is_fitting {
                let detail = "it both reads and writes";
                return Err(unfit(operation.invoke, detail.to_owned()));
            }
            if only_writes && !asked.is_empty() {
                told.write(operations, index, asked)?;
            } else if let Some(ok) = operation.ok() {
                let (group, seen) = read(ok, &mut told.keys, &mut told.values)?;
                let read = Read {
                    operation,
                    index,
                    seen,
                };
                told.groups.entry(group).or_default().push(read);
            }
        }
        Ok(told)
    }

    fn write(
        &mut self,
        operations: &[Operation<'o>],
        index: usize,
        asked: Vec<Micro<'o>>,
    ) -> Result<(), HistoryError> {
        for micro in asked {
            let number = self.keys.number(micro.key.clone());
            let value = micro.value;
            if let Some(earlier) = self.written.insert(number, Written { index, value }) {
                let line = operations[earlier.index].invoke.line();
                let key = micro.key;
                let detail = format!("the key {key:?} was written in line {line} already");
                return Err(unfit(operations[index].invoke, detail));
            }
        }
        Ok(())
    }

    fn verdict(&mut self, operations: &[Operation<'_>]) -> Verdict {
        let fork = self.groups.values_mut().find_map(|reads| fork(reads));
        match fork {
            Some((one, other)) => Verdict::Violation(violation(&one, &other, &self.keys)),
            None => Verdict::Valid(Summary::of(operations)),
        }
    }

    /// The operations that took effect, and of which two the first comes before the second; or
    /// why a read cannot be explained.
    fn pairs(&self, operations: &[Operation<'_>]) -> Result<(Vec<usize>, Vec<Pair>), String> {
        let mut is_member: Vec<bool> = operations
            .iter()
            .map(|operation| operation.outcome() == Outcome::Ok)
            .collect();
        let mut pairs = Vec::new();
        for (key, value) in &self.values {
            let written = self.written.get(key);
            let fits = |written: &&Written<'_>| {
                written.value.as_ref() == Some(value)
                    && operations[written.index].outcome() != Outcome::Fail
            };
            let Some(written) = written.filter(fits) else {
                let key = self.keys.text(*key);
                return Err(format!(
                    "the key {key:?} was read as {value:?}, which nobody wrote, so no order of \
                     the writes explains it"
                ));
            };
            is_member[written.index] = true;
        }
        for (group, reads) in &self.groups {
            for (read, key) in reads
                .iter()
                .flat_map(|read| group.iter().map(move |key| (read, key)))
            {
                let Some(written) = self.written.get(key) else {
                    continue;
                };
                if read.seen.binary_search(key).is_ok() {
                    pairs.push((written.index, read.index));
                } else if is_member[written.index] {
                    pairs.push((read.index, written.index));
                }
            }
        }
        let members = (0..operations.len()).filter(|index| is_member[*index]);
        Ok((members.collect(), pairs))
    }
}

/// Of two operations the first comes before the second.
type Pair = (usize, usize);

/// These operations in an order that all pairs respect, otherwise by when they were called.
fn sorted(members: &[usize], mut pairs: Vec<Pair>) -> Linearization {
    pairs.sort_unstable();
    let mut waits_for: BTreeMap<usize, usize> = members.iter().map(|index| (*index, 0)).collect();
    for (_, second) in &pairs {
        *waits_for.entry(*second).or_default() += 1;
    }
    let free = waits_for.iter().filter(|(_, waits_for)| **waits_for == 0);
    let mut free: BTreeSet<usize> = free.map(|(index, _)| *index).collect();
    let mut order = Vec::new();
    while let Some(first) = free.pop_first() {
        order.push(first);
        let from = pairs.partition_point(|pair| pair.0 < first);
        for (_, second) in pairs[from..].iter().take_while(|pair| pair.0 == first) {
            let waits_for = waits_for.entry(*second).or_default();
            *waits_for -= 1;
            if *waits_for == 0 {
                free.insert(*second);
            }
        }
    }
    if order.len() < members.len() {
        return Linearization::none(
            "the reads of each group of keys have an order, but those of several groups \
             contradict each other: their keys are partly the same, or were written at once",
        );
    }
    Linearization::Order(order)
}

const KNOWN: &str = "read, write and txn";

/// A read, and the keys that it saw written, in order.
#[derive(Clone)]
struct Read<'o> {
    operation: &'o Operation<'o>,
    /// Which operation it is.
    index: usize,
    seen: Vec<u32>,
}

/// One of the reads or writes of a transaction.
struct Micro<'h> {
    kind: Action,
    key: Cow<'h, str>,
    value: Option<Cow<'h, str>>,
}

fn micro(event: &Event) -> Result<Vec<Micro<'_>>, HistoryError> {
    let listed: Vec<Listed<'_, Option<Text<'_>>>> = read_write::listed(event, EXPECTED)?;
    let listed = listed.into_iter();
    let micro = listed.map(|Listed(kind, Text(key), value)| Micro {
        kind,
        key,
        value: value.map(|Text(value)| value),
    });
    Ok(micro.collect())
}

const EXPECTED: &str =
    "a list of [\"r\", key, value], or of [\"w\", key, value], each key written once";

fn unfit(event: &Event, detail: String) -> HistoryError {
    let problem = Problem::Value {
        f: event.f().to_string(),
        expected: EXPECTED,
        detail,
    };
    HistoryError::at(event.line(), problem)
}

/// What a read asked for, in order, and what it saw.
fn read<'h>(
    ok: &'h Event,
    keys: &mut Names<'h>,
    values: &mut FxHashMap<u32, Cow<'h, str>>,
) -> Result<(Vec<u32>, Vec<u32>), HistoryError> {
    let (mut group, mut seen) = (Vec::new(), Vec::new());
    for micro in micro(ok)? {
        if micro.kind == Action::Write {
            return Err(unfit(ok, "a read writes".to_owned()));
        }
        let key = keys.number(micro.key.clone());
        group.push(key);
        let Some(value) = micro.value else { continue };
        seen.push(key);
        let known = values.entry(key).or_insert_with(|| value.clone());
        if *known != value {
            let detail = format!(
                "the key {:?} was {known:?} before, and is {value:?}",
                micro.key
            );
            return Err(unfit(ok, detail));
        }
    }
    group.sort_unstable();
    seen.sort_unstable();
    if group.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(unfit(ok, "a key is read twice".to_owned()));
    }
    Ok((group, seen))
}

/// Two reads of which neither saw all that the other one did.
fn fork<'o>(reads: &mut [Read<'o>]) -> Option<(Read<'o>, Read<'o>)> {
    reads.sort_by_key(|read| (read.seen.len(), read.operation.completed));
    let is_within = |one: &Read<'_>, other: &Read<'_>| {
        let has = |key| other.seen.binary_search(key).is_ok();
        one.seen.iter().all(has)
    };
    let mut pairs = reads.windows(2);
    let fork = pairs.find(|pair| !is_within(&pair[0], &pair[1]))?;
    Some((fork[0].clone(), fork[1].clone()))
}

fn violation(one: &Read<'_>, other: &Read<'_>, keys: &Names<'_>) -> Violation {
    let only = |one: &Read<'_>, other: &Read<'_>| {
        let mut keys_seen = one.seen.iter();
        let key = keys_seen.find(|key| !other.seen.contains(key));
        keys.text(*key.expect("neither saw all that the other did"))
            .to_owned()
    };
    let (first, second) = (only(one, other), only(other, one));
    let sentence = format!(
        "process {} saw the write of {first} and not that of {second}, process {} that of \
         {second} and not that of {first}: the writes have no order",
        one.operation.process(),
        other.operation.process(),
    );
    let witness = [one.operation, other.operation];
    Violation::new(Class::Safety, LONG_FORK, sentence, witness)
}
