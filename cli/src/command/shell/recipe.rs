//! What all recipes of the shell have in common.

use std::pin::Pin;

use clap::ValueEnum;
use etcd_recipes::session::Session;

use super::command::{Command, Line, Problem};
use super::{
    Place, barrier, cyclic_barrier, double_barrier, election, lock, priority_queue, queue,
    reliable_queue, rw_lock, stm, text,
};
use crate::output;

/// A recipe that commands are given to.
pub(super) trait Recipe {
    /// What it understands.
    fn commands(&self) -> &'static [Command];

    /// Does what a line says, and prints the result. Dropping the future ends a
    /// wait; the recipe can be used afterwards.
    fn run<'a>(&'a mut self, line: &'a Line) -> Running<'a>;
}

/// A command at work.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Problem>> + 'a>>;

/// The recipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// First in, first out
    Queue,
    /// One at a time, in order of arrival
    #[value(alias = "mutex")]
    Lock,
    /// Many readers or one writer
    #[value(name = "rwlock")]
    RwLock,
    /// One leader at a time, whom all can see
    Election,
    /// The lowest number first
    PriorityQueue,
    /// A queue whose items come back if their consumer dies
    ReliableQueue,
    /// All wait until somebody takes it down
    Barrier,
    /// All begin together and end together
    DoubleBarrier,
    /// All meet, round after round
    CyclicBarrier,
    /// Transactions over any keys
    Stm,
}

impl Kind {
    /// Whether what it holds is tied to a lease.
    pub(super) fn needs_session(self) -> bool {
        match self {
            Kind::Lock
            | Kind::RwLock
            | Kind::Election
            | Kind::ReliableQueue
            | Kind::DoubleBarrier
            | Kind::CyclicBarrier => true,
            Kind::Queue | Kind::PriorityQueue | Kind::Barrier | Kind::Stm => false,
        }
    }

    /// Whether it is for a fixed number of participants.
    pub(super) fn needs_count(self) -> bool {
        match self {
            Kind::DoubleBarrier | Kind::CyclicBarrier => true,
            Kind::Queue
            | Kind::Lock
            | Kind::RwLock
            | Kind::Election
            | Kind::PriorityQueue
            | Kind::ReliableQueue
            | Kind::Barrier
            | Kind::Stm => false,
        }
    }

    pub(super) fn prompt(self) -> &'static str {
        match self {
            Kind::Queue => "queue> ",
            Kind::Lock => "lock> ",
            Kind::RwLock => "rwlock> ",
            Kind::Election => "election> ",
            Kind::PriorityQueue => "priority-queue> ",
            Kind::ReliableQueue => "reliable-queue> ",
            Kind::Barrier => "barrier> ",
            Kind::DoubleBarrier => "double-barrier> ",
            Kind::CyclicBarrier => "cyclic-barrier> ",
            Kind::Stm => "stm> ",
        }
    }
}

/// Opens the recipe. Nothing is sent.
pub(super) fn open(
    place: &Place,
    session: Option<&Session>,
) -> Result<Box<dyn Recipe>, etcd_recipes::Error> {
    let (client, name) = (&place.client, place.name.as_str());
    let session = || session.expect("one was opened, because the recipe needs one");
    let count = || {
        place
            .count
            .expect("it was asked for, because the recipe needs it")
    };
    Ok(match place.kind {
        Kind::Queue => Box::new(queue::Shell::new(client, name)?),
        Kind::Lock => Box::new(lock::Shell::new(session(), name)?),
        Kind::RwLock => Box::new(rw_lock::Shell::new(session(), name)?),
        Kind::Election => Box::new(election::Shell::new(session(), name)?),
        Kind::PriorityQueue => Box::new(priority_queue::Shell::new(client, name)?),
        Kind::ReliableQueue => Box::new(reliable_queue::Shell::new(session(), name)?),
        Kind::Barrier => Box::new(barrier::Shell::new(client, name)?),
        Kind::DoubleBarrier => Box::new(double_barrier::Shell::new(session(), name, count())?),
        Kind::CyclicBarrier => Box::new(cyclic_barrier::Shell::new(session(), name, count())?),
        Kind::Stm => Box::new(stm::Shell::new(client, name)),
    })
}

/// Prints a result: one line, at once.
pub(super) fn result(line: impl std::fmt::Display) -> Result<(), Problem> {
    output::to_stdout(|stdout| writeln!(stdout, "{line}")).map_err(Problem::Output)
}

/// Prints that an item was put into a queue.
pub(super) fn pushed(revision: i64) -> Result<(), Problem> {
    result(format_args!("pushed at revision {revision}"))
}

/// Prints the item of a queue.
pub(super) fn item(value: Option<&[u8]>) -> Result<(), Problem> {
    match value {
        Some(value) => result(text::of(value)),
        None => nothing("the queue is empty"),
    }
}

/// Says on standard error that there is no result, and why.
pub(super) fn nothing(why: impl std::fmt::Display) -> Result<(), Problem> {
    output::note(why);
    Ok(())
}
