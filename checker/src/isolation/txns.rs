//! Transactions: what each read and wrote, in a few flat tables.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::graph::Span;
use super::micro::{self, Micro};
use crate::history::{Event, History, HistoryError, Operation, Outcome, Problem};

/// No transaction, value, place or moment.
pub(crate) const NONE: u32 = u32::MAX;

/// The transactions of a history in the order of their invocations. Transactions, keys
/// and values are named by their index.
pub(super) struct Txns<'h> {
    pub(super) operations: Vec<Operation<'h>>,
    pub(super) keys: Vec<Cow<'h, str>>,
    /// What was written: each value of each key once.
    pub(super) values: Vec<Value<'h>>,
    pub(super) txns: Vec<Txn>,
    pub(super) micro: Vec<MicroOp>,
    /// What was read, as it stands in the history.
    pub(super) seen: Vec<Cow<'h, str>>,
    by_key: FxHashMap<Cow<'h, str>, u32>,
    by_number: FxHashMap<(u32, u64), u32>,
    by_text: FxHashMap<(u32, Cow<'h, str>), u32>,
}

#[derive(Clone, Copy)]
pub(super) struct Txn {
    pub(super) status: Status,
    /// Index of the event before which it cannot have happened.
    pub(super) invoked: u32,
    /// Index of the event by which it had happened, or [`NONE`].
    pub(super) returned: u32,
    /// Its first micro-operation. It ends where the next transaction begins.
    pub(super) first: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    Committed,
    /// Nobody knows whether it committed.
    Unknown,
    Failed,
}

#[derive(Clone, Copy)]
pub(super) struct MicroOp {
    pub(super) key: u32,
    pub(super) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Index of the value.
    Write(u32),
    /// Index of what was seen. Only transactions that committed have reads.
    Read(u32),
}

/// A value that was written, or that was read although nobody wrote it.
#[derive(Clone)]
pub(super) struct Value<'h> {
    pub(super) key: u32,
    pub(super) text: Cow<'h, str>,
    /// [`NONE`] when nobody wrote it.
    pub(super) writer: u32,
    /// What the same transaction wrote to the same key right before, or [`NONE`].
    pub(super) before: u32,
    /// What the same transaction wrote to the same key right after, or [`NONE`].
    pub(super) after: u32,
}

impl<'h> Value<'h> {
    fn unwritten(key: u32, text: Cow<'h, str>) -> Self {
        Self {
            key,
            text,
            writer: NONE,
            before: NONE,
            after: NONE,
        }
    }
}

/// What a model calls its micro-operations.
pub(super) struct Names {
    pub(super) model: &'static str,
    pub(super) write: &'static str,
    /// Whether what is read is a list.
    pub(super) reads_lists: bool,
    pub(super) expected: &'static str,
}

impl<'h> Txns<'h> {
    /// When each transaction ran. One that did not commit, or not for certain, never
    /// returned.
    pub(super) fn spans(&self) -> Vec<Span> {
        let span = |txn: &Txn| Span {
            invoked: txn.invoked,
            returned: match txn.status {
                Status::Committed => txn.returned,
                _ => NONE,
            },
        };
        self.txns.iter().map(span).collect()
    }

    pub(super) fn of(history: &'h History, names: &Names) -> Result<Self, HistoryError> {
        Self::of_operations(history.operations(), names)
    }

    /// Some of them, ascending, as if there were no others.
    pub(super) fn among(&self, some: &[u32], names: &Names) -> Option<Self> {
        let operations = some.iter().map(|txn| *self.operation(*txn));
        Self::of_operations(operations.collect(), names).ok()
    }

    fn of_operations(operations: Vec<Operation<'h>>, names: &Names) -> Result<Self, HistoryError> {
        let count = operations.len();
        let mut txns = Self {
            operations,
            keys: Vec::new(),
            values: Vec::with_capacity(count),
            txns: Vec::with_capacity(count),
            micro: Vec::with_capacity(count * 3),
            seen: Vec::with_capacity(count),
            by_key: FxHashMap::default(),
            by_number: FxHashMap::with_capacity_and_hasher(count, rustc_hash::FxBuildHasher),
            by_text: FxHashMap::default(),
        };
        let mut buffer = Vec::new();
        for index in 0..count {
            txns.take(index, names, &mut buffer)?;
        }
        Ok(txns)
    }

    pub(super) fn len(&self) -> usize {
        self.txns.len()
    }

    pub(super) fn micro(&self, txn: u32) -> &[MicroOp] {
        let txn = txn as usize;
        let end = self
            .txns
            .get(txn + 1)
            .map_or(self.micro.len(), |next| next.first as usize);
        &self.micro[self.txns[txn].first as usize..end]
    }

    /// Whether a transaction wrote nothing.
    pub(super) fn only_reads(&self, txn: u32) -> bool {
        let mut micro = self.micro(txn).iter();
        micro.all(|micro| matches!(micro.what, What::Read(_)))
    }

    pub(super) fn operation(&self, txn: u32) -> &Operation<'h> {
        &self.operations[txn as usize]
    }

    pub(super) fn status(&self, txn: u32) -> Status {
        self.txns[txn as usize].status
    }

    pub(super) fn committed(&self, txn: u32) -> bool {
        self.status(txn) == Status::Committed
    }

    /// The writer of a value, if somebody wrote it.
    pub(super) fn writer(&self, value: u32) -> Option<u32> {
        let writer = self.values[value as usize].writer;
        (writer != NONE).then_some(writer)
    }

    /// The value of this JSON text, which becomes one that nobody wrote if it is none yet.
    pub(super) fn value(&mut self, key: u32, json: &'h str) -> u32 {
        let next = u32::try_from(self.values.len()).expect("there are fewer values than bytes");
        let known = if let Some(number) = number(json) {
            *self.by_number.entry((key, number)).or_insert(next)
        } else {
            *self.by_text.entry((key, micro::text(json))).or_insert(next)
        };
        if known == next {
            self.values.push(Value::unwritten(key, micro::text(json)));
        }
        known
    }

    /// As [`value`](Self::value), of a text that does not live as long as the history.
    pub(super) fn value_of(&mut self, key: u32, json: &str) -> u32 {
        let next = u32::try_from(self.values.len()).expect("there are fewer values than bytes");
        let text = Cow::<'h, str>::Owned(micro::text(json).into_owned());
        let known = match number(json) {
            Some(number) => *self.by_number.entry((key, number)).or_insert(next),
            None => *self.by_text.entry((key, text.clone())).or_insert(next),
        };
        if known == next {
            self.values.push(Value::unwritten(key, text));
        }
        known
    }

    /// The key as it is shown to people.
    pub(super) fn show_key(&self, key: u32) -> String {
        format!("`{}`", self.keys[key as usize])
    }

    /// The value as it is shown to people.
    pub(super) fn show_value(&self, value: u32) -> String {
        format!("`{}`", self.values[value as usize].text)
    }

    fn take(
        &mut self,
        index: usize,
        names: &Names,
        buffer: &mut Vec<Micro<'h>>,
    ) -> Result<(), HistoryError> {
        let operation = self.operations[index];
        if operation.invoke.f() != "txn" {
            let problem = Problem::UnknownOperation {
                model: names.model,
                f: operation.invoke.f().to_string(),
                known: "txn",
            };
            return Err(HistoryError::at(operation.invoke.line(), problem));
        }
        let status = match operation.outcome() {
            Outcome::Ok => Status::Committed,
            Outcome::Fail => Status::Failed,
            Outcome::Info | Outcome::Open => Status::Unknown,
        };
        let as_u32 = |moment: usize| u32::try_from(moment).unwrap_or(NONE);
        self.txns.push(Txn {
            status,
            invoked: as_u32(operation.invoked),
            returned: as_u32(operation.returned()),
            first: as_u32(self.micro.len()),
        });
        let Some(event) = telling_event(&operation, names)? else {
            return Ok(());
        };
        micro::parse(event, names.expected, buffer)?;
        for micro in buffer.drain(..) {
            let is_write = micro.f == names.write;
            if !is_write && micro.f != "r" {
                let detail = format!("there is no micro-operation {:?} in this model", micro.f);
                return Err(malformed(event, names, detail));
            }
            if is_write {
                let key = self.key(micro.key);
                let value = self.write(index, key, micro.value)?;
                self.micro.push(MicroOp {
                    key,
                    what: What::Write(value),
                });
            } else if status == Status::Committed {
                if names.reads_lists && !micro.value.starts_with('[') && micro.value != "null" {
                    let detail = format!("a read of {:?} must find a list, or null", micro.key);
                    return Err(malformed(event, names, detail));
                }
                let key = self.key(micro.key);
                self.micro.push(MicroOp {
                    key,
                    what: What::Read(as_u32(self.seen.len())),
                });
                self.seen.push(Cow::Borrowed(micro.value));
            }
        }
        Ok(())
    }

    fn key(&mut self, name: Cow<'h, str>) -> u32 {
        if let Some(key) = self.by_key.get(&name) {
            return *key;
        }
        let key = u32::try_from(self.keys.len()).expect("there are fewer keys than bytes");
        self.keys.push(name.clone());
        self.by_key.insert(name, key);
        key
    }

    fn write(&mut self, index: usize, key: u32, json: &'h str) -> Result<u32, HistoryError> {
        let id = self.value(key, json);
        let txn = u32::try_from(index).expect("there are fewer transactions than bytes");
        let writer = self.values[id as usize].writer;
        if writer != NONE && self.status(writer) != Status::Failed {
            if self.status(txn) == Status::Failed {
                // It was tried in vain before or after, with the same value.
                return Ok(id);
            }
            let problem = Problem::NotUnique {
                key: self.keys[key as usize].to_string(),
                value: self.values[id as usize].text.to_string(),
                since: self.operation(writer).invoke.line(),
            };
            return Err(HistoryError::at(self.operation(txn).invoke.line(), problem));
        }
        let own = &self.micro[self.txns[index].first as usize..];
        let before = own.iter().rev().find_map(|micro| match micro.what {
            What::Write(value) if micro.key == key => Some(value),
            _ => None,
        });
        if let Some(before) = before {
            self.values[before as usize].after = id;
        }
        let value = &mut self.values[id as usize];
        value.writer = txn;
        value.before = before.unwrap_or(NONE);
        value.after = NONE;
        Ok(id)
    }
}

/// The event that says what the transaction did: its completion, or else its
/// invocation, or none.
fn telling_event<'h>(
    operation: &Operation<'h>,
    names: &Names,
) -> Result<Option<&'h Event>, HistoryError> {
    if let Some(completion) = operation.completion {
        if !completion.value().is_null() {
            return Ok(Some(completion));
        }
        if operation.outcome() == Outcome::Ok {
            let detail = "a transaction that happened must say what it read and wrote".to_owned();
            return Err(malformed(completion, names, detail));
        }
    }
    Ok(Some(operation.invoke).filter(|event| !event.value().is_null()))
}

pub(super) fn malformed(event: &Event, names: &Names, detail: String) -> HistoryError {
    let problem = Problem::Value {
        f: "txn".to_owned(),
        expected: names.expected,
        detail,
    };
    HistoryError::at(event.line(), problem)
}

/// A whole number that is written as most are.
fn number(json: &str) -> Option<u64> {
    let digits = json.as_bytes();
    let digits = match digits {
        [b'"', inner @ .., b'"'] => inner,
        all => all,
    };
    if digits.is_empty() || digits.len() > 18 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + u64::from(digit - b'0')),
        _ => None,
    })
}
