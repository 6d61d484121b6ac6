//! What people read: names, sentences and witnesses; liveness; the bank.

#![expect(
    clippy::needless_pass_by_value,
    reason = "an expectation is written where it is used"
)]

use etcd_checker::{History, Model, Verdict, check};
use expect_test::{Expect, expect};

/// Checks events that are written as `process type f value [revision]`, one a line.
fn verdict(model: &str, parameters: &str, events: &str) -> Verdict {
    let mut text = format!(
        r#"{{"format":"etcd-recipes-history","version":1,"workload":"test","model":"{model}","source":{{"kind":"other"}},"parameters":{parameters}}}"#
    );
    for (time, event) in (1..).zip(
        events
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty()),
    ) {
        let words: Vec<&str> = event.split_whitespace().collect();
        let [process, kind, f, value, rest @ ..] = words.as_slice() else {
            panic!("{event}")
        };
        let revision = rest.first().map_or(String::new(), |revision| {
            format!(r#","revision":{revision}"#)
        });
        text += &format!(
            "\n{{\"time\":{time}000000000,\"process\":{process},\"type\":\"{kind}\",\"f\":\"{f}\",\"value\":{value}{revision}}}"
        );
    }
    let history = History::read_from(text.as_bytes()).unwrap();
    check(&history, Model::of(&history).unwrap()).unwrap()
}

#[track_caller]
fn queue(events: &str, expected: Expect) {
    expected.assert_eq(&verdict("fifo-queue", "{}", events).to_string());
}

#[track_caller]
fn txns(events: &str, expected: Expect) {
    expected.assert_eq(
        &verdict(
            "transactions",
            r#"{"initial":[["x","0",1],["y","0",1]]}"#,
            events,
        )
        .to_string(),
    );
}

#[track_caller]
fn bank(events: &str, expected: Expect) {
    let parameters = r#"{"initial":[["a",60,1],["b",40,1]],"accounts":["a","b"],"total":100,"allow_negative":false}"#;
    expected.assert_eq(&verdict("bank", parameters, events).to_string());
}

#[test]
fn a_valid_history_is_counted() {
    queue(
        r#" 0 invoke enqueue "a"
            0 ok enqueue "a"
            1 invoke enqueue "b"
            1 info enqueue null
            2 invoke dequeue null
            2 fail dequeue null
            3 invoke dequeue null "#,
        expect!["valid: 4 operations; dequeue: 0 ok 1 failed 1 open, enqueue: 1 ok 1 unknown"],
    );
}

#[test]
fn an_overtaken_value_that_a_lost_dequeue_cannot_have_taken() {
    queue(
        r#" 0 invoke enqueue "a"
            0 ok enqueue "a"
            0 invoke enqueue "b"
            0 ok enqueue "b"
            1 invoke dequeue null
            0 invoke enqueue "c"
            0 ok enqueue "c"
            0 invoke dequeue null
            0 ok dequeue "c" "#,
        expect![[r#"
            safety violation: VOrd-lost (values were overtaken and never left the queue)
            `a` and `b` were acknowledged before `c` was enqueued, which has been dequeued, but nobody ever got them; the only dequeue of unknown outcome can have taken but one of them
              lines 2-3  1.000000 s - 2.000000 s  process 0  enqueue "a" -> ok
              lines 4-5  3.000000 s - 4.000000 s  process 0  enqueue "b" -> ok
              lines 7-8  6.000000 s - 7.000000 s  process 0  enqueue "c" -> ok
              lines 9-10  8.000000 s - 9.000000 s  process 0  dequeue -> ok "c""#]],
    );
}

#[test]
fn a_lost_wake_up_breaks_liveness() {
    let events = r#"
        1 invoke dequeue null
        0 invoke enqueue "a"
        0 ok enqueue "a"
        "nemesis" info liveness-deadline {"bound_ns":5000000000} "#;
    queue(
        events,
        expect![[r#"
        liveness violation: stuck (an operation did not finish in the time that was allowed)
        dequeue by process 1, invoked at 1.000000 s, had not finished 5.000000 s after the last fault healed, although 1 acknowledged value was in the queue
          lines 2-end  1.000000 s - ...  process 1  dequeue -> still open at the end
          lines 3-4  2.000000 s - 3.000000 s  process 0  enqueue "a" -> ok"#]],
    );
    // Whoever died may have taken it.
    let excused = format!("2 invoke dequeue null\n2 info dequeue null\n{events}");
    assert!(verdict("fifo-queue", "{}", &excused).is_valid());
    // Nothing is wrong with waiting for nothing, nor without the mark.
    let empty = events.replace("0 ok enqueue", "0 fail enqueue");
    assert!(verdict("fifo-queue", "{}", &empty).is_valid());
    let unmarked = events.replace("liveness-deadline", "partition");
    assert!(verdict("fifo-queue", "{}", &unmarked).is_valid());
    // An enqueue has nothing to wait for.
    let open = r#" 0 invoke enqueue "a"
                   "nemesis" info liveness-deadline null "#;
    assert_eq!(
        verdict("fifo-queue", "{}", open)
            .violation()
            .unwrap()
            .kind
            .name,
        "stuck"
    );
    let txn = open.replace("enqueue \"a\"", "txn null");
    assert_eq!(
        verdict("transactions", "{}", &txn)
            .violation()
            .unwrap()
            .kind
            .name,
        "stuck"
    );
}

#[test]
fn safety_comes_before_liveness() {
    let events = r#"
        0 invoke dequeue null
        0 ok dequeue "x"
        1 invoke enqueue "a"
        "nemesis" info liveness-deadline null "#;
    assert_eq!(
        verdict("fifo-queue", "{}", events)
            .violation()
            .unwrap()
            .kind
            .name,
        "VFresh"
    );
}

#[test]
fn a_lost_update() {
    txns(
        r#" 0 invoke txn null
            1 invoke txn null
            0 ok txn [["r","x","0",1],["w","x","1"]] 2
            1 ok txn [["r","x","0",1],["w","x","2"]] 3 "#,
        expect![[r#"
            safety violation: lost-update (a write was overwritten by a transaction that had read the version before it)
            T2 read `x` before T1 wrote it, yet T2 overwrote `x` after T1 wrote it (T1 by process 0, line 2, T2 by process 1, line 3)
            also: G-single: the same
            also: strict-serializable was required; the strongest that holds is read-atomic, strong-read-committed; broken: cursor-stability, and with it 10 stronger models
              lines 2-4  1.000000 s - 3.000000 s  process 0  txn -> ok {r x = 0 @1, w x = 1} @2
              lines 3-5  2.000000 s - 4.000000 s  process 1  txn -> ok {r x = 0 @1, w x = 2} @3"#]],
    );
}

#[test]
fn write_skew() {
    txns(
        r#" 0 invoke txn null
            1 invoke txn null
            0 ok txn [["r","x","0",1],["w","y","1"]] 2
            1 ok txn [["r","y","0",1],["w","x","1"]] 3 "#,
        expect![[r#"
            safety violation: G2-item (write skew: transactions missed each other's writes)
            T1 read `x` before T2 wrote it, yet T2 read `y` before T1 wrote it (T1 by process 0, line 2, T2 by process 1, line 3)
            also: G-update: the same
            also: strict-serializable was required; the strongest that holds is strong-snapshot-isolation; broken: repeatable-read, update-serializable, and with it 3 stronger models
              lines 2-4  1.000000 s - 3.000000 s  process 0  txn -> ok {r x = 0 @1, w y = 1} @2
              lines 3-5  2.000000 s - 4.000000 s  process 1  txn -> ok {r y = 0 @1, w x = 1} @3"#]],
    );
}

#[test]
fn a_stale_read() {
    txns(
        r#" 0 invoke txn null
            0 ok txn [["w","x","1"]] 2
            1 invoke txn null
            1 ok txn [["r","x","0",1]] "#,
        expect![[r#"
            safety violation: G-single-realtime (read skew with what was acknowledged)
            T2 read `x` before T1 wrote it, yet T1 had been acknowledged before T2 began (T1 by process 0, line 2, T2 by process 1, line 4)
            also: strict-serializable was required; the strongest that holds is strong-session-serializable, strong-read-committed; broken: strong-snapshot-isolation, and with it 1 stronger model
              lines 2-3  1.000000 s - 2.000000 s  process 0  txn -> ok {w x = 1} @2
              lines 4-5  3.000000 s - 4.000000 s  process 1  txn -> ok {r x = 0 @1}"#]],
    );
}

#[test]
fn the_order_of_the_revisions_is_no_authority() {
    // The second read x before the first wrote it, but nobody can tell from that
    // which came first.
    let events = r#"
        0 invoke txn null
        1 invoke txn null
        0 ok txn [["w","x","1"]] 2
        1 ok txn [["r","x","0",1],["w","y","1"]] 3 "#;
    assert!(verdict("transactions", r#"{"initial":[["x","0",1]]}"#, events).is_valid());
}

#[test]
fn an_unknown_outcome_that_was_seen_counts() {
    let events = r#"
        0 invoke txn null
        0 info txn [["r","x","0",1],["w","x","1"]]
        1 invoke txn null
        1 ok txn [["r","x","1",2]] "#;
    assert!(verdict("transactions", r#"{"initial":[["x","0",1]]}"#, events).is_valid());
    txns(
        &events.replace("0 info", "0 fail"),
        expect![[r#"
            safety violation: G1a (aborted read: a value was seen whose writer had failed)
            a transaction by process 1 read `x` as `1` of revision 2, but the transaction that wrote it had failed and so did not happen
            also: strict-serializable was required; the strongest that holds is strong-read-uncommitted; broken: read-committed, and with it 17 stronger models
              lines 2-3  1.000000 s - 2.000000 s  process 0  txn -> fail {r x = 0 @1, w x = 1}
              lines 4-5  3.000000 s - 4.000000 s  process 1  txn -> ok {r x = 1 @2}"#]],
    );
    txns(
        &format!("{events}\n2 invoke txn null\n2 ok txn [[\"r\",\"x\",\"0\",1]]"),
        expect![[r#"
            safety violation: G-single-realtime (read skew with what was acknowledged)
            T2 read `x` before an unseen transaction at revision 2 wrote it, T1 read `x` as an unseen transaction at revision 2 wrote it, yet T1 had been acknowledged before T2 began (T1 by process 1, line 4, T2 by process 2, line 6)
            also: strict-serializable was required; the strongest that holds is strong-session-serializable, strong-read-committed; broken: strong-snapshot-isolation, and with it 1 stronger model
              lines 4-5  3.000000 s - 4.000000 s  process 1  txn -> ok {r x = 1 @2}
              lines 6-7  5.000000 s - 6.000000 s  process 2  txn -> ok {r x = 0 @1}"#]],
    );
}

#[test]
fn missing_revisions_leave_the_verdict_open() {
    txns(
        r#" 0 invoke txn null
            0 ok txn [["w","x","1"]] "#,
        expect![
            "unknown: the transaction that ends in line 3 wrote, but its revision is missing; the check needs revisions"
        ],
    );
}

#[test]
fn accounts_that_do_not_add_up() {
    bank(
        r#" 0 invoke txn null
            0 ok txn [["r","a","60",1],["r","b","40",1],["w","a","30"],["w","b","60"]] 2 "#,
        expect![[r#"
            safety violation: bank-total (the accounts do not add up)
            a transaction by process 0 left accounts that add up to 90 instead of 100
              lines 2-3  1.000000 s - 2.000000 s  process 0  txn -> ok {r a = 60 @1, r b = 40 @1, w a = 30, w b = 60} @2"#]],
    );
    bank(
        r#" 0 invoke txn null
            0 ok txn [["r","a","60",1],["r","b","40",1],["w","a","-10"],["w","b","110"]] 2 "#,
        expect![[r#"
            safety violation: bank-negative (an account is below zero)
            a transaction by process 0 left an account at -10, but none may be below zero
              lines 2-3  1.000000 s - 2.000000 s  process 0  txn -> ok {r a = 60 @1, r b = 40 @1, w a = -10, w b = 110} @2"#]],
    );
}

#[test]
fn the_cause_comes_before_the_wrong_total() {
    bank(
        r#" 0 invoke txn null
            1 invoke txn null
            0 ok txn [["r","a",60,1],["r","b",40,1],["w","a",30],["w","b",70]] 2
            1 ok txn [["r","a",60,1],["r","b",70,2]] "#,
        expect![[r#"
            safety violation: fractured-read (a transaction saw one write of another but not all)
            T2 read `a` before T1 wrote it, yet T2 read `b` as T1 wrote it (T1 by process 0, line 2, T2 by process 1, line 3)
            also: a transaction by process 1 saw accounts that add up to 130 instead of 100
            also: strict-serializable was required; the strongest that holds is strong-read-committed; broken: repeatable-read, consistent-view, read-atomic, and with it 8 stronger models
              lines 2-4  1.000000 s - 3.000000 s  process 0  txn -> ok {r a = 60 @1, r b = 40 @1, w a = 30, w b = 70} @2
              lines 3-5  2.000000 s - 4.000000 s  process 1  txn -> ok {r a = 60 @1, r b = 70 @2}"#]],
    );
}

#[test]
fn a_verdict_has_a_form_for_programs() {
    let events = r#" 0 invoke dequeue null
                     0 ok dequeue "x" "#;
    expect![[r#"{"verdict":"violation","class":"safety","kind":{"name":"VFresh","meaning":"a value was dequeued that had not been enqueued"},"sentence":"`x` was dequeued, but nobody ever enqueued it","witness":[{"process":0,"client":null,"invoked":{"line":2,"time_ns":1000000000},"completed":{"line":3,"time_ns":2000000000},"outcome":"ok","description":"dequeue -> ok \"x\""}],"also":[]}"#]].assert_eq(&serde_json::to_string(&verdict("fifo-queue", "{}", events)).unwrap());
    expect![[r#"{"verdict":"valid","operations":1,"by_operation":{"enqueue":{"ok":0,"fail":0,"info":0,"open":1}}}"#]].assert_eq(
        &serde_json::to_string(&verdict("fifo-queue", "{}", "0 invoke enqueue \"a\"")).unwrap(),
    );
}
