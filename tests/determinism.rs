//! The same seed gives the same history, byte for byte: on another thread, in
//! another order, alone or in a sweep, on both executors.

use std::collections::BTreeMap;

use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::simulate::{RunReport, simulate};
use etcd_recipes::campaign::sweep::sweep;
use etcd_recipes::workload::{self, Parameters};
use etcd_sim::executor::Executor;

fn bytes(report: &RunReport) -> Vec<u8> {
    let mut bytes = Vec::new();
    report.history.write_to(&mut bytes).unwrap();
    bytes
}

fn plans(executor: Executor) -> Vec<RunPlan> {
    let draw = |seed| workload::all().map(|workload| RunPlan::draw(workload, seed));
    (0..8)
        .flat_map(draw)
        .map(|plan| RunPlan { executor, ..plan })
        .collect()
}

fn histories_of_a_sweep(plans: &[RunPlan], jobs: usize) -> BTreeMap<String, Vec<u8>> {
    let mut histories = BTreeMap::new();
    sweep(plans, jobs, |plan, result| {
        histories.insert(plan.to_json(), bytes(&result.unwrap()));
        true
    });
    histories
}

fn same_bytes_everywhere(executor: Executor) {
    let plans = plans(executor);
    let one_job = histories_of_a_sweep(&plans, 1);
    let backwards: Vec<RunPlan> = plans.iter().rev().cloned().collect();
    assert!(one_job == histories_of_a_sweep(&backwards, 2));
    for plan in &plans {
        assert!(one_job[&plan.to_json()] == bytes(&simulate(plan).unwrap()));
    }
    let different: std::collections::BTreeSet<_> = one_job.values().collect();
    assert_eq!(
        different.len(),
        plans.len(),
        "every seed has a history of its own"
    );
}

/// Small runs, all faults: a thousand seeds, each twice, in another order and on another
/// number of threads.
fn a_thousand_seeds_twice(executor: Executor) {
    let workload = workload::find("queue").expect("there is one");
    let draw = |seed| {
        let small = |parameters: Parameters| parameters.with("items", 4);
        let plan = RunPlan::draw_adjusted(workload, seed, small);
        RunPlan { executor, ..plan }
    };
    let plans: Vec<RunPlan> = (0..1_000).map(draw).collect();
    let backwards: Vec<RunPlan> = plans.iter().rev().cloned().collect();
    assert!(histories_of_a_sweep(&plans, 2) == histories_of_a_sweep(&backwards, 1));
}

#[test]
fn a_thousand_seeds_on_the_best_executor() {
    a_thousand_seeds_twice(Executor::BEST);
}

#[test]
fn a_thousand_seeds_on_paused_tokio() {
    a_thousand_seeds_twice(Executor::Tokio);
}

#[test]
fn on_the_best_executor() {
    same_bytes_everywhere(Executor::BEST);
}

#[test]
fn on_paused_tokio() {
    same_bytes_everywhere(Executor::Tokio);
}
