//! Participants that enter a double barrier and leave it, again and again under the
//! same name.
//!
//! There may be more of them than a round has: some are refused then. Some come
//! late, so that the lease of one that waits may end meanwhile. Now and then one
//! gives up while it waits. When some have finished or died, helpers fill the
//! rounds of the others, so that who is left alone does not wait for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::Model;
use etcd_checker::history::Evidence;
use rand::RngExt as _;

use super::beside::{COUNT, EXTRA, ROUNDS, THINK_MS, With, open_session, settle_with_help};
use super::{Actor, Bug, Ended, Parameter, Parameters, Running, Stage, Workload};
use crate::double_barrier::{DoubleBarrier, DoubleBarrierFault};
use crate::session::Session;
use crate::{Error, runtime};

/// See the [module](self).
pub struct DoubleBarrierWorkload;

const REUSED: Bug = Bug {
    name: "go-double-barrier-reused",
    about: "who enters while others leave counts those who have not left, as etcd's Go recipe",
};
const EXPIRED: Bug = Bug {
    name: "go-double-barrier-expired",
    about: "a waiter does not look whether its own key still lives, as etcd's Go recipe",
};
const LEAVES_AT_ONCE: Bug = Bug {
    name: "double-barrier-leaves-at-once",
    about: "a leave does not wait for the others",
};

const TTL: Duration = Duration::from_secs(2);

impl Workload for DoubleBarrierWorkload {
    fn name(&self) -> &'static str {
        "double-barrier"
    }

    fn about(&self) -> &'static str {
        "participants enter a double barrier together and leave it together, round after round"
    }

    fn model(&self) -> Model {
        Model::DoubleBarrier
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            COUNT,
            EXTRA,
            ROUNDS,
            THINK_MS,
            Parameter {
                name: "late_ms",
                about: "how late some come to a round at most, in milliseconds",
                bounds: (0, 60_000),
                drawn: (0, 5_000),
                live: 0,
            },
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        &[REUSED, EXPIRED, LEAVES_AT_ONCE]
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("count") + parameters.count("extra")
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        let round = 20 + parameters.get("think_ms") + parameters.get("late_ms") / 3;
        500 + parameters.get("rounds") * round
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        let clients = self.clients(&parameters);
        Box::pin(async move { run(&stage, clients, &parameters).await })
    }
}

async fn run(stage: &Stage, clients: u32, parameters: &Parameters) -> Result<Ended, Error> {
    let (rounds, think_ms) = (parameters.get("rounds"), parameters.get("think_ms"));
    let late_ms = parameters.get("late_ms");
    let count = parameters.count("count");
    for client in 0..clients {
        let stage_of_client = stage.clone();
        // Outlives the process: a restarted client goes on with the next round.
        let done = Arc::new(AtomicU64::new(0));
        stage.start(client, move |actor| {
            let (stage, done) = (stage_of_client.clone(), Arc::clone(&done));
            async move {
                let mut party = Party::new(stage, actor, count, think_ms);
                while done.load(Ordering::Relaxed) < rounds {
                    if party.round().await {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    party.actor.think(think_ms).await;
                    if party.actor.rng().random_bool(0.3) {
                        party.actor.think(late_ms).await;
                    }
                }
                party.close().await;
            }
        });
    }
    let mut helpers = Vec::new();
    for helper in 1..count {
        let actor = stage.actor(clients + helper).await?;
        helpers.push(Party::new(stage.clone(), actor, count, think_ms));
    }
    let help = |mut party: Party| async move {
        loop {
            party.round().await;
            party.actor.think(20).await;
        }
    };
    let help = futures_util::future::join_all(helpers.into_iter().map(help));
    Ok(settle_with_help(stage, clients, help).await)
}

struct Party {
    stage: Stage,
    actor: Actor,
    count: u32,
    think_ms: u64,
    with: Option<(Session, DoubleBarrier)>,
}

impl Party {
    fn new(stage: Stage, actor: Actor, count: u32, think_ms: u64) -> Self {
        Self {
            stage,
            actor,
            count,
            think_ms,
            with: None,
        }
    }

    async fn open(&mut self) -> (Session, DoubleBarrier) {
        if let Some((session, barrier)) = self.with.take()
            && session.is_alive()
        {
            return (session, barrier);
        }
        let session = open_session(&mut self.actor, TTL).await;
        let faults = [
            (REUSED, DoubleBarrierFault::Reused),
            (EXPIRED, DoubleBarrierFault::ExpiredWaiter),
            (LEAVES_AT_ONCE, DoubleBarrierFault::LeavesAtOnce),
        ];
        let is_put_in = |(bug, _): &(Bug, _)| self.stage.has_bug(bug.name);
        let fault = faults.into_iter().find(is_put_in).map(|(_, fault)| fault);
        let name = format!("{}double", self.stage.prefix());
        let barrier = DoubleBarrier::with_fault(&session, name, self.count as usize, fault)
            .expect("the name and the count were checked");
        (session, barrier)
    }

    /// Enters and leaves. Whether it came to that.
    async fn round(&mut self) -> bool {
        let (session, barrier) = self.open().await;
        let entered = self.enter(&session, &barrier).await;
        if entered {
            self.actor.think(self.think_ms).await;
            let operation = self.actor.invoke("leave", With::certainty(&session));
            match barrier.leave().await {
                Ok(()) => operation.ok((), Evidence::NONE),
                Err(error) => operation.failed(&error, ()),
            }
        } else {
            self.actor.back_off().await;
        }
        self.with = Some((session, barrier));
        entered
    }

    async fn enter(&mut self, session: &Session, barrier: &DoubleBarrier) -> bool {
        let gives_up = self.actor.rng().random_bool(0.1);
        let patience = match gives_up {
            true => Duration::from_millis(self.actor.rng().random_range(1..=300)),
            false => Duration::from_secs(3_600),
        };
        let operation = self.actor.invoke("enter", With::lease(session));
        match runtime::timeout(patience, barrier.enter()).await {
            Ok(Ok(())) => {
                operation.ok((), Evidence::NONE);
                return true;
            }
            Ok(Err(error)) if error.is_too_many_clients() => operation.failed(&error, ()),
            // It may have been counted before.
            Ok(Err(error)) => operation.unknown(&error.to_string()),
            Err(runtime::Elapsed) => operation.unknown("given up"),
        }
        false
    }

    async fn close(self) {
        if let Some((session, _)) = self.with {
            // It ends by itself if this fails.
            let _ = session.close().await;
        }
    }
}
