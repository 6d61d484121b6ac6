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
    folder.write(
        "cut.json",
        r#"{"members": 2, "faults": [{"at_ms": 1, "kind": {"cut": {"from": [{"member": 0}],
            "to": [{"member": 1}, {"member": 2}], "one_way": false, "for_ms": 1}}}]}"#,
    );
    folder.write("three.json", r#"{"members": 3, "faults": []}"#);
    folder.write("list.json", "[]");
    folder.write(
        "late.json",
        r#"{"faults": [{"at_ms": 99999999999999, "kind": "compact"}]}"#,
    );
    folder.write(
        "said.json",
        r#"{"faults": [{"at_ms": 1, "kind": {"transfer-lead": {"for_ms": 1}}}]}"#,
    );
    folder.write(
        "senseless.json",
        r#"{"faults": [{"at_ms": 5, "kind": {"fragment-events":
            {"member": 0, "bytes": 0, "for_ms": 1}}}]}"#,
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = format!(
        "serve --listen {}",
        taken.local_addr().expect("it is bound")
    );
    for (arguments, hint) in [
        ("serve --listen here", "write it as 127.0.0.1:2379"),
        ("serve --listen localhost", "write it as 127.0.0.1:2379"),
        ("serve --listen example:2379", "localhost:2379"),
        ("serve --listen :70000", ":2379"),
        (
            "serve --fault list.json",
            "list.json: it is no JSON object\n  Give a plan",
        ),
        ("serve --members 6", "--members"),
        ("serve --fault none.json", "none.json"),
        ("serve --fault wrong.json", "docs/plan-format.md"),
        (
            "serve --fault far.json",
            "strikes member 1, but there are 1",
        ),
        (
            "serve --fault cut.json",
            "(link cut) strikes member 2, but there are 2",
        ),
        ("serve --fault late.json", "the last fault ends after"),
        ("serve --fault said.json", "missing field `to`"),
        (
            "serve --etcd-version 3.8.0",
            "known are the releases of 3.4",
        ),
        (
            "serve --etcd-version 3.3.27",
            "known are the releases of 3.4",
        ),
        ("serve --etcd-version new", "write it as 3.5.16"),
        (
            "serve --etcd-version 3.6.0-rc.1",
            "known are releases: 3.6.0, nothing behind it",
        ),
        (
            "serve --fault senseless.json",
            "the fault at 5 ms (events fragmented): `bytes` is at least 1",
        ),
        ("serve --bug none", "etcd-15220"),
        (
            "serve --bug etcd-20418",
            "etcd-20418 shows only in clusters of 3 to 5 members, not of 1\n  Say --members 3.",
        ),
        (
            "serve --bug etcd-14370 --members 3",
            "etcd-14370 shows only in clusters of 1 member, not of 3\n  Say --members 1.",
        ),
        (
            "serve --bug etcd-14370 --fault three.json",
            "Say --members 1, or write it into the plan.",
        ),
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
        told.contains(
            "1 of 3 faults cannot strike here (client pause): who connects is client 0, and its \
             process is not ours to pause or kill"
        ),
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

/// Serves with these arguments and ends it; what it has said on both streams.
#[cfg(unix)]
fn says_at_the_start(folder: &Folder, arguments: &str) -> String {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(arguments.split_whitespace())
        .current_dir(folder.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
    stdout.read_line(&mut first).expect("it prints UTF-8");
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("there is kill").success());
    let output = child.wait_with_output().expect("it is ours");
    first + &String::from_utf8(output.stderr).expect("it prints UTF-8")
}

#[cfg(unix)]
#[test]
fn faults_of_members_that_are_not_served_are_counted() {
    let folder = Folder::new();
    folder.write(
        "plan.json",
        r#"{"members": 3, "faults": [
            {"at_ms": 100, "kind": {"kill-client": {"client": 0}}},
            {"at_ms": 600000, "kind": "compact"},
            {"at_ms": 600000, "kind": {"crash-member": {"member": 2, "down_ms": 200}}}]}"#,
    );
    let told = says_at_the_start(&folder, "--fault plan.json --members 1");
    for line in [
        "1 of 3 faults cannot strike here (member crash): there is no such member of 1",
        "1 of 3 faults cannot strike here (client kill): who connects is client 0",
    ] {
        assert!(told.contains(line), "no {line} in {told}");
    }
    let told = says_at_the_start(&folder, "--fault plan.json --members 5");
    assert!(!told.contains("member crash"), "{told}");
}

#[cfg(unix)]
#[test]
fn faults_that_cannot_strike_are_told_with_the_reason_and_do_not_strike() {
    let folder = Folder::new();
    folder.write(
        "plan.json",
        r#"{"faults": [
            {"at_ms": 1, "kind": {"reset": {"client": 2}}},
            {"at_ms": 2, "kind": {"skew-clock": {"client": 2, "permille": 1500, "for_ms": 9}}},
            {"at_ms": 3, "kind": {"skew-clock": {"client": 0, "permille": 1500, "for_ms": 9}}},
            {"at_ms": 4, "kind": {"jump-clock": {"client": 0, "to": "back", "by_ms": 9}}},
            {"at_ms": 5, "kind": {"cut": {"from": [{"member": 0}], "to": [{"client": 7}],
                "one_way": false, "for_ms": 9}}},
            {"at_ms": 6, "kind": {"delay-link": {"between": [{"member": 0}, {"client": 7}],
                "by_ms": 9, "jitter_ms": 0, "for_ms": 9}}},
            {"at_ms": 7, "kind": {"lose-leader": {"for_ms": 9}}}]}"#,
    );
    let mut served = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
        .args(["serve", "--listen", "127.0.0.1:0", "--fault"])
        .arg(folder.path("plan.json"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut told = String::new();
    let mut stderr = BufReader::new(served.stderr.take().expect("it is a pipe"));
    while !told.contains("no leader") {
        let read = stderr.read_line(&mut told).expect("it prints UTF-8");
        assert!(read > 0, "{told}");
    }
    let pid = served.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("there is kill").success());
    let output = served.wait_with_output().expect("it is ours");
    let said = String::from_utf8(output.stdout).expect("it prints UTF-8");
    for line in [
        "4 of 7 faults cannot strike here (clock skew, link cut, link delay, reset): who connects \
         is client 0, and there is no other",
        "2 of 7 faults cannot strike here (clock jump, clock skew): who connects is client 0, and \
         its clock is not ours to set",
    ] {
        assert!(told.contains(line), "no {line} in {told}");
    }
    let (_, struck) = said.split_once("served").expect("it says how much");
    assert_eq!(struck.lines().count(), 2, "{said}");
    assert!(struck.contains("no leader  1"), "{said}");
}

#[cfg(unix)]
#[test]
fn addresses_are_taken_as_etcds_users_write_them() {
    let told = |listen: &str| {
        let mut first = String::new();
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
            .args(["serve", "--listen", listen])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        stdout.read_line(&mut first).expect("it prints UTF-8");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        first
    };
    assert!(told("localhost:0").contains(" at 127.0.0.1:"));
    assert!(told(":0").contains(" at 0.0.0.0:"));
}

#[cfg(unix)]
#[test]
fn a_release_that_was_not_compared_is_served_with_a_note() {
    let folder = Folder::new();
    for version in ["3.5.99", "3.7.0"] {
        let told = says_at_the_start(&folder, &format!("--etcd-version {version}"));
        let note = format!("etcd {version} was not compared with a real one");
        assert!(told.contains(&note), "{told}");
        assert!(
            told.contains(&format!("serving etcd {version} at ")),
            "{told}"
        );
    }
    let told = says_at_the_start(&folder, "--etcd-version 3.4.23");
    assert!(!told.contains("was not compared"), "{told}");
}
