//! The reliable queue, by hand.

use std::collections::VecDeque;

use etcd_recipes::reliable_queue::{Claim, ReliableQueue};
use etcd_recipes::session::Session;

use super::command::{Command, Line, Problem, number};
use super::recipe::{Recipe, Running, nothing, result};
use super::text;

const COMMANDS: &[Command] = &[
    Command::new("push", "VALUE...", "puts items at the tail, all or none"),
    Command::new(
        "claim",
        "",
        "takes the item at the head for this shell, waiting for one",
    ),
    Command::new("try-claim", "", "the same, if there is one"),
    Command::new(
        "ack",
        "",
        "says that the item claimed first is done with; it is gone then",
    ),
    Command::new("release", "", "gives the item claimed first back"),
    Command::new(
        "peek",
        "[N]",
        "shows the items at the head and leaves them there",
    ),
    Command::new("len", "", "counts the items"),
];

pub(super) struct Shell {
    queue: ReliableQueue,
    claims: VecDeque<Claim>,
}

impl Shell {
    pub(super) fn new(session: &Session, name: &str) -> Result<Self, etcd_recipes::Error> {
        let queue = ReliableQueue::new(session, name)?;
        Ok(Shell {
            queue,
            claims: VecDeque::new(),
        })
    }

    async fn answer(&mut self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("push", [value]) => {
                self.queue.enqueue(value.as_bytes()).await?;
                result("pushed")
            }
            ("push", values @ [_, _, ..]) => {
                let values = values.iter().map(|value| value.clone().into_bytes());
                self.queue.enqueue_batch(values).await?;
                result("pushed")
            }
            ("claim", []) => {
                let claim = self.queue.claim().await?;
                self.hold(claim)
            }
            ("try-claim", []) => match self.queue.try_claim().await? {
                Some(claim) => self.hold(claim),
                None => nothing("there is nothing to claim"),
            },
            ("ack", []) => {
                self.first()?.acknowledge().await?;
                result("done with")
            }
            ("release", []) => {
                self.first()?.release().await?;
                result("given back")
            }
            ("peek", []) => self.peek(1).await,
            ("peek", [n]) => self.peek(number(n, "a number of items")?).await,
            ("len", []) => result(self.queue.len().await?),
            _ => Err(Problem::usage(line)),
        }
    }

    fn hold(&mut self, claim: Claim) -> Result<(), Problem> {
        let value = text::of(&claim.item.value);
        self.claims.push_back(claim);
        result(value)
    }

    fn first(&mut self) -> Result<Claim, Problem> {
        let none = || Problem::wrong("nothing is claimed here; claim first");
        self.claims.pop_front().ok_or_else(none)
    }

    async fn peek(&self, n: usize) -> Result<(), Problem> {
        let items = self.queue.peek(n).await?;
        if items.is_empty() {
            return nothing("the queue is empty");
        }
        items
            .iter()
            .try_for_each(|item| result(text::of(&item.value)))
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
