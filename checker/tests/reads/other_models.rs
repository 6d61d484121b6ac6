//! The objects that other tools check are judged as those tools judge them: the bank, sets
//! that lose nothing, long forks, and registers that transactions share. In EDN and in JSON.

use std::fmt::Write as _;

use etcd_checker::search::Budget;
use etcd_checker::{Check, Checked, Model, Options, Verdict};
use serde_json::json;

/// `valid`, `unknown`, or the name of the violation.
fn verdict(check: &Check, text: &str) -> String {
    name(&judged(check, text))
}

fn judged(check: &Check, text: &str) -> Checked {
    let checked = check.bytes(text.as_bytes());
    checked.unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn name(checked: &Checked) -> String {
    match &checked.verdict {
        Verdict::Valid(_) => "valid".to_owned(),
        Verdict::Violation(violation) => violation.kind.name.to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn witness(checked: &Checked) -> Vec<usize> {
    let violation = checked.verdict.violation().expect("a violation");
    let lines = violation.witness.iter();
    lines.map(|operation| operation.invoked.line).collect()
}

fn error(check: &Check, text: &str) -> String {
    let error = check.bytes(text.as_bytes()).expect_err(text);
    error.to_string()
}

/// Operations one after the other: what is invoked, and what comes of it.
fn edn(operations: &[(&str, &str, &str)]) -> String {
    let mut text = String::new();
    for (f, asked, answered) in operations {
        writeln!(text, "{{:process 0 :type :invoke :f :{f} :value {asked}}}").unwrap();
        writeln!(text, "{{:process 0 :type :ok :f :{f} :value {answered}}}").unwrap();
    }
    text
}

#[test]
fn the_same_history_in_json_has_the_same_verdict() {
    let edn = edn(&[("write", "1", "1"), ("read", "nil", "2")]);
    let lines = r#"
        {"process":0,"type":"invoke","f":"write","value":1}
        {"process":0,"type":"ok","f":"write","value":1}
        {"process":0,"type":"invoke","f":"read","value":null}
        {"process":0,"type":"ok","f":"read","value":2}"#;
    let list = format!("[{}]", lines.trim().replace('\n', ",\n"));
    for text in [&edn, lines, &list] {
        let checked = judged(&Check::new(), text);
        assert_eq!(checked.format.name(), "jepsen");
        assert_eq!(checked.model, Model::Register);
        assert_eq!(name(&checked), "garbage-read", "{text}");
    }
    let valid = list.replace("\"value\":2", "\"value\":1");
    assert_eq!(verdict(&Check::new(), &valid), "valid");
}

#[test]
fn texts_of_json_are_those_that_they_stand_for() {
    let text = |written: &str, read: &str| {
        format!(
            r#"[{{"process":0,"type":"invoke","f":"write","value":"{written}"}},
                {{"process":0,"type":"ok","f":"write","value":"{written}"}},
                {{"process":0,"type":"invoke","f":"read","value":null}},
                {{"process":0,"type":"ok","f":"read","value":"{read}"}}]"#
        )
    };
    for (written, read, expected) in [
        (r"a\/b", "a/b", "valid"),
        (r"\ud83e\udd80", "\u{1f980}", "valid"),
        (r"\ud83e", r"\ufffd", "valid"),
        (r"\u00e9", "e", "garbage-read"),
    ] {
        let text = text(written, read);
        assert_eq!(verdict(&Check::new(), &text), expected, "{text}");
    }
}

/// Maps and sets have no order, and a number of 64 bits is the same however it is written.
#[test]
fn values_that_are_equal_in_clojure_are_the_same() {
    let register = |written: &str, told: &str, read: &str| {
        format!(
            "{{:process 0, :type :invoke, :f :write, :value {written}}}\n\
             {{:process 0, :type :ok, :f :write, :value {told}}}\n\
             {{:process 1, :type :invoke, :f :read, :value nil}}\n\
             {{:process 1, :type :ok, :f :read, :value {read}}}\n"
        )
    };
    let check = Check::new().model(Model::Register);
    for (written, told, read, other) in [
        ("#{3 1 2}", "#{1 2 3}", "#{2 3 1}", "#{2 3 4}"),
        (
            "#{#{1 2} 10 9}",
            "#{9 10 #{2 1}}",
            "#{10 9 #{1 2}}",
            "#{1 2 10 9}",
        ),
        (
            "[{:a 1 :b 2}]",
            "[{:b 2, :a 1}]",
            "[{:b 2 :a 1}]",
            "[{:b 1 :a 2}]",
        ),
        (
            "#{{:a 1 :b 2} {:c 3}}",
            "#{{:c 3} {:b 2 :a 1}}",
            "#{{:b 2 :a 1} {:c 3}}",
            "#{{:b 2 :a 1}}",
        ),
        (
            "[{{:a 1 :b 2} 3}]",
            "[{{:b 2 :a 1} 3}]",
            "[{{:b 2 :a 1} 3}]",
            "[{{:b 2} 3}]",
        ),
        ("1e3", "1000.0", "1.0E3", "1000"),
        ("1.50", "1.5", "15e-1", "1.51"),
        ("-0.0", "0.0", "0.", "0"),
    ] {
        assert_eq!(
            verdict(&check, &register(written, told, read)),
            "valid",
            "{written}"
        );
        let checked = judged(&check, &register(written, told, other));
        assert_eq!(name(&checked), "garbage-read", "{other}");
    }
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    let check = Check::new();
    for (text, place, fragment) in [
        (
            r#"[{"type":"invoke" "f":"read"} x"#,
            "line 1, column 31",
            "maps",
        ),
        (r#"[{"type" "invoke"}]"#, "", ""),
        (
            r#"[{"type":"invoke","f""read"}]"#,
            "line 1, column 22",
            "`:`",
        ),
        (
            r#"[{"type":"invoke","f":read}]"#,
            "line 1, column 23",
            "JSON",
        ),
        (
            r#"[{"type":"invoke","value":(1)}]"#,
            "line 1, column 27",
            "JSON",
        ),
        (
            r#"[{"type":"invoke","value":#{1}}]"#,
            "line 1, column 27",
            "JSON",
        ),
        (
            r#"[{"type":"invoke","value":[1,2}"#,
            "line 1, column 31",
            "closed",
        ),
        (r#"[{"type":"invoke","value":"#, "line 1, column 27", "ends"),
        (
            r#"[{"type":"invoke","f":"read"}"#,
            "line 1, column 30",
            "ends",
        ),
    ] {
        let error = error(&check, text);
        assert!(
            error.starts_with(place) && error.contains(fragment),
            "{text}: {error}"
        );
    }
}

#[test]
fn additions_are_those_of_a_counter_when_numbers_are_read() {
    let counter = edn(&[("add", "1", "1"), ("add", "2", "2"), ("read", "nil", "3")]);
    let set = edn(&[
        ("add", "1", "1"),
        ("add", "2", "2"),
        ("read", "nil", "#{2 1}"),
    ]);
    for (text, model) in [(&counter, Model::Counter), (&set, Model::Set)] {
        let checked = judged(&Check::new(), text);
        assert_eq!((checked.model, name(&checked)), (model, "valid".to_owned()));
    }
}

const TRANSFER: (&str, &str, &str) = (
    "transfer",
    "{:from 0 :to 1 :amount 5}",
    "{:from 0 :to 1 :amount 5}",
);

#[test]
fn all_reads_of_a_bank_see_one_total() {
    let check = Check::new();
    let reads = |second| {
        edn(&[
            ("read", "nil", "{0 10, 1 0}"),
            TRANSFER,
            ("read", "nil", second),
        ])
    };
    let valid = judged(&check, &reads("{0 5, 1 5}"));
    assert_eq!(
        (valid.model, name(&valid)),
        (Model::Bank, "valid".to_owned())
    );
    // A read of an old state is none of another total.
    assert_eq!(verdict(&check, &reads("{1 0, 0 10}")), "valid");
    for (second, kind, lines) in [
        ("{0 5, 1 0}", "bank-total", vec![1, 5]),
        ("{0 11, 1 -1}", "bank-negative", vec![5]),
        ("{0 5, 2 5}", "bank-accounts", vec![1, 5]),
        ("{0 5, 1 5, 2 0}", "bank-accounts", vec![1, 5]),
        ("{0 10}", "bank-accounts", vec![1, 5]),
        ("{0 10, 1 nil}", "bank-accounts", vec![5]),
    ] {
        let checked = judged(&check, &reads(second));
        assert_eq!(
            (name(&checked), witness(&checked)),
            (kind.to_owned(), lines)
        );
    }
}

#[test]
fn what_a_bank_holds_can_be_said() {
    let read = edn(&[("read", "nil", "{0 11, 1 -1}")]);
    let check = Check::new();
    assert_eq!(verdict(&check, &read), "bank-negative");
    let check = check.parameter("allow_negative", json!(true));
    assert_eq!(verdict(&check, &read), "valid");
    let check = check.parameter("total", json!(12));
    assert_eq!(verdict(&check, &read), "bank-total");
    let check = check
        .parameter("total", json!(10))
        .parameter("accounts", json!(["0"]));
    assert_eq!(verdict(&check, &read), "bank-accounts");
}

/// As in Jepsen's tests of Dgraph, where accounts are deleted with their last money.
#[test]
fn accounts_that_are_closed_when_empty_need_not_be_read() {
    let reads = |all: &[&'static str]| {
        let reads = all.iter().map(|read| ("read", "nil", *read));
        edn(&reads.collect::<Vec<_>>())
    };
    let check = Check::new().model(Model::Bank);
    let closed = check.clone().parameter("missing_is_empty", json!(true));
    let text = reads(&["{0 10}", "{0 5, 1 5}", "{1 10}"]);
    assert_eq!(verdict(&check, &text), "bank-accounts");
    assert_eq!(verdict(&closed, &text), "valid");
    let lost = reads(&["{0 10}", "{0 5}"]);
    assert_eq!(witness(&judged(&closed, &lost)), [1, 3]);
    assert_eq!(verdict(&closed, &lost), "bank-total");
    // Where it is said which there are, there are no others, and the read alone proves it.
    let named = check.parameter("accounts", json!(["0", "1"]));
    let missing = judged(&named, &reads(&["{0 5, 1 5}", "{0 10}"]));
    assert_eq!(
        (name(&missing), witness(&missing)),
        ("bank-accounts".to_owned(), vec![3])
    );
    let named = named.parameter("missing_is_empty", json!(true));
    assert_eq!(verdict(&named, &text), "valid");
    assert_eq!(verdict(&named, &reads(&["{0 5, 2 5}"])), "bank-accounts");
}

#[test]
fn a_bank_that_nobody_read_is_unknown_and_one_that_is_none_is_refused() {
    let check = Check::new().model(Model::Bank);
    assert_eq!(verdict(&check, &edn(&[TRANSFER])), "unknown");
    let failed = "{:process 0 :type :invoke :f :read}\n{:process 0 :type :fail :f :read}\n";
    assert_eq!(verdict(&check, failed), "unknown");
    for (value, fragment) in [
        ("[1]", "object"),
        ("{0 :x}", "not a whole number"),
        ("{0 1, \"0\" 1}", "twice"),
    ] {
        let error = error(&check, &edn(&[("read", "nil", value)]));
        assert!(
            error.starts_with("line 2, column") && error.contains(fragment),
            "{error}"
        );
    }
}

#[test]
fn an_element_is_lost_when_it_is_seen_no_more() {
    let check = Check::new().model(Model::SetFull);
    let add = |element| ("add", element, element);
    let read = |elements| ("read", "nil", elements);
    for (operations, expected) in [
        (vec![add("1"), read("[1]")], "valid"),
        // Seen late, and not always.
        (
            vec![add("1"), read("[]"), read("[1]"), read("[]"), read("[1]")],
            "valid",
        ),
        (
            vec![add("1"), add("2"), read("[2 1]"), read("[2]")],
            "lost-element",
        ),
        (vec![add("1"), add("2"), read("[2]")], "lost-element"),
        (vec![read("[]"), add("1")], "unknown"),
        (vec![add("1"), read("[1 1]")], "duplicate-element"),
        (vec![add("1"), read("[1 2]")], "phantom-element"),
        (vec![read("[1]"), add("1")], "phantom-element"),
    ] {
        assert_eq!(
            verdict(&check, &edn(&operations)),
            expected,
            "{operations:?}"
        );
    }
    let lost = edn(&[add("1"), read("[1]"), read("[]"), read("[]")]);
    // Added in line 1, and missed for the last time in line 7.
    assert_eq!(witness(&judged(&check, &lost)), [1, 7]);
    // The linearizable set is stricter.
    let late = edn(&[add("1"), read("[]"), read("[1]")]);
    assert_eq!(verdict(&check, &late), "valid");
    let linearizable = Check::new().model(Model::Set);
    assert_eq!(verdict(&linearizable, &late), "lost-element");
}

#[test]
fn an_addition_that_nobody_confirmed_is_not_lost() {
    let check = Check::new().model(Model::SetFull);
    let text = |outcome: &str, reads: &str| {
        format!(
            "{{:process 1 :type :invoke :f :add :value 1}}\n\
             {{:process 0 :type :invoke :f :add :value 2}}\n\
             {{:process 0 :type :ok :f :add :value 2}}\n\
             {outcome}{reads}"
        )
    };
    let info = "{:process 1 :type :info :f :add :value 1}\n";
    let ok = "{:process 1 :type :ok :f :add :value 1}\n";
    let missed = edn(&[("read", "nil", "[2]")]);
    assert_eq!(verdict(&check, &text(info, &missed)), "valid");
    assert_eq!(verdict(&check, &text(ok, &missed)), "lost-element");
    // While it is being added it need not be there yet.
    assert_eq!(verdict(&check, &text("", &(missed + ok))), "valid");
    // Somebody saw it, so it was there.
    let seen = edn(&[("read", "nil", "[2 1]"), ("read", "nil", "[2]")]);
    assert_eq!(verdict(&check, &text(info, &seen)), "lost-element");
}

#[test]
fn an_addition_that_failed_adds_nothing() {
    let check = Check::new().model(Model::SetFull);
    let failed = "{:process 7 :type :invoke :f :add :value 1}\n\
                  {:process 7 :type :fail :f :add :value 1}\n";
    let text = |operations: &[(&str, &str, &str)]| failed.to_owned() + &edn(operations);
    let seen = text(&[("add", "2", "2"), ("read", "nil", "[2 1]")]);
    let phantom = judged(&check, &seen);
    assert_eq!(
        (name(&phantom), witness(&phantom)),
        ("phantom-element".to_owned(), vec![1, 5])
    );
    assert_eq!(
        verdict(&Check::new().model(Model::Set), &seen),
        "phantom-element"
    );
    // Another one added it.
    let again = text(&[("add", "1", "1"), ("read", "nil", "[1]")]);
    assert_eq!(verdict(&check, &again), "valid");
    let lost = text(&[("add", "1", "1"), ("add", "2", "2"), ("read", "nil", "[2]")]);
    assert_eq!(witness(&judged(&check, &lost)), [3, 7]);
}

#[test]
fn a_long_fork_is_two_reads_that_saw_the_writes_in_opposite_orders() {
    let writes = [
        ("write", "[[:w 0 1]]", "[[:w 0 1]]"),
        ("write", "[[:w 1 1]]", "[[:w 1 1]]"),
    ];
    let text = |reads: &[&'static str]| {
        let reads = reads.iter().map(|read| ("read", *read, *read));
        edn(&writes.into_iter().chain(reads).collect::<Vec<_>>())
    };
    let check = Check::new();
    let valid = judged(
        &check,
        &text(&[
            "[[:r 0 1] [:r 1 nil]]",
            "[[:r 1 1] [:r 0 1]]",
            "[[:r 0 nil] [:r 1 nil]]",
        ]),
    );
    assert_eq!(
        (valid.model, name(&valid)),
        (Model::LongFork, "valid".to_owned())
    );
    let fork = judged(
        &check,
        &text(&[
            "[[:r 0 1] [:r 1 nil]]",
            "[[:r 1 1] [:r 0 1]]",
            "[[:r 1 1] [:r 0 nil]]",
        ]),
    );
    assert_eq!(
        (name(&fork), witness(&fork)),
        ("long-fork".to_owned(), vec![5, 9])
    );
    // Of a key that was not read nothing follows.
    assert_eq!(
        verdict(
            &check,
            &text(&["[[:r 0 1] [:r 1 nil]]", "[[:r 1 1] [:r 2 nil]]"])
        ),
        "valid"
    );
}

/// These writes, one after the other, and what was read then.
fn written_and_read(writes: &[&'static str], reads: &[&'static str]) -> String {
    let writes = writes.iter().map(|write| ("txn", *write, *write));
    let reads = reads.iter().map(|read| ("txn", *read, *read));
    edn(&writes.chain(reads).collect::<Vec<_>>())
}

#[test]
fn long_forks_are_found_whatever_is_read_at_once() {
    let check = Check::new().model(Model::LongFork);
    let each = ["[[:w 0 1]]", "[[:w 1 1]]", "[[:w 2 1]]"];
    let together = ["[[:w 0 1] [:w 1 1]]", "[[:w 2 1]]"];
    for (writes, reads, kind, lines) in [
        // Two groups that share two keys.
        (
            &each[..],
            &["[[:r 0 1] [:r 1 nil] [:r 2 nil]]", "[[:r 0 nil] [:r 1 1]]"][..],
            "long-fork",
            vec![7, 9],
        ),
        // Three that share one each, and a fourth one that is in nobody's way.
        (
            &each,
            &[
                "[[:r 0 1] [:r 1 nil]]",
                "[[:r 2 1]]",
                "[[:r 1 1] [:r 2 nil]]",
                "[[:r 2 1] [:r 0 nil]]",
            ],
            "long-fork",
            vec![7, 11, 13],
        ),
        (
            &each,
            &[
                "[[:r 0 1] [:r 1 nil]]",
                "[[:r 1 1] [:r 2 nil]]",
                "[[:r 2 nil] [:r 0 1]]",
            ],
            "valid",
            vec![],
        ),
        // Two keys that were written at once.
        (
            &together,
            &["[[:r 0 1] [:r 1 1]]", "[[:r 0 1] [:r 1 nil]]"],
            "fractured-read",
            vec![1, 7],
        ),
        (
            &together,
            &["[[:r 0 1] [:r 2 nil]]", "[[:r 1 nil] [:r 2 1]]"],
            "long-fork",
            vec![1, 5, 7],
        ),
        (
            &together,
            &["[[:r 0 1] [:r 2 nil]]", "[[:r 1 1] [:r 2 1]]"],
            "valid",
            vec![],
        ),
    ] {
        let checked = judged(&check, &written_and_read(writes, reads));
        assert_eq!(name(&checked), kind, "{reads:?}");
        if kind != "valid" {
            assert_eq!(witness(&checked), lines, "{reads:?}");
        }
    }
}

#[test]
fn what_was_never_written_is_in_no_order() {
    let check = Check::new().model(Model::LongFork);
    let one = ["[[:w 0 1]]"];
    for (reads, lines) in [
        (&["[[:r 0 9]]"][..], vec![3]),
        (&["[[:r 0 1]]", "[[:r 0 7]]"], vec![5]),
        (&["[[:r 1 1]]"], vec![3]),
    ] {
        let garbage = judged(&check, &written_and_read(&one, reads));
        assert_eq!(
            (name(&garbage), witness(&garbage)),
            ("garbage-read".to_owned(), lines)
        );
    }
    let with = |end: &str, operations: &[(&str, &str, &str)]| {
        format!("{{:process 7 :type :invoke :f :write :value [[:w 0 1]]}}\n{end}")
            + &edn(operations)
    };
    let failed = "{:process 7 :type :fail :f :write :value [[:w 0 1]]}\n";
    let read = ("read", "[[:r 0 nil]]", "[[:r 0 1]]");
    let aborted = judged(&check, &with(failed, &[read]));
    assert_eq!(
        (name(&aborted), witness(&aborted)),
        ("G1a".to_owned(), vec![1, 3])
    );
    // Nobody knows what came of it, or somebody tried again.
    assert_eq!(verdict(&check, &with("", &[read])), "valid");
    let again = ("write", "[[:w 0 1]]", "[[:w 0 1]]");
    assert_eq!(verdict(&check, &with(failed, &[again, read])), "valid");
    // It may have written anything.
    let blank = "{:process 8 :type :invoke :f :txn :value nil}\n".to_owned();
    assert_eq!(verdict(&check, &(blank.clone() + &edn(&[read]))), "unknown");
    let fork = [
        read,
        ("read", "[[:r 0 nil] [:r 1 nil]]", "[[:r 0 1] [:r 1 nil]]"),
        ("read", "[[:r 0 nil] [:r 1 nil]]", "[[:r 0 nil] [:r 1 1]]"),
    ];
    assert_eq!(verdict(&check, &(blank + &edn(&fork))), "long-fork");
}

#[test]
fn a_key_that_is_written_twice_is_no_history_of_long_forks() {
    let check = Check::new().model(Model::LongFork);
    let twice = [
        ("write", "[[:w 0 1]]", "[[:w 0 1]]"),
        ("write", "[[:w 0 2]]", "[[:w 0 2]]"),
    ];
    let error_of = |operations: &[(&str, &str, &str)]| error(&check, &edn(operations));
    let twice = error_of(&twice);
    assert!(
        twice.starts_with("line 3, column 44: ") && twice.contains("written in line 1 already"),
        "{twice}"
    );
    let mixed = error_of(&[("txn", "[[:r 0 nil] [:w 1 1]]", "[[:r 0 nil] [:w 1 1]]")]);
    assert!(mixed.contains("both reads and writes"), "{mixed}");
}

#[test]
fn transactions_share_registers() {
    let txn = |asked, answered| ("txn", asked, answered);
    let write = txn(
        "[[:write :x 1] [:write :y 1]]",
        "[[:write :x 1] [:write :y 1]]",
    );
    let check = Check::new();
    let valid = judged(
        &check,
        &edn(&[
            write,
            txn(
                "[[:read :x nil] [:read :y nil]]",
                "[[:read :x 1] [:read :y 1]]",
            ),
        ]),
    );
    assert_eq!(
        (valid.model, name(&valid)),
        (Model::MultiRegister, "valid".to_owned())
    );
    let torn = edn(&[
        write,
        txn(
            "[[:read :x nil] [:read :y nil]]",
            "[[:read :x nil] [:read :y 1]]",
        ),
    ]);
    assert_eq!(verdict(&check, &torn), "non-linearizable");
    // A transaction reads what it has written itself.
    let own = edn(&[txn(
        "[[:write :x 1] [:read :x nil]]",
        "[[:write :x 1] [:read :x 1]]",
    )]);
    assert_eq!(verdict(&check, &own), "valid");
    let first = edn(&[txn("[[:read :x nil]]", "[[:read :x 0]]")]);
    assert_eq!(verdict(&check, &first), "non-linearizable");
    assert_eq!(
        verdict(&check.clone().parameter("initial", json!(0)), &first),
        "valid"
    );
    let other = edn(&[txn("[[:read :x nil]]", "[[:read :y nil]]")]);
    assert!(error(&check, &other).contains("something else than the invocation"));
}

/// Texts that many clients append at once, and what comes of it, in orders that one get shows.
fn appends(clients: usize, second_get: &str) -> String {
    let mut text = String::from("{:process 99 :type :invoke :f :put :key :k :value \"p\"}\n");
    let each = |text: &mut String, kind: &str| {
        for client in 0..clients {
            writeln!(
                text,
                "{{:process {client} :type {kind} :f :append :key :k :value \"{client};\"}}"
            )
            .unwrap();
        }
    };
    each(&mut text, ":invoke");
    text += "{:process 99 :type :ok :f :put :key :k :value \"p\"}\n";
    each(&mut text, ":ok");
    let all: Vec<String> = (0..clients)
        .rev()
        .map(|client| format!("{client};"))
        .collect();
    for seen in [format!("p{}", all.concat()), second_get.to_owned()] {
        let seen = if seen.is_empty() {
            format!("p{}", all.concat())
        } else {
            seen
        };
        writeln!(text, "{{:process 98 :type :invoke :f :get :key :k}}").unwrap();
        writeln!(
            text,
            "{{:process 98 :type :ok :f :get :key :k :value \"{seen}\"}}"
        )
        .unwrap();
    }
    text
}

#[test]
fn appends_that_overlap_do_not_multiply() {
    // Forty factorial orders fit into no memory at all, and a MiB suffices.
    let budget = Budget {
        time: None,
        memory_bytes: 1 << 20,
    };
    let check = Check::new().options(Options {
        budget,
        ..Options::default()
    });
    assert_eq!(verdict(&check, &appends(40, "")), "valid");
    let lost = judged(&check, &appends(40, "p0;1;"));
    assert_eq!(name(&lost), "non-linearizable");
    assert_eq!(witness(&lost).len(), 2, "{}", lost.verdict);
}

#[test]
fn additions_that_overlap_do_not_multiply() {
    let budget = Budget {
        time: None,
        memory_bytes: 1 << 20,
    };
    let check = Check::new().options(Options {
        budget,
        ..Options::default()
    });
    let mut text = String::new();
    for kind in [":invoke", ":ok"] {
        for client in 0..30 {
            writeln!(
                text,
                "{{:process {client} :type {kind} :f :add :value {client}}}"
            )
            .unwrap();
        }
        // Half of them happened before the read, which is concurrent with all.
        let seen: Vec<String> = (0..30)
            .step_by(2)
            .map(|client| client.to_string())
            .collect();
        writeln!(
            text,
            "{{:process 99 :type {kind} :f :read :value [{}]}}",
            seen.join(" ")
        )
        .unwrap();
    }
    assert_eq!(verdict(&check, &text), "valid");
}
