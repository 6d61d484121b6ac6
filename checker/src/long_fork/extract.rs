//! What the events tell of writes and reads.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::circle::Pair;
use crate::history::{Event, HistoryError, Operation, Outcome, Problem, Text};
use crate::keyed::unknown_operation;
use crate::names::Names;
use crate::read_write::{self, Action, Listed};

/// What the history tells.
#[derive(Default)]
pub(super) struct Told<'o> {
    pub(super) keys: Names<'o>,
    pub(super) written: FxHashMap<u32, Written<'o>>,
    /// The writes that failed, by key and value.
    pub(super) failed: FxHashMap<(u32, Option<Cow<'o, str>>), usize>,
    /// An operation of unknown outcome that may have written anything.
    pub(super) blank: Option<&'o Operation<'o>>,
    /// By the keys that are read at once.
    pub(super) groups: BTreeMap<Vec<u32>, Vec<Read<'o>>>,
    /// By what each key was read as: the first operation to see that.
    pub(super) values: FxHashMap<(u32, Cow<'o, str>), usize>,
}

/// The write of a key.
pub(super) struct Written<'o> {
    /// By which operation.
    pub(super) index: usize,
    pub(super) value: Option<Cow<'o, str>>,
}

impl<'o> Told<'o> {
    pub(super) fn of(operations: &'o [Operation<'o>]) -> Result<Self, HistoryError> {
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
            let may_write = operation.invoke.f() != "read";
            if only_writes && !asked.is_empty() {
                told.write(operations, index, asked)?;
            } else if let Some(ok) = operation.ok() {
                let (group, seen) = read(ok, index, &mut told.keys, &mut told.values)?;
                let read = Read {
                    operation,
                    index,
                    seen,
                };
                told.groups.entry(group).or_default().push(read);
            } else if may_write && asked.is_empty() && operation.outcome() != Outcome::Fail {
                told.blank = Some(operation);
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
            if operations[index].outcome() == Outcome::Fail {
                self.failed.entry((number, value)).or_insert(index);
                continue;
            }
            if let Some(earlier) = self.written.insert(number, Written { index, value }) {
                let line = operations[earlier.index].invoke.line();
                let key = micro.key;
                let detail = format!("the key {key:?} was written in line {line} already");
                return Err(unfit(operations[index].invoke, detail));
            }
        }
        Ok(())
    }

    /// The operations that took effect.
    pub(super) fn members(&self, operations: &[Operation<'_>]) -> BTreeSet<usize> {
        let done = |(_, operation): &(usize, &Operation<'_>)| operation.outcome() == Outcome::Ok;
        let done = operations.iter().enumerate().filter(done);
        let seen = self
            .values
            .keys()
            .filter_map(|(key, _)| self.written.get(key));
        let seen = seen.map(|written| written.index);
        done.map(|(index, _)| index).chain(seen).collect()
    }

    /// Writes and reads of which the first come before the second, for the writes that count.
    pub(super) fn pairs(&self, counts: impl Fn(usize) -> bool) -> Vec<Pair> {
        let number = |index: usize| u32::try_from(index).expect("fewer than 2^32 operations");
        let mut pairs = Vec::new();
        for (group, reads) in &self.groups {
            for (read, key) in reads
                .iter()
                .flat_map(|read| group.iter().map(move |key| (read, key)))
            {
                let written = self.written.get(key);
                let Some(written) = written.filter(|written| counts(written.index)) else {
                    continue;
                };
                let (write, read_index) = (number(written.index), number(read.index));
                match read.has_seen(*key) {
                    true => pairs.push((write, read_index)),
                    false => pairs.push((read_index, write)),
                }
            }
        }
        pairs
    }
}

const KNOWN: &str = "read, write and txn";

/// A read, and the keys that it saw written, in order.
#[derive(Clone)]
pub(super) struct Read<'o> {
    pub(super) operation: &'o Operation<'o>,
    /// Which operation it is.
    pub(super) index: usize,
    pub(super) seen: Vec<u32>,
}

impl Read<'_> {
    pub(super) fn has_seen(&self, key: u32) -> bool {
        self.seen.binary_search(&key).is_ok()
    }
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
    index: usize,
    keys: &mut Names<'h>,
    values: &mut FxHashMap<(u32, Cow<'h, str>), usize>,
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
        values.entry((key, value)).or_insert(index);
    }
    group.sort_unstable();
    seen.sort_unstable();
    if group.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(unfit(ok, "a key is read twice".to_owned()));
    }
    Ok((group, seen))
}
