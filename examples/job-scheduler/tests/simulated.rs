//! Three processes of the scheduler on three members of etcd, under whatever faults the
//! seed draws.
//!
//! Run with no settings it is on tokio; with `--cfg madsim`, as in this repository, on
//! madsim. Nothing here or in the program differs.

use std::time::Duration;

use etcd_recipes::runtime::seed_thread;
use etcd_sim::{Faults, Settled, Simulation};
use job_scheduler::{Bookkeeping, Options, times_done};

const JOBS: u64 = 12;

fn options(process: u32, bookkeeping: Bookkeeping) -> Options {
    Options {
        name: "reports".to_owned(),
        process: format!("process-{process}"),
        jobs: JOBS,
        every: Duration::from_millis(300),
        takes: Duration::from_millis(100),
        bookkeeping,
    }
}

/// All processes may pause, die and come back; none is gone for good.
fn faults() -> Faults {
    Faults::swarm().without(["client kill"])
}

async fn each_job_is_done_once(simulation: Simulation, bookkeeping: Bookkeeping) {
    // On tokio the recipes' jitter comes from the seed as well; on madsim it does anyway.
    let _seeded = seed_thread(simulation.seed());
    for process in 0..3 {
        simulation.spawn(process, move |life| async move {
            let client = life.connect().await.unwrap();
            job_scheduler::run(client, options(process, bookkeeping)).await;
        });
    }
    let settled = simulation.settle(Duration::from_secs(120)).await;
    assert_eq!(settled, Settled::Finished, "some job is never done");

    // They may be done before the last fault, and a leader must be elected after it.
    simulation.healed().await;
    simulation.sleep(Duration::from_secs(5)).await;
    let client = simulation.client(99).await.unwrap();
    let done = times_done(&client, "reports").await.unwrap();
    for (job, times) in &done {
        assert_eq!(*times, 1, "job {job} was done {times} times");
    }
    assert!(done.keys().copied().eq(1..=JOBS), "{done:?}");
}

#[etcd_sim::test(seeds = 60, members = 3, clients = 3, faults = faults(), lasts = Duration::from_secs(6))]
async fn each_job_is_done_once_whatever_happens(simulation: Simulation) {
    each_job_is_done_once(simulation, Bookkeeping::WithTheJob).await;
}

/// What the simulation is for. Without `should_panic` it prints the seed, the one fault
/// that it takes, and the command that runs it again.
#[etcd_sim::test(seeds = 60, members = 3, clients = 3, faults = faults(), lasts = Duration::from_secs(6))]
#[should_panic(expected = "was done")]
async fn the_bug_is_found(simulation: Simulation) {
    each_job_is_done_once(simulation, Bookkeeping::ThenAcknowledge).await;
}

#[allow(
    unexpected_cfgs,
    reason = "that of tokio, which Cargo.toml does not name"
)]
mod documented {
    /// The page shows this very report. With `--cfg tokio_unstable`, or on tokio, it is
    /// another one.
    #[cfg(all(madsim, not(tokio_unstable)))]
    #[test]
    fn the_documentation_shows_what_is_found() {
        use super::*;
        let builder = Simulation::builder().seeds(60).members(3).clients(3);
        let builder = builder.faults(faults()).lasts(Duration::from_secs(6));
        let broken = builder
            .try_check(|simulation| each_job_is_done_once(simulation, Bookkeeping::ThenAcknowledge))
            .unwrap_err();
        let test = "documented::the_documentation_shows_what_is_found";
        let report = broken.to_string().replacen(test, "the_bug_is_found", 1);

        let page = include_str!("../../../docs/test-your-own-service.md");
        let mut shown = page.split("```text\n").skip(1);
        let shown = shown.find(|text| text.starts_with("the_bug_is_found"));
        let (shown, _) = shown.unwrap().split_once("```").unwrap();
        assert!(report.starts_with(shown), "{report}");
    }
}
