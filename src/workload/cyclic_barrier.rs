//! Participants that wait for each other at a cyclic barrier, round after round.
//!
//! There may be more of them than places in a round. Now and then one gives up, or
//! its session is closed while it waits; what a dead client's lease still holds is
//! revoked when the client comes back. When some have finished or died, helpers
//! fill the rounds of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::Model;
use etcd_checker::history::Evidence;
use rand::RngExt as _;
use serde::Serialize;

use super::beside::{COUNT, EXTRA, ROUNDS, THINK_MS, With, open_session, settle_with_help};
use super::{Actor, Bug, Ended, OpenOperation, Parameter, Parameters, Running, Stage, Workload};
use crate::cyclic_barrier::{CyclicBarrier, CyclicBarrierFault, Round};
use crate::runtime::{self, Either};
use crate::session::Session;
use crate::{Error, error};

/// See the [module](self).
pub struct CyclicBarrierWorkload;

const NO_GENERATION: Bug = Bug {
    name: "cyclic-barrier-no-generation",
    about: "who comes again counts those who have not gone from the round before",
};
const COUNTS_THE_DEAD: Bug = Bug {
    name: "cyclic-barrier-counts-dead",
    about: "participants are not attached to their lease: they count when they are dead",
};

const TTL: Duration = Duration::from_secs(3);

impl Workload for CyclicBarrierWorkload {
    fn name(&self) -> &'static str {
        "cyclic-barrier"
    }

    fn about(&self) -> &'static str {
        "participants wait for each other at a barrier, round after round, and some of them die"
    }

    fn model(&self) -> Model {
        Model::CyclicBarrier
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter {
                bounds: (1, 100),
                ..COUNT
            },
            Parameter {
                drawn: (0, 1),
                live: 1,
                ..EXTRA
            },
            Parameter {
                drawn: (3, 15),
                live: 200,
                ..ROUNDS
            },
            THINK_MS,
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        &[NO_GENERATION, COUNTS_THE_DEAD]
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("count") + parameters.count("extra")
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        500 + parameters.get("rounds") * (20 + parameters.get("think_ms"))
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        let clients = self.clients(&parameters);
        Box::pin(async move { run(&stage, clients, &parameters).await })
    }
}

async fn run(stage: &Stage, clients: u32, parameters: &Parameters) -> Result<Ended, Error> {
    let (rounds, think_ms) = (parameters.get("rounds"), parameters.get("think_ms"));
    let count = parameters.count("count");
    for client in 0..clients {
        let stage_of_client = stage.clone();
        // Both outlive the process.
        let done = Arc::new(AtomicU64::new(0));
        let lease = Arc::new(AtomicI64::new(0));
        stage.start(client, move |actor| {
            let (stage, done) = (stage_of_client.clone(), Arc::clone(&done));
            let lease = Arc::clone(&lease);
            async move {
                let mut party = Party::new(stage, actor, count, lease);
                while done.load(Ordering::Relaxed) < rounds {
                    if party.round().await {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    party.actor.think(think_ms).await;
                }
                party.end_session().await;
            }
        });
    }
    let mut helpers = Vec::new();
    for helper in 1..count {
        let actor = stage.actor(clients + helper).await?;
        helpers.push(Party::new(stage.clone(), actor, count, Arc::default()));
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
    /// Of the last session; 0 before there was one.
    lease: Arc<AtomicI64>,
    with: Option<(Session, CyclicBarrier)>,
}

#[derive(Serialize)]
struct Lease {
    lease: i64,
}

#[derive(Serialize)]
struct Told {
    round: u64,
    index: usize,
}

impl Party {
    fn new(stage: Stage, actor: Actor, count: u32, lease: Arc<AtomicI64>) -> Self {
        Self {
            stage,
            actor,
            count,
            lease,
            with: None,
        }
    }

    async fn open(&mut self) -> (Session, CyclicBarrier) {
        if let Some((session, barrier)) = self.with.take()
            && session.is_alive()
        {
            return (session, barrier);
        }
        self.end_session().await;
        let session = open_session(&mut self.actor, TTL).await;
        self.lease.store(session.lease_id(), Ordering::Relaxed);
        let faults = [
            (NO_GENERATION, CyclicBarrierFault::NoGeneration),
            (COUNTS_THE_DEAD, CyclicBarrierFault::CountsTheDead),
        ];
        let is_put_in = |(bug, _): &(Bug, _)| self.stage.has_bug(bug.name);
        let fault = faults.into_iter().find(is_put_in).map(|(_, fault)| fault);
        let name = format!("{}cyclic", self.stage.prefix());
        let barrier = CyclicBarrier::with_fault(&session, name, self.count as usize, fault)
            .expect("the name and the count were checked");
        (session, barrier)
    }

    /// Revokes the lease of the last session, if there is one.
    async fn end_session(&mut self) {
        let lease = self.lease.swap(0, Ordering::Relaxed);
        if lease == 0 {
            return;
        }
        let operation = self.actor.invoke("close", Lease { lease });
        let mut leases = self.actor.etcd().lease_client();
        let revoked = runtime::timeout(Duration::from_secs(2), leases.revoke(lease)).await;
        match revoked {
            Ok(Ok(_)) => operation.ok((), Evidence::NONE),
            Ok(Err(error)) if error::is_lease_not_found(&error) => {
                operation.ok((), Evidence::NONE);
            }
            _ => operation.unknown("given up"),
        }
    }

    async fn close(&mut self, session: &Session) {
        let operation = self.actor.invoke("close", With::lease(session));
        match session.close().await {
            Ok(()) => {
                self.lease.store(0, Ordering::Relaxed);
                operation.ok((), Evidence::NONE);
            }
            Err(error) => operation.unknown(&error.to_string()),
        }
    }

    /// Waits for one round. Whether it came to that.
    async fn round(&mut self) -> bool {
        let (session, barrier) = self.open().await;
        let gives_up = self.actor.rng().random_bool(0.2);
        let patience = match gives_up {
            true => Duration::from_millis(self.actor.rng().random_range(1..=200)),
            false => Duration::from_secs(3_600),
        };
        let closes = self.actor.rng().random_bool(0.5);
        let operation = self.actor.invoke("wait", With::lease(&session));
        let mut waiting = Box::pin(barrier.wait());
        let done = match runtime::race(waiting.as_mut(), runtime::sleep(patience)).await {
            Either::Left(result) => record(operation, result),
            Either::Right(()) => {
                if closes {
                    // What it holds is left to the end of its lease.
                    self.close(&session).await;
                }
                operation.unknown("given up");
                false
            }
        };
        drop(waiting);
        self.with = Some((session, barrier));
        if !done {
            self.actor.back_off().await;
        }
        done
    }
}

/// Records how a wait ended. An error leaves open whether it had been counted.
fn record(operation: OpenOperation, result: Result<Round, Error>) -> bool {
    match result {
        Ok(Round { number, index }) => {
            let told = Told {
                round: number,
                index,
            };
            operation.ok(told, Evidence::NONE);
            true
        }
        Err(error) => {
            operation.unknown(&error.to_string());
            false
        }
    }
}
