//! `shrink`: a failing plan made smaller.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::shrink::{Shrunk, shrink};

use super::replay;
use crate::exit_code::{self, Status};
use crate::failure::Failure;
use crate::output::Output;
use crate::report::reproduce;

const EXAMPLES: &str = "\
Examples:
  etcd-recipes shrink etcd-recipes-failures/queue-7.json
  etcd-recipes shrink queue-7.json --out small.json --runs 5000

";

/// Make a failing plan smaller.
///
/// Takes faults and delays away and makes the workload smaller, for as long as
/// the run breaks its promise in the same way. What is left is what the failure
/// needs.
#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}{}", exit_code::HELP))]
pub(crate) struct Shrink {
    /// A plan that `sim` saved, or a history that it recorded; `-` reads
    /// standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write the smaller plan to this file [default: FILE with `-small` in its
    /// name, in the same folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Try no more plans than this
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    runs: u32,
}

impl Shrink {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        let plan = replay::read_plan(&self.file)?;
        let Some(shrunk) = shrink(&plan, self.runs) else {
            let what = format!("{}: this run keeps its promise", self.file.display());
            return Err(Failure::usage(what)
                .hint("Only the plan of a run that fails can be made smaller.")
                .into());
        };
        let out = self.out.unwrap_or_else(|| small_name(&self.file));
        fs::write(&out, shrunk.plan.to_json())
            .with_context(|| format!("{}: cannot write the plan", out.display()))?;
        Output::People.result(summary(&plan, &shrunk))?;
        let again = format!("replay {}", reproduce::path(&out));
        Output::People.result(format!(
            "  plan:       {}\n  reproduce:  {}",
            out.display(),
            reproduce::command_line(&again)
        ))?;
        Ok(Status::Valid)
    }
}

fn small_name(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let stem = if stem == "-" { "plan".into() } else { stem };
    file.with_file_name(format!("{stem}-small.json"))
}

fn summary(before: &RunPlan, shrunk: &Shrunk) -> String {
    let Shrunk { plan, breaks, runs } = shrunk;
    format!(
        "{}: still {breaks}\n  faults:     {} of {}\n  parameters: {} (were {})\n  runs tried: {runs}",
        replay::subject(plan),
        plan.environment.faults.len(),
        before.environment.faults.len(),
        plan.parameters.shown(plan.workload),
        before.parameters.shown(before.workload),
    )
}
