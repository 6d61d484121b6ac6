//! Long histories of each model, in which one operation comes after the other.

use std::fmt::Write as _;

/// The lines of a history.
struct Lines {
    text: String,
    operations: usize,
    revision: usize,
}

impl Lines {
    fn of(model: &str) -> Self {
        let model = model.strip_prefix("plain-").unwrap_or(model);
        let parameters = match model {
            "semaphore" => r#"{"permits":3}"#,
            "bank" => r#"{"accounts":["a","b"],"total":10}"#,
            "double-barrier" | "cyclic-barrier" => r#"{"count":1}"#,
            _ => "{}",
        };
        let text = format!(
            "{{\"format\":\"etcd-recipes-history\",\"version\":1,\"workload\":\"long\",\"model\":\"{model}\",\"source\":{{\"kind\":\"other\",\"description\":\"long\"}},\"parameters\":{parameters}}}\n"
        );
        Self {
            text,
            operations: 0,
            revision: 1,
        }
    }

    /// Who acquires a lock releases it.
    fn process(&self) -> usize {
        self.operations / 2 % 5
    }

    /// One operation.
    fn op(&mut self, f: &str, asked: &str, told: &str) {
        self.lines(f, asked, told, "");
    }

    /// One that etcd answered at the revision so far.
    fn at_revision(&mut self, f: &str, asked: &str, told: &str) {
        let revision = format!(",\"revision\":{}", self.revision);
        self.lines(f, asked, told, &revision);
    }

    /// One that has changed something.
    fn change(&mut self, f: &str, asked: &str, told: &str) {
        self.revision += 1;
        self.at_revision(f, asked, told);
    }

    fn lines(&mut self, f: &str, asked: &str, told: &str, revision: &str) {
        let (time, process) = (3_000 * self.operations, self.process());
        let begin = format!("\"process\":{process},\"type\":\"invoke\",\"f\":\"{f}\"");
        let end = format!("\"process\":{process},\"type\":\"ok\",\"f\":\"{f}\"");
        writeln!(self.text, "{{\"time\":{time},{begin},\"value\":{asked}}}").unwrap();
        let time = time + 1_000;
        writeln!(
            self.text,
            "{{\"time\":{time},{end},\"value\":{told}{revision}}}"
        )
        .unwrap();
        self.operations += 1;
    }

    fn mark(&mut self, f: &str, value: &str) {
        let time = 3_000 * self.operations;
        writeln!(
            self.text,
            "{{\"time\":{time},\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"{f}\",\"value\":{value}}}"
        )
        .unwrap();
    }
}

/// All kinds of histories, by the model or what it is called here.
pub(crate) const MODELS: &[&str] = &[
    "fifo-queue",
    "priority-queue",
    "reliable-queue",
    "register",
    "kv",
    "plain-mutex",
    "plain-rwlock",
    "semaphore",
    "counter",
    "set",
    "set-full",
    "membership",
    "long-fork",
    "multi-register",
    "mutex",
    "rwlock",
    "election",
    "transactions",
    "bank",
    "stm",
    "list-append",
    "rw-register",
    "barrier",
    "double-barrier",
    "cyclic-barrier",
    "etcd",
];

/// A valid history of at least so many operations.
pub(crate) fn history(model: &str, operations: usize) -> String {
    let mut lines = Lines::of(model);
    let mut turn = 0;
    if model == "bank" {
        lines.change("txn", "null", r#"[["w","a","5"],["w","b","5"]]"#);
    }
    let mut changes = Vec::new();
    while lines.operations < operations {
        turn += 1;
        match model {
            "election" => elect(&mut lines, turn, &mut changes),
            "mutex" | "rwlock" => hold(&mut lines, model),
            "fifo-queue" | "priority-queue" | "reliable-queue" => queue(&mut lines, model, turn),
            "transactions" | "bank" | "stm" => revisions(&mut lines, model, turn),
            "list-append" | "rw-register" | "multi-register" | "long-fork" => {
                micro_operations(&mut lines, model, turn);
            }
            "barrier" | "double-barrier" | "cyclic-barrier" => barrier(&mut lines, model, turn),
            "etcd" => etcd(&mut lines, turn),
            _ => object(&mut lines, model, turn),
        }
    }
    if model == "election" {
        tell(&mut lines, &mut changes);
    }
    if model == "set-full" {
        let all: Vec<String> = (1..=turn).map(|element| element.to_string()).collect();
        lines.op("read", "null", &format!("[{}]", all.join(",")));
    }
    if matches!(model, "mutex" | "rwlock") {
        let through = format!("{{\"through\":{}}}", lines.revision);
        lines.mark("keys-watched", &through);
    }
    lines.text
}

fn queue(lines: &mut Lines, model: &str, turn: usize) {
    let value = format!("\"value-{turn:07}\"");
    match model {
        "fifo-queue" => {
            lines.op("enqueue", &value, "null");
            lines.op("dequeue", "null", &value);
        }
        "priority-queue" => {
            let item = format!("[{value},{}]", turn % 10);
            lines.op("enqueue", &item, "null");
            lines.op("dequeue", "null", &item);
        }
        _ => {
            lines.change("enqueue", &format!("[{value}]"), "null");
            let claim = format!("[{value},{}]", lines.revision + 1);
            lines.change("claim", "null", &format!("[{claim}]"));
            lines.change("acknowledge", &claim, "null");
        }
    }
}

fn object(lines: &mut Lines, model: &str, turn: usize) {
    let (value, element) = (turn.to_string(), format!("\"e{}\"", turn % 20));
    match model {
        "register" => {
            lines.op("write", &value, "null");
            lines.op("read", "null", &value);
        }
        "kv" => {
            let key = format!("\"key\":\"k{}\"", turn % 10);
            lines.op("put", &format!("{{{key},\"value\":\"v{turn}\"}}"), "null");
            lines.op("get", &format!("{{{key}}}"), &format!("\"v{turn}\""));
        }
        "plain-mutex" | "semaphore" => {
            lines.op("acquire", "null", "null");
            lines.op("release", "null", "null");
        }
        "plain-rwlock" => {
            lines.op("acquire", r#"{"mode":"read"}"#, "null");
            lines.op("release", r#"{"mode":"read"}"#, "null");
        }
        "counter" => {
            lines.op("add", "1", "null");
            lines.op("read", "null", &value);
        }
        "set" => {
            lines.op("add", &element, "true");
            lines.op("read", "null", &format!("[{element}]"));
            lines.op("remove", &element, "true");
        }
        "set-full" => lines.op("add", &value, "null"),
        "membership" => {
            lines.op("join", &element, "null");
            lines.op("members", "null", &format!("[{element}]"));
            lines.op("leave", &element, "null");
        }
        other => panic!("{other}"),
    }
}

fn hold(lines: &mut Lines, model: &str) {
    let mode = if model == "rwlock" {
        r#","mode":"write""#
    } else {
        ""
    };
    let token = lines.revision + 1;
    lines.change(
        "lock",
        &format!("{{\"lock\":\"a\"{mode}}}"),
        &token.to_string(),
    );
    let held = format!("\"lock\":\"a\",\"token\":{token}");
    lines.change("write", &format!("{{{held},\"guarded\":true}}"), "true");
    lines.change("unlock", &format!("{{{held}}}"), "null");
    let ended = format!(
        "{{\"token\":{token},\"deleted\":{},\"with_lease\":false}}",
        lines.revision
    );
    lines.mark("key", &ended);
}

/// What happened to the keys is told now and then.
fn elect(lines: &mut Lines, turn: usize, changes: &mut Vec<String>) {
    if turn == 1 {
        watch(lines, "invoke", "");
    }
    let term = lines.revision + 1;
    let (first, second) = (format!("\"a-{turn}\""), format!("\"b-{turn}\""));
    lines.change("campaign", &first, &format!("{{\"term\":{term}}}"));
    let proclaimed = format!("{{\"term\":{term},\"value\":{second}}}");
    lines.change("proclaim", &proclaimed, "null");
    let revision = lines.revision;
    let leads = format!("{{\"term\":{term},\"value\":{second},\"mod_revision\":{revision}}}");
    lines.at_revision("leader", "null", &leads);
    lines.change("resign", &format!("{{\"term\":{term}}}"), "null");
    for (revision, value) in (term..).zip([&first, &second, "null"]) {
        changes.push(format!(
            "{{\"term\":{term},\"revision\":{revision},\"value\":{value}}}"
        ));
    }
    if turn.is_multiple_of(50) {
        tell(lines, changes);
        watch(lines, "invoke", "");
    }
}

fn tell(lines: &mut Lines, changes: &mut Vec<String>) {
    let (told, revision) = (changes.join(","), lines.revision);
    let told = format!(",\"value\":[{told}],\"revision\":{revision}");
    watch(lines, "ok", &told);
    changes.clear();
}

/// The watcher has a process of its own.
fn watch(lines: &mut Lines, kind: &str, rest: &str) {
    let time = 3_000 * lines.operations;
    writeln!(
        lines.text,
        "{{\"time\":{time},\"process\":9,\"type\":\"{kind}\",\"f\":\"watch\"{rest}}}"
    )
    .unwrap();
}

/// The revision that wrote the account, or the key, last is that of the transaction before.
fn revisions(lines: &mut Lines, model: &str, turn: usize) {
    let before = lines.revision;
    let (old, new) = match model {
        "bank" => (5 + (turn - 1) % 2, 5 + turn % 2),
        _ => (turn - 1, turn),
    };
    let told = match model {
        "bank" => format!(
            r#"[["r","a","{old}",{before}],["r","b","{}",{before}],["w","a","{new}"],["w","b","{}"]]"#,
            10 - old,
            10 - new
        ),
        _ if turn == 1 => r#"[["r","a",null],["w","a","1"]]"#.to_owned(),
        _ => format!(r#"[["r","a","{old}",{before}],["w","a","{new}"]]"#),
    };
    lines.change("txn", "null", &told);
}

fn micro_operations(lines: &mut Lines, model: &str, turn: usize) {
    let key = format!("\"k{}\"", turn / 10);
    match model {
        "list-append" => {
            let append = format!("[\"append\",{key},{turn}]");
            lines.op("txn", &format!("[{append}]"), &format!("[{append}]"));
            let first = (turn / 10 * 10).max(1);
            let all: Vec<String> = (first..=turn).map(|value| value.to_string()).collect();
            let (asked, told) = (
                format!("[[\"r\",{key},null]]"),
                format!("[[\"r\",{key},[{}]]]", all.join(",")),
            );
            lines.op("txn", &asked, &told);
        }
        "long-fork" => {
            let (one, other) = (format!("\"k{turn}\""), format!("\"l{turn}\""));
            let write = format!("[[\"w\",{one},1]]");
            lines.op("write", &write, &write);
            let read = |value| format!("[[\"r\",{one},{value}],[\"r\",{other},null]]");
            lines.op("read", &read("null"), &read("1"));
        }
        _ => {
            let write = format!("[[\"w\",{key},{turn}]]");
            lines.op("txn", &write, &write);
            let read = |value: &str| format!("[[\"r\",{key},{value}]]");
            lines.op("txn", &read("null"), &read(&turn.to_string()));
        }
    }
}

fn barrier(lines: &mut Lines, model: &str, turn: usize) {
    let lease = format!("{{\"lease\":{turn}}}");
    match model {
        "barrier" => {
            lines.op("hold", "null", "true");
            lines.op("release", "null", "true");
            lines.op("wait", "null", "null");
        }
        "double-barrier" => {
            lines.op("enter", &lease, "null");
            lines.op("leave", &lease, "null");
        }
        _ => lines.op("wait", &lease, &format!("{{\"round\":{turn},\"index\":0}}")),
    }
}

fn etcd(lines: &mut Lines, turn: usize) {
    let number = turn % 20;
    let version = turn / 20 + usize::from(number > 0);
    let put = format!("{{\"key\":\"k{number}\",\"value\":\"v{turn}\"}}");
    lines.change("put", &put, "null");
    // Each turn writes one key.
    let created = if number == 0 { 21 } else { number + 1 };
    let found = format!(
        "{{\"kvs\":[[\"k{number}\",\"v{turn}\",{created},{},{version},0]],\"count\":1}}",
        lines.revision
    );
    lines.at_revision("range", &format!("{{\"key\":\"k{number}\"}}"), &found);
}
