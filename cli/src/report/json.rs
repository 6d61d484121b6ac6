//! What `--json` prints: one document for each command.
//!
//! Fields are only ever added. Verdicts have the form that `etcd-checker`
//! gives them: `{"verdict": "valid" | "violation" | "unknown", ...}`.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_checker::Verdict;
use etcd_checker::verdict::WitnessOperation;
use etcd_recipes::campaign::sweep::Summary;
use etcd_recipes::workload::{self, Parameter, Workload};
use serde::Serialize;

use super::table;

/// `sim`.
#[derive(Serialize)]
pub(crate) struct Sweep {
    pub(crate) command: &'static str,
    pub(crate) executor: &'static str,
    pub(crate) first_seed: u64,
    /// One past the last.
    pub(crate) end_seed: u64,
    pub(crate) bug: Option<&'static str>,
    pub(crate) workloads: Vec<Runs>,
    pub(crate) total: Runs,
    pub(crate) faults_that_never_occurred: Vec<&'static str>,
    pub(crate) failures: Vec<FailedRun>,
    pub(crate) exit_code: u8,
}

/// What a number of runs amount to.
#[derive(Serialize)]
pub(crate) struct Runs {
    workload: String,
    runs: u64,
    operations: u64,
    unknown_outcomes: u64,
    applied_unanswered: u64,
    runs_with_applied_unanswered: u64,
    faults: BTreeMap<&'static str, u64>,
    verdicts: Verdicts,
    /// How many runs showed which strongest guarantee, where the model knows
    /// several.
    guarantees: BTreeMap<&'static str, u64>,
    simulated_seconds: f64,
    elapsed_seconds: f64,
    seeds_per_second: f64,
    /// What the seed drew before any single fault; absent where there are many seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    drawn: Option<String>,
}

#[derive(Serialize)]
struct Verdicts {
    valid: u64,
    safety_violation: u64,
    liveness_violation: u64,
    undecided: u64,
}

impl Runs {
    pub(crate) fn new(workload: &str, summary: &Summary, elapsed: Duration) -> Self {
        Runs {
            workload: workload.to_owned(),
            runs: summary.runs,
            operations: summary.operations,
            unknown_outcomes: summary.unknown_outcomes,
            applied_unanswered: summary.applied_unanswered,
            runs_with_applied_unanswered: summary.runs_with_applied_unanswered,
            faults: summary.faults.clone(),
            verdicts: Verdicts {
                valid: summary.valid,
                safety_violation: summary.safety_violations,
                liveness_violation: summary.liveness_violations,
                undecided: summary.unknown,
            },
            guarantees: summary.guarantees.clone(),
            simulated_seconds: table::seconds(summary),
            elapsed_seconds: elapsed.as_secs_f64(),
            seeds_per_second: table::seeds_per_second(summary, elapsed),
            drawn: None,
        }
    }

    /// The same with what the seed drew.
    pub(crate) fn drawn(self, drawn: Option<String>) -> Self {
        Runs { drawn, ..self }
    }
}

/// A run whose verdict is not valid.
#[derive(Serialize)]
pub(crate) struct FailedRun {
    pub(crate) workload: &'static str,
    pub(crate) seed: u64,
    /// What the seed drew before any single fault.
    pub(crate) drawn: String,
    /// None when the run broke off.
    pub(crate) verdict: Option<Verdict>,
    /// Why the run broke off.
    pub(crate) error: Option<String>,
    /// The saved plan, when it could be saved.
    pub(crate) plan: Option<String>,
    /// The command line that does the run again.
    pub(crate) reproduce: String,
}

/// `replay`.
#[derive(Serialize)]
pub(crate) struct Replayed {
    pub(crate) command: &'static str,
    pub(crate) file: String,
    pub(crate) workload: &'static str,
    pub(crate) seed: u64,
    pub(crate) bug: Option<&'static str>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) error: Option<String>,
    /// Planned faults that found nobody to strike, or the run over, and how many.
    pub(crate) did_not_strike: BTreeMap<&'static str, u64>,
    /// Whether the run gave the same history as the file, byte for byte; none
    /// when the file is a plan.
    pub(crate) same_history: Option<bool>,
    pub(crate) exit_code: u8,
}

/// `check`.
#[derive(Serialize)]
pub(crate) struct Checked {
    pub(crate) command: &'static str,
    pub(crate) files: Vec<CheckedFile>,
    pub(crate) exit_code: u8,
}

/// One file of `check`.
#[derive(Serialize)]
pub(crate) struct CheckedFile {
    pub(crate) file: String,
    /// How it is written down.
    pub(crate) format: Option<&'static str>,
    pub(crate) model: Option<&'static str>,
    pub(crate) verdict: Option<Verdict>,
    /// The order that was asked for; none when there is none to give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) linearization: Option<Vec<WitnessOperation>>,
    /// Why there is none, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_linearization: Option<String>,
    /// Why there is no verdict.
    pub(crate) error: Option<String>,
}

impl CheckedFile {
    /// This file, of which nothing is known yet.
    pub(crate) fn of(file: String) -> Self {
        Self {
            file,
            format: None,
            model: None,
            verdict: None,
            linearization: None,
            no_linearization: None,
            error: None,
        }
    }
}

/// `live`.
#[derive(Serialize)]
pub(crate) struct Live {
    pub(crate) command: &'static str,
    pub(crate) endpoints: Vec<String>,
    pub(crate) prefix: String,
    pub(crate) seed: u64,
    pub(crate) dry_run: bool,
    pub(crate) etcd_version: String,
    pub(crate) runs: Vec<LiveRun>,
    pub(crate) exit_code: u8,
}

/// One workload of `live`.
#[derive(Serialize)]
pub(crate) struct LiveRun {
    pub(crate) workload: &'static str,
    pub(crate) verdict: Verdict,
    /// The file with the history, when there is one.
    pub(crate) history: Option<String>,
    pub(crate) interrupted: bool,
    /// Why keys of the run are left on the cluster, if so.
    pub(crate) left_behind: Option<String>,
}

/// `sim --list`.
#[derive(Serialize)]
pub(crate) struct List {
    command: &'static str,
    workloads: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    about: &'static str,
    model: String,
    parameters: Vec<ListedParameter>,
    bugs: Vec<ListedBug>,
}

#[derive(Serialize)]
struct ListedParameter {
    name: &'static str,
    about: &'static str,
    /// What the values stand for, from 0, where they are no numbers.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    choices: &'static [&'static str],
    min: u64,
    max: u64,
    drawn_min: u64,
    drawn_max: u64,
    live: u64,
}

#[derive(Serialize)]
struct ListedBug {
    name: &'static str,
    about: &'static str,
}

impl List {
    /// Everything that there is.
    pub(crate) fn all() -> Self {
        List {
            command: "sim --list",
            workloads: workload::all().into_iter().map(listed).collect(),
        }
    }
}

fn listed(workload: &dyn Workload) -> Listed {
    let parameter = |parameter: &Parameter| ListedParameter {
        name: parameter.name,
        about: parameter.about,
        choices: workload.choices(parameter.name),
        min: parameter.bounds.0,
        max: parameter.bounds.1,
        drawn_min: parameter.drawn.0,
        drawn_max: parameter.drawn.1,
        live: parameter.live,
    };
    let bug = |bug: &workload::Bug| ListedBug {
        name: bug.name,
        about: bug.about,
    };
    Listed {
        name: workload.name(),
        about: workload.about(),
        model: workload.model().to_string(),
        parameters: workload.parameters().iter().map(parameter).collect(),
        bugs: workload.bugs().iter().map(bug).collect(),
    }
}
