//! How fast the recipes are, and how many requests they send to etcd.
//!
//! A [`Benchmark`] is a crowd of workers that want the same thing all the time:
//! each with a connection, and where the recipe needs one a session, of its own.
//! The workloads are those of `bench/go/main.go`, which does the same with the Go
//! recipes, so that figures can be compared.
//!
//! The same code runs on a real cluster ([`measure`]) and in the simulation
//! ([`simulate`]). There the time is simulated, and says little; the requests
//! for each operation are the same everywhere, and tests hold them to bounds.
//!
//! - [`requests`]: counting what a client sends, on its channel;
//! - [`latency`]: how long operations take;
//! - `place`: where a benchmark runs, and what it measures there;
//! - one file for each kind of workload.

mod barriers;
pub mod connection;
mod contend;
pub mod latency;
mod place;
mod queues;
mod raw;
pub mod requests;
mod simulated;
mod transfers;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::place::{Place, measure};
pub use self::simulated::simulate;
use crate::Error;

/// A workload that is measured.
pub struct Benchmark {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, as half a sentence.
    pub about: &'static str,
    /// What one operation is, in the plural.
    pub unit: &'static str,
    /// What tells how fast it is.
    pub figure: Figure,
    /// Whether `bench/go/main.go` has a run of that name: Go has such a recipe.
    pub has_go: bool,
    /// What it is measured with unless told otherwise.
    pub loads: &'static [Load],
    run: fn(Place) -> Running,
}

impl std::fmt::Debug for Benchmark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Benchmark")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What tells how fast something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Operations in a second: the more the better.
    PerSecond,
    /// The median of the latency of this name: the less the better.
    Median(&'static str),
}

type Running = Pin<Box<dyn Future<Output = Result<Measured, BenchError>> + Send>>;

/// How much is done at once, and in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Workers: contenders, consumers, participants, waiters.
    pub workers: u32,
    /// Producers of a queue; 0 for what has none.
    pub producers: u32,
    /// Operations in all; for transactions, of each worker.
    pub count: u64,
}

const fn load(workers: u32, producers: u32, count: u64) -> Load {
    Load {
        workers,
        producers,
        count,
    }
}

/// All benchmarks.
pub fn all() -> &'static [Benchmark] {
    ALL
}

/// The benchmark of that name.
pub fn find(name: &str) -> Option<&'static Benchmark> {
    ALL.iter().find(|benchmark| benchmark.name == name)
}

const ALL: &[Benchmark] = &[
    Benchmark {
        name: "raw-put",
        about: "plain puts of 64 bytes: what etcd can do",
        unit: "puts",
        figure: Figure::PerSecond,
        has_go: true,
        loads: &[load(1, 0, 3_000), load(10, 0, 10_000)],
        run: |place| Box::pin(raw::puts(place)),
    },
    Benchmark {
        name: "queue",
        about: "producers and consumers of one queue at once",
        unit: "items",
        figure: Figure::PerSecond,
        has_go: true,
        loads: &[
            load(1, 1, 1_000),
            load(10, 10, 1_000),
            load(50, 1, 500),
            load(50, 10, 500),
        ],
        run: |place| Box::pin(queues::fifo(place)),
    },
    Benchmark {
        name: "priority-queue",
        about: "the same with a priority queue, ten priorities",
        unit: "items",
        figure: Figure::PerSecond,
        has_go: true,
        loads: &[load(1, 1, 1_000), load(10, 10, 1_000)],
        run: |place| Box::pin(queues::priority(place)),
    },
    Benchmark {
        name: "reliable-queue",
        about: "the same with a queue whose items are claimed and acknowledged; Go has none",
        unit: "items",
        figure: Figure::PerSecond,
        has_go: false,
        loads: &[load(1, 1, 1_000), load(10, 10, 1_000)],
        run: |place| Box::pin(queues::reliable(place)),
    },
    Benchmark {
        name: "mutex",
        about: "workers that lock and unlock one mutex all the time",
        unit: "acquisitions",
        figure: Figure::PerSecond,
        has_go: true,
        loads: &[load(1, 0, 1_000), load(10, 0, 400)],
        run: |place| Box::pin(contend::mutex(place)),
    },
    Benchmark {
        name: "rwlock",
        about: "the same with a read-write lock, nine of ten times for reading",
        unit: "acquisitions",
        figure: Figure::PerSecond,
        has_go: true,
        loads: &[load(1, 0, 1_000), load(10, 0, 400)],
        run: |place| Box::pin(contend::rw_lock(place)),
    },
    Benchmark {
        name: "election",
        about: "candidates who campaign, and resign as soon as they are elected",
        unit: "hand-overs",
        figure: Figure::PerSecond,
        has_go: true,
        loads: &[load(1, 0, 1_000), load(3, 0, 150), load(10, 0, 400)],
        run: |place| Box::pin(contend::election(place)),
    },
    Benchmark {
        name: "barrier",
        about: "waiters that are all woken by one release",
        unit: "releases",
        figure: Figure::Median("release to last wake"),
        has_go: true,
        loads: &[load(1, 0, 30), load(10, 0, 30), load(100, 0, 20)],
        run: |place| Box::pin(barriers::barrier(place)),
    },
    Benchmark {
        name: "double-barrier",
        about: "participants that enter and leave together, again and again",
        unit: "rounds",
        figure: Figure::PerSecond,
        has_go: true,
        loads: &[load(1, 0, 300), load(3, 0, 30), load(10, 0, 30)],
        run: |place| Box::pin(barriers::double(place)),
    },
    Benchmark {
        name: "cyclic-barrier",
        about: "participants that wait for each other, round after round; Go has none",
        unit: "rounds",
        figure: Figure::PerSecond,
        has_go: false,
        loads: &[load(1, 0, 300), load(3, 0, 100), load(10, 0, 100)],
        run: |place| Box::pin(barriers::cyclic(place)),
    },
    Benchmark {
        name: "stm",
        about: "transfers among 5 accounts, two reads and two writes each",
        unit: "transactions",
        figure: Figure::PerSecond,
        has_go: true,
        loads: &[load(1, 0, 1_000), load(10, 0, 200)],
        run: |place| Box::pin(transfers::one_by_one(place)),
    },
    Benchmark {
        name: "stm-prefetch",
        about: "the same, both accounts read in one request",
        unit: "transactions",
        figure: Figure::PerSecond,
        has_go: true,
        loads: &[load(1, 0, 1_000), load(10, 0, 200)],
        run: |place| Box::pin(transfers::together(place)),
    },
];

/// What a benchmark measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The benchmark.
    pub benchmark: &'static str,
    /// With how much.
    #[serde(flatten)]
    pub load: Load,
    /// How many operations were done.
    pub operations: u64,
    /// What they are called.
    pub unit: &'static str,
    /// How long they took all together.
    pub seconds: f64,
    /// Operations in a second.
    pub per_second: f64,
    /// How long what took, in milliseconds.
    pub latencies: BTreeMap<&'static str, latency::Summary>,
    /// Requests for one operation: unary calls, and messages on streams.
    pub requests_per_operation: f64,
    /// How many requests of each kind were sent.
    pub requests: requests::Requests,
    /// How often the closure of a transaction ran, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries_per_operation: Option<f64>,
    /// Whether the time is simulated.
    pub simulated: bool,
}

/// What the workers of a benchmark bring back.
#[derive(Debug)]
struct Measured {
    operations: u64,
    elapsed: Duration,
    requests: requests::Requests,
    latencies: BTreeMap<&'static str, latency::Summary>,
    tries: Option<u64>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A recipe failed.
    #[error(transparent)]
    Recipe(#[from] Error),
    /// A request of the benchmark itself failed.
    #[error("etcd: {0}")]
    Etcd(#[from] etcd_client::Error),
    /// A recipe did what it must not.
    #[error("{0}")]
    Broken(String),
    /// It was not done in time.
    #[error("not done within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// It was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A task of the benchmark ended early.
    #[error("a worker of the benchmark ended early")]
    WorkerGone,
    /// The simulation panicked.
    #[error(transparent)]
    Panicked(#[from] etcd_sim::executor::Panicked),
}

/// The figures of a report, as the Go program prints them too.
#[derive(Clone, Debug, Deserialize)]
pub struct Figures {
    /// Operations in a second.
    pub per_second: f64,
    /// How long what took.
    pub latencies: BTreeMap<String, latency::Summary>,
    /// How often the closure of a transaction ran, on average.
    #[serde(default)]
    pub tries_per_operation: Option<f64>,
}

impl Figure {
    /// Its value; none if it was not measured.
    pub fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Figure::PerSecond => Some(figures.per_second),
            Figure::Median(name) => figures.latencies.get(name).map(|latency| latency.p50_ms),
        }
    }

    /// How many times as fast `ours` is as `other`.
    pub fn factor(self, ours: f64, other: f64) -> f64 {
        match self {
            Figure::PerSecond => ours / other,
            Figure::Median(_) => other / ours,
        }
    }
}

impl Report {
    /// Its figures alone.
    pub fn figures(&self) -> Figures {
        let latencies = self.latencies.iter();
        Figures {
            per_second: self.per_second,
            latencies: latencies
                .map(|(name, summary)| ((*name).to_owned(), *summary))
                .collect(),
            tries_per_operation: self.tries_per_operation,
        }
    }

    fn new(benchmark: &Benchmark, load: Load, measured: Measured, simulated: bool) -> Self {
        let operations = measured.operations.max(1) as f64;
        let seconds = measured.elapsed.as_secs_f64();
        Report {
            benchmark: benchmark.name,
            load,
            operations: measured.operations,
            unit: benchmark.unit,
            seconds,
            per_second: if seconds > 0.0 {
                measured.operations as f64 / seconds
            } else {
                0.0
            },
            latencies: measured.latencies,
            requests_per_operation: measured.requests.total() as f64 / operations,
            requests: measured.requests,
            tries_per_operation: measured.tries.map(|tries| tries as f64 / operations),
            simulated,
        }
    }
}
