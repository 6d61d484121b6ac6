//! What the tests in the simulation share: runs on each executor, sessions, and a
//! look at the keys.

#![allow(dead_code, reason = "each test uses some of it")]

use std::time::Duration;

use etcd_client::Client;
use etcd_recipes::{Session, SessionOptions, runtime};
use etcd_sim::executor::Executor;
use etcd_sim::fault::{Fault, FaultKind};
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::simulation::{Options, Simulation, run};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Runs `body`; what the recipes draw depends on the plan's seed alone.
pub(crate) fn seeded<T, Fut>(
    options: Options,
    body: impl FnOnce(Simulation) -> Fut + Send + 'static,
) -> T
where
    Fut: Future<Output = T>,
    T: Send + 'static,
{
    run(options, move |simulation| {
        let seeded = runtime::seed_thread(simulation.plan().seed);
        // On the heap: the futures of tests are large.
        let running = Box::pin(body(simulation));
        async move {
            let result = running.await;
            drop(seeded);
            result
        }
    })
    .unwrap()
}

/// Runs `body` on the default executor, on a network that loses nothing.
pub(crate) fn quiet<T, Fut>(body: impl FnOnce(Simulation) -> Fut + Send + 'static) -> T
where
    Fut: Future<Output = T>,
    T: Send + 'static,
{
    seeded(Options::new(Plan::quiet(3)), body)
}

/// Runs `body` on each executor; the results.
pub(crate) fn on_each_executor<T, Fut>(
    plan: &Plan,
    body: impl Fn(Simulation) -> Fut + Clone + Send + 'static,
) -> Vec<T>
where
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let run_on = |executor| {
        let options = Options {
            executor,
            ..Options::new(plan.clone())
        };
        seeded(options, body.clone())
    };
    executors().into_iter().map(run_on).collect()
}

fn executors() -> Vec<Executor> {
    let mut executors = vec![Executor::Tokio];
    if Executor::BEST != Executor::Tokio {
        executors.push(Executor::BEST);
    }
    executors
}

/// Runs `body` on each executor that can, with these faults, each at its time in
/// milliseconds.
pub(crate) fn simulated<Fut>(
    faults: Vec<(u64, FaultKind)>,
    body: impl Fn(Simulation) -> Fut + Clone + Send + 'static,
) where
    Fut: Future<Output = ()> + 'static,
{
    let faults = faults.into_iter();
    let plan = Plan {
        faults: faults.map(|(at_ms, kind)| Fault { at_ms, kind }).collect(),
        latency: Latency {
            min_us: 500,
            max_us: 5_000,
        },
        ..Plan::quiet(1)
    };
    // On tokio a pause does not stop the tasks that a library has spawned.
    let pauses = |fault: &Fault| matches!(fault.kind, FaultKind::PauseClient { .. });
    let pauses = plan.faults.iter().any(pauses);
    for executor in executors() {
        if pauses && executor == Executor::Tokio {
            continue;
        }
        let options = Options {
            executor,
            ..Options::new(plan.clone())
        };
        seeded(options, body.clone());
    }
}

pub(crate) fn cut_off(client: u32, for_ms: u64) -> FaultKind {
    FaultKind::Partition { client, for_ms }
}

/// A session with a lease of so many seconds.
pub(crate) async fn open_session(client: &Client, ttl_s: u64) -> Session {
    let options = SessionOptions::new().ttl(Duration::from_secs(ttl_s));
    Session::with_options(client, options).await.unwrap()
}

/// A session of the client with this number.
pub(crate) async fn session(simulation: &Simulation, client: u32, ttl_s: u64) -> Session {
    open_session(&simulation.client(client).await.unwrap(), ttl_s).await
}

/// Whether the key is at etcd.
pub(crate) fn exists(simulation: &Simulation, key: &str) -> bool {
    simulation
        .member()
        .with_store(|store| store.key_at(key.as_bytes(), store.revision()).is_some())
}
