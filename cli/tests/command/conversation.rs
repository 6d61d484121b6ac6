//! Talking with a program through pipes, line by line.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

use crate::cluster::Etcd;

/// How long a shell may take to say something that it has to say.
const SOON: Duration = Duration::from_secs(20);

/// How long to watch that nothing is said.
const A_WHILE: Duration = Duration::from_millis(700);

/// A shell that is written to and listened to.
pub(crate) struct Shell {
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
    /// `etcd-recipes shell` with these arguments.
    pub(crate) fn start(etcd: &Etcd, arguments: &str) -> Self {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"));
        command
            .arg("shell")
            .args(arguments.split_whitespace())
            .args(["--endpoints", etcd.endpoint()]);
        Shell::of(command)
    }

    /// Any program that reads and answers in lines.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command
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

    /// Gives a command, without waiting for its result.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it was not closed");
        writeln!(stdin, "{line}").expect("it reads");
    }

    /// The next result.
    #[track_caller]
    pub(crate) fn says(&self) -> String {
        match self.results.recv_timeout(SOON) {
            Ok(line) => line,
            Err(error) => {
                let messages: Vec<_> = self.messages.try_iter().collect();
                panic!("no result: {error}; messages: {messages:?}")
            }
        }
    }

    /// The result of a command.
    #[track_caller]
    pub(crate) fn answers(&mut self, line: &str) -> String {
        self.tell(line);
        self.says()
    }

    /// Waits a while for a result that must not come.
    #[track_caller]
    pub(crate) fn is_silent(&self) {
        let said = self.results.recv_timeout(A_WHILE);
        assert_eq!(said, Err(RecvTimeoutError::Timeout));
    }

    /// That nothing has been said so far.
    #[track_caller]
    pub(crate) fn has_been_silent(&self) {
        assert_eq!(self.results.try_recv(), Err(TryRecvError::Empty));
    }

    /// Whether one of the next messages contains `text`.
    #[track_caller]
    pub(crate) fn notes(&self, text: &str) {
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
    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.expect("there is kill").success());
    }

    /// Closes its input; returns what else it says.
    #[track_caller]
    pub(crate) fn ends_well(mut self) -> Vec<String> {
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
