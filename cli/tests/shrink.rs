//! `shrink`: a failing plan made smaller.

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

fn etcd_recipes(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-recipes"));
    command.current_dir(folder.path());
    command
}

#[test]
fn a_failing_plan_is_made_smaller_and_still_fails() {
    let folder = tempfile::tempdir().unwrap();
    let found = etcd_recipes(&folder)
        .args(["sim", "--bug", "queue-unguarded-delete", "--out", "plans"])
        .assert()
        .code(1);
    let text = String::from_utf8(found.get_output().stdout.clone()).unwrap();
    let plan = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("plan:"))
        .unwrap()
        .trim();
    etcd_recipes(&folder)
        .args(["shrink", plan, "--out", "small.json"])
        .assert()
        .success()
        .stdout(contains("faults:     0 of").and(contains("replay small.json")));
    etcd_recipes(&folder)
        .args(["replay", "small.json"])
        .assert()
        .code(1)
        .stdout(contains("VRepeat"));
}

#[test]
fn a_plan_that_does_not_fail_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    etcd_recipes(&folder)
        .args(["sim", "queue", "--seed", "1", "--history", "run.jsonl"])
        .assert()
        .success();
    etcd_recipes(&folder)
        .args(["shrink", "run.jsonl"])
        .assert()
        .code(2)
        .stderr(contains("run.jsonl: this run keeps its promise"));
}
