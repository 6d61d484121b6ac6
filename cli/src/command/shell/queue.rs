//! The queue, by hand.

use etcd_client::Client;
use etcd_recipes::queue::Queue;

use super::command::{Command, Line, Problem};
use super::recipe::{Recipe, Running, item, pushed, result};

const COMMANDS: &[Command] = &[
    Command::new("push", "VALUE", "puts an item at the tail"),
    Command::new("pop", "", "takes the item at the head, waiting for one"),
    Command::new("try-pop", "", "takes the item at the head, if there is one"),
    Command::new("peek", "", "shows the item at the head and leaves it there"),
    Command::new("len", "", "counts the items"),
];

pub(super) struct Shell {
    queue: Queue,
}

impl Shell {
    pub(super) fn new(client: &Client, name: &str) -> Result<Self, etcd_recipes::Error> {
        let queue = Queue::new(client, name)?;
        Ok(Shell { queue })
    }

    async fn answer(&self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("push", [value]) => pushed(self.queue.enqueue(value.as_bytes()).await?.revision),
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
