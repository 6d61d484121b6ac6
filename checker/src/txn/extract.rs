//! From events to transactions.

use std::borrow::Cow;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;

use super::runs::{ATTEMPT, Runs};
use crate::history::{
    Event, History, HistoryError, MicroOperation, Operation, Outcome, Problem, Text,
    micro_operations,
};
use crate::isolation::Anomaly;
use crate::search::Budget;
use crate::verdict::{Class, Violation};

/// What becomes of operations that record attempts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempts {
    /// The model has none.
    Refuse,
    /// They do not count.
    LeaveOut,
    /// Each is a transaction that only reads.
    Read,
}

/// The transactions of a history. Keys and transactions are named by their index.
pub(super) struct Txns<'h> {
    pub(super) operations: Vec<Operation<'h>>,
    /// What a search may take.
    pub(super) budget: Budget,
    pub(super) keys: Vec<Cow<'h, str>>,
    /// Those that committed or may have, in the order of their invocations.
    pub(super) txns: Vec<Txn<'h>>,
    /// Operations of which nothing is known but that they were invoked. Each may
    /// have written anything, once.
    pub(super) blank: Vec<usize>,
    /// What the store held before the run.
    pub(super) initial: Vec<Initial>,
    /// Writes that certainly did not happen, by operation; also those of attempts.
    pub(super) failed: Vec<(usize, Write<'h>)>,
    /// Which attempts belong to which transaction.
    pub(super) runs: Runs,
    /// The first transaction that contradicts its own writes.
    pub(super) fault: Option<Violation>,
}

pub(super) struct Txn<'h> {
    /// Index of the operation.
    pub(super) operation: usize,
    /// Whether its client knows that it committed.
    pub(super) committed: bool,
    /// Whether it is an attempt, which only read.
    pub(super) is_attempt: bool,
    /// Index of the event before which it cannot have happened.
    pub(super) invoked: usize,
    /// What it read of others' writes.
    pub(super) reads: Vec<Read<'h>>,
    /// What it left behind, one for each key.
    pub(super) writes: Vec<Write<'h>>,
    /// What it wrote and then overwrote itself.
    pub(super) intermediate: Vec<Write<'h>>,
    /// The revision of its writes.
    pub(super) revision: Option<i64>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Read<'h> {
    pub(super) key: usize,
    pub(super) value: Option<Cow<'h, str>>,
    /// The revision that wrote what was read; 0 when absent.
    pub(super) revision: Option<i64>,
}

#[derive(Clone)]
pub(super) struct Write<'h> {
    pub(super) key: usize,
    pub(super) value: Option<Cow<'h, str>>,
}

pub(super) struct Initial {
    pub(super) key: usize,
    pub(super) value: String,
    pub(super) revision: i64,
}

impl<'h> Txns<'h> {
    /// Sorts the operations out.
    pub(super) fn of(
        history: &'h History,
        attempts: Attempts,
        budget: &Budget,
    ) -> Result<Self, HistoryError> {
        let mut extraction = Extraction::default();
        let operations = history.operations();
        let mut txns = Self {
            budget: *budget,
            runs: match attempts {
                Attempts::Refuse => Runs::default(),
                _ => Runs::of(&operations),
            },
            operations,
            keys: Vec::new(),
            txns: Vec::new(),
            blank: Vec::new(),
            initial: extraction.initial(history)?,
            failed: Vec::new(),
            fault: None,
        };
        txns.txns.reserve_exact(txns.operations.len());
        for index in 0..txns.operations.len() {
            if attempts != Attempts::Refuse && txns.operations[index].invoke.f() == ATTEMPT {
                extraction.take_attempt(&mut txns, index, attempts)?;
            } else {
                extraction.take(&mut txns, index, attempts)?;
            }
        }
        txns.keys = extraction.keys;
        txns.fault = extraction.fault;
        txns.forget_deletions_of_nothing();
        Ok(txns)
    }

    pub(super) fn operation(&self, txn: usize) -> &Operation<'h> {
        &self.operations[self.txns[txn].operation]
    }

    /// The index of the event by which the transaction had certainly committed.
    pub(super) fn returned(&self, txn: usize) -> usize {
        self.operation(txn).returned()
    }

    /// The key as it is shown to people.
    pub(super) fn show_key(&self, key: usize) -> String {
        format!("`{}`", self.keys[key])
    }

    /// A transaction that only deletes keys that are absent changes nothing: etcd
    /// gives it no revision of its own, but answers with that of the store. Where
    /// that is known to be someone else's, the transaction found nothing and is
    /// read-only.
    fn forget_deletions_of_nothing(&mut self) {
        if !self.txns.iter().any(Txn::only_deletes) {
            return;
        }
        let reported = self.txns.iter().filter(|txn| !txn.only_deletes());
        let reported = reported.filter_map(|txn| txn.revision);
        // A version that somebody read is no deletion's.
        let read = self
            .txns
            .iter()
            .flat_map(|txn| &txn.reads)
            .filter_map(|read| read.revision);
        let taken: FxHashSet<i64> = reported.chain(read).collect();
        for txn in self.txns.iter_mut().filter(|txn| txn.only_deletes()) {
            if txn
                .revision
                .is_some_and(|revision| taken.contains(&revision))
            {
                txn.forget_deletions();
            }
        }
    }
}

#[derive(Default)]
struct Extraction<'h> {
    keys: Vec<Cow<'h, str>>,
    by_name: FxHashMap<Cow<'h, str>, usize>,
    fault: Option<Violation>,
}

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow)]
    initial: Option<Vec<(String, Text<'a>, i64)>>,
}

impl<'h> Extraction<'h> {
    fn initial(&mut self, history: &History) -> Result<Vec<Initial>, HistoryError> {
        let parameters: Parameters<'_> = history.header().parameters.parse().map_err(|error| {
            let detail =
                format!("\"initial\" must be a list of [key, value, mod_revision]: {error}");
            HistoryError::at(1, Problem::Parameters { detail })
        })?;
        let initial = parameters.initial.unwrap_or_default().into_iter();
        Ok(initial
            .map(|(key, Text(value), revision)| Initial {
                key: self.key(Cow::Owned(key)),
                value: value.into_owned(),
                revision,
            })
            .collect())
    }

    fn key(&mut self, name: Cow<'h, str>) -> usize {
        if let Some(key) = self.by_name.get(&name) {
            return *key;
        }
        self.keys.push(name.clone());
        self.by_name.insert(name, self.keys.len() - 1);
        self.keys.len() - 1
    }

    fn take(
        &mut self,
        txns: &mut Txns<'h>,
        index: usize,
        attempts: Attempts,
    ) -> Result<(), HistoryError> {
        let operation = txns.operations[index];
        if operation.invoke.f() != "txn" {
            let (model, known) = match attempts {
                Attempts::Refuse => ("transactions", "txn"),
                _ => ("stm", "txn, attempt"),
            };
            let problem = Problem::UnknownOperation {
                model,
                f: operation.invoke.f().to_string(),
                known,
            };
            return Err(HistoryError::at(operation.invoke.line(), problem));
        }
        let event = match telling_event(&operation)? {
            Some(event) => event,
            None if operation.outcome() == Outcome::Fail => return Ok(()),
            None if txns.runs.is_empty() => {
                txns.blank.push(index);
                return Ok(());
            }
            // What it may have committed is what its last attempt says.
            None => match txns.runs.committing(index, &txns.operations) {
                Some(attempt) => match txns.operations[attempt].completion {
                    Some(completion) if !completion.value().is_null() => completion,
                    _ => return Ok(()),
                },
                None => return Ok(()),
            },
        };
        let is_invocation = std::ptr::eq(event, operation.invoke);
        let mut txn = self.replay(index, &operation, event)?;
        if is_invocation {
            // Nothing was read yet.
            txn.reads.clear();
        }
        match operation.outcome() {
            Outcome::Fail => txns
                .failed
                .extend(txn.writes.into_iter().map(|write| (index, write))),
            // A read-only transaction whose client learnt nothing says nothing.
            Outcome::Info | Outcome::Open if txn.writes.is_empty() => {}
            _ => txns.txns.push(txn),
        }
        Ok(())
    }

    /// An attempt has read what its completion says, whatever became of it.
    fn take_attempt(
        &mut self,
        txns: &mut Txns<'h>,
        index: usize,
        attempts: Attempts,
    ) -> Result<(), HistoryError> {
        let operation = txns.operations[index];
        let completion = operation.ok().filter(|event| !event.value().is_null());
        let Some(completion) = completion else {
            return Ok(());
        };
        let mut txn = self.replay(index, &operation, completion)?;
        let writes = std::mem::take(&mut txn.writes).into_iter();
        let written = writes.chain(std::mem::take(&mut txn.intermediate));
        txns.failed.extend(written.map(|write| (index, write)));
        txn.is_attempt = true;
        txn.revision = None;
        if let Some(begin) = txns.runs.begin_of(index) {
            txn.invoked = begin;
        }
        if attempts == Attempts::Read && !txn.reads.is_empty() {
            txns.txns.push(txn);
        }
        Ok(())
    }

    /// Runs the micro-operations against the transaction's own writes.
    fn replay(
        &mut self,
        index: usize,
        operation: &Operation<'h>,
        event: &'h Event,
    ) -> Result<Txn<'h>, HistoryError> {
        let micro_operations = parse(event)?;
        let is_write = |one: &&MicroOperation<'_>| matches!(one, MicroOperation::Write { .. });
        let writes = micro_operations.iter().filter(is_write).count();
        let mut txn = Txn {
            operation: index,
            committed: operation.outcome() == Outcome::Ok,
            is_attempt: false,
            invoked: operation.invoked,
            // There are very many, and most have but a few of each.
            reads: Vec::with_capacity(micro_operations.len() - writes),
            writes: Vec::with_capacity(writes),
            intermediate: Vec::new(),
            revision: operation
                .completion
                .and_then(Event::revision)
                .filter(|revision| *revision > 0),
        };
        for micro_operation in micro_operations {
            match micro_operation {
                MicroOperation::Write { key, value } => txn.write(Write {
                    key: self.key(key),
                    value,
                }),
                MicroOperation::Read {
                    key,
                    value,
                    mod_revision,
                } => {
                    let key = self.key(key);
                    if let Some(own) = txn.writes.iter().find(|write| write.key == key) {
                        if own.value != value && operation.outcome() == Outcome::Ok {
                            let keys = &self.keys;
                            self.fault.get_or_insert_with(|| {
                                internal(&keys[key], own, value.as_deref(), operation)
                            });
                        }
                        continue;
                    }
                    let read = Read {
                        key,
                        revision: seen_revision(event, &self.keys[key], &value, mod_revision)?,
                        value,
                    };
                    if !txn.reads.contains(&read) {
                        txn.reads.push(read);
                    }
                }
            }
        }
        if txn.writes.is_empty() {
            txn.revision = None;
        }
        txn.committed |= txn.revision.is_some();
        Ok(txn)
    }
}

impl<'h> Txn<'h> {
    /// Whether it wrote, and all that it wrote were deletions.
    pub(super) fn only_deletes(&self) -> bool {
        !self.writes.is_empty() && self.writes.iter().all(|write| write.value.is_none())
    }

    /// Turns deletions of nothing into reads that found nothing.
    fn forget_deletions(&mut self) {
        self.revision = None;
        for write in std::mem::take(&mut self.writes) {
            let read = Read {
                key: write.key,
                value: None,
                revision: Some(0),
            };
            if !self.reads.contains(&read) {
                self.reads.push(read);
            }
        }
    }

    fn write(&mut self, write: Write<'h>) {
        match self.writes.iter_mut().find(|own| own.key == write.key) {
            Some(own) => self.intermediate.push(std::mem::replace(own, write)),
            None => self.writes.push(write),
        }
    }
}

/// The event that says what the transaction did: its completion, or else its
/// invocation, or none.
fn telling_event<'h>(operation: &Operation<'h>) -> Result<Option<&'h Event>, HistoryError> {
    if let Some(completion) = operation.completion {
        if !completion.value().is_null() {
            return Ok(Some(completion));
        }
        if operation.outcome() == Outcome::Ok {
            let detail = "a transaction that happened must say what it read and wrote".to_owned();
            return Err(HistoryError::at(
                completion.line(),
                Problem::Value {
                    f: "txn".to_owned(),
                    expected: EXPECTED,
                    detail,
                },
            ));
        }
    }
    Ok(Some(operation.invoke).filter(|event| !event.value().is_null()))
}

const EXPECTED: &str = r#"a list of ["r", key, value, mod_revision] and ["w", key, value]"#;

fn parse(event: &Event) -> Result<Vec<MicroOperation<'_>>, HistoryError> {
    let parsed = micro_operations(event.value());
    parsed.map_err(|error| HistoryError::value(event, EXPECTED, &error))
}

/// The revision that wrote what was read, 0 when the key was absent.
fn seen_revision(
    event: &Event,
    key: &str,
    value: &Option<Cow<'_, str>>,
    mod_revision: Option<i64>,
) -> Result<Option<i64>, HistoryError> {
    let detail = match (value, mod_revision) {
        (None, None | Some(0)) => return Ok(Some(0)),
        (None, Some(_)) => "the key was absent, so its mod revision must be 0 or left out",
        (Some(_), Some(0)) => {
            "the key was present, so its mod revision cannot be 0; leave it out when unknown"
        }
        (_, Some(revision)) if revision < 0 => "its mod revision is negative",
        (Some(_), revision) => return Ok(revision),
    };
    Err(HistoryError::at(
        event.line(),
        Problem::Read {
            key: key.to_owned(),
            detail,
        },
    ))
}

fn internal(
    key: &str,
    own: &Write<'_>,
    value: Option<&str>,
    operation: &Operation<'_>,
) -> Violation {
    let show =
        |value: Option<&str>| value.map_or("absent".to_owned(), |value| format!("`{value}`"));
    let sentence = format!(
        "a transaction by process {} read `{key}` as {} after it had itself made it {}",
        operation.process(),
        show(value),
        show(own.value.as_deref())
    );
    Violation::new(
        Class::Safety,
        Anomaly::Internal.kind(),
        sentence,
        [operation],
    )
}
