//! Producers and consumers of one queue.
//!
//! Producers enqueue values that occur once. Consumers dequeue, blocking, until
//! they meet a value that tells them to stop. Those are handed out one at a
//! time and only while the queue is empty, so a consumer that missed its
//! wake-up is left alone with an item in the queue, and shows. At the end the
//! queue is drained until it answers "empty": an item that was lost is then
//! missing for certain.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_checker::Model;
use etcd_checker::history::Evidence;
use etcd_sim::fault::ClientId;
use rand::RngExt as _;

use super::{Actor, Bug, Ended, LIVENESS_BOUND, Parameter, Parameters, Running, Stage, Workload};
use crate::queue::{Queue, QueueFault, QueueOptions};
use crate::{Error, runtime};

/// See the [module](self).
pub struct QueueWorkload;

const UNGUARDED_DELETE: Bug = Bug {
    name: "queue-unguarded-delete",
    about: "a dequeue deletes the item without comparing its revision: two consumers get it",
};
const LOST_ENQUEUE: Bug = Bug {
    name: "queue-lost-enqueue",
    about: "an enqueue whose answer was lost is reported as done",
};
const LOST_WAKE_UP: Bug = Bug {
    name: "queue-lost-wake-up",
    about: "a dequeue waits from \"now\", not from the revision at which it saw the queue empty",
};

const GO_PREFIX: Bug = Bug {
    name: "go-queue-prefix",
    about: "a dequeue takes every key that begins with the queue's bare name, as in Go: those of queue2 too",
};
const GO_DEAD_WATCH: Bug = Bug {
    name: "go-queue-dead-watch",
    about: "a dequeue whose watch dies never comes back (in Go it panics on the missing event)",
};

impl Workload for QueueWorkload {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn about(&self) -> &'static str {
        "producers and blocking consumers share one FIFO queue, which is drained at the end"
    }

    fn model(&self) -> Model {
        Model::FifoQueue
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
                name: "think_ms",
                about: "the longest pause of a client between two operations, in milliseconds",
                bounds: (0, 60_000),
                drawn: (0, 60),
                live: 5,
            },
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        &[
            UNGUARDED_DELETE,
            LOST_ENQUEUE,
            LOST_WAKE_UP,
            GO_PREFIX,
            GO_DEAD_WATCH,
        ]
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("producers") + parameters.count("consumers")
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        300 + parameters.get("items") * parameters.get("think_ms")
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
    if stage.has_bug(GO_PREFIX.name) {
        // Somebody else's queue, of which this history knows nothing.
        let neighbour = Queue::new(driver.etcd(), format!("{}queue2", stage.prefix()))?;
        for item in 0..3 {
            // It may fail under faults; then there is nothing to eat.
            neighbour.enqueue(format!("of-queue2-{item}")).await.ok();
        }
    }
    let stops = async {
        stage.finished(|client| producers.contains(&client)).await;
        while stage.awaits_restart() || stage.running().iter().any(|c| consumers.contains(c)) {
            hand_out_stop(&mut driver, &queue).await;
        }
    };
    let ended = match settle_while(stage, stops).await {
        Ended::Finished => drain(&mut driver, &queue).await,
        ended => ended,
    };
    Ok(ended)
}

/// Waits for all clients, with `side_work` going on beside it.
pub(super) async fn settle_while(stage: &Stage, side_work: impl Future<Output = ()>) -> Ended {
    let settle = std::pin::pin!(stage.settle());
    let side_work = std::pin::pin!(side_work);
    match futures_util::future::select(settle, side_work).await {
        futures_util::future::Either::Left((ended, _)) => ended,
        futures_util::future::Either::Right(((), settle)) => settle.await,
    }
}

fn open(stage: &Stage, actor: &Actor) -> Result<Queue, Error> {
    let name = format!("{}queue", stage.prefix());
    let options = QueueOptions::new();
    let options = if stage.has_bug(UNGUARDED_DELETE.name) {
        options.fault(QueueFault::DeleteWithoutComparing)
    } else if stage.has_bug(LOST_ENQUEUE.name) {
        options.fault(QueueFault::UnknownEnqueueIsDone)
    } else if stage.has_bug(LOST_WAKE_UP.name) {
        options.fault(QueueFault::WaitFromNow)
    } else if stage.has_bug(GO_PREFIX.name) {
        options.fault(QueueFault::GoPrefix)
    } else if stage.has_bug(GO_DEAD_WATCH.name) {
        options.fault(QueueFault::GoDeadWatch)
    } else {
        options
    };
    Queue::with_options(actor.etcd(), name, options)
}

fn start_producers(stage: &Stage, producers: Range<ClientId>, parameters: &Parameters) {
    let (items, think_ms) = (parameters.get("items"), parameters.get("think_ms"));
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
                    enqueue(&mut actor, &queue, format!("{client}-{item}")).await;
                    actor.think(think_ms).await;
                }
            }
        });
    }
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

/// How a value begins that tells a consumer to stop.
pub(super) const STOP: &str = "stop-";

#[derive(PartialEq, Eq)]
enum Next {
    Work,
    Stop,
}

async fn enqueue(actor: &mut Actor, queue: &Queue, value: String) {
    let operation = actor.invoke("enqueue", &value);
    match queue.enqueue(value.as_bytes()).await {
        Ok(enqueued) => operation.ok(&value, Evidence::revision(enqueued.revision)),
        Err(error) => {
            operation.failed(&error, &value);
            actor.back_off().await;
        }
    }
}

/// Takes one item; none when that failed.
async fn dequeue(actor: &mut Actor, queue: &Queue) -> Option<Next> {
    let operation = actor.invoke("dequeue", ());
    match queue.dequeue().await {
        Ok(item) => {
            let value = String::from_utf8_lossy(&item.value).into_owned();
            let evidence = Evidence {
                revision: Some(item.revision),
                mod_revision: Some(item.mod_revision),
            };
            operation.ok(&value, evidence);
            Some(if value.starts_with(STOP) {
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
async fn hand_out_stop(driver: &mut Actor, queue: &Queue) {
    let pause = driver.rng().random_range(1..=50);
    runtime::sleep(Duration::from_millis(pause)).await;
    if matches!(queue.len().await, Ok(0)) {
        let number: u64 = driver.rng().random();
        enqueue(driver, queue, format!("{STOP}{number:016x}")).await;
    }
}

/// Takes what is left, until the queue is empty.
async fn drain(driver: &mut Actor, queue: &Queue) -> Ended {
    let drained = runtime::timeout(LIVENESS_BOUND, async {
        while !try_dequeue(driver, queue).await {}
    });
    match drained.await {
        Ok(()) => Ended::Finished,
        Err(runtime::Elapsed) => Ended::Stuck,
    }
}

/// Takes one item; true when there is none left.
async fn try_dequeue(driver: &mut Actor, queue: &Queue) -> bool {
    let operation = driver.invoke("dequeue", ());
    match queue.try_dequeue().await {
        Ok(item) => {
            let evidence = Evidence {
                revision: item.as_ref().map(|item| item.revision),
                mod_revision: item.as_ref().map(|item| item.mod_revision),
            };
            let value = item.map(|item| String::from_utf8_lossy(&item.value).into_owned());
            operation.ok(&value, evidence);
            value.is_none()
        }
        Err(error) => {
            operation.failed(&error, ());
            driver.back_off().await;
            false
        }
    }
}
