//! An etcdctl beside one of the two etcds, and what it said.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// One of the two sides.
pub(super) struct Side {
    pub(super) endpoint: String,
    folder: tempfile::TempDir,
    /// The user, if any: `--user NAME:PASSWORD`.
    pub(super) user: Option<&'static str>,
    /// What is shown otherwise than it is.
    pub(super) called: Vec<(String, &'static str)>,
    /// Ids in the order in which they were first seen.
    pub(super) ids: Vec<String>,
    pub(super) said: Vec<String>,
}

/// An etcdctl that goes on.
pub(super) struct Going {
    child: Child,
    /// Open, for one that is interactive.
    stdin: ChildStdin,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Drop for Going {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Side {
    pub(super) fn new(endpoint: &str) -> Self {
        Side {
            endpoint: endpoint.to_owned(),
            folder: tempfile::tempdir().expect("there is room for a folder"),
            user: None,
            called: Vec::new(),
            ids: Vec::new(),
            said: Vec::new(),
        }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
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
    pub(super) fn run(&mut self, line: &str) {
        self.run_with(line, "");
    }

    /// The same with something on standard input.
    pub(super) fn run_with(&mut self, line: &str, input: &str) {
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
        let mut text = format!("$ etcdctl {}", self.even(line));
        for stream in [&output.stdout, &output.stderr] {
            let stream = String::from_utf8_lossy(stream);
            let mut lines: Vec<&str> = stream.lines().collect();
            if line == "member list" {
                // By ids, which differ.
                lines.sort_by_key(|line| line.split_once(", ").map(|(_, rest)| rest));
            }
            for line in lines {
                text += &self.even(line);
            }
        }
        text += &format!("-> {:?}\n", output.status.code());
        self.said.push(text);
    }

    /// Starts an etcdctl that goes on.
    pub(super) fn start(&mut self, line: &str) -> Going {
        let mut child = self
            .command(&words(line))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let stdin = child.stdin.take().expect("it is a pipe");
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
        Going {
            child,
            stdin,
            lines,
        }
    }

    /// Types a line into one that is interactive.
    pub(super) fn types(&mut self, going: &mut Going, line: &str) {
        writeln!(going.stdin, "{line}").expect("it reads what is typed");
        self.said.push(format!("{line}\n"));
    }

    /// The next lines of one that goes on.
    #[track_caller]
    pub(super) fn hears(&mut self, going: &Going, lines: usize) {
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

    /// Ends one that goes on, and waits for its end. Not by SIGINT, which a program
    /// ignores that was started in the background of a shell.
    pub(super) fn end(&mut self, mut going: Going) {
        let pid = going.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("there is kill").success());
        going.child.wait().expect("it is ours");
    }

    /// What it has said otherwise.
    pub(super) fn tell(&mut self, lines: &str) {
        let even: String = lines.lines().map(|line| self.even(line)).collect();
        self.said.push(even);
    }

    /// Takes out of a line what differs by nature.
    fn even(&mut self, line: &str) -> String {
        let mut line = line.replace(&self.endpoint, "ENDPOINT");
        for (name, shown) in &self.called {
            line = line.replace(name, shown);
        }
        if let Some(members) = line.strip_prefix("ETCD_INITIAL_CLUSTER=\"") {
            let mut members: Vec<&str> = members.trim_end_matches('"').split(',').collect();
            members.sort_unstable();
            line = format!("ETCD_INITIAL_CLUSTER={}", members.join(","));
        }
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
        // Ids are printed in columns of sixteen.
        while even.contains("  ID") {
            even = even.replace("  ID", " ID");
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
