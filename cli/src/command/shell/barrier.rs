//! The barrier, by hand.

use etcd_client::Client;
use etcd_recipes::barrier::Barrier;

use super::command::{Command, Line, Problem};
use super::recipe::{Recipe, Running, result};

const COMMANDS: &[Command] = &[
    Command::new(
        "hold",
        "",
        "puts the barrier up; it stays up when this shell ends",
    ),
    Command::new("release", "", "takes the barrier down, whoever put it up"),
    Command::new("wait", "", "waits until the barrier is down"),
];

pub(super) struct Shell {
    barrier: Barrier,
}

impl Shell {
    pub(super) fn new(client: &Client, name: &str) -> Result<Self, etcd_recipes::Error> {
        let barrier = Barrier::new(client, name)?;
        Ok(Shell { barrier })
    }

    async fn answer(&self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("hold", []) => match self.barrier.hold().await? {
                true => result("held"),
                false => result("not held, it was up already"),
            },
            ("release", []) => match self.barrier.release().await? {
                true => result("released"),
                false => result("not released, it was not up"),
            },
            ("wait", []) => {
                self.barrier.wait().await?;
                result("passed")
            }
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
