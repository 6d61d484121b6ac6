//! Runs the plans of a campaign and tells what came of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::campaign::simulate::{RunError, RunReport};
use etcd_recipes::campaign::sweep::{Summary, sweep};
use etcd_sim::fault::FaultKind;
use etcd_sim::plan::Profile;
use indicatif::ProgressBar;

use super::Campaign;
use crate::command::choice::Chosen;
use crate::command::replay::{run_name, subject};
use crate::exit_code::Status;
use crate::failure;
use crate::files;
use crate::output::{self, BAD, DOUBT, GOOD};
use crate::report::html::Page;
use crate::report::{count, json, progress, reproduce, table, trace, verdict};
use crate::stopwatch::Stopwatch;

/// So many runs that are not valid are told in full; the others are counted.
const TOLD_MAX: usize = 3;

/// What cannot occur where there are no watches.
const WATCHES_BROKEN: &str = FaultKind::BreakWatches { client: 0 }.name();

/// So many runs are planned at a time.
const PLANNED_MAX: u64 = 1_000;

/// What is known so far.
struct Progress<'a> {
    campaign: &'a Campaign,
    status: Status,
    failures: Vec<json::FailedRun>,
    /// What broke the sweep off.
    error: Option<anyhow::Error>,
}

/// What came of one workload.
struct Runs {
    workload: Chosen,
    summary: Summary,
    elapsed: Duration,
    /// What the seed drew, where there is one seed.
    drawn: Option<String>,
}

impl Campaign {
    pub(super) fn run(&self) -> anyhow::Result<Status> {
        let mut progress = Progress {
            campaign: self,
            status: Status::Valid,
            failures: Vec::new(),
            error: None,
        };
        let mut all = Vec::new();
        for workload in &self.workloads {
            all.push(progress.sweep(*workload));
            if let Some(error) = &progress.error {
                // What was found before may be graver.
                output::error(error);
                progress.status = progress.status.max(failure::status_of(error));
                break;
            }
        }
        progress.conclude(&all)?;
        Ok(progress.status)
    }

    fn has_one_seed(&self) -> bool {
        self.seeds.end - self.seeds.start == 1
    }

    /// One run is no sweep: its verdict says everything.
    fn is_sweep(&self) -> bool {
        self.runs() > 1
    }
}

impl Progress<'_> {
    fn sweep(&mut self, workload: Chosen) -> Runs {
        let campaign = self.campaign;
        let seeds = campaign.seeds.clone();
        let kinds = Profile::kinds(self.campaign.members);
        let kinds = kinds.filter(|kind| workload.has_watches() || *kind != WATCHES_BROKEN);
        let (mut summary, stopwatch) = (Summary::expecting(kinds), Stopwatch::start());
        let bar = progress::bar(workload.name(), seeds.end - seeds.start);
        let mut goes_on = true;
        let mut start = seeds.start;
        while goes_on && start < seeds.end {
            let end = seeds.end.min(start.saturating_add(PLANNED_MAX));
            let plans: Vec<_> = (start..end)
                .map(|seed| campaign.plan(workload, seed))
                .collect();
            sweep(&plans, campaign.jobs, |plan, result| {
                summary.add(&result);
                goes_on = self.take(plan, result, &bar);
                bar.inc(1);
                goes_on
            });
            start = end;
        }
        bar.finish_and_clear();
        let drawn = || {
            let plan = campaign.plan(workload, seeds.start);
            plan.swarm(campaign.members).to_string()
        };
        Runs {
            workload,
            summary,
            elapsed: stopwatch.elapsed(),
            drawn: campaign.has_one_seed().then(drawn),
        }
    }

    /// Takes the result of a run; returns whether to go on. A sweep shows how
    /// often a promise is broken, but a bug needs to be caught only once.
    fn take(
        &mut self,
        plan: &RunPlan,
        result: Result<RunReport, RunError>,
        bar: &ProgressBar,
    ) -> bool {
        match bar.suspend(|| self.tell(plan, result)) {
            Ok(status) => self.campaign.bug.is_none() || status < Status::Liveness,
            Err(error) => {
                self.error = Some(error);
                false
            }
        }
    }

    fn tell(
        &mut self,
        plan: &RunPlan,
        result: Result<RunReport, RunError>,
    ) -> anyhow::Result<Status> {
        let campaign = self.campaign;
        let status = match &result {
            Ok(report) => verdict::status(&report.verdict),
            Err(_) => Status::Safety,
        };
        self.status = self.status.max(status);
        if let Ok(report) = &result {
            if let Some(target) = &campaign.history {
                target.write(&run_name(plan), &report.history)?;
            }
            if campaign.trace {
                let trace = trace::text(&report.history);
                campaign.output.result(format_args!("{trace}\n"))?;
            }
            if report.verdict.is_valid() && !campaign.is_sweep() {
                let text = verdict::text(&subject(plan), &report.verdict);
                let drawn = plan.swarm(campaign.members);
                campaign
                    .output
                    .result(format_args!("{text}\n  drawn:     {drawn}"))?;
            }
        }
        // Who looks for a bug wants to see that, and not what may be one.
        let looks_for_bug = campaign.bug.is_some() && campaign.is_sweep();
        if looks_for_bug && status < Status::Liveness {
            return Ok(status);
        }
        let page = match &result {
            Ok(report) => self.draw(plan, report)?,
            Err(_) => None,
        };
        if status != Status::Valid {
            self.tell_failure(plan, result)?;
        }
        if let Some(page) = page {
            let text = format!("  page:      {}\n", page.display());
            campaign.output.result(text)?;
        }
        Ok(status)
    }

    /// Draws the run as a page, where that is wanted; returns the page's file.
    fn draw(&self, plan: &RunPlan, report: &RunReport) -> anyhow::Result<Option<PathBuf>> {
        let campaign = self.campaign;
        let Some(pages) = &campaign.pages else {
            return Ok(None);
        };
        if campaign.is_sweep() && report.verdict.is_valid() {
            return Ok(None);
        }
        let again = campaign.arguments(plan.workload, plan.environment.seed);
        let page = Page {
            name: &subject(plan),
            history: &report.history,
            model: plan.workload.model(),
            verdict: &report.verdict,
            reproduce: Some(reproduce::command_line(&again)),
        };
        Ok(Some(pages.save(&saved_name(plan), &page)?))
    }

    fn tell_failure(
        &mut self,
        plan: &RunPlan,
        result: Result<RunReport, RunError>,
    ) -> anyhow::Result<()> {
        let campaign = self.campaign;
        let (workload, seed) = (plan.workload, plan.environment.seed);
        let saved = files::save_plan(&campaign.out, &saved_name(plan), &plan.to_json());
        let reproduce = match &saved {
            Ok(path) => replay_command(path),
            Err(_) => reproduce::command_line(&campaign.arguments(workload, seed)),
        };
        if self.failures.len() < TOLD_MAX {
            let subject = subject(plan);
            campaign.output.result(match &result {
                Ok(report) => verdict::text(&subject, &report.verdict),
                Err(error) => verdict::broken(&subject, &error.to_string()),
            })?;
            campaign.output.result(format_args!(
                "  drawn:     {}",
                plan.swarm(campaign.members)
            ))?;
            match &saved {
                Ok(path) => campaign
                    .output
                    .result(format_args!("  plan:      {}", path.display()))?,
                Err(error) => {
                    output::warning(format_args!("{error:#}; choose a folder with --out"));
                }
            }
            campaign
                .output
                .result(format_args!("  reproduce: {reproduce}\n"))?;
        }
        let drawn = plan.swarm(campaign.members).to_string();
        let (verdict, error) = match result {
            Ok(report) => (Some(report.verdict), None),
            Err(error) => (None, Some(error.to_string())),
        };
        self.failures.push(json::FailedRun {
            workload: workload.name(),
            seed,
            drawn,
            verdict,
            error,
            plan: saved.ok().map(|path| path.display().to_string()),
            reproduce,
        });
        Ok(())
    }

    /// What all runs amount to.
    fn conclude(&mut self, all: &[Runs]) -> anyhow::Result<()> {
        let mut total = Summary::default();
        for runs in all {
            total.merge(&runs.summary);
        }
        let elapsed = all.iter().map(|runs| runs.elapsed).sum();
        self.tell_untold();
        if self.campaign.is_sweep() {
            for runs in all {
                self.campaign.output.result(self.sentence(runs))?;
                // Of one that is not valid it was told already.
                let drawn = runs.drawn.as_ref();
                if let Some(drawn) = drawn.filter(|_| runs.summary.valid == runs.summary.runs) {
                    let line = format!("  drawn:     {drawn}");
                    self.campaign.output.result(line)?;
                }
            }
        }
        tell_table(all, &total, elapsed);
        let missing = total.missing_faults();
        if self.campaign.is_sweep() && self.campaign.bug.is_none() && !missing.is_empty() {
            output::warning(format_args!(
                "never occurred in {}: {}; more seeds draw more kinds of fault",
                count(total.runs, "run"),
                missing.join(", ")
            ));
        }
        if self.campaign.json {
            self.tell_json(all, &total, elapsed, missing)?;
        }
        Ok(())
    }

    /// The failures that were only counted.
    fn tell_untold(&self) {
        const LISTED_MAX: usize = 10;
        let untold = self.failures.iter().skip(TOLD_MAX);
        let runs: Vec<String> = untold
            .map(|failure| format!("{} {}", failure.workload, failure.seed))
            .collect();
        if runs.is_empty() {
            return;
        }
        let listed = &runs[..runs.len().min(LISTED_MAX)];
        let more = if listed.len() < runs.len() {
            ", ..."
        } else {
            ""
        };
        output::note(format_args!(
            "{BAD}and {} more:{BAD:#} {}{more}; their plans are in {}\n",
            runs.len(),
            listed.join(", "),
            self.campaign.out.display()
        ));
    }

    /// The result in one line.
    fn sentence(&self, runs: &Runs) -> String {
        let name = runs.workload.name();
        let summary = &runs.summary;
        let all = count(summary.runs, "run");
        let violations = summary.safety_violations + summary.liveness_violations;
        match self.campaign.bug {
            Some(bug) if violations > 0 => {
                return format!("{name}: {GOOD}caught{GOOD:#} {bug} after {all}");
            }
            Some(bug) => return format!("{name}: {BAD}did not catch{BAD:#} {bug} in {all}"),
            None if summary.valid == summary.runs => {
                return format!("{name}: {GOOD}valid{GOOD:#} in all {all}");
            }
            None => {}
        }
        let broken: Vec<String> = [
            (summary.safety_violations, "broke safety", BAD),
            (summary.liveness_violations, "broke liveness", BAD),
            (summary.unknown, "undecided", DOUBT),
        ]
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, what, style)| format!("{number} {style}{what}{style:#}"))
        .collect();
        format!("{name}: of {all} {}", broken.join(", "))
    }

    fn tell_json(
        &mut self,
        all: &[Runs],
        total: &Summary,
        elapsed: Duration,
        missing: Vec<&'static str>,
    ) -> anyhow::Result<()> {
        let campaign = self.campaign;
        let one = |runs: &Runs| {
            let drawn = runs.drawn.clone();
            json::Runs::new(runs.workload.name(), &runs.summary, runs.elapsed).drawn(drawn)
        };
        output::json(&json::Sweep {
            command: "sim",
            executor: campaign.executor.name(),
            first_seed: campaign.seeds.start,
            end_seed: campaign.seeds.end,
            bug: campaign.bug.map(|bug| bug.name),
            workloads: all.iter().map(one).collect(),
            total: json::Runs::new("total", total, elapsed),
            faults_that_never_occurred: missing,
            failures: std::mem::take(&mut self.failures),
            exit_code: self.status.code(),
        })
    }
}

fn replay_command(path: &Path) -> String {
    reproduce::command_line(&format!("replay {}", reproduce::path(path)))
}

/// The plan with a bug and the one without it differ.
fn saved_name(plan: &RunPlan) -> String {
    match plan.bug {
        None => run_name(plan),
        Some(bug) => format!("{bug}-{}", plan.environment.seed),
    }
}

fn tell_table(all: &[Runs], total: &Summary, elapsed: Duration) {
    let mut lines: Vec<_> = all
        .iter()
        .map(|runs| table::Line {
            name: runs.workload.name(),
            summary: &runs.summary,
            elapsed: runs.elapsed,
            is_total: false,
        })
        .collect();
    if lines.len() > 1 {
        lines.push(table::Line {
            name: "total",
            summary: total,
            elapsed,
            is_total: true,
        });
    }
    output::note(format_args!("\n{}", table::text(&lines)));
}
