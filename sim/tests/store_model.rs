//! The store agrees with a model that keeps a full copy of the keys for each
//! revision, under random puts, deletes, transactions and compactions.

use std::collections::BTreeMap;

use etcd_client::proto::{
    PbCompactionRequest, PbCompare, PbDeleteRequest, PbKeyValue, PbPutRequest, PbRangeRequest,
    PbTargetUnion, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};
use etcd_sim::store::{Record, Store, StoreError};
use proptest::collection::vec;
use proptest::prelude::*;

type Snapshot = BTreeMap<Vec<u8>, PbKeyValue>;

/// A key space of eight keys of one byte.
const KEYS: u8 = 8;

#[derive(Clone, Debug)]
enum Write {
    Put(u8, u8),
    Delete(u8, u8),
}

#[derive(Clone, Debug)]
enum Step {
    One(Write),
    /// The writes happen if the key's version equals the number.
    Txn(u8, i64, Vec<Write>),
    /// How far behind the present to compact.
    Compact(i64),
}

/// One copy of all keys for each revision; the first is revision 1.
struct Model {
    snapshots: Vec<Snapshot>,
    compacted: i64,
}

impl Model {
    fn revision(&self) -> i64 {
        i64::try_from(self.snapshots.len()).unwrap()
    }

    fn now(&self) -> &Snapshot {
        self.snapshots.last().unwrap()
    }

    fn at(&self, revision: i64) -> &Snapshot {
        &self.snapshots[usize::try_from(revision - 1).unwrap()]
    }

    fn write(&mut self, writes: &[Write]) {
        let revision = self.revision() + 1;
        let mut keys = self.now().clone();
        let mut changed = false;
        for write in writes {
            match *write {
                Write::Put(key, value) => {
                    let old = keys.get(&vec![key]);
                    let kv = PbKeyValue {
                        key: vec![key],
                        create_revision: old.map_or(revision, |kv| kv.create_revision),
                        mod_revision: revision,
                        version: old.map_or(1, |kv| kv.version + 1),
                        value: vec![value],
                        lease: 0,
                    };
                    keys.insert(vec![key], kv);
                    changed = true;
                }
                Write::Delete(start, end) => {
                    let before = keys.len();
                    keys.retain(|key, _| !(start..end).contains(&key[0]));
                    changed |= keys.len() != before;
                }
            }
        }
        if changed {
            self.snapshots.push(keys);
        }
    }
}

fn op(write: &Write) -> PbTxnOpRequest {
    match *write {
        Write::Put(key, value) => PbTxnOpRequest::RequestPut(PbPutRequest {
            key: vec![key],
            value: vec![value],
            ..Default::default()
        }),
        Write::Delete(start, end) => PbTxnOpRequest::RequestDeleteRange(PbDeleteRequest {
            key: vec![start],
            range_end: vec![end],
            prev_kv: false,
        }),
    }
}

/// Whether etcd takes the writes in one transaction.
fn are_disjoint(writes: &[Write]) -> bool {
    let mut puts = Vec::new();
    for write in writes {
        if let Write::Put(key, _) = *write {
            let deleted = writes.iter().any(
                |other| matches!(*other, Write::Delete(start, end) if (start..end).contains(&key)),
            );
            if deleted || puts.contains(&key) {
                return false;
            }
            puts.push(key);
        }
    }
    true
}

fn apply(store: &mut Store, model: &mut Model, step: &Step) {
    match step {
        Step::One(write) => {
            match op(write) {
                PbTxnOpRequest::RequestPut(put) => drop(store.put(put).unwrap()),
                PbTxnOpRequest::RequestDeleteRange(delete) => {
                    let answer = store.delete_range(&delete).unwrap();
                    let before = model.now().len();
                    model.write(std::slice::from_ref(write));
                    let deleted = before - model.now().len();
                    assert_eq!(answer.deleted, i64::try_from(deleted).unwrap());
                    return;
                }
                other => panic!("not a single write: {other:?}"),
            }
            model.write(std::slice::from_ref(write));
        }
        Step::Txn(key, version, writes) => {
            let compare = PbCompare {
                key: vec![*key],
                target_union: Some(PbTargetUnion::Version(*version)),
                ..Default::default()
            };
            let ops = writes.iter().map(|write| PbTxnRequestOp {
                request: Some(op(write)),
            });
            let request = PbTxnRequest {
                compare: vec![compare],
                success: ops.collect(),
                failure: vec![],
            };
            let answer = store.txn(request);
            if !are_disjoint(writes) {
                assert_eq!(answer, Err(StoreError::DuplicateKey));
                return;
            }
            let found = model.now().get(&vec![*key]).map_or(0, |kv| kv.version);
            assert_eq!(answer.unwrap().succeeded, found == *version);
            if found == *version {
                model.write(writes);
            }
        }
        Step::Compact(behind) => {
            let revision = model.revision() - behind;
            let answer = store.compact(&PbCompactionRequest {
                revision,
                physical: false,
            });
            if revision <= model.compacted {
                assert_eq!(answer, Err(StoreError::Compacted));
            } else {
                answer.unwrap();
                model.compacted = revision;
            }
        }
    }
}

/// Every range, at every revision that can still be read.
fn assert_same(store: &Store, model: &Model) {
    assert_eq!(store.revision(), model.revision());
    for revision in 1..=model.revision() {
        for (start, end) in [(0, KEYS), (2, 5), (3, 4), (5, 2)] {
            let request = PbRangeRequest {
                key: vec![start],
                range_end: vec![end],
                revision,
                limit: 2,
                ..Default::default()
            };
            // The key 0 as an end would mean "from this key on".
            let answer = store.range(&request);
            if revision < model.compacted {
                assert_eq!(answer, Err(StoreError::Compacted));
                continue;
            }
            let answer = answer.unwrap();
            let within = |key: &Vec<u8>| (start..end).contains(&key[0]);
            let expected = model.at(revision).iter().filter(|(key, _)| within(key));
            let expected: Vec<PbKeyValue> = expected.map(|(_, kv)| kv.clone()).collect();
            assert_eq!(answer.count, i64::try_from(expected.len()).unwrap());
            assert_eq!(answer.more, expected.len() > 2);
            assert_eq!(answer.kvs, expected[..expected.len().min(2)]);
        }
        for key in 0..KEYS {
            let expected = model.at(revision).get(&vec![key]);
            let expected = expected.filter(|_| revision >= model.compacted);
            let found = store.key_at(&[key], revision).map(Record::key_value);
            assert_eq!(found.as_ref(), expected);
        }
    }
    assert!(
        store
            .current()
            .map(Record::key_value)
            .eq(model.now().values().cloned())
    );
    assert_events(store, model);
}

/// Played from the oldest revision that can be read, the events lead to the
/// present.
fn assert_events(store: &Store, model: &Model) {
    let from = model.compacted.max(1);
    let mut keys = model.at(from).clone();
    for record in store.events(from + 1) {
        if record.is_tombstone() {
            assert!(
                keys.remove(record.key()).is_some(),
                "a delete of an absent key"
            );
        } else {
            keys.insert(record.key().to_vec(), record.key_value());
        }
    }
    assert_eq!(&keys, model.now());
}

fn writes() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => (0..KEYS, any::<u8>()).prop_map(|(key, value)| Write::Put(key, value)),
        1 => (0..KEYS, 1..=KEYS).prop_map(|(start, end)| Write::Delete(start, end)),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => writes().prop_map(Step::One),
        3 => (0..KEYS, 0..3_i64, vec(writes(), 0..4)).prop_map(|(k, v, w)| Step::Txn(k, v, w)),
        1 => (0..12_i64).prop_map(Step::Compact),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn the_store_agrees_with_full_copies_of_each_revision(steps in vec(steps(), 1..60)) {
        let mut store = Store::default();
        let mut model = Model { snapshots: vec![Snapshot::new()], compacted: -1 };
        for step in &steps {
            apply(&mut store, &mut model, step);
        }
        assert_same(&store, &model);
    }
}
