//! A completion that repeats its invocation repeats it truly: where it names another value, key
//! or micro-operation, the history contradicts itself, and is refused with the place.

use etcd_checker::Check;

/// One operation, invoked and completed with these values.
fn history(model: &str, f: &str, asked: &str, kind: &str, told: &str) -> String {
    let parameters = match model {
        "semaphore" => r#"{"permits":5}"#,
        "bank" => r#"{"accounts":["a","b"],"total":10}"#,
        "double-barrier" | "cyclic-barrier" => r#"{"count":1}"#,
        _ => "{}",
    };
    format!(
        r#"{{"format":"etcd-recipes-history","version":1,"workload":"w","model":"{model}","source":{{"kind":"other"}},"parameters":{parameters}}}
{{"time":1,"process":0,"type":"invoke","f":"{f}","value":{asked}}}
{{"time":2,"process":0,"type":"{kind}","f":"{f}","value":{told}}}
"#
    )
}

type Texts = &'static [&'static str];
type Asked = (&'static str, &'static str, &'static str, Texts, Texts);

/// Operations, what was asked, what repeats it, and what contradicts it.
const OPERATIONS: &[Asked] = &[
    (
        "fifo-queue",
        "enqueue",
        "1",
        &["1", "null", r#""1""#],
        &["2"],
    ),
    (
        "register",
        "write",
        "1",
        &["1", "null", r#""1""#],
        &["2", r#""a""#, "true"],
    ),
    ("register", "write", "null", &["null"], &["2"]),
    (
        "register",
        "write",
        r#"{"key":"a","value":1}"#,
        &[
            r#"{"key":"a","value":1}"#,
            r#"{"value":1,"key":"a"}"#,
            r#"{"key":"a"}"#,
            "1",
            "null",
        ],
        &[r#"{"key":"b","value":1}"#, r#"{"key":"a","value":2}"#, "2"],
    ),
    (
        "register",
        "read",
        r#"{"key":"a"}"#,
        &[r#"{"key":"a"}"#, "null"],
        &[r#"{"key":"b"}"#],
    ),
    (
        "cas-register",
        "cas",
        "[null,2]",
        &["[null, 2]", "true", "false", "null"],
        &["[3,4]", "2"],
    ),
    (
        "kv",
        "put",
        r#"{"key":"a","value":"x"}"#,
        &[r#"{"key":"a","value":"x"}"#, r#""OK""#, "7"],
        &[r#"{"key":"b","value":"x"}"#, r#"{"key":"a","value":"y"}"#],
    ),
    (
        "kv",
        "append",
        r#"{"key":"a","value":"x"}"#,
        &["null"],
        &[r#"{"key":"a","value":"y"}"#],
    ),
    (
        "kv",
        "get",
        r#""a""#,
        &[r#"{"key":"a","value":null}"#, "null"],
        &[r#"{"key":"b"}"#],
    ),
    ("semaphore", "acquire", "1", &["1", "null", "true"], &["2"]),
    (
        "semaphore",
        "acquire",
        "null",
        &["1", "null", "true"],
        &["2"],
    ),
    ("counter", "add", "1", &["1", "null"], &["5"]),
    (
        "set",
        "add",
        "1",
        &["1", "true", "false", r#""1""#],
        &["2", "[1]"],
    ),
    ("set", "remove", r#""a""#, &[r#""a""#, "false"], &[r#""b""#]),
    ("set-full", "add", "1", &["1", "null"], &["2"]),
    (
        "membership",
        "join",
        r#""a""#,
        &[r#""a""#, "null"],
        &[r#""b""#],
    ),
    (
        "priority-queue",
        "enqueue",
        r#"["a",1]"#,
        &[r#"["a", 1]"#, "null"],
        &[r#"["a",2]"#],
    ),
    (
        "reliable-queue",
        "enqueue",
        r#"["a"]"#,
        &[r#"["a"]"#, "null"],
        &[r#"["b"]"#],
    ),
    (
        "mutex",
        "acquire",
        r#"{"lock":"a"}"#,
        &[r#"{"lock":"a","owner":1}"#, "true"],
        &[r#"{"lock":"b"}"#],
    ),
    (
        "list-append",
        "txn",
        r#"[["append","x",1],["r","y",null]]"#,
        &[
            r#"[["append","x",1],["r","y",[]]]"#,
            r#"[["append", "x", "1"], ["r", "y"  , null]]"#,
        ],
        &[
            r#"[["append","z",5]]"#,
            r#"[["append","x",1]]"#,
            r#"[["append","x",2],["r","y",[]]]"#,
            r#"[["append","x",1],["r","z",[]]]"#,
            r#"[["r","y",[]],["append","x",1]]"#,
        ],
    ),
    (
        "rw-register",
        "txn",
        r#"[["w","x",1]]"#,
        &[r#"[["w","x",1]]"#],
        &[r#"[["r","z",null]]"#],
    ),
    (
        "long-fork",
        "write",
        r#"[["w","x",1]]"#,
        &[r#"[["w","x",1]]"#],
        &[r#"[["w","y",1]]"#],
    ),
    (
        "multi-register",
        "txn",
        r#"[["w","x",1]]"#,
        &[r#"[["w","x",1]]"#],
        &[r#"[["w","y",1]]"#],
    ),
    (
        "transactions",
        "txn",
        r#"[["w","x","1"]]"#,
        &[
            r#"[["w","x",1]]"#,
            // Who says what it wants to write may read for that.
            r#"[["r","y",null,0],["w","x","1"]]"#,
        ],
        &[
            r#"[["w","x","2"]]"#,
            r#"[["w","y","1"]]"#,
            r#"[["w","x","1"],["w","y","1"]]"#,
            r#"[["r","x",null]]"#,
            "[]",
        ],
    ),
    (
        "transactions",
        "txn",
        r#"[["r","y",null],["w","x",null]]"#,
        &[r#"[["r","y","5",4],["w","x",null]]"#],
        &[r#"[["w","x",null]]"#, r#"[["r","z","5",4],["w","x",null]]"#],
    ),
    (
        "bank",
        "txn",
        r#"[["w","a",2],["w","b",8]]"#,
        &[
            r#"[["w","a",2],["w","b",8]]"#,
            r#"[["r","a",null,0],["w","a","2"],["w","b","8"]]"#,
        ],
        &[
            r#"[["w","a",3],["w","b",7]]"#,
            r#"[["r","a",null,0],["w","a",2]]"#,
        ],
    ),
    (
        "stm",
        "txn",
        r#"[["w","x",1]]"#,
        &[r#"[["w","x",1]]"#],
        &[r#"[["w","x",2]]"#],
    ),
    (
        "double-barrier",
        "enter",
        r#"{"lease":1}"#,
        &["null", r#"{"lease":1}"#, r#"{"inside":1}"#],
        &[r#"{"lease":2}"#],
    ),
    (
        "double-barrier",
        "leave",
        r#"{"lease":1,"alive":true}"#,
        // That is said of another moment.
        &[r#"{"lease":1,"alive":false}"#],
        &[r#"{"lease":2,"alive":true}"#],
    ),
    (
        "cyclic-barrier",
        "close",
        r#"{"lease":1}"#,
        &["null", r#"{"lease": 1}"#],
        &[r#"{"lease":2}"#],
    ),
    (
        "cyclic-barrier",
        "wait",
        r#"{"lease":1}"#,
        &[
            r#"{"round":1,"index":0}"#,
            r#"{"lease":1,"round":1,"index":0}"#,
        ],
        &[r#"{"lease":2,"round":1,"index":0}"#],
    ),
    (
        "election",
        "proclaim",
        r#"{"term":5,"value":"b"}"#,
        &[
            "null",
            r#"{"term":5}"#,
            r#"{"term":5,"value":null}"#,
            r#"{"value":"b","term":5}"#,
        ],
        &[r#"{"term":6,"value":"b"}"#, r#"{"term":5,"value":"c"}"#],
    ),
    (
        "election",
        "resign",
        r#"{"term":5}"#,
        &["null", r#"{"term":5}"#],
        &[r#"{"term":6}"#],
    ),
];

#[test]
fn what_contradicts_the_invocation_is_refused_with_its_place() {
    for (model, f, asked, right, wrong) in OPERATIONS {
        for told in *right {
            let text = history(model, f, asked, "ok", told);
            let checked = Check::new().bytes(text.as_bytes());
            assert!(checked.is_ok(), "{text}{:?}", checked.err());
        }
        for told in *wrong {
            let text = history(model, f, asked, "ok", told);
            let error = Check::new().bytes(text.as_bytes());
            let error = error.expect_err(&text).to_string();
            assert!(error.starts_with("line 3, column "), "{text}{error}");
        }
    }
    let text = history("register", "write", "1", "ok", "2");
    let error = Check::new().bytes(text.as_bytes()).unwrap_err().to_string();
    let expected = "line 3, column 55: \"write\" was invoked with 1 in line 2 but completes with 2";
    assert_eq!(error, expected);
}

/// Some programs write there why nobody knows.
#[test]
fn what_did_not_happen_or_may_not_have_repeats_nothing() {
    for kind in ["fail", "info"] {
        let text = history("register", "write", "1", kind, r#""timed-out""#);
        assert!(Check::new().bytes(text.as_bytes()).is_ok());
    }
    let text = |kind| {
        history(
            "list-append",
            "txn",
            r#"[["append","x",1]]"#,
            kind,
            r#"[["append","x",2]]"#,
        )
    };
    assert!(Check::new().bytes(text("fail").as_bytes()).is_ok());
    assert!(Check::new().bytes(text("info").as_bytes()).is_err());
}

/// A lock's token is one of that lock.
#[test]
fn who_holds_a_lock_acts_on_that_one() {
    let text = |f: &str, lock: &str| {
        format!(
            r#"{{"format":"etcd-recipes-history","version":1,"model":"mutex"}}
{{"time":1,"process":0,"type":"invoke","f":"lock","value":{{"lock":"a"}}}}
{{"time":2,"process":0,"type":"ok","f":"lock","value":5,"revision":5}}
{{"time":3,"process":0,"type":"invoke","f":"{f}","value":{{"lock":"{lock}","token":5,"guarded":true}}}}
{{"time":4,"process":0,"type":"ok","f":"{f}","value":true,"revision":6}}
"#
        )
    };
    for f in ["write", "unlock"] {
        let checked = Check::new().bytes(text(f, "a").as_bytes());
        assert!(checked.is_ok(), "{:?}", checked.err());
        let checked = Check::new().bytes(text(f, r"\u0061").as_bytes());
        assert!(checked.is_ok(), "{:?}", checked.err());
        let error = Check::new().bytes(text(f, "b").as_bytes()).unwrap_err();
        let column = if f == "write" { 59 } else { 60 };
        let expected = format!(
            "line 4, column {column}: the value of {f:?} must be done with a token of the lock that it names: 5 is the token of `a`"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn keys_of_jepsens_independent_objects_stay_the_same() {
    let text = "{:process 0 :type :invoke :f :write :value [1 2]}\n\
                {:process 0 :type :ok :f :write :value [1 2]}\n\
                {:process 0 :type :invoke :f :read :value [1 nil]}\n";
    let last = |key: u64| format!("{text}{{:process 0 :type :ok :f :read :value [{key} 2]}}\n");
    assert!(Check::new().bytes(last(1).as_bytes()).is_ok());
    let error = Check::new().bytes(last(9).as_bytes()).unwrap_err();
    assert!(
        error.to_string().starts_with("line 4, column 39: "),
        "{error}"
    );
}

#[test]
fn a_monitors_set_answers_0_or_1() {
    let text = |answer: &str| format!("# set\ninsert 1 1 0 1\ncontains 1 {answer} 2 3\n");
    assert!(
        Check::new()
            .bytes(text("1").as_bytes())
            .unwrap()
            .verdict
            .is_valid()
    );
    assert!(
        !Check::new()
            .bytes(text("0").as_bytes())
            .unwrap()
            .verdict
            .is_valid()
    );
    for answer in ["2", "-1"] {
        let error = Check::new()
            .bytes(text(answer).as_bytes())
            .unwrap_err()
            .to_string();
        let expected =
            format!("line 3, column 12: the answer of a set must be 0 or 1, not {answer}");
        assert_eq!(error, expected);
    }
}

/// What a completion answers is true or false, unless it repeats what was asked.
#[test]
fn answers_are_true_or_false() {
    let asks = [
        ("set", "contains", r#""x""#),
        ("mutex", "try-acquire", "null"),
        ("mutex", "try-acquire", r#""lock1""#),
        ("rwlock", "try-acquire", r#"{"lock":"a","mode":"read"}"#),
        ("semaphore", "try-acquire", "1"),
    ];
    for (model, f, asked) in asks {
        for told in ["0", "2", r#""yes""#, r#""false""#, "[1,false]"] {
            let text = history(model, f, asked, "ok", told);
            let refused = Check::new().bytes(text.as_bytes());
            assert!(refused.is_err(), "{model} {f} {asked} -> {told}");
        }
        for told in ["null", "true", "false", asked] {
            let text = history(model, f, asked, "ok", told);
            let checked = Check::new().bytes(text.as_bytes());
            assert!(
                checked.is_ok(),
                "{model} {f} {asked} -> {told}: {checked:?}"
            );
        }
    }
}

#[test]
fn what_is_done_has_not_done_nothing() {
    for model in ["mutex", "rwlock", "semaphore"] {
        for f in ["acquire", "release"] {
            let text = history(model, f, "null", "ok", "false");
            let error = Check::new().bytes(text.as_bytes()).unwrap_err().to_string();
            let expected = "completes with false: what did not happen ends with \"fail\"";
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn writes_of_several_registers_are_repeated_as_they_were_asked() {
    let of = |told| {
        history(
            "multi-register",
            "txn",
            r#"[["w","y",2],["r","x",null]]"#,
            "ok",
            told,
        )
    };
    for told in [
        r#"[["w","y",2],["r","x",null]]"#,
        r#"[["w","y","2"],["r","x",null]]"#,
        r#"[["w","y",null],["r","x",null]]"#,
    ] {
        assert!(Check::new().bytes(of(told).as_bytes()).is_ok(), "{told}");
    }
    for told in [
        r#"[["w","y",1],["r","x",null]]"#,
        r#"[["w","x",2],["r","x",null]]"#,
        r#"[["r","y",2],["r","x",null]]"#,
    ] {
        assert!(Check::new().bytes(of(told).as_bytes()).is_err(), "{told}");
    }
}
