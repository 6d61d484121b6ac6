//! A test that failed: what happened, and how to make it happen again.

use std::fmt;
use std::path::PathBuf;

use super::TestName;
use crate::executor::Executor;
use crate::plan::{Latency, Plan};
use crate::simulation::Failure;

/// What a test without a failure did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How many runs passed.
    pub runs: u64,
}

/// The first seed that failed, and what was found out about it.
///
/// Its text is the report that is printed.
#[derive(Clone, Debug)]
pub struct Broken {
    /// How the first failing seed failed.
    pub failure: Failure,
    /// What it ran on.
    pub executor: Executor,
    /// Its plan, as it was drawn.
    pub plan: Plan,
    /// The smallest plan that fails in the same way; none when the run did not fail
    /// again in the same way, or was not to be shrunk.
    pub shrunk: Option<Plan>,
    /// Where the smallest plan was saved.
    pub saved: Option<PathBuf>,
    pub(crate) test: TestName,
    pub(crate) passed: u64,
    /// What the seed has drawn before any single fault.
    pub(crate) drawn: Option<String>,
    /// How many runs it took to make the plan smaller; none when that was not tried.
    pub(crate) shrink_runs: Option<u32>,
    /// There were more plans to try than it may take runs.
    pub(crate) is_cut_off: bool,
    pub(crate) is_replay: bool,
}

impl Broken {
    /// The command that runs the failing seed, or the plan, again.
    pub fn command(&self) -> String {
        match &self.saved {
            Some(path) if self.is_replay => self.test.command("ETCD_SIM_PLAN", &quoted(path)),
            _ => self
                .test
                .command("ETCD_SIM_SEED", &self.plan.seed.to_string()),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, executor) = (self.plan.seed, self.executor.name());
        writeln!(
            f,
            "{} failed with seed {seed}, on {executor}",
            self.test.path()
        )?;
        if self.passed > 0 {
            let plural = plural(self.passed);
            writeln!(f, "  {} seed{plural} before it passed", self.passed)?;
        }
        for line in self.failure.to_string().lines() {
            writeln!(f, "  {line}")?;
        }
        if let Some(drawn) = &self.drawn {
            writeln!(f, "drawn from the seed: {drawn}")?;
        }
        match (&self.shrunk, self.shrink_runs) {
            (Some(shrunk), Some(runs)) => {
                let (before, after) = (self.plan.faults.len(), shrunk.faults.len());
                let (faults, s) = (plural(before as u64), plural(runs.into()));
                if self.is_cut_off {
                    writeln!(
                        f,
                        "of {before} fault{faults} it needs {after} or fewer (cut off after {runs} run{s}; ETCD_SIM_SHRINK allows more):"
                    )?;
                } else {
                    writeln!(
                        f,
                        "of {before} fault{faults} it needs {after} (found in {runs} run{s}):"
                    )?;
                }
                write_plan(f, shrunk)?;
            }
            (None, Some(_)) => {
                writeln!(
                    f,
                    "the same seed did not fail again in the same way: something besides the seed decides.\n\
                     Common causes: tokio::select! without `biased;`, the order of a HashMap, real time, \
                     randomness of the operating system. See the documentation of etcd_sim, \"Executors\"."
                )?;
            }
            (_, None) => write_plan(f, &self.plan)?,
        }
        writeln!(f, "run it again:")?;
        writeln!(f, "  {}", self.command())?;
        if let Some(saved) = self.saved.as_ref().filter(|_| !self.is_replay) {
            writeln!(f, "run the smaller plan:")?;
            writeln!(
                f,
                "  {}",
                self.test.command("ETCD_SIM_PLAN", &quoted(saved))
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Broken {}

/// For a shell.
fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+".contains(letter);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

fn write_plan(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    let plural = if plan.members == 1 { "" } else { "s" };
    let delays = match plan.latency {
        Latency::NONE => "no delays".to_owned(),
        Latency { max_us, .. } => format!("messages take up to {} ms", max_us as f64 / 1_000.0),
    };
    writeln!(f, "  {} member{plural}, {delays}", plan.members)?;
    for fault in &plan.faults {
        writeln!(f, "  at {} ms: {:?}", fault.at_ms, fault.kind)?;
    }
    Ok(())
}
