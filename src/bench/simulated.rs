//! Benchmarks in the simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use etcd_client::Client;
use etcd_sim::executor::Executor;
use etcd_sim::network::ChannelOptions;
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::seed::Stream;
use etcd_sim::simulation::{Options, Simulation, run};

use super::place::Place;
use super::requests::Counter;
use super::{BenchError, Benchmark, Load, Report};
use crate::runtime::seed_thread;
use crate::workload::Connect;

/// How long a message takes: no less than the simulation's timers can tell.
const LATENCY: Latency = Latency {
    min_us: 1_000,
    max_us: 3_000,
};

/// Runs a benchmark in a simulation without faults, on a network where a message
/// takes 1 to 3 ms. The same seed gives the same figures.
///
/// # Errors
///
/// When a recipe fails or the simulation panics.
pub fn simulate(
    benchmark: &'static Benchmark,
    load: Load,
    seed: u64,
) -> Result<Report, BenchError> {
    let plan = Plan {
        latency: LATENCY,
        ..Plan::quiet(seed)
    };
    let options = Options {
        messages_max: u64::MAX,
        ..Options::new(plan)
    };
    let measured = run(options, move |simulation| async move {
        let _seeded =
            (Executor::BEST == Executor::Tokio).then(|| seed_thread(Stream::Jitter.seed(seed)));
        let counter = Counter::new();
        let place = Place::new(
            connections(simulation, &counter),
            counter,
            "bench",
            load,
            seed,
        );
        (benchmark.run)(place).await
    })??;
    Ok(Report::new(benchmark, load, measured, true))
}

/// Each connection is that of another client.
fn connections(simulation: Simulation, counter: &Counter) -> Connect {
    let (counter, next) = (counter.clone(), AtomicU32::new(0));
    Arc::new(move || {
        let client = next.fetch_add(1, Ordering::Relaxed);
        let channel = simulation.channel(client, ChannelOptions::default());
        let counted = counter.on(channel.into_etcd_channel());
        Box::pin(Client::from_channel(counted, None))
    })
}
