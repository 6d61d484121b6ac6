//! The simulated etcd answers as a real one does.
//!
//! The real etcd is `$ETCD`, or `etcd` on the `PATH`. `CONFORMANCE_SEED` and
//! `CONFORMANCE_REQUESTS` ask for other and longer runs.

use etcd_conform::{Campaign, ConformError, Progress, Report, Target};
use etcd_sim::bug::EtcdBug;

const SEED: u64 = 1;
const REQUESTS: u64 = 1_500;

#[test]
fn every_answer_equals_that_of_a_real_etcd() {
    let seed = variable("CONFORMANCE_SEED").unwrap_or(SEED);
    let requests = variable("CONFORMANCE_REQUESTS").unwrap_or(REQUESTS);
    let campaign = Campaign::new(target(), seed).requests(requests);
    let report = agree(campaign.run(&mut |_| {}));
    println!("{report:#?}");
    assert!(report.requests >= requests);
    for kind in [
        "range",
        "put",
        "txn",
        "compact",
        "watch create",
        "lease grant",
        "hash",
    ] {
        assert!(report.kinds[kind] > 0, "{kind}");
    }
}

#[test]
fn without_random_requests_the_scenarios_are_what_was_compared() {
    let report = agree(Campaign::new(target(), SEED).requests(0).run(&mut |_| {}));
    let scenarios = etcd_conform::scenario::ALL.len() as u64;
    assert_eq!((report.sequences, report.scenarios), (scenarios, scenarios));
}

#[test]
fn a_torn_transaction_is_told_by_its_own_answer_and_nothing_after_it() {
    let campaign = Campaign::new(target(), SEED)
        .requests(0)
        .bug(Some(EtcdBug::TornTxn));
    let report = campaign.run(&mut |_| {}).expect("a real etcd starts");
    let difference = report.difference.expect("a scenario finds it");
    let last = difference.steps.last().expect("there are steps");
    assert!(last.starts_with("txn"), "{difference}");
    assert!(difference.diff.contains("revision"), "{difference}");
    let told = format!("answer {} differs", difference.steps.len());
    assert!(difference.to_string().contains(&told), "{difference}");
    assert!(difference.steps.len() <= 2, "needless steps: {difference}");
}

#[test]
fn a_mistake_is_found_and_told_by_the_fewest_requests() {
    for (bug, steps_max) in [(EtcdBug::TornTxn, 1), (EtcdBug::LeaseLeavesKeys, 4)] {
        let campaign = Campaign::new(target(), SEED)
            .requests(5_000)
            .scenarios(false)
            .bug(Some(bug));
        let report = campaign.run(&mut |_| {}).expect("a real etcd starts");
        let difference = report.difference.expect("the mistake is found");
        assert!(difference.steps.len() <= steps_max, "{difference}");
        assert!(!difference.diff.is_empty(), "{difference}");
        // Its number brings it back.
        let sequence = difference.sequence.expect("chance has found it");
        let campaign = Campaign::new(target(), SEED)
            .only(sequence..sequence + 1)
            .bug(Some(bug));
        let again = campaign.run(&mut |_| {}).expect("a real etcd starts");
        assert!(again.difference.is_some());
    }
}

/// The first time it ends as when another program has taken its port.
#[cfg(unix)]
#[test]
fn an_etcd_whose_port_was_taken_is_started_on_another_one() {
    let first = "echo 'listen tcp 127.0.0.1:1: bind: address already in use' >&2; exit 1";
    let (_folder, program) = ailing(first);
    let campaign = Campaign::new(Target::Start { program }, SEED).only(0..1);
    assert_eq!(agree(campaign.run(&mut |_| {})).sequences, 1);
}

/// The first time it is killed while a scenario is taken.
#[cfg(unix)]
#[test]
#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn an_etcd_that_somebody_kills_is_no_cluster_to_compare_with() {
    // Who it is, and where clients find it.
    let (_folder, program) = ailing("echo $$ ${6#http://} >${0}-runs");
    let runs = program.with_file_name("etcd-runs");
    let killer = std::thread::spawn(move || {
        let pause = || std::thread::sleep(std::time::Duration::from_millis(100));
        let (process, address) = loop {
            let told = std::fs::read_to_string(&runs).unwrap_or_default();
            match told.trim().split_once(' ') {
                Some((process, address)) => break (process.to_owned(), address.to_owned()),
                None => pause(),
            }
        };
        while std::net::TcpStream::connect(&address).is_err() {
            pause();
        }
        // The scenarios take some seconds.
        (0..20).for_each(|_| pause());
        let mut kill = std::process::Command::new("kill");
        kill.args(["-9", &process]).status()
    });
    let campaign = Campaign::new(Target::Start { program }, SEED).requests(1);
    let report = campaign.run(&mut |_| {});
    assert!(killer.join().unwrap().unwrap().success());
    let is_told = matches!(&report, Err(ConformError::Killed { how, .. }) if how.contains('9'));
    assert!(is_told, "{report:#?}");
}

/// The first time it dies in the middle.
#[cfg(unix)]
#[test]
fn an_etcd_that_does_not_survive_is_reported_with_its_last_words() {
    let first = "${ETCD:-etcd} \"$@\" & \
                 until [ -e ${0}-dies ]; do sleep 0.05; done; \
                 kill -9 $!; echo 'panic: it broke' >&2; exit 2";
    let (_folder, program) = ailing(first);
    let dies = program.with_file_name("etcd-dies");
    let campaign = Campaign::new(Target::Start { program }, SEED)
        .requests(300)
        .scenarios(false);
    // One that lives answers as it should: what differed does not again.
    let report = campaign.run(&mut |progress| {
        if matches!(progress, Progress::Requests(50..)) {
            std::fs::write(&dies, "").expect("it can be written");
        }
    });
    let report = agree(report);
    let diffs = report.unrepeated.iter().map(|difference| &difference.diff);
    let ended = diffs.filter(|diff| diff.contains("etcd has ended"));
    let ended: Vec<&String> = ended.collect();
    assert!(
        matches!(ended[..], [diff] if diff.contains("it broke")),
        "{report:#?}"
    );
}

/// A program that does this before it becomes etcd, but only when it is first started.
#[cfg(unix)]
fn ailing(first: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (program, been) = (folder.path().join("etcd"), folder.path().join("been"));
    let etcd = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
    let been = been.display();
    let script = format!(
        "#!/bin/sh\n\
         [ -e {been} ] && exec {etcd} \"$@\"\n\
         touch {been}\n\
         {first}\n\
         exec {etcd} \"$@\"\n"
    );
    std::fs::write(&program, script).expect("it can be written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("it is ours");
    (folder, program)
}

fn target() -> Target {
    let program = std::env::var_os("ETCD").unwrap_or_else(|| "etcd".into());
    Target::Start {
        program: program.into(),
    }
}

#[track_caller]
fn agree(report: Result<Report, ConformError>) -> Report {
    let report = report.unwrap_or_else(|error| {
        panic!(
            "{error}. Install etcd (Debian and Ubuntu: apt-get install etcd-server) or set \
             ETCD=/path/to/etcd; the test command of the repository does that by itself"
        )
    });
    if let Some(difference) = &report.difference {
        panic!("etcd {} differs:\n{difference}", report.version);
    }
    report
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}
