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
use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::history::{Event, History, HistoryError, Operation, Problem, Text};
use crate::keyed::unknown_operation;
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
    let mut keys = Names::default();
    let mut written: FxHashMap<u32, usize> = FxHashMap::default();
    let mut values: FxHashMap<u32, Cow<'_, str>> = FxHashMap::default();
    let mut groups: BTreeMap<Vec<u32>, Vec<Read<'_>>> = BTreeMap::new();
    for operation in &operations {
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
            for micro in asked {
                let line = operation.invoke.line();
                let earlier = written.insert(keys.number(micro.key.clone()), line);
                if let Some(earlier) = earlier {
                    let key = micro.key;
                    let detail = format!("the key {key:?} was written in line {earlier} already");
                    return Err(unfit(operation.invoke, detail));
                }
            }
        } else if let Some(ok) = operation.ok() {
            let (group, read) = read(operation, ok, &mut keys, &mut values)?;
            groups.entry(group).or_default().push(read);
        }
    }
    let fork = groups.values_mut().find_map(|reads| fork(reads));
    Ok(match fork {
        Some((one, other)) => Verdict::Violation(violation(&one, &other, &keys)),
        None => Verdict::Valid(Summary::of(&operations)),
    })
}

const KNOWN: &str = "read, write and txn";

/// A read, and the keys that it saw written, in order.
#[derive(Clone)]
struct Read<'o> {
    operation: &'o Operation<'o>,
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
    operation: &'h Operation<'h>,
    ok: &'h Event,
    keys: &mut Names<'h>,
    values: &mut FxHashMap<u32, Cow<'h, str>>,
) -> Result<(Vec<u32>, Read<'h>), HistoryError> {
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
    Ok((group, Read { operation, seen }))
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
