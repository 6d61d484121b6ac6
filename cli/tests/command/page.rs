//! `--html`: pages for a browser.

use crate::support::Folder;

/// Texts that would do harm if they became markup or script.
const EVIL: &str =
    r#"</script><script>alert(1)</script><img src=x onerror=alert(2)><!-- & "' {{ page }}"#;

fn history(value: &str, error: &str, model: &str) -> String {
    let header = serde_json::json!({
        "format": "etcd-recipes-history", "version": 1, "workload": EVIL, "model": model,
        "source": {"kind": "other", "description": EVIL}, "parameters": {},
    });
    let event = |time: u64, process: u64, kind: &str, f: &str, value: serde_json::Value| serde_json::json!({"time": time, "process": process, "type": kind, "f": f, "value": value});
    let mut unknown = event(50, 2, "info", "dequeue", serde_json::Value::Null);
    unknown["error"] = error.into();
    let nemesis = serde_json::json!(
        {"time": 45, "process": "nemesis", "type": "info", "f": EVIL, "value": {"client": 7, "call": EVIL}}
    );
    [
        header,
        event(10, 0, "invoke", "enqueue", value.into()),
        event(20, 0, "ok", "enqueue", value.into()),
        event(30, 1, "invoke", "dequeue", serde_json::Value::Null),
        event(40, 2, "invoke", "dequeue", serde_json::Value::Null),
        nemesis,
        unknown,
        event(
            60,
            1,
            "ok",
            "dequeue",
            format!("{value}, but not that").into(),
        ),
    ]
    .map(|line| line.to_string() + "\n")
    .concat()
}

/// What stands between `<script type="application/json" id="data">` and the end.
fn data(page: &str) -> serde_json::Value {
    let (_, rest) = page
        .split_once(r#"<script type="application/json" id="data">"#)
        .expect("the page has data");
    let (data, _) = rest.split_once("</script>").expect("which end");
    serde_json::from_str(data).expect("and are JSON")
}

/// The page without styles, scripts and data: its markup.
fn markup(page: &str) -> String {
    let mut rest = page;
    let mut markup = String::new();
    while let Some(at) = rest
        .find("<script")
        .into_iter()
        .chain(rest.find("<style"))
        .min()
    {
        markup += &rest[..at];
        let end = ["</script>", "</style>"].map(|tag| rest[at..].find(tag).map(|end| at + end));
        rest = &rest[end.into_iter().flatten().min().expect("it is closed") + 2..];
    }
    markup + rest
}

#[test]
fn a_page_shows_the_verdict_the_proof_and_every_operation() {
    let folder = Folder::new();
    folder.write("h.jsonl", history("a", "it timed out", "fifo-queue"));
    folder
        .run("check --html h.html h.jsonl")
        .exits_with(1)
        .says("page:      h.html");
    let page = folder.read("h.html");
    let markup = markup(&page);
    for text in [
        "Safety violation: VFresh",
        "a, but not that",
        "lines 4 and 8",
        "Values leave the queue in the order in which they were put in",
        "href=\"#operation=1\"",
        "3 operations by 3 clients",
    ] {
        assert!(markup.contains(text), "no {text:?} in {markup}");
    }
    let data = data(&page);
    assert_eq!(data["operations"]["begin"], serde_json::json!([0, 2, 3]));
    assert_eq!(data["operations"]["end"], serde_json::json!([1, 6, 5]));
    assert_eq!(data["operations"]["outcome"], serde_json::json!([0, 0, 2]));
    assert_eq!(data["witness"], serde_json::json!([1]));
    assert_eq!(data["times"], serde_json::json!([10, 10, 10, 10, 5, 5, 10]));
    let texts = data["texts"].as_array().unwrap();
    assert!(texts.contains(&"it timed out".into()) && texts.contains(&"\"a\"".into()));
}

#[test]
fn a_page_names_clients_as_the_lanes_do_and_has_the_linearization() {
    let folder = Folder::new();
    let text = |second: &str| {
        let header = r#"{"format":"etcd-recipes-history","version":1,"workload":"test","model":"fifo-queue","source":{"kind":"other","description":"test"}}"#;
        let event = |line: &str| format!("{{\"time\":{line}}}\n");
        [
            format!("{header}\n"),
            event(r#"1,"process":7,"client":3,"type":"invoke","f":"dequeue","value":null"#),
            event(r#"2,"process":0,"client":1,"type":"invoke","f":"enqueue","value":"a""#),
            event(r#"3,"process":0,"client":1,"type":"ok","f":"enqueue","value":"a""#),
            event(r#"4,"process":7,"client":3,"type":"ok","f":"dequeue","value":"a""#),
            event(r#"5,"process":8,"client":4,"type":"invoke","f":"dequeue","value":null"#),
            event(&format!(
                r#"6,"process":8,"client":4,"type":"ok","f":"dequeue","value":{second}"#
            )),
        ]
        .concat()
    };
    folder.write("valid.jsonl", text("null"));
    folder
        .run("check --html valid.html valid.jsonl")
        .exits_with(0);
    let data_of = |page: &str| data(&folder.read(page));
    let order = &data_of("valid.html")["order"];
    assert_eq!(order["name"], "linearization");
    assert_eq!(order["operations"], serde_json::json!([1, 0, 2]));
    assert!(markup(&folder.read("valid.html")).contains("linearization\u{201d} shows an order"));
    folder.write("twice.jsonl", text("\"a\""));
    folder
        .run("check --html twice.html twice.jsonl")
        .exits_with(1);
    let markup = markup(&folder.read("twice.html"));
    let sentence = "by process 7 (client 3) and by process 8 (client 4)";
    assert!(markup.contains(sentence), "{markup}");
}

#[test]
fn a_page_says_why_a_valid_history_has_no_linearization() {
    let folder = Folder::new();
    let header = r#"{"format":"etcd-recipes-history","version":1,"workload":"test","model":"bank","source":{"kind":"other","description":"test"}}"#;
    let events = r#"{"time":1,"process":0,"type":"invoke","f":"transfer","value":1}
{"time":2,"process":0,"type":"ok","f":"transfer","value":1}
{"time":3,"process":0,"type":"invoke","f":"read","value":null}
{"time":4,"process":0,"type":"ok","f":"read","value":{"a":8,"b":2}}
"#;
    folder.write("h.jsonl", format!("{header}\n{events}"));
    folder.run("check --html h.html h.jsonl").exits_with(0);
    let markup = markup(&folder.read("h.html"));
    let why =
        "no linearization: transfers that are not told as transactions do not say what they moved";
    assert!(markup.contains(why), "{markup}");
}

#[test]
fn a_history_without_times_shows_none() {
    let folder = Folder::new();
    let log = "INFO  jepsen.util - 0\t:invoke\t:write\t1\nINFO  jepsen.util - 0\t:ok\t:write\t1\n\
               INFO  jepsen.util - 0\t:invoke\t:read\tnil\nINFO  jepsen.util - 0\t:ok\t:read\t2\n";
    folder.write("h.log", log);
    folder.run("check --html h.html h.log").exits_with(1);
    let page = folder.read("h.html");
    assert_eq!(data(&page)["is_timed"], false);
    let markup = markup(&page);
    assert!(markup.contains("2 operations by 1 client<"), "{markup}");
    let json = folder.run("check --json h.log").exits_with(1).json();
    let invoked = &json["files"][0]["verdict"]["witness"][0]["invoked"];
    assert_eq!(invoked["time_ns"], serde_json::Value::Null);
    assert!(invoked["line"].is_u64());
}

#[test]
fn a_page_needs_no_network_and_no_other_file() {
    let folder = Folder::new();
    folder.write("h.jsonl", history("a", "", "fifo-queue"));
    folder.run("check --html h.html h.jsonl").exits_with(1);
    let page = folder.read("h.html");
    for wanted in [
        "http:", "https:", "src=\"", "@import", "url(", "fetch(", "import(",
    ] {
        assert!(!page.contains(wanted), "the page has {wanted}");
    }
    assert!(page.contains("default-src 'none'"));
    // One <script> and </script> for each of the six scripts and the data.
    assert_eq!(page.matches("<script").count(), 7);
    assert_eq!(page.matches("</script").count(), 7);
}

#[test]
fn nothing_in_a_history_becomes_markup_or_script() {
    let folder = Folder::new();
    folder.write("evil.jsonl", history(EVIL, EVIL, "fifo-queue"));
    folder
        .run("check --html evil.html evil.jsonl")
        .exits_with(1);
    let page = folder.read("evil.html");
    assert_eq!(page.matches("<script").count(), 7);
    assert_eq!(page.matches("</script").count(), 7);
    for piece in ["<img", "<!--", "alert(1)<"] {
        assert!(!page.contains(piece), "the page has {piece}");
    }
    // Nothing was lost: it is there as text.
    assert!(markup(&page).contains("&#60;img src=x onerror=alert(2)&#62;"));
    let data = data(&page);
    let texts = data["texts"].as_array().unwrap();
    assert!(texts.contains(&serde_json::to_string(EVIL).unwrap().into()));
    assert!(texts.contains(&EVIL.into()));
    assert_eq!(
        data["bands"][0]["label"],
        format!("{}, {EVIL}", EVIL.replace('-', " "))
    );
}

#[test]
fn of_several_histories_each_has_its_page_in_a_folder() {
    let folder = Folder::new();
    folder.write("a.jsonl", history("a", "", "fifo-queue"));
    folder.write("b.jsonl", history("b", "", "fifo-queue"));
    folder
        .run("check --html pages a.jsonl b.jsonl")
        .exits_with(1)
        .says("pages/b.html");
    assert!(folder.read("pages/a.html").contains("<title>a.jsonl"));
    let index = folder.read("pages/index.html");
    assert!(index.contains(r#"<a href="a.html">a.jsonl</a>"#), "{index}");
    assert!(index.contains("Safety violation: VFresh"), "{index}");
    assert!(index.contains("<code>a, but not that</code>"), "{index}");
    assert!(!index.contains('`'), "{index}");
    folder
        .run("check --html one.html a.jsonl b.jsonl")
        .exits_with(2)
        .notes("Give a folder");
    folder
        .run("check --html a.jsonl/one.html a.jsonl")
        .exits_with(1)
        .notes("cannot make the folder a.jsonl");
}

#[test]
fn the_proof_is_found_in_a_file_in_another_order_than_time() {
    let folder = Folder::new();
    let text = "# queue\ndeq 2 4 5\ndeq 1 6 7\nenq 3 8 9\nenq 2 2 3\nenq 1 0 1\n";
    folder.write("q", text);
    folder.run("check --html q.html q").exits_with(1);
    let data = data(&folder.read("q.html"));
    // In the order of time: `1` and `2` go in, `2` comes out first.
    assert_eq!(data["witness"], serde_json::json!([0, 1, 2, 3]));
    let lines = serde_json::json!([6, 0, -1, 0, -3, 0, 1, 0, 1, 0]);
    assert_eq!(data["lines"], lines);
}

/// Operations of two clients' files that stand on the same lines: of `a` the read knows nothing.
fn stale_report(folder: &Folder, name: &str) {
    let put = |call: u64, key: &str, revision: u64| {
        format!(
            r#"{{"ClientId":1,"Input":{{"Type":"txn","LeaseID":0,"Txn":{{"Conditions":null,"OperationsOnSuccess":[{{"Type":"put-operation","Range":{{"Start":"","End":"","Limit":0}},"Put":{{"Key":"{key}","Value":{{"Value":"x","Hash":0}},"LeaseID":0}},"Delete":{{"Key":""}}}}],"OperationsOnFailure":null}}}},"Call":{call},"Output":{{"Txn":{{"Failure":false,"Results":[{{"KVs":null,"Count":0,"Deleted":0}}]}},"Revision":{revision},"Error":""}},"Return":{}}}"#,
            call + 5
        )
    };
    let range = r#"{"ClientId":2,"Input":{"Type":"range","LeaseID":0,"Range":{"Start":"a","End":"","Limit":0,"Revision":0}},"Call":30,"Output":{"Range":{"KVs":[],"Count":0},"Revision":3,"Error":""},"Return":40}"#;
    let first = format!("{}\n{}\n", put(10, "a", 2), put(20, "b", 3));
    for (client, lines) in [("client-1", first.as_str()), ("client-2", range)] {
        std::fs::create_dir_all(folder.path(&format!("{name}/{client}"))).unwrap();
        folder.write(&format!("{name}/{client}/operations.json"), lines);
    }
}

#[test]
fn the_proof_is_found_in_a_report_of_several_files() {
    let folder = Folder::new();
    stale_report(&folder, "report");
    folder.run("check --html r.html report").exits_with(1);
    let data = data(&folder.read("r.html"));
    assert_eq!(data["lines"], serde_json::json!([1, 0, 1, 0, -1, 0]));
    assert_eq!(data["witness"], serde_json::json!([0, 2]));
}

#[test]
fn a_page_that_cannot_be_written_leaves_the_others_theirs() {
    let folder = Folder::new();
    for name in ["a", "b", "c"] {
        folder.write(&format!("{name}.jsonl"), history(name, "", "fifo-queue"));
    }
    // There is a folder where the page belongs.
    std::fs::create_dir_all(folder.path("pages/b.html")).unwrap();
    let ran = folder.run("check --json --html pages a.jsonl b.jsonl c.jsonl");
    let told = ran.exits_with(1).notes("cannot write the page").json();
    assert!(folder.read("pages/c.html").contains("<title>c.jsonl"));
    let index = folder.read("pages/index.html");
    assert!(index.contains("c.html") && !index.contains("b.html"));
    // The verdict is there all the same.
    assert!(told["files"][1]["error"].is_string());
    assert_eq!(told["files"][1]["verdict"]["verdict"], "violation");
}

/// Two transactions that miss each other's write: each read is of what the other one wrote.
const WRITE_SKEW: &str = r#"{"format":"etcd-recipes-history","version":1,"workload":"test","model":"rw-register","source":{"kind":"other","description":"test"}}
{"time":1,"process":0,"client":5,"type":"invoke","f":"txn","value":[["r","x",null],["w","y",1]]}
{"time":2,"process":1,"client":6,"type":"invoke","f":"txn","value":[["r","y",null],["w","x",1]]}
{"time":3,"process":0,"client":5,"type":"ok","f":"txn","value":[["r","x",null],["w","y",1]]}
{"time":4,"process":1,"client":6,"type":"ok","f":"txn","value":[["r","y",null],["w","x",1]]}
"#;

#[test]
fn operations_of_the_proof_are_called_as_the_sentence_calls_them() {
    let folder = Folder::new();
    folder.write("skew.jsonl", WRITE_SKEW);
    folder
        .run("check --html skew.html skew.jsonl")
        .exits_with(1);
    let page = folder.read("skew.html");
    assert_eq!(
        data(&page)["witness_names"],
        serde_json::json!(["T1", "T2"])
    );
    let markup = markup(&page);
    for text in [
        r#"<span class="called">T1</span> <b>client 5 (process 0)</b>"#,
        "T1 read <code>x</code> as nothing before T2 wrote <code>1</code>",
        "T2 by process 1 (client 6), <a href=\"#operation=1\" data-operation=\"1\">line 3</a>",
        // It was asked for before it was read.
        "txn {r x, w y = 1} -&#62; ok {r x = absent, w y = 1}",
    ] {
        assert!(markup.contains(text), "no {text:?} in {markup}");
    }
    folder.write("h.jsonl", history("a", "", "fifo-queue"));
    folder.run("check --html h.html h.jsonl").exits_with(1);
    let names = &data(&folder.read("h.html"))["witness_names"];
    assert_eq!(*names, serde_json::json!(["1"]));
}

#[test]
fn an_undecided_verdict_leads_to_the_operations_that_it_names() {
    let folder = Folder::new();
    let nobody_wrote = WRITE_SKEW.replace(
        r#""ok","f":"txn","value":[["r","x",null]"#,
        r#""ok","f":"txn","value":[["r","x",3]"#,
    );
    folder.write("h.jsonl", nobody_wrote);
    folder.run("check --html h.html h.jsonl").exits_with(4);
    let page = folder.read("h.html");
    assert_eq!(data(&page)["named"], serde_json::json!([0]));
    let link = r##"<a href="#operation=0" data-operation="0">line 2</a>"##;
    assert!(markup(&page).contains(link), "{page}");
}

#[test]
fn folders_of_pages_are_made() {
    let folder = Folder::new();
    folder.write("h", history("a", "b", "fifo-queue"));
    folder.run("check --html x/y/page.html h").exits_with(1);
    assert!(folder.read("x/y/page.html").contains("<script"));
    folder.run("check --html z/ h").exits_with(1);
    assert!(folder.read("z/h.html").contains("<script"));
}
