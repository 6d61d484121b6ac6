//! What cannot be read, or was asked for in vain, is refused with its place and with what is
//! wrong with it: damaged packed files, times that are none, headers that break off, files of
//! another model, options of another model, files that are larger than memory.

use std::io::{Read as _, Write as _};

use etcd_checker::import::{Budget, ImportError, NoEffect, TooLarge};
use etcd_checker::{Check, CheckError, Consistency, KeyOrders, Model, Options, check_file};
use serde_json::json;

use crate::support::Random;

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    Check::new().bytes(bytes).unwrap_err().to_string()
}

#[track_caller]
fn refuses(text: &str, place: &str, fragment: &str) {
    let told = refused(text.as_bytes());
    assert!(
        told.starts_with(&format!("{place}: ")) && told.contains(fragment),
        "expected {place} and {fragment:?}, got {told:?}"
    );
}

/// A queue's history of some 700 KB, as our own lines or as those of a monitor, that packs
/// into several blocks.
fn long_text(is_own: bool) -> String {
    let mut random = Random(1);
    let mut text = if is_own {
        r#"{"format":"etcd-recipes-history","version":1,"workload":"w","model":"fifo-queue","source":{"kind":"other"}}"#
            .to_owned()
            + "\n"
    } else {
        "# queue\n".to_owned()
    };
    for time in 0..if is_own { 5_000 } else { 25_000 } {
        let value = random.below(1 << 62);
        text += &if is_own {
            let event = |kind| {
                format!(
                    "{{\"time\":{time},\"process\":0,\"type\":\"{kind}\",\"f\":\"enqueue\",\"value\":\"{value}\"}}\n"
                )
            };
            event("invoke") + &event("ok")
        } else {
            format!("enq {value} {time} {time}\n")
        };
    }
    text
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let named = flate2::GzBuilder::new().filename("h").comment("c");
    let mut gzip = named
        .extra("extra")
        .write(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// The line and the column behind so many bytes.
fn place(bytes: &[u8]) -> String {
    let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = bytes.iter().rposition(|byte| *byte == b'\n');
    let column = bytes.len() - start.map_or(0, |start| start + 1) + 1;
    format!("line {line}, column {column}: cannot read: ")
}

/// All that can be unpacked: the bytes are asked for one by one.
fn unpacked(gzip: &[u8]) -> Vec<u8> {
    let mut reader = flate2::bufread::GzDecoder::new(gzip);
    let (mut unpacked, mut byte) = (Vec::new(), [0]);
    while reader.read(&mut byte).is_ok_and(|read| read == 1) {
        unpacked.push(byte[0]);
    }
    unpacked
}

#[test]
fn gzip_that_is_cut_off_or_damaged_is_refused_behind_the_last_byte_that_it_gives() {
    for is_own in [false, true] {
        let packed = gzip(long_text(is_own).as_bytes());
        for part in [packed.len() / 9, packed.len() / 2, packed.len() - 9] {
            let told = refused(&packed[..part]);
            let expected = place(&unpacked(&packed[..part]));
            assert!(told.starts_with(&expected), "{expected} {told}");
            assert!(told.ends_with("ends too early, or is damaged"), "{told}");
        }
    }
    // A sum that is another one, behind all that there is.
    let text = long_text(false);
    let mut packed = gzip(text.as_bytes());
    let at = packed.len() - 6;
    packed[at] ^= 1;
    let told = refused(&packed);
    assert!(told.starts_with(&place(text.as_bytes())), "{told}");
    assert!(told.ends_with("the gzip data is damaged"), "{told}");
}

#[test]
fn zstd_that_is_cut_off_is_refused_behind_the_last_block_that_is_whole() {
    const BLOCK: usize = 128 << 10;
    for is_own in [false, true] {
        let text = long_text(is_own);
        let packed = zstd(text.as_bytes());
        let mut blocks = Vec::new();
        for part in (20..packed.len()).step_by(packed.len() / 12) {
            let told = refused(&packed[..part]);
            let block = (0..=text.len() / BLOCK).find(|block| {
                let before = &text.as_bytes()[..block * BLOCK];
                told.starts_with(&place(before))
            });
            blocks.push(block.unwrap_or_else(|| panic!("not at a block: {told}")));
        }
        assert!(blocks.is_sorted() && blocks[0] == 0, "{blocks:?}");
        assert!(
            blocks.last() >= Some(&(text.len() / BLOCK - 1)),
            "{blocks:?}"
        );
    }
}

#[test]
fn zstd_whose_sum_is_another_one_is_refused_behind_its_end() {
    let text = "# queue\nenq 1 0 1\n";
    let mut packed = zstd(text.as_bytes());
    assert!(Check::new().bytes(&packed).is_ok());
    let last = packed.len() - 1;
    packed[last] ^= 1;
    let told = refused(&packed);
    assert_eq!(told, place(text.as_bytes()) + "the zstd data is damaged");
}

#[test]
fn what_is_not_content_is_passed_over_in_zstd() {
    let [first, second] = ["# queue\nenq 1 0 1\n", "deq 1 2 3\n"].map(|text| zstd(text.as_bytes()));
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    let all = [first, skipped.clone(), second].concat();
    let checked = Check::new().bytes(&all).unwrap();
    assert_eq!(checked.history.events().len(), 4);
    let cut = [&all[..], &skipped[..9]].concat();
    assert!(refused(&cut).starts_with("line 4, column 1: "));
}

#[test]
fn a_time_that_is_none_is_refused() {
    for (time, why) in [
        ("-5", "which is negative"),
        ("5.5", "which is no whole number"),
        ("\"noon\"", "which is no whole number"),
        ("[1]", "which is no whole number"),
        ("18446744073709551616", "which is more than 64 bits"),
    ] {
        let expected = format!(
            "`:time` must be the nanoseconds since the start of the run, not {time}, {why}"
        );
        let edn = format!(
            "{{:process 0, :type :invoke, :f :read, :time 1}}\n{{:process 0, :type :ok, :f :read, :time {time}}}"
        );
        refuses(&edn, "line 2, column 41", &expected);
        let json = format!(
            "[{{\"process\":0,\"type\":\"invoke\",\"f\":\"read\",\"time\":1}},\n{{\"process\":0,\"type\":\"ok\",\"f\":\"read\",\"time\":{time}}}]"
        );
        refuses(&json, "line 2, column 44", &expected);
    }
    let none = "{:process 0, :type :invoke, :f :read, :time nil}";
    assert!(Check::new().read(none.as_bytes()).is_ok());
}

#[test]
fn an_operation_does_not_begin_before_the_last_one_has_ended() {
    let two = "{:process 0, :type :invoke, :f :read, :time 1}\n{:process 0, :type :ok, :f :read, :time 5}\n";
    refuses(
        &format!("{two}{{:process 0, :type :invoke, :f :read, :time 4}}"),
        "line 3, column 45",
        "4 ns after 5 ns; an operation cannot begin before the last one of its process has ended",
    );
    refuses(
        "{:process 0, :type :invoke, :f :read, :time 1}\n{:process 0, :type :ok, :f :read, :time 0}\n",
        "line 2, column 41",
        "0 ns after 1 ns; an operation cannot end before it begins",
    );
}

/// It is the header that is broken, not the first event.
#[test]
fn a_header_that_breaks_off_is_refused_in_its_line() {
    let event = r#"{"time":1,"process":0,"type":"invoke","f":"enqueue","value":"a"}"#;
    for header in [
        r#"{"format":"etcd-rec"#,
        r#"{"format":"#,
        r#"{"format":"etcd-recipes-history","version":1,"workl"#,
    ] {
        let told = refused(format!("{header}\n{event}\n").as_bytes());
        assert!(told.starts_with("line 1, "), "{header}: {told}");
    }
    // Those of Jepsen in JSON may have more lines, and braces and quotes in their values.
    let jepsen =
        "[{\"value\":{\"type\":[\"}\\\"\"]},\n\"type\" : \"invoke\",\"f\":\"read\",\"process\":0}]";
    assert!(Check::new().read(jepsen.as_bytes()).is_ok());
}

#[test]
fn a_byte_order_mark_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for text in [
        "# queue\nenq 1 0 1\n".to_owned(),
        "{:process 0, :type :invoke, :f :read, :value nil}".to_owned(),
        long_text(true),
    ] {
        let marked = format!("\u{feff}{text}");
        let read = |bytes: &[u8]| Check::new().read(bytes).unwrap().1;
        assert_eq!(read(marked.as_bytes()), read(text.as_bytes()));
        assert!(Check::new().bytes(marked.as_bytes()).is_ok());
        assert_eq!(read(&zstd(marked.as_bytes())), read(text.as_bytes()));
        let path = folder.path().join("h");
        std::fs::write(&path, marked).unwrap();
        assert!(check_file(path).is_ok());
    }
    refuses(
        "\u{feff}# queue\nenq 1 5 4\n",
        "line 2, column 9",
        "ends at",
    );
    refuses("\u{feff}# stack\n", "line 1, column 3", "stack");
}

#[test]
fn a_file_that_says_what_it_is_about_is_of_no_other_model() {
    let queue = b"# queue\nenq 1 0 1\n";
    let told = Check::new().model(Model::ListAppend).bytes(queue);
    assert_eq!(
        told.unwrap_err().to_string(),
        "line 1, column 3: this file is of the format monitor, and a history of fifo-queue; the \
         model list-append cannot be read from it"
    );
    assert!(Check::new().model(Model::FifoQueue).bytes(queue).is_ok());
    let register = b"# rmw\nread_modify_write 0 1 0 1\n";
    assert!(Check::new().model(Model::Register).bytes(register).is_ok());
}

#[test]
fn what_has_no_effect_is_refused() {
    let queue = b"# queue\nenq 1 0 1\n";
    let told = |check: Check| check.bytes(queue).unwrap_err().to_string();
    let keys = |keys| Options {
        keys,
        ..Options::default()
    };
    let consistency = Options {
        consistency: vec![Consistency::Serializable],
        ..Options::default()
    };
    for (options, expected) in [
        (
            consistency.clone(),
            "`--consistency` says nothing of the model fifo-queue; it is for transactions, bank, \
             list-append, rw-register",
        ),
        (
            keys(KeyOrders {
                linearizable: true,
                ..KeyOrders::default()
            }),
            "`--linearizable-keys` says nothing of the model fifo-queue; it is for rw-register",
        ),
        (
            keys(KeyOrders {
                sequential: true,
                ..KeyOrders::default()
            }),
            "`--sequential-keys` says nothing of",
        ),
        (
            keys(KeyOrders {
                writes_follow_reads: true,
                ..KeyOrders::default()
            }),
            "`--wfr-keys` says nothing of",
        ),
    ] {
        let told = told(Check::new().options(options));
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(
        told(Check::new().parameter("initial", json!(0))),
        "the model fifo-queue has no parameter \"initial\"; it has none"
    );
    let register = b"# rmw\nread_modify_write 0 1 0 1\n";
    let misspelt = Check::new().parameter("inital", json!(0)).bytes(register);
    let misspelt = misspelt.unwrap_err();
    assert!(matches!(
        misspelt,
        CheckError::NoEffect(NoEffect::Parameter { .. })
    ));
    assert_eq!(
        misspelt.to_string(),
        "the model cas-register has no parameter \"inital\"; known are initial"
    );
    let transactions = "{:type :invoke, :f :txn, :value [[:append 1 1]]}";
    let check = Check::new().options(consistency);
    assert!(check.bytes(transactions.as_bytes()).is_ok());
}

#[test]
fn every_model_is_told_of() {
    let crate_docs = include_str!("../../src/lib.rs");
    let table = crate_docs
        .lines()
        .filter(|line| line.starts_with("//! | `"));
    let table: Vec<&str> = table.collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/history-format.md");
    let format = std::fs::read_to_string(path).unwrap();
    let sections: Vec<&str> = format
        .lines()
        .filter(|line| line.starts_with("## The model"))
        .collect();
    for model in Model::all() {
        let name = format!("`{model}`");
        for told in [&table, &sections] {
            assert!(told.iter().any(|line| line.contains(&name)), "{name}");
        }
    }
}

/// Whoever looks for a parameter finds it.
#[test]
fn every_parameter_is_told_of_in_the_documents() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/history-format.md");
    let told = std::fs::read_to_string(path).unwrap();
    for model in Model::all() {
        for name in model.parameters() {
            assert!(told.contains(&format!("`{name}`")), "{model}: {name}");
        }
    }
}

#[test]
fn what_linearizable_is_for_transactions_is_said() {
    let told = "linearizable"
        .parse::<Consistency>()
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("of transactions the same is said by strict-serializable; known are "),
        "{told}"
    );
}

fn too_large(error: CheckError) -> TooLarge {
    match error {
        CheckError::Import(ImportError::TooLarge(refused)) => refused,
        other => panic!("{other}"),
    }
}

/// The estimate goes by the part that was read, whatever the format and the packing.
#[test]
fn what_the_whole_file_would_take_is_estimated() {
    let mut edn = String::new();
    for value in 0..15_000 {
        for kind in ["invoke", "ok"] {
            edn += &format!("{{:process 0, :type :{kind}, :f :write, :value {value}}}\n");
        }
    }
    for text in [long_text(true), long_text(false), edn] {
        let needs = |limit: u64, bytes: &[u8]| {
            let check = Check::new().budget(Budget::bytes(limit));
            let length = Some(bytes.len() as u64);
            let (format, history) = check.read_sized(bytes, length)?;
            check.imported(format, history)
        };
        let bytes = text.as_bytes();
        // What suffices to check it is what the whole takes.
        let limits = (1..80).map(|step| step * (256 << 10));
        let (refused, enough): (Vec<u64>, Vec<u64>) =
            limits.partition(|limit| needs(*limit, bytes).is_err());
        let takes = enough[0] as f64;
        let mut estimates = 0;
        for limit in refused {
            let refused = too_large(needs(limit, bytes).unwrap_err());
            if let Some(whole) = refused.whole {
                let ratio = whole as f64 / takes;
                assert!((0.6..1.6).contains(&ratio), "{ratio} {refused}");
                estimates += 1;
            }
        }
        assert!(estimates > 0);
        let packed = gzip(bytes);
        let refused = too_large(needs(takes as u64 / 3, &packed).unwrap_err());
        let whole = refused.whole.unwrap_or(refused.needed) as f64;
        assert!(whole > takes / 4.0, "{whole} {takes}");
    }
}

#[test]
fn times_that_nobody_said_are_not_shown() {
    let lines = |times: [&str; 2]| {
        let [first, second] = times;
        format!(
            "{{:process 0, :type :invoke, :f :dequeue{first}}}\n\
             {{:process 0, :type :ok, :f :dequeue, :value 7{second}}}\n\
             {{:process 1, :type :invoke, :f :enqueue, :value 1}}"
        )
    };
    let witness = |text: String| {
        let checked = Check::new().bytes(text.as_bytes()).unwrap();
        checked.verdict.violation().unwrap().witness[0].to_string()
    };
    assert_eq!(
        witness(lines(["", ""])),
        "lines 1-2  process 0  dequeue -> ok 7"
    );
    assert_eq!(
        witness(lines([" :time 1000", " :time 2000"])),
        "lines 1-2  0.000001 s - 0.000002 s  process 0  dequeue -> ok 7"
    );
}

#[test]
fn a_report_without_operations_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let client = folder.path().join("client-1");
    std::fs::create_dir(&client).unwrap();
    for (file, other) in [("operations.json", "watch.json"), ("watch.json", "x")] {
        std::fs::remove_file(client.join(other)).ok();
        for text in ["", "\n \n"] {
            std::fs::write(client.join(file), text).unwrap();
            let told = check_file(folder.path()).unwrap_err().to_string();
            let place = client.join(file).display().to_string() + ": line 1, column 1: ";
            assert!(told.starts_with(&place), "{told}");
            assert!(told.contains("holds no operation"), "{told}");
            std::fs::remove_file(client.join(file)).unwrap();
        }
    }
}

fn own(model: &str, parameters: &str, lines: &[&str]) -> String {
    let header = format!(
        r#"{{"format":"etcd-recipes-history","version":1,"workload":"w","model":"{model}","source":{{"kind":"other"}},"parameters":{parameters}}}"#
    );
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    header + "\n" + &lines
}

#[test]
fn what_is_null_or_not_there_has_a_column_too() {
    let event = |rest: &str| format!(r#"{{"time":1,"process":0,"type":{rest}}}"#);
    let null = event(r#""invoke","f":"enqueue","value":null"#);
    let expected = "the value of \"enqueue\" must be";
    refuses(
        &own("fifo-queue", "{}", &[&null]),
        "line 2, column 61",
        expected,
    );
    // A line with an escape is read by another parser.
    let escaped = event(r#""invoke","f":"\u0065nqueue","value":null"#);
    refuses(
        &own("fifo-queue", "{}", &[&escaped]),
        "line 2, column 66",
        expected,
    );
    let none = event(r#""invoke","f":"enqueue""#);
    refuses(
        &own("fifo-queue", "{}", &[&none]),
        "line 2, column 43",
        expected,
    );
    let asked = event(r#""invoke","f":"revoke","value":{"lease":7}"#);
    let told = event(r#""ok","f":"revoke","value":null"#);
    let expected = "the answer to \"revoke\" has no revision";
    refuses(
        &own("etcd", "{}", &[&asked, &told]),
        "line 3, column 39",
        expected,
    );
}

#[test]
fn a_wrong_parameter_that_was_given_is_told_and_not_the_header() {
    let text = |parameters: &str| own("semaphore", parameters, &[]);
    let given = |text: &str, permits: serde_json::Value| {
        let check = Check::new().parameter("permits", permits);
        check.bytes(text.as_bytes()).unwrap_err().to_string()
    };
    let expected = "the parameter \"permits\" that was given is wrong: \"x\" stands where a whole \
                    number from 0 to 2^64 - 1 is expected";
    for parameters in ["{}", r#"{"permits":5}"#, r#"{"permits":"y"}"#] {
        assert_eq!(given(&text(parameters), json!("x")), expected);
    }
    refuses(
        &text(r#"{"permits":"x"}"#),
        "line 1, column 120",
        "\"x\" stands where a whole number",
    );
}

/// A parser stands behind what it does not want.
#[test]
fn what_is_no_number_is_told_where_it_begins() {
    let event = |fields: &str| own("fifo-queue", "{}", &[fields]);
    for (fields, column) in [
        (
            r#"{"time":1,"process":"client-one","type":"invoke","f":"x"}"#,
            21,
        ),
        (r#"{"time":-25,"process":1,"type":"invoke","f":"x"}"#, 9),
        (r#"{"time":1,"process":1,"type":"begins","f":"x"}"#, 30),
        (r#"{"time":1,"process":1,"type":"ok","f":17}"#, 39),
        (
            r#"{"time":1,"process":1,"type":"ok","f":"x","client": true}"#,
            53,
        ),
        (r#"{"time":1,"process":1,"type":"ok","f":["x"]}"#, 39),
        (r#"{"time":1,"process":1,"type":"ok" "f":"x"}"#, 35),
        (
            r#"{"time":1,"process":1,"type":"invoke","f":"enqueue","value":false}"#,
            61,
        ),
    ] {
        let told = refused(event(fields).as_bytes());
        assert!(
            told.starts_with(&format!("line 2, column {column}: ")),
            "{told}"
        );
    }
    let nested =
        r#"{"time":1,"process":1,"type":"invoke","f":"revoke","value":{"lease":"seventeen"}}"#;
    let told = refused(own("etcd", "{}", &[nested]).as_bytes());
    assert!(told.starts_with("line 2, column 69: "), "{told}");
}

/// Whatever is quoted may be as long as its file.
#[test]
fn what_is_told_is_short_however_long_the_text_is() {
    let long = "a".repeat(300_000);
    let event = |fields: &str| own("fifo-queue", "{}", &[&fields.replace('~', &long)]);
    let twice = event(
        "{\"time\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"enqueue\",\"value\":\"~\"}\n\
         {\"time\":2,\"process\":2,\"type\":\"invoke\",\"f\":\"enqueue\",\"value\":\"~\"}",
    );
    let other = event(
        "{\"time\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"enqueue\",\"value\":\"~\"}\n\
         {\"time\":2,\"process\":1,\"type\":\"ok\",\"f\":\"enqueue\",\"value\":\"~b\"}",
    );
    let never = event(
        "{\"time\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"dequeue\",\"value\":null}\n\
         {\"time\":2,\"process\":1,\"type\":\"ok\",\"f\":\"dequeue\",\"value\":\"~\"}",
    );
    let mut texts = vec![twice, other, own(&long, "{}", &[])];
    texts.push(own(
        "list-append",
        &format!("{{\"consistency\":[\"{long}\"]}}"),
        &[],
    ));
    for fields in [
        r#"{"time":1,"process":"~","type":"invoke","f":"enqueue","value":1}"#,
        r#"{"time":"~","process":1,"type":"invoke","f":"enqueue","value":1}"#,
        r#"{"time":1,"process":1,"type":"~","f":"enqueue","value":1}"#,
        r#"{"time":1,"process":1,"type":"invoke","f":"~","value":1}"#,
        r#"{"time":1,"process":1,"type":"invoke","f":"enqueue","value":["~","b"]}"#,
    ] {
        texts.push(event(fields));
    }
    for text in [
        "# queue\n~ 1 2 3\n",
        "# queue\nenq ~ 2 3\n",
        "{:process 0, :type :~}",
        "{:process 0, :type :invoke, :f :~}",
        "{:process 0, :type :invoke, :f :read, :time :~}",
        "{:process 0, :type :invoke, :f :read, :value 1~}",
        "{:process 0, :type :invoke, :f :read, :value \\~}",
        "INFO jepsen.util - 0 :invoke :~ nil",
    ] {
        texts.push(text.replace('~', &long));
    }
    for text in texts {
        let told = refused(text.as_bytes());
        assert!(told.len() < 1_000, "{}: {}", told.len(), &told[..1_000]);
    }
    let checked = Check::new().bytes(never.as_bytes()).unwrap();
    let told = checked.verdict.to_string();
    assert!(checked.verdict.violation().is_some());
    assert!(told.len() < 2_000, "{}", told.len());
    let as_json = serde_json::to_string(&checked.verdict).unwrap();
    assert!(as_json.len() < 2_000, "{}", as_json.len());
}
