//! `shell`, through pipes, on a real etcd.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::cluster::Etcd;
use crate::support::Folder;

/// How long a shell may take to say something that it has to say.
const SOON: Duration = Duration::from_secs(20);

/// How long to watch that nothing is said.
const A_WHILE: Duration = Duration::from_millis(700);

/// A shell that is written to and listened to.
struct Shell {
    child: Child,
    stdin: Option<ChildStdin>,
    results: Receiver<String>,
    messages: Receiver<String>,
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            if send.send(line.expect("it prints UTF-8")).is_err() {
                return;
            }
        }
    });
    receive
}

impl Shell {
    fn start(etcd: &Etcd, arguments: &str) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
            .arg("shell")
            .args(arguments.split_whitespace())
            .args(["--endpoints", etcd.endpoint()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        Shell {
            stdin: child.stdin.take(),
            results: lines(child.stdout.take().expect("it is a pipe")),
            messages: lines(child.stderr.take().expect("it is a pipe")),
            child,
        }
    }

    fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it was not closed");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// The next result.
    #[track_caller]
    fn says(&self) -> String {
        match self.results.recv_timeout(SOON) {
            Ok(line) => line,
            Err(error) => {
                let messages: Vec<_> = self.messages.try_iter().collect();
                panic!("no result: {error}; messages: {messages:?}")
            }
        }
    }

    #[track_caller]
    fn answers(&mut self, line: &str) -> String {
        self.tell(line);
        self.says()
    }

    #[track_caller]
    fn is_silent(&self) {
        let said = self.results.recv_timeout(A_WHILE);
        assert_eq!(said, Err(RecvTimeoutError::Timeout));
    }

    /// Whether one of the next messages contains `text`.
    #[track_caller]
    fn notes(&self, text: &str) {
        let mut seen = Vec::new();
        loop {
            match self.messages.recv_timeout(SOON) {
                Ok(line) if line.contains(text) => return,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no {text:?} in {seen:?}: {error}"),
            }
        }
    }

    #[cfg(unix)]
    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.expect("there is kill").success());
    }

    /// Closes its input; returns what else it says.
    #[track_caller]
    fn ends_well(mut self) -> Vec<String> {
        drop(self.stdin.take());
        let status = self.child.wait().expect("it is ours");
        assert_eq!(status.code(), Some(0));
        self.results.iter().collect()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_script_runs_to_its_end_with_results_on_standard_output_only() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let script =
        "push 'clean up'\npush \"two\"\nlen\npeek\npop\npop\ntry-pop\n\nquit\npush never\n";
    let mut command = folder.command();
    command.args([
        "shell",
        "queue",
        "--name",
        "jobs",
        "--endpoints",
        etcd.endpoint(),
    ]);
    let ran: crate::support::Ran = command.write_stdin(script).output().unwrap().into();
    let ran = ran.exits_with(0).notes("the queue is empty");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "pushed at revision 2",
            "pushed at revision 3",
            "2",
            "clean up",
            "clean up",
            "two"
        ]
    );
    assert_eq!(etcd.keys(), 0);
}

#[test]
fn wrong_input_gets_a_sentence_and_the_shell_goes_on() {
    let etcd = Etcd::start();
    let mut shell = Shell::start(&etcd, "queue --name jobs");
    for (line, sentence) in [
        ("pull", "there is no command `pull`; there are: push"),
        ("push", "write it as: push VALUE"),
        ("push a b", "write it as: push VALUE"),
        ("push 'a", "no partner"),
        ("quit now", "write it as: quit"),
        ("help", "push VALUE"),
    ] {
        shell.tell(line);
        shell.notes(sentence);
    }
    assert_eq!(shell.answers("len"), "0");
    assert!(shell.ends_well().is_empty());
}

#[test]
fn a_pop_waits_for_what_another_shell_pushes() {
    let etcd = Etcd::start();
    let mut here = Shell::start(&etcd, "queue --name jobs");
    let mut there = Shell::start(&etcd, "queue --name jobs");
    here.tell("pop");
    here.is_silent();
    there.tell("push 'späte\tSendung'");
    assert_eq!(here.says(), "späte\\tSendung");
    here.ends_well();
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_wait_and_not_the_shell() {
    let etcd = Etcd::start();
    let mut shell = Shell::start(&etcd, "queue --name jobs");
    assert_eq!(shell.answers("len"), "0");
    shell.tell("pop");
    shell.is_silent();
    shell.interrupt();
    shell.notes("interrupted");
    // Also when nothing waits.
    shell.interrupt();
    shell.notes("`quit` leaves");
    assert_eq!(shell.answers("push a"), "pushed at revision 2");
    assert_eq!(shell.answers("pop"), "a");
    shell.ends_well();
}

#[test]
fn a_transaction_is_made_step_by_step_and_meets_conflicts() {
    let etcd = Etcd::start();
    let mut here = Shell::start(&etcd, "stm --name bank");
    let mut there = Shell::start(&etcd, "stm --name bank");
    here.tell("put a 100");
    here.tell("put b 0");
    assert_eq!(here.answers("commit"), "committed at revision 2");
    assert_eq!(here.answers("get a"), "100");
    assert_eq!(here.answers("rev a"), "2");
    assert_eq!(
        there.answers("transfer a b 30"),
        "bank/a holds 70, bank/b holds 30, at revision 3 after 1 attempt"
    );
    here.tell("put a 99");
    assert!(here.answers("commit").starts_with("conflict"));
    assert_eq!(here.answers("get a"), "70");
    here.tell("del b");
    assert_eq!(here.answers("commit"), "committed at revision 4");
    here.tell("get b");
    here.notes("there is no such key");
    here.tell("transfer a b 1");
    here.notes("there is no key bank/b");
    here.tell("commit b");
    here.notes("write it as: commit");
    here.tell("abort");
    here.notes("forgotten");
    here.tell("commit");
    here.notes("there is no transaction");
    here.ends_well();
}

#[test]
fn a_raw_txn_transfers_as_a_transaction_does() {
    let etcd = Etcd::start();
    let mut shell = Shell::start(&etcd, "stm");
    shell.tell("put a 10");
    shell.tell("put b 5");
    shell.answers("commit");
    assert_eq!(
        shell.answers("transfer-txn a b 4"),
        "a holds 6, b holds 9, at revision 3 after 1 attempt"
    );
    for (line, sentence) in [
        ("transfer-txn a b 7", "a holds 6, less than 7"),
        ("transfer a b 7", "a holds 6, less than 7"),
        ("transfer-txn a a 1", "two different keys"),
        ("transfer a b many", "`many` is not a whole number"),
    ] {
        shell.tell(line);
        shell.notes(sentence);
    }
    let money = etcd.with_client(async |mut client| {
        let mut sum = 0;
        for key in ["a", "b"] {
            let answer = client.get(key, None).await.unwrap();
            sum += answer.kvs()[0].value_str().unwrap().parse::<i32>().unwrap();
        }
        sum
    });
    assert_eq!(money, 15);
    shell.ends_well();
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    folder
        .run("shell queue")
        .exits_with(2)
        .notes("it needs a name");
    folder
        .run("shell queue --name jobs --count 2")
        .exits_with(2)
        .notes("--count");
    folder
        .run("shell nothing --name jobs")
        .exits_with(2)
        .notes("queue");
    folder
        .run("shell queue --name jobs --endpoints 127.0.0.1:1")
        .exits_with(5)
        .notes("Is etcd running there?");
}

#[test]
fn a_name_that_cannot_be_used_is_refused() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let line = format!("shell queue --name jobs/ --endpoints {}", etcd.endpoint());
    folder.run(&line).exits_with(2).notes("jobs/");
}
