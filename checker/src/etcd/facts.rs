//! What answers say about the state at each revision.

use super::log::{Call, Log, Reply};
use super::message::{
    Compare, Delete, DeleteResult, KeyValue, OpResult, Range, RangeResult, Refusal, Span, Txn,
    TxnOp, TxnResult, UNKNOWN,
};
use super::order::Order;
use crate::verdict::count;

/// Who changed a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// An operation of the history.
    Entry(usize),
    /// The end of a lease, when its time was over or by a revocation of unknown
    /// outcome.
    EndOf(i64),
}

/// What a change does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect<'a> {
    Put {
        value: &'a str,
        lease: i64,
    },
    Delete,
    /// Deletes it if it is attached to this lease.
    End(i64),
}

/// A change of one key at one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) revision: i64,
    pub(super) effect: Effect<'a>,
    pub(super) by: By,
}

/// What was seen of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'a> {
    Absent,
    Present,
    Version(&'a KeyValue<'a>),
    /// It was deleted at this very revision.
    Deletion,
    /// It was written at this very revision.
    Writing(&'a KeyValue<'a>),
    /// It is not attached to this lease, which is gone.
    Without(i64),
}

impl Seen<'_> {
    /// Whether nothing about the state of the key is left open.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Present | Self::Without(_) => false,
            // The revision tells who wrote it, and so everything but the count.
            Self::Version(KeyValue(_, _, _, modified, version, _))
            | Self::Writing(KeyValue(_, _, _, modified, version, _)) => {
                *modified != UNKNOWN && *version != UNKNOWN
            }
            Self::Absent | Self::Deletion => true,
        }
    }
}

/// How it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Read,
    Serializable,
    /// By a read at a revision that it asked for.
    Historic,
    /// As the previous version in the answer to a write.
    Previous,
    LeaseGone,
    /// By a watch.
    Event,
    /// As the previous version in a watch's event.
    EventPrevious,
}

/// What an answer says about one key at one revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact<'a> {
    pub(super) revision: i64,
    pub(super) seen: Seen<'a>,
    pub(super) how: How,
    /// The operation whose answer it is.
    pub(super) entry: usize,
}

/// What an answer says about several keys at one revision.
#[derive(Clone, Debug)]
pub(super) struct Joint<'a> {
    pub(super) revision: i64,
    pub(super) what: JointFact<'a>,
    pub(super) entry: usize,
}

#[derive(Clone, Debug)]
pub(super) enum JointFact<'a> {
    /// So many of these keys existed.
    Count(std::ops::Range<usize>, i64),
    /// All of these comparisons held, or not all.
    Holds(&'a [Compare<'a>], bool),
}

/// All that answers say.
#[derive(Clone, Default)]
pub(super) struct Facts<'a> {
    /// By key.
    pub(super) changes: Vec<Vec<Change<'a>>>,
    /// By key.
    pub(super) facts: Vec<Vec<Fact<'a>>>,
    pub(super) joint: Vec<Joint<'a>>,
    /// The last revision at which each lease can have lived, of those that are known
    /// to be gone.
    pub(super) lived_until: std::collections::BTreeMap<i64, i64>,
    /// Answers that contradict themselves, and how.
    pub(super) nonsense: Vec<(usize, String)>,
}

impl<'a> Facts<'a> {
    /// What the answers to reads and writes say; watches apart.
    pub(super) fn of(log: &'a Log<'_>, order: &Order) -> Self {
        let mut facts = Facts {
            changes: vec![Vec::new(); log.keys.len()],
            facts: vec![Vec::new(); log.keys.len()],
            ..Facts::default()
        };
        for (index, entry) in log.entries.iter().enumerate() {
            let revision = entry.header();
            match &entry.call {
                Call::Range(range, Reply::Done(result)) => {
                    facts.read(log, index, range, result, |_| revision);
                }
                Call::Put(put, Reply::Done(result)) => {
                    let key = log.key(&put.key);
                    let effect = Effect::Put {
                        value: &put.value,
                        lease: put.lease,
                    };
                    facts.change(key, revision, effect, index);
                    if put.prev_kv {
                        facts.previous(key, index, revision - 1, result.prev.as_ref());
                    }
                }
                Call::Delete(delete, Reply::Done(result)) => {
                    facts.deletion(log, index, delete, result, revision);
                }
                Call::Txn(txn, Reply::Done(result)) => {
                    facts.txn(log, index, txn, result, revision, entry.wrote());
                }
                _ => {}
            }
        }
        facts.leases(log, order);
        facts
    }

    fn txn(
        &mut self,
        log: &'a Log<'_>,
        index: usize,
        txn: &'a Txn<'a>,
        result: &'a TxnResult<'a>,
        revision: i64,
        wrote: bool,
    ) {
        let before = if wrote { revision - 1 } else { revision };
        self.joint.push(Joint {
            revision: before,
            what: JointFact::Holds(&txn.compare, result.succeeded),
            entry: index,
        });
        // Keys that the transaction itself has written by then.
        let mut written: Vec<std::ops::Range<usize>> = Vec::new();
        for (op, result) in txn.branch(result.succeeded).iter().zip(&result.results) {
            let is_written = |key: usize| written.iter().any(|keys| keys.contains(&key));
            match (op, result) {
                (TxnOp::Range(range), OpResult::Range(result)) => {
                    let at = |key| if is_written(key) { revision } else { before };
                    self.read(log, index, range, result, at);
                }
                (TxnOp::Put(put), OpResult::Put(result)) => {
                    let key = log.key(&put.key);
                    let effect = Effect::Put {
                        value: &put.value,
                        lease: put.lease,
                    };
                    self.change(key, revision, effect, index);
                    if put.prev_kv {
                        self.previous(key, index, before, result.prev.as_ref());
                    }
                    written.push(key..key + 1);
                }
                (TxnOp::Delete(delete), OpResult::Delete(result)) => {
                    // A put before it in the same transaction cannot be in its range.
                    if wrote {
                        self.deletion(log, index, delete, result, revision);
                    } else {
                        self.nothing_there(log, index, &delete.span, revision);
                    }
                    written.push(log.span(&delete.span));
                }
                _ => unreachable!("the results were compared with the operations"),
            }
        }
    }

    fn change(&mut self, key: usize, revision: i64, effect: Effect<'a>, entry: usize) {
        let by = By::Entry(entry);
        self.changes[key].push(Change {
            revision,
            effect,
            by,
        });
    }

    pub(super) fn fact(&mut self, key: usize, fact: Fact<'a>) {
        self.facts[key].push(fact);
    }

    fn previous(
        &mut self,
        key: usize,
        entry: usize,
        revision: i64,
        prev: Option<&'a KeyValue<'a>>,
    ) {
        let fact = Fact {
            revision,
            seen: prev.map_or(Seen::Absent, Seen::Version),
            how: How::Previous,
            entry,
        };
        self.fact(key, fact);
    }

    fn nothing_there(&mut self, log: &Log<'_>, entry: usize, span: &Span<'_>, revision: i64) {
        for key in log.span(span) {
            let fact = Fact {
                revision,
                seen: Seen::Absent,
                how: How::Read,
                entry,
            };
            self.fact(key, fact);
        }
    }

    fn deletion(
        &mut self,
        log: &Log<'_>,
        entry: usize,
        delete: &'a Delete<'a>,
        result: &'a DeleteResult<'a>,
        revision: i64,
    ) {
        if result.deleted == 0 {
            // Alone it takes no revision; in a transaction that writes something
            // else its keys are absent before and after.
            return self.nothing_there(log, entry, &delete.span, revision);
        }
        let keys = log.span(&delete.span);
        for key in keys.clone() {
            self.change(key, revision, Effect::Delete, entry);
        }
        let before = revision - 1;
        if delete.prev_kv {
            if result.deleted != i64::try_from(result.prev.len()).unwrap_or(i64::MAX) {
                let how = format!(
                    "says that it deleted {}, and returns {}",
                    keys_of(result.deleted),
                    result.prev.len()
                );
                self.nonsense.push((entry, how));
            }
            self.listed(log, entry, &result.prev, keys, How::Previous, |_| before);
        } else if keys.len() == 1 {
            let fact = Fact {
                revision: before,
                seen: Seen::Present,
                how: How::Previous,
                entry,
            };
            self.fact(keys.start, fact);
        } else {
            self.joint.push(Joint {
                revision: before,
                what: JointFact::Count(keys, result.deleted),
                entry,
            });
        }
    }

    fn read(
        &mut self,
        log: &Log<'_>,
        entry: usize,
        range: &'a Range<'a>,
        result: &'a RangeResult<'a>,
        at: impl Fn(usize) -> i64,
    ) {
        let (how, asked) = match range.revision {
            Some(revision) => (How::Historic, Some(revision)),
            None if range.serializable => (How::Serializable, None),
            None => (How::Read, None),
        };
        let at = |key| asked.unwrap_or_else(|| at(key));
        let keys = log.span(&range.span);
        let returned = i64::try_from(result.kvs.len()).unwrap_or(i64::MAX);
        let is_cut = range.limit > 0 && returned == range.limit && result.count > returned;
        let is_right = match range.count_only {
            true => returned == 0,
            false => (is_cut || result.count == returned) && result.more == is_cut,
        };
        if range.limit > 0 && returned > range.limit {
            let how = format!(
                "returns {}, although it was asked for {} at most",
                keys_of(returned),
                range.limit
            );
            self.nonsense.push((entry, how));
        } else if !is_right {
            let kept_back = if result.more { "more" } else { "no more" };
            let how = format!(
                "counts {}, returns {returned}, and says that there are {kept_back}",
                keys_of(result.count)
            );
            self.nonsense.push((entry, how));
        }
        // What lies behind the last key of a limited read is not known.
        let known = match result.kvs.last() {
            _ if range.count_only => keys.start..keys.start,
            Some(last) if is_cut => keys.start..log.key(&last.0) + 1,
            _ => keys.clone(),
        };
        self.listed(log, entry, &result.kvs, known, how, at);
        let is_one_state = keys.clone().all(|key| at(key) == at(keys.start));
        if (range.count_only || is_cut) && is_one_state {
            self.joint.push(Joint {
                revision: at(keys.start),
                what: JointFact::Count(keys, result.count),
                entry,
            });
        }
    }

    /// These keys existed, and no others of the range.
    fn listed(
        &mut self,
        log: &Log<'_>,
        entry: usize,
        kvs: &'a [KeyValue<'a>],
        keys: std::ops::Range<usize>,
        how: How,
        at: impl Fn(usize) -> i64,
    ) {
        if !kvs.is_sorted_by(|a, b| a.0 < b.0) {
            let how = "returns keys out of order or twice".to_owned();
            return self.nonsense.push((entry, how));
        }
        let mut next = kvs.iter().peekable();
        if kvs.iter().any(|kv| !keys.contains(&log.key(&kv.0))) {
            let how = "returns keys that lie outside of its range".to_owned();
            return self.nonsense.push((entry, how));
        }
        for key in keys {
            let found = next.next_if(|kv| kv.0 == log.keys[key]);
            let fact = Fact {
                revision: at(key),
                seen: found.map_or(Seen::Absent, Seen::Version),
                how,
                entry,
            };
            self.fact(key, fact);
        }
    }

    /// A lease that is gone has no keys: revocations, and refusals because of it.
    fn leases(&mut self, log: &'a Log<'_>, order: &Order) {
        let attached = attached_keys(log);
        let written: std::collections::BTreeSet<i64> = log
            .entries
            .iter()
            .filter(|entry| entry.wrote())
            .map(super::log::Entry::header)
            .collect();
        for (index, entry) in log.entries.iter().enumerate() {
            let operation = &entry.operation;
            let (lease, gone_at, is_revoked) = match &entry.call {
                Call::Revoke(lease, Reply::Done(())) => (lease.lease, entry.header(), true),
                call => {
                    let Some(lease) = refused_lease(call) else {
                        continue;
                    };
                    // Before its grant a lease is not there either.
                    let granted = log.granted.get(&lease);
                    if granted.is_none_or(|granted| *granted > operation.invoked) {
                        continue;
                    }
                    (lease, order.possible_at(operation.completed).0, false)
                }
            };
            let until = self.lived_until.entry(lease).or_insert(gone_at);
            *until = gone_at.min(*until);
            // A revocation takes a revision only when there are keys.
            let takes_revision = is_revoked
                && !written.contains(&gone_at)
                && gone_at > order.known_before(operation.invoked).0;
            for &key in attached.get(&lease).into_iter().flatten() {
                if takes_revision {
                    self.change(key, gone_at, Effect::End(lease), index);
                }
                if gone_at < i64::MAX {
                    let fact = Fact {
                        revision: gone_at,
                        seen: Seen::Without(lease),
                        how: How::LeaseGone,
                        entry: index,
                    };
                    self.fact(key, fact);
                }
            }
        }
    }
}

/// The lease that a mutation was refused for want of.
pub(super) fn refused_lease(call: &Call<'_>) -> Option<i64> {
    match call {
        Call::Put(put, reply) if reply.refusal() == Some(Refusal::LeaseNotFound) => Some(put.lease),
        Call::Revoke(lease, reply) if reply.refusal() == Some(Refusal::LeaseNotFound) => {
            Some(lease.lease)
        }
        _ => None,
    }
}

/// Which keys were, or may have been, attached to each lease.
pub(super) fn attached_keys(
    log: &Log<'_>,
) -> std::collections::BTreeMap<i64, std::collections::BTreeSet<usize>> {
    let mut attached: std::collections::BTreeMap<_, std::collections::BTreeSet<usize>> =
        std::collections::BTreeMap::new();
    for entry in &log.entries {
        for (put, _) in super::log::puts(&entry.call) {
            if put.lease != 0 {
                attached
                    .entry(put.lease)
                    .or_default()
                    .insert(log.key(&put.key));
            }
        }
    }
    attached
}

fn keys_of(number: i64) -> String {
    match u64::try_from(number) {
        Ok(number) => count(number, "key"),
        Err(_) => format!("{number} keys"),
    }
}
