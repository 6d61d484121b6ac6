//! Requests per second through the unmodified client inside the simulation.

use std::time::{Duration, Instant};

use etcd_sim::executor::Executor;
use etcd_sim::plan::{Latency, Plan};
use etcd_sim::simulation::{Options, Settled, run};

const CLIENTS: u32 = 10;
const REQUESTS_PER_CLIENT: u32 = 40_000;

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time, outside the simulation"
)]
fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn put_and_get(executor: Executor, latency: Latency) {
    let options = Options {
        executor,
        messages_max: u64::MAX,
        polls_max: u64::MAX,
        ..Options::new(Plan {
            latency,
            ..Plan::quiet(1)
        })
    };
    let settled = run(options, |simulation| async move {
        for client in 0..CLIENTS {
            simulation.spawn(client, |incarnation| async move {
                let mut etcd = incarnation.connect().await.unwrap();
                let key = format!("key-{}", incarnation.client());
                for _ in 0..REQUESTS_PER_CLIENT / 2 {
                    etcd.put(key.clone(), "value", None).await.unwrap();
                    etcd.get(key.clone(), None).await.unwrap();
                }
            });
        }
        simulation.settle(Duration::from_secs(1_000_000)).await
    });
    assert_eq!(settled.unwrap(), Settled::Finished);
}

fn report(name: &str, work: impl Fn()) {
    let requests = f64::from(CLIENTS * REQUESTS_PER_CLIENT);
    let best = (0..3).map(|_| timed(&work)).min().expect("three runs");
    println!(
        "{name:<50} {:>10.0} requests/s",
        requests / best.as_secs_f64()
    );
}

fn main() {
    let delays = Latency {
        min_us: 0,
        max_us: 3_000,
    };
    for executor in [Executor::BEST, Executor::Tokio] {
        for (latency, text) in [(Latency::NONE, "no delays"), (delays, "delays")] {
            let name = format!("{}, {text}", executor.name());
            report(&name, || put_and_get(executor, latency));
        }
    }
}
