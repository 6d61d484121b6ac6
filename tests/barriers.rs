//! The barriers in the simulation: many seeds, and what each of them promises, one
//! by one.

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
        let first = broken
            .first()
            .map(|(seed, why)| format!("seed {seed}: {why}"));
        assert!(
            broken.is_empty(),
            "{name}: {} of {} seeds\n{}",
            broken.len(),
            plans.len(),
            first.unwrap_or_default()
        );
    }
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
            &["early-enter", "too-many-inside", "stuck"],
        ),
        ("double-barrier-leaves-at-once", &["early-leave"]),
        ("cyclic-barrier-no-generation", &["early-round", "stuck"]),
        ("cyclic-barrier-counts-dead", &["early-round"]),
    ];
    for (name, kinds) in twins {
        let (workload, bug) = workload::find_bug(name).unwrap();
        let caught = (0..100).find_map(|seed| {
            let report = simulate(&RunPlan::draw(workload, seed).with_bug(Some(bug))).unwrap();
            let violation = report.verdict.violation().cloned();
            violation.map(|violation| (seed, violation))
        });
        let (seed, violation) = caught.unwrap_or_else(|| panic!("{name} passes"));
        println!("{name}: seed {seed}: {violation}");
        assert!(kinds.contains(&violation.kind.name), "{name}: {violation}");
    }
}
