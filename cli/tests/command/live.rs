//! `live`, on a real etcd.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::Permission;

use crate::cluster::Etcd;
use crate::serve::Served;
use crate::support::Folder;

const SHORT: &str = "queue bank --set items=5 --set transfers=5";

#[test]
fn a_run_is_valid_saved_checked_alike_and_leaves_nothing_behind() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let endpoint = etcd.endpoint();
    let ran = folder
        .run(&format!(
            "live --endpoints {endpoint} {SHORT} --seed 3 --history runs"
        ))
        .exits_with(0)
        .says("queue on etcd 3.")
        .says("bank on etcd 3.");
    assert!(ran.stderr.contains(endpoint), "{}", ran.stderr);
    assert_eq!(etcd.keys(), 0);
    let verdict = |line: &str| line.split(": valid: ").nth(1).map(str::to_owned);
    for workload in ["queue", "bank"] {
        let checked = folder
            .run(&format!("check runs/{workload}-3.jsonl"))
            .exits_with(0);
        let live = ran
            .stdout
            .lines()
            .find(|line| line.starts_with(workload))
            .unwrap();
        assert_eq!(verdict(checked.stdout.trim()), verdict(live));
    }
}

#[test]
fn every_workload_is_valid_and_leaves_nothing_behind() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let ran = folder
        .run(&format!(
            "live --endpoints {} --prefix run --set items=3 --set transfers=3 --set rounds=3 \
             --set transactions=5 --set ttl_s=2 --set extra=0 --set requests=40",
            etcd.endpoint()
        ))
        .exits_with(0)
        .notes("keys below __run/ and run/");
    let valid = ran.stdout.lines().filter(|line| line.contains(": valid: "));
    assert_eq!(valid.count(), 13, "{}", ran.stdout);
    assert_eq!(etcd.keys(), 0);
}

/// The last write is answered with a revision that no watch ever hears of.
#[test]
fn watches_that_never_hear_of_the_last_write_are_given_up() {
    let (served, folder) = (Served::start(&["--bug", "etcd-torn-txn"]), Folder::new());
    let endpoint = served.endpoints();
    let arguments = format!("live watch --endpoints {endpoint} --set requests=20 --seed 1");
    let ran = folder
        .command()
        .args(arguments.split_whitespace())
        .timeout(Duration::from_secs(100))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("safety violation"), "{said}");
}

/// Not with `watch`: some releases lose events when they compact, and it sees that.
#[test]
fn a_cluster_that_the_command_starts_is_compacted_and_ended() {
    let folder = Folder::new();
    let ran = folder
        .run("live kv --start 3 --set requests=60 --history kv.jsonl")
        .exits_with(0)
        .says("kv on etcd 3.");
    let endpoints = ran.stderr.split("etcd at ").nth(1).expect("it says where");
    let (endpoints, _) = endpoints.split_once(", keys below").expect("that is all");
    assert_eq!(endpoints.split(", ").count(), 3);
    for endpoint in endpoints.split(", ") {
        let gone = std::net::TcpStream::connect(endpoint);
        assert!(gone.is_err(), "{endpoint} is still there");
    }
    let history = folder.read("kv.jsonl");
    assert!(history.contains("\"compact\""));
    // Nobody else could have compacted.
    assert!(!history.contains("whoever else uses the cluster"));
    folder
        .run("live kv --set compact=1")
        .exits_with(2)
        .notes("--start 3");
    folder.run("live kv --start 2").exits_with(2);
    folder
        .run("live kv watch queue --history all.jsonl")
        .exits_with(2)
        .notes("run one workload: live queue");
}

/// The cluster's revision moves for others' writes too, and others may compact.
#[test]
fn strangers_who_write_elsewhere_and_compact_disturb_no_verdict_on_etcd_itself() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let is_over = AtomicBool::new(false);
    let strangers = async |mut client: etcd_client::Client| {
        let mut written = 0;
        while !is_over.load(Ordering::Relaxed) {
            let put = client.put("stranger", "", None).await.unwrap();
            written += 1;
            if written % 50 == 0 {
                let revision = put.header().unwrap().revision() - 20;
                client.compact(revision, None).await.unwrap();
            }
        }
        client.delete("stranger", None).await.unwrap();
        written
    };
    let (ran, written) = std::thread::scope(|scope| {
        let stranger = scope.spawn(|| etcd.with_client(strangers));
        let ran = folder.run(&format!(
            "live kv watch --endpoints {} --set requests=150",
            etcd.endpoint()
        ));
        is_over.store(true, Ordering::Relaxed);
        (ran, stranger.join().unwrap())
    });
    let ran = ran.exits_with(0);
    let valid = ran.stdout.lines().filter(|line| line.contains(": valid: "));
    assert_eq!(valid.count(), 2, "{}", ran.stdout);
    assert!(written > 500, "the strangers wrote only {written} times");
    assert_eq!(etcd.keys(), 0);
}

/// Simulated, the same workloads compact.
#[test]
fn a_cluster_of_others_is_never_compacted() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let arguments = format!(
        "live kv watch --endpoints {} --set requests=80",
        etcd.endpoint()
    );
    folder.run(&arguments).exits_with(0);
    let compacted = etcd.with_client(async |mut client| {
        let hash = client.hash_kv(0).await.expect("etcd answers");
        hash.compact_version()
    });
    assert_eq!(compacted, -1);
}

#[test]
fn the_books_of_a_priority_queue_that_is_there_are_not_touched() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    etcd.with_client(async |mut client| client.put("__mine/jobs/00001", "", None).await.unwrap());
    let live = |what: &str| {
        folder.run(&format!(
            "live {what} --endpoints {} --prefix mine --set items=3",
            etcd.endpoint()
        ))
    };
    for what in ["priority-queue", "priority-queue --dry-run"] {
        live(what)
            .exits_with(5)
            .notes("already keys below `__mine/`");
    }
    live("queue").exits_with(0);
    assert_eq!(etcd.keys(), 1);
}

#[test]
fn the_environment_of_etcdctl_is_read_and_the_history_can_go_to_standard_output() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let mut command = folder.command();
    command.env("ETCDCTL_ENDPOINTS", etcd.endpoint());
    command
        .args(["live", "queue", "--history", "-", "--prefix", "here"])
        .args(["--set", "items=5"]);
    let ran = command.assert().code(0);
    let history = String::from_utf8(ran.get_output().stdout.clone()).unwrap();
    assert!(
        history
            .lines()
            .next()
            .unwrap()
            .contains("\"prefix\":\"here/\""),
        "{history}"
    );
    folder.write("h.jsonl", history);
    folder.run("check h.jsonl").exits_with(0);
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_it_would_do() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let revision = || {
        etcd.with_client(async |mut client| {
            client
                .get("any", None)
                .await
                .unwrap()
                .header()
                .unwrap()
                .revision()
        })
    };
    let before = revision();
    folder
        .run(&format!(
            "live --dry-run --endpoints {} --prefix /app/ --set items=9",
            etcd.endpoint()
        ))
        .exits_with(0)
        .says("\"/app/\"")
        .says("items=9")
        .says("transfers=100");
    assert_eq!(revision(), before);
}

#[test]
fn keys_that_are_already_there_are_not_touched() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    etcd.with_client(async |mut client| client.put("mine/1", "precious", None).await.unwrap());
    folder
        .run(&format!(
            "live --endpoints {} --prefix mine {SHORT}",
            etcd.endpoint()
        ))
        .exits_with(5)
        .notes("already keys below `mine/`");
    assert_eq!(etcd.keys(), 1);
}

#[test]
fn where_nobody_listens_is_exit_5() {
    let folder = Folder::new();
    for dry_run in ["", "--dry-run"] {
        folder
            .run(&format!("live {dry_run} --endpoints 127.0.0.1:1"))
            .exits_with(5)
            .notes("127.0.0.1:1")
            .notes("Is etcd running there?");
    }
}

#[test]
fn a_member_that_is_down_is_left_out() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    folder
        .run(&format!(
            "live queue --set items=5 --endpoints 127.0.0.1:1,{}",
            etcd.endpoint()
        ))
        .exits_with(0)
        .notes("127.0.0.1:1");
}

#[test]
fn a_user_whose_role_ends_at_the_prefix_can_run_it() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    etcd.with_client(async |mut client| {
        client.user_add("root", "r", None).await.unwrap();
        client.user_grant_role("root", "root").await.unwrap();
        client.role_add("app").await.unwrap();
        let below = Permission::read_write("/app/").with_prefix();
        client.role_grant_permission("app", below).await.unwrap();
        client.user_add("app", "hunter2", None).await.unwrap();
        client.user_grant_role("app", "app").await.unwrap();
        client.auth_enable().await.unwrap();
    });
    folder.write("secret", "hunter2\n");
    folder.write("wrong", "hunter3\n");
    let live = |options: &str| {
        folder.run(&format!(
            "live --endpoints {} {SHORT} {options}",
            etcd.endpoint()
        ))
    };
    live("--user app --password-file secret --prefix /app/")
        .exits_with(0)
        .says("bank on etcd");
    // A second time, so the first one has removed its keys.
    let mut command = folder.command();
    command
        .env("ETCDCTL_USER", "app:hunter2")
        .env("ETCDCTL_ENDPOINTS", etcd.endpoint());
    command
        .args(["live", "queue", "--prefix", "/app", "--set", "items=3"])
        .assert()
        .code(0);

    let elsewhere = live("--user app --password-file secret --prefix /other/").exits_with(5);
    assert!(
        elsewhere
            .stderr
            .to_lowercase()
            .contains("permission denied"),
        "{}",
        elsewhere.stderr
    );
    let refused = live("--user app --password-file wrong --prefix /app/").exits_with(5);
    assert!(!refused.stderr.contains("hunter3"), "{}", refused.stderr);
    live("--prefix /app/")
        .exits_with(5)
        .notes("--password-file FILE");
}

#[test]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn an_interrupted_run_removes_its_prefix_and_still_checks_and_saves() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
        .args([
            "live",
            "queue",
            "--set",
            "items=100000",
            "--endpoints",
            etcd.endpoint(),
        ])
        .arg("--history")
        .arg(folder.path("h.jsonl"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while etcd.keys() == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let ran: crate::support::Ran = child.wait_with_output().unwrap().into();
    let ran = ran.exits_with(0).notes("interrupted").says("valid");
    assert!(ran.stdout.contains("h.jsonl"));
    assert_eq!(etcd.keys(), 0);
    folder.run("check h.jsonl").exits_with(0);
}

/// Starts `live` on a cluster of one that it starts itself, and waits until the clients
/// are at work; the process, and the id of the one that is its etcd.
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn start_on_its_own(folder: &Folder) -> (std::process::Child, String) {
    use std::os::unix::fs::PermissionsExt as _;

    let real = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
    let pid = folder.path("pid");
    let script = format!(
        "#!/bin/sh\necho $$ > {}\nexec {real} \"$@\"\n",
        pid.display()
    );
    let program = folder.write("etcd", script);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, executable).unwrap();
    let child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
        .args(["live", "kv", "--start", "1", "--set", "requests=100000"])
        .env("ETCD", &program)
        // Of no importance, for the cluster is another one.
        .env("ETCDCTL_ENDPOINTS", "127.0.0.1:1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(folder.path("."))
        .spawn()
        .unwrap();
    while !pid.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(3));
    (child, folder.read("pid").trim().to_owned())
}

#[cfg(unix)]
fn signal(signal: &str, process: &str) {
    let sent = Command::new("kill").args([signal, process]).status();
    assert!(sent.unwrap().success());
}

#[test]
#[cfg(unix)]
fn a_cluster_of_its_own_that_dies_is_told_and_no_promise_is_broken() {
    let folder = Folder::new();
    let (child, etcd) = start_on_its_own(&folder);
    signal("-KILL", &etcd);
    let ran: crate::support::Ran = child.wait_with_output().unwrap().into();
    let ran = ran
        .exits_with(5)
        .notes("kv: the cluster that was started is gone, 1 of 1")
        .notes("signal: 9");
    assert!(!ran.stderr.contains("keys may be left"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("violation"), "{}", ran.stdout);
}

#[test]
#[cfg(unix)]
fn a_cluster_of_its_own_needs_no_cleaning_up() {
    let folder = Folder::new();
    let (child, etcd) = start_on_its_own(&folder);
    // As Ctrl-C in a terminal, which the etcd hears too.
    signal("-INT", &child.id().to_string());
    signal("-INT", &etcd);
    let ran: crate::support::Ran = child.wait_with_output().unwrap().into();
    let ran = ran
        .exits_with(0)
        .notes("the cluster ends with the run")
        .says("valid");
    assert!(!ran.stderr.contains("keys may be left"), "{}", ran.stderr);
}

#[test]
fn a_cluster_of_its_own_and_another_one_contradict_each_other() {
    let folder = Folder::new();
    for option in ["--endpoints 127.0.0.1:1", "--user app", "--cacert ca.pem"] {
        let (name, _) = option.split_once(' ').unwrap();
        folder
            .run(&format!("live kv --start 1 {option}"))
            .exits_with(2)
            .notes(&format!("{name} for another one"));
    }
}
