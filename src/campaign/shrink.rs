//! Making a failing plan smaller: what is left is what the failure needs.
//!
//! Faults, delays and members are taken away and made shorter ([`etcd_sim::shrink`]),
//! and the workload is made smaller. A candidate counts only when it breaks the promise
//! in the same way as the plan that one began with.

use etcd_sim::plan::Plan;

use super::plan::RunPlan;
use super::simulate::simulate;

/// A plan that was made smaller.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan that was found.
    pub plan: RunPlan,
    /// How it breaks the promise: the name of the violation, or "panic".
    pub breaks: String,
    /// How many plans were run.
    pub runs: u32,
}

/// Looks for a smaller plan that fails in the same way, with at most `runs_max`
/// runs. None when the plan does not fail.
///
/// The result depends on the plan and on `runs_max`, on nothing else.
pub fn shrink(plan: &RunPlan, runs_max: u32) -> Option<Shrunk> {
    let mut search = Search {
        breaks: failure(plan)?,
        best: plan.clone(),
        runs: 1,
        runs_max,
    };
    while search.improve() {}
    Some(Shrunk {
        plan: search.best,
        breaks: search.breaks,
        runs: search.runs,
    })
}

/// How a plan fails, if it does.
fn failure(plan: &RunPlan) -> Option<String> {
    match simulate(plan) {
        Ok(report) => Some(report.verdict.violation()?.kind.to_string()),
        Err(_) => Some("panic".to_owned()),
    }
}

struct Search {
    best: RunPlan,
    breaks: String,
    runs: u32,
    runs_max: u32,
}

impl Search {
    /// One pass over everything that can be made smaller; whether anything was.
    fn improve(&mut self) -> bool {
        let mut environment = self.best.environment.clone();
        let mut fails = |candidate: &Plan| {
            self.accept(RunPlan {
                environment: candidate.clone(),
                ..self.best.clone()
            })
        };
        let faults = etcd_sim::shrink::pass(&mut environment, &mut fails);
        let workload = self.make_workload_smaller();
        faults || workload
    }

    /// Keeps the candidate when it fails in the same way.
    fn accept(&mut self, candidate: RunPlan) -> bool {
        if self.runs >= self.runs_max {
            return false;
        }
        self.runs += 1;
        let fails = failure(&candidate).is_some_and(|breaks| breaks == self.breaks);
        if fails {
            self.best = candidate;
        }
        fails
    }

    fn make_workload_smaller(&mut self) -> bool {
        let mut smaller = false;
        for parameter in self.best.workload.parameters() {
            let (min, _) = parameter.bounds;
            let mut value = self.best.parameters.get(parameter.name);
            // From the smallest value upwards, each step half as far away.
            let mut candidate = min;
            while candidate < value {
                if self.accept(self.with_parameter(parameter.name, candidate)) {
                    smaller = true;
                    value = candidate;
                    candidate = min;
                } else {
                    candidate += (value - candidate).div_ceil(2);
                }
            }
        }
        smaller
    }

    /// The best plan with another value; faults of clients that are then gone
    /// go with them.
    fn with_parameter(&self, name: &str, value: u64) -> RunPlan {
        let mut plan = self.best.clone();
        plan.parameters = plan.parameters.with(name, value);
        let clients = plan.workload.clients(&plan.parameters);
        plan.environment = plan.environment.with_clients(clients);
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload;

    #[test]
    fn what_is_left_fails_in_the_same_way_and_nothing_of_it_can_be_spared() {
        let (workload, bug) = workload::find_bug("queue-lost-enqueue").unwrap();
        let failing = (0..100)
            .map(|seed| RunPlan::draw(workload, seed).with_bug(Some(bug)))
            .find(|plan| failure(plan).is_some())
            .unwrap();
        let shrunk = shrink(&failing, 2_000).unwrap();
        assert_eq!(failure(&shrunk.plan), Some(shrunk.breaks.clone()));
        assert!(
            shrunk.plan.environment.faults.len() <= 1,
            "{:?}",
            shrunk.plan
        );
        for index in 0..shrunk.plan.environment.faults.len() {
            let mut without = shrunk.plan.clone();
            without.environment.faults.remove(index);
            assert_ne!(failure(&without), Some(shrunk.breaks.clone()));
        }
        // The smaller plan can be saved and run again.
        let loaded = RunPlan::from_json(&shrunk.plan.to_json()).unwrap();
        assert_eq!(failure(&loaded), Some(shrunk.breaks));
    }

    #[test]
    fn a_plan_that_does_not_fail_is_left_alone() {
        let plan = RunPlan::draw(workload::all()[0], 1);
        assert!(shrink(&plan, 100).is_none());
    }
}
