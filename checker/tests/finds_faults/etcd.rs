//! Each promise of etcd is broken once, and nothing else: the checker names it and
//! shows the operations that prove it.

use etcd_checker::history::{Event, EventKind, Process};
use etcd_checker::verdict::Class;
use etcd_checker::{Model, Verdict, check};

use crate::support;
use crate::support::etcd::{etcd_history, ops};

/// The history breaks this promise, and the operations of these lines, counted from
/// 0, prove it by themselves.
#[track_caller]
fn breaks(kind: &str, proof: &[usize], text: &str) {
    let all = ops(text);
    let violation = violation(&all);
    assert_eq!(violation.kind.name, kind, "{violation}");
    assert_eq!(violation.class, Class::Safety);
    assert!(violation.sentence.len() > 20, "{violation}");
    let invoked: Vec<u64> = violation
        .witness
        .iter()
        .map(|op| op.invoked.time_ns)
        .collect();
    let mut expected: Vec<u64> = proof.iter().map(|index| all[*index].invoked).collect();
    expected.sort_unstable();
    assert_eq!(invoked, expected, "{violation}");
    let alone: Vec<_> = proof.iter().map(|index| all[*index].clone()).collect();
    assert_eq!(self::violation(&alone).kind.name, kind, "the witness alone");
}

#[track_caller]
fn violation(ops: &[support::Op]) -> etcd_checker::Violation {
    match check(&etcd_history(ops), Model::Etcd).unwrap() {
        Verdict::Violation(violation) => violation,
        other => panic!("{other}"),
    }
}

#[track_caller]
fn holds(text: &str) {
    let verdict = check(&etcd_history(&ops(text)), Model::Etcd).unwrap();
    assert!(verdict.is_valid(), "{verdict}");
}

#[test]
fn every_kind_of_request_answered_rightly_is_valid() {
    holds(
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2","prev_kv":true} => {"prev":["a","1",2,2,1,0]} @3
        4-5 grant {"lease":7,"ttl":5} => {"ttl":5} @3
        6-7 put {"key":"b","value":"3","lease":7} => {} @5
        8-9 range {"key":"a","end":"c"} => {"kvs":[["a","2",2,3,2,0],["b","3",5,5,1,7]],"count":2} @5
        10-11 range {"key":"a","end":"c","limit":1} => {"kvs":[["a","2",2,3,2,0]],"count":2,"more":true} @5
        12-13 range {"key":"a","end":"c","count_only":true} => {"count":2} @5
        14-15 range {"key":"b","keys_only":true} => {"kvs":[["b",null,5,5,1,7]],"count":1} @5
        16-17 range {"key":"a","revision":2} => {"kvs":[["a","1",2,2,1,0]],"count":1} @5
        18-19 range {"key":"a","serializable":true} => {"kvs":[["a","1",2,2,1,0]],"count":1} @2
        20-21 txn {"if":[["mod","a","=",3]],"then":[{"put":{"key":"c","value":"4"}},{"range":{"key":"c"}},{"delete":{"key":"a"}}],"else":[]} => {"succeeded":true,"results":[{"put":{}},{"range":{"kvs":[["c","4",6,6,1,0]],"count":1}},{"delete":{"deleted":1}}]} @6
        22-23 txn {"if":[["version","a",">",0]],"then":[],"else":[{"range":{"key":"a"}}]} => {"succeeded":false,"results":[{"range":{"kvs":[],"count":0}}]} @6
        24-25 time-to-live {"lease":7} => {"ttl":4,"keys":["b"]} @6
        26-27 keep-alive {"lease":7} => {"ttl":5} @6
        28-29 compact {"revision":4} => null @6
        30-31 range {"key":"a","revision":3} => {"refused":"compacted"}
        32-33 range {"key":"a","revision":9} => {"refused":"future"}
        34-35 watch {"watch":1,"key":"a","end":"d","start":5,"prev_kv":true} => null @6
        36-37 notice {} => {"watch":1,"events":[{"put":[["b","3",5,5,1,7],null]}]} @6
        38-39 notice {} => {"watch":1,"events":[{"put":[["c","4",6,6,1,0],null]},{"delete":["a",6,["a","2",2,3,2,0]]}]} @6
        40-41 revoke {"lease":7} => null @7
        42-43 notice {} => {"watch":1,"events":[{"delete":["b",7,["b","3",5,5,1,7]]}]} @7
        44-45 put {"key":"b","value":"5","lease":7} => {"refused":"lease-not-found"}
        46-47 delete {"key":"a","end":"d","prev_kv":true} => {"deleted":1,"prev":[["c","4",6,6,1,0]]} @8
        48-49 notice {} => {"watch":1} @7
        50-51 delete {"key":"a"} => {"deleted":0} @8
        52-53 compact {"revision":3} => {"refused":"compacted"}
        "#,
    );
}

#[test]
fn what_nobody_knows_is_known_by_what_others_saw() {
    // A value that was seen.
    holds(
        r#"
        0-9 put {"key":"a","value":"1"} => info
        1-2 range {"key":"a"} => {"kvs":[],"count":0} @1
        3-4 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @2
        "#,
    );
    // A version that counts a write that nobody saw.
    holds(
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2"} => info
        4-5 put {"key":"a","value":"3"} => {} @9
        6-7 range {"key":"a"} => {"kvs":[["a","3",2,9,3,0]],"count":1} @9
        "#,
    );
    // A deletion, by one of two that were asked for.
    holds(
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"b","value":"2"} => {} @3
        4-5 delete {"key":"a","end":"c"} => info
        6-7 delete {"key":"a"} => info
        8-9 range {"key":"a","end":"c"} => {"kvs":[["b","2",3,3,1,0]],"count":1} @4
        "#,
    );
    // The end of a lease whose time is over.
    holds(
        r#"
        0-1 grant {"lease":7,"ttl":2} => {"ttl":2} @1
        2-3 put {"key":"a","value":"1","lease":7} => {} @2
        1990-2001 range {"key":"a"} => {"kvs":[],"count":0} @3
        "#,
    );
}

#[test]
fn revisions_order_all_writes_as_real_time_does() {
    breaks(
        "same-revision",
        &[0, 1],
        r#"
        0-5 put {"key":"a","value":"1"} => {} @2
        1-4 put {"key":"b","value":"2"} => {} @2
        "#,
    );
    breaks(
        "revision-goes-back",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @3
        2-3 put {"key":"b","value":"2"} => {} @2
        "#,
    );
    breaks(
        "stale-read",
        &[1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"b","value":"2"} => {} @3
        4-5 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @2
        "#,
    );
    breaks(
        "revision-goes-back",
        &[0, 1, 2],
        r#"
        0-1 range {"key":"a"} => {"kvs":[],"count":0} @5
        2-3 put {"key":"a","value":"1"} => info
        4-5 range {"key":"a"} => {"kvs":[["a","1",4,4,1,0]],"count":1} @5
        "#,
    );
}

#[test]
fn a_read_shows_the_state_of_its_revision() {
    breaks(
        "lost-write",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 range {"key":"a"} => {"kvs":[],"count":0} @2
        "#,
    );
    breaks(
        "lost-write",
        &[0, 1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2"} => {} @3
        4-5 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @3
        "#,
    );
    breaks(
        "never-written",
        &[0],
        r#"
        0-1 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @3
        "#,
    );
    breaks(
        "never-written",
        &[0, 1],
        r#"
        0-1 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @2
        2-3 put {"key":"a","value":"1"} => info
        "#,
    );
    breaks(
        "refused-write",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => fail
        2-3 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @2
        "#,
    );
    breaks(
        "wrong-revision",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @3
        2-3 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @3
        "#,
    );
    breaks(
        "undeleted",
        &[0, 1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 delete {"key":"a"} => {"deleted":1} @3
        4-5 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @3
        "#,
    );
    breaks(
        "wrong-version",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 range {"key":"a"} => {"kvs":[["a","1",2,2,2,0]],"count":1} @2
        "#,
    );
    breaks(
        "wrong-lease",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 range {"key":"a"} => {"kvs":[["a","1",2,2,1,9]],"count":1} @2
        "#,
    );
    breaks(
        "written-twice",
        &[0, 1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => info
        2-3 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @2
        4-5 range {"key":"a"} => {"kvs":[["a","1",2,3,2,0]],"count":1} @3
        "#,
    );
    breaks(
        "malformed-answer",
        &[0],
        r#"
        0-1 range {"key":"a"} => {"kvs":[],"count":1} @2
        "#,
    );
}

#[test]
fn a_read_returns_no_more_than_its_limit() {
    let writes = r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"b","value":"2"} => {} @3
    "#;
    let read = |limit: i64, more: bool| {
        format!(
            r#"{writes}4-5 range {{"key":"a","end":"z","limit":{limit}}} => {{"kvs":[["a","1",2,2,1,0],["b","2",3,3,1,0]],"count":2,"more":{more}}} @3"#
        )
    };
    breaks("malformed-answer", &[2], &read(1, false));
    breaks("malformed-answer", &[2], &read(1, true));
    let violation = violation(&ops(&read(1, false)));
    assert!(
        violation
            .sentence
            .contains("returns 2 keys, although it was asked for 1 at most"),
        "{violation}"
    );
    // None at all, or one that is not reached.
    for limit in [-1, 0, 2, 3] {
        holds(&read(limit, false));
    }
    breaks(
        "malformed-answer",
        &[2],
        &format!(
            r#"{writes}4-5 txn {{"if":[],"then":[{{"range":{{"key":"a","end":"z","limit":1}}}}],"else":[]}} => {{"succeeded":true,"results":[{{"range":{{"kvs":[["a","1",2,2,1,0],["b","2",3,3,1,0]],"count":2}}}}]}} @3"#
        ),
    );
}

#[test]
fn it_is_told_what_is_wrong_with_a_value_of_the_right_revision() {
    let told = |range: &str, end: &str| {
        let all = ops(&format!(
            r#"
            0-1 put {{"key":"a","value":"1"}} => {{}} @2
            2-3 range {{"key":"a"}} => {range} @2
            "#
        ));
        let sentence = violation(&all).sentence;
        assert!(sentence.ends_with(end), "{sentence}");
    };
    let lease = r#"{"kvs":[["a","1",2,2,1,9]],"count":1}"#;
    told(
        lease,
        "but it was written with no lease, and is said to have lease 9",
    );
    let version = r#"{"kvs":[["a","1",2,2,2,0]],"count":1}"#;
    told(version, "but that was version 1 of it");
    let created = r#"{"kvs":[["a","1",1,2,1,0]],"count":1}"#;
    let end = "but it was created at revision 2, and is said to have been at revision 1";
    told(created, end);
    let count = r#"{"kvs":[["a","1",2,2,1,0]],"count":2}"#;
    let end = "the answer to `range {\"key\":\"a\"}` counts 2 keys, returns 1, and says that there are no more";
    told(count, end);
}

#[test]
fn deletions_of_unknown_outcome_explain_no_more_than_they_can() {
    // It would have taken the other key too, which was there, whatever came of its write.
    for answer in ["{} @3", "info"] {
        let all = ops(&format!(
            r#"
            0-1 put {{"key":"a","value":"1"}} => {{}} @2
            2-3 put {{"key":"b","value":"2"}} => {answer}
            4-5 delete {{"key":"a","end":"c"}} => info
            6-7 range {{"key":"a","end":"c"}} => {{"kvs":[["b","2",3,3,1,0]],"count":1}} @4
            "#
        ));
        let violation = violation(&all);
        assert_eq!(violation.kind.name, "lost-write", "{violation}");
        let invoked = violation.witness.iter().map(|op| op.invoked.time_ns);
        let proof = [0, 3].map(|index: usize| all[index].invoked);
        assert!(invoked.eq(proof), "{violation}");
    }
    // There is no revision left for it.
    breaks(
        "lost-write",
        &[0, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 delete {"key":"a"} => info
        4-5 range {"key":"a"} => {"kvs":[],"count":0} @2
        "#,
    );
    // It began too late.
    breaks(
        "lost-write",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 range {"key":"a"} => {"kvs":[],"count":0} @3
        4-5 delete {"key":"a"} => info
        "#,
    );
}

#[test]
fn however_many_puts_may_have_happened_they_take_no_key_away() {
    let unknown = |n: u64| {
        let (begin, end) = (2 * n, 2 * n + 1);
        format!("{begin}-{end} put {{\"key\":\"a\",\"value\":\"unknown {n}\"}} => info\n")
    };
    let unknown: String = (1..=12).map(unknown).collect();
    let begin = format!("0-1 put {{\"key\":\"a\",\"value\":\"1\"}} => {{}} @2\n{unknown}");
    let absent = r#"
        40-41 put {"key":"b","value":"2"} => {} @40
        42-43 range {"key":"a"} => {"kvs":[],"count":0} @40
        "#;
    let created_anew = r#"
        40-41 put {"key":"a","value":"2"} => {} @40
        42-43 range {"key":"a"} => {"kvs":[["a","2",40,40,1,0]],"count":1} @40
        "#;
    for end in [absent, created_anew] {
        violation(&ops(&format!("{begin}{end}")));
        holds(&format!(
            "{begin}30-31 delete {{\"key\":\"a\"}} => info\n{end}"
        ));
    }
    // One with a lease does, when that ends.
    let leased = r#"
        30-31 grant {"lease":7,"ttl":2} => {"ttl":2} @2
        32-33 put {"key":"a","value":"leased","lease":7} => info
        "#;
    let absent = r#"
        3000-3001 put {"key":"b","value":"2"} => {} @40
        3002-3003 range {"key":"a"} => {"kvs":[],"count":0} @40
        "#;
    holds(&format!("{begin}{leased}{absent}"));
}

#[test]
fn counts_and_previous_versions_are_of_the_state_too() {
    breaks(
        "wrong-count",
        &[0, 1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"b","value":"2"} => {} @3
        4-5 range {"key":"a","end":"c","count_only":true} => {"count":1} @3
        "#,
    );
    breaks(
        "wrong-previous",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2","prev_kv":true} => {} @3
        "#,
    );
    breaks(
        "wrong-previous",
        &[0],
        r#"
        0-1 delete {"key":"a"} => {"deleted":1} @3
        "#,
    );
}

#[test]
fn a_transaction_happens_as_a_whole_and_on_its_conditions() {
    breaks(
        "torn-txn",
        &[0, 1],
        r#"
        0-1 txn {"if":[],"then":[{"put":{"key":"a","value":"1"}},{"put":{"key":"b","value":"2"}}]} => {"succeeded":true,"results":[{"put":{}},{"put":{}}]} @3
        2-3 range {"key":"a","end":"c"} => {"kvs":[["a","1",2,2,1,0],["b","2",3,3,1,0]],"count":2} @3
        "#,
    );
    breaks(
        "torn-txn",
        &[0, 1],
        r#"
        0-1 txn {"if":[],"then":[{"put":{"key":"a","value":"1"}},{"put":{"key":"b","value":"2"}}]} => info
        2-3 range {"key":"a","end":"c"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @2
        "#,
    );
    breaks(
        "txn-condition",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 txn {"if":[["create","a","=",0]],"then":[{"put":{"key":"b","value":"2"}}]} => {"succeeded":true,"results":[{"put":{}}]} @3
        "#,
    );
}

#[test]
fn a_serializable_read_shows_the_state_of_its_header_and_a_historic_one_of_its_revision() {
    breaks(
        "serializable-state",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 range {"key":"a","serializable":true} => {"kvs":[],"count":0} @2
        "#,
    );
    breaks(
        "historic-state",
        &[0, 1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2"} => {} @3
        4-5 range {"key":"a","revision":2} => {"kvs":[["a","2",2,3,2,0]],"count":1} @3
        "#,
    );
}

#[test]
fn keys_go_with_their_lease_all_at_once_and_not_before_its_time() {
    breaks(
        "lease-left-keys",
        &[0, 1, 2, 3],
        r#"
        0-1 grant {"lease":7,"ttl":5} => {"ttl":5} @1
        2-3 put {"key":"a","value":"1","lease":7} => {} @2
        4-5 revoke {"lease":7} => null @3
        6-7 range {"key":"a"} => {"kvs":[["a","1",2,2,1,7]],"count":1} @3
        "#,
    );
}

#[test]
fn a_lease_that_ends_by_itself_takes_all_of_its_keys() {
    let text = r#"
        0-1 grant {"lease":7,"ttl":2} => {"ttl":2} @1
        2-3 txn {"if":[],"then":[{"put":{"key":"a","value":"1","lease":7}},{"put":{"key":"b","value":"2","lease":7}}]} => {"succeeded":true,"results":[{"put":{}},{"put":{}}]} @2
        3000-3001 range {"key":"a"} => {"kvs":[],"count":0} @3
        3002-3003 range {"key":"b"} => {"kvs":[["b","2",2,2,1,7]],"count":1} @3
    "#;
    let violation = violation(&ops(text));
    assert_eq!(violation.kind.name, "lease-left-keys", "{violation}");
}

#[test]
fn leases_live_as_long_as_they_were_promised() {
    breaks(
        "lease-early",
        &[0, 1, 3],
        r#"
        0-1 grant {"lease":7,"ttl":2} => {"ttl":2} @1
        2-3 put {"key":"a","value":"1","lease":7} => {} @2
        4-5 put {"key":"b","value":"2"} => {} @3
        1990-1995 range {"key":"a"} => {"kvs":[],"count":0} @4
        "#,
    );
    breaks(
        "lease-early",
        &[0, 1, 2, 3],
        r#"
        0-1 grant {"lease":7,"ttl":2} => {"ttl":2} @1
        2-3 put {"key":"a","value":"1","lease":7} => {} @2
        1000-1001 keep-alive {"lease":7} => {"ttl":2} @2
        2500-2501 range {"key":"a"} => {"kvs":[],"count":0} @3
        "#,
    );
    breaks(
        "lease-early",
        &[0, 1],
        r#"
        0-1 grant {"lease":7,"ttl":2} => {"ttl":2} @1
        1000-1001 keep-alive {"lease":7} => {"ttl":0} @1
        "#,
    );
    breaks(
        "lease-ttl",
        &[0],
        r#"
        0-1 grant {"lease":7,"ttl":5} => {"ttl":2} @1
        "#,
    );
    // Nobody was told when it ends by itself, which it does not.
    let revoked_at_most = r#"
        0-1 grant {"lease":7,"ttl":-1} => {"ttl":-1} @1
        100000-100001 keep-alive {"lease":7} => {"ttl":0} @1
    "#;
    breaks("lease-early", &[0, 1], revoked_at_most);
    let told = violation(&ops(revoked_at_most)).sentence.to_string();
    assert!(
        told.ends_with("but nobody had revoked it, and nothing else could end it"),
        "{told}"
    );
    // A grant that may come yet promises nothing either.
    holds(
        r#"
        0-1 grant {"lease":7,"ttl":2} => info
        1000-1001 put {"key":"a","value":"1","lease":7} => {"refused":"lease-not-found"}
        "#,
    );
    // A renewal whose answer is lost promises nothing.
    holds(
        r#"
        0-1 grant {"lease":7,"ttl":2} => {"ttl":2} @1
        2-3 put {"key":"a","value":"1","lease":7} => {} @2
        1000-1001 keep-alive {"lease":7} => info
        2500-2501 range {"key":"a"} => {"kvs":[],"count":0} @3
        "#,
    );
}

#[test]
fn a_lease_that_is_gone_or_was_never_granted_serves_nobody() {
    breaks(
        "dead-lease",
        &[0],
        r#"
        0-1 put {"key":"a","value":"1","lease":7} => {} @2
        "#,
    );
    let text = r#"
        0-1 grant {"lease":7,"ttl":2} => {"ttl":2} @1
        2-3 revoke {"lease":7} => null @1
        4-5 put {"key":"a","value":"1","lease":7} => {} @2
    "#;
    assert_eq!(violation(&ops(text)).kind.name, "dead-lease");
    breaks(
        "lease-keys",
        &[1],
        r#"
        0-1 grant {"lease":7,"ttl":2} => {"ttl":2} @1
        2-3 time-to-live {"lease":7} => {"ttl":1,"keys":["a"]} @1
        "#,
    );
    // Who was told that the lease is gone finds none of its keys.
    let text = r#"
        0-1 grant {"lease":7,"ttl":2} => {"ttl":2} @1
        2-3 put {"key":"a","value":"1","lease":7} => {} @2
        3000-3001 put {"key":"b","value":"2","lease":7} => {"refused":"lease-not-found"}
        3002-3003 range {"key":"a"} => {"kvs":[["a","1",2,2,1,7]],"count":1} @2
    "#;
    let violation = violation(&ops(text));
    assert_eq!(violation.kind.name, "lease-left-keys", "{violation}");
}

#[test]
fn compacted_and_future_revisions_are_answered_as_such() {
    breaks(
        "compacted-read",
        &[2, 3],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2"} => {} @3
        4-5 compact {"revision":3} => null @3
        6-7 range {"key":"a","revision":2} => {"kvs":[["a","1",2,2,1,0]],"count":1} @3
        "#,
    );
    breaks(
        "false-compacted",
        &[1],
        r#"
        0-1 compact {"revision":3} => null @5
        2-3 range {"key":"a","revision":3} => {"refused":"compacted"}
        "#,
    );
    breaks(
        "false-future",
        &[0, 1],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 range {"key":"a","revision":2} => {"refused":"future"}
        "#,
    );
    breaks(
        "future-read",
        &[0],
        r#"
        0-1 range {"key":"a","revision":5} => {"kvs":[],"count":0} @4
        "#,
    );
}

#[test]
fn compactions_of_others_are_possible_where_the_history_says_so() {
    let ops = ops(r#"0-1 range {"key":"a","revision":3} => {"refused":"compacted"}"#);
    let parameters = r#"{"others_compact":true}"#;
    let history = support::history("etcd", parameters, &ops);
    assert!(check(&history, Model::Etcd).unwrap().is_valid());
}

/// Two writes, and a watch of them with these notices.
fn watched(notices: &str) -> String {
    let writes = r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"b","value":"2"} => {} @3
        4-5 watch {"watch":1,"key":"a","end":"c","start":2,"prev_kv":true} => null @3
    "#;
    format!("{writes}{notices}")
}

/// What was acknowledged and a watch never heard of is lost, whatever else a write of unknown
/// outcome may explain.
#[test]
fn what_a_watch_lost_for_certain_needs_no_write_of_unknown_outcome() {
    let before = r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-20 delete {"key":"a"} => info
        4-5 put {"key":"a","value":"2"} => {} @4
        6-7 range {"key":"a"} => {"kvs":[["a","2",4,4,1,0]],"count":1} @4"#;
    let written = r#"
        8-9 put {"key":"a","value":"3"} => {} @5
        12-13 watch {"watch":1,"key":"a","start":5} => null @5
        14-15 notice {} => {"watch":1} @5"#;
    breaks(
        "watch-lost-event",
        &[4, 5, 6],
        &format!("{before}{written}"),
    );
    let deleted = r#"
        8-9 delete {"key":"a"} => {"deleted":1} @5
        10-11 put {"key":"a","value":"3"} => {} @6
        12-13 watch {"watch":1,"key":"a","start":5} => null @6
        14-15 notice {} => {"watch":1,"events":[{"put":[["a","3",6,6,1,0],null]}]} @6"#;
    let all = ops(&format!("{before}{deleted}"));
    let violation = violation(&all);
    assert_eq!(violation.kind.name, "watch-lost-event", "{violation}");
    let invoked = violation.witness.iter().map(|op| op.invoked.time_ns);
    let proof = [4, 6, 7].map(|index: usize| all[index].invoked);
    assert!(invoked.eq(proof), "{violation}");
    // Who has only read it knows it as well.
    let seen = r#"
        0-20 put {"key":"a","value":"1"} => info
        4-5 range {"key":"a"} => {"kvs":[["a","1",2,2,1,0]],"count":1} @2
        12-13 watch {"watch":1,"key":"a","start":2} => null @2
        14-15 notice {} => {"watch":1} @2"#;
    let violation = self::violation(&ops(seen));
    assert_eq!(violation.kind.name, "watch-lost-event", "{violation}");
    assert_eq!(violation.witness.len(), 3, "{violation}");
}

#[test]
fn a_watch_hears_of_everything_in_order_once_and_as_a_whole() {
    breaks(
        "watch-lost-event",
        &[0, 2, 3],
        &watched(r#"6-7 notice {} => {"watch":1,"events":[{"put":[["b","2",3,3,1,0],null]}]} @3"#),
    );
    breaks(
        "watch-unordered",
        &[2, 3, 4],
        &watched(
            r#"6-7 notice {} => {"watch":1,"events":[{"put":[["b","2",3,3,1,0],null]}]} @3
               8-9 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @3"#,
        ),
    );
    breaks(
        "watch-duplicate",
        &[2, 3, 4],
        &watched(
            r#"6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @3
               8-9 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @3"#,
        ),
    );
    breaks(
        "watch-torn",
        &[1, 2, 3],
        r#"
        0-1 txn {"if":[],"then":[{"put":{"key":"a","value":"1"}},{"put":{"key":"b","value":"2"}}]} => {"succeeded":true,"results":[{"put":{}},{"put":{}}]} @2
        4-5 watch {"watch":1,"key":"a","end":"c","start":2} => null @3
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @3
        8-9 notice {} => {"watch":1,"events":[{"put":[["b","2",2,2,1,0],null]}]} @3
        "#,
    );
    // Unless it says so.
    holds(
        r#"
        0-1 txn {"if":[],"then":[{"put":{"key":"a","value":"1"}},{"put":{"key":"b","value":"2"}}]} => {"succeeded":true,"results":[{"put":{}},{"put":{}}]} @2
        4-5 watch {"watch":1,"key":"a","end":"c","start":2} => null @3
        6-7 notice {} => {"watch":1,"fragment":true,"events":[{"put":[["a","1",2,2,1,0],null]}]} @3
        8-9 notice {} => {"watch":1,"events":[{"put":[["b","2",2,2,1,0],null]}]} @3
        "#,
    );
}

#[test]
fn a_watch_begins_where_it_was_asked_to_and_keeps_to_its_filters() {
    breaks(
        "watch-before-start",
        &[1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        4-5 watch {"watch":1,"key":"a","start":9} => null @3
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @3
        "#,
    );
    breaks(
        "watch-before-start",
        &[1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        4-5 watch {"watch":1,"key":"a","start":0} => null @2
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @3
        "#,
    );
    breaks(
        "watch-filter",
        &[1, 2],
        r#"
        0-1 put {"key":"b","value":"1"} => {} @2
        4-5 watch {"watch":1,"key":"a","start":2} => null @3
        6-7 notice {} => {"watch":1,"events":[{"put":[["b","1",2,2,1,0],null]}]} @3
        "#,
    );
    breaks(
        "watch-filter",
        &[1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        4-5 watch {"watch":1,"key":"a","start":2,"no_put":true} => null @3
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @3
        "#,
    );
}

#[test]
fn what_a_watch_was_told_of_progress_holds() {
    breaks(
        "watch-progress",
        &[2, 3, 4],
        &watched(
            r#"6-7 notice {} => {"watch":1} @2
               8-9 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @3"#,
        ),
    );
    let event = r#"6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]},{"put":[["b","2",3,3,1,0],null]}]} @3"#;
    let progress = |at: u64, revision: i64| {
        format!(
            "\n{at}-{} notice {{}} => {{\"watch\":1}} @{revision}",
            at + 1
        )
    };
    // It goes back behind an event, or behind what was told of progress.
    breaks(
        "watch-progress",
        &[2, 3, 4],
        &watched(&format!("{event}{}", progress(8, 2))),
    );
    breaks(
        "watch-progress",
        &[2, 3, 4],
        &watched(&format!("{}{}", progress(6, 3), progress(8, 2))),
    );
    holds(&watched(&format!(
        "{event}{}{}",
        progress(8, 3),
        progress(10, 3)
    )));
    // Of all watches of a stream at once.
    breaks(
        "watch-lost-event",
        &[0, 1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        4-5 watch {"watch":1,"stream":5,"key":"a","start":2} => null @3
        6-7 notice {} => {"stream":5} @3
        "#,
    );
    breaks(
        "watch-header",
        &[2, 3],
        &watched(r#"6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @1"#),
    );
    breaks(
        "false-compacted",
        &[2, 3],
        &watched(r#"6-7 notice {} => {"watch":1,"compacted":3} @0"#),
    );
}

#[test]
fn a_watch_hears_of_what_happened_and_as_it_happened() {
    breaks(
        "watch-invented-event",
        &[1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        4-5 watch {"watch":1,"key":"a","start":2} => null @3
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]},{"delete":["a",4,null]}]} @4
        "#,
    );
    breaks(
        "watch-invented-event",
        &[0, 1],
        r#"
        4-5 watch {"watch":1,"key":"a","start":2} => null @3
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @4
        "#,
    );
    breaks(
        "watch-wrong-event",
        &[0, 1, 2],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        4-5 watch {"watch":1,"key":"a","start":2} => null @3
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,2,0],null]}]} @4
        "#,
    );
    breaks(
        "watch-wrong-previous",
        &[0, 2, 3],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2"} => {} @3
        4-5 watch {"watch":1,"key":"a","start":3,"prev_kv":true} => null @3
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","2",2,3,2,0],null]}]} @3
        "#,
    );
    // What is compacted cannot be sent.
    holds(
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2"} => {} @3
        4-5 watch {"watch":1,"key":"a","start":3,"prev_kv":true} => null @3
        4-8 compact {"revision":3} => null @3
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","2",2,3,2,0],null]}]} @3
        "#,
    );
}

#[test]
fn what_one_watch_heard_of_another_one_lost() {
    // Nobody knows whether the write happened, but for the first watch.
    let text = r#"
        0-1 put {"key":"a","value":"1"} => info
        2-3 put {"key":"a","value":"2"} => info
        4-5 watch {"watch":1,"key":"a","start":2} => null @1
        6-7 watch {"watch":2,"key":"a","start":2} => null @1
        8-9 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]},{"put":[["a","2",2,3,2,0],null]}]} @3
        10-11 notice {} => {"watch":2,"events":[{"put":[["a","2",2,3,2,0],null]}]} @3
    "#;
    assert_eq!(violation(&ops(text)).kind.name, "watch-lost-event");
}

/// Only the deletion that began first can have come before the second put; then the
/// other one is what the watch heard of.
#[test]
fn a_deletion_that_no_watch_heard_of_keeps_who_explains_it() {
    holds(
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-9 delete {"key":"a"} => info
        3-4 put {"key":"a","value":"2","prev_kv":true} => {"prev":null} @4
        5-9 delete {"key":"a"} => info
        6-7 watch {"watch":1,"key":"a","start":5} => null @4
        8-9 notice {} => {"watch":1,"events":[{"delete":["a",5,null]}]} @5
        "#,
    );
}

#[test]
fn the_time_at_which_a_watch_hears_of_something_decides_nothing() {
    // The read began after the event was there, and is older all the same: a member
    // may deliver events before another one has heard of the write.
    holds(
        r#"
        0-9 put {"key":"a","value":"1"} => {} @2
        1-2 watch {"watch":1,"key":"a","start":2} => null @1
        3-4 notice {} => {"watch":1,"events":[{"put":[["a","1",2,2,1,0],null]}]} @2
        5-6 range {"key":"a","serializable":true} => {"kvs":[],"count":0} @1
        "#,
    );
}

#[test]
fn a_watch_that_never_hears_of_the_end_is_stuck() {
    let ops = ops(r#"
        0-1 watch {"watch":1,"key":"a","start":2} => null @1
        2-3 follow null => open
        "#);
    let history = with_mark(
        &ops,
        etcd_checker::history::LIVENESS_DEADLINE,
        9_000_000_000,
    );
    let verdict = check(&history, Model::Etcd).unwrap();
    let violation = verdict.violation().expect("it never ended");
    assert_eq!(
        (violation.kind.name, violation.class),
        ("stuck", Class::Liveness)
    );
}

#[test]
fn compactions_by_the_environment_are_possible_from_the_first_one_on() {
    let ops = ops(r#"2-3 range {"key":"a","revision":3} => {"refused":"compacted"}"#);
    for name in ["compaction", "compaction-at-revision"] {
        for (time, is_valid) in [(0, true), (9_000_000_000, false)] {
            let history = with_mark(&ops, name, time);
            let verdict = check(&history, Model::Etcd).unwrap();
            assert_eq!(verdict.is_valid(), is_valid, "{name} at {time} ns");
        }
    }
}

/// A history in which the environment is seen to do something, after so many
/// nanoseconds.
fn with_mark(ops: &[support::Op], name: &'static str, time: u64) -> etcd_checker::History {
    let (header, mut events) = etcd_history(ops).into_parts();
    let (process, kind) = (Process::Nemesis, EventKind::Info);
    let mark = Event::new(time, process, kind, name).with_value(events[0].value().clone());
    events.push(mark);
    events.sort_by_key(Event::time);
    etcd_checker::History::new(header, events).unwrap()
}

/// What is known to have happened, though nobody was told, is not to blame.
#[test]
fn a_value_that_nobody_wrote_is_named_beside_writes_of_unknown_outcome() {
    breaks(
        "never-written",
        &[5],
        r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2"} => info
        4-5 put {"key":"a","value":"3"} => {} @4
        6-7 range {"key":"a"} => {"kvs":[["a","3",2,4,3,0]],"count":1} @4
        8-9 put {"key":"b","value":"4"} => {} @5
        10-11 range {"key":"b"} => {"kvs":[["b","5",5,5,1,0]],"count":1} @5
        "#,
    );
}

#[test]
fn a_stale_read_is_named_beside_writes_of_unknown_outcome() {
    let stale = r#"
        0-1 put {"key":"b","value":"w1"} => {} @2
        2-3 put {"key":"b","value":"w2"} => {} @3
        4-5 range {"key":"b"} => {"kvs":[["b","w1",2,2,1,0]],"count":1} @3"#;
    let counted = r#"
        6-7 put {"key":"a","value":"v1"} => {} @4
        8-9 put {"key":"a","value":"v2"} => info
        10-11 put {"key":"a","value":"v3"} => {} @6
        12-13 range {"key":"a"} => {"kvs":[["a","v3",4,6,3,0]],"count":1} @6"#;
    breaks("lost-write", &[0, 1, 2], &format!("{stale}{counted}"));
}

#[test]
fn a_write_of_unknown_outcome_is_shown_by_who_was_told_of_it() {
    let all = ops(r#"
        0-1 watch {"watch":1,"key":"a","start":2} => null @1
        2-3 put {"key":"a","value":"v1"} => {} @2
        4-5 put {"key":"a","value":"v2"} => info
        6-7 notice {} => {"watch":1,"events":[{"put":[["a","v1",2,2,1,0],null]},{"put":[["a","v2",2,3,2,0],null]}]} @3
        8-9 range {"key":"a"} => {"kvs":[["a","v1",2,2,1,0]],"count":1} @4
        10-11 notice {} => {"watch":1} @4
        12-13 notice {} => {"watch":1} @5"#);
    let violation = violation(&all);
    assert_eq!(violation.kind.name, "lost-write", "{violation}");
    let listed: Vec<u64> = violation
        .witness
        .iter()
        .map(|op| op.invoked.time_ns)
        .collect();
    assert!(listed.contains(&all[3].invoked), "{violation}");
    assert!(listed.contains(&all[4].invoked), "{violation}");
}

/// Thousands of writes of which nobody knows whether they happened, and one answer that none of
/// them explains.
#[test]
fn among_thousands_of_writes_of_unknown_outcome_a_few_operations_are_the_proof() {
    type Fault = fn(&mut Store) -> bool;
    let faults: [(Fault, &str); 7] = [
        (Store::read_before_the_last_write, "lost-write"),
        (Store::read_as_absent, "vanished"),
        (Store::read_with_another_value, "wrong-version"),
        (Store::read_as_created_later, "wrong-version"),
        (Store::read_as_attached, "wrong-lease"),
        (Store::count_a_put_twice, "wrong-version"),
        (Store::count_more_than_were_asked_for, "wrong-version"),
    ];
    for (fault, kind) in faults {
        let mut store = Store::default();
        let mut random = support::Random(7);
        (0..6_000).for_each(|_| store.ask(&mut random));
        while !fault(&mut store) {
            store.ask(&mut random);
        }
        let wrong = store.lines.len() - 1;
        (0..6_000).for_each(|_| store.ask(&mut random));
        let all = ops(&store.lines.join("\n"));
        let violation = violation(&all);
        assert_eq!(violation.kind.name, kind, "{violation}");
        assert!(violation.witness.len() <= 3, "{violation}");
        assert!(violation.also.is_empty(), "{violation}");
        let mut listed = violation.witness.iter().map(|op| op.invoked.time_ns);
        assert!(listed.any(|at| at == all[wrong].invoked), "{violation}");
    }
}

/// A store of which many answers are lost.
#[derive(Default)]
struct Store {
    keys: [Option<Held>; 20],
    revision: i64,
    lines: Vec<String>,
}

#[derive(Clone, Copy)]
struct Held {
    value: usize,
    created: i64,
    modified: i64,
    count: i64,
    /// Whether the answer to the last write came.
    is_known: bool,
}

impl Held {
    fn shown(&self, key: usize) -> String {
        let Self {
            value,
            created,
            modified,
            count,
            ..
        } = self;
        format!(r#"["k{key}","v{value}",{created},{modified},{count},0]"#)
    }
}

impl Store {
    /// A read, a deletion or a put; of six changes one has no answer, and half of those do not
    /// happen.
    fn ask(&mut self, random: &mut support::Random) {
        let key = random.below(self.keys.len());
        let is_known = random.below(6) > 0;
        let happens = is_known || random.below(2) == 0;
        match random.below(4) {
            0 => self.read(key, self.keys[key].map(|held| held.shown(key))),
            1 => self.delete(key, is_known, happens),
            _ => self.put(key, is_known, happens),
        }
    }

    fn put(&mut self, key: usize, is_known: bool, happens: bool) {
        let value = self.lines.len();
        if happens {
            self.revision += 1;
            let before = self.keys[key];
            self.keys[key] = Some(Held {
                value,
                created: before.map_or(self.revision + 1, |before| before.created),
                modified: self.revision + 1,
                count: before.map_or(1, |before| before.count + 1),
                is_known,
            });
        }
        let request = format!(r#"put {{"key":"k{key}","value":"v{value}"}}"#);
        self.note(&request, "{}", is_known);
    }

    fn delete(&mut self, key: usize, is_known: bool, happens: bool) {
        let deleted = i64::from(happens && self.keys[key].is_some());
        self.revision += deleted;
        if deleted > 0 {
            self.keys[key] = None;
        }
        let request = format!(r#"delete {{"key":"k{key}"}}"#);
        self.note(&request, &format!(r#"{{"deleted":{deleted}}}"#), is_known);
    }

    fn read(&mut self, key: usize, shown: Option<String>) {
        let count = usize::from(shown.is_some());
        let shown = shown.unwrap_or_default();
        let answer = format!(r#"{{"kvs":[{shown}],"count":{count}}}"#);
        self.note(&format!(r#"range {{"key":"k{key}"}}"#), &answer, true);
    }

    fn note(&mut self, request: &str, answer: &str, is_known: bool) {
        let (at, revision) = (2 * self.lines.len(), self.revision + 1);
        let answer = match is_known {
            true => format!("{answer} @{revision}"),
            false => "info".to_owned(),
        };
        self.lines
            .push(format!("{at}-{} {request} => {answer}", at + 1));
    }

    /// A read that does not see what was written last.
    fn read_before_the_last_write(&mut self) -> bool {
        let there = (0..self.keys.len()).find_map(|key| Some((key, self.keys[key]?)));
        let Some((key, before)) = there else {
            return false;
        };
        self.put(key, true, true);
        self.read(key, Some(before.shown(key)));
        true
    }

    /// Reads a key as it is, and then as something else.
    fn read_otherwise(&mut self, other: impl Fn(&Held, usize) -> String) -> bool {
        let key = self.keys.iter().position(Option::is_some);
        let Some((key, held)) = key.and_then(|key| Some((key, self.keys[key]?))) else {
            return false;
        };
        self.read(key, Some(held.shown(key)));
        self.read(key, Some(other(&held, key)));
        true
    }

    fn read_with_another_value(&mut self) -> bool {
        // Some other write of this key wrote that.
        let held = self.keys[0];
        self.put(0, true, true);
        let Some(Held { value, .. }) = held else {
            return false;
        };
        self.read_otherwise(|held, key| Held { value, ..*held }.shown(key))
    }

    fn read_as_created_later(&mut self) -> bool {
        self.read_otherwise(|held, key| {
            let created = held.created + 1;
            Held { created, ..*held }.shown(key)
        })
    }

    fn read_as_attached(&mut self) -> bool {
        self.read_otherwise(|held, key| held.shown(key).replace(",0]", ",7]"))
    }

    fn count_a_put_twice(&mut self) -> bool {
        self.read_otherwise(|held, key| {
            let count = held.count + 1;
            Held { count, ..*held }.shown(key)
        })
    }

    /// From then on the version of a key is too large.
    fn count_more_than_were_asked_for(&mut self) -> bool {
        self.put(0, true, true);
        if let Some(held) = &mut self.keys[0] {
            held.count += 5_000;
        }
        self.read(0, self.keys[0].map(|held| held.shown(0)));
        true
    }

    /// A read that does not find what was written right before it.
    fn read_as_absent(&mut self) -> bool {
        let is_last = |held: &Held| held.is_known && held.modified == self.revision + 1;
        let last = self
            .keys
            .iter()
            .position(|held| held.as_ref().is_some_and(is_last));
        let Some(key) = last else { return false };
        self.read(key, None);
        true
    }
}

/// Whoever made a revision, a watch of all keys hears of it.
#[test]
fn a_watch_of_all_keys_hears_of_every_revision() {
    let begin = r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        2-3 put {"key":"a","value":"2"} => info
        4-5 put {"key":"a","value":"3"} => {} @4
    "#;
    let heard = r#"{"put":[["a","1",2,2,1,0],null]}"#;
    let later = r#"{"put":[["a","3",2,4,3,0],null]}"#;
    let watch = |key: &str, end: &str, start: i64, notices: &str| {
        format!(
            "{begin}6-7 watch {{\"watch\":1,\"key\":\"{key}\",\"end\":\"{end}\",\"start\":{start}}} => null @4\n{notices}"
        )
    };
    let both = format!(r#"8-9 notice {{}} => {{"watch":1,"events":[{heard},{later}]}} @4"#);
    breaks("watch-lost-event", &[3, 4], &watch("", "\\u0000", 1, &both));
    let progress = format!(
        r#"8-9 notice {{}} => {{"watch":1,"events":[{heard}]}} @2
        10-11 notice {{}} => {{"watch":1}} @3"#
    );
    breaks(
        "watch-lost-event",
        &[3, 5],
        &watch("", "\\u0000", 2, &progress),
    );
    let late = format!(r#"8-9 notice {{}} => {{"watch":1,"events":[{later}]}} @4"#);
    breaks(
        "watch-lost-event",
        &[3, 4],
        &watch("\\u0000", "\\u0000", 3, &late),
    );
    holds(&watch("", "\\u0000", 4, &late));
    // Others may have changed other keys.
    let begin = r#"
        0-1 put {"key":"a","value":"1"} => {} @2
        4-5 put {"key":"a","value":"3"} => {} @4
    "#;
    let later = r#"{"put":[["a","3",2,4,2,0],null]}"#;
    let notice = format!(r#"8-9 notice {{}} => {{"watch":1,"events":[{heard},{later}]}} @4"#);
    let watch = r#"6-7 watch {"watch":1,"key":"a","end":"c","start":1} => null @4"#;
    holds(&format!("{begin}{watch}\n{notice}"));
}

/// The changes of one revision come as the transaction made them, to all watches.
#[test]
fn watches_hear_of_one_revision_in_its_order() {
    let a = r#"{"put":[["a","1",2,2,1,0],null]}"#;
    let b = r#"{"put":[["b","1",2,2,1,0],null]}"#;
    let text = |outcome: &str, one: [&str; 2], other: [&str; 2]| {
        format!(
            r#"
            0-1 txn {{"if":[],"then":[{{"put":{{"key":"b","value":"1"}}}},{{"put":{{"key":"a","value":"1"}}}}],"else":[]}} => {outcome}
            2-3 watch {{"watch":1,"key":"a","end":"c","start":1}} => null @2
            4-5 watch {{"watch":2,"key":"a","end":"c","start":1}} => null @2
            6-7 notice {{}} => {{"watch":1,"events":[{},{}]}} @2
            8-9 notice {{}} => {{"watch":2,"events":[{},{}]}} @2
            "#,
            one[0], one[1], other[0], other[1]
        )
    };
    let done = r#"{"succeeded":true,"results":[{"put":{}},{"put":{}}]} @2"#;
    for outcome in [done, "info"] {
        holds(&text(outcome, [b, a], [b, a]));
        breaks(
            "watch-unordered",
            &[0, 2, 4],
            &text(outcome, [b, a], [a, b]),
        );
        breaks(
            "watch-unordered",
            &[0, 1, 3],
            &text(outcome, [a, b], [b, a]),
        );
    }
    // Those of a range are in the order of their keys; nobody knows who else deletes how.
    let deleted = |outcome: &str, [one, other]: [&str; 2]| {
        format!(
            r#"
            0-1 put {{"key":"a","value":"1"}} => {{}} @2
            2-3 put {{"key":"b","value":"1"}} => {{}} @3
            4-5 delete {{"key":"a","end":"c"}} => {outcome}
            6-7 watch {{"watch":1,"key":"a","end":"c","start":4}} => null @4
            8-9 watch {{"watch":2,"key":"a","end":"c","start":4}} => null @4
            10-11 notice {{}} => {{"watch":1,"events":[{{"delete":["a",4,null]}},{{"delete":["b",4,null]}}]}} @4
            12-13 notice {{}} => {{"watch":2,"events":[{{"delete":["{one}",4,null]}},{{"delete":["{other}",4,null]}}]}} @4
            "#
        )
    };
    for outcome in [r#"{"deleted":2} @4"#, "info"] {
        holds(&deleted(outcome, ["a", "b"]));
    }
    let by_whom = violation(&ops(&deleted(r#"{"deleted":2} @4"#, ["b", "a"])));
    assert_eq!(by_whom.kind.name, "watch-unordered", "{by_whom}");
    assert_eq!(by_whom.witness.len(), 3, "{by_whom}");
    breaks(
        "watch-unordered",
        &[3, 4, 5, 6],
        &deleted("info", ["b", "a"]),
    );
}
