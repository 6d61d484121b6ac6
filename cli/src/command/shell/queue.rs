//! The queue, by hand.

use etcd_client::Client;
use etcd_recipes::queue::{Item, Queue};

use super::command::{Command, Line, Problem};
use super::recipe::{Recipe, Running, nothing, result};
use super::text;

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
            ("push", [value]) => {
                let item = self.queue.enqueue(value.as_bytes()).await?;
                result(format_args!("pushed at revision {}", item.revision))
            }
            ("pop", []) => show(Some(self.queue.dequeue().await?)),
            ("try-pop", []) => show(self.queue.try_dequeue().await?),
            ("peek", []) => show(self.queue.peek().await?),
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

fn show(item: Option<Item>) -> Result<(), Problem> {
    match item {
        Some(item) => result(text::of(&item.value)),
        None => nothing("the queue is empty"),
    }
}
