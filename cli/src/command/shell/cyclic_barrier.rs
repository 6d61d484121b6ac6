//! The cyclic barrier, by hand.

use etcd_recipes::cyclic_barrier::CyclicBarrier;
use etcd_recipes::session::Session;

use super::command::{Command, Line, Problem};
use super::recipe::{Recipe, Running, result};

const COMMANDS: &[Command] = &[Command::new(
    "wait",
    "",
    "waits until all have come to this round; the next one begins at once",
)];

pub(super) struct Shell {
    barrier: CyclicBarrier,
}

impl Shell {
    pub(super) fn new(
        session: &Session,
        name: &str,
        count: usize,
    ) -> Result<Self, etcd_recipes::Error> {
        let barrier = CyclicBarrier::new(session, name, count)?;
        Ok(Shell { barrier })
    }

    async fn answer(&mut self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("wait", []) => {
                let round = self.barrier.wait().await?;
                result(format_args!("passed, round {}", round.number))
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
