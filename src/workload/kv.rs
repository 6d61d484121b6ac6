//! etcd's requests themselves: reads, writes, transactions, leases, compactions.
//!
//! Clients send random requests to a few keys, without any recipe between. What is
//! judged is etcd: that it is linearizable and its revisions count right, that
//! transactions are whole and leases live as long as they must and take all their
//! keys with them, that each read shows the state of its revision, and that compacted
//! and future revisions are answered as such.
//!
//! On a real cluster that others may use nothing is compacted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::Model;
use etcd_sim::bug::EtcdBug;

use super::etcd::{Mix, Run, bug};
use super::{Bug, Ended, Parameter, Parameters, Running, Stage, Workload};
use crate::{Error, runtime};

/// See the [module](self).
pub struct KvWorkload;

impl Workload for KvWorkload {
    fn name(&self) -> &'static str {
        "kv"
    }

    fn about(&self) -> &'static str {
        "etcd itself: plain reads, writes, transactions, leases and compactions, by revision"
    }

    fn model(&self) -> Model {
        Model::Etcd
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter {
                name: "clients",
                about: "clients that send requests",
                bounds: (1, 1_000),
                drawn: (1, 6),
                live: 8,
            },
            Parameter {
                name: "requests",
                about: "requests of each client",
                bounds: (0, 1_000_000),
                drawn: (20, 80),
                live: 200,
            },
            Parameter {
                name: "keys",
                about: "keys that they share",
                bounds: (1, 100),
                drawn: (2, 6),
                live: 6,
            },
            TTL,
            COMPACT,
            Parameter {
                name: "think_ms",
                about: "the longest pause of a client between two requests, in milliseconds",
                bounds: (0, 60_000),
                drawn: (0, 60),
                live: 10,
            },
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        const {
            &[
                bug(EtcdBug::StaleReadAfterPause),
                bug(EtcdBug::RevisionGoesBack),
                bug(EtcdBug::CrashLosesWrite),
                bug(EtcdBug::TornTxn),
                bug(EtcdBug::LeaseLeavesKeys),
            ]
        }
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("clients")
    }

    fn has_watches(&self) -> bool {
        false
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        300 + parameters.get("requests") * parameters.get("think_ms") / 2
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        Box::pin(async move { run(stage, &parameters).await })
    }
}

pub(super) const TTL: Parameter = Parameter {
    name: "ttl_s",
    about: "how long leases live, in seconds",
    bounds: (1, 3_600),
    drawn: (2, 3),
    live: 2,
};

pub(super) const COMPACT: Parameter = Parameter {
    name: "compact",
    about: "whether clients compact (0 or 1); on a real cluster only if it is their own",
    bounds: (0, 1),
    drawn: (0, 1),
    live: 0,
};

async fn run(stage: Stage, parameters: &Parameters) -> Result<Ended, Error> {
    let run = Run::new(
        &stage,
        parameters.count("keys"),
        parameters.get("ttl_s"),
        parameters.get("compact") == 1,
    );
    let clients = parameters.count("clients");
    let driver = stage.actor(clients).await?;
    if !run.begin(&driver).await {
        return Ok(Ended::Stuck);
    }
    for client in 0..clients {
        let (requests, think_ms) = (parameters.get("requests"), parameters.get("think_ms"));
        start_client(&stage, &run, client, (requests, think_ms), Mix::Everything);
    }
    let ended = stage.settle().await;
    if ended == Ended::Finished {
        let wind_up = async {
            // What a fault does at the end shows too.
            stage.healed().await;
            while !run.read_all(&driver).await {}
            // Until the leases have ended that nobody renews any more. etcd looks
            // for them twice a second, and after a change of leaders each lives for
            // an election timeout longer.
            let ttl = Duration::from_secs(parameters.get("ttl_s").min(5));
            runtime::sleep(ttl + Duration::from_secs(2)).await;
            while !run.read_all(&driver).await {}
            run.revoke_all(&driver).await;
            while !run.read_all(&driver).await {}
        };
        if stage.in_time(wind_up).await.is_none() {
            return Ok(Ended::Stuck);
        }
    }
    Ok(ended)
}

/// Starts a client that sends requests.
pub(super) fn start_client(
    stage: &Stage,
    run: &Run,
    client: u32,
    (requests, think_ms): (u64, u64),
    mix: Mix,
) {
    let run = run.clone();
    // Outlives the process: a restarted client goes on where it was.
    let sent = Arc::new(AtomicU64::new(0));
    stage.start(client, move |mut actor| {
        let (run, sent) = (run.clone(), Arc::clone(&sent));
        async move {
            while sent.fetch_add(1, Ordering::Relaxed) < requests {
                if !run.step(&mut actor, mix).await {
                    actor.back_off().await;
                }
                actor.think(think_ms).await;
            }
        }
    });
}
