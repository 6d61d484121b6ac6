//! Producers and consumers of one reliable queue.
//!
//! Producers enqueue values that occur once, some in batches. Consumers claim,
//! work for a while, and then acknowledge, give back, or drop what they have; some
//! work longer than their lease may live while they stand still. When all are done
//! the driver acknowledges what is left until the queue is empty: what was lost
//! shows in its length, and what is held for ever by a consumer that died shows as
//! a claim that does not end.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::Model;
use etcd_checker::history::Evidence;
use etcd_sim::fault::ClientId;
use rand::RngExt as _;

use super::beside::settle_beside;
use super::items::STOP;
use super::{Actor, Bug, Ended, Parameter, Parameters, Running, Stage, Workload};
use crate::reliable_queue::{Claim, ReliableQueue, ReliableQueueFault, ReliableQueueOptions};
use crate::session::{Session, SessionOptions};
use crate::{Error, runtime};

/// See the [module](self).
pub struct ReliableQueueWorkload;

const WITHOUT_LEASE: Bug = Bug {
    name: "reliable-claim-without-lease",
    about: "claims are not attached to a lease: those of a consumer that dies stay for ever",
};
const UNGUARDED: Bug = Bug {
    name: "reliable-acknowledge-unguarded",
    about: "an acknowledgement deletes the item without asking whether the claim is still its own",
};
const FORGETS: Bug = Bug {
    name: "reliable-forgotten-claim",
    about: "a claim whose answer was lost is tried anew without finding out what became of it",
};
const LOST_RETURN: Bug = Bug {
    name: "reliable-lost-return",
    about: "a waiting consumer looks out for new items only, not for those that come back",
};

impl Workload for ReliableQueueWorkload {
    fn name(&self) -> &'static str {
        "reliable-queue"
    }

    fn about(&self) -> &'static str {
        "consumers claim items, die, stand still, give back or acknowledge; the queue is drained at the end"
    }

    fn model(&self) -> Model {
        Model::ReliableQueue
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter {
                name: "producers",
                about: "clients that enqueue",
                bounds: (1, 1_000),
                drawn: (1, 3),
                live: 3,
            },
            Parameter {
                name: "consumers",
                about: "clients that claim",
                bounds: (1, 1_000),
                drawn: (1, 4),
                live: 5,
            },
            Parameter {
                name: "items",
                about: "items that each producer enqueues",
                bounds: (0, 1_000_000),
                drawn: (5, 25),
                live: 100,
            },
            Parameter {
                name: "work_ms",
                about: "the longest work on an item, in milliseconds",
                bounds: (0, 60_000),
                drawn: (0, 100),
                live: 5,
            },
            Parameter {
                name: "ttl_s",
                about: "the time to live of the consumers' leases, in seconds",
                bounds: (1, 600),
                drawn: (2, 3),
                live: 5,
            },
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        &[WITHOUT_LEASE, UNGUARDED, FORGETS, LOST_RETURN]
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("producers") + parameters.count("consumers")
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        300 + parameters.get("items") * (10 + parameters.get("work_ms"))
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        Box::pin(async move { run(&stage, &parameters).await })
    }
}

async fn run(stage: &Stage, parameters: &Parameters) -> Result<Ended, Error> {
    let producers = 0..parameters.count("producers");
    let consumers = producers.end..producers.end + parameters.count("consumers");
    start_producers(stage, producers.clone(), parameters);
    start_consumers(stage, consumers.clone(), parameters);

    let mut driver = stage.actor(consumers.end).await?;
    let stops = async {
        stage.finished(|client| producers.contains(&client)).await;
        let mut queue = open(stage, &mut driver, parameters).await;
        while stage.awaits_restart() || stage.running().iter().any(|c| consumers.contains(c)) {
            if !queue.session().is_alive() {
                queue = open(stage, &mut driver, parameters).await;
            }
            hand_out_stop(&mut driver, &queue).await;
        }
    };
    let ended = match settle_beside(stage, stops).await {
        Ended::Finished => drain(stage, &mut driver, parameters).await,
        ended => ended,
    };
    Ok(ended)
}

/// A new session and the queue on it; tried until it works.
async fn open(stage: &Stage, actor: &mut Actor, parameters: &Parameters) -> ReliableQueue {
    let ttl = Duration::from_secs(parameters.get("ttl_s"));
    let faults = [
        (WITHOUT_LEASE, ReliableQueueFault::ClaimWithoutLease),
        (UNGUARDED, ReliableQueueFault::AcknowledgeUnguarded),
        (FORGETS, ReliableQueueFault::ForgetUnknownClaim),
        (LOST_RETURN, ReliableQueueFault::WaitForPutsOnly),
    ];
    let options = faults
        .iter()
        .filter(|(bug, _)| stage.has_bug(bug.name))
        .fold(ReliableQueueOptions::new(), |options, (_, fault)| {
            options.fault(*fault)
        });
    loop {
        let session = SessionOptions::new().ttl(ttl);
        match Session::with_options(actor.etcd(), session).await {
            Ok(session) => {
                let name = format!("{}queue", stage.prefix());
                return ReliableQueue::with_options(&session, name, options)
                    .expect("the name was checked");
            }
            Err(error) => {
                tracing::debug!(%error, "no session");
                actor.back_off().await;
            }
        }
    }
}

fn start_producers(stage: &Stage, producers: Range<ClientId>, parameters: &Parameters) {
    let items = parameters.get("items");
    for client in producers {
        let stage_of_client = stage.clone();
        let parameters = parameters.clone();
        // Outlives the process: a restarted producer goes on with the next item.
        let next = Arc::new(AtomicU64::new(0));
        stage.start(client, move |mut actor| {
            let (stage, next) = (stage_of_client.clone(), Arc::clone(&next));
            let parameters = parameters.clone();
            async move {
                let mut queue = open(&stage, &mut actor, &parameters).await;
                loop {
                    let batch = match actor.rng().random_range(0..4) {
                        0 => actor.rng().random_range(2..=5),
                        _ => 1,
                    };
                    let first = next.fetch_add(batch, Ordering::Relaxed);
                    if first >= items {
                        return;
                    }
                    if !queue.session().is_alive() {
                        queue = open(&stage, &mut actor, &parameters).await;
                    }
                    let numbers = first..(first + batch).min(items);
                    let values = numbers.map(|item| format!("{client}-{item}")).collect();
                    enqueue(&mut actor, &queue, values).await;
                    actor.think(20).await;
                }
            }
        });
    }
}

fn start_consumers(stage: &Stage, consumers: Range<ClientId>, parameters: &Parameters) {
    for client in consumers {
        let stage_of_client = stage.clone();
        let parameters = parameters.clone();
        stage.start(client, move |mut actor| {
            let stage = stage_of_client.clone();
            let parameters = parameters.clone();
            async move {
                let mut queue = open(&stage, &mut actor, &parameters).await;
                loop {
                    if !queue.session().is_alive() {
                        queue = open(&stage, &mut actor, &parameters).await;
                    }
                    let limit = match actor.rng().random_range(0..5) {
                        0 => 3,
                        _ => 1,
                    };
                    let mut stop = false;
                    for claim in claim(&mut actor, &queue, limit).await {
                        stop |= claim.item.value.starts_with(STOP.as_bytes());
                        work_on(&mut actor, &queue, claim, &parameters).await;
                    }
                    if stop {
                        return;
                    }
                }
            }
        });
    }
}

/// Works on an item, and is done with it, mostly.
async fn work_on(actor: &mut Actor, queue: &ReliableQueue, claim: Claim, parameters: &Parameters) {
    actor.think(parameters.get("work_ms")).await;
    if actor.rng().random_range(0..20) == 0 {
        // Its lease ends under its hands, as that of one who stands still too long.
        let lease = queue.session().lease_id();
        let mut leases = actor.etcd().lease_client();
        let revoked = runtime::timeout(Duration::from_secs(2), leases.revoke(lease));
        // One that is lost on the way changes nothing.
        let _ = revoked.await;
        actor.think(100).await;
    }
    if claim.item.value.starts_with(STOP.as_bytes()) {
        return acknowledge(actor, claim).await;
    }
    match actor.rng().random_range(0..12) {
        0 => release(actor, claim).await,
        // Forgotten: given back in the background.
        1 => drop(claim),
        _ => acknowledge(actor, claim).await,
    }
}

async fn enqueue(actor: &mut Actor, queue: &ReliableQueue, values: Vec<String>) {
    let operation = actor.invoke("enqueue", &values);
    let sent = values.iter().map(String::as_bytes);
    match queue.enqueue_batch(sent).await {
        Ok(enqueued) => {
            let revision = enqueued.first().map_or(0, |one| one.revision);
            operation.ok(&values, Evidence::revision(revision));
        }
        Err(error) => {
            operation.failed(&error, &values);
            actor.back_off().await;
        }
    }
}

fn value_of(claim: &Claim) -> String {
    String::from_utf8_lossy(&claim.item.value).into_owned()
}

async fn claim(actor: &mut Actor, queue: &ReliableQueue, limit: usize) -> Vec<Claim> {
    let operation = actor.invoke("claim", limit);
    let claimed = if limit == 1 {
        queue.claim().await.map(|claim| vec![claim])
    } else {
        queue.claim_batch(limit).await
    };
    match claimed {
        Ok(claims) => {
            let seen = claims.iter().map(|c| (value_of(c), c.item.revision));
            operation.ok(seen.collect::<Vec<_>>(), Evidence::NONE);
            claims
        }
        Err(error) => {
            operation.failed(&error, ());
            actor.back_off().await;
            Vec::new()
        }
    }
}

async fn acknowledge(actor: &mut Actor, claim: Claim) {
    let what = (value_of(&claim), claim.item.revision);
    let operation = actor.invoke("acknowledge", &what);
    match claim.acknowledge().await {
        Ok(Some(revision)) => operation.ok(&what, Evidence::revision(revision)),
        Ok(None) => operation.ok(&what, Evidence::NONE),
        Err(error) => operation.failed(&error, &what),
    }
}

async fn release(actor: &mut Actor, claim: Claim) {
    let what = (value_of(&claim), claim.item.revision);
    let operation = actor.invoke("release", &what);
    match claim.release().await {
        Ok(()) => operation.ok(&what, Evidence::NONE),
        Err(error) => operation.failed(&error, &what),
    }
}

/// Tells one consumer to stop, unless the queue still has an item for it.
async fn hand_out_stop(driver: &mut Actor, queue: &ReliableQueue) {
    let pause = driver.rng().random_range(1..=50);
    runtime::sleep(Duration::from_millis(pause)).await;
    if matches!(queue.is_empty().await, Ok(true)) {
        let number: u64 = driver.rng().random();
        enqueue(driver, queue, vec![format!("{STOP}{number:016x}")]).await;
    }
}

/// Acknowledges what is left, until the queue is empty: what dead consumers held
/// comes back with the end of their leases.
async fn drain(stage: &Stage, driver: &mut Actor, parameters: &Parameters) -> Ended {
    let drained = stage.in_time(async {
        let mut queue = open(stage, driver, parameters).await;
        loop {
            if !queue.session().is_alive() {
                queue = open(stage, driver, parameters).await;
            }
            match length(driver, &queue).await {
                Some(0) => return,
                Some(_) => {
                    for claim in claim(driver, &queue, 1).await {
                        acknowledge(driver, claim).await;
                    }
                }
                None => {}
            }
        }
    });
    match drained.await {
        Some(()) => Ended::Finished,
        None => Ended::Stuck,
    }
}

async fn length(driver: &mut Actor, queue: &ReliableQueue) -> Option<u64> {
    let operation = driver.invoke("length", ());
    match queue.len().await {
        Ok(length) => {
            operation.ok(length, Evidence::NONE);
            Some(length)
        }
        Err(error) => {
            operation.failed(&error, ());
            driver.back_off().await;
            None
        }
    }
}
