//! Watches: that they hear of everything, in order, once, and as it happened.
//!
//! Writers change a few keys. Watchers open streams with several watches, from past,
//! present and future revisions, with filters and without, ask for progress, drop
//! their streams and take them up again, and listen to the end. What each heard is
//! compared with what the writers were told, and with what the others heard.
//!
//! On a real cluster that others may use nothing is compacted, and watchers do not ask for
//! progress unless `--set progress=1` says so: etcd before 3.4.25 and 3.5.8 answers before
//! it has sent the events ([15220](https://github.com/etcd-io/etcd/issues/15220)), which the
//! checker reports.

use std::time::Duration;

use etcd_checker::Model;
use etcd_sim::bug::EtcdBug;

use super::etcd::{Mix, Run, bug, watch_until_the_end};
use super::kv::{COMPACT, TTL, start_client};
use super::{Actor, Bug, Ended, LIVENESS_BOUND, Parameter, Parameters, Running, Stage, Workload};
use crate::runtime::Either;
use crate::{Error, runtime};

/// See the [module](self).
pub struct WatchWorkload;

impl Workload for WatchWorkload {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn about(&self) -> &'static str {
        "etcd's watches: ordered, unique, complete, whole, resumed, filtered, with progress"
    }

    fn model(&self) -> Model {
        Model::Etcd
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter {
                name: "writers",
                about: "clients that write",
                bounds: (1, 1_000),
                drawn: (1, 4),
                live: 4,
            },
            Parameter {
                name: "watchers",
                about: "clients that watch",
                bounds: (1, 1_000),
                drawn: (1, 4),
                live: 4,
            },
            Parameter {
                name: "requests",
                about: "requests of each writer",
                bounds: (0, 1_000_000),
                drawn: (20, 120),
                live: 300,
            },
            Parameter {
                name: "keys",
                about: "keys that they write",
                bounds: (1, 100),
                drawn: (1, 5),
                live: 5,
            },
            TTL,
            COMPACT,
            Parameter {
                name: "progress",
                about: "whether watchers ask for progress (0 or 1)",
                bounds: (0, 1),
                drawn: (0, 1),
                live: 0,
            },
            Parameter {
                name: "slow_ms",
                about: "the longest rest of a watcher between two notices, in milliseconds",
                bounds: (0, 60_000),
                drawn: (0, 20),
                live: 5,
            },
            Parameter {
                name: "think_ms",
                about: "the longest pause of a writer between two requests, in milliseconds",
                bounds: (0, 60_000),
                drawn: (0, 30),
                live: 10,
            },
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        const {
            &[
                bug(EtcdBug::ProgressAheadOfEvents),
                bug(EtcdBug::DuplicateEvent),
                bug(EtcdBug::StarvedWatchLosesEvents),
                bug(EtcdBug::WatchTravelsBack),
                bug(EtcdBug::CompactionDropsDeletion),
                bug(EtcdBug::CompactionDropsEvent),
                bug(EtcdBug::FutureWatchHearsThePast),
            ]
        }
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("writers") + parameters.count("watchers")
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        300 + parameters.get("requests") * parameters.get("think_ms") / 2
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        Box::pin(async move { run(stage, &parameters).await })
    }
}

async fn run(stage: Stage, parameters: &Parameters) -> Result<Ended, Error> {
    let run = Run::new(
        &stage,
        parameters.count("keys"),
        parameters.get("ttl_s"),
        parameters.get("compact") == 1,
    );
    let (writers, watchers) = (parameters.count("writers"), parameters.count("watchers"));
    let driver = stage.actor(writers + watchers).await?;
    if !run.begin(&driver).await {
        return Ok(Ended::Stuck);
    }
    for client in 0..writers {
        let (requests, think_ms) = (parameters.get("requests"), parameters.get("think_ms"));
        start_client(&stage, &run, client, (requests, think_ms), Mix::Writes);
    }
    for client in writers..writers + watchers {
        let (progress, slow_ms) = (parameters.get("progress") == 1, parameters.get("slow_ms"));
        let run = run.clone();
        stage.start(client, move |mut actor| {
            let run = run.clone();
            async move { watch_until_the_end(&run, &mut actor, progress, slow_ms).await }
        });
    }
    let end = end(&stage, &run, &driver, writers);
    let settle = settle(&stage, writers);
    let (ended, ()) = futures_util::future::join(settle, end).await;
    if ended == Ended::Finished {
        let wind_up = async {
            // What a fault does at the end shows too.
            stage.healed().await;
            run.revoke_all(&driver).await;
            while !run.read_all(&driver).await {}
        };
        if stage.in_time(wind_up).await.is_none() {
            return Ok(Ended::Stuck);
        }
    }
    Ok(ended)
}

/// Waits for all clients. Watches of a real cluster that are opened again and again, because
/// they never hear of the last write, are no sign that the run gets on: they are given up so
/// long after the writers are done. The messages of a simulation are counted, and end it.
async fn settle(stage: &Stage, writers: u32) -> Ended {
    let is_late = async {
        stage.finished(|client| client < writers).await;
        runtime::sleep(LIVENESS_BOUND).await;
    };
    if !stage.is_live() {
        return stage.settle().await;
    }
    match runtime::race(stage.settle(), is_late).await {
        Either::Left(ended) => ended,
        Either::Right(()) => Ended::Stuck,
    }
}

/// When the writers are done, writes what the watchers wait for.
async fn end(stage: &Stage, run: &Run, driver: &Actor, writers: u32) {
    loop {
        stage.finished(|client| client < writers).await;
        if !stage.awaits_restart() {
            break;
        }
        runtime::sleep(Duration::from_millis(100)).await;
    }
    let last = async {
        let (put, delete) = loop {
            if let Some(put) = run.put_all(driver).await
                // A request of a client that has died may still come in between: then
                // some watches would never hear of a last deletion.
                && let Some(delete) = run.delete_all(driver, put).await
            {
                break (put, delete);
            }
            // It may have been refused at once.
            runtime::sleep(Duration::from_millis(100)).await;
        };
        run.set_end(put, delete);
    };
    let _ = stage.in_time(last).await;
}
