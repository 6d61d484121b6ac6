//! Whatever is wrong with a file, the reader or the checker says so with the line
//! and a sentence: it never panics, and never calls a broken file a violation.

use std::io::{BufReader, Read};

use etcd_checker::history::Source;
use etcd_checker::{History, Model, check};
use proptest::prelude::*;

use crate::support::{Random, busy_bank, busy_queue};

const HEADER: &str = r#"{"format":"etcd-recipes-history","version":1,"workload":"queue","model":"fifo-queue","source":{"kind":"simulation","seed":7,"plan":{"faults":[]}},"parameters":{}}"#;
const INVOKE: &str = r#"{"time":10,"process":0,"type":"invoke","f":"enqueue","value":"a"}"#;
const OK: &str = r#"{"time":20,"process":0,"type":"ok","f":"enqueue","value":"a"}"#;

/// Reads and checks; the first error of either.
fn outcome(bytes: &[u8]) -> Result<(), String> {
    let history = History::read_from(bytes).map_err(|error| error.to_string())?;
    let model = Model::of(&history).map_err(|error| error.to_string())?;
    check(&history, model)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Expects the error to be at that line and to say that.
#[track_caller]
fn refused(text: &str, line: usize, fragment: &str) {
    let error = outcome(text.as_bytes()).expect_err(fragment);
    let at = error.starts_with(&format!("line {line}:"))
        || error.starts_with(&format!("line {line}, column "));
    assert!(
        at && error.contains(fragment),
        "expected line {line} and {fragment:?}, got {error:?}"
    );
}

fn with_header(lines: &[&str]) -> String {
    let mut text = HEADER.to_owned();
    for line in lines {
        text += "\n";
        text += line;
    }
    text + "\n"
}

fn with_model(model: &str, parameters: &str, lines: &[&str]) -> String {
    let header = HEADER.replace("fifo-queue", model).replace(
        r#""parameters":{}"#,
        &format!(r#""parameters":{parameters}"#),
    );
    with_header(lines).replace(HEADER, &header)
}

#[test]
fn what_is_well_formed_is_read() {
    assert_eq!(outcome(with_header(&[]).as_bytes()), Ok(()));
    assert_eq!(
        outcome(with_header(&[INVOKE, "", "  ", OK]).as_bytes()),
        Ok(())
    );
    assert_eq!(
        outcome(with_header(&[INVOKE, OK]).replace('\n', "\r\n").as_bytes()),
        Ok(())
    );
    assert_eq!(
        outcome(with_header(&[INVOKE, OK]).trim_end().as_bytes()),
        Ok(())
    );
    let newer = OK.replace(r#""f""#, r#""node":"n1","tags":{"x":[1,null]},"f""#);
    assert_eq!(outcome(with_header(&[INVOKE, &newer]).as_bytes()), Ok(()));
}

#[test]
fn a_wrong_header_is_refused() {
    refused("", 1, "the file is empty");
    refused("\n \n", 1, "the file is empty");
    refused("hello\n", 1, "not valid JSON");
    refused("[1,2]\n", 1, "the first line must be a header");
    refused(INVOKE, 1, "the first line must be a header");
    refused(
        "{\"format\":\"other\",\"version\":1}\n",
        1,
        "the first line must be a header",
    );
    refused(
        &HEADER.replace("\"version\":1", "\"version\":2"),
        1,
        "format version 2",
    );
    refused(
        &HEADER.replace("\"version\":1", "\"version\":\"x\""),
        1,
        "format version \"x\"",
    );
    refused(
        &HEADER.replace("\"version\":1,", ""),
        1,
        "format version none",
    );
    refused(&HEADER[..60], 1, "cut off");
    refused(
        &HEADER.replace("simulation", "dream"),
        1,
        "unknown kind of source \"dream\"",
    );
    refused(
        &HEADER.replace("\"seed\":7,", ""),
        1,
        "needs the field \"seed\"",
    );
    refused(
        &HEADER.replace("\"model\":\"fifo-queue\",", ""),
        1,
        "the field `model` is missing",
    );
    refused(
        &HEADER.replace("\"parameters\":{}", "\"parameters\":[]"),
        1,
        "must be a JSON object",
    );
    refused(
        &HEADER.replace("fifo-queue", "stack"),
        1,
        "unknown model \"stack\"; known are fifo-queue, transactions, bank",
    );
}

#[test]
fn a_header_needs_no_more_than_a_model() {
    let header = r#"{"format":"etcd-recipes-history","version":1,"model":"fifo-queue"}"#;
    let history = History::read_from(header.as_bytes()).expect("it says what checks it");
    assert_eq!(history.header().workload, "fifo-queue");
    let nothing_said = Source::Other {
        description: String::new(),
    };
    assert_eq!(history.header().source, nothing_said);
}

#[test]
fn a_broken_line_is_refused() {
    refused(&with_header(&[INVOKE, &OK[..30]]), 3, "cut off");
    refused(&with_header(&[INVOKE, "\u{1}"]), 3, "not valid JSON");
    refused(
        &with_header(&[INVOKE, "17"]),
        3,
        "`17` stands where an object is expected",
    );
    refused(
        &with_header(&[INVOKE, &format!("{OK} {OK}")]),
        3,
        "trailing characters",
    );
    refused(
        &with_header(&["", INVOKE, &OK.replace("20", "-1")]),
        4,
        "`-1` stands where a whole number",
    );
    refused(
        &with_header(&[&INVOKE.replace("10", "1.5")]),
        2,
        "`1.5` stands where a whole number",
    );
    refused(
        &with_header(&[&INVOKE.replace("10", "99999999999999999999")]),
        2,
        "`1e+20` stands where a whole number",
    );
    refused(
        &with_header(&[&INVOKE.replace("\"time\":10,", "")]),
        2,
        "the field `time` is missing",
    );
    refused(
        &with_header(&[&INVOKE.replace("\"process\":0", "\"process\":\"n1\"")]),
        2,
        "a whole number, or \"nemesis\"",
    );
    refused(
        &with_header(&[&INVOKE.replace("invoke", "start")]),
        2,
        "`start` is none of `invoke`",
    );
    refused(
        &with_header(&[&INVOKE.replace("\"f\"", "\"time\":1,\"f\"")]),
        2,
        "the field `time` occurs twice",
    );
    let deep = INVOKE.replace("\"a\"", &("[".repeat(200) + &"]".repeat(200)));
    refused(&with_header(&[&deep]), 2, "nested more than 100 levels");
    refused(
        &with_header(&[&"[".repeat(1 << 20)]),
        2,
        "nested more than 100 levels",
    );
    let mut bytes = with_header(&[INVOKE]).into_bytes();
    bytes.extend(b"{\"time\":1\xff}\n");
    let error = outcome(&bytes).unwrap_err();
    assert!(
        error.starts_with("line 3, column 10: the line is not valid UTF-8"),
        "{error}"
    );
}

#[test]
fn a_line_without_end_is_refused_without_reading_it_all() {
    let endless = HEADER
        .as_bytes()
        .chain(&b"\n"[..])
        .chain(std::io::repeat(b' '));
    let error = History::read_from(BufReader::new(endless))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("line 2, column 16777217: the line is longer than 16 MiB"),
        "{error}"
    );
}

#[test]
fn events_that_contradict_each_other_are_refused() {
    refused(
        &with_header(&[OK]),
        2,
        "process 0 completes an operation (ok) but has none open",
    );
    refused(
        &with_header(&[INVOKE, INVOKE]),
        3,
        "while that of line 2 is still open",
    );
    refused(&with_header(&[INVOKE, OK, OK]), 4, "has none open");
    refused(
        &with_header(&[INVOKE, &OK.replace("20", "9")]),
        3,
        "time goes back: 9 ns after 10 ns",
    );
    refused(
        &with_header(&[INVOKE, &OK.replace("enqueue", "dequeue")]),
        3,
        "has \"enqueue\" open since line 2",
    );
    let info = OK.replace("\"ok\"", "\"info\"");
    refused(
        &with_header(&[INVOKE, &info, &INVOKE.replace("10", "30")]),
        4,
        "used again after its unknown outcome in line 3",
    );
    refused(
        &with_header(&[&INVOKE.replace("\"process\":0", "\"process\":\"nemesis\"")]),
        2,
        "must have the type \"info\"",
    );
    let negative = OK.replace("\"f\"", "\"revision\":-4,\"f\"");
    refused(
        &with_header(&[INVOKE, &negative]),
        3,
        "the revision -4 is negative",
    );
}

#[test]
fn what_is_no_queue_is_refused() {
    let again = [INVOKE, OK, &INVOKE.replace("10", "30")];
    refused(
        &with_header(&again),
        4,
        "\"a\" was already enqueued in line 2",
    );
    refused(
        &with_header(&[&INVOKE.replace("enqueue", "push")]),
        2,
        "knows no operation \"push\"; it knows enqueue and dequeue",
    );
    refused(
        &with_header(&[&INVOKE.replace("\"a\"", "null")]),
        2,
        "must be a string or a whole number: here stands null",
    );
    refused(
        &with_header(&[&INVOKE.replace("\"a\"", "[\"a\"]")]),
        2,
        "must be a string or a whole number",
    );
    refused(
        &with_header(&[INVOKE, &OK.replace("\"a\"", "\"b\"")]),
        3,
        "invoked with a in line 2 but completes with b",
    );
    let dequeue =
        |line: &str, value: &str| line.replace("enqueue", "dequeue").replace("\"a\"", value);
    refused(
        &with_header(&[&dequeue(INVOKE, "null"), &dequeue(OK, "{}")]),
        3,
        "must be a string or a whole number",
    );
}

#[test]
fn what_is_no_transaction_is_refused() {
    let invoke = r#"{"time":10,"process":0,"type":"invoke","f":"txn","value":null}"#;
    let ok = |value: &str| {
        format!(r#"{{"time":20,"process":0,"type":"ok","f":"txn","value":{value},"revision":4}}"#)
    };
    let txns = |value: &str| with_model("transactions", "{}", &[invoke, &ok(value)]);
    assert_eq!(
        outcome(
            txns(r#"[["r","x",null,0],["w","x","1"],["r","x","1"],["w","y",2],["w","z",null]]"#)
                .as_bytes()
        ),
        Ok(())
    );
    refused(&txns("null"), 3, "must say what it read and wrote");
    refused(&txns("7"), 3, "must be a list of");
    refused(&txns("[7]"), 3, "here stands `7`");
    refused(&txns(r#"[["r","x"]]"#), 3, "here stands a list of length 2");
    refused(&txns(r#"[["a","x",1]]"#), 3, "`a` is none of");
    refused(&txns(r#"[["r",["x"],1]]"#), 3, "a string or a whole number");
    refused(&txns(r#"[["r","x",null,5]]"#), 3, "must be 0 or left out");
    refused(&txns(r#"[["r","x","1",0]]"#), 3, "cannot be 0");
    refused(&txns(r#"[["r","x","1",-2]]"#), 3, "negative");
    refused(
        &with_model("transactions", "{}", &[INVOKE]),
        2,
        "knows no operation \"enqueue\"; it knows txn",
    );
    refused(
        &with_model("transactions", "{\"initial\":5}", &[]),
        1,
        "\"initial\" must be a list",
    );
    refused(&with_model("bank", "{}", &[]), 1, "needs \"accounts\"");
    let bank = with_model(
        "bank",
        r#"{"accounts":["x"],"total":1}"#,
        &[invoke, &ok(r#"[["w","x","one"]]"#)],
    );
    refused(&bank, 3, "an account holds \"one\"");
}

#[test]
fn a_truncated_history_never_panics() {
    let mut bytes = Vec::new();
    busy_bank(&mut Random(3), 40, 5, 4)
        .write_to(&mut bytes)
        .unwrap();
    for length in 0..bytes.len() {
        let _ = outcome(&bytes[..length]);
    }
}

fn sample(number: usize) -> String {
    let mut bytes = Vec::new();
    match number {
        0 => busy_queue(&mut Random(5), 30, 4)
            .write_to(&mut bytes)
            .unwrap(),
        _ => busy_bank(&mut Random(5), 20, 4, 4)
            .write_to(&mut bytes)
            .unwrap(),
    }
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = outcome(&bytes);
        let _ = outcome(&[HEADER.as_bytes(), b"\n", &bytes].concat());
    }

    #[test]
    fn edited_histories_never_panic(
        number in 0..2_usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..6_usize, any::<prop::sample::Index>()), 1..6),
    ) {
        let text = sample(number);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (line, edit, other) in edits {
            let (line, other) = (line.index(lines.len()), other.index(lines.len()));
            let cut = lines[line].len() / 2;
            match edit {
                0 if lines.len() > 1 => drop(lines.remove(line)),
                1 => lines.swap(line, other),
                2 => lines[line] = lines[other].clone(),
                3 => lines[line].truncate(cut),
                4 => lines[line] = lines[line].replace("\"ok\"", "\"info\""),
                _ => lines[line] = lines[line].replace("null", "\"x\"").replace('2', "3"),
            }
        }
        let _ = outcome(lines.join("\n").as_bytes());
    }
}
