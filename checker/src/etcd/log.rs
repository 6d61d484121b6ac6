//! From events to requests with their answers.

use std::borrow::Cow;
use std::collections::hash_map::Entry as MapEntry;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;

use super::message::{
    Compact, Delete, DeleteResult, Lease, LeaseResult, Notice, OpResult, Put, PutResult, Range,
    RangeResult, Refusal, Refused, Span, Txn, TxnOp, TxnResult, Watch, WatchEvent,
};
use crate::history::{Event, History, HistoryError, Operation, Outcome, Problem};
use crate::search::Budget;

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) enum Reply<T> {
    Done(T),
    Refused(Refusal),
    /// Nobody knows, or it is still open.
    Unknown,
    /// It did not happen.
    Failed,
}

impl<T> Reply<T> {
    pub(super) fn done(&self) -> Option<&T> {
        match self {
            Self::Done(result) => Some(result),
            _ => None,
        }
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            _ => None,
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}

/// A request and what became of it.
#[derive(Clone, Debug)]
pub(super) enum Call<'h> {
    Range(Range<'h>, Reply<RangeResult<'h>>),
    Put(Put<'h>, Reply<PutResult<'h>>),
    Delete(Delete<'h>, Reply<DeleteResult<'h>>),
    Txn(Txn<'h>, Reply<TxnResult<'h>>),
    Grant(Lease, Reply<LeaseResult<'h>>),
    Revoke(Lease, Reply<()>),
    KeepAlive(Lease, Reply<LeaseResult<'h>>),
    TimeToLive(Lease, Reply<LeaseResult<'h>>),
    Compact(Compact, Reply<()>),
    Watch(Watch<'h>, Reply<()>),
    Notice(Notice<'h>),
    /// Somebody waits for a watch to hear of the last write.
    Follow,
}

/// One operation of the history.
#[derive(Clone, Debug)]
pub(super) struct Entry<'h> {
    pub(super) operation: Operation<'h>,
    pub(super) call: Call<'h>,
}

impl Entry<'_> {
    /// The revision in the header of the answer; 0 without one.
    pub(super) fn header(&self) -> i64 {
        let ok = self.operation.ok();
        ok.and_then(Event::revision).unwrap_or(0)
    }

    /// Whether the answer took a revision of its own.
    pub(super) fn wrote(&self) -> bool {
        match &self.call {
            Call::Put(_, Reply::Done(_)) => true,
            Call::Delete(_, Reply::Done(result)) => result.deleted > 0,
            Call::Txn(_, Reply::Done(result)) => result.results.iter().any(|result| match result {
                OpResult::Put(_) => true,
                OpResult::Delete(result) => result.deleted > 0,
                OpResult::Range(_) => false,
            }),
            _ => false,
        }
    }

    /// Whether the answer was given by the state at its header's revision, at some
    /// instant between invocation and return.
    pub(super) fn is_linearizable(&self) -> bool {
        match &self.call {
            Call::Range(range, Reply::Done(_)) => !range.serializable,
            Call::Put(_, Reply::Done(_))
            | Call::Delete(_, Reply::Done(_))
            | Call::Txn(_, Reply::Done(_))
            | Call::Grant(_, Reply::Done(_))
            | Call::Revoke(_, Reply::Done(())) => true,
            _ => false,
        }
    }
}

/// Who wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    /// Index of the operation.
    pub(super) entry: usize,
    /// The branch of a transaction; true for anything else.
    pub(super) branch: bool,
}

/// A history, understood.
pub(super) struct Log<'h> {
    pub(super) entries: Vec<Entry<'h>>,
    /// What the search may take.
    pub(super) budget: Budget,
    /// All keys that occur, in order.
    pub(super) keys: Vec<Cow<'h, str>>,
    /// Who wrote each value, or wanted to.
    pub(super) writers: FxHashMap<(usize, Cow<'h, str>), Writer>,
    /// Values that several wrote; only where the header allows it.
    pub(super) repeated: FxHashSet<(usize, Cow<'h, str>)>,
    /// Which operation asked for each lease.
    pub(super) grants: FxHashMap<i64, usize>,
    /// The event by which each lease was known to be granted.
    pub(super) granted: FxHashMap<i64, usize>,
    /// The times of all events, in nanoseconds.
    pub(super) times: Vec<u64>,
    /// The first event from which on others may compact; [`usize::MAX`]: never.
    pub(super) others_compact_from: usize,
    /// Whether the header allows values to repeat.
    pub(super) values_repeat: bool,
}

#[derive(Default, Deserialize)]
struct Facts {
    #[serde(default)]
    others_compact: bool,
    #[serde(default)]
    values_repeat: bool,
}

impl<'h> Log<'h> {
    pub(super) fn of(history: &'h History, budget: &Budget) -> Result<Self, HistoryError> {
        let mut entries = Vec::new();
        for operation in history.operations() {
            let call = call(&operation)?;
            // That a lease is gone says nothing of the revision.
            let must_tell = !matches!(
                call,
                Call::Follow | Call::KeepAlive(..) | Call::TimeToLive(..)
            );
            let ok = operation.ok();
            let is_refused = ok.is_some_and(|event| refused(event).is_some());
            if let Some(event) = ok.filter(|event| event.revision().is_none())
                && must_tell
                && !is_refused
            {
                let f = event.f().to_string();
                return Err(HistoryError::at(
                    event.line(),
                    Problem::MissingRevision { f },
                ));
            }
            entries.push(Entry { operation, call });
        }
        let facts: Facts = history.header().parameters.parse().unwrap_or_default();
        let is_compaction = |event: &Event| {
            let by_nemesis = event.process() == crate::history::Process::Nemesis;
            by_nemesis && event.f().starts_with("compaction")
        };
        let others_compact_from = match facts.others_compact {
            true => 0,
            false => history
                .events()
                .iter()
                .position(is_compaction)
                .unwrap_or(usize::MAX),
        };
        let times = history.events().iter().map(Event::time).collect();
        let log = Log {
            budget: *budget,
            keys: Vec::new(),
            writers: FxHashMap::default(),
            repeated: FxHashSet::default(),
            granted: FxHashMap::default(),
            entries,
            grants: FxHashMap::default(),
            times,
            others_compact_from,
            values_repeat: facts.values_repeat,
        };
        log.understood()
    }

    /// With everything that follows from the operations.
    pub(super) fn understood(mut self) -> Result<Self, HistoryError> {
        self.keys = all_keys(&self.entries);
        self.grants = grants(&self.entries)?;
        self.granted = granted(&self.entries);
        self.find_writers()?;
        Ok(self)
    }

    /// The index of a key that occurs.
    pub(super) fn key(&self, key: &str) -> usize {
        self.keys.partition_point(|known| known.as_ref() < key)
    }

    /// The indices of the keys of a range.
    pub(super) fn span(&self, span: &Span<'_>) -> std::ops::Range<usize> {
        let start = self.key(&span.key);
        let end = match &span.end {
            Some(_) if span.is_endless() => self.keys.len(),
            Some(end) => self.key(end).max(start),
            None => start + 1,
        };
        start..end
    }

    pub(super) fn operation(&self, entry: usize) -> &Operation<'h> {
        &self.entries[entry].operation
    }

    /// The write of a value of a key, if there is one and no other.
    pub(super) fn only_writer(&self, value: &(usize, Cow<'h, str>)) -> Option<&Writer> {
        let writer = self.writers.get(value);
        writer.filter(|_| !self.repeated.contains(value))
    }

    fn find_writers(&mut self) -> Result<(), HistoryError> {
        let mut repeated: FxHashSet<(usize, Cow<'h, str>)> = FxHashSet::default();
        let mut writers: FxHashMap<(usize, Cow<'h, str>), Writer> = FxHashMap::default();
        for (index, entry) in self.entries.iter().enumerate() {
            for (put, branch) in puts(&entry.call) {
                let writer = Writer {
                    entry: index,
                    branch,
                };
                let place = (self.key(&put.key), put.value.clone());
                if self.values_repeat {
                    match writers.entry(place) {
                        MapEntry::Occupied(place) => {
                            repeated.insert(place.key().clone());
                        }
                        MapEntry::Vacant(place) => {
                            place.insert(writer);
                        }
                    }
                } else if let Some(before) = writers.insert(place, writer) {
                    let problem = Problem::WrittenTwice {
                        value: put.value.to_string(),
                        since: self.entries[before.entry].operation.invoke.line(),
                    };
                    return Err(HistoryError::at(entry.operation.invoke.line(), problem));
                }
            }
        }
        self.writers = writers;
        self.repeated = repeated;
        Ok(())
    }
}

/// Which operation asked for each lease, of those that were not turned away.
fn grants(entries: &[Entry<'_>]) -> Result<FxHashMap<i64, usize>, HistoryError> {
    let mut grants: FxHashMap<i64, usize> = FxHashMap::default();
    for (index, entry) in entries.iter().enumerate() {
        let Call::Grant(lease, Reply::Done(_) | Reply::Unknown) = &entry.call else {
            continue;
        };
        if let Some(before) = grants.insert(lease.lease, index) {
            let problem = Problem::GrantedTwice {
                lease: lease.lease,
                since: entries[before].operation.invoke.line(),
            };
            return Err(HistoryError::at(entry.operation.invoke.line(), problem));
        }
    }
    Ok(grants)
}

/// When each lease was first known to live.
fn granted(entries: &[Entry<'_>]) -> FxHashMap<i64, usize> {
    let mut granted: FxHashMap<i64, usize> = FxHashMap::default();
    for entry in entries {
        let leases: Vec<i64> = match &entry.call {
            Call::Grant(lease, Reply::Done(_)) | Call::Revoke(lease, Reply::Done(())) => {
                vec![lease.lease]
            }
            Call::KeepAlive(lease, Reply::Done(result)) if result.ttl > 0 => vec![lease.lease],
            call if entry.wrote() => {
                let done = puts(call)
                    .into_iter()
                    .filter(|(_, branch)| took(call, *branch));
                done.map(|(put, _)| put.lease).collect()
            }
            _ => continue,
        };
        for lease in leases {
            let since = granted.entry(lease).or_insert(usize::MAX);
            *since = entry.operation.completed.min(*since);
        }
    }
    granted
}

/// Whether the puts of this branch were done.
pub(super) fn took(call: &Call<'_>, branch: bool) -> bool {
    match call {
        Call::Txn(_, Reply::Done(result)) => result.succeeded == branch,
        _ => true,
    }
}

/// The puts of a request, with the branch of a transaction that they are in.
pub(super) fn puts<'a, 'h>(call: &'a Call<'h>) -> Vec<(&'a Put<'h>, bool)> {
    match call {
        Call::Put(put, _) => vec![(put, true)],
        Call::Txn(txn, _) => [(&txn.success, true), (&txn.failure, false)]
            .into_iter()
            .flat_map(|(ops, branch)| ops.iter().map(move |op| (op, branch)))
            .filter_map(|(op, branch)| match op {
                TxnOp::Put(put) => Some((put, branch)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

const KNOWN: &str = "range, put, delete, txn, grant, revoke, keep-alive, time-to-live, compact, \
                     watch, notice and follow";

fn call<'h>(operation: &Operation<'h>) -> Result<Call<'h>, HistoryError> {
    let event = operation.invoke;
    Ok(match event.f() {
        "range" => Call::Range(request(event)?, reply(operation)?),
        "put" => Call::Put(request(event)?, reply_or_null(operation)?),
        "delete" => Call::Delete(request(event)?, reply(operation)?),
        "txn" => {
            let txn: Txn<'h> = request(event)?;
            let reply: Reply<TxnResult<'h>> = reply(operation)?;
            check_results(operation, &txn, &reply)?;
            Call::Txn(txn, reply)
        }
        "grant" => Call::Grant(request(event)?, reply(operation)?),
        "revoke" => Call::Revoke(request(event)?, reply_without_result(operation)?),
        "keep-alive" => Call::KeepAlive(request(event)?, reply(operation)?),
        "time-to-live" => Call::TimeToLive(request(event)?, reply(operation)?),
        "compact" => Call::Compact(request(event)?, reply_without_result(operation)?),
        "watch" => Call::Watch(request(event)?, reply_without_result(operation)?),
        "notice" => Call::Notice(request(operation.ok().unwrap_or(event))?),
        "follow" => Call::Follow,
        other => {
            let problem = Problem::UnknownOperation {
                model: "etcd",
                f: other.to_owned(),
                known: KNOWN,
            };
            return Err(HistoryError::at(event.line(), problem));
        }
    })
}

fn request<'h, T: Deserialize<'h>>(event: &'h Event) -> Result<T, HistoryError> {
    let parsed = event.value().parse();
    parsed.map_err(|error| HistoryError::value(event, "a request of this kind", &error))
}

fn refused(event: &Event) -> Option<Refusal> {
    if !event.value().as_str().contains("\"refused\"") {
        return None;
    }
    event
        .value()
        .parse()
        .ok()
        .map(|Refused { refused }| refused)
}

fn reply<'h, T: Deserialize<'h>>(operation: &Operation<'h>) -> Result<Reply<T>, HistoryError> {
    reply_by(operation, |event| {
        let parsed = event.value().parse();
        parsed.map_err(|error| HistoryError::value(event, "an answer of this kind", &error))
    })
}

/// As [`reply`], where an answer that says nothing may be left out.
fn reply_or_null<'h, T: Deserialize<'h> + Default>(
    operation: &Operation<'h>,
) -> Result<Reply<T>, HistoryError> {
    match operation.ok() {
        Some(event) if event.value().is_null() => Ok(Reply::Done(T::default())),
        _ => reply(operation),
    }
}

fn reply_without_result(operation: &Operation<'_>) -> Result<Reply<()>, HistoryError> {
    reply_by(operation, |_| Ok(()))
}

fn reply_by<'h, T>(
    operation: &Operation<'h>,
    parse: impl FnOnce(&'h Event) -> Result<T, HistoryError>,
) -> Result<Reply<T>, HistoryError> {
    Ok(match operation.outcome() {
        Outcome::Fail => Reply::Failed,
        Outcome::Info | Outcome::Open => Reply::Unknown,
        Outcome::Ok => {
            let event = operation.ok().expect("it ended with ok");
            match refused(event) {
                Some(refusal) => Reply::Refused(refusal),
                None => Reply::Done(parse(event)?),
            }
        }
    })
}

/// A transaction's answer has one result, of the right kind, for each operation.
fn check_results(
    operation: &Operation<'_>,
    txn: &Txn<'_>,
    reply: &Reply<TxnResult<'_>>,
) -> Result<(), HistoryError> {
    let Reply::Done(result) = reply else {
        return Ok(());
    };
    let ops = txn.branch(result.succeeded);
    let fits = |(op, result): (&TxnOp<'_>, &OpResult<'_>)| {
        matches!(
            (op, result),
            (TxnOp::Range(_), OpResult::Range(_))
                | (TxnOp::Put(_), OpResult::Put(_))
                | (TxnOp::Delete(_), OpResult::Delete(_))
        )
    };
    if ops.len() == result.results.len() && ops.iter().zip(&result.results).all(fits) {
        return Ok(());
    }
    let event = operation.ok().expect("it has a result");
    let problem = Problem::Value {
        f: event.f().to_string(),
        expected: "one result for each operation of the branch",
        detail: "they do not fit".to_owned(),
    };
    Err(HistoryError::at(event.line(), problem))
}

/// Every key that a request or an answer names, in order.
fn all_keys<'h>(entries: &[Entry<'h>]) -> Vec<Cow<'h, str>> {
    let mut keys: FxHashSet<Cow<'h, str>> = FxHashSet::default();
    let range_keys = |keys: &mut FxHashSet<Cow<'h, str>>, result: &RangeResult<'h>| {
        keys.extend(result.kvs.iter().map(|kv| kv.0.clone()));
    };
    for entry in entries {
        match &entry.call {
            Call::Range(range, reply) => {
                keys.extend(single(&range.span));
                reply
                    .done()
                    .into_iter()
                    .for_each(|r| range_keys(&mut keys, r));
            }
            Call::Put(put, _) => {
                keys.insert(put.key.clone());
            }
            Call::Delete(delete, reply) => {
                keys.extend(single(&delete.span));
                let prev = reply.done().into_iter().flat_map(|result| &result.prev);
                keys.extend(prev.map(|kv| kv.0.clone()));
            }
            Call::Txn(txn, reply) => {
                keys.extend(txn.compare.iter().map(|compare| compare.1.clone()));
                for op in txn.success.iter().chain(&txn.failure) {
                    match op {
                        TxnOp::Range(range) => keys.extend(single(&range.span)),
                        TxnOp::Put(put) => {
                            keys.insert(put.key.clone());
                        }
                        TxnOp::Delete(delete) => keys.extend(single(&delete.span)),
                    }
                }
                for result in reply.done().into_iter().flat_map(|result| &result.results) {
                    match result {
                        OpResult::Range(result) => range_keys(&mut keys, result),
                        OpResult::Put(_) => {}
                        OpResult::Delete(result) => {
                            keys.extend(result.prev.iter().map(|kv| kv.0.clone()));
                        }
                    }
                }
            }
            Call::Watch(watch, _) => keys.extend(single(&watch.span)),
            Call::Notice(notice) => keys.extend(notice.events.iter().map(|event| match event {
                WatchEvent::Put(kv, _) => kv.0.clone(),
                WatchEvent::Delete(key, ..) => key.clone(),
            })),
            Call::TimeToLive(_, reply) => {
                keys.extend(reply.done().into_iter().flat_map(|r| r.keys.clone()));
            }
            _ => {}
        }
    }
    let mut keys: Vec<Cow<'h, str>> = keys.into_iter().collect();
    keys.sort_unstable();
    keys
}

fn single<'h>(span: &Span<'h>) -> Option<Cow<'h, str>> {
    span.end.is_none().then(|| span.key.clone())
}
