//! `serve`, from outside: what it says, and the same etcdctl session on it and on a
//! real etcd.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::Folder;

/// A served cluster; ends when dropped.
pub(crate) struct Served {
    child: Child,
    endpoints: String,
}

impl Served {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let first = lines
            .next()
            .expect("it says something")
            .expect("it prints UTF-8");
        let (_, endpoints) = first.split_once(" at ").expect("it says where it serves");
        // What else it says is read, so that it can say it.
        std::thread::spawn(move || lines.for_each(drop));
        Served {
            endpoints: endpoints.to_owned(),
            child,
        }
    }

    /// `host:port`, of all members, with commas between.
    pub(crate) fn endpoints(&self) -> &str {
        &self.endpoints
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn wrong_usage_of_serve_is_exit_2_and_says_what_to_do() {
    let folder = Folder::new();
    folder.write(
        "wrong.json",
        r#"{"faults": [{"at_ms": 1, "kind": "none"}]}"#,
    );
    folder.write(
        "far.json",
        r#"{"faults": [{"at_ms": 1, "kind": {"pause-member": {"member": 1, "for_ms": 1}}}]}"#,
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = format!(
        "serve --listen {}",
        taken.local_addr().expect("it is bound")
    );
    for (arguments, hint) in [
        ("serve --listen here", "--listen"),
        ("serve --members 6", "--members"),
        ("serve --fault none.json", "none.json"),
        ("serve --fault wrong.json", "docs/plan-format.md"),
        (
            "serve --fault far.json",
            "strikes member 1, but there are 1",
        ),
        ("serve --bug none", "etcd-15220"),
        (&taken, "port 0 for any"),
    ] {
        folder.run(arguments).exits_with(2).notes(hint);
    }
}

#[cfg(unix)]
#[test]
fn serve_tells_of_faults_and_ends_on_ctrl_c() {
    let folder = Folder::new();
    folder.write(
        "plan.json",
        r#"{"members": 3, "faults": [
            {"at_ms": 100, "kind": {"compact-at": {"revision": 1}}},
            {"at_ms": 200, "kind": {"pause-client": {"client": 0, "for_ms": 10}}},
            {"at_ms": 300, "kind": {"crash-member": {"member": 1, "down_ms": 200}}}]}"#,
    );
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
        .args(["serve", "--listen", "127.0.0.1:0", "--seed", "7", "--fault"])
        .arg(folder.path("plan.json"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
    let mut told = Vec::new();
    for line in stderr.lines() {
        told.push(line.expect("it prints UTF-8"));
        if told
            .last()
            .is_some_and(|line| line.contains("member crash, member 1"))
        {
            break;
        }
    }
    let told = told.join("\n");
    assert!(
        told.contains("1 of 3 faults cannot strike here (client pause)"),
        "{told}"
    );
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("there is kill").success());
    let output = child.wait_with_output().expect("it is ours");
    let said = String::from_utf8(output.stdout).expect("it prints UTF-8");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("seed 7") && said.contains("member crash  1"),
        "{said}"
    );
}
