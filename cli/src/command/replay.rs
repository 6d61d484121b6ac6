//! `replay`: one run again, told step by step.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use etcd_checker::History;
use etcd_checker::history::{FORMAT, Source};
use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::simulate::{RunError, RunReport, simulate};
use etcd_recipes::workload;
use etcd_sim::bug::EtcdBug;
use etcd_sim::fault::{Fault, FaultKind, Jump, Party};

use crate::command::choice;
use crate::exit_code::{self, Status};
use crate::failure::Failure;
use crate::files::HistoryTarget;
use crate::output::{self, FAINT, HEADING, Output};
use crate::report::html::Page;
use crate::report::{json, reproduce, trace, verdict};

const EXAMPLES: &str = "\
Examples:
  etcd-recipes replay etcd-recipes-failures/queue-7.json
  etcd-recipes replay queue-7.jsonl          a history from `sim --history`

A plan is JSON: change it by hand, for instance take faults away, and replay it
to see what the failure needs.

";

/// Run a saved plan again, told step by step.
///
/// A plan determines a run completely: seed, workload, faults and their times.
/// Prints what clients did and what was done to them in the order of time, then
/// the verdict.
#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}{}", exit_code::HELP))]
pub(crate) struct Replay {
    /// A plan that `sim` saved, or a history that it recorded; `-` reads
    /// standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write the history of the run to this file; `-` is standard output
    #[arg(long, value_name = "PATH")]
    history: Option<PathBuf>,

    /// Draw the run, with what proves the verdict, as a page for a browser into
    /// this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Print the verdict as JSON to standard output, and no trace
    #[arg(long)]
    json: bool,
}

/// What a file says is to be run.
struct Saved {
    plan: RunPlan,
    /// The whole file, when it is a history.
    history: Option<Vec<u8>>,
}

impl Replay {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        let target = HistoryTarget::of_options(self.history.as_deref(), 1, "one plan", self.json)?;
        let to_stdout = target.as_ref().is_some_and(HistoryTarget::is_stdout);
        let output = if to_stdout || self.json {
            Output::Program
        } else {
            Output::People
        };
        let saved = read(&self.file)?;
        if !self.json {
            output.result(heading(&saved.plan))?;
        }
        let result = simulate(&saved.plan);
        let same_history = match (&result, &saved.history) {
            (Ok(report), Some(recorded)) => Some(is_same(&report.history, recorded)?),
            _ => None,
        };
        if let (Ok(report), Some(target)) = (&result, &target) {
            target.write(&run_name(&saved.plan), &report.history)?;
        }
        if let (Ok(report), Some(path)) = (&result, &self.html) {
            let again = format!("replay {}", reproduce::path(&self.file));
            let page = Page {
                name: &subject(&saved.plan),
                history: &report.history,
                model: saved.plan.workload.model(),
                verdict: &report.verdict,
                reproduce: Some(reproduce::command_line(&again)),
            };
            page.save(path)?;
        }
        let status = self.report(&saved.plan, result, same_history, output)?;
        if same_history == Some(false) {
            output::warning(
                "the run gave another history than the one in the file: \
                 that was recorded by another version, or changed, or cut short",
            );
        }
        Ok(status)
    }

    fn report(
        &self,
        plan: &RunPlan,
        result: Result<RunReport, RunError>,
        same_history: Option<bool>,
        output: Output,
    ) -> anyhow::Result<Status> {
        let status = match &result {
            Ok(report) => verdict::status(&report.verdict),
            Err(_) => Status::Safety,
        };
        if !self.json {
            let subject = subject(plan);
            output.result(match &result {
                Ok(report) => format!(
                    "{}\n\n{}{}",
                    trace::text(&report.history),
                    verdict::text(&subject, &report.verdict),
                    idle_line(&idle_faults(report))
                ),
                Err(error) => verdict::broken(&subject, &error.to_string()),
            })?;
            return Ok(status);
        }
        let did_not_strike = result.as_ref().map(idle_faults).unwrap_or_default();
        let (verdict, error) = match result {
            Ok(report) => (Some(report.verdict), None),
            Err(error) => (None, Some(error.to_string())),
        };
        output::json(&json::Replayed {
            command: "replay",
            file: self.file.display().to_string(),
            workload: plan.workload.name(),
            seed: plan.environment.seed,
            bug: plan.bug.map(|bug| bug.name),
            verdict,
            error,
            did_not_strike,
            same_history,
            exit_code: status.code(),
        })?;
        Ok(status)
    }
}

/// Planned faults that did not strike, and how many: nobody was there who could be struck,
/// or the run was over.
fn idle_faults(report: &RunReport) -> BTreeMap<&'static str, u64> {
    let mut idle = BTreeMap::new();
    for fault in &report.plan.environment.faults {
        *idle.entry(fault.kind.name()).or_default() += 1;
    }
    for (kind, struck) in &report.network.faults {
        if let Some(planned) = idle.get_mut(kind) {
            *planned = u64::saturating_sub(*planned, *struck);
        }
    }
    idle.retain(|_, left| *left > 0);
    idle
}

fn idle_line(idle: &BTreeMap<&'static str, u64>) -> String {
    if idle.is_empty() {
        return String::new();
    }
    let named = idle.iter().map(|(kind, times)| match times {
        1 => (*kind).to_owned(),
        times => format!("{kind} ({times} times)"),
    });
    let named: Vec<String> = named.collect();
    format!("\n  did not strike: {}", named.join(", "))
}

/// How a run is called in reports.
pub(super) fn subject(plan: &RunPlan) -> String {
    let bug = plan
        .bug
        .map(|bug| format!(" with {bug}"))
        .unwrap_or_default();
    format!(
        "{}{bug}, seed {}",
        plan.workload.name(),
        plan.environment.seed
    )
}

/// How the files of a run are called.
pub(super) fn run_name(plan: &RunPlan) -> String {
    format!("{}-{}", plan.workload.name(), plan.environment.seed)
}

fn heading(plan: &RunPlan) -> String {
    let members = plan.environment.members;
    let cluster = if members == 1 {
        String::new()
    } else {
        format!(", {members} members")
    };
    let mut text = format!(
        "{HEADING}{}{HEADING:#} {FAINT}on {}{cluster}, {}{FAINT:#}",
        subject(plan),
        plan.executor.name(),
        plan.parameters.shown(plan.workload)
    );
    for Fault { at_ms, kind } in &plan.environment.faults {
        text += &format!(
            "\n  {FAINT}planned at {at_ms:>6} ms: {}{}{}{FAINT:#}",
            kind.name(),
            whom(kind),
            extent(kind)
        );
    }
    text
}

/// `, client 1`; of a cut, both sides.
fn whom(kind: &FaultKind) -> String {
    let all = |parties: &[Party]| parties.iter().map(party).collect::<Vec<_>>().join(", ");
    match kind {
        FaultKind::Cut {
            from, to, one_way, ..
        } => {
            let arrow = if *one_way { "to" } else { "from and to" };
            format!(", {} {arrow} {}", all(from), all(to))
        }
        FaultKind::DelayLink { between, .. } => {
            format!(", {} and {}", party(&between.0), party(&between.1))
        }
        kind => kind
            .parties()
            .iter()
            .map(|one| format!(", {}", party(one)))
            .collect(),
    }
}

fn party(party: &Party) -> String {
    match party {
        Party::Client(client) => format!("client {client}"),
        Party::Member(member) => format!("member {member}"),
    }
}

fn extent(kind: &FaultKind) -> String {
    match kind {
        FaultKind::LoseRequest { .. } | FaultKind::LoseResponse { .. } => String::new(),
        FaultKind::Delay { by_ms, for_ms, .. } | FaultKind::LagMember { by_ms, for_ms, .. } => {
            format!(", {by_ms} ms more, for {for_ms} ms")
        }
        FaultKind::DelayLink {
            by_ms,
            jitter_ms,
            for_ms,
            ..
        } => format!(
            ", {by_ms} to {} ms more, for {for_ms} ms",
            by_ms + jitter_ms
        ),
        FaultKind::CompactAt { revision } => format!(" {revision}"),
        FaultKind::StopMember { down_ms, .. } => {
            format!(", for {down_ms} ms after it has ended")
        }
        FaultKind::CrashMember { down_ms: None, .. } => ", until all heals".to_owned(),
        FaultKind::HoldRequest { by_ms, .. } => format!(", for {by_ms} ms"),
        FaultKind::SkewClock {
            permille, for_ms, ..
        } => format!(", {permille} ms in 1000, for {for_ms} ms"),
        FaultKind::JumpClock { to, by_ms, .. } => {
            let way = match to {
                Jump::Forward => "forward",
                Jump::Back => "back",
            };
            format!(", {way} by {by_ms} ms")
        }
        kind if kind.lasts_ms() > 0 => format!(", for {} ms", kind.lasts_ms()),
        _ => String::new(),
    }
}

fn is_same(history: &History, recorded: &[u8]) -> anyhow::Result<bool> {
    let mut bytes = Vec::with_capacity(recorded.len());
    history.write_to(&mut bytes)?;
    Ok(bytes == recorded)
}

/// Reads a plan, or the plan in the header of a history.
pub(super) fn read_plan(path: &Path) -> anyhow::Result<RunPlan> {
    Ok(read(path)?.plan)
}

fn read(path: &Path) -> anyhow::Result<Saved> {
    let name = path.display().to_string();
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.with_context(|| format!("{name}: cannot read the file"))?;
    if is_history(&bytes) {
        let plan = plan_of_history(&bytes).context(name)?;
        return Ok(Saved {
            plan,
            history: Some(bytes),
        });
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Err(neither(&name, "line 1: it is not text").into());
    };
    let plan = RunPlan::from_json(text).map_err(|error| neither(&name, error))?;
    check_bug(&name, &plan)?;
    Ok(Saved {
        plan,
        history: None,
    })
}

/// A plan that was changed by hand may have a cluster in which its bug does not show.
fn check_bug(name: &str, plan: &RunPlan) -> Result<(), Failure> {
    let Some(bug) = plan.bug.and_then(|bug| EtcdBug::find(bug.name)) else {
        return Ok(());
    };
    let Some(why) = choice::does_not_show(bug, plan.environment.members) else {
        return Ok(());
    };
    let (least, most) = bug.members();
    let fitting = plan.environment.members.clamp(least, most);
    let hint = format!("Write `\"members\": {fitting}` into the plan.");
    Err(Failure::usage(format!("{name}: {why}")).hint(hint))
}

fn neither(name: &str, why: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("{name}: {why}"))
        .hint("Replay takes a plan that `sim` saved, or a history that it recorded.")
}

/// Whether the first line looks like the header of a history; a plan is spread
/// over many lines.
fn is_history(bytes: &[u8]) -> bool {
    let mark = FORMAT.as_bytes();
    first_line(bytes)
        .windows(mark.len())
        .any(|window| window == mark)
}

fn first_line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    &bytes[..end.map_or(bytes.len(), |end| end + 1)]
}

/// The header is enough, so a history that was cut short can be replayed too.
fn plan_of_history(bytes: &[u8]) -> anyhow::Result<RunPlan> {
    let header = History::read_from(first_line(bytes))?;
    let header = header.header();
    let Source::Simulation { seed, plan } = &header.source else {
        let what = "line 1: this history does not come from a simulation";
        return Err(Failure::usage(what)
            .hint("What happened on a real cluster cannot be repeated; `check` judges it.")
            .into());
    };
    if !plan.is_null() {
        return RunPlan::from_json(plan.as_str()).context("line 1: the plan in the header");
    }
    let workload = workload::find(&header.workload)
        .with_context(|| format!("line 1: there is no workload `{}`", header.workload))?;
    Ok(RunPlan::draw(workload, *seed))
}
