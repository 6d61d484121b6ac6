//! Holders and waiters of one barrier.
//!
//! Holders raise it, with a lease or without, and take it down; waiters wait, again
//! and again. In some runs all holds have a lease and nobody takes down what another
//! one raised: what a dead holder leaves behind then has to fall by itself. In the
//! others the barrier is taken down at the end until nobody waits any more.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::Model;
use etcd_checker::history::Evidence;
use etcd_sim::fault::ClientId;
use rand::RngExt as _;

use super::beside::{THINK_MS, With, open_session, settle_beside};
use super::{Actor, Bug, Ended, Parameter, Parameters, Running, Stage, Workload};
use crate::barrier::{Barrier, BarrierFault, BarrierOptions};
use crate::hold::Released;
use crate::session::Session;
use crate::{Error, runtime};

/// See the [module](self).
pub struct BarrierWorkload;

const DEAD_WATCH: Bug = Bug {
    name: "go-barrier-wait",
    about: "a wait takes the end of its watch for a release, as etcd's Go recipe",
};
const FROM_NOW: Bug = Bug {
    name: "barrier-wait-from-now",
    about: "a wait watches from \"now\", not from the revision at which it saw the barrier",
};
const OUTLIVES: Bug = Bug {
    name: "barrier-outlives-holder",
    about: "a barrier that is held with a session is not attached to its lease",
};

const TTL: Duration = Duration::from_secs(3);

impl Workload for BarrierWorkload {
    fn name(&self) -> &'static str {
        "barrier"
    }

    fn about(&self) -> &'static str {
        "holders raise a barrier and take it down, with leases or without, while waiters wait"
    }

    fn model(&self) -> Model {
        Model::Barrier
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter {
                name: "holders",
                about: "clients that raise the barrier",
                bounds: (1, 1_000),
                drawn: (1, 3),
                live: 2,
            },
            Parameter {
                name: "waiters",
                about: "clients that wait",
                bounds: (1, 1_000),
                drawn: (1, 4),
                live: 5,
            },
            Parameter {
                name: "rounds",
                about: "how often each of them does so",
                bounds: (0, 1_000_000),
                drawn: (4, 20),
                live: 100,
            },
            Parameter {
                name: "leases_only",
                about: "1: every hold has a lease, and nobody takes down another one's barrier",
                bounds: (0, 1),
                drawn: (0, 1),
                live: 0,
            },
            THINK_MS,
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        &[DEAD_WATCH, FROM_NOW, OUTLIVES]
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("holders") + parameters.count("waiters")
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        300 + parameters.get("rounds") * parameters.get("think_ms")
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        Box::pin(async move { run(&stage, &parameters).await })
    }
}

async fn run(stage: &Stage, parameters: &Parameters) -> Result<Ended, Error> {
    let holders = 0..parameters.count("holders");
    let waiters = holders.end..holders.end + parameters.count("waiters");
    start_holders(stage, holders.clone(), parameters);
    start_waiters(stage, waiters.clone(), parameters);
    let mut driver = stage.actor(waiters.end).await?;
    let barrier = open(stage, &driver)?;
    let leases_only = parameters.get("leases_only") == 1;
    let sweep = async {
        if leases_only {
            return;
        }
        stage.finished(|client| holders.contains(&client)).await;
        loop {
            let pause = driver.rng().random_range(1..=50);
            runtime::sleep(Duration::from_millis(pause)).await;
            release(&mut driver, &barrier).await;
        }
    };
    Ok(settle_beside(stage, sweep).await)
}

fn open(stage: &Stage, actor: &Actor) -> Result<Barrier, Error> {
    let faults = [
        (DEAD_WATCH, BarrierFault::DeadWatchIsRelease),
        (FROM_NOW, BarrierFault::WaitFromNow),
        (OUTLIVES, BarrierFault::OutlivesItsHolder),
    ];
    let fault = faults.into_iter().find(|(bug, _)| stage.has_bug(bug.name));
    let options = BarrierOptions::new()
        .request_deadline(Duration::from_secs(2))
        .fault(fault.map(|(_, fault)| fault));
    let name = format!("{}barrier", stage.prefix());
    Barrier::with_options(actor.etcd(), name, options)
}

fn start_holders(stage: &Stage, holders: Range<ClientId>, parameters: &Parameters) {
    let (rounds, think_ms) = (parameters.get("rounds"), parameters.get("think_ms"));
    let leases_only = parameters.get("leases_only") == 1;
    for client in holders {
        let stage_of_client = stage.clone();
        // Outlives the process: a restarted holder goes on with the next round.
        let next = Arc::new(AtomicU64::new(0));
        stage.start(client, move |actor| {
            let (stage, next) = (stage_of_client.clone(), Arc::clone(&next));
            async move {
                let mut holder = Holder {
                    barrier: open(&stage, &actor).expect("the name was checked"),
                    actor,
                    session: None,
                    think_ms,
                };
                while next.fetch_add(1, Ordering::Relaxed) < rounds {
                    if leases_only || holder.actor.rng().random_bool(0.3) {
                        holder.hold_with_lease().await;
                    } else {
                        holder.hold().await;
                    }
                    holder.actor.think(think_ms).await;
                }
                if let Some(session) = holder.session {
                    // It ends by itself if this fails.
                    let _ = session.close().await;
                }
            }
        });
    }
}

struct Holder {
    barrier: Barrier,
    actor: Actor,
    session: Option<Session>,
    think_ms: u64,
}

impl Holder {
    /// Without a lease: released, also if nobody knows whether it stands.
    async fn hold(&mut self) {
        let operation = self.actor.invoke("hold", ());
        match self.barrier.hold().await {
            Ok(held) => {
                operation.ok(held, Evidence::NONE);
                if !held {
                    return;
                }
            }
            Err(error) => {
                operation.failed(&error, ());
                self.actor.back_off().await;
            }
        }
        self.actor.think(self.think_ms).await;
        release(&mut self.actor, &self.barrier).await;
    }

    /// With a lease: released, dropped, or left to the end of the session.
    async fn hold_with_lease(&mut self) {
        let session = match self.session.take().filter(Session::is_alive) {
            Some(session) => session,
            None => open_session(&mut self.actor, TTL).await,
        };
        let operation = self.actor.invoke("hold", With::lease(&session));
        let told = self.barrier.hold_with_session_and_tell(&session).await;
        let (held, is_unsettled) = match told {
            Ok(told) => told,
            Err(error) => {
                operation.unknown(&error.to_string());
                return self.actor.back_off().await;
            }
        };
        operation.ok(held.is_some(), Evidence::NONE);
        if is_unsettled {
            // The request was sent more than once. One that is late raises the
            // barrier once more, or although this one found it standing, until the
            // background finds it.
            let late = self.actor.invoke("hold", With::lease(&session));
            late.unknown("a request that was given up may still arrive");
            let found = self.actor.invoke("release", With::lease(&session));
            found.unknown("the background takes down what a late request has raised");
        }
        self.actor.think(self.think_ms).await;
        let Some(held) = held else {
            self.session = Some(session);
            return;
        };
        match self.actor.rng().random_range(0..4) {
            0 => {
                // The guard must not clean up before the session is closed.
                let _ = session.close().await;
                drop(held);
            }
            1 => {
                drop(held);
                // It falls by itself, so nothing may be said of this lease later.
                return;
            }
            _ => {
                let certain = session.is_alive().then(|| With::lease(&session));
                let operation = self.actor.invoke("release", certain);
                match held.release_and_tell().await {
                    Ok(Released::Now) => operation.ok(true, Evidence::NONE),
                    // Somebody else may have taken it down meanwhile.
                    Ok(Released::Before) => operation.unknown("gone after an answer was lost"),
                    Err(error) if error.is_not_held() => operation.failed(&error, ()),
                    // The background goes on.
                    Err(error) => operation.unknown(&error.to_string()),
                }
            }
        }
        self.session = Some(session);
    }
}

async fn release(actor: &mut Actor, barrier: &Barrier) {
    let operation = actor.invoke("release", ());
    match barrier.release().await {
        Ok(released) => operation.ok(released, Evidence::NONE),
        Err(error) => {
            operation.failed(&error, ());
            actor.back_off().await;
        }
    }
}

fn start_waiters(stage: &Stage, waiters: Range<ClientId>, parameters: &Parameters) {
    let (rounds, think_ms) = (parameters.get("rounds"), parameters.get("think_ms"));
    for client in waiters {
        let stage_of_client = stage.clone();
        let next = Arc::new(AtomicU64::new(0));
        stage.start(client, move |mut actor| {
            let (stage, next) = (stage_of_client.clone(), Arc::clone(&next));
            async move {
                let barrier = open(&stage, &actor).expect("the name was checked");
                while next.fetch_add(1, Ordering::Relaxed) < rounds {
                    let operation = actor.invoke("wait", ());
                    match barrier.wait().await {
                        Ok(()) => operation.ok((), Evidence::NONE),
                        Err(error) => {
                            operation.failed(&error, ());
                            actor.back_off().await;
                        }
                    }
                    actor.think(think_ms).await;
                }
            }
        });
    }
}
