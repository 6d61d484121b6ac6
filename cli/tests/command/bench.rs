//! `bench`: in the simulation, and in short on a real etcd.

use crate::cluster::Etcd;
use crate::support::Folder;

#[test]
fn a_simulated_benchmark_counts_requests_and_is_the_same_each_time() {
    let folder = Folder::new();
    let run = || {
        folder
            .run("bench queue mutex --sim --count 20 --seed 3 --json")
            .exits_with(0)
    };
    let ran = run();
    assert_eq!(ran.stdout, run().stdout);
    let json = ran.json();
    assert_eq!(json["command"], "bench");
    assert!(json["endpoints"].is_null());
    let reports = json["reports"].as_array().unwrap();
    assert!(reports.len() > 2);
    for report in reports {
        assert_eq!(report["operations"], 20);
        assert_eq!(report["simulated"], true);
        assert!(
            report["requests_per_operation"].as_f64().unwrap() >= 1.0,
            "{report}"
        );
        assert!(report["requests"]["by_kind"]["txn"].as_u64().unwrap() >= 20);
        for latency in report["latencies"].as_object().unwrap().values() {
            let of = |name: &str| latency[name].as_f64().unwrap();
            assert!(0.0 < of("p50_ms") && of("p50_ms") <= of("p90_ms"));
            assert!(of("p90_ms") <= of("p99_ms") && of("p99_ms") <= of("max_ms") * 1.01);
        }
    }
}

#[test]
fn a_benchmark_on_a_cluster_prints_a_table_and_leaves_nothing_behind() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let line = format!(
        "bench --count 10 --workers 3 --endpoints {}",
        etcd.endpoint()
    );
    let ran = folder.run(&line).exits_with(0).says("requests each");
    for name in ["raw-put", "queue", "mutex", "rwlock", "stm", "stm-prefetch"] {
        assert!(
            ran.stdout
                .lines()
                .any(|line| line.trim_start().starts_with(name)),
            "no {name} in {}",
            ran.stdout
        );
    }
    assert_eq!(etcd.keys(), 0);
}

#[test]
fn the_script_that_compares_with_go_measures_everything_that_go_has() {
    let help = Folder::new().run("bench --help").exits_with(0).stdout;
    let named = |line: &str| {
        let name = line.trim_start().strip_prefix("- ")?.split(':').next()?;
        // Go has no such recipes.
        let is_ours = ["reliable-queue", "cyclic-barrier"].contains(&name);
        (!is_ours).then(|| name.to_owned())
    };
    let (benchmarks, _) = help.split_once("Options:").unwrap();
    let known: Vec<String> = benchmarks.lines().filter_map(named).collect();
    assert!(known.len() >= 10, "{known:?}");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/bench-go");
    let script = std::fs::read_to_string(script).unwrap();
    let every = script.lines().find_map(|line| line.strip_prefix("every="));
    let every = every.unwrap().trim_matches('"').split(' ');
    assert_eq!(every.collect::<Vec<_>>(), known);
}

#[test]
#[cfg(unix)]
fn what_was_measured_before_a_failure_is_shown() {
    use std::os::unix::fs::PermissionsExt as _;

    let (etcd, folder) = (Etcd::start(), Folder::new());
    let program = folder.write(
        "peer",
        "#!/bin/sh\n\
         for name; do :; done\n\
         [ $name = raw-put ] && echo '{\"per_second\": 1.5, \"latencies\": {}}'\n",
    );
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let line = format!(
        "bench raw-put mutex --workers 1 --count 10 --turns 1 --go {} --endpoints {}",
        program.display(),
        etcd.endpoint()
    );
    let ran = folder.run(&line).exits_with(5).says("raw-put").says("1.50");
    assert!(!ran.stdout.contains("mutex"), "{}", ran.stdout);
    ran.notes("failed");
}

#[test]
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn an_interrupted_benchmark_removes_its_keys() {
    use std::process::{Command, Stdio};

    let etcd = Etcd::start();
    let child = Command::new(assert_cmd::cargo::cargo_bin!("etcd-recipes"))
        .args(["bench", "raw-put", "--count", "1000000000", "--endpoints"])
        .arg(etcd.endpoint())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while etcd.keys() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    let interrupt = Command::new("kill").args(["-INT", &pid]).status();
    assert!(interrupt.unwrap().success());
    let ran: crate::support::Ran = child.wait_with_output().unwrap().into();
    ran.exits_with(5).notes("interrupted");
    assert_eq!(etcd.keys(), 0);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let folder = Folder::new();
    folder.run("bench nothing").exits_with(2).notes("mutex");
    folder
        .run("bench mutex --sim --producers 2")
        .exits_with(2)
        .notes("--producers means nothing");
    folder
        .run("bench mutex --endpoints 127.0.0.1:1")
        .exits_with(5)
        .notes("Is etcd running there?");
    let etcd = Etcd::start();
    let line = format!(
        "bench queue --count 1 --go ./nothing --endpoints {}",
        etcd.endpoint()
    );
    folder
        .run(&line)
        .exits_with(2)
        .notes("scripts/bench-go builds it");
}
