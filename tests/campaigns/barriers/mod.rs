//! The barriers in the simulation: many seeds, and what each of them promises, one
//! by one.

mod promises;

use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::simulate::simulate;
use etcd_recipes::campaign::sweep::sweep;
use etcd_recipes::workload;

const WORKLOADS: [&str; 3] = ["barrier", "double-barrier", "cyclic-barrier"];

/// `BARRIER_SEEDS` says how many.
fn seeds() -> u64 {
    let seeds = std::env::var("BARRIER_SEEDS").ok();
    seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(60)
}

#[test]
fn the_barriers_keep_their_promises_on_many_seeds() {
    let mut failures = Vec::new();
    for name in WORKLOADS {
        let workload = workload::find(name).unwrap();
        let plans: Vec<RunPlan> = (0..seeds())
            .map(|seed| RunPlan::draw(workload, seed))
            .collect();
        let mut broken = Vec::new();
        sweep(&plans, 2, |plan, result| {
            let seed = plan.environment.seed;
            match result {
                Ok(report) if report.verdict.is_valid() => {}
                Ok(report) => broken.push((seed, report.verdict.to_string())),
                Err(error) => broken.push((seed, error.to_string())),
            }
            true
        });
        broken.sort();
        if let Some((seed, why)) = broken.first() {
            let (few, all) = (broken.len(), plans.len());
            failures.push(format!("{name}: {few} of {all} seeds; seed {seed}: {why}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn each_twin_is_caught_for_the_mistake_that_it_makes() {
    let twins: [(&str, &[&str]); 8] = [
        ("go-barrier-wait", &["early-wait"]),
        ("barrier-wait-from-now", &["stuck"]),
        ("barrier-outlives-holder", &["stuck", "false-refusal"]),
        (
            "go-double-barrier-reused",
            &["early-enter", "overlapping-rounds", "too-many-inside"],
        ),
        (
            "go-double-barrier-expired",
            &["early-enter", "too-many-inside"],
        ),
        ("double-barrier-leaves-at-once", &["early-leave"]),
        (
            "cyclic-barrier-no-generation",
            &["early-round", "same-place"],
        ),
        ("cyclic-barrier-counts-dead", &["early-round"]),
    ];
    let mut wrong = Vec::new();
    for (name, kinds) in twins {
        let (workload, bug) = workload::find_bug(name).unwrap();
        let caught = (0..100).find_map(|seed| {
            let report = simulate(&RunPlan::draw(workload, seed).with_bug(Some(bug))).unwrap();
            let violation = report.verdict.violation()?.clone();
            let is_named = kinds.contains(&violation.kind.name);
            is_named.then_some((seed, violation))
        });
        match caught {
            Some((seed, violation)) => println!("{name}: seed {seed}: {violation}"),
            None => wrong.push(format!("{name} is not caught as one of {kinds:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
