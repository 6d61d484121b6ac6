//! Transactions.

use etcd_client::proto::{PbTxnOpResponse, PbTxnResponse};

use crate::*;

const EQUAL: i32 = 0;
const GREATER: i32 = 1;
const LESS: i32 = 2;
const NOT_EQUAL: i32 = 3;

fn holds(store: &mut Store, compare: PbCompare) -> bool {
    let request = PbTxnRequest {
        compare: vec![compare],
        ..Default::default()
    };
    store.txn(request).unwrap().succeeded
}

fn revisions(answer: &PbTxnResponse) -> Vec<i64> {
    let revision = |response: &PbTxnOpResponse| match response {
        PbTxnOpResponse::ResponseRange(answer) => answer.header.unwrap().revision,
        PbTxnOpResponse::ResponsePut(answer) => answer.header.unwrap().revision,
        PbTxnOpResponse::ResponseDeleteRange(answer) => answer.header.unwrap().revision,
        PbTxnOpResponse::ResponseTxn(answer) => answer.header.unwrap().revision,
    };
    answer
        .responses
        .iter()
        .map(|op| revision(op.response.as_ref().unwrap()))
        .collect()
}

#[test]
fn all_writes_of_a_transaction_share_one_revision() {
    let mut store = Store::default();
    let nested = txn_op(txn(vec![put_op("c")], vec![]));
    let answer = store
        .txn(txn(vec![put_op("b"), put_op("a"), nested], vec![]))
        .unwrap();
    assert_eq!(answer.header.unwrap().revision, 2);
    let events: Vec<_> = store
        .events(2)
        .map(|r| (r.key()[0], r.sub_revision()))
        .collect();
    assert_eq!(events, [(b'b', 0), (b'a', 1), (b'c', 2)]);
}

#[test]
fn the_header_of_each_operation_says_what_it_saw() {
    let mut store = Store::default();
    put(&mut store, "x", "");
    let ops = vec![
        range_op("a"),
        delete_op("c", ""),
        put_op("a"),
        range_op("a"),
        delete_op("b", ""),
        txn_op(txn(vec![], vec![])),
    ];
    let answer = store.txn(txn(ops, vec![])).unwrap();
    assert_eq!(revisions(&answer), [2, 2, 3, 3, 3, 0]);
    assert_eq!(answer.header.unwrap().revision, 3);
}

#[test]
fn a_transaction_that_writes_nothing_takes_no_revision() {
    let mut store = Store::default();
    put(&mut store, "a", "");
    store
        .txn(txn(vec![range_op("a"), delete_op("b", "")], vec![]))
        .unwrap();
    assert_eq!(store.revision(), 2);
}

#[test]
fn a_read_at_a_revision_does_not_see_the_transaction_itself() {
    let mut store = Store::default();
    put(&mut store, "a", "old");
    let read = PbRangeRequest {
        revision: 2,
        ..range_request("a", "")
    };
    let ops = vec![
        put_op("a"),
        op(PbTxnOpRequest::RequestRange(read)),
        range_op("a"),
    ];
    let answer = store.txn(txn(ops, vec![])).unwrap();
    let values: Vec<_> = answer.responses[1..]
        .iter()
        .map(|op| match op.response.as_ref().unwrap() {
            PbTxnOpResponse::ResponseRange(answer) => answer.kvs[0].value.clone(),
            other => panic!("not a read: {other:?}"),
        })
        .collect();
    assert_eq!(values, [b"old".to_vec(), Vec::new()]);
}

#[test]
fn all_comparisons_see_the_state_before_the_transaction() {
    let mut store = Store::default();
    let absent = compare("a", EQUAL, 0, PbTargetUnion::Version(0));
    let nested = PbTxnRequest {
        compare: vec![absent],
        ..txn(vec![put_op("b")], vec![])
    };
    store
        .txn(txn(vec![put_op("a"), txn_op(nested)], vec![]))
        .unwrap();
    assert!(get(&store, "b").is_some());
}

#[test]
fn an_absent_key_compares_as_zero() {
    let mut store = Store::default();
    let zero = [
        (0, PbTargetUnion::Version(0)),
        (1, PbTargetUnion::CreateRevision(0)),
        (2, PbTargetUnion::ModRevision(0)),
        (4, PbTargetUnion::Lease(0)),
    ];
    for (target, union) in zero {
        assert!(holds(
            &mut store,
            compare("a", EQUAL, target, union.clone())
        ));
        assert!(!holds(
            &mut store,
            compare("a", GREATER, target, union.clone())
        ));
        assert!(!holds(&mut store, compare("a", NOT_EQUAL, target, union)));
    }
}

#[test]
fn a_comparison_of_the_value_of_an_absent_key_never_holds() {
    let mut store = Store::default();
    for result in [EQUAL, GREATER, LESS, NOT_EQUAL] {
        for value in ["", "x"] {
            let union = PbTargetUnion::Value(value.into());
            assert!(!holds(&mut store, compare("a", result, 3, union)));
        }
    }
}

#[test]
fn a_present_key_compares_by_each_target() {
    let mut store = Store::default();
    put(&mut store, "a", "1");
    put(&mut store, "a", "5");
    let equal = [
        (0, PbTargetUnion::Version(2), PbTargetUnion::Version(3)),
        (
            1,
            PbTargetUnion::CreateRevision(2),
            PbTargetUnion::CreateRevision(3),
        ),
        (
            2,
            PbTargetUnion::ModRevision(3),
            PbTargetUnion::ModRevision(4),
        ),
        (
            3,
            PbTargetUnion::Value(b"5".to_vec()),
            PbTargetUnion::Value(b"50".to_vec()),
        ),
    ];
    for (target, same, larger) in equal {
        assert!(holds(&mut store, compare("a", EQUAL, target, same.clone())));
        assert!(!holds(&mut store, compare("a", NOT_EQUAL, target, same)));
        assert!(holds(
            &mut store,
            compare("a", LESS, target, larger.clone())
        ));
        assert!(holds(
            &mut store,
            compare("a", NOT_EQUAL, target, larger.clone())
        ));
        assert!(!holds(&mut store, compare("a", GREATER, target, larger)));
    }
}

#[test]
fn a_comparison_of_a_range_holds_if_it_does_for_each_key() {
    let mut store = Store::default();
    put(&mut store, "a", "1");
    put(&mut store, "b", "1");
    put(&mut store, "b", "1");
    let all = |union: PbTargetUnion, target| PbCompare {
        range_end: b"c".to_vec(),
        ..compare("a", EQUAL, target, union)
    };
    assert!(holds(
        &mut store,
        all(PbTargetUnion::Value(b"1".to_vec()), 3)
    ));
    assert!(!holds(&mut store, all(PbTargetUnion::Version(1), 0)));
}

#[test]
fn the_other_branch_is_taken_when_a_comparison_fails() {
    let mut store = Store::default();
    let request = PbTxnRequest {
        compare: vec![compare("a", GREATER, 0, PbTargetUnion::Version(0))],
        ..txn(vec![put_op("then")], vec![put_op("else")])
    };
    assert!(!store.txn(request).unwrap().succeeded);
    assert!(get(&store, "then").is_none() && get(&store, "else").is_some());
}

#[test]
fn what_only_the_other_branch_needs_is_not_checked() {
    let mut store = Store::default();
    let keep = PbPutRequest {
        ignore_value: true,
        ..put_request("absent", "")
    };
    let keep = op(PbTxnOpRequest::RequestPut(keep));
    store
        .txn(txn(vec![put_op("a")], vec![keep.clone()]))
        .unwrap();
    assert_eq!(
        store.txn(txn(vec![put_op("b"), keep], vec![])),
        Err(StoreError::KeyNotFound)
    );
    assert_eq!(get(&store, "b"), None);
}
