//! Each broken twin is caught, and what catches it is a violation of the
//! promise that it breaks.

use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::simulate::{RunReport, simulate};
use etcd_recipes::workload;
use etcd_sim::bug::EtcdBug;
use etcd_sim::executor::Executor;

/// The first of the seeds on which the bug shows: a bug of etcd's is rarer than one of a
/// recipe.
fn caught(bug: &str, executor: Executor) -> RunReport {
    let (workload, bug) = workload::find_bug(bug).unwrap();
    let seeds = if EtcdBug::find(bug.name).is_some() {
        200
    } else {
        100
    };
    (0..seeds)
        .map(|seed| RunPlan::draw(workload, seed).with_bug(Some(bug)))
        .map(|plan| simulate(&RunPlan { executor, ..plan }).unwrap())
        .find(|report| report.verdict.violation().is_some())
        .unwrap_or_else(|| panic!("{bug} passes on {}", executor.name()))
}

fn kind(report: &RunReport) -> String {
    report.verdict.violation().unwrap().kind.to_string()
}

#[test]
fn every_twin_is_caught_within_100_seeds_and_every_bug_of_etcd_within_200_on_both_executors() {
    for workload in workload::all() {
        for bug in workload.bugs() {
            for executor in [Executor::BEST, Executor::Tokio] {
                println!("{bug}: {}", kind(&caught(bug.name, executor)));
            }
        }
    }
}

/// Chance alone would draw a pause of the member that leads once in a hundred seeds.
#[test]
fn a_read_that_a_pause_makes_stale_is_found_wherever_the_seeds_start() {
    let (workload, bug) = workload::find_bug("etcd-20418").unwrap();
    for start in (0..2_000).step_by(100) {
        let plans = (start..start + 50).map(|seed| RunPlan::draw(workload, seed));
        let found = plans
            .map(|plan| simulate(&plan.with_bug(Some(bug))).unwrap())
            .any(|report| report.verdict.violation().is_some());
        assert!(found, "from seed {start}");
    }
}

#[test]
fn the_same_seeds_without_a_bug_are_valid() {
    for workload in workload::all() {
        for seed in 0..40 {
            let report = simulate(&RunPlan::draw(workload, seed)).unwrap();
            assert!(
                report.verdict.is_valid(),
                "{} seed {seed}: {}",
                workload.name(),
                report.verdict
            );
        }
    }
}
