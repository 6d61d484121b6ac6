//! `conform`, on a real etcd.

use crate::cluster::Etcd;
use crate::support::Folder;

#[test]
fn a_seed_agrees_and_names_the_release() {
    let folder = Folder::new();
    let ran = folder
        .run("conform --requests 150 --seed 3 --sequence 1 --json")
        .exits_with(2)
        .notes("cannot be used with");
    assert_eq!(ran.stdout, "");
    let ran = folder
        .run("conform --seed 3 --sequence 1 --json")
        .exits_with(0)
        .notes("no difference")
        .notes(" in 1 sequence, seed 3");
    let document = ran.json();
    assert_eq!(document["command"], "conform");
    assert_eq!(document["sequences"], 1);
    assert!(document["version"].as_str().unwrap().starts_with("3."));
    assert!(document["requests"].as_u64().unwrap() > 0);
    assert!(document["difference"].is_null());
}

#[test]
fn without_random_requests_only_the_scenarios_are_told_of() {
    let folder = Folder::new();
    folder
        .run("conform --requests 0 --seed 3")
        .exits_with(0)
        .says(" in 6 sequences, the scenarios alone, seed 3");
}

#[test]
fn a_difference_is_reproduced_with_the_etcd_that_showed_it() {
    let named = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
    let folder = Folder::new();
    let mut command = folder.command();
    command.args("conform --requests 0 --seed 3 --bug etcd-torn-txn".split(' '));
    command.env("ETCD", &named);
    let ran = crate::support::Ran::from(command.output().expect("it starts"));
    ran.exits_with(1)
        .says(&format!("reproduce: ETCD={named} "))
        .says("conform --seed 3 --requests 0 --bug etcd-torn-txn");
}

#[test]
fn a_bug_that_one_member_cannot_show_is_exit_2() {
    let folder = Folder::new();
    folder
        .run("conform --bug etcd-20418")
        .exits_with(2)
        .notes("etcd-20418 shows only in clusters of 3 to 5 members, not of 1");
}

/// Since 3.5.5 it remembers the hash of no keys, and answers with it for all keys.
#[test]
fn an_etcd_that_was_compacted_at_revision_0_before_is_like_any_other() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    etcd.with_client(async |mut client| client.compact(0, None).await.unwrap());
    let endpoint = etcd.endpoint();
    folder
        .run(&format!(
            "conform --requests 0 --seed 3 --endpoints {endpoint}"
        ))
        .exits_with(0)
        .says("no difference");
}

#[test]
fn a_cluster_in_use_is_spared_unless_its_data_may_go() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    etcd.with_client(async |mut client| client.put("precious", "", None).await.unwrap());
    let conform = format!(
        "conform --seed 3 --sequence 1 --endpoints {}",
        etcd.endpoint()
    );
    folder
        .run(&conform)
        .exits_with(5)
        .notes("holds 1 key and 0 leases")
        .notes("--destroy-data");
    assert_eq!(etcd.keys(), 1);
    folder
        .run(&format!("{conform} --destroy-data"))
        .exits_with(0)
        .says("no difference");
}

#[test]
fn what_cannot_be_reached_or_started_is_exit_5() {
    let folder = Folder::new();
    let mut command = folder.command();
    command.args(["conform"]).env("ETCD", "/no/such/etcd");
    let ran = crate::support::Ran::from(command.output().expect("it starts"));
    ran.exits_with(5)
        .notes("/no/such/etcd")
        .notes("Install etcd");
    let mut command = folder.command();
    command.args(["conform"]).env("ETCD", "false");
    let ran = crate::support::Ran::from(command.output().expect("it starts"));
    ran.exits_with(5).notes("false was started and has ended");
    folder
        .run("conform --endpoints 127.0.0.1:1")
        .exits_with(5)
        .notes("does not answer");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn a_cluster_that_dies_meanwhile_is_exit_5_and_no_difference() {
    let (etcd, folder) = (Etcd::start(), Folder::new());
    let endpoint = etcd.endpoint().to_owned();
    let ran = std::thread::spawn(move || {
        folder.run(&format!(
            "conform --requests 1000000 --seed 3 --endpoints {endpoint}"
        ))
    });
    std::thread::sleep(std::time::Duration::from_secs(2));
    drop(etcd);
    let ran = ran.join().unwrap().exits_with(5);
    let is_told = ["answers no more", "cannot be emptied"];
    assert!(
        is_told.iter().any(|told| ran.stderr.contains(told)),
        "{}",
        ran.stderr
    );
}
