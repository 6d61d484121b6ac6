//! Producers and consumers of one priority queue.
//!
//! As the [`queue`](super::queue) workload, with a priority for each value: few
//! priorities, so that there are ties, and enough that something better often
//! arrives while a consumer makes up its mind. A queue with a longer name and one
//! that lies where this one keeps its books have items of their own, which nobody
//! here may ever see.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::Model;
use etcd_checker::history::Evidence;
use etcd_sim::fault::ClientId;
use rand::RngExt as _;

use super::queue::{STOP, settle_while};
use super::{Actor, Bug, Ended, LIVENESS_BOUND, Parameter, Parameters, Running, Stage, Workload};
use crate::priority_queue::{
    PriorityItem, PriorityQueue, PriorityQueueFault, PriorityQueueOptions,
};
use crate::{Error, runtime};

/// See the [module](self).
pub struct PriorityQueueWorkload;

const GO_DEQUEUE: Bug = Bug {
    name: "go-priority-dequeue",
    about: "a dequeue that waited takes the next item that is put, as in Go, even if a better one lies in the queue",
};
const STALE_MINIMUM: Bug = Bug {
    name: "priority-stale-minimum",
    about: "a dequeue takes the best of the items it has read, though something better may have arrived",
};
const OVERWRITES: Bug = Bug {
    name: "priority-enqueue-overwrites",
    about: "an enqueue takes the next sequence number without asking whether it is free",
};
const LOST_ENQUEUE: Bug = Bug {
    name: "priority-lost-enqueue",
    about: "an enqueue whose answer was lost is reported as done",
};

impl Workload for PriorityQueueWorkload {
    fn name(&self) -> &'static str {
        "priority-queue"
    }

    fn about(&self) -> &'static str {
        "producers and blocking consumers share one priority queue, which is drained at the end"
    }

    fn model(&self) -> Model {
        Model::PriorityQueue
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter {
                name: "producers",
                about: "clients that enqueue",
                bounds: (1, 1_000),
                drawn: (1, 4),
                live: 5,
            },
            Parameter {
                name: "consumers",
                about: "clients that dequeue",
                bounds: (1, 1_000),
                drawn: (1, 4),
                live: 5,
            },
            Parameter {
                name: "items",
                about: "items that each producer enqueues",
                bounds: (0, 1_000_000),
                drawn: (5, 40),
                live: 200,
            },
            Parameter {
                name: "priorities",
                about: "how many priorities there are",
                bounds: (1, 65_536),
                drawn: (1, 6),
                live: 10,
            },
            Parameter {
                name: "think_ms",
                about: "the longest pause of a client between two operations, in milliseconds",
                bounds: (0, 60_000),
                drawn: (0, 60),
                live: 5,
            },
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        &[GO_DEQUEUE, STALE_MINIMUM, OVERWRITES, LOST_ENQUEUE]
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("producers") + parameters.count("consumers")
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        300 + parameters.get("items") * parameters.get("think_ms")
    }

    /// Go's layout keeps the books of a priority queue outside of its name.
    fn prefixes(&self, prefix: &str) -> Vec<String> {
        vec![prefix.to_owned(), format!("__{prefix}")]
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
    let queue = open(stage, &driver)?;
    fill_neighbours(stage, &driver).await?;
    let stops = async {
        stage.finished(|client| producers.contains(&client)).await;
        while stage.awaits_restart() || stage.running().iter().any(|c| consumers.contains(c)) {
            hand_out_stop(&mut driver, &queue, parameters).await;
        }
    };
    let ended = match settle_while(stage, stops).await {
        Ended::Finished => drain(&mut driver, &queue).await,
        ended => ended,
    };
    Ok(ended)
}

fn name(stage: &Stage) -> String {
    format!("{}queue", stage.prefix())
}

fn open(stage: &Stage, actor: &Actor) -> Result<PriorityQueue, Error> {
    let faults = [
        (GO_DEQUEUE, PriorityQueueFault::GoDequeue),
        (STALE_MINIMUM, PriorityQueueFault::StaleMinimum),
        (OVERWRITES, PriorityQueueFault::EnqueueOverwrites),
        (LOST_ENQUEUE, PriorityQueueFault::UnknownEnqueueIsDone),
    ];
    let options = faults
        .iter()
        .filter(|(bug, _)| stage.has_bug(bug.name))
        .fold(PriorityQueueOptions::new(), |options, (_, fault)| {
            options.fault(*fault)
        });
    PriorityQueue::with_options(actor.etcd(), name(stage), options)
}

/// Items of other queues, of which the history knows nothing: the checker calls
/// each that turns up a value that nobody enqueued.
async fn fill_neighbours(stage: &Stage, driver: &Actor) -> Result<(), Error> {
    let mut neighbours = vec![
        format!("{}2", name(stage)),
        format!("{}/nested", name(stage)),
    ];
    if stage.prefix().is_empty() {
        // On a real cluster its own books would be under yet another prefix.
        neighbours.push(format!("__{}", name(stage)));
    }
    for neighbour in neighbours {
        let neighbour = PriorityQueue::new(driver.etcd(), neighbour)?;
        // It may fail under faults; then there is nothing to mistake.
        neighbour.enqueue("of-a-neighbour", 0).await.ok();
    }
    Ok(())
}

fn start_producers(stage: &Stage, producers: Range<ClientId>, parameters: &Parameters) {
    let (items, think_ms) = (parameters.get("items"), parameters.get("think_ms"));
    let priorities = parameters.count("priorities");
    for client in producers {
        let stage_of_client = stage.clone();
        // Outlives the process: a restarted producer goes on with the next item.
        let next = Arc::new(AtomicU64::new(0));
        stage.start(client, move |mut actor| {
            let (stage, next) = (stage_of_client.clone(), Arc::clone(&next));
            async move {
                let queue = open(&stage, &actor).expect("the name was checked");
                loop {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    if item >= items {
                        return;
                    }
                    let priority = draw(&mut actor, priorities);
                    enqueue(&mut actor, &queue, format!("{client}-{item}"), priority).await;
                    actor.think(think_ms).await;
                }
            }
        });
    }
}

fn draw(actor: &mut Actor, priorities: u32) -> u16 {
    let priority = actor.rng().random_range(0..priorities);
    u16::try_from(priority).expect("there are no more than 65 536 priorities")
}

fn start_consumers(stage: &Stage, consumers: Range<ClientId>, parameters: &Parameters) {
    let think_ms = parameters.get("think_ms");
    for client in consumers {
        let stage_of_client = stage.clone();
        stage.start(client, move |mut actor| {
            let stage = stage_of_client.clone();
            async move {
                let queue = open(&stage, &actor).expect("the name was checked");
                while dequeue(&mut actor, &queue).await != Some(Next::Stop) {
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

async fn enqueue(actor: &mut Actor, queue: &PriorityQueue, value: String, priority: u16) {
    let operation = actor.invoke("enqueue", (&value, priority));
    match queue.enqueue(value.as_bytes(), priority).await {
        Ok(enqueued) => operation.ok((&value, priority), Evidence::revision(enqueued.revision)),
        Err(error) => {
            operation.failed(&error, (&value, priority));
            actor.back_off().await;
        }
    }
}

fn seen(item: &PriorityItem) -> (String, u16) {
    let value = String::from_utf8_lossy(&item.value).into_owned();
    (value, item.priority)
}

fn evidence(item: &PriorityItem) -> Evidence {
    Evidence {
        revision: Some(item.revision),
        mod_revision: Some(item.mod_revision),
    }
}

/// Takes one item; none when that failed.
async fn dequeue(actor: &mut Actor, queue: &PriorityQueue) -> Option<Next> {
    let operation = actor.invoke("dequeue", ());
    match queue.dequeue().await {
        Ok(item) => {
            let is_stop = item.value.starts_with(STOP.as_bytes());
            operation.ok(seen(&item), evidence(&item));
            Some(if is_stop { Next::Stop } else { Next::Work })
        }
        Err(error) => {
            operation.failed(&error, ());
            actor.back_off().await;
            None
        }
    }
}

/// Tells one consumer to stop, unless the queue still has an item for it.
async fn hand_out_stop(driver: &mut Actor, queue: &PriorityQueue, parameters: &Parameters) {
    let pause = driver.rng().random_range(1..=50);
    runtime::sleep(Duration::from_millis(pause)).await;
    if matches!(queue.is_empty().await, Ok(true)) {
        let number: u64 = driver.rng().random();
        let priority = draw(driver, parameters.count("priorities"));
        enqueue(driver, queue, format!("{STOP}{number:016x}"), priority).await;
    }
}

/// Takes what is left, until the queue is empty.
async fn drain(driver: &mut Actor, queue: &PriorityQueue) -> Ended {
    let drained = runtime::timeout(LIVENESS_BOUND, async {
        while !try_dequeue(driver, queue).await {}
    });
    match drained.await {
        Ok(()) => Ended::Finished,
        Err(runtime::Elapsed) => Ended::Stuck,
    }
}

/// Takes one item; true when there is none left.
async fn try_dequeue(driver: &mut Actor, queue: &PriorityQueue) -> bool {
    let operation = driver.invoke("dequeue", ());
    match queue.try_dequeue().await {
        Ok(item) => {
            let evidence = item.as_ref().map_or(Evidence::NONE, evidence);
            operation.ok(item.as_ref().map(seen), evidence);
            item.is_none()
        }
        Err(error) => {
            operation.failed(&error, ());
            driver.back_off().await;
            false
        }
    }
}
