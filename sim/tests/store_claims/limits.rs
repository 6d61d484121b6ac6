//! What is refused, and in which words.

use etcd_sim::store::{LeaseId, StoreOptions, TTL_MAX};
use etcd_sim::version::Version;
use std::time::Duration;
use tonic::Code;

use crate::*;

fn assert_refused<T: std::fmt::Debug>(result: Result<T, StoreError>, code: Code, text: &str) {
    let error = result.expect_err(text);
    assert_eq!((error.code(), error.to_string().as_str()), (code, text));
}

#[test]
fn an_empty_key_is_refused() {
    let text = "etcdserver: key is not provided";
    let mut store = Store::default();
    assert_refused(
        store.range(&range_request("", "\0")),
        Code::InvalidArgument,
        text,
    );
    assert_refused(store.put(put_request("", "")), Code::InvalidArgument, text);
    assert_refused(
        store.delete_range(&delete_request("", "a")),
        Code::InvalidArgument,
        text,
    );
    assert_refused(
        store.txn(txn(vec![], vec![put_op("")])),
        Code::InvalidArgument,
        text,
    );
    let empty = compare("", 0, 0, PbTargetUnion::Version(0));
    let request = PbTxnRequest {
        compare: vec![empty],
        ..Default::default()
    };
    assert_refused(store.txn(request), Code::InvalidArgument, text);
}

#[test]
fn unknown_sort_options_are_refused_since_3_6() {
    let text = "etcdserver: invalid sort option";
    let mut store = Store::new(StoreOptions {
        version: Version::new(3, 6, 0),
        ..StoreOptions::default()
    });
    let order = PbRangeRequest {
        sort_order: 3,
        ..range_request("a", "c")
    };
    assert_refused(store.range(&order), Code::InvalidArgument, text);
    let target = PbRangeRequest {
        sort_target: 5,
        ..range_request("a", "c")
    };
    assert_refused(store.range(&target), Code::InvalidArgument, text);
    // Before, an unknown order is none, and an unknown target makes etcd crash.
    store = Store::default();
    put(&mut store, "a", "2");
    put(&mut store, "b", "1");
    let by_value = PbRangeRequest {
        sort_target: 4,
        ..order
    };
    let keys: Vec<_> = store.range(&by_value).unwrap().kvs;
    assert_eq!([&keys[0].key, &keys[1].key], [b"a", b"b"]);
    assert_refused(store.range(&target), Code::InvalidArgument, text);
}

#[test]
fn of_several_faults_in_a_transaction_the_first_is_told_since_3_6() {
    let faulty = || {
        let future = PbRangeRequest {
            revision: 9,
            ..range_request("a", "")
        };
        let orphan = PbPutRequest {
            lease: 9,
            ..put_request("a", "")
        };
        let ops = vec![
            op(PbTxnOpRequest::RequestRange(future)),
            op(PbTxnOpRequest::RequestPut(orphan)),
        ];
        txn(ops, vec![])
    };
    for (version, error) in [
        (Version::V3_5_30, StoreError::LeaseNotFound),
        (Version::new(3, 6, 0), StoreError::FutureRevision),
    ] {
        let mut store = Store::new(StoreOptions {
            version,
            ..StoreOptions::default()
        });
        assert_eq!(store.txn(faulty()), Err(error), "{version}");
    }
}

#[test]
fn of_the_compacted_revision_the_last_change_of_each_key_is_left() {
    for (version, left) in [
        (Version::V3_5_1, &b"c"[..]),
        (Version::V3_5_16, &b"abc"[..]),
    ] {
        let mut store = Store::new(StoreOptions {
            version,
            ..StoreOptions::default()
        });
        put(&mut store, "a", "1");
        let ops = vec![put_op("b"), delete_op("a", "\0"), put_op("c")];
        store.txn(txn(ops, vec![])).unwrap();
        assert_eq!(store.events(3).count(), 4);
        compact(&mut store, 3).unwrap();
        let events: Vec<_> = store.events(3).map(|record| record.key()[0]).collect();
        assert_eq!(events, left);
    }
}

#[test]
fn revisions_outside_the_history_are_refused() {
    let mut store = Store::default();
    put(&mut store, "a", "");
    put(&mut store, "a", "");
    let future = "etcdserver: mvcc: required revision is a future revision";
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let at = |revision| PbRangeRequest {
        revision,
        ..range_request("a", "")
    };
    assert_refused(store.range(&at(4)), Code::OutOfRange, future);
    assert_refused(compact(&mut store, 4), Code::OutOfRange, future);
    compact(&mut store, 3).unwrap();
    assert_refused(store.range(&at(2)), Code::OutOfRange, compacted);
    assert_refused(compact(&mut store, 3), Code::OutOfRange, compacted);
    let read = op(PbTxnOpRequest::RequestRange(at(2)));
    assert_refused(
        store.txn(txn(vec![put_op("b"), read], vec![])),
        Code::OutOfRange,
        compacted,
    );
    assert_eq!(get(&store, "b"), None, "a refused transaction does nothing");
    // Unlike a plain read, one in a transaction takes a negative revision for a
    // very old one.
    let read = op(PbTxnOpRequest::RequestRange(at(-1)));
    assert_refused(
        store.txn(txn(vec![read], vec![])),
        Code::OutOfRange,
        compacted,
    );
}

#[test]
fn what_is_to_be_kept_must_not_be_given_and_must_exist() {
    let mut store = Store::default();
    let keep = |value: &str, lease| PbPutRequest {
        ignore_value: lease == 0,
        ignore_lease: value.is_empty(),
        lease,
        ..put_request("a", value)
    };
    let code = Code::InvalidArgument;
    assert_refused(
        store.put(keep("v", 0)),
        code,
        "etcdserver: value is provided",
    );
    assert_refused(
        store.put(keep("", 1)),
        code,
        "etcdserver: lease is provided",
    );
    assert_refused(store.put(keep("", 0)), code, "etcdserver: key not found");
}

#[test]
fn an_operation_without_a_request_is_refused() {
    let empty = PbTxnRequestOp { request: None };
    let answer = Store::default().txn(txn(vec![empty], vec![]));
    assert_refused(answer, Code::InvalidArgument, "etcdserver: key not found");
}

#[test]
fn a_mutation_above_the_limit_of_bytes_is_refused() {
    let text = "etcdserver: request is too large";
    let mut store = Store::default();
    let limit = StoreOptions::default().request_bytes_max;
    store
        .put(put_request("a", &"x".repeat(limit - 100)))
        .unwrap();
    let large = put_request("a", &"x".repeat(limit));
    assert_refused(store.put(large.clone()), Code::InvalidArgument, text);
    let large = txn(vec![op(PbTxnOpRequest::RequestPut(large))], vec![]);
    assert_refused(store.txn(large), Code::InvalidArgument, text);
    assert!(
        store.range(&range_request(&"k".repeat(limit), "")).is_ok(),
        "reads are not limited"
    );
}

#[test]
fn a_level_costs_its_longest_list_and_siblings_do_not_add_up() {
    let text = "etcdserver: too many operations in txn request";
    let reads = |count: usize| vec![range_op("a"); count];
    let mut store = Store::default();
    store.txn(txn(reads(128), reads(128))).unwrap();
    assert_refused(
        store.txn(txn(vec![], reads(129))),
        Code::InvalidArgument,
        text,
    );
    let sibling = || txn_op(txn(reads(126), vec![]));
    store.txn(txn(vec![sibling(), sibling()], vec![])).unwrap();
    let request = txn(vec![sibling(), txn_op(txn(reads(127), vec![]))], vec![]);
    assert_refused(store.txn(request), Code::InvalidArgument, text);
}

#[test]
fn nested_transactions_get_what_is_left() {
    // Each level but the last costs two.
    let deep = |levels: usize| {
        (1..levels).fold(
            txn(vec![range_op("a"), range_op("a")], vec![]),
            |inner, _| txn(vec![range_op("a"), txn_op(inner)], vec![]),
        )
    };
    let mut store = Store::default();
    store.txn(deep(64)).unwrap();
    assert_eq!(store.txn(deep(65)), Err(StoreError::TooManyOps));
}

#[test]
fn a_key_must_not_be_written_twice() {
    let duplicates = [
        vec![put_op("a"), put_op("a")],
        vec![put_op("a"), delete_op("a", "")],
        vec![delete_op("a", "c"), put_op("b")],
        vec![
            delete_op("a", "b"),
            delete_op("b", "c"),
            delete_op("0", "1"),
            put_op("b"),
        ],
        vec![put_op("a"), txn_op(txn(vec![], vec![put_op("a")]))],
        vec![
            txn_op(txn(vec![put_op("a")], vec![])),
            txn_op(txn(vec![], vec![put_op("a")])),
        ],
        vec![put_op("b"), txn_op(txn(vec![delete_op("a", "c")], vec![]))],
        vec![delete_op("a", "c"), txn_op(txn(vec![put_op("b")], vec![]))],
        vec![
            txn_op(txn(vec![delete_op("a", "c")], vec![])),
            txn_op(txn(vec![], vec![put_op("b")])),
        ],
    ];
    for ops in duplicates {
        let text = "etcdserver: duplicate key given in txn request";
        let mut store = Store::default();
        assert_refused(
            store.txn(txn(vec![], ops.clone())),
            Code::InvalidArgument,
            text,
        );
        assert_refused(store.txn(txn(ops, vec![])), Code::InvalidArgument, text);
    }
}

#[test]
fn what_cannot_write_a_key_twice_passes() {
    let allowed = [
        txn(vec![put_op("a")], vec![put_op("a"), delete_op("b", "")]),
        txn(vec![delete_op("a", "c"), delete_op("b", "")], vec![]),
        txn(
            vec![txn_op(txn(
                vec![put_op("a")],
                vec![put_op("a"), delete_op("b", "")],
            ))],
            vec![],
        ),
        txn(vec![put_op("c"), delete_op("a", "c")], vec![]),
        txn(vec![put_op("a"), range_op("a")], vec![]),
    ];
    for request in allowed {
        Store::default().txn(request).unwrap();
    }
}

#[test]
fn the_check_for_duplicates_misses_what_etcd_misses() {
    let mut store = Store::default();
    put(&mut store, "b", "");
    // A delete in a later sibling, and one "from this key on".
    let put_first = txn_op(txn(vec![put_op("b")], vec![]));
    let delete_second = txn_op(txn(vec![delete_op("b", "")], vec![]));
    store
        .txn(txn(vec![put_first, delete_second], vec![]))
        .unwrap();
    assert_eq!(get(&store, "b"), None);
    store
        .txn(txn(vec![delete_op("a", "\0"), put_op("b")], vec![]))
        .unwrap();
    assert_eq!(get(&store, "b").unwrap().version, 1);
}

#[test]
fn leases_are_limited() {
    let mut store = Store::default();
    let now = Duration::ZERO;
    let text = "etcdserver: too large lease TTL";
    assert_refused(
        store.lease_grant(now, LeaseId(1), TTL_MAX + 1),
        Code::OutOfRange,
        text,
    );
    store.lease_grant(now, LeaseId(1), TTL_MAX).unwrap();
    let text = "etcdserver: lease already exists";
    assert_refused(
        store.lease_grant(now, LeaseId(1), 5),
        Code::FailedPrecondition,
        text,
    );
    let text = "etcdserver: requested lease not found";
    assert_refused(store.lease_revoke(LeaseId(2)), Code::NotFound, text);
    assert_refused(
        store.lease_keep_alive(now, LeaseId(2)),
        Code::NotFound,
        text,
    );
    let with_lease = PbPutRequest {
        lease: 2,
        ..put_request("a", "")
    };
    assert_refused(store.put(with_lease.clone()), Code::NotFound, text);
    let request = txn(
        vec![put_op("b"), op(PbTxnOpRequest::RequestPut(with_lease))],
        vec![],
    );
    assert_refused(store.txn(request), Code::NotFound, text);
    assert_eq!(store.revision(), 1);
}
