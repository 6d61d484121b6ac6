//! Puts and deletes.

use etcd_sim::store::StoreOptions;
use etcd_sim::version::Version;

use crate::*;

#[test]
fn a_put_counts_versions_and_keeps_the_creation() {
    let mut store = Store::default();
    put(&mut store, "a", "1");
    put(&mut store, "a", "2");
    let kv = get(&store, "a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
}

#[test]
fn a_key_that_returns_begins_anew() {
    let mut store = Store::default();
    put(&mut store, "a", "1");
    delete(&mut store, "a", "");
    put(&mut store, "a", "2");
    let kv = get(&store, "a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (4, 4, 1));
}

#[test]
fn the_previous_version_is_returned_when_asked_for() {
    let mut store = Store::default();
    let with_previous = |value| PbPutRequest {
        prev_kv: true,
        ..put_request("a", value)
    };
    assert_eq!(store.put(with_previous("1")).unwrap().prev_kv, None);
    assert_eq!(
        store
            .put(with_previous("2"))
            .unwrap()
            .prev_kv
            .unwrap()
            .value,
        b"1"
    );
    let request = PbDeleteRequest {
        prev_kv: true,
        ..delete_request("a", "")
    };
    let answer = store.delete_range(&request).unwrap();
    assert_eq!(
        (answer.deleted, answer.prev_kvs[0].value.as_slice()),
        (1, b"2".as_slice())
    );
}

#[test]
fn ignore_value_keeps_the_value() {
    let mut store = Store::default();
    put(&mut store, "a", "1");
    let request = PbPutRequest {
        ignore_value: true,
        ..put_request("a", "")
    };
    store.put(request).unwrap();
    let kv = get(&store, "a").unwrap();
    assert_eq!((kv.value.as_slice(), kv.version), (b"1".as_slice(), 2));
}

#[test]
fn a_delete_without_a_match_takes_no_revision() {
    let mut store = Store::default();
    put(&mut store, "a", "");
    assert_eq!(delete(&mut store, "b", ""), 0);
    assert_eq!(store.revision(), 2);
}

#[test]
fn a_delete_of_many_keys_is_one_revision() {
    let mut store = Store::default();
    for key in ["b", "a", "c"] {
        put(&mut store, key, "");
    }
    assert_eq!(delete(&mut store, "a", "c"), 2);
    let events: Vec<_> = store
        .events(5)
        .map(|r| (r.key(), r.sub_revision()))
        .collect();
    assert_eq!(events, [(b"a".as_slice(), 0), (b"b".as_slice(), 1)]);
    assert_eq!(store.revision(), 5);
}

#[test]
fn equal_stores_have_equal_hashes() {
    let (mut one, mut two) = (Store::default(), Store::default());
    put(&mut one, "a", "1");
    put(&mut two, "a", "1");
    assert_eq!(one.hash(0), two.hash(2));
    put(&mut two, "a", "1");
    assert_ne!(one.hash(0), two.hash(0));
    assert_eq!(one.hash(0), two.hash(2));
}

#[test]
fn a_key_that_is_created_anew_in_the_revision_that_deletes_it_is_no_key_to_later_releases_hashes() {
    let hash_with = |version, others: &[&str]| {
        let options = StoreOptions {
            version,
            ..StoreOptions::default()
        };
        let mut store = Store::new(options);
        put(&mut store, "a", "");
        compact(&mut store, 2).unwrap();
        delete(&mut store, "a", "");
        for key in others {
            put(&mut store, key, "");
        }
        put(&mut store, "x", "");
        let anew = [delete_op("x", "\0"), put_op("x")];
        let anew = PbTxnRequest {
            success: anew.to_vec(),
            ..Default::default()
        };
        store.txn(anew).unwrap();
        store.hash(0).unwrap()
    };
    // As if there were no keys: what the compaction has left counts then.
    let [earlier, later] = [Version::V3_5_1, Version::V3_5_16].map(|v| hash_with(v, &[]));
    assert_ne!(earlier, later);
    let [earlier, later] = [Version::V3_5_1, Version::V3_5_16].map(|v| hash_with(v, &["b"]));
    assert_eq!(earlier, later);
}
