//! The STM keeps at each level what it promises, and shows no more where it
//! promises less: the checker finds the strongest level that holds.

use std::collections::BTreeMap;

use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::simulate::{RunReport, simulate};
use etcd_recipes::workload;
use etcd_sim::executor::Executor;

const LEVELS: [&str; 4] = [
    "serializable-snapshot",
    "serializable",
    "repeatable-reads",
    "read-committed",
];

fn seeds() -> u64 {
    let seeds = std::env::var("STM_SEEDS").ok();
    seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(60)
}

fn run(level: u64, seed: u64, bug: Option<&str>) -> RunReport {
    run_on(Executor::BEST, level, seed, bug)
}

fn run_on(executor: Executor, level: u64, seed: u64, bug: Option<&str>) -> RunReport {
    let workload = workload::find("stm").unwrap();
    let bug = bug.map(|bug| workload::find_bug(bug).unwrap().1);
    let plan = RunPlan::draw_adjusted(workload, seed, |parameters| parameters.with("level", level));
    let plan = plan.with_bug(bug);
    simulate(&RunPlan { executor, ..plan }).unwrap()
}

/// How many of the seeds showed which strongest level. None breaks the promise.
fn strongest(level: u64) -> BTreeMap<String, u32> {
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..seeds() {
        let report = run(level, seed, None);
        match &report.verdict {
            etcd_checker::Verdict::Valid(summary) => {
                let guarantee = summary.guarantee.expect("the model knows levels");
                *found.entry(guarantee.name.to_owned()).or_default() += 1;
            }
            verdict => panic!("{} seed {seed}: {verdict}", LEVELS[level as usize]),
        }
    }
    println!("{}: {found:?}", LEVELS[level as usize]);
    found
}

#[test]
fn at_the_snapshot_levels_every_attempt_sees_one_state() {
    for level in [0, 1] {
        let found = strongest(level);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["opaque"], "{found:?}");
    }
}

#[test]
fn at_repeatable_reads_what_commits_is_strictly_serializable() {
    let found = strongest(2);
    assert!(found.contains_key("strict-serializable"), "{found:?}");
}

#[test]
fn at_read_committed_updates_are_lost() {
    let found = strongest(3);
    let weak = ["item-cut-isolation", "read-committed"];
    assert!(
        weak.iter().any(|level| found.contains_key(*level)),
        "{found:?}"
    );
}

/// The first seed at which the twin is caught at this level, and how.
fn caught(bug: &str, level: u64, executor: Executor) -> (u64, RunReport) {
    let found = (0..100).find_map(|seed| {
        let report = run_on(executor, level, seed, Some(bug));
        report
            .verdict
            .violation()
            .is_some()
            .then_some((seed, report))
    });
    found.unwrap_or_else(|| panic!("{bug} passes"))
}

#[test]
fn each_twin_is_caught_by_what_it_breaks() {
    // What does not hold together shows in an attempt, or in a transaction that only
    // reads.
    let mixed: &[&str] = &["mixed-snapshot", "fractured-read", "G-single", "G2-item"];
    let lost: &[&str] = &["lost-update", "G-single", "G2-item", "fractured-read"];
    for (bug, level, kinds) in [
        ("go-stm-mixed-snapshot", 0, mixed),
        ("go-stm-mixed-snapshot", 1, mixed),
        ("go-stm-rev", 0, mixed),
        ("go-stm-rev", 1, mixed),
        ("go-stm-get-many", 0, &["garbage-read", "internal"]),
        ("go-stm-get-many", 3, &["garbage-read", "internal"]),
        ("stm-unvalidated-commit", 0, lost),
        ("stm-unvalidated-commit", 2, lost),
        ("stm-blind-retry", 0, &["committed-twice", "G1a"]),
        ("stm-blind-retry", 2, &["committed-twice", "G1a"]),
        ("go-stm-abort", 2, mixed),
    ] {
        for executor in [Executor::BEST, Executor::Tokio] {
            let (seed, report) = caught(bug, level, executor);
            let violation = report.verdict.violation().unwrap();
            println!(
                "{bug} at {} on {}, seed {seed}:\n{violation}\n",
                LEVELS[level as usize],
                executor.name()
            );
            assert!(kinds.contains(&violation.kind.name), "{bug}: {violation}");
        }
    }
}
