//! One session of etcdctl, on a real etcd and on `etcd-recipes serve`: it prints the
//! same, but for ids, times and addresses.
//!
//! etcdctl is `$ETCDCTL`, or the one on the `PATH`; `scripts/test` brings one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cluster::Etcd;
use crate::serve::Served;

/// One of the two sides.
struct Side {
    endpoint: String,
    folder: tempfile::TempDir,
    /// The user, if any: `--user NAME:PASSWORD`.
    user: Option<&'static str>,
    /// Ids in the order in which they were first seen.
    ids: Vec<String>,
    said: Vec<String>,
}

/// An etcdctl that goes on.
struct Going {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Drop for Going {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Side {
    fn new(endpoint: &str) -> Self {
        Side {
            endpoint: endpoint.to_owned(),
            folder: tempfile::tempdir().expect("there is room for a folder"),
            user: None,
            ids: Vec::new(),
            said: Vec::new(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = std::env::var("ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
        let mut command = Command::new(program);
        let set = std::env::vars().filter(|(name, _)| name.starts_with("ETCDCTL_"));
        for (name, _) in set {
            command.env_remove(name);
        }
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint])
            .current_dir(self.folder.path())
            .args(self.user.map(|user| format!("--user={user}")));
        for argument in arguments {
            command.arg(self.with_ids(argument));
        }
        command
    }

    /// `{1}` in an argument is the first id that this side has shown.
    fn with_ids(&self, argument: &str) -> String {
        let ids = self.ids.iter().enumerate();
        ids.fold(argument.to_owned(), |argument, (number, id)| {
            argument.replace(&format!("{{{}}}", number + 1), id)
        })
    }

    /// Runs etcdctl to its end. Words are separated by spaces.
    fn run(&mut self, line: &str) {
        self.run_with(line, "");
    }

    /// The same with something on standard input.
    fn run_with(&mut self, line: &str, input: &str) {
        let arguments: Vec<&str> = words(line);
        let mut child = self
            .command(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start etcdctl: {error}; set ETCDCTL=PATH or run scripts/test")
            });
        let mut stdin = child.stdin.take().expect("it is a pipe");
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let mut text = format!("$ etcdctl {line}\n");
        for stream in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(stream).lines() {
                text += &self.even(line);
            }
        }
        text += &format!("-> {:?}\n", output.status.code());
        self.said.push(text);
    }

    /// Starts an etcdctl that goes on.
    fn start(&mut self, line: &str) -> Going {
        let mut child = self
            .command(&words(line))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        self.said.push(format!("$ etcdctl {line} &\n"));
        Going { child, lines }
    }

    /// The next lines of one that goes on.
    #[track_caller]
    fn hears(&mut self, going: &Going, lines: usize) {
        for number in 0..lines {
            let line = going.lines.recv_timeout(Duration::from_secs(20));
            let line = line.unwrap_or_else(|error| {
                panic!(
                    "{}: line {number} of {lines}: {error}\n{:#?}",
                    self.endpoint, self.said
                )
            });
            let text = self.even(&line);
            self.said.push(text);
        }
    }

    /// Interrupts one that goes on, and waits for its end.
    fn interrupt(&mut self, mut going: Going) {
        let pid = going.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.expect("there is kill").success());
        going.child.wait().expect("it is ours");
    }

    /// Takes out of a line what differs by nature.
    fn even(&mut self, line: &str) -> String {
        let line = line.replace(&self.endpoint, "ENDPOINT");
        // What the client's library logs beside the error that etcdctl prints.
        if line.starts_with('{') && line.contains(r#""logger""#)
            || line.starts_with('{') && line.contains(r#""caller""#)
        {
            return String::new();
        }
        let mut even = String::new();
        for word in split(&line) {
            even += &self.even_word(word);
        }
        if let Some((before, _)) = even.split_once("took = ") {
            even = format!("{before}took");
        }
        // Seconds that are left.
        if even.starts_with("\"TTL\" : 9") {
            even.truncate("\"TTL\" : 9".len());
        }
        even + "\n"
    }

    /// An id is known by its sixteen hexadecimal digits, or as many decimal ones.
    fn even_word(&mut self, word: &str) -> String {
        let hexadecimal = word.len() >= 14 && word.len() <= 16;
        let is_id = hexadecimal && word.bytes().all(|b| b.is_ascii_hexdigit())
            || word.len() >= 16 && word.bytes().all(|b| b.is_ascii_digit());
        if !is_id || word.bytes().all(|b| b == b'0') {
            return word.to_owned();
        }
        let known = self.ids.iter().position(|id| id == word);
        let number = known.unwrap_or_else(|| {
            self.ids.push(word.to_owned());
            self.ids.len() - 1
        });
        format!("ID{}", number + 1)
    }
}

/// The arguments of a line; `''` is an empty one.
fn words(line: &str) -> Vec<&str> {
    let all = line.split(' ').filter(|word| !word.is_empty());
    all.map(|word| if word == "''" { "" } else { word })
        .collect()
}

/// A line in words and what is between them.
fn split(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| c.is_ascii_alphanumeric() == first.is_ascii_alphanumeric();
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
    parts
}

/// Both sides do the same, at the same time; then what they said is compared.
fn compare(real: &str, served: &str, session: fn(&mut Side)) {
    let (mut real, mut served) = (Side::new(real), Side::new(served));
    std::thread::scope(|scope| {
        scope.spawn(|| session(&mut real));
        scope.spawn(|| session(&mut served));
    });
    for (theirs, ours) in real.said.iter().zip(&served.said) {
        assert!(
            ours == theirs,
            "they differ\n\nserved:\n{ours}\nreal:\n{theirs}"
        );
    }
    assert_eq!(real.said.len(), served.said.len());
    println!("{} lines agree", real.said.len());
}

#[test]
fn a_session_of_etcdctl_is_that_on_a_real_etcd() {
    let real = Etcd::start();
    let version = real.with_client(async |mut client| {
        let status = client.status().await.expect("etcd answers");
        status.version().to_owned()
    });
    let served = Served::start(&["--etcd-version", &version]);
    compare(real.endpoint(), served.endpoints(), |side| {
        keys(side);
        transactions(side);
        past(side);
        watches(side);
        leases(side);
        recipes(side);
        cluster(side);
        users(side);
    });
}

fn keys(side: &mut Side) {
    for line in [
        "put a 1",
        "put b 2",
        "put c 30",
        "put dir/x 1",
        "put dir/y 2",
        "put dir/z 0",
        "put a 10 --prev-kv",
        "put none x --ignore-value",
        "put none --ignore-value",
        "put a --ignore-value",
        "put a x --ignore-lease",
        "put a 1 --lease=7",
        "put '' x",
        "get a",
        "get a --print-value-only",
        "get a c",
        "get a c --keys-only",
        "get dir/ --prefix",
        "get dir/ --prefix --limit=2",
        "get dir/ --prefix --sort-by=VALUE --order=DESCEND",
        "get dir/ --prefix --sort-by=MODIFY",
        "get b --from-key",
        "get '' --prefix",
        "get ''",
        "get none",
        "get a --rev=2",
        "get a --rev=99",
        "get a --consistency=s",
        "get a -w fields",
        "get a -w json",
        "get a --hex",
        "del a",
        "del a",
        "del b --prev-kv",
        "del dir/ --prefix",
        "del b --from-key",
        "put a 1 -w json",
    ] {
        side.run(line);
    }
    side.run_with("put stdin", "from standard input");
    side.run("get stdin");
}

fn transactions(side: &mut Side) {
    let branches = "\n\nput then yes\nget then\n\nput else no\nget a\n\n";
    for compare in [
        r#"value("a") = "1""#,
        r#"value("a") = "2""#,
        r#"version("a") > "0""#,
        r#"create("then") = "0""#,
        r#"mod("a") < "5""#,
    ] {
        side.run_with("txn", &format!("{compare}{branches}"));
    }
    side.run_with("txn", "\n\nput twice 1\nput twice 2\n\n\n");
    side.run_with("txn", "\n\ndel then\ndel --prefix e\n\n\n");
}

fn past(side: &mut Side) {
    for line in [
        "compaction 5",
        "get a --rev=4",
        "get a --rev=5",
        "compaction 5",
        "compaction 999",
        "compaction 6 --physical",
    ] {
        side.run(line);
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn watches(side: &mut Side) {
    let all = side.start("watch --rev=7 --prefix --prev-kv w");
    let one = side.start("watch w/a");
    // A watch from now on has begun before what it is to hear of.
    std::thread::sleep(Duration::from_millis(500));
    side.run("put w/a 1");
    side.run("put w/b 2");
    side.run("put w/a 3");
    side.run("del w/b");
    side.hears(&one, 6);
    side.hears(&all, 16);
    side.interrupt(all);
    side.interrupt(one);
    side.run("watch w/a --rev=2");
}

fn leases(side: &mut Side) {
    side.run("lease grant 100");
    let lease = side.ids.len();
    let with = |line: &str| line.replace("ID", &format!("{{{lease}}}"));
    side.run(&with("put leased 1 --lease=ID"));
    side.run("get leased -w fields");
    side.run("lease list");
    side.run(&with("lease keep-alive ID --once"));
    side.run(&with("lease timetolive ID --keys -w fields"));
    side.run(&with("lease revoke ID"));
    side.run("get leased");
    side.run(&with("lease revoke ID"));
    side.run(&with("lease timetolive ID"));
    side.run(&with("lease keep-alive ID --once"));
    side.run("lease list");
    side.run("lease grant 9000000001");
    side.run("lease grant x");
}

#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn recipes(side: &mut Side) {
    side.run("lock jobs echo held");
    let holder = side.start("lock jobs");
    side.hears(&holder, 1);
    let waiter = side.start("lock jobs echo mine");
    std::thread::sleep(Duration::from_millis(500));
    side.interrupt(holder);
    side.hears(&waiter, 1);
    let leader = side.start("elect board first");
    side.hears(&leader, 2);
    let listener = side.start("elect -l board");
    side.hears(&listener, 2);
    side.interrupt(leader);
    side.interrupt(listener);
}

fn cluster(side: &mut Side) {
    for line in [
        "endpoint health",
        "alarm list",
        "alarm disarm",
        "defrag",
        "move-leader 1",
        "snapshot save snapshot.db",
    ] {
        side.run(line);
    }
    let list = side.command(&["member", "list", "-w", "fields"]).output();
    let list = String::from_utf8(list.expect("it runs").stdout).expect("it prints UTF-8");
    let names = list.lines().filter(|line| line.starts_with("\"Name\""));
    side.said.push(names.collect());
    let status = side
        .command(&["endpoint", "status", "-w", "fields"])
        .output();
    let status = String::from_utf8(status.expect("it runs").stdout).expect("it prints UTF-8");
    let told = status.lines().filter(|line| {
        ["\"Revision\"", "\"Version\"", "\"Learner\""]
            .iter()
            .any(|name| line.starts_with(name))
    });
    side.said.push(told.collect());
}

fn users(side: &mut Side) {
    for line in [
        "auth enable",
        "user add root:secret",
        "user add root:secret",
        "user add app:secret",
        "user add robot --no-password",
        "role add writer",
        "role add writer",
        "role grant-permission writer readwrite app/ --prefix",
        "role grant-permission writer read shared",
        "role get writer",
        "role list",
        "user grant-role app writer",
        "user grant-role app none",
        "user get app",
        "user get app --detail",
        "user list",
        "user grant-role root root",
        "auth enable",
        "get app/a",
        "user list",
    ] {
        side.run(line);
    }
    side.user = Some("app:secret");
    for line in [
        "put app/a 1",
        "get app/ --prefix",
        "get shared",
        "put shared 1",
        "get '' --prefix",
        "user list",
        "user get app",
        "role get writer",
        "watch other",
        "endpoint health",
        "lock app/lock echo held",
    ] {
        side.run(line);
    }
    side.user = Some("app:wrong");
    side.run("get app/a");
    side.user = Some("root:secret");
    for line in [
        "user revoke-role root root",
        "user delete root",
        "role revoke-permission writer shared",
        "role revoke-permission writer shared",
        "role delete writer",
        "user delete app",
        "auth disable",
    ] {
        side.run(line);
    }
    side.user = None;
    side.run("get app/a");
}
