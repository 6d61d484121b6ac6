//! `check`.

use crate::support::Folder;

const HEADER: &str = r#"{"format":"etcd-recipes-history","version":1,"workload":"by hand","model":"MODEL","source":{"kind":"other","description":"a test"}}"#;

/// A history of this model with these lines, numbered from 2.
fn history(model: &str, lines: &[&str]) -> String {
    let mut text = HEADER.replace("MODEL", model);
    for line in lines {
        text.push('\n');
        text.push_str(line);
    }
    text.push('\n');
    text
}

const VALID: [&str; 4] = [
    r#"{"time":1,"process":0,"type":"invoke","f":"enqueue","value":"a"}"#,
    r#"{"time":2,"process":0,"type":"ok","f":"enqueue","value":"a"}"#,
    r#"{"time":3,"process":1,"type":"invoke","f":"dequeue"}"#,
    r#"{"time":4,"process":1,"type":"ok","f":"dequeue","value":"a"}"#,
];

fn valid() -> String {
    history("fifo-queue", &VALID)
}

fn unsafe_() -> String {
    let lines = [
        VALID[0],
        VALID[1],
        VALID[2],
        r#"{"time":4,"process":1,"type":"ok","f":"dequeue","value":"b"}"#,
    ];
    history("fifo-queue", &lines)
}

fn stuck() -> String {
    let mark = r#"{"time":9,"process":"nemesis","type":"info","f":"liveness-deadline"}"#;
    history("fifo-queue", &[VALID[0], VALID[1], VALID[2], mark])
}

fn undecided() -> String {
    let lines = [
        r#"{"time":1,"process":0,"type":"invoke","f":"txn"}"#,
        r#"{"time":2,"process":0,"type":"ok","f":"txn","value":[["w","x","1"]]}"#,
    ];
    history("transactions", &lines)
}

#[test]
fn each_verdict_has_its_exit_code() {
    let folder = Folder::new();
    let cases = [
        ("valid", valid(), 0, "valid: valid: 2 operations"),
        ("unsafe", unsafe_(), 1, "safety violation: VFresh"),
        ("stuck", stuck(), 3, "liveness violation: stuck"),
        ("undecided", undecided(), 4, "undecided: undecided"),
    ];
    for (name, content, code, verdict) in cases {
        folder.write(name, &content);
        folder
            .run(&format!("check {name}"))
            .exits_with(code)
            .says(verdict);
        let mut piped = folder.command();
        piped
            .args(["check", "-"])
            .write_stdin(content)
            .assert()
            .code(code);
    }
}

#[test]
fn of_several_files_the_gravest_decides() {
    let folder = Folder::new();
    folder.write("valid", valid());
    folder.write("unsafe", unsafe_());
    folder.write("stuck", stuck());
    folder.write("undecided", undecided());
    folder.write("broken", "x");
    let cases = [
        ("valid undecided", 4),
        ("undecided broken valid", 2),
        ("broken stuck", 3),
        ("stuck broken unsafe missing", 1),
    ];
    for (files, code) in cases {
        folder.run(&format!("check {files}")).exits_with(code);
    }
    let ran = folder.run("check broken valid unsafe").exits_with(1);
    assert!(ran.stdout.contains("valid: valid") && ran.stdout.contains("unsafe: safety"));
    assert!(ran.stderr.contains("broken: line 1"), "{}", ran.stderr);
}

#[test]
fn the_evidence_names_lines_of_the_file() {
    let folder = Folder::new();
    folder.write("unsafe", unsafe_());
    folder
        .run("check unsafe")
        .exits_with(1)
        .says("lines 4-5")
        .says("dequeue -> ok \"b\"");
}

#[test]
fn the_model_can_be_chosen() {
    let folder = Folder::new();
    folder.write("h", history("stack", &VALID));
    folder
        .run("check h")
        .exits_with(2)
        .notes("h: line 1")
        .notes("fifo-queue, transactions, bank, list-append, rw-register, mutex");
    folder.run("check --model fifo-queue h").exits_with(0);
    folder
        .run("check --model transactions h")
        .exits_with(2)
        .notes("h: line 2");
}

/// Programs that read the answer need not know what an argument stands for.
#[test]
fn json_says_what_stands_for_nothing() {
    let folder = Folder::new();
    folder.write("valid", valid());
    std::fs::create_dir(folder.path("empty")).unwrap();
    for (argument, why) in [
        ("empty", "no history is in this folder"),
        ("none*.jsonl", "no file has such a name"),
        ("***", "no pattern"),
        ("missing", "cannot open the file"),
    ] {
        let check = |others: &str| {
            let ran = folder.run(&format!("check --json {argument} {others}"));
            let json = ran.exits_with(2).notes(why).json();
            assert_eq!(json["command"], "check");
            assert_eq!(json["exit_code"], 2);
            json["files"].as_array().unwrap().clone()
        };
        let is_refused = |file: &serde_json::Value| {
            let error = file["error"].as_str();
            let says_why = error.is_some_and(|error| error.contains(why));
            file["file"] == *argument && file["verdict"].is_null() && says_why
        };
        let [file] = &check("")[..] else {
            panic!("{argument}: one file");
        };
        assert!(is_refused(file), "{file}");
        // The others are still worth a look.
        let files = check("valid");
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(files.iter().any(is_refused), "{files:?}");
        let is_valid = |file: &serde_json::Value| file["verdict"]["verdict"] == "valid";
        assert!(files.iter().any(is_valid), "{files:?}");
    }
}

#[test]
fn json_has_one_entry_for_each_file() {
    let folder = Folder::new();
    folder.write("valid", valid());
    folder.write("unsafe", unsafe_());
    folder.write("broken", "x");
    let json = folder
        .run("check --json valid unsafe broken")
        .exits_with(1)
        .json();
    let files = json["files"].as_array().unwrap();
    assert_eq!(files[0]["verdict"]["operations"], 2);
    assert_eq!(files[1]["model"], "fifo-queue");
    assert_eq!(files[1]["verdict"]["witness"][0]["invoked"]["line"], 4);
    assert!(files[2]["verdict"].is_null());
    assert!(
        files[2]["error"]
            .as_str()
            .unwrap()
            .starts_with("broken: line 1")
    );
    assert_eq!(json["exit_code"], 1);
}

#[test]
fn what_is_no_history_is_exit_2_with_file_and_line() {
    let folder = Folder::new();
    let good = valid();
    let replaced = |from: &str, to: &str| good.replacen(from, to, 1);
    let cases: [(&str, Vec<u8>, usize); 17] = [
        ("empty", Vec::new(), 1),
        ("blank", b"\n\n\n".to_vec(), 1),
        ("garbled", replaced("\"time\":3", "\"time\":3x").into(), 4),
        ("binary", [b"\x00\xff\xfe", good.as_bytes()].concat(), 1),
        ("binary-later", [good.as_bytes(), b"\xff\xfe\n"].concat(), 6),
        ("truncated", good[..good.len() - 20].into(), 5),
        ("headless", format!("{{}}\n{}", VALID.join("\n")).into(), 1),
        ("deep", "[".repeat(100_000).into(), 1),
        (
            "deep-later",
            format!("{good}{}\n", "[".repeat(100_000)).into(),
            6,
        ),
        (
            "deep-value",
            replaced(
                "\"value\":\"a\"",
                &format!("\"value\":{}", "{\"a\":".repeat(100_000)),
            )
            .into(),
            2,
        ),
        (
            "huge-line",
            format!("{good}{}", "x".repeat(17 << 20)).into(),
            6,
        ),
        (
            "version",
            replaced("\"version\":1", "\"version\":2").into(),
            1,
        ),
        ("completed-twice", format!("{good}{}\n", VALID[3]).into(), 6),
        (
            "time-goes-back",
            replaced("\"time\":3", "\"time\":1").into(),
            4,
        ),
        (
            "value-changed",
            replaced(
                "\"ok\",\"f\":\"enqueue\",\"value\":\"a\"",
                "\"ok\",\"f\":\"enqueue\",\"value\":\"b\"",
            )
            .into(),
            3,
        ),
        (
            "other-operation",
            replaced("\"ok\",\"f\":\"enqueue\"", "\"ok\",\"f\":\"dequeue\"").into(),
            3,
        ),
        (
            "huge-number",
            replaced("\"time\":4", "\"time\":99999999999999999999999").into(),
            5,
        ),
    ];
    for (name, content, line) in cases {
        folder.write(name, content);
        let ran = folder.run(&format!("check {name}")).exits_with(2);
        let place = format!("error: {name}: line {line}");
        assert!(
            ran.stderr.starts_with(&place),
            "no {place:?} in {}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
        assert!(
            ran.stderr.len() < 1_000,
            "{} bytes of message",
            ran.stderr.len()
        );
    }
    folder
        .run("check missing")
        .exits_with(2)
        .notes("missing: cannot open the file");
    Folder::new()
        .run("check .")
        .exits_with(2)
        .notes(".: no history is in this folder");
}

const QUEUE_TEXT: &str = "# queue\nenq 1 0 1\nenq 2 2 3\ndeq 1 4 5\n";

#[test]
fn of_a_folder_all_histories_are_told_in_a_table() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("run/deep/client-1")).unwrap();
    folder.write("run/a.jsonl", valid());
    folder.write("run/deep/b.jsonl", unsafe_());
    folder.write("run/deep/c.txt", QUEUE_TEXT);
    folder.write("run/notes.txt", "nothing of interest");
    folder.write("run/.hidden.jsonl", unsafe_());
    let ran = folder.run("check run").exits_with(1);
    for row in [
        "run/a.jsonl       jsonl    fifo-queue           2  valid",
        "run/deep/b.jsonl  jsonl    fifo-queue           -  safety   VFresh",
        "run/deep/c.txt    monitor  fifo-queue           3  valid",
        "3 histories: 2 valid, 1 safety; 1 file is none",
        "run/deep/b.jsonl: safety violation: VFresh",
    ] {
        assert!(ran.stdout.contains(row), "no {row:?} in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("a.jsonl: valid"), "{}", ran.stdout);
    std::fs::remove_file(folder.path("run/deep/b.jsonl")).unwrap();
    folder.run("check run").exits_with(0);
    let json = folder.run("check --json run").exits_with(0).json();
    assert_eq!(json["files"][1]["format"], "monitor");
}

#[test]
fn patterns_and_packed_files_are_understood() {
    let folder = Folder::new();
    folder.write("a1.jsonl", valid());
    folder.write("a2.jsonl", undecided());
    folder.write("b1.jsonl", unsafe_());
    let check = |pattern: &str| {
        let mut command = folder.command();
        command.args(["check", pattern]);
        crate::support::Ran::from(command.output().unwrap())
    };
    check("a?.jsonl")
        .exits_with(4)
        .says("2 histories: 1 valid, 1 undecided");
    check("[ab]1.jsonl").exits_with(1);
    check("***.jsonl").exits_with(2).notes("no pattern");
    let gzip = std::process::Command::new("gzip")
        .arg("-k")
        .arg(folder.path("b1.jsonl"))
        .status();
    if gzip.is_ok_and(|status| status.success()) {
        check("b1.jsonl.gz").exits_with(1).says("lines 4-5");
    }
}

#[test]
fn the_format_can_be_named() {
    let folder = Folder::new();
    folder.write("h", QUEUE_TEXT);
    folder
        .run("check h")
        .exits_with(0)
        .says("h: valid: 3 operations");
    folder.run("check --from monitor h").exits_with(0);
    folder
        .run("check --from jepsen h")
        .exits_with(2)
        .notes("h: line 1, column 1");
    folder.write("x", "anything\n");
    folder
        .run("check x")
        .exits_with(2)
        .notes("x: line 1, column 1: this is none of the formats")
        .notes("if it is one all the same, name the format with `--from FORMAT`");
    folder.write("m.edn", "{:type :invoke :f :fly :process 1}\n");
    folder
        .run("check m.edn")
        .exits_with(2)
        .notes("do not tell which model they are for");
}

#[test]
fn values_that_differ_do_not_look_alike() {
    let folder = Folder::new();
    let event = |kind: &str, f: &str, value: &str| {
        format!("{{:process 0, :type :{kind}, :f :{f}, :value {value}}}\n")
    };
    let history = event("invoke", "write", "\"\u{e9}\"")
        + &event("ok", "write", "nil")
        + &event("invoke", "read", "nil")
        + &event("ok", "read", "\"e\u{301}\"");
    folder.write("h.edn", history);
    folder
        .run("check h.edn")
        .exits_with(1)
        .says("read -> ok \"e\\u{301}\"")
        .says("the value `\u{e9}`");
}

#[test]
fn a_model_that_is_not_decided_is_refused_with_the_reason_and_those_that_are() {
    let folder = Folder::new();
    folder.write("h", valid());
    folder
        .run("check --consistency parallel-snapshot-isolation h")
        .exits_with(2)
        .notes("not by cycles that a history shows; snapshot-isolation is stronger")
        .notes("known are strict-serializable,");
    folder
        .run("check --model mutex h")
        .exits_with(2)
        .notes("it knows lock, try-lock, unlock and write; or, without tokens, acquire");
}

#[test]
fn one_history_in_a_folder_is_one() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("h")).unwrap();
    folder.write("h/one.jsonl", valid());
    folder
        .run("check h")
        .exits_with(0)
        .says("1 history: 1 valid");
}

#[test]
fn a_damaged_history_in_a_folder_is_no_success() {
    for (name, bytes) in [
        ("cut.edn.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..]),
        ("empty.jsonl", &[]),
    ] {
        let folder = Folder::new();
        std::fs::create_dir(folder.path("h")).unwrap();
        folder.write("h/one.jsonl", valid());
        folder.write("h/notes.txt", "nothing of interest");
        folder.run("check h").exits_with(0);
        folder.write(&format!("h/{name}"), bytes);
        folder.run("check h").exits_with(2).notes(name);
    }
}

#[test]
fn what_is_wrong_with_a_packed_file_is_said_once() {
    let folder = Folder::new();
    // A header of gzip, and nothing behind it.
    folder.write("h", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let ran = folder.run("check h").exits_with(2);
    let ran = ran.notes("h: line 1, column 1: cannot read: the gzip data");
    assert_eq!(ran.stderr.matches("gzip").count(), 1, "{}", ran.stderr);
}

#[test]
fn what_is_larger_than_memory_is_refused_with_the_figure() {
    let folder = Folder::new();
    folder.write("h", valid());
    folder
        .run("check --memory 256B h")
        .exits_with(2)
        .notes("larger than memory")
        .notes("only 0.2 KiB may be used; allow more (`--memory`)");
    folder.run("check --memory 1GiB h").exits_with(0);
    folder
        .run("check --memory 1parsec h")
        .exits_with(2)
        .notes("parsec");
}

/// Fourteen writes at once, of a key each, and readers of whom each has seen one of them and not
/// yet the next, all around: it takes all of them to see that this cannot be.
#[test]
fn a_search_keeps_to_the_memory_that_may_be_used() {
    const KEYS: usize = 14;
    let header = r#"{"format":"etcd-recipes-history","version":1,"workload":"test","model":"multi-register","source":{"kind":"other","description":"test"}}"#;
    let event = |process: usize, kind: &str, value: String| {
        format!(
            "{{\"time\":1,\"process\":{process},\"type\":\"{kind}\",\"f\":\"txn\",\"value\":{value}}}\n"
        )
    };
    let mut text = format!("{header}\n");
    for kind in ["invoke", "ok"] {
        let seen = if kind == "ok" { "1" } else { "null" };
        for key in 0..KEYS {
            text += &event(key, kind, format!(r#"[["w","k{key}",1]]"#));
        }
        for key in 0..KEYS {
            let next = (key + 1) % KEYS;
            let value = format!(r#"[["r","k{key}",{seen}],["r","k{next}",null]]"#);
            text += &event(KEYS + key, kind, value);
        }
    }
    let folder = Folder::new();
    folder.write("h", text);
    folder
        .run("check h")
        .exits_with(1)
        .says("non-linearizable")
        .says("txn {r k13, r k0} -> ok {r k13 = 1, r k0 = absent}");
    folder
        .run("check --memory 1MiB h")
        .exits_with(4)
        // What it may have is what reading leaves.
        .says(" bytes of memory");
}

#[test]
fn text_from_a_file_cannot_command_the_terminal() {
    let folder = Folder::new();
    let evil = r#"{"time":4,"process":1,"type":"info","f":"dequeue","error":"\u001b[2Jgone"}"#;
    let lines = [VALID[0], VALID[1], VALID[2], evil];
    folder.write(
        "evil",
        history("fifo-queue", &lines).replace("\"f\":\"dequeue\"", "\"f\":\"\\u001b[2J\""),
    );
    let mut command = folder.command();
    let ran = command
        .env("CLICOLOR_FORCE", "1")
        .args(["check", "evil"])
        .output()
        .unwrap();
    let printed = [ran.stdout, ran.stderr].concat();
    assert!(!printed.windows(4).any(|window| window == b"\x1b[2J"));
}

#[test]
fn a_simulated_violation_says_how_to_do_it_again() {
    let folder = Folder::new();
    let line = "sim --bug stm-read-committed --seed 0 --history h.jsonl";
    folder.run(line).exits_with(1);
    let ran = folder.run("check h.jsonl").exits_with(1);
    folder.shell(ran.labelled("reproduce:")).exits_with(1);
}

/// Two registers that are set in opposite orders, and what was read of them afterwards.
const WRITE_CYCLE: [&str; 8] = [
    r#"{"time":1,"process":0,"type":"invoke","f":"txn","value":[["w","x",1],["w","y",2]]}"#,
    r#"{"time":2,"process":1,"type":"invoke","f":"txn","value":[["w","x",2],["w","y",1]]}"#,
    r#"{"time":3,"process":0,"type":"ok","f":"txn","value":[["w","x",1],["w","y",2]]}"#,
    r#"{"time":4,"process":1,"type":"ok","f":"txn","value":[["w","x",2],["w","y",1]]}"#,
    r#"{"time":5,"process":0,"type":"invoke","f":"txn","value":[["r","x",null]]}"#,
    r#"{"time":6,"process":0,"type":"ok","f":"txn","value":[["r","x",2]]}"#,
    r#"{"time":7,"process":1,"type":"invoke","f":"txn","value":[["r","y",null]]}"#,
    r#"{"time":8,"process":1,"type":"ok","f":"txn","value":[["r","y",2]]}"#,
];

#[test]
fn the_order_of_keys_can_be_taken_for_granted() {
    let folder = Folder::new();
    folder.write("h", history("rw-register", &WRITE_CYCLE));
    let check = "check --consistency read-uncommitted h";
    folder.run(check).exits_with(0).says("h: valid");
    for flag in ["--sequential-keys", "--linearizable-keys"] {
        folder
            .run(&format!("{check} {flag}"))
            .exits_with(1)
            .says("h: safety violation: G0");
    }
    let each_over_the_other = [
        r#"{"time":1,"process":0,"type":"invoke","f":"txn"}"#,
        r#"{"time":2,"process":1,"type":"invoke","f":"txn"}"#,
        r#"{"time":3,"process":0,"type":"ok","f":"txn","value":[["w","x",1],["r","y",1],["w","y",2]]}"#,
        r#"{"time":4,"process":1,"type":"ok","f":"txn","value":[["r","x",1],["w","x",2],["w","y",1]]}"#,
    ];
    folder.write("h", history("rw-register", &each_over_the_other));
    folder.run(check).exits_with(0).says("h: valid");
    folder
        .run(&format!("{check} --wfr-keys"))
        .exits_with(1)
        .says("h: safety violation: G0");
}

#[test]
fn parameters_of_the_model_can_be_given() {
    let folder = Folder::new();
    let read = [
        r#"{"time":1,"process":0,"type":"invoke","f":"read"}"#,
        r#"{"time":2,"process":0,"type":"ok","f":"read","value":7}"#,
    ];
    folder.write("h", history("register", &read));
    folder.run("check h").exits_with(1).says("h: ");
    folder
        .run("check --parameter initial=7 h")
        .exits_with(0)
        .says("h: valid");
    folder.run("check --parameter initial=8 h").exits_with(1);
    // What stands in the header gives way.
    let with_header =
        history("register", &read).replace(r#""source""#, r#""parameters":{"initial":8},"source""#);
    folder.write("with-header", with_header);
    folder.run("check with-header").exits_with(1);
    folder
        .run("check --parameter initial=7 with-header")
        .exits_with(0);
    folder
        .run("check --parameter initial h")
        .exits_with(2)
        .notes("such as initial=0");
}

#[test]
fn an_order_of_the_operations_is_printed_on_demand() {
    let folder = Folder::new();
    let header = r#"{"format":"etcd-recipes-history","version":1,"workload":"test","model":"fifo-queue","source":{"kind":"other","description":"test"}}"#;
    let events = [
        r#"{"time":1,"process":0,"type":"invoke","f":"dequeue","value":null}"#,
        r#"{"time":2,"process":1,"type":"invoke","f":"enqueue","value":"a"}"#,
        r#"{"time":3,"process":0,"type":"ok","f":"dequeue","value":"a"}"#,
        r#"{"time":4,"process":1,"type":"ok","f":"enqueue","value":"a"}"#,
    ];
    folder.write("h.jsonl", format!("{header}\n{}\n", events.join("\n")));
    folder
        .run("check --linearization h.jsonl")
        .exits_with(0)
        .says(
            "  linearization:\n    lines 3-5  0.000000002 s - 0.000000004 s  process 1  enqueue \"a\" -> ok\n    \
             lines 2-4  0.000000001 s - 0.000000003 s  process 0  dequeue -> ok \"a\"\n",
        );
    let said = folder
        .run("check --linearization --json h.jsonl")
        .exits_with(0)
        .json();
    let order = said["files"][0]["linearization"].as_array().unwrap();
    let lines: Vec<u64> = order
        .iter()
        .map(|one| one["invoked"]["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [3, 2]);
}

#[test]
fn a_model_without_an_order_says_why() {
    let folder = Folder::new();
    let header = r#"{"format":"etcd-recipes-history","version":1,"workload":"test","model":"bank","source":{"kind":"other","description":"test"}}"#;
    let events = [
        r#"{"time":1,"process":0,"type":"invoke","f":"transfer","value":1}"#,
        r#"{"time":2,"process":0,"type":"ok","f":"transfer","value":1}"#,
        r#"{"time":3,"process":0,"type":"invoke","f":"read","value":null}"#,
        r#"{"time":4,"process":0,"type":"ok","f":"read","value":{"a":8,"b":2}}"#,
    ];
    folder.write("h.jsonl", format!("{header}\n{}\n", events.join("\n")));
    let why = "transfers that are not told as transactions do not say what they moved";
    folder
        .run("check --linearization h.jsonl")
        .exits_with(0)
        .says(&format!("  linearization: none: {why}"));
    let said = folder
        .run("check --linearization --json h.jsonl")
        .exits_with(0)
        .json();
    let reason = said["files"][0]["no_linearization"].as_str().unwrap();
    assert!(reason.starts_with(why), "{reason}");
}

#[test]
fn what_says_nothing_of_the_model_is_refused() {
    let folder = Folder::new();
    folder.write("h", valid());
    for (option, told) in [
        (
            "--consistency serializable",
            "h: `--consistency` says nothing of the model fifo-queue; it is for transactions",
        ),
        (
            "--linearizable-keys",
            "h: `--linearizable-keys` says nothing of the model fifo-queue; it is for rw-register",
        ),
        (
            "--parameter inital=0",
            "h: the model fifo-queue has no parameter \"inital\"; it has none",
        ),
    ] {
        folder
            .run(&format!("check {option} h"))
            .exits_with(2)
            .notes(told);
    }
}

#[test]
fn linearizable_is_said_to_be_for_objects() {
    let folder = Folder::new();
    folder.write("h", valid());
    let ran = folder
        .run("check --consistency linearizable h")
        .exits_with(2);
    assert!(!ran.stderr.contains("tip:"), "{}", ran.stderr);
    ran.notes("which is said of single objects")
        .notes("of transactions the same is said by strict-serializable");
}

#[test]
fn the_other_names_of_consistency_models_are_listed() {
    let ran = Folder::new().run("check --help").exits_with(0);
    let text = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for names in [
        "serializable conflict-serializable, PL-3",
        "snapshot-isolation PL-SI",
        "read-uncommitted PL-1",
    ] {
        assert!(text.contains(names), "no {names:?} in {}", ran.stdout);
    }
}

/// Registers that nobody can order without trying: many writes overlap.
fn hard() -> String {
    let mut lines = Vec::new();
    let event = |process: usize, kind: &str, f: &str, value: String| {
        format!(
            "{{\"time\":1,\"process\":{process},\"type\":\"{kind}\",\"f\":\"{f}\",\"value\":{value}}}"
        )
    };
    let txn = |process: usize| {
        format!(
            "[[\"write\",{process},{process}],[\"read\",{},null]]",
            process + 1
        )
    };
    for kind in ["invoke", "ok"] {
        for process in 0..30 {
            lines.push(event(process, kind, "txn", txn(process)));
        }
    }
    // Nobody has written this.
    lines.push(event(31, "invoke", "txn", "[[\"read\",0,null]]".to_owned()));
    lines.push(event(31, "ok", "txn", "[[\"read\",0,null]]".to_owned()));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    history("multi-register", &lines)
}

#[test]
fn a_search_takes_no_longer_than_it_may() {
    let folder = Folder::new();
    folder.write("hard", hard());
    folder
        .run("check --time 0s hard")
        .exits_with(4)
        .says("hard: undecided")
        .says("the 0 s");
    folder.write("easy", valid());
    for time in ["90s", "1.5min", "2h", "500ms", "7"] {
        folder
            .run(&format!("check --time {time} easy"))
            .exits_with(0);
    }
    for (time, told) in [
        ("5weeks", "use ms, s, min, h or d"),
        ("soon", "unknown unit"),
        ("1e400s", "no time"),
        ("-1s", "error"),
    ] {
        folder
            .run(&format!("check --time={time} easy"))
            .exits_with(2)
            .notes(told);
    }
}

#[test]
fn memory_may_be_given_in_terabytes() {
    let folder = Folder::new();
    folder.write("h", valid());
    for size in ["1TiB", "1TIB", "2tb", "1T"] {
        folder
            .run(&format!("check --memory {size} h"))
            .exits_with(0);
    }
    folder
        .run("check --memory 1PiB h")
        .exits_with(2)
        .notes("use KiB, MiB, GiB or TiB");
}

#[test]
fn what_is_too_large_says_how_much_the_whole_would_take() {
    let folder = Folder::new();
    let mut text = "# queue\n".to_owned();
    for value in 0..20_000 {
        text += &format!("enq {value} {value} {}\n", value + 1);
    }
    folder.write("q", text);
    folder
        .run("check --memory 1MiB q")
        .exits_with(2)
        .notes("up to line")
        .notes("; the whole file would take about ");
}

/// What one client of a robustness report saw makes no sense without what the others did.
#[test]
fn a_file_of_a_report_stands_for_the_whole() {
    let folder = Folder::new();
    let put = r#"{"ClientId":1,"Input":{"Type":"txn","LeaseID":0,"Txn":{"Conditions":null,"OperationsOnSuccess":[{"Type":"put-operation","Range":{"Start":"","End":"","Limit":0},"Put":{"Key":"a","Value":{"Value":"x","Hash":0},"LeaseID":0},"Delete":{"Key":""}}],"OperationsOnFailure":null}},"Call":10,"Output":{"Txn":{"Failure":false,"Results":[{"KVs":null,"Count":0,"Deleted":0}]},"Revision":2,"Error":""},"Return":20}"#;
    let range = r#"{"ClientId":2,"Input":{"Type":"range","LeaseID":0,"Range":{"Start":"a","End":"","Limit":0,"Revision":0}},"Call":30,"Output":{"Range":{"KVs":[{"Key":"a","Value":{"Value":"x","Hash":0},"ModRevision":2}],"Count":1},"Revision":2,"Error":""},"Return":40}"#;
    for (client, line) in [("client-1", put), ("client-2", range)] {
        std::fs::create_dir_all(folder.path(&format!("report/{client}"))).unwrap();
        folder.write(&format!("report/{client}/operations.json"), line);
    }
    for argument in ["client-2/operations.json", "client-*/operations.json", "*"] {
        let mut command = folder.command();
        command.args(["check", &format!("report/{argument}")]);
        crate::support::Ran::from(command.output().unwrap()).exits_with(0);
    }
}

/// What monotonic views forbid is looked for only as far as other models forbid it.
#[test]
fn a_model_of_which_not_all_that_breaks_it_is_found_is_undecided() {
    let folder = Folder::new();
    let lines = [
        r#"{"time":1,"process":0,"type":"invoke","f":"txn","value":[["append","x",1],["append","y",1]]}"#,
        r#"{"time":2,"process":1,"type":"invoke","f":"txn","value":[["r","x",null],["r","y",null]]}"#,
        r#"{"time":3,"process":0,"type":"ok","f":"txn","value":[["append","x",1],["append","y",1]]}"#,
        r#"{"time":4,"process":1,"type":"ok","f":"txn","value":[["r","x",[1]],["r","y",[]]]}"#,
    ];
    folder.write("fractured.jsonl", history("list-append", &lines));
    folder
        .run("check --consistency monotonic-view fractured.jsonl")
        .exits_with(4)
        .says("whether monotonic-view holds cannot be told");
    folder
        .run("check --consistency read-atomic fractured.jsonl")
        .exits_with(1)
        .says("fractured-read (a transaction saw one write of another but not all)");
    folder
        .run("check --consistency read-committed fractured.jsonl")
        .exits_with(0);
}
