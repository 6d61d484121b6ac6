//! The subcommands, one file each.

use anstyle::{AnsiColor, Style};
use clap::builder::Styles;
use clap::{Parser, Subcommand};

use crate::exit_code::{self, Status};

mod bench;
mod check;
mod choice;
mod conform;
mod live;
mod replay;
mod seeds;
mod serve;
mod shell;
mod shrink;
mod sim;

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  etcd-recipes sim                          every workload, seeds 0 to 99
  etcd-recipes sim queue --seed 7 --trace   one run, told step by step
  etcd-recipes sim --bug queue-lost-wake-up a recipe with a mistake, to see it caught
  etcd-recipes replay etcd-recipes-failures/queue-7.json
  etcd-recipes shrink etcd-recipes-failures/queue-7.json
  etcd-recipes live --endpoints 10.0.0.1:2379,10.0.0.2:2379
  etcd-recipes check history.jsonl
  etcd-recipes shell lock --name jobs       a recipe by hand, in two terminals
  etcd-recipes conform --requests 100000    the simulated etcd beside a real one
  etcd-recipes serve --members 3            a simulated etcd for etcdctl and all others

";

/// Coordination recipes for etcd, put to the test.
///
/// Clients work with a recipe, such as a queue, while connections break and
/// processes die, in a simulation or on a real etcd. What they saw is recorded,
/// and a checker decides from the record alone whether the recipe kept its
/// promise.
#[derive(Parser)]
#[command(
    name = "etcd-recipes",
    version,
    styles = STYLES,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = format!("{EXAMPLES}{}", exit_code::HELP),
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sim(sim::Sim),
    Replay(replay::Replay),
    Shrink(shrink::Shrink),
    Check(check::Check),
    Live(live::Live),
    Shell(shell::Shell),
    Bench(bench::Bench),
    Conform(conform::Conform),
    Serve(serve::Serve),
}

impl Cli {
    /// Does what was asked for.
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        match self.command {
            Command::Sim(sim) => sim.run(),
            Command::Replay(replay) => replay.run(),
            Command::Shrink(shrink) => shrink.run(),
            Command::Check(check) => check.run(),
            Command::Live(live) => live.run(),
            Command::Shell(shell) => shell.run(),
            Command::Bench(bench) => bench.run(),
            Command::Conform(conform) => conform.run(),
            Command::Serve(serve) => serve.run(),
        }
    }
}
