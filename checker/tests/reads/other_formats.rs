//! Histories of other tools are read as what they say, recognized by their content,
//! and refused with line and column where they make no sense.

use std::cell::Cell;
use std::fs;
use std::io::{self, Read, Write as _};
use std::rc::Rc;

use etcd_checker::import::{Budget, Compression, Format, ImportError, Opened};
use etcd_checker::{Check, CheckError, Verdict, check_file};
use expect_test::{Expect, expect};

/// The format that is recognized, the model that is guessed, and the events.
fn read(text: &str) -> Result<String, String> {
    let (format, history) = Check::new()
        .read(text.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut out = format!("{format} {:?}\n", history.header().model);
    for event in history.events() {
        out += &format!("{:>2} ", event.line());
        let mut line = Vec::new();
        event.write_line(&mut line).unwrap();
        out += &String::from_utf8(line).unwrap();
    }
    Ok(out)
}

#[track_caller]
fn reads(text: &str, expected: &Expect) {
    expected.assert_eq(&read(text).unwrap());
}

#[track_caller]
fn refuses(text: &str, place: &str, fragment: &str) {
    let error = read(text).expect_err(fragment);
    assert!(
        error.starts_with(&format!("{place}: ")) && error.contains(fragment),
        "expected {place} and {fragment:?}, got {error:?}"
    );
}

#[test]
fn jepsens_maps() {
    reads(
        "; by hand\n\
         {:process 0, :type :invoke, :f :write, :value 1, :time 10, :index 0}\n\
         {:process :nemesis, :type :invoke, :f :kill, :value {\"n1\" #{\"n2\"}}, :time 11}\n\
         {:process 0, :type :info, :f :write, :value 1, :error [:timeout \"x\"], :time 10}\n\
         {:process 1 :type :invoke :f :cas :value [1 2]}\n\
         {:process 1 :type :fail :f :cas :value [1 2] :error :no}\n",
        &expect![[r#"
            jepsen "cas-register"
             2 {"time":10,"process":0,"type":"invoke","f":"write","value":1}
             3 {"time":11,"process":"nemesis","type":"info","f":"kill","value":{"n1":["n2"]}}
             4 {"time":11,"process":0,"type":"info","f":"write","value":1,"error":"[\"timeout\",\"x\"]"}
             5 {"time":12,"process":1,"type":"invoke","f":"cas","value":[1,2]}
             6 {"time":13,"process":1,"type":"fail","f":"cas","value":[1,2],"error":"no"}
        "#]],
    );
}

/// Jepsen fills in -1 where no time was given, and `nil` where no process was.
#[test]
fn a_time_of_minus_one_is_none() {
    let expected = expect![[r#"
        jepsen "list-append"
         1 {"time":1,"process":0,"type":"invoke","f":"txn","value":[["append","x",1]]}
         2 {"time":2,"process":0,"type":"ok","f":"txn","value":[["append","x",1]]}
    "#]];
    reads(
        "#jepsen.history.Op{:index 0, :time -1, :type :invoke, :process nil, :f :txn, :value [[:append :x 1]]}\n\
         {:index 1 :time -1 :type :ok :process 0 :f :txn :value [[:append :x 1]]}\n",
        &expected,
    );
    let json = r#"{"type":"invoke","f":"txn","value":[["append","x",1]],"process":0,"time":-1,"index":0}
        {"type":"ok","f":"txn","value":[["append","x",1]],"process":0,"time":-1,"index":1}"#;
    reads(json, &expected);
    let (_, history) = Check::new().read(json.as_bytes()).unwrap();
    assert!(!history.has_times());
}

/// What Clojure prints of faults, above all.
#[test]
fn numbers_and_expressions_as_clojure_writes_them() {
    reads(
        "{:process 0x1, :type :invoke, :f :write, :value 017, :pattern #\"x.y\\\"\\d\"}\n\
         {:process :nemesis, :type :info, :f :kill, :value {\"n1\" #object[clojure.lang.Atom 0x6a1d204a {:status :ready, :val 1/2}]}}\n\
         {:process 1N, :type :ok, :f :write, :value 2r1111}\n",
        &expect![[r#"
            jepsen "register"
             1 {"time":1,"process":1,"type":"invoke","f":"write","value":15}
             2 {"time":2,"process":"nemesis","type":"info","f":"kill","value":{"n1":["clojure.lang.Atom",1780293706,{"status":"ready","val":"1/2"}]}}
             3 {"time":3,"process":1,"type":"ok","f":"write","value":15}
        "#]],
    );
    for (number, notation) in [
        ("{:process 08}", "EDN"),
        ("{\"type\":\"ok\",\"f\":08}", "JSON"),
    ] {
        let told = read(number).unwrap_err();
        assert!(
            told.ends_with(&format!("\"08\" is no number of {notation}")),
            "{told}"
        );
    }
}

/// Whatever stands before the first event, or names its record.
#[test]
fn maps_are_recognized_behind_what_does_not_count() {
    for text in [
        "#_{:type :foo} {:process 0 :type :invoke :f :read}",
        "; a\n#_ #_ 1 2 ; b\n [#_x #knossos.op.Op{:process 0, :type :invoke, :f :read}]",
        "^:meta ( #my.own/Record {#_ :x :process 0, :type :invoke, :f :read})",
    ] {
        let told = read(text).unwrap();
        assert!(told.starts_with("jepsen \"register\"\n"), "{told}");
    }
    for text in ["#_{:type :foo}", "(ns user {:a 1})", "#_", "[{1 2}]", "[]"] {
        assert_eq!(Format::recognize(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn who_is_no_number_is_no_client() {
    reads(
        "{:process 0, :type :invoke, :f :read}\n\
         {:process :logging, :type :info, :f :log, :value \"x\"}\n\
         {:process \"n1\", :type :invoke, :f :kill, :value 1.5}\n\
         {:process -1, :type :invoke, :f :read}\n\
         {:process 0, :type :ok, :f :read}\n",
        &expect![[r#"
            jepsen "register"
             1 {"time":1,"process":0,"type":"invoke","f":"read","value":null}
             2 {"time":2,"process":"nemesis","type":"info","f":"log","value":"x"}
             3 {"time":3,"process":"nemesis","type":"info","f":"kill","value":1.5}
             4 {"time":4,"process":1099511627776,"type":"invoke","f":"read","value":null}
             5 {"time":5,"process":0,"type":"ok","f":"read","value":null}
        "#]],
    );
    // Nothing would be judged.
    let all = r#"{"type":"invoke","process":"client-1","f":"read","value":null}"#;
    refuses(
        all,
        "line 1, column 28",
        "no whole number, and so no client",
    );
}

#[test]
fn a_vector_of_maps_and_of_records() {
    reads(
        "[{:type :invoke, :f :acquire, :process 3}\n #jepsen.history.Op{:type :ok, :f :acquire, :process 3}]",
        &expect![[r#"
            jepsen "mutex"
             1 {"time":1,"process":3,"type":"invoke","f":"acquire","value":null}
             2 {"time":2,"process":3,"type":"ok","f":"acquire","value":null}
        "#]],
    );
}

#[test]
fn transactions_without_process_or_name() {
    reads(
        "{:index 0 :type :invoke :value [[:append 1 2] [:r 3 nil]]}\n\
         {:index 1 :type :ok :value [[:append 1 2] [:r 3 [4 5]]]}\n",
        &expect![[r#"
            jepsen "list-append"
             1 {"time":1,"process":0,"type":"invoke","f":"txn","value":[["append",1,2],["r",3,null]]}
             2 {"time":2,"process":0,"type":"ok","f":"txn","value":[["append",1,2],["r",3,[4,5]]]}
        "#]],
    );
    assert!(
        read("{:type :invoke :f :txn :value [[:w 1 2]]}")
            .unwrap()
            .starts_with("jepsen \"rw-register\"")
    );
}

/// Elle's documentation shows its histories so. Each may have begun as soon as its process was
/// free.
#[test]
fn completions_alone_began_when_their_process_was_free() {
    let begun_late = r"
{:process 0, :type :ok, :value [[:append :x 1] [:r :y [1]]]}
{:process 1, :type :ok, :value [[:append :x 2] [:append :y 1]]}
{:process 0, :type :fail, :value [[:append :x 3]]}
{:process 2, :type :ok, :value [[:r :x [1 2]]]}
";
    reads(
        begun_late,
        &expect![[r#"
            jepsen "list-append"
             2 {"time":1,"process":0,"type":"invoke","f":"txn","value":[["append","x",1],["r","y",[1]]]}
             3 {"time":2,"process":1,"type":"invoke","f":"txn","value":[["append","x",2],["append","y",1]]}
             5 {"time":3,"process":2,"type":"invoke","f":"txn","value":[["r","x",[1,2]]]}
             2 {"time":4,"process":0,"type":"ok","f":"txn","value":[["append","x",1],["r","y",[1]]]}
             4 {"time":5,"process":0,"type":"invoke","f":"txn","value":[["append","x",3]]}
             3 {"time":6,"process":1,"type":"ok","f":"txn","value":[["append","x",2],["append","y",1]]}
             4 {"time":7,"process":0,"type":"fail","f":"txn","value":[["append","x",3]]}
             5 {"time":8,"process":2,"type":"ok","f":"txn","value":[["r","x",[1,2]]]}
        "#]],
    );
    let checked = Check::new().bytes(begun_late.as_bytes()).unwrap();
    let violation = checked.verdict.violation().expect("a cycle");
    assert_eq!(violation.kind.name, "G1c");
    // The order of two processes is not known, that of one is.
    let of_two = "{:process 0 :type :ok :value [[:append :x 1]]}
                  {:process 1 :type :ok :value [[:r :x []]]}";
    let is_valid = |text: &str| {
        let checked = Check::new().bytes(text.as_bytes()).unwrap();
        checked.verdict.is_valid()
    };
    assert!(is_valid(of_two));
    assert!(!is_valid(&of_two.replace(":process 1", ":process 0")));
    // Where others have been invoked, one that was not is a contradiction.
    refuses(
        &format!("{of_two}\n{{:process 2 :type :invoke :value [[:r :x nil]]}}"),
        "line 1, column 11",
        "completes an operation (ok) but has none open",
    );
}

#[test]
fn independent_registers_have_their_keys() {
    reads(
        "{:process 0 :type :invoke :f :read :value [:x nil]}\n\
         {:process 1 :type :invoke :f :cas :value [\"y\" [1 2]]}\n\
         {:process 0 :type :ok :f :read :value [:x [7]]}\n",
        &expect![[r#"
            jepsen "cas-register"
             1 {"time":1,"process":0,"type":"invoke","f":"read","value":{"key":"x","value":null}}
             2 {"time":2,"process":1,"type":"invoke","f":"cas","value":{"key":"y","value":[1,2]}}
             3 {"time":3,"process":0,"type":"ok","f":"read","value":{"key":"x","value":[7]}}
        "#]],
    );
    refuses(
        "{:process 0 :type :invoke :f :read :value [1 nil]}\n{:process 1 :type :invoke :f :write :value 3}",
        "line 2, column 44",
        "tuples of a key and a value",
    );
    // A register that holds lists is no tuple.
    assert!(
        read("{:process 0 :type :invoke :f :write :value [1 2]}\n{:process 1 :type :invoke :f :read :value nil}")
            .unwrap()
            .contains(r#""value":[1,2]"#)
    );
}

#[test]
fn porcupines_key_value_events() {
    reads(
        "{:process 0, :type :invoke, :f :get, :key \"x\", :value nil}\n\
         {:process 0, :type :ok, :f :get, :key \"x\", :value \"\"}\n\
         {:process 1, :type :invoke, :f :append, :key \"x\", :value \"a b\"}\n",
        &expect![[r#"
            jepsen "kv"
             1 {"time":1,"process":0,"type":"invoke","f":"get","value":{"key":"x","value":null}}
             2 {"time":2,"process":0,"type":"ok","f":"get","value":{"key":"x","value":null}}
             3 {"time":3,"process":1,"type":"invoke","f":"append","value":{"key":"x","value":"a b"}}
        "#]],
    );
}

#[test]
fn lines_of_jepsens_log() {
    reads(
        "INFO  jepsen.core - Worker 0 starts\n\
         INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2]\n\
         INFO  jepsen.util - :nemesis\t:info\t:start\tCut off {:n1 #{:n2}}\n\
         INFO  jepsen.util - 0\t:info\t:cas\t:timed-out\n\
         INFO  jepsen.util - 5\t:invoke\t:read\tnil\n\
         INFO  jepsen.util - 5\t:ok\t:read\t4\n",
        &expect![[r#"
            jepsen-log "cas-register"
             2 {"time":1,"process":0,"type":"invoke","f":"cas","value":[1,2]}
             3 {"time":2,"process":"nemesis","type":"info","f":"start","value":"Cut off {:n1 #{:n2}}"}
             4 {"time":3,"process":0,"type":"info","f":"cas","value":null,"error":"timed-out"}
             5 {"time":4,"process":5,"type":"invoke","f":"read","value":null}
             6 {"time":5,"process":5,"type":"ok","f":"read","value":4}
        "#]],
    );
    reads(
        "2026-01-02 03:04:05,678{GMT}\tINFO\t[jepsen worker 0] jepsen.util: 0\t:invoke\t:write\t3\n\
         2026-01-02 03:04:05,679{GMT}\tINFO\t[jepsen worker 0] jepsen.util: 0\t:info\t:write\t3\t[:timeout]\n",
        &expect![[r#"
            jepsen-log "register"
             1 {"time":1,"process":0,"type":"invoke","f":"write","value":3}
             2 {"time":2,"process":0,"type":"info","f":"write","value":3,"error":"[:timeout]"}
        "#]],
    );
    assert!(
        read("0\t:invoke\t:read\tnil\n0\t:ok\t:read\t7\n")
            .unwrap()
            .starts_with("jepsen-log")
    );
}

/// As Knossos' data of 2014 has them.
#[test]
fn lines_in_brackets() {
    reads(
        "[70  :invoke :read nil]\n[71\t:invoke\t:cas\t[1 [0 2]]]\r\n\n\
         [:nemesis :info :start [1 2]]\n[70 :ok :read 7]\n[71 :info :cas :timed-out]\n",
        &expect![[r#"
            jepsen-log "cas-register"
             1 {"time":1,"process":70,"type":"invoke","f":"read","value":null}
             2 {"time":2,"process":71,"type":"invoke","f":"cas","value":[1,[0,2]]}
             4 {"time":3,"process":"nemesis","type":"info","f":"start","value":"[1 2]"}
             5 {"time":4,"process":70,"type":"ok","f":"read","value":7}
             6 {"time":5,"process":71,"type":"info","f":"cas","value":null,"error":"timed-out"}
        "#]],
    );
    refuses(
        "[70 :invoke :read nil",
        "line 1, column 22",
        "is not closed",
    );
}

/// Before the first operation a test may say very much.
#[test]
fn a_log_is_recognized_however_late_its_first_operation_comes() {
    let operation = "2022-07-28 07:56:10,607{GMT}\tINFO\t[jepsen worker 2] jepsen.util: 2\t:invoke\t:read\tnil\n";
    for line in [
        "2022-07-28 07:56:10,607{GMT}\tINFO\t[jepsen node n2] jepsen.core: some map {:type :invoke, :f :read}\n",
        "2018-04-05 15:14:41.203 WARN [main] jepsen.cli: Test options:\n{:a 1}\n",
        "INFO [2019-04-01 11:25:23,791] jepsen worker 1 - jepsen.util hello\n",
        "INFO  jepsen.core - Worker 0 starts\n",
    ] {
        let before = line.repeat((100 << 10) / line.len());
        let late = before.clone() + operation;
        let told = read(&late).unwrap();
        assert!(told.starts_with("jepsen-log \"register\"\n"), "{told}");
        let is_history = |text: &str| Opened::new(text.as_bytes()).unwrap().is_history();
        assert!(is_history(&late) && is_history(operation), "{line}");
        // A test that broke off before, or did not log them.
        assert!(!is_history(&before), "{line}");
        refuses(
            &before,
            "line 1, column 1",
            "no line of this log tells of an operation",
        );
    }
    for other in [
        "2022-07-28 07:56:10,607 INFO [main] org.apache.zookeeper.server: hello\n",
        "2022-07-28 07:53:01 Jepsen starting jepsen.log\n",
        "What jepsen.util: INFO does\n",
    ] {
        assert_eq!(Format::recognize(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn the_monitors_text() {
    reads(
        "# queue\nenq 1 0 4\ndeq 1 4 5\nenq 2 5 6\ndeq -1 1 2\n",
        &expect![[r#"
            monitor "fifo-queue"
             2 {"time":0,"process":0,"type":"invoke","f":"enqueue","value":1}
             5 {"time":1,"process":1,"type":"invoke","f":"dequeue","value":null}
             5 {"time":2,"process":1,"type":"ok","f":"dequeue","value":null}
             2 {"time":4,"process":0,"type":"ok","f":"enqueue","value":1}
             3 {"time":4,"process":0,"type":"invoke","f":"dequeue","value":null}
             3 {"time":5,"process":0,"type":"ok","f":"dequeue","value":1}
             4 {"time":5,"process":0,"type":"invoke","f":"enqueue","value":2}
             4 {"time":6,"process":0,"type":"ok","f":"enqueue","value":2}
        "#]],
    );
    reads(
        "# pqueue\ninsert 5 1 3\npoll 5 4 5\n",
        &expect![[r#"
            monitor "priority-queue"
             2 {"time":1,"process":0,"type":"invoke","f":"enqueue","value":[5,-5]}
             2 {"time":3,"process":0,"type":"ok","f":"enqueue","value":[5,-5]}
             3 {"time":4,"process":0,"type":"invoke","f":"dequeue","value":null}
             3 {"time":5,"process":0,"type":"ok","f":"dequeue","value":[5,-5]}
        "#]],
    );
}

/// At equal times a return is before a call: taken the other way round, the two
/// enqueues would overlap and both orders would be right.
#[test]
fn the_monitors_text_with_the_times_in_front() {
    reads(
        "# priorityqueue\n0 1 5 INSERT 10\n2 6 8 POLL 10\n",
        &expect![[r#"
            monitor "priority-queue"
             2 {"time":1,"process":0,"type":"invoke","f":"enqueue","value":[10,-10]}
             2 {"time":5,"process":0,"type":"ok","f":"enqueue","value":[10,-10]}
             3 {"time":6,"process":2,"type":"invoke","f":"dequeue","value":null}
             3 {"time":8,"process":2,"type":"ok","f":"dequeue","value":[10,-10]}
        "#]],
    );
    let verdict = |text: &str| {
        let checked = Check::new().bytes(text.as_bytes()).unwrap();
        checked.verdict.is_valid()
    };
    assert!(verdict("# set\n0 0 2 INSERT 2 1\n1 1 3 CONTAINS 2 0\n"));
    assert!(!verdict("# set\n0 0 2 INSERT 2 1\n1 2 3 CONTAINS 2 0\n"));
    // Each reads what the one before has written, the first one 0.
    let exchange = |first: u8| {
        format!("# rmw\n0 1 9 READ_MODIFY_WRITE 2 3\n1 1 9 READ_MODIFY_WRITE {first} 2\n")
    };
    assert!(verdict(&exchange(0)));
    assert!(!verdict(&exchange(1)));
    refuses(
        "# queue\n0 1 5 ENQ 5\n0 3 6 ENQ 6\n",
        "line 3, column 7",
        "process 0 invokes an operation while that of line 2 is still open",
    );
    refuses(
        "# queue\n0 1 5 ENQ 5\nENQ 6 7 8\n",
        "line 3, column 1",
        "this operation names no process, and those before it do",
    );
    refuses(
        "# queue\n0 1 ENQ 5\n",
        "line 2, column 5",
        "an end time must be a whole number",
    );
    refuses("# queue\n0 5 1 ENQ 5\n", "line 2, column 5", "ends at");
}

/// The checkers of queues need distinct values; it is said as soon as one repeats, which only
/// reading is needed for.
#[test]
fn a_value_that_is_put_in_twice_is_refused_while_it_is_read() {
    let rest = "enq no number\n".repeat(3);
    refuses(
        &format!("# queue\nenq 1 0 1\ndeq 1 2 3\nENQ  1 4 5\n{rest}"),
        "line 4, column 6",
        "the value \"1\" was already enqueued in line 2",
    );
    refuses(
        &format!("# pqueue\n0 insert -7 0 1\n0 poll 7 2 3\n0 insert -7 4 5\n{rest}"),
        "line 4, column 10",
        "the value \"-7\" was already enqueued in line 2",
    );
    // Elements of sets come and go.
    assert!(read("# set\ninsert 1 1 0 1\nremove 1 1 2 3\ninsert 1 1 4 5\n").is_ok());
    assert!(read("# stack\npush 1 0 1\npush 1 2 3\n").is_ok());
}

#[test]
fn at_equal_times_a_return_comes_first() {
    let verdict = |text: &str| Check::new().bytes(text.as_bytes()).unwrap().verdict;
    let order = "# queue\nenq 1 0 1\nenq 2 1 2\n";
    assert!(verdict(&format!("{order}deq 1 3 4\ndeq 2 5 6\n")).is_valid());
    let overtaken = verdict(&format!("{order}deq 2 3 4\ndeq 1 5 6\n"));
    let violation = overtaken.violation().expect("2 overtook 1");
    assert_eq!(violation.kind.name, "VOrd");
    let lines: Vec<usize> = violation.witness.iter().map(|o| o.invoked.line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
    // Largest first.
    let greatest = "# pqueue\ninsert 1 0 1\ninsert 2 2 3\n";
    assert!(verdict(&format!("{greatest}poll 2 4 5\npoll 1 6 7\n")).is_valid());
    assert!(
        verdict(&format!("{greatest}poll 1 4 5\npoll 2 6 7\n"))
            .violation()
            .is_some()
    );
}

#[test]
fn faults_are_told_with_line_and_column() {
    refuses("{:type :invoke\n :f }", "line 2, column 5", "has no value");
    refuses(
        "[{:type :invoke :f :read}",
        "line 1, column 26",
        "the text ends in the middle",
    );
    refuses("{:type :invoke :f :read}\n 7", "line 2, column 2", "maps");
    refuses("{:f :read}", "line 1, column 1", "no `:type`");
    refuses(
        "{:process 1 :type :begin}",
        "line 1, column 19",
        "`:type` must be",
    );
    refuses("\"x\"\n", "line 1, column 1", "none of the formats");
    refuses("", "line 1, column 1", "empty");
    refuses(
        "# queue\nenq 1 5 4\n",
        "line 2, column 9",
        "ends at 4, before it starts at 5",
    );
    refuses(
        "# queue\nenq 1 5\n",
        "line 2, column 8",
        "lacks an end time",
    );
    refuses("# queue\nenq x 5 6\n", "line 2, column 5", "whole number");
    refuses(
        "# queue\npush 1 5 6\n",
        "line 2, column 1",
        "no method \"push\"",
    );
    refuses(
        "# queue\nenq 1 5 6 7\n",
        "line 2, column 11",
        "behind the operation",
    );
    refuses(
        "INFO jepsen.util - 0 :invoke :read nil\nINFO jepsen.util - 1 :ok :read",
        "line 2, column 31",
        "before the value",
    );
}

/// What contradicts itself is no violation, in whatever format.
#[test]
fn contradictions_are_told_apart_from_violations() {
    let invoke = "{:process 1 :type :invoke :f :read :value nil}\n";
    refuses(
        "{:process 1 :type :ok :f :read :value 3}",
        "line 1, column 11",
        "has none open",
    );
    refuses(
        &format!("{invoke}{invoke}"),
        "line 2, column 11",
        "still open",
    );
    refuses(
        &format!("{invoke}{{:process 1 :type :ok :f :write :value 3}}"),
        "line 2, column 26",
        "completes \"write\" but has \"read\" open",
    );
    refuses(
        &format!("{invoke}{{:process 1 :type :info :f :read :value nil}}\n{invoke}"),
        "line 3, column 11",
        "used again",
    );
    refuses(
        "INFO jepsen.util - 0 :ok :read 1\nINFO jepsen.util - 0 :invoke :read nil",
        "line 1, column 20",
        "has none open",
    );
    let twice = Check::new()
        .bytes(b"# queue\nenq 1 0 1\nenq 1 2 3\n")
        .unwrap_err();
    assert!(matches!(twice, CheckError::Import(_)));
    assert!(
        twice
            .to_string()
            .starts_with("line 3, column 5: the value \"1\" was already"),
        "{twice}"
    );
}

#[test]
fn the_errors_of_our_own_format_have_columns() {
    const HEADER: &str = r#"{"format":"etcd-recipes-history","version":1,"workload":"w","model":"fifo-queue","source":{"kind":"other"}}"#;
    let error = |header: &str, line: &str| {
        let text = format!("{header}\n{line}\n");
        Check::new().bytes(text.as_bytes()).unwrap_err().to_string()
    };
    for (line, place) in [
        (
            r#"{"time":1,"process":0,"type":"ok","f":"enqueue","value":"a"}"#,
            "line 2, column 21: process 0 completes",
        ),
        (
            r#"{"time":1,"process":"nemesis","type":"ok","f":"x"}"#,
            "line 2, column 38: an event of the nemesis",
        ),
        (
            r#"{"time":1, "process":0,"type":"invoke","revision":-3,"f":"x"}"#,
            "line 2, column 51: the revision -3",
        ),
        (
            r#"{"time":1,"process":0,"type":"invoke","f":"leave"}"#,
            "line 2, column 43: the model fifo-queue knows no",
        ),
        (
            r#"{"time":1,"process":0,"type":"invoke","f":"enqueue","value": {"a":[]}}"#,
            "line 2, column 62: the value of \"enqueue\"",
        ),
        (
            r#"{"time":1,"process":0,"type":"invoke""#,
            "line 2, column 37: the line ends",
        ),
    ] {
        let told = error(HEADER, line);
        assert!(told.starts_with(place), "{told}");
    }
    let told = error(&HEADER.replace("fifo-queue", "heap"), "");
    assert!(
        told.starts_with("line 1, column 69: the header names the unknown model"),
        "{told}"
    );
    let told = error(&HEADER.replace("\"version\":1", "\"version\":7"), "");
    assert!(
        told.starts_with("line 1, column 44: the history has format version 7"),
        "{told}"
    );
}

#[test]
fn packed_files_are_recognized() {
    let text = "# queue\nenq 1 0 1\ndeq 1 2 3\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let zstd = ruzstd::encoding::compress_to_vec(text.as_bytes(), level);
    for (bytes, expected) in [
        (text.as_bytes(), Compression::None),
        (&gzip, Compression::Gzip),
        (&zstd, Compression::Zstd),
    ] {
        let opened = Opened::new(bytes).unwrap();
        assert_eq!(opened.compression(), expected);
        assert_eq!(opened.format(), Some(Format::Monitor));
        assert!(Check::new().bytes(bytes).unwrap().verdict.is_valid());
    }
    // Several members and frames are one text.
    let rest = "deq -1 4 5\n";
    let more = ruzstd::encoding::compress_to_vec(rest.as_bytes(), level);
    let two = [zstd.clone(), more].concat();
    let checked = Check::new().bytes(&two).unwrap();
    assert_eq!(checked.history.events().len(), 6);
    for damaged in [&gzip[..gzip.len() - 6], &zstd[..zstd.len() - 3]] {
        let error = Check::new().bytes(damaged).unwrap_err();
        assert!(matches!(error, CheckError::Import(_)), "{error}");
        let told = error.to_string();
        assert!(told.starts_with("line "), "{told}");
        assert!(
            told.contains(": cannot read: the ") && told.ends_with("damaged"),
            "{told}"
        );
    }
}

#[test]
fn the_time_of_a_process_does_not_go_back() {
    // The clocks of threads are read in any order.
    let skewed = "{:process 0, :type :invoke, :f :read, :value nil, :time 20}\n\
         {:process 1, :type :invoke, :f :read, :value nil, :time 10}\n";
    assert!(read(skewed).is_ok());
    refuses(
        "{:process 0, :type :invoke, :f :read, :value nil, :time 20}\n\
         {:process 0, :type :ok, :f :read, :value nil, :time 10}\n",
        "line 2, column 53",
        "the time of process 0 goes back: 10 ns after 20 ns",
    );
}

#[test]
fn what_was_cut_off_is_called_so() {
    refuses(
        "{:process 0, :type :invoke, :f :write, :value \"ab",
        "line 1, column 48",
        "the text ends in the middle of a value",
    );
    refuses(
        "[{:process 0, :type :invoke, :f :write, :value 1}",
        "line 1, column 50",
        "the text ends in the middle of a value",
    );
}

#[test]
fn a_model_that_nobody_knows_is_refused_where_it_is_named() {
    let error = Check::new().bytes(b"# stack\npush 1 0 1\n").unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("line 1, column 3: "), "{told}");
    assert!(told.contains("\"stack\""), "{told}");
}

/// A text without an end.
struct Endless {
    line: &'static str,
    at: usize,
    given: Rc<Cell<usize>>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = &self.line.as_bytes()[self.at..];
        let read = bytes.len().min(buffer.len());
        buffer[..read].copy_from_slice(&bytes[..read]);
        self.at = (self.at + read) % self.line.len();
        self.given.set(self.given.get() + read);
        Ok(read)
    }
}

#[test]
fn no_more_is_read_than_may_be_held() {
    for (format, line) in [
        (Format::Monitor, "# queue\n"),
        (Format::Jepsen, "{:type :info, :f :read}\n"),
        (
            Format::JepsenLog,
            "INFO  jepsen.util - 0  :info  :read  nil\n",
        ),
        (Format::Robustness, "{\"ClientId\":1}\n"),
    ] {
        let given = Rc::new(Cell::new(0));
        let endless = Endless {
            line,
            at: 0,
            given: Rc::clone(&given),
        };
        let check = Check::new().format(format).budget(Budget::bytes(1 << 20));
        let error = check.read(endless).unwrap_err();
        assert!(matches!(error, ImportError::TooLarge(_)), "{error}");
        assert!(
            error.to_string().contains("its text alone takes about"),
            "{error}"
        );
        assert!(given.get() < 8 << 20, "{format}: {}", given.get());
    }
}

/// A search holds more than it reads.
#[test]
fn what_can_be_read_but_not_checked_is_refused_too() {
    let mut text = String::new();
    for value in 0..5_000 {
        for kind in ["invoke", "ok"] {
            text += &format!("{{:process 0, :type :{kind}, :f :write, :value {value}}}\n");
        }
    }
    let mut read_only = 0;
    for kib in (1..64).map(|step| step * 64) {
        let check = Check::new().budget(Budget::bytes(kib << 10));
        let Ok((format, history)) = check.read(text.as_bytes()) else {
            continue;
        };
        let checked = check.imported(format, history);
        if let Err(CheckError::Import(ImportError::TooLarge(refused))) = checked {
            assert_eq!(refused.line, 10_000);
            read_only += 1;
        } else {
            assert!(checked.unwrap().verdict.is_valid());
        }
    }
    assert!((5..40).contains(&read_only), "{read_only}");
}

#[test]
fn a_file_is_checked_in_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("h");
    fs::write(&path, "# queue\nenq 1 0 1\ndeq 1 2 3\n").unwrap();
    let checked = check_file(&path).unwrap();
    assert!(matches!(checked.verdict, Verdict::Valid(_)));
    assert!(matches!(
        check_file(folder.path().join("none")),
        Err(CheckError::Open(_))
    ));
}

#[test]
fn what_does_not_fit_into_memory_is_refused_with_the_figure() {
    let mut text = "# queue\n".to_owned();
    for value in 0..5_000 {
        text += &format!("enq {value} {value} {}\n", value + 1);
    }
    let small = Check::new().budget(Budget::bytes(200_000));
    let error = small.bytes(text.as_bytes()).unwrap_err();
    let CheckError::Import(ImportError::TooLarge(refused)) = &error else {
        panic!("{error}");
    };
    assert!(refused.line > 1 && refused.needed > refused.limit);
    assert!(error.to_string().contains("larger than memory"), "{error}");
    assert!(
        Check::new()
            .budget(Budget::bytes(20 << 20))
            .bytes(text.as_bytes())
            .is_ok()
    );
    // Our own format is not held as text, but counts as well.
    let (_, history) = Check::new().read(text.as_bytes()).unwrap();
    let mut lines = Vec::new();
    history.write_to(&mut lines).unwrap();
    assert!(matches!(
        small.bytes(&lines),
        Err(CheckError::Import(ImportError::TooLarge(_)))
    ));
}
