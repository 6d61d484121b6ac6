//! Many runs in parallel, reported in order, with one summary.

use std::collections::BTreeMap;

use etcd_checker::Verdict;
use etcd_checker::history::{EventKind, Process};
use etcd_checker::verdict::Class;
use etcd_sim::fault::FaultKind;

use super::plan::RunPlan;
use super::simulate::{RunError, RunReport, simulate};

/// Runs all plans on `jobs` threads and hands each result over in the order of
/// the plans, as soon as it and all before it are there.
///
/// `each` returns whether to go on. The results do not depend on `jobs`.
pub fn sweep(
    plans: &[RunPlan],
    jobs: usize,
    each: impl FnMut(&RunPlan, Result<RunReport, RunError>) -> bool,
) {
    etcd_sim::sweep::in_order(plans, jobs, simulate, each);
}

/// What a number of runs of one workload amount to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// Operations that clients began.
    pub operations: u64,
    /// Operations whose outcome the client never learned.
    pub unknown_outcomes: u64,
    /// Mutations that the member applied although the client got no answer.
    pub applied_unanswered: u64,
    /// Runs with at least one of those.
    pub runs_with_applied_unanswered: u64,
    /// How often each kind of fault took effect: those that did, and those that
    /// might have.
    pub faults: BTreeMap<&'static str, u64>,
    /// Runs whose verdict was valid.
    pub valid: u64,
    /// Runs with a safety violation, or that panicked.
    pub safety_violations: u64,
    /// Runs with a liveness violation.
    pub liveness_violations: u64,
    /// Runs that the checker could not decide.
    pub unknown: u64,
    /// How many runs showed which strongest guarantee, where the model knows
    /// several.
    pub guarantees: BTreeMap<&'static str, u64>,
    /// Simulated time in all, in nanoseconds.
    pub simulated_ns: u128,
}

impl Summary {
    /// No runs yet; these kinds of fault may strike them.
    pub fn expecting(kinds: impl IntoIterator<Item = &'static str>) -> Self {
        Summary {
            faults: kinds.into_iter().map(|kind| (kind, 0)).collect(),
            ..Summary::default()
        }
    }

    /// Adds one run.
    pub fn add(&mut self, result: &Result<RunReport, RunError>) {
        self.runs += 1;
        let report = match result {
            Ok(report) => report,
            Err(_) => {
                self.safety_violations += 1;
                return;
            }
        };
        for event in report.history.events() {
            let by_client = event.process() != Process::Nemesis;
            self.operations += u64::from(by_client && event.kind() == EventKind::Invoke);
            self.unknown_outcomes += u64::from(by_client && event.kind() == EventKind::Info);
        }
        let network = &report.network;
        self.applied_unanswered += network.applied_unanswered;
        self.runs_with_applied_unanswered += u64::from(network.applied_unanswered > 0);
        for (kind, count) in &network.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.simulated_ns += u128::from(report.simulated_ns);
        let guarantee = match &report.verdict {
            Verdict::Valid(summary) => summary.guarantee,
            Verdict::Violation(violation) => violation.guarantee,
            _ => None,
        };
        if let Some(guarantee) = guarantee {
            *self.guarantees.entry(guarantee.name).or_default() += 1;
        }
        match &report.verdict {
            Verdict::Valid(_) => self.valid += 1,
            Verdict::Violation(violation) => match violation.class {
                Class::Liveness => self.liveness_violations += 1,
                _ => self.safety_violations += 1,
            },
            _ => self.unknown += 1,
        }
    }

    /// Adds the runs of another summary.
    pub fn merge(&mut self, other: &Summary) {
        self.runs += other.runs;
        self.operations += other.operations;
        self.unknown_outcomes += other.unknown_outcomes;
        self.applied_unanswered += other.applied_unanswered;
        self.runs_with_applied_unanswered += other.runs_with_applied_unanswered;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.valid += other.valid;
        self.safety_violations += other.safety_violations;
        self.liveness_violations += other.liveness_violations;
        self.unknown += other.unknown;
        for (name, count) in &other.guarantees {
            *self.guarantees.entry(name).or_default() += count;
        }
        self.simulated_ns += other.simulated_ns;
    }

    /// The kinds of fault that might have taken effect and never did.
    pub fn missing_faults(&self) -> Vec<&'static str> {
        let missing = |kind: &&str| self.faults.get(kind) == Some(&0);
        FaultKind::NAMES.into_iter().filter(missing).collect()
    }
}
