//! Violations of simple objects have the name that the literature gives them, and a sentence
//! about the operations that are listed, of which none can be spared.

use etcd_checker::history::{Json, Outcome};
use etcd_checker::{Model, Violation, check};
use serde_json::{Value, json};

use crate::support::{Op, history};

/// An operation that is known to have happened from one time to another.
#[expect(clippy::needless_pass_by_value, reason = "calls are easier to read")]
fn ok(during: (u64, u64), f: &'static str, asked: Value, answer: Value) -> Op {
    Op {
        f,
        invoke: Json::new(&asked).unwrap(),
        result: Json::new(&answer).unwrap(),
        outcome: Outcome::Ok,
        revision: None,
        invoked: during.0,
        returned: during.1,
    }
}

fn violation(model: &str, parameters: &str, ops: &[Op]) -> Violation {
    let history = history(model, parameters, ops);
    let verdict = check(&history, model.parse::<Model>().unwrap()).unwrap();
    verdict
        .violation()
        .unwrap_or_else(|| panic!("{verdict}"))
        .clone()
}

fn failed(during: (u64, u64), f: &'static str, asked: Value) -> Op {
    Op {
        outcome: Outcome::Fail,
        ..ok(during, f, asked, NOTHING)
    }
}

/// Every operation is needed, so the witness has all of them, and the sentence ends so.
#[track_caller]
fn assert_told(model: &str, parameters: &str, ops: &[Op], end: &str) {
    let violation = violation(model, parameters, ops);
    assert!(violation.sentence.ends_with(end), "{violation}");
    assert_eq!(violation.witness.len(), ops.len(), "{violation}");
}

/// Every operation is needed, so the witness has all of them.
#[track_caller]
fn assert_named(model: &str, parameters: &str, ops: &[Op], name: &str) {
    let violation = violation(model, parameters, ops);
    assert_eq!(violation.kind.name, name, "{violation}");
    assert_eq!(violation.witness.len(), ops.len(), "{violation}");
}

const NOTHING: Value = Value::Null;

/// Who takes it down between two who raise it may go on until later.
#[test]
fn barriers_that_were_taken_down_before() {
    let raised_twice = [
        ok((0, 5), "hold", NOTHING, json!(true)),
        ok((3, 14), "release", NOTHING, json!(true)),
        ok((4, 8), "hold", NOTHING, json!(true)),
        ok((6, 22), "release", NOTHING, json!(false)),
        ok((11, 15), "wait", NOTHING, NOTHING),
    ];
    let told = violation("barrier", "{}", &raised_twice);
    assert!(
        told.sentence.ends_with(
            "although the barrier stood: processes 0 and 2 had raised it by line 7, so it \
             was taken down between the two, and nobody is left who can have taken it down \
             before the wait returned"
        ),
        "{told}"
    );
    let listed: Vec<u64> = told.witness.iter().map(|one| one.process).collect();
    assert_eq!(listed, [0, 2, 3, 4], "{told}");

    let raised_once = [
        ok((0, 2), "hold", NOTHING, json!(true)),
        ok((4, 8), "wait", NOTHING, NOTHING),
    ];
    let told = violation("barrier", "{}", &raised_once);
    assert!(
        told.sentence.ends_with(
            "although the barrier stood: process 0 had raised it by line 3, and nobody \
             can have taken it down before the wait returned"
        ),
        "{told}"
    );
}

#[test]
fn reads_of_registers() {
    let read = |value: Value| {
        [
            ok((1, 2), "write", json!(1), NOTHING),
            ok((3, 4), "write", json!(2), NOTHING),
            ok((5, 6), "read", NOTHING, value),
        ]
    };
    for model in ["register", "cas-register"] {
        assert_named(model, "{}", &read(json!(1)), "stale-read");
        assert_named(model, "{}", &read(NOTHING)[1..], "stale-read");
        assert_named(model, "{}", &read(json!(3))[2..], "garbage-read");
    }
    let early = [
        ok((1, 2), "read", NOTHING, json!(1)),
        ok((3, 4), "write", json!(1), NOTHING),
    ];
    let early_get = [
        ok((1, 2), "get", json!("a"), json!(1)),
        ok((3, 4), "put", json!({"key": "a", "value": 1}), NOTHING),
    ];
    for (model, early) in [("register", &early), ("kv", &early_get)] {
        let found = violation(model, "{}", early);
        assert_eq!(found.kind.name, "future-read");
        let writer = "it met `1`, which was written only afterwards, by process ";
        assert!(found.sentence.contains(writer), "{found}");
        assert!(found.sentence.ends_with(" in line 4"), "{found}");
    }
}

#[test]
fn comparisons_of_registers() {
    let twice = [
        ok((1, 5), "cas", json!([0, 1]), json!(true)),
        ok((2, 6), "cas", json!([0, 2]), json!(true)),
    ];
    assert_named("cas-register", r#"{"initial":0}"#, &twice, "lost-update");
    let refused = [ok((1, 2), "cas", json!([0, 1]), json!(false))];
    assert_named(
        "cas-register",
        r#"{"initial":0}"#,
        &refused,
        "spurious-failure",
    );
    let never = [ok((1, 2), "cas", json!([7, 1]), json!(true))];
    assert_named("cas-register", r#"{"initial":0}"#, &never, "garbage-read");
    // Nobody else has written what it met.
    let same = [ok((1, 2), "cas", json!([2, 2]), json!(true))];
    let early = [never[0].clone(), ok((3, 4), "write", json!(7), NOTHING)];
    for (ops, name, meaning) in [
        (
            &same[..],
            "garbage-read",
            "a comparison met what nobody had written",
        ),
        (
            &never[..],
            "garbage-read",
            "a comparison met what nobody had written",
        ),
        (
            &early[..],
            "future-read",
            "a comparison met what was written only after it had returned",
        ),
    ] {
        for (model, key) in [("cas-register", None), ("kv", Some("a"))] {
            let mut ops = ops.to_vec();
            for op in ops.iter_mut().filter(|_| key.is_some()) {
                let value: Value = op.invoke.parse().unwrap();
                op.invoke = Json::new(&json!({"key": key, "value": value})).unwrap();
                op.f = if op.f == "write" { "put" } else { op.f };
            }
            let kind = violation(model, "{}", &ops).kind;
            assert_eq!((kind.name, kind.meaning), (name, meaning), "{model}");
        }
    }
}

#[test]
fn maps() {
    let key = |value: Value| json!({"key": "a", "value": value});
    let gone = [
        ok((1, 2), "put", key(json!("x")), NOTHING),
        ok((3, 4), "get", key(NOTHING), NOTHING),
    ];
    assert_named("kv", "{}", &gone, "stale-read");
    let never = [ok((1, 2), "get", key(NOTHING), json!("x"))];
    assert_named("kv", "{}", &never, "garbage-read");
    let appended = [
        ok((1, 2), "append", key(json!("x")), NOTHING),
        ok((3, 4), "append", key(json!("y")), NOTHING),
        ok((5, 6), "get", key(NOTHING), json!("y")),
    ];
    assert_eq!(
        violation("kv", "{}", &appended).kind.name,
        "non-linearizable"
    );
}

#[test]
fn locks_and_semaphores() {
    let reader = json!({"mode": "read"});
    for (model, parameters, asked) in [
        ("mutex", "{}", NOTHING),
        ("rwlock", "{}", json!({"mode": "write"})),
        ("semaphore", r#"{"permits":1}"#, NOTHING),
    ] {
        let two = [
            ok((1, 2), "acquire", asked.clone(), NOTHING),
            ok((3, 4), "acquire", asked.clone(), NOTHING),
        ];
        assert_named(model, parameters, &two, "mutual-exclusion");
        let refused = [ok((1, 2), "try-acquire", asked.clone(), json!(false))];
        assert_named(model, parameters, &refused, "spurious-failure");
        let released = [
            ok((1, 2), "release", asked.clone(), NOTHING),
            ok((3, 4), "acquire", asked, NOTHING),
        ];
        let violation = violation(model, parameters, &released);
        assert_eq!(violation.kind.name, "not-held", "{violation}");
    }
    let beside = [
        ok((1, 2), "acquire", reader, NOTHING),
        ok((3, 4), "acquire", json!({"mode": "write"}), NOTHING),
    ];
    assert_named("rwlock", "{}", &beside, "mutual-exclusion");
}

#[test]
fn counters() {
    let lost = [
        ok((1, 3), "increment", NOTHING, NOTHING),
        ok((2, 4), "increment", NOTHING, NOTHING),
        ok((5, 6), "read", NOTHING, json!(1)),
    ];
    assert_named("counter", "{}", &lost, "lost-update");
    // It may have been taken away.
    let mut taken = lost.to_vec();
    taken.push(ok((7, 8), "decrement", NOTHING, NOTHING));
    assert_eq!(
        violation("counter", "{}", &taken).kind.name,
        "non-linearizable"
    );
    let more = [ok((1, 2), "read", NOTHING, json!(1))];
    assert_named("counter", "{}", &more, "non-linearizable");
}

/// Somebody was told more before, or they would have to have met the same sum.
#[test]
fn sums_that_are_too_small_are_lost_updates() {
    let told_before = [
        ok((1, 9), "add", json!(2), NOTHING),
        ok((2, 3), "read", NOTHING, json!(2)),
        ok((4, 5), "read", NOTHING, json!(0)),
    ];
    let kind = |ops: &[Op]| violation("counter", "{}", ops).kind.name;
    assert_eq!(kind(&told_before), "lost-update");
    let at_once = [
        ok((1, 4), "add-and-get", json!(5), json!(5)),
        ok((2, 3), "add-and-get", json!(5), json!(5)),
    ];
    assert_named("counter", "{}", &at_once, "lost-update");
    // One of them comes first, and nobody knows which.
    let too_much = [
        ok((1, 4), "add-and-get", json!(5), json!(10)),
        ok((2, 3), "add-and-get", json!(5), json!(10)),
    ];
    assert_eq!(kind(&too_much), "non-linearizable");
}

/// A sum is a whole number however great it is.
#[test]
fn sums_do_not_go_round() {
    let around = [
        ok((1, 2), "add-and-get", json!(i64::MAX), json!(i64::MAX)),
        ok((3, 4), "increment", NOTHING, NOTHING),
        ok((5, 6), "read", NOTHING, json!(i64::MIN)),
    ];
    let below = violation("counter", "{}", &around);
    assert_eq!(below.kind.name, "lost-update", "{below}");
    let mut back = around.to_vec();
    back[2] = ok((5, 6), "get-and-add", json!(-1), json!(i64::MAX));
    let above = violation("counter", "{}", &back);
    assert!(
        above.sentence.ends_with("or the sum 9223372036854775808"),
        "{above}"
    );
    back[2] = ok((5, 6), "decrement", NOTHING, NOTHING);
    back.push(ok((7, 8), "read", NOTHING, json!(i64::MAX)));
    let back = history("counter", "{}", &back);
    assert!(check(&back, Model::Counter).unwrap().is_valid());
}

/// What others saw of an element tells as much as what was done to it.
#[test]
fn what_was_seen_of_elements_before_tells() {
    let (add, remove, contains) = ("add", "remove", "contains");
    let add_open = ok((0, 20), add, json!(2), NOTHING);
    let seen = ok((1, 2), contains, json!(2), json!(true));
    let missed = ok((3, 4), "read", NOTHING, json!([]));
    let kind = |model: &str, ops: &[Op], end: &str| {
        let violation = violation(model, "{}", ops);
        assert!(violation.sentence.ends_with(end), "{violation}");
        violation.kind.name
    };
    let lost = [add_open.clone(), seen.clone(), missed.clone()];
    let end = "it did not see `2`, which had been added, and nobody removed it";
    assert_eq!(kind("set", &lost, end), "lost-element");
    // Whoever removed it did so before it was seen, or only afterwards.
    let removed = [
        ok((0, 1), add, json!(2), NOTHING),
        ok((2, 3), remove, json!(2), NOTHING),
        ok((4, 20), add, json!(2), NOTHING),
        ok((5, 6), contains, json!(2), json!(true)),
        ok((7, 8), "read", NOTHING, json!([])),
    ];
    let end = "it did not see `2`, which had been added, and not removed again since";
    assert_eq!(kind("set", &removed, end), "stale-read");
    // It had been added when it was seen, so nobody can have added it again.
    let back = [
        add_open,
        seen,
        ok((3, 4), remove, json!(2), NOTHING),
        ok((5, 6), contains, json!(2), json!(true)),
    ];
    let end = "it saw `2`, which had been removed, and not added again since";
    assert_eq!(kind("set", &back, end), "stale-read");
    // Who found it inside did not add it.
    let found = [
        ok((0, 9), add, json!("a"), json!(false)),
        ok((1, 4), "read", NOTHING, json!(["a"])),
        ok((5, 12), add, json!("a"), json!(false)),
        ok((6, 10), contains, json!("a"), json!(true)),
    ];
    let end = "it saw `a`, which was added only afterwards";
    assert_eq!(kind("set", &found, end), "future-read");

    let members = [
        ok((0, 9), "join", json!("a"), NOTHING),
        ok((1, 2), "members", NOTHING, json!(["a"])),
        ok((3, 4), "members", NOTHING, json!([])),
    ];
    let end = "it did not see `a`, which had been added, and nobody removed it";
    assert_eq!(kind("membership", &members, end), "lost-element");
}

/// Two elements that come the other way round: each alone may be as it was seen.
#[test]
fn the_order_of_elements_has_no_name() {
    let ops = [
        ok((0, 9), "add", json!(1), NOTHING),
        ok((1, 8), "add", json!(2), NOTHING),
        ok((2, 5), "read", NOTHING, json!([1])),
        ok((3, 6), "read", NOTHING, json!([2])),
    ];
    let violation = violation("set", "{}", &ops);
    assert_eq!(violation.kind.name, "non-linearizable", "{violation}");
    assert!(
        violation
            .sentence
            .ends_with("it can only have met the set {1} or the set {1, 2}")
            || violation
                .sentence
                .ends_with("it can only have met the set {2} or the set {1, 2}"),
        "{violation}"
    );
}

#[test]
fn sets_and_groups() {
    for (model, add, remove, read) in [
        ("set", "add", "remove", "read"),
        ("membership", "join", "leave", "members"),
    ] {
        let lost = [
            ok((1, 2), add, json!("a"), NOTHING),
            ok((3, 4), read, NOTHING, json!([])),
        ];
        assert_named(model, "{}", &lost, "lost-element");
        assert_named(
            model,
            "{}",
            &[ok((1, 2), read, NOTHING, json!(["a"]))],
            "phantom-element",
        );
        let twice = [ok((1, 2), read, NOTHING, json!(["a", "a"]))];
        assert_named(model, "{}", &twice, "duplicate-element");
        let back = [
            ok((1, 2), add, json!("a"), NOTHING),
            ok((3, 4), remove, json!("a"), NOTHING),
            ok((5, 6), read, NOTHING, json!(["a"])),
        ];
        assert_named(model, "{}", &back, "stale-read");
        let mut again = back.to_vec();
        again[2] = ok((5, 6), add, json!("a"), NOTHING);
        again.push(ok((7, 8), read, NOTHING, json!([])));
        assert_eq!(violation(model, "{}", &again).kind.name, "stale-read");
        let early = [
            ok((1, 2), read, NOTHING, json!(["a"])),
            ok((3, 4), add, json!("a"), NOTHING),
        ];
        assert_eq!(violation(model, "{}", &early).kind.name, "future-read");
    }
    let refused = [ok((1, 2), "add", json!("a"), json!(false))];
    assert_named("set", "{}", &refused, "phantom-element");
}

/// A read of what only an operation wrote that failed is proved by that.
#[test]
fn what_failed_is_listed_where_it_is_the_proof() {
    let write = |f, asked: Value, read: &'static str, seen: Value| {
        [failed((1, 2), f, asked), ok((3, 4), read, NOTHING, seen)]
    };
    let register = write("write", json!(1), "read", json!(1));
    let end = "it can only have met the value null; `write 1` by process 0 failed";
    assert_told("register", "{}", &register, end);
    let set = write("add", json!("a"), "read", json!(["a"]));
    let end = "it saw `a`, which nobody added; `add \"a\"` by process 0 failed";
    assert_told("set", "{}", &set, end);
    let counter = write("add", json!(3), "read", json!(3));
    let end = "it can only have met the sum 0; `add 3` by process 0 failed";
    assert_told("counter", "{}", &counter, end);
    let mutex = [
        ok((1, 2), "acquire", NOTHING, NOTHING),
        failed((3, 4), "release", NOTHING),
        ok((5, 6), "acquire", NOTHING, NOTHING),
    ];
    assert_told("mutex", "{}", &mutex, "; `release` by process 1 failed");
    // Of those that do not matter nothing is said.
    let mut others = register.to_vec();
    others[0] = failed((1, 2), "write", json!(2));
    let violation = violation("register", "{}", &others);
    assert_eq!(violation.witness.len(), 1, "{violation}");
    assert!(
        violation
            .sentence
            .ends_with("can only have met the value null"),
        "{violation}"
    );
}

/// Values that no answer begins with are one to the search, but not to who reads of it.
#[test]
fn values_that_nobody_saw_are_named() {
    let key = |value: Value| json!({"key": "a", "value": value});
    let put = |during, value: &str| ok(during, "put", key(json!(value)), NOTHING);
    let stale = [
        put((1, 2), "v1"),
        put((3, 4), "v2"),
        ok((5, 6), "get", key(NOTHING), json!("v1")),
    ];
    assert_told("kv", "{}", &stale, "it can only have met the value \"v2\"");
    let cas = |during, values: [&str; 2]| ok(during, "cas", key(json!(values)), json!(true));
    let lost = [
        put((1, 2), "v1"),
        cas((3, 4), ["v1", "v2"]),
        cas((5, 6), ["v1", "v3"]),
    ];
    let sentence = violation("kv", "{}", &lost).sentence;
    let end = "it can only have met the value \"v2\"";
    assert!(sentence.ends_with(end), "{sentence}");
    let appended = [
        put((1, 2), "a"),
        ok((3, 4), "append", key(json!("b")), NOTHING),
        ok((5, 6), "get", key(NOTHING), json!("b")),
    ];
    let sentence = violation("kv", "{}", &appended).sentence;
    let end = "it can only have met the value \"a\" or the value \"ab\"";
    assert!(sentence.ends_with(end), "{sentence}");
}

#[test]
fn sums_that_a_counter_can_have_had_are_told() {
    let increment = |during| ok(during, "increment", NOTHING, NOTHING);
    let lost = [
        increment((1, 4)),
        increment((2, 5)),
        ok((6, 7), "read", NOTHING, json!(1)),
    ];
    assert_told("counter", "{}", &lost, "it can only have met the sum 2");
    let more = [
        increment((1, 9)),
        ok((2, 8), "decrement", NOTHING, NOTHING),
        ok((3, 7), "read", NOTHING, json!(4)),
    ];
    let violation = violation("counter", "{}", &more);
    let end = "it can only have met a sum from -1 to 1";
    assert!(violation.sentence.ends_with(end), "{violation}");
}

#[test]
fn a_semaphore_is_said_to_have_too_few_permits() {
    let all = [ok((1, 2), "acquire", json!(3), NOTHING)];
    let violation = violation("semaphore", r#"{"permits":2}"#, &all);
    assert_eq!(violation.kind.name, "mutual-exclusion", "{violation}");
    assert_eq!(
        violation.kind.meaning,
        "more permits were taken than there are"
    );
}

#[test]
fn more_permits_than_there_are_are_told() {
    let permits = |f, asked: i32, all: i32| {
        let ops = [ok((1, 2), f, json!(asked), NOTHING)];
        let violation = violation("semaphore", &format!("{{\"permits\":{all}}}"), &ops);
        assert_eq!(violation.witness.len(), 1, "{violation}");
        violation.sentence
    };
    assert!(permits("acquire", 3, 2).ends_with("it takes 3 permits, and there are only 2"));
    assert!(permits("acquire", 2, 1).ends_with("it takes 2 permits, and there is only 1"));
    assert!(permits("release", 3, 2).ends_with("it gives back 3 permits, and there are only 2"));
}

#[test]
fn the_sentence_is_about_the_operations_that_are_listed() {
    // The append of x is not needed, although the search gets stuck there first.
    let key = |value: Value| json!({"key": "a", "value": value});
    let ops = [
        ok((1, 7), "append", key(json!("x")), NOTHING),
        ok((2, 3), "put", key(json!("y")), NOTHING),
        ok((4, 5), "get", key(NOTHING), json!("y")),
        ok((8, 9), "get", key(NOTHING), json!("x")),
    ];
    let violation = violation("kv", "{}", &ops);
    assert!(
        violation
            .sentence
            .starts_with("`get {\"key\":\"a\",\"value\":null} -> ok \"x\"` by process 3 cannot be: given the other"),
        "{violation}"
    );
    assert!(
        violation
            .sentence
            .ends_with("it can only have met the value \"y\" or the value \"yx\""),
        "{violation}"
    );
    assert_eq!(violation.witness.len(), 2, "{violation}");
}

#[test]
fn an_empty_text_is_one_that_can_be_seen() {
    let ops = [ok((1, 2), "get", json!({"key": "a"}), json!(""))];
    let told = violation("kv", "{}", &ops).to_string();
    assert!(told.contains(r#"-> ok """#), "{told}");
    let ops = [
        ok((1, 2), "put", json!({"key": "a", "value": ""}), NOTHING),
        ok((3, 4), "get", json!({"key": "a"}), json!("x")),
    ];
    let told = violation("kv", "{}", &ops).to_string();
    println!("{told}");
}

/// A transaction that by itself cannot be is explained by what the others write.
#[test]
fn transactions_that_read_what_never_was() {
    let told = |ops: &[Op], end: &str| {
        let violation = violation("multi-register", r#"{"initial":0}"#, ops);
        assert!(violation.sentence.ends_with(end), "{violation}");
        assert_eq!(violation.witness.len(), 1, "{violation}");
    };
    let txn = |during, micro: Value| ok(during, "txn", micro.clone(), micro);
    let both = |value| json!([["w", "x", value], ["w", "y", value]]);
    let read = |x, y| json!([["r", "x", x], ["r", "y", y]]);
    told(
        &[txn((0, 1), both(1)), txn((2, 3), read(0, 1))],
        "`x = 0` and `y = 1` were never there at once: `x = 0` was so only at first, and only one \
         transaction writes `y = 1`, and `x = 1` with it",
    );
    told(
        &[
            txn((0, 9), both(1)),
            txn((0, 9), both(2)),
            txn((0, 9), both(2)),
            txn((2, 12), read(1, 2)),
        ],
        "only one transaction writes `x = 1`, and `y = 1` with it, and who writes `y = 2` writes \
         `x` too, and not so",
    );
    told(
        &[
            txn((0, 9), both(1)),
            txn((0, 9), both(0)),
            txn((2, 12), read(0, 1)),
        ],
        "`x = 0` was so at first, and only one transaction writes `x = 0`, and `y = 0` with it, \
         and only one transaction writes `y = 1`, and `x = 1` with it",
    );
    told(
        &[
            txn((0, 1), both(1)),
            txn((2, 3), read(7, 7)),
            txn((4, 5), both(7)),
        ],
        "nobody who had begun by then writes `x = 7`",
    );
    told(
        &[txn(
            (0, 1),
            json!([["w", "x", 1], ["r", "x", 2], ["w", "x", 2]]),
        )],
        "it read `x = 2` after it had itself written `x = 1`",
    );
    // Another one who writes `y` alone may have been between.
    let fits = [
        txn((0, 9), both(1)),
        txn((0, 9), json!([["w", "y", 2]])),
        txn((2, 12), read(1, 2)),
    ];
    let history = history("multi-register", r#"{"initial":0}"#, &fits);
    assert!(check(&history, Model::MultiRegister).unwrap().is_valid());
}

/// Lists and objects as values are the same however they are spaced and escaped, and whatever
/// the order of their fields.
#[test]
fn values_are_the_same_where_their_texts_are() {
    let raw = |during: (u64, u64), f: &'static str, asked: &str, answer: &str| {
        let json = |text: &str| {
            let raw: Box<serde_json::value::RawValue> = serde_json::from_str(text).unwrap();
            Json::new(&raw).unwrap()
        };
        Op {
            invoke: json(asked),
            result: json(answer),
            ..ok(during, f, NOTHING, NOTHING)
        }
    };
    let spaced = r#"[1, "\u00e9", "a b", {"b":{"d":[1],"c":2},"\u0061":null}]"#;
    let compact = r#"[1,"é","a b",{"b":{"d":[1],"c":2},"a":null}]"#;
    let reordered = r#"[1,"é","a b",{"a":null,"b":{"c":2,"d":[1]}}]"#;
    let other = r#"[1,"é","ab",{"a":null,"b":{"c":2,"d":[1]}}]"#;
    let of_other_fields = r#"[1,"é","a b",{"b":null,"a":{"c":2,"d":[1]}}]"#;
    let is_valid = |model: &str, ops: &[Op]| {
        let history = history(model, "{}", ops);
        check(&history, model.parse::<Model>().unwrap())
            .unwrap()
            .is_valid()
    };
    for (seen, is_it) in [
        (spaced, true),
        (compact, true),
        (reordered, true),
        (other, false),
        (of_other_fields, false),
    ] {
        let set = [
            raw((0, 1), "add", spaced, "null"),
            raw((2, 3), "read", "null", &format!("[{seen}]")),
        ];
        assert_eq!(is_valid("set", &set), is_it, "{seen}");
        let register = [
            raw((0, 1), "write", spaced, reordered),
            raw((2, 3), "read", "null", seen),
        ];
        assert_eq!(is_valid("register", &register), is_it, "{seen}");
        let micro = |f: &str, value: &str| format!(r#"[["{f}","x",{value}]]"#);
        let txns = [
            raw((0, 1), "txn", &micro("w", spaced), &micro("w", reordered)),
            raw((2, 3), "txn", &micro("r", "null"), &micro("r", seen)),
        ];
        assert_eq!(is_valid("rw-register", &txns), is_it, "{seen}");
        let map = |value: &str| format!(r#"{{"key":"k","value":{value}}}"#);
        let kv = [
            raw((0, 1), "put", &map(spaced), &map(reordered)),
            raw((2, 3), "get", r#"{"key":"k"}"#, &map(seen)),
        ];
        assert_eq!(is_valid("kv", &kv), is_it, "{seen}");
    }
}
