//! Producers and consumers of one queue.
//!
//! Producers enqueue values that occur once. Consumers dequeue, blocking, until
//! they meet a value that tells them to stop. Those are handed out one at a
//! time and only while the queue is empty, so a consumer that missed its
//! wake-up is left alone with an item in the queue, and shows. At the end the
//! queue is drained until it answers "empty": an item that was lost is then
//! missing for certain.

use etcd_checker::Model;
use etcd_checker::history::Evidence;

use super::beside::THINK_MS;
use super::items::{self, CONSUMERS, ITEMS, Line, PRODUCERS, STOP, Taken};
use super::{Actor, Bug, Parameter, Parameters, Running, Stage, Workload};
use crate::Error;
use crate::queue::{Item, Queue, QueueFault, QueueOptions};

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
        &[PRODUCERS, CONSUMERS, ITEMS, THINK_MS]
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
        items::clients(parameters)
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        items::lasts_ms(parameters)
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        Box::pin(async move { items::run::<Queue>(&stage, &parameters).await })
    }
}

impl Line for Queue {
    type Item = String;

    fn open(stage: &Stage, actor: &Actor) -> Result<Self, Error> {
        let faults = [
            (UNGUARDED_DELETE, QueueFault::DeleteWithoutComparing),
            (LOST_ENQUEUE, QueueFault::UnknownEnqueueIsDone),
            (LOST_WAKE_UP, QueueFault::WaitFromNow),
            (GO_PREFIX, QueueFault::GoPrefix),
            (GO_DEAD_WATCH, QueueFault::GoDeadWatch),
        ];
        let options = faults
            .iter()
            .filter(|(bug, _)| stage.has_bug(bug.name))
            .fold(QueueOptions::new(), |options, (_, fault)| {
                options.fault(*fault)
            });
        Queue::with_options(actor.etcd(), format!("{}queue", stage.prefix()), options)
    }

    async fn fill_neighbours(stage: &Stage, driver: &Actor) -> Result<(), Error> {
        if !stage.has_bug(GO_PREFIX.name) {
            return Ok(());
        }
        let neighbour = Queue::new(driver.etcd(), format!("{}queue2", stage.prefix()))?;
        for item in 0..3 {
            // It may fail under faults; then there is nothing to eat.
            neighbour.enqueue(format!("of-queue2-{item}")).await.ok();
        }
        Ok(())
    }

    fn item(value: String, _: &mut Actor, _: &Parameters) -> String {
        value
    }

    async fn put(&self, value: &String) -> Result<i64, Error> {
        Ok(self.enqueue(value.as_bytes()).await?.revision)
    }

    async fn take(&self) -> Result<Taken<String>, Error> {
        Ok(taken(&self.dequeue().await?))
    }

    async fn try_take(&self) -> Result<Option<Taken<String>>, Error> {
        Ok(self.try_dequeue().await?.as_ref().map(taken))
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }
}

fn taken(item: &Item) -> Taken<String> {
    let value = String::from_utf8_lossy(&item.value).into_owned();
    Taken {
        is_stop: value.starts_with(STOP),
        item: value,
        evidence: Evidence {
            revision: Some(item.revision),
            mod_revision: Some(item.mod_revision),
        },
    }
}
