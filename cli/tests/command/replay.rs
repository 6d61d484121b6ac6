//! `replay`.

use crate::support::Folder;

#[test]
fn a_saved_plan_gives_the_same_verdict_every_time() {
    let folder = Folder::new();
    let sweep = folder.run("sim --bug queue-lost-enqueue").exits_with(1);
    let plan = sweep.labelled("plan:");
    let verdict = sweep.stdout.split("  drawn:").next().unwrap().trim_end();
    let first = folder
        .run(&format!("replay {plan}"))
        .exits_with(1)
        .says(verdict);
    assert!(first.stdout.contains("planned at"), "{}", first.stdout);
    assert!(first.stdout.contains(" s  fault      "), "{}", first.stdout);
    let second = folder.run(&format!("replay {plan}")).exits_with(1);
    assert_eq!(first.stdout, second.stdout);

    let json = folder
        .run(&format!("replay {plan} --json"))
        .exits_with(1)
        .json();
    assert_eq!(json["verdict"]["verdict"], "violation");
    assert_eq!(json["bug"], "queue-lost-enqueue");
}

#[test]
fn a_history_from_a_simulation_is_run_again_byte_for_byte() {
    let folder = Folder::new();
    folder
        .run("sim queue --seed 7 --history h.jsonl")
        .exits_with(0);
    let json = folder.run("replay h.jsonl --json").exits_with(0).json();
    assert_eq!(json["same_history"], true);
    folder
        .run("replay h.jsonl --history again.jsonl")
        .exits_with(0);
    assert_eq!(folder.read("h.jsonl"), folder.read("again.jsonl"));

    let changed = folder.read("h.jsonl").replacen("\"3-0\"", "\"x\"", 2);
    folder.write("changed.jsonl", changed);
    folder
        .run("replay changed.jsonl")
        .exits_with(0)
        .notes("another history");
    // The header is enough.
    let cut = folder.read("h.jsonl")[..2_000].to_owned();
    folder.write("cut.jsonl", cut);
    folder
        .run("replay cut.jsonl")
        .exits_with(0)
        .notes("another history");
}

#[test]
fn a_history_without_a_plan_is_run_again_from_its_seed() {
    let folder = Folder::new();
    folder.write(
        "h.jsonl",
        r#"{"format":"etcd-recipes-history","version":1,"workload":"queue","model":"fifo-queue","source":{"kind":"simulation","seed":7}}"#,
    );
    let alone = folder.run("sim queue --seed 7").exits_with(0);
    folder
        .run("replay h.jsonl")
        .exits_with(0)
        .says(alone.stdout.split("\n  drawn:").next().unwrap());
}

/// Of a cluster that has none.
fn bug_of_followers() -> String {
    r#"{"format":"etcd-recipes-plan","version":1,"workload":"kv","parameters":{"clients":5,"compact":0,"keys":4,"requests":69,"think_ms":32,"ttl_s":2},
        "bug":"etcd-20418","executor":"tokio","seed":1,"latency":{"min_us":0,"max_us":0},
        "members":1,"endpoints":"all","faults":[]}"#
        .to_owned()
}

#[test]
fn what_cannot_be_replayed_is_exit_2_with_file_and_line() {
    let folder = Folder::new();
    let header = |source: &str| {
        format!(
            r#"{{"format":"etcd-recipes-history","version":1,"workload":"queue","model":"fifo-queue","source":{source}}}"#
        )
    };
    folder.run("sim --bug stm-read-committed").exits_with(1);
    let plan = folder.read("etcd-recipes-failures/stm-read-committed-0.json");
    let cases = [
        ("empty", String::new(), "line 1"),
        ("garbage", "garbage".to_owned(), "line 1"),
        ("deep", "[".repeat(100_000), "line 1"),
        ("cut", plan[..plan.len() / 2].to_owned(), "line "),
        (
            "no-fault-kind",
            plan.replacen("\"lose-", "\"loose-", 1)
                .replacen("\"seed\"", "\"sead\"", 1),
            "line ",
        ),
        (
            "bug",
            plan.replacen("stm-read-committed", "stm-write-committed", 1),
            "it has: stm-read-committed",
        ),
        (
            "members",
            bug_of_followers(),
            "etcd-20418 shows only in clusters of 3 to 5 members, not of 1\n  Write `\"members\": 3`",
        ),
        (
            "version",
            plan.replacen("\"version\": 1", "\"version\": 9", 1),
            "version 9",
        ),
        (
            "bounds",
            plan.replacen("\"clients\": 10", "\"clients\": 0", 1),
            "between 1 and 1000",
        ),
        (
            "live",
            header(r#"{"kind":"live","endpoints":[],"etcd_version":"3.5"}"#),
            "line 1: this history does not come from a simulation",
        ),
        ("other", header(r#"{"kind":"other"}"#), "line 1"),
        (
            "bad-plan",
            header(r#"{"kind":"simulation","seed":1,"plan":{}}"#),
            "line 1",
        ),
        ("bad-header", header(r#"{"kind":"simulation"}"#), "line 1"),
        (
            "workload",
            header(r#"{"kind":"simulation","seed":1}"#).replacen("queue", "quux", 1),
            "quux",
        ),
    ];
    for (name, content, why) in cases {
        folder.write(name, content);
        let ran = folder
            .run(&format!("replay {name}"))
            .exits_with(2)
            .notes(why);
        assert!(
            ran.stderr.starts_with(&format!("error: {name}: ")),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    }
    folder
        .run("replay missing.json")
        .exits_with(2)
        .notes("missing.json: cannot read");
}

#[test]
fn planned_faults_are_told_in_their_own_terms_and_what_did_not_strike_is_named() {
    let folder = Folder::new();
    folder
        .run("sim kv --seed 1 --set requests=20 --history h.jsonl")
        .exits_with(0);
    let history = folder.read("h.jsonl");
    let header: serde_json::Value =
        serde_json::from_str(history.lines().next().unwrap()).expect("it is JSON");
    let mut plan = header["source"]["plan"].clone();
    plan["members"] = 3.into();
    plan["faults"] = serde_json::json!([
        {"at_ms": 5, "kind": {"expire-tokens": {"member": 0}}},
        {"at_ms": 6, "kind": {"expire-tokens": {"member": 1}}},
        {"at_ms": 7, "kind": {"stop-member": {"member": 1, "down_ms": 500}}},
        {"at_ms": 9, "kind": {"jump-clock": {"client": 0, "to": "back", "by_ms": 700}}},
        {"at_ms": 9, "kind": {"crash-member": {"member": 2, "down_ms": null}}},
        {"at_ms": 9, "kind": {"hold-request": {"client": 0, "by_ms": 70}}},
    ]);
    folder.write("plan.json", plan.to_string());
    let ran = folder
        .run("replay plan.json")
        .exits_with(0)
        .says("member stop, member 1, for 500 ms after it has ended\n")
        .says("clock jump, client 0, back by 700 ms\n")
        .says("member crash, member 2, until all heals\n")
        .says("request held, client 0, for 70 ms\n");
    let idle = ran.labelled("did not strike:");
    assert_eq!(idle, "tokens expired (2 times)");
    let json = folder.run("replay plan.json --json").exits_with(0).json();
    assert_eq!(
        json["did_not_strike"],
        serde_json::json!({"tokens expired": 2})
    );
}
