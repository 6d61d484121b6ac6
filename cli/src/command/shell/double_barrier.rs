//! The double barrier, by hand.

use etcd_recipes::double_barrier::DoubleBarrier;
use etcd_recipes::session::Session;

use super::command::{Command, Line, Problem};
use super::recipe::{Recipe, Running, result};

const COMMANDS: &[Command] = &[
    Command::new("enter", "", "waits until all have come"),
    Command::new("leave", "", "waits until all have left"),
];

pub(super) struct Shell {
    barrier: DoubleBarrier,
}

impl Shell {
    pub(super) fn new(
        session: &Session,
        name: &str,
        count: usize,
    ) -> Result<Self, etcd_recipes::Error> {
        let barrier = DoubleBarrier::new(session, name, count)?;
        Ok(Shell { barrier })
    }

    async fn answer(&mut self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("enter", []) => {
                self.barrier.enter().await?;
                result("entered")
            }
            ("leave", []) => {
                self.barrier.leave().await?;
                result("left")
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
