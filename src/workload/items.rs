//! What the workloads of the queues without claims have in common: producers,
//! consumers, and a driver that stops the consumers and drains the queue. Why it is
//! done so is said in the workload [`queue`](super::queue).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::history::Evidence;
use etcd_sim::fault::ClientId;
use rand::RngExt as _;
use serde::Serialize;

use super::beside::settle_beside;
use super::{Actor, Ended, Parameter, Parameters, Stage};
use crate::{Error, runtime};

pub(super) const PRODUCERS: Parameter = Parameter {
    name: "producers",
    about: "clients that enqueue",
    bounds: (1, 1_000),
    drawn: (1, 4),
    live: 5,
};
pub(super) const CONSUMERS: Parameter = Parameter {
    name: "consumers",
    about: "clients that dequeue",
    bounds: (1, 1_000),
    drawn: (1, 4),
    live: 5,
};
pub(super) const ITEMS: Parameter = Parameter {
    name: "items",
    about: "items that each producer enqueues",
    bounds: (0, 1_000_000),
    drawn: (5, 40),
    live: 200,
};
/// How a value begins that tells a consumer to stop.
pub(super) const STOP: &str = "stop-";

/// A queue to put values into and to take them from.
pub(super) trait Line: Sized + Send + Sync + 'static {
    /// An item, as it is recorded.
    type Item: Serialize + Send + Sync;

    /// The queue of the run, with the mistakes that were put in.
    fn open(stage: &Stage, actor: &Actor) -> Result<Self, Error>;

    /// Fills queues of which the history knows nothing, for the recipe to mistake.
    fn fill_neighbours(
        stage: &Stage,
        driver: &Actor,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The item that a value is enqueued as.
    fn item(value: String, actor: &mut Actor, parameters: &Parameters) -> Self::Item;

    /// Returns the revision.
    fn put(&self, item: &Self::Item) -> impl Future<Output = Result<i64, Error>> + Send;

    fn take(&self) -> impl Future<Output = Result<Taken<Self::Item>, Error>> + Send;

    fn try_take(&self) -> impl Future<Output = Result<Option<Taken<Self::Item>>, Error>> + Send;

    fn is_empty(&self) -> impl Future<Output = Result<bool, Error>> + Send;
}

/// An item that was taken.
pub(super) struct Taken<I> {
    pub(super) item: I,
    /// Whether it tells the consumer to stop.
    pub(super) is_stop: bool,
    pub(super) evidence: Evidence,
}

pub(super) fn clients(parameters: &Parameters) -> u32 {
    parameters.count("producers") + parameters.count("consumers")
}

pub(super) fn lasts_ms(parameters: &Parameters) -> u64 {
    300 + parameters.get("items") * parameters.get("think_ms")
}

pub(super) async fn run<L: Line>(stage: &Stage, parameters: &Parameters) -> Result<Ended, Error> {
    let producers = 0..parameters.count("producers");
    let consumers = producers.end..clients(parameters);
    start_producers::<L>(stage, producers.clone(), parameters);
    start_consumers::<L>(stage, consumers.clone(), parameters);

    let mut driver = stage.actor(consumers.end).await?;
    let line = L::open(stage, &driver)?;
    L::fill_neighbours(stage, &driver).await?;
    let stops = async {
        stage.finished(|client| producers.contains(&client)).await;
        while stage.awaits_restart() || stage.running().iter().any(|c| consumers.contains(c)) {
            hand_out_stop(&mut driver, &line, parameters).await;
        }
    };
    let ended = match settle_beside(stage, stops).await {
        Ended::Finished => drain(stage, &mut driver, &line).await,
        ended => ended,
    };
    Ok(ended)
}

fn start_producers<L: Line>(stage: &Stage, producers: Range<ClientId>, parameters: &Parameters) {
    let (items, think_ms) = (parameters.get("items"), parameters.get("think_ms"));
    for client in producers {
        let stage_of_client = stage.clone();
        let parameters = parameters.clone();
        // Outlives the process: a restarted producer goes on with the next item.
        let next = Arc::new(AtomicU64::new(0));
        stage.start(client, move |mut actor| {
            let (stage, next) = (stage_of_client.clone(), Arc::clone(&next));
            let parameters = parameters.clone();
            async move {
                let line = L::open(&stage, &actor).expect("the name was checked");
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= items {
                        return;
                    }
                    let item = L::item(format!("{client}-{number}"), &mut actor, &parameters);
                    enqueue(&mut actor, &line, item).await;
                    actor.think(think_ms).await;
                }
            }
        });
    }
}

fn start_consumers<L: Line>(stage: &Stage, consumers: Range<ClientId>, parameters: &Parameters) {
    let think_ms = parameters.get("think_ms");
    for client in consumers {
        let stage_of_client = stage.clone();
        stage.start(client, move |mut actor| {
            let stage = stage_of_client.clone();
            async move {
                let line = L::open(&stage, &actor).expect("the name was checked");
                while dequeue(&mut actor, &line).await != Some(Next::Stop) {
                    actor.think(think_ms).await;
                }
            }
        });
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Work,
    Stop,
}

async fn enqueue<L: Line>(actor: &mut Actor, line: &L, item: L::Item) {
    let operation = actor.invoke("enqueue", &item);
    match line.put(&item).await {
        Ok(revision) => operation.ok(&item, Evidence::revision(revision)),
        Err(error) => {
            operation.failed(&error, &item);
            actor.back_off().await;
        }
    }
}

/// Takes one item; none when that failed.
async fn dequeue<L: Line>(actor: &mut Actor, line: &L) -> Option<Next> {
    let operation = actor.invoke("dequeue", ());
    match line.take().await {
        Ok(taken) => {
            operation.ok(&taken.item, taken.evidence);
            Some(if taken.is_stop {
                Next::Stop
            } else {
                Next::Work
            })
        }
        Err(error) => {
            operation.failed(&error, ());
            actor.back_off().await;
            None
        }
    }
}

/// Tells one consumer to stop, unless the queue still has an item for it.
async fn hand_out_stop<L: Line>(driver: &mut Actor, line: &L, parameters: &Parameters) {
    let pause = driver.rng().random_range(1..=50);
    runtime::sleep(Duration::from_millis(pause)).await;
    if matches!(line.is_empty().await, Ok(true)) {
        let number: u64 = driver.rng().random();
        let item = L::item(format!("{STOP}{number:016x}"), driver, parameters);
        enqueue(driver, line, item).await;
    }
}

/// Takes what is left, until the queue is empty.
async fn drain<L: Line>(stage: &Stage, driver: &mut Actor, line: &L) -> Ended {
    let drained = stage.in_time(async { while !try_dequeue(driver, line).await {} });
    match drained.await {
        Some(()) => Ended::Finished,
        None => Ended::Stuck,
    }
}

/// Takes one item; true when there is none left.
async fn try_dequeue<L: Line>(driver: &mut Actor, line: &L) -> bool {
    let operation = driver.invoke("dequeue", ());
    match line.try_take().await {
        Ok(Some(taken)) => {
            operation.ok(&taken.item, taken.evidence);
            false
        }
        Ok(None) => {
            operation.ok((), Evidence::NONE);
            true
        }
        Err(error) => {
            operation.failed(&error, ());
            driver.back_off().await;
            false
        }
    }
}
