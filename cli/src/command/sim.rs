//! `sim`: workloads in the simulation, one seed or many.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use etcd_recipes::campaign::plan::RunPlan;
use etcd_recipes::workload::{Bug, Workload};
use etcd_sim::bug::EtcdBug;
use etcd_sim::executor::Executor;

use super::choice::{self, Chosen, Setting, Settings};
use super::seeds::Seeds;
use crate::exit_code::{self, Status};
use crate::failure::Failure;
use crate::files::{DEFAULT_OUT, HistoryTarget, Pages};
use crate::output::{self, Output};
use crate::report::{json, table, workloads};

mod sweep;

const EXAMPLES: &str = "\
Examples:
  etcd-recipes sim                           every workload, seeds 0 to 99
  etcd-recipes sim queue --seeds 1000        the queue alone, seeds 0 to 999
  etcd-recipes sim --seeds random:1000       seeds that nobody has tried yet
  etcd-recipes sim queue --seed 7 --trace    one run, told step by step
  etcd-recipes sim --members 3               clusters of three members alone
  etcd-recipes sim queue --seed 7 --history queue-7.jsonl
  etcd-recipes sim --bug queue-lost-wake-up  a recipe with a mistake, to see it caught
  etcd-recipes sim --list                    what there is: workloads, parameters, bugs

A seed determines a run completely: what clients do, which faults strike and
when, how long each message takes. When a run breaks a promise, its plan is
saved, and the command that does the run again is printed.

";

/// Run workloads in the simulation, under faults.
///
/// Runs clients of a recipe against a simulated etcd cluster, with faults that
/// are drawn from each seed: lost messages, late ones, delays, broken
/// connections, partitions, members that crash, stand still or lag, changes of
/// the leader, a full database, clients that are paused, killed or restarted or
/// whose clocks are wrong, and more. Checks
/// what the clients saw, and ends with a table. Without arguments: every
/// workload, seeds 0 to 99.
#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}{}\n\n{}", table::LEGEND, exit_code::HELP))]
pub(crate) struct Sim {
    /// The workloads to run; without any, all of them
    #[arg(value_name = "WORKLOAD", value_parser = choice::workload_parser())]
    workloads: Vec<Chosen>,

    /// Run this seed alone
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,

    /// Run the seeds 0 to N-1, or A to B-1, or N seeds from a random start
    /// [default: 100; with a bug 200]
    #[arg(long, value_name = "N|A..B|random:N")]
    seeds: Option<Seeds>,

    /// How many runs go on at once; results do not depend on it [default: one
    /// for each CPU]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Tell what happens step by step; for one workload with one seed
    #[arg(long)]
    trace: bool,

    /// Put a mistake into the recipe; ends when it is caught
    #[arg(long, value_name = "NAME", value_parser = choice::bug_parser())]
    bug: Option<(Chosen, Bug)>,

    /// Give a parameter of the workloads this value instead of one drawn from
    /// the seed
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,

    /// Simulate a cluster of so many members, 1 to 5, under every kind of fault
    /// [default: half of the seeds draw 1, 3 or 5; the other half has one member
    /// and those faults that strike clients, crashes and compactions]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    members: Option<u8>,

    /// What the simulation runs on
    #[arg(long, value_name = "NAME", value_parser = executor_parser(),
          default_value = Executor::BEST.name())]
    executor: Executor,

    /// List workloads, their parameters and bugs, and run nothing
    #[arg(long)]
    list: bool,

    /// Save the plans of runs that break a promise in this folder
    #[arg(long, value_name = "DIR", default_value = DEFAULT_OUT)]
    out: PathBuf,

    /// Write the history of the run to this file, `-` is standard output; of
    /// several runs: to files WORKLOAD-SEED.jsonl in this folder
    #[arg(long, value_name = "PATH")]
    history: Option<PathBuf>,

    /// Draw the run as a page for a browser into this file; of several runs
    /// those that are not valid: as files WORKLOAD-SEED.html in this folder
    #[arg(long, value_name = "PATH")]
    html: Option<PathBuf>,

    /// Print the results as JSON to standard output
    #[arg(long)]
    json: bool,
}

fn executor_parser() -> impl TypedValueParser<Value = Executor> {
    let mut executors = vec![Executor::BEST];
    if Executor::BEST != Executor::Tokio {
        executors.push(Executor::Tokio);
    }
    let names = executors.iter().map(|executor| executor.name());
    PossibleValuesParser::new(names.collect::<Vec<_>>()).map(move |name| {
        let found = executors.iter().find(|executor| executor.name() == name);
        *found.expect("only these names are possible")
    })
}

/// What is to be run, once the options are understood.
struct Campaign {
    workloads: Vec<Chosen>,
    seeds: Range<u64>,
    bug: Option<Bug>,
    settings: Settings,
    executor: Executor,
    members: Option<usize>,
    jobs: usize,
    out: PathBuf,
    history: Option<HistoryTarget>,
    pages: Option<Pages>,
    trace: bool,
    json: bool,
    output: Output,
}

impl Sim {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        if self.list {
            if self.json {
                output::json(&json::List::all())?;
            } else {
                Output::People.result(workloads::list())?;
            }
            return Ok(Status::Valid);
        }
        let is_random = matches!(self.seeds, Some(Seeds::Random(_)));
        let campaign = self.campaign()?;
        if Executor::BEST == Executor::Tokio {
            output::note(
                "simulating on tokio; for random interleavings build with madsim: \
                 RUSTFLAGS=\"--cfg madsim\"",
            );
        }
        if is_random {
            let Range { start, end } = campaign.seeds;
            output::note(format_args!(
                "seeds drawn at random: {start}..{end}; --seeds {start}..{end} runs them again"
            ));
        }
        campaign.run()
    }

    fn campaign(self) -> Result<Campaign, Failure> {
        let workloads = self.chosen_workloads()?;
        let seeds = match (self.seed, &self.seeds) {
            (Some(seed), _) => seed..after(seed)?,
            (None, Some(seeds)) => seeds.range(),
            (None, None) if self.bug.is_some() => 0..200,
            (None, None) => 0..100,
        };
        self.check_members()?;
        let runs = (seeds.end - seeds.start).saturating_mul(workloads.len() as u64);
        let history = HistoryTarget::of_options(
            self.history.as_deref(),
            runs,
            "one workload with one seed: sim queue --seed 7",
            self.json,
        )?;
        let to_stdout = history.as_ref().is_some_and(HistoryTarget::is_stdout);
        if self.trace && runs > 1 {
            return Err(
                Failure::usage(format!("--trace tells of one run, but there are {runs}"))
                    .hint("Name one workload and one seed: sim queue --seed 7 --trace"),
            );
        }
        if self.trace && self.json {
            return Err(Failure::usage("--trace is for people, --json for programs")
                .hint("For programs, --history FILE has every operation and fault."));
        }
        Ok(Campaign {
            settings: Settings::new(&self.set, &workloads)?,
            workloads,
            seeds,
            bug: self.bug.map(|(_, bug)| bug),
            executor: self.executor,
            members: self.members.map(usize::from),
            jobs: self.jobs.map_or_else(cpus, NonZeroUsize::get),
            out: self.out,
            history,
            pages: Pages::of_option(self.html.as_deref(), runs)?,
            trace: self.trace,
            json: self.json,
            output: if to_stdout || self.json {
                Output::Program
            } else {
                Output::People
            },
        })
    }

    fn check_members(&self) -> Result<(), Failure> {
        let (Some(members), Some((_, bug))) = (self.members, self.bug) else {
            return Ok(());
        };
        match EtcdBug::find(bug.name) {
            Some(bug) => choice::check_members(
                bug,
                members.into(),
                "Leave --members out: a cluster that fits is drawn.",
            ),
            None => Ok(()),
        }
    }

    /// A bug selects the workload that has it.
    fn chosen_workloads(&self) -> Result<Vec<Chosen>, Failure> {
        let Some((workload, bug)) = self.bug else {
            return Ok(choice::workloads(&self.workloads));
        };
        let others = self
            .workloads
            .iter()
            .find(|other| other.name() != workload.name());
        match others {
            None => Ok(vec![workload]),
            Some(other) => Err(Failure::usage(format!(
                "the bug {bug} belongs to the workload {}, not to {}",
                workload.name(),
                other.name()
            ))
            .hint("--bug selects its workload by itself; name no other.")),
        }
    }
}

fn after(seed: u64) -> Result<u64, Failure> {
    // A range of seeds ends with one past the last.
    seed.checked_add(1).ok_or_else(|| {
        let greatest = u64::MAX - 1;
        Failure::usage(format!("--seed {seed} is too great"))
            .hint(format!("The greatest is {greatest}."))
    })
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

impl Campaign {
    fn plan(&self, workload: Chosen, seed: u64) -> RunPlan {
        let adjust = |parameters| self.settings.apply(workload, parameters);
        let plan = RunPlan::draw_with(workload, seed, self.members, adjust);
        let mut plan = plan.with_bug(self.bug);
        plan.executor = self.executor;
        plan
    }

    /// How many runs there are.
    fn runs(&self) -> u64 {
        (self.seeds.end - self.seeds.start).saturating_mul(self.workloads.len() as u64)
    }

    /// The arguments that do one of the runs again.
    fn arguments(&self, workload: &dyn Workload, seed: u64) -> String {
        let mut arguments = format!("sim {} --seed {seed}", workload.name());
        if let Some(bug) = self.bug {
            arguments += &format!(" --bug {bug}");
        }
        if let Some(members) = self.members {
            arguments += &format!(" --members {members}");
        }
        if self.executor != Executor::BEST {
            arguments += &format!(" --executor {}", self.executor.name());
        }
        arguments + &self.settings.options(workload)
    }
}
