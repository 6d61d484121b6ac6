//! `bench`: how fast the recipes are.
//!
//! - `peer`: the same with the Go recipes, in turns;
//! - `table`: the results for people.

mod peer;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use etcd_recipes::bench::connection::Writes;
use etcd_recipes::bench::{self, BenchError, Benchmark, Load, Report};
use etcd_recipes::runtime;
use serde::Serialize;

use self::peer::{Comparison, Peer};
use crate::connection::{Access, Connection};
use crate::exit_code::Status;
use crate::failure::Failure;
use crate::interrupt::Signals;
use crate::output::{self, FAINT, Output};
use crate::report::progress;

const EXAMPLES: &str = "\
Examples:
  etcd-recipes bench                             all, on 127.0.0.1:2379
  etcd-recipes bench mutex queue --endpoints 10.0.0.1:2379,10.0.0.2:2379
  etcd-recipes bench queue --workers 50 --producers 10 --count 5000
  etcd-recipes bench --sim                       requests for each operation, without a cluster
  scripts/bench-go 3                             side by side with the Go recipes, on 3 members

Each worker has a connection of its own, which writes head and body of a request
at once unless --writes says otherwise. Requests are counted on the connection:
unary calls, and each message that the client sends on a stream. Figures of one
run are worth little: compare what was measured in turns on a quiet machine. In
a simulation only the requests say something; the time is that of the simulated
network. Writes below a prefix of its own and removes it. On a cluster that
others use, it takes what it can get of it.
";

/// Measure throughput, latency and requests for each operation.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    /// What to measure; without any, everything
    #[arg(value_name = "RECIPE", value_parser = benchmark_parser())]
    benchmarks: Vec<&'static Benchmark>,

    /// In the simulation instead of on a cluster
    #[arg(long, conflicts_with = "go")]
    sim: bool,

    /// So many contenders, consumers, participants or waiters
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,

    /// So many producers of a queue
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    producers: Option<u32>,

    /// So many operations in all; of each worker, for transactions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Give up on a measurement after so long
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    limit: u64,

    /// Decides the simulation
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Measure in turns with this program, built from bench/go/main.go; see
    /// scripts/bench-go
    #[arg(long, value_name = "PATH")]
    go: Option<PathBuf>,

    /// So many turns with the Go program; medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,

    /// How a client writes a request to its connection
    #[arg(long, value_enum, default_value_t, conflicts_with = "sim")]
    writes: WritesChoice,

    /// Print the results as JSON to standard output
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

/// As [`Writes`].
#[derive(Clone, Copy, Debug, Default, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum WritesChoice {
    /// Head and body at once: etcd_recipes::transport::WriteCoalescing
    #[default]
    Coalesced,
    /// One after the other: etcd_client::Client::connect
    Separate,
}

/// What holds for all measurements on a cluster.
#[derive(Clone, Copy)]
struct Terms {
    limit: Duration,
    writes: Writes,
}

impl From<WritesChoice> for Writes {
    fn from(choice: WritesChoice) -> Self {
        match choice {
            WritesChoice::Coalesced => Writes::Coalesced,
            WritesChoice::Separate => Writes::Separate,
        }
    }
}

fn benchmark_parser() -> impl TypedValueParser<Value = &'static Benchmark> {
    let name = |benchmark: &Benchmark| PossibleValue::new(benchmark.name).help(benchmark.about);
    PossibleValuesParser::new(bench::all().iter().map(name))
        .map(|name| bench::find(&name).expect("only these names are possible"))
}

/// A benchmark with how much to do.
type Task = (&'static Benchmark, Load);

/// The results for programs.
#[derive(Serialize)]
struct Document<'a> {
    command: &'static str,
    /// None in a simulation.
    endpoints: Option<&'a [String]>,
    /// None in a simulation.
    writes: Option<WritesChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reports: Option<&'a [Report]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparisons: Option<&'a [Comparison]>,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        let tasks = self.tasks()?;
        if self.sim {
            return self.simulate(&tasks);
        }
        let terms = Terms {
            limit: Duration::from_secs(self.limit),
            writes: self.writes.into(),
        };
        let output = self.output();
        let (go, turns, json) = (self.go, self.turns, self.json);
        let access = self.connection.access()?;
        output::note(format_args!("{FAINT}etcd at {access}{FAINT:#}"));
        let document = Document {
            command: "bench",
            endpoints: Some(access.addresses()),
            writes: Some(self.writes),
            reports: None,
            comparisons: None,
        };
        match go {
            Some(program) => {
                let peer = Peer {
                    program,
                    turns,
                    terms,
                };
                let (comparisons, ended) =
                    as_far_as_it_goes(&tasks, |task| peer.compare(&access, task));
                match json {
                    _ if comparisons.is_empty() => {}
                    true => output::json(&Document {
                        comparisons: Some(&comparisons),
                        ..document
                    })?,
                    false => output.result(table::of_comparisons(&comparisons))?,
                }
                ended?;
            }
            None => {
                let (reports, ended) = as_far_as_it_goes(&tasks, |task| {
                    let spinner = progress::spinner(label(task));
                    let report = measure(&access, task, terms);
                    spinner.finish_and_clear();
                    report
                });
                match json {
                    _ if reports.is_empty() => {}
                    true => output::json(&Document {
                        reports: Some(&reports),
                        ..document
                    })?,
                    false => output.result(table::of_reports(&reports))?,
                }
                ended?;
            }
        }
        Ok(Status::Valid)
    }

    fn output(&self) -> Output {
        if self.json {
            Output::Program
        } else {
            Output::People
        }
    }

    fn tasks(&self) -> Result<Vec<Task>, Failure> {
        let named = |benchmark: &&Benchmark| {
            self.benchmarks.is_empty()
                || self.benchmarks.iter().any(|one| one.name == benchmark.name)
        };
        let mut tasks: Vec<Task> = Vec::new();
        for benchmark in bench::all().iter().filter(named) {
            for load in benchmark.loads {
                let has_producers = load.producers > 0;
                if !has_producers && self.producers.is_some() && !self.benchmarks.is_empty() {
                    let what = format!("--producers means nothing to {}", benchmark.name);
                    return Err(Failure::usage(what).hint("Leave it out."));
                }
                let task = (
                    benchmark,
                    Load {
                        workers: self.workers.unwrap_or(load.workers),
                        producers: match self.producers {
                            Some(producers) if has_producers => producers,
                            _ => load.producers,
                        },
                        count: self.count.unwrap_or(load.count),
                    },
                );
                if !tasks
                    .iter()
                    .any(|(known, load)| known.name == task.0.name && same_crowd(*load, task.1))
                {
                    tasks.push(task);
                }
            }
        }
        Ok(tasks)
    }

    fn simulate(&self, tasks: &[Task]) -> anyhow::Result<Status> {
        let mut reports = Vec::new();
        for (benchmark, load) in tasks {
            reports.push(
                bench::simulate(benchmark, *load, self.seed)
                    .map_err(|error| failed(benchmark, &error))?,
            );
        }
        if self.json {
            output::json(&Document {
                command: "bench",
                endpoints: None,
                writes: None,
                reports: Some(&reports),
                comparisons: None,
            })?;
        } else {
            self.output().result(table::of_reports(&reports))?;
        }
        Ok(Status::Valid)
    }
}

/// Options can make two loads of a benchmark the same.
fn same_crowd(a: Load, b: Load) -> bool {
    (a.workers, a.producers) == (b.workers, b.producers)
}

/// What each task gave, until one fails: what was measured before it, perhaps for
/// long, is not lost.
fn as_far_as_it_goes<T>(
    tasks: &[Task],
    mut measure: impl FnMut(&Task) -> anyhow::Result<T>,
) -> (Vec<T>, anyhow::Result<()>) {
    let mut measured = Vec::new();
    for task in tasks {
        match measure(task) {
            Ok(one) => measured.push(one),
            Err(error) => return (measured, Err(error)),
        }
    }
    (measured, Ok(()))
}

fn measure(access: &Access, (benchmark, load): &Task, terms: Terms) -> anyhow::Result<Report> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // A single worker that waits for each answer has no use for a second thread,
    // and to wake another one takes time.
    let crowd = (load.workers + load.producers) as usize;
    run(
        cores.min(crowd),
        measured(access.clone(), (benchmark, *load), terms),
    )
}

async fn measured(access: Access, (benchmark, load): Task, terms: Terms) -> anyhow::Result<Report> {
    let counter = bench::requests::Counter::new();
    let connect = access.counted(&counter, terms.writes).await?;
    let prefix = format!("etcd-recipes-bench/{:016x}", runtime::random_u64());
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let interrupt = async {
        signals.next().await;
    };
    let measured = bench::measure(
        benchmark,
        load,
        connect,
        &counter,
        &prefix,
        terms.limit,
        interrupt,
    )
    .await;
    Ok(measured.map_err(|error| failed(benchmark, &error))?)
}

/// Runs a future to its end, on so many threads and no other: `block_on` has a
/// future of its own on the thread that calls it, to and from which every answer
/// would have to be handed over.
fn run<T: Send + 'static>(
    threads: usize,
    future: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    let mut builder = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(threads.max(1))
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime
        .block_on(runtime.spawn(future))
        .context("the benchmark panicked")?
}

fn label((benchmark, load): &Task) -> String {
    match load.producers {
        0 => format!("{} x {}", benchmark.name, load.workers),
        producers => format!("{}, {producers} + {}", benchmark.name, load.workers),
    }
}

fn failed(benchmark: &Benchmark, error: &BenchError) -> Failure {
    Failure::cluster(format!("{}: {error}", benchmark.name))
}
