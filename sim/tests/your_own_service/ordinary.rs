//! An ordinary tokio program, unedited, on both executors: it does its work under
//! faults, and the same seed gives the same run, to the nanosecond.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_sim::executor::{Executor, now};
use etcd_sim::{Faults, Simulation};

/// Where the program says what happens.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<String>>);

impl Log {
    fn say(&self, line: impl std::fmt::Display) {
        let mut log = self.0.lock().unwrap();
        writeln!(log, "{} {line}", now().as_nanos()).unwrap();
    }
}

#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "what a user's program does"
)]
mod on_tokio {
    use super::Log;
    include!("service.rs");
}

#[cfg(madsim)]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "what a user's program does"
)]
mod on_madsim {
    use super::Log;
    use madsim_tokio as tokio;
    include!("service.rs");
}

const GOAL: u64 = 20;

/// What two programs that count say in the run of this seed.
fn run(executor: Executor, seed: u64) -> String {
    let builder = Simulation::builder().members(3).seed(seed).clients(2);
    let builder = builder.faults(Faults::swarm().without(["client kill", "database full"]));
    let builder = builder.lasts(Duration::from_secs(3)).executor(executor);
    let builder = builder.timeout(Duration::from_secs(1));
    let said = builder.run(move |simulation| async move {
        let log = Log::default();
        for client in 0..2 {
            let log = log.clone();
            simulation.spawn(client, move |process| {
                let log = log.clone();
                async move {
                    let etcd = process.connect().await.unwrap();
                    let name = format!("{client}.{}", process.number());
                    match executor {
                        Executor::Tokio => on_tokio::count(etcd, name, GOAL, log).await,
                        #[cfg(madsim)]
                        _ => on_madsim::count(etcd, name, GOAL, log).await,
                        #[cfg(not(madsim))]
                        _ => unreachable!("there is no other executor"),
                    }
                }
            });
        }
        let settled = simulation.settle(Duration::from_secs(60)).await;
        log.say(format!("{settled:?}"));
        std::mem::take(&mut *log.0.lock().unwrap())
    });
    said.unwrap()
}

/// Whether the work got done, as far as the program says.
fn is_done(said: &str) -> bool {
    said.contains(&format!("has {GOAL}\n")) && said.ends_with("Finished\n")
}

#[test]
fn an_ordinary_program_does_its_work_under_faults_on_both_executors() {
    for executor in crate::executors() {
        let mut failures = 0;
        for seed in 0..30 {
            let said = run(executor, seed);
            assert!(
                is_done(&said),
                "{} with seed {seed}:\n{said}",
                executor.name()
            );
            failures += u32::from(said.contains("failed"));
        }
        assert!(failures > 3, "the faults struck: {failures}");
    }
}

/// `ETCD_SIM_SEEDS=1000` for as many as that.
#[test]
fn the_same_seed_gives_the_same_run_byte_for_byte() {
    let seeds = std::env::var("ETCD_SIM_SEEDS").map_or(40, |seeds| seeds.parse().unwrap());
    for executor in crate::executors() {
        // The second time in another order, on other threads, while others run.
        let first: Vec<String> = (0..seeds).map(|seed| run(executor, seed)).collect();
        let order: Vec<u64> = (0..seeds).rev().collect();
        etcd_sim::sweep::in_order(
            &order,
            2,
            |seed| run(executor, *seed),
            |seed, again| {
                let first = &first[usize::try_from(*seed).unwrap()];
                assert_eq!(*first, again, "{} with seed {seed}", executor.name());
                true
            },
        );
        let mut different = first;
        different.sort();
        different.dedup();
        // Where a seed draws no delays and no fault that strikes, tokio leaves nothing to
        // chance.
        let (different, seeds) = (different.len(), usize::try_from(seeds).unwrap());
        assert!(different > seeds * 3 / 4, "{different} of {seeds}");
    }
}
