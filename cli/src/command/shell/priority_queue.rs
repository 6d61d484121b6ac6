//! The priority queue, by hand.

use etcd_client::Client;
use etcd_recipes::priority_queue::PriorityQueue;

use super::command::{Command, Line, Problem, number};
use super::recipe::{Recipe, Running, item, pushed, result};

const COMMANDS: &[Command] = &[
    Command::new(
        "push",
        "VALUE PRIORITY",
        "puts an item there; 0 to 65535, the lowest comes out first",
    ),
    Command::new("pop", "", "takes the first item, waiting for one"),
    Command::new("try-pop", "", "takes the first item, if there is one"),
    Command::new("peek", "", "shows the first item and leaves it there"),
    Command::new("len", "", "counts the items"),
];

pub(super) struct Shell {
    queue: PriorityQueue,
}

impl Shell {
    pub(super) fn new(client: &Client, name: &str) -> Result<Self, etcd_recipes::Error> {
        let queue = PriorityQueue::new(client, name)?;
        Ok(Shell { queue })
    }

    async fn answer(&self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("push", [value, priority]) => {
                let priority: u16 = number(priority, "a priority from 0 to 65535")?;
                let enqueued = self.queue.enqueue(value.as_bytes(), priority).await?;
                pushed(enqueued.revision)
            }
            ("pop", []) => item(Some(&self.queue.dequeue().await?.value)),
            ("try-pop", []) => item(
                self.queue
                    .try_dequeue()
                    .await?
                    .map(|item| item.value)
                    .as_deref(),
            ),
            ("peek", []) => item(self.queue.peek().await?.map(|item| item.value).as_deref()),
            ("len", []) => result(self.queue.len().await?),
            _ => Err(Problem::usage(line)),
        }
    }
}

impl Recipe for Shell {
    fn commands(&self) -> &'static [Command] {
        COMMANDS
    }

    fn run<'a>(&'a mut self, line: &'a Line) -> Running<'a> {
        Box::pin(self.answer(line))
    }
}
