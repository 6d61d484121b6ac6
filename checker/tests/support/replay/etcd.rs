//! A store of keys that serves one request after the other.

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::History;
use etcd_checker::etcd::message::{
    Compare, Delete, DeleteResult, KeyValue, Lease, OpResult, Put, PutResult, Range, RangeResult,
    Relation, Span, Target, Txn, TxnOp, TxnResult, UNKNOWN,
};
use etcd_checker::history::{Event, Operation, Outcome};
use serde::Deserialize;

use super::super::linearization::in_order_with;

/// Serves the requests in this order. Returns how many of unknown outcome were among them, and
/// how often keys had gone with a lease that nobody revoked. Stops where a transaction of
/// unknown outcome does one thing or the other by a revision that nobody was told.
///
/// # Panics
/// When an answer is another one than the history says.
pub fn replay(history: &History, order: &[usize]) -> (usize, usize) {
    let order = in_order_with(history, order, belongs);
    let mut store = Store::default();
    let mut silent = 0;
    for operation in order {
        if store.serve(&operation).is_none() {
            break;
        }
        silent += usize::from(operation.outcome() != Outcome::Ok);
    }
    (silent, store.expired)
}

/// Whether a request that was answered has a place in the order of revisions.
fn belongs(operation: &Operation<'_>) -> bool {
    let told = operation.ok();
    let is_refused = told.is_some_and(|event| event.value().as_str().contains("\"refused\""));
    let is_ordered = match operation.invoke.f() {
        "put" | "delete" | "txn" | "grant" | "revoke" => true,
        "range" => !parsed::<Range<'_>>(operation.invoke).serializable,
        _ => false,
    };
    is_ordered && !is_refused
}

fn parsed<'h, T: Deserialize<'h>>(event: &'h Event) -> T {
    serde_json::from_str(event.value().as_str()).unwrap()
}

/// What was answered, if anything was.
fn told<'h, T: Deserialize<'h> + Default>(operation: &Operation<'h>) -> Option<T> {
    let event = operation.ok()?;
    Some(match event.value().is_null() {
        true => T::default(),
        false => parsed(event),
    })
}

type Keys = BTreeMap<String, KeyValue<'static>>;

#[derive(Default)]
struct Store {
    keys: Keys,
    /// Those written over a version with a lease that nobody has seen since: it may have been
    /// gone by then.
    perhaps_new: BTreeSet<String>,
    expired: usize,
}

impl Store {
    /// None when it is not known what the request does.
    fn serve(&mut self, operation: &Operation<'_>) -> Option<()> {
        let revision = operation.ok().and_then(Event::revision);
        let revision = revision.unwrap_or(UNKNOWN);
        match operation.invoke.f() {
            "range" => self.read(&parsed(operation.invoke), &told(operation).unwrap()),
            "put" => {
                let result: Option<PutResult<'_>> = told(operation);
                self.put(&parsed(operation.invoke), result.as_ref(), revision);
            }
            "delete" => {
                let result: Option<DeleteResult<'_>> = told(operation);
                self.delete(&parsed(operation.invoke), result.as_ref());
            }
            "txn" => {
                let result = operation.ok().map(parsed::<TxnResult<'_>>);
                self.txn(&parsed(operation.invoke), result.as_ref(), revision)?;
            }
            "revoke" => {
                let lease = parsed::<Lease>(operation.invoke).lease;
                self.keys.retain(|_, kv| kv.5 != lease);
            }
            "grant" => {}
            other => panic!("{other} has no place in the order"),
        }
        Some(())
    }

    fn txn(&mut self, txn: &Txn<'_>, told: Option<&TxnResult<'_>>, revision: i64) -> Option<()> {
        let holds = self.all_hold(&txn.compare);
        let succeeded = told.map(|told| told.succeeded).or(holds)?;
        if holds.is_some_and(|holds| holds != succeeded) {
            let leased = txn.compare.iter().map(|compare| compare.1.to_string());
            self.expire(leased.collect());
            let holds = self.all_hold(&txn.compare);
            assert!(
                holds.is_none_or(|holds| holds == succeeded),
                "{txn:?} on {:?}",
                self.keys
            );
        }
        for (index, op) in txn.branch(succeeded).iter().enumerate() {
            let result = told.map(|told| &told.results[index]);
            match (op, result) {
                (TxnOp::Range(range), Some(OpResult::Range(result))) => self.read(range, result),
                (TxnOp::Put(put), Some(OpResult::Put(result))) => {
                    self.put(put, Some(result), revision);
                }
                (TxnOp::Delete(delete), Some(OpResult::Delete(result))) => {
                    self.delete(delete, Some(result));
                }
                (TxnOp::Put(put), None) => self.put(put, None, revision),
                (TxnOp::Delete(delete), None) => self.delete(delete, None),
                (TxnOp::Range(_), None) => {}
                _ => panic!("{op:?} is answered by {result:?}"),
            }
        }
        Some(())
    }

    /// Whether all comparisons hold; none when it depends on the revision of a write of unknown
    /// outcome.
    fn all_hold(&self, compares: &[Compare<'_>]) -> Option<bool> {
        let mut all = Some(true);
        for compare in compares {
            match self.holds(compare) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => all = None,
            }
        }
        all
    }

    fn holds(&self, Compare(target, key, relation, with): &Compare<'_>) -> Option<bool> {
        let kv = self.keys.get(key.as_ref());
        let found = kv.map_or(0, |kv| match target {
            Target::Version => kv.4,
            Target::Create => kv.2,
            Target::Mod => kv.3,
            Target::Lease => kv.5,
        });
        let holds = match relation {
            Relation::Equal => found == *with,
            Relation::NotEqual => found != *with,
            Relation::Greater => found > *with,
            Relation::Less => found < *with,
        };
        (found != UNKNOWN).then_some(holds)
    }

    fn put(&mut self, put: &Put<'_>, told: Option<&PutResult<'_>>, revision: i64) {
        if let Some(told) = told.filter(|_| put.prev_kv) {
            let expected = told.prev.as_ref().into_iter();
            self.compare(&one(&put.key), expected.collect());
        }
        let before = self.keys.get(put.key.as_ref());
        if before.is_some_and(|kv| kv.5 != 0) {
            self.perhaps_new.insert(put.key.to_string());
        } else if before.is_none() {
            self.perhaps_new.remove(put.key.as_ref());
        }
        let (created, version) = before.map_or((revision, 1), |kv| (kv.2, kv.4 + 1));
        let kv = KeyValue(
            put.key.to_string().into(),
            Some(put.value.to_string().into()),
            created,
            revision,
            version,
            put.lease,
        );
        self.keys.insert(put.key.to_string(), kv);
    }

    fn delete(&mut self, delete: &Delete<'_>, told: Option<&DeleteResult<'_>>) {
        let deleted = keys_in(&self.keys, &delete.span);
        if let Some(told) = told {
            if delete.prev_kv {
                self.compare(&delete.span, told.prev.iter().collect());
            } else if told.deleted != i64::try_from(deleted.len()).unwrap() {
                self.expire(deleted.clone());
                let left = keys_in(&self.keys, &delete.span).len();
                assert_eq!(told.deleted, i64::try_from(left).unwrap(), "{delete:?}");
            }
        }
        for key in deleted {
            self.keys.remove(&key);
        }
    }

    fn read(&mut self, range: &Range<'_>, told: &RangeResult<'_>) {
        // A past revision is shown as it was, which a store of the present does not know.
        if range.revision.is_some() {
            return;
        }
        let count = |keys: &Keys| i64::try_from(keys_in(keys, &range.span).len()).unwrap();
        if !range.count_only && !told.more {
            self.compare(&range.span, told.kvs.iter().collect());
        } else if told.count != count(&self.keys) {
            self.expire(keys_in(&self.keys, &range.span));
        }
        assert_eq!(told.count, count(&self.keys), "{range:?}");
    }

    /// Compares the keys of a range with what an answer says of them. What it shows of a write
    /// of unknown outcome is its revision.
    fn compare(&mut self, span: &Span<'_>, expected: Vec<&KeyValue<'_>>) {
        let here = keys_in(&self.keys, span);
        let gone = here
            .iter()
            .filter(|key| expected.iter().all(|kv| kv.0 != key.as_str()));
        self.expire(gone.cloned().collect());
        let here = keys_in(&self.keys, span);
        assert_eq!(
            here,
            expected
                .iter()
                .map(|kv| kv.0.to_string())
                .collect::<Vec<_>>(),
            "the keys of {span:?}"
        );
        for seen in expected {
            let kv = self.keys.get_mut(seen.0.as_ref()).unwrap();
            if seen.4 != UNKNOWN && seen.4 < kv.4 && self.perhaps_new.remove(seen.0.as_ref()) {
                (kv.2, kv.4) = (seen.2, seen.4);
                self.expired += 1;
            }
            for (known, told) in [
                (&mut kv.2, seen.2),
                (&mut kv.3, seen.3),
                (&mut kv.4, seen.4),
                (&mut kv.5, seen.5),
            ] {
                if *known == UNKNOWN {
                    *known = told;
                }
                assert!(told == UNKNOWN || told == *known, "{seen:?}");
            }
            assert!(seen.1.is_none() || seen.1 == kv.1, "{seen:?}, not {kv:?}");
        }
    }

    /// These keys are gone although nobody deleted them: so are all keys of their leases.
    fn expire(&mut self, gone: Vec<String>) {
        for key in gone {
            let Some(kv) = self.keys.get(&key) else {
                continue;
            };
            let lease = kv.5;
            assert_ne!(lease, 0, "{key} has no lease with which it could have gone");
            self.keys.retain(|_, kv| kv.5 != lease);
            self.expired += 1;
        }
    }
}

fn one<'a>(key: &'a str) -> Span<'a> {
    Span {
        key: key.into(),
        end: None,
    }
}

fn keys_in(keys: &Keys, span: &Span<'_>) -> Vec<String> {
    let from = keys.range(span.key.to_string()..);
    let inside = from.take_while(|(key, _)| match &span.end {
        Some(end) => key.as_str() < end.as_ref(),
        None => key.as_str() == span.key,
    });
    inside.map(|(key, _)| key.clone()).collect()
}
