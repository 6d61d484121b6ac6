//! Producers and consumers of one priority queue.
//!
//! As the workload [`queue`](super::queue), with a priority for each value: few
//! priorities, so that there are ties, and enough that something better often
//! arrives while a consumer makes up its mind. A queue with a longer name and one
//! that lies where this one keeps its books have items of their own, which nobody
//! here may ever see.

use etcd_checker::Model;
use etcd_checker::history::Evidence;
use rand::RngExt as _;

use super::beside::THINK_MS;
use super::items::{self, CONSUMERS, ITEMS, Line, PRODUCERS, STOP, Taken};
use super::{Actor, Bug, Parameter, Parameters, Running, Stage, Workload};
use crate::Error;
use crate::priority_queue::{
    PriorityItem, PriorityQueue, PriorityQueueFault, PriorityQueueOptions,
};

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
            PRODUCERS,
            CONSUMERS,
            ITEMS,
            Parameter {
                name: "priorities",
                about: "how many priorities there are",
                bounds: (1, 65_536),
                drawn: (1, 6),
                live: 10,
            },
            THINK_MS,
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        &[GO_DEQUEUE, STALE_MINIMUM, OVERWRITES, LOST_ENQUEUE]
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        items::clients(parameters)
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        items::lasts_ms(parameters)
    }

    /// Go's layout keeps the books of a priority queue outside of its name.
    fn prefixes(&self, prefix: &str) -> Vec<String> {
        vec![prefix.to_owned(), format!("__{prefix}")]
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        Box::pin(async move { items::run::<PriorityQueue>(&stage, &parameters).await })
    }
}

fn name(stage: &Stage) -> String {
    format!("{}queue", stage.prefix())
}

impl Line for PriorityQueue {
    type Item = (String, u16);

    fn open(stage: &Stage, actor: &Actor) -> Result<Self, Error> {
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

    fn item(value: String, actor: &mut Actor, parameters: &Parameters) -> (String, u16) {
        let priority = actor.rng().random_range(0..parameters.count("priorities"));
        let priority = u16::try_from(priority);
        (
            value,
            priority.expect("there are no more than 65 536 priorities"),
        )
    }

    async fn put(&self, (value, priority): &(String, u16)) -> Result<i64, Error> {
        Ok(self.enqueue(value.as_bytes(), *priority).await?.revision)
    }

    async fn take(&self) -> Result<Taken<(String, u16)>, Error> {
        Ok(taken(&self.dequeue().await?))
    }

    async fn try_take(&self) -> Result<Option<Taken<(String, u16)>>, Error> {
        Ok(self.try_dequeue().await?.as_ref().map(taken))
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        PriorityQueue::is_empty(self).await
    }
}

fn taken(item: &PriorityItem) -> Taken<(String, u16)> {
    let value = String::from_utf8_lossy(&item.value).into_owned();
    Taken {
        is_stop: value.starts_with(STOP),
        item: (value, item.priority),
        evidence: Evidence {
            revision: Some(item.revision),
            mod_revision: Some(item.mod_revision),
        },
    }
}
