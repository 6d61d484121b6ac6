//! Checkers by name.

use std::fmt;
use std::str::FromStr;

use crate::history::{History, HistoryError, Problem};
use crate::isolation::{self, Options};
use crate::search::Budget;
use crate::verdict::Verdict;
use crate::{
    bank, barrier, counter, election, etcd, kv, lock, long_fork, membership, multi_register, mutex,
    priority_queue, queue, register, reliable_queue, repeats, rw_lock, semaphore, set, set_full,
    txn,
};

/// What a history is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Model {
    /// A linearizable first-in first-out queue of distinct values.
    FifoQueue,
    /// A linearizable priority queue of distinct values, ties in order of arrival.
    PriorityQueue,
    /// A queue whose items are claimed, and come back unless they are acknowledged.
    ReliableQueue,
    /// Strictly serializable transactions.
    Transactions,
    /// Accounts between which money moves, and which always add up: by strictly
    /// serializable transactions, or as reads of all accounts see them.
    Bank,
    /// Transactions on lists that only grow, at a consistency model.
    ListAppend,
    /// Transactions on registers of distinct values, at a consistency model.
    RwRegister,
    /// Locks with one holder at a time, and fencing tokens.
    Mutex,
    /// Locks with one writer or any number of readers at a time.
    RwLock,
    /// One leader per term, seen by all in one order.
    Election,
    /// Transactions at an isolation level that the header names.
    Stm,
    /// A barrier that is held and released.
    Barrier,
    /// Participants that enter and leave together.
    DoubleBarrier,
    /// Participants that wait for each other, round after round.
    CyclicBarrier,
    /// etcd's own requests.
    Etcd,
    /// Registers that are read and written.
    Register,
    /// Registers that are read, written, and compared and set.
    CasRegister,
    /// A map from keys to values, without revisions.
    Kv,
    /// Permits, of which there are so many.
    Semaphore,
    /// Sums.
    Counter,
    /// Sets of elements.
    Set,
    /// Groups of members.
    Membership,
    /// Registers that transactions read and write several at a time.
    MultiRegister,
    /// Sets that only grow, and lose nothing.
    SetFull,
    /// Keys that are written once, and in one order for all who read.
    LongFork,
}

impl Model {
    /// All models.
    pub fn all() -> &'static [Self] {
        &[
            Self::FifoQueue,
            Self::Transactions,
            Self::Bank,
            Self::ListAppend,
            Self::RwRegister,
            Self::Mutex,
            Self::RwLock,
            Self::Election,
            Self::Stm,
            Self::Barrier,
            Self::DoubleBarrier,
            Self::CyclicBarrier,
            Self::PriorityQueue,
            Self::ReliableQueue,
            Self::Etcd,
            Self::Register,
            Self::CasRegister,
            Self::Kv,
            Self::Semaphore,
            Self::Counter,
            Self::Set,
            Self::Membership,
            Self::MultiRegister,
            Self::SetFull,
            Self::LongFork,
        ]
    }

    /// The name, as it stands in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::FifoQueue => "fifo-queue",
            Self::PriorityQueue => "priority-queue",
            Self::ReliableQueue => "reliable-queue",
            Self::Transactions => "transactions",
            Self::Bank => "bank",
            Self::ListAppend => "list-append",
            Self::RwRegister => "rw-register",
            Self::Mutex => "mutex",
            Self::RwLock => "rwlock",
            Self::Election => "election",
            Self::Stm => "stm",
            Self::Barrier => "barrier",
            Self::DoubleBarrier => "double-barrier",
            Self::CyclicBarrier => "cyclic-barrier",
            Self::Etcd => "etcd",
            Self::Register => "register",
            Self::CasRegister => "cas-register",
            Self::Kv => "kv",
            Self::Semaphore => "semaphore",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Membership => "membership",
            Self::MultiRegister => "multi-register",
            Self::SetFull => "set-full",
            Self::LongFork => "long-fork",
        }
    }

    /// The parameters that it reads, those of the header and those that are given instead. What
    /// each means is told in `docs/history-format.md` in the repository.
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::PriorityQueue => &["ties"],
            Self::Transactions => &["initial", "consistency"],
            Self::Bank => &[
                "accounts",
                "total",
                "allow_negative",
                "missing_is_empty",
                "initial",
                "consistency",
            ],
            Self::ListAppend => &["consistency"],
            Self::RwRegister => &[
                "consistency",
                "linearizable_keys",
                "sequential_keys",
                "wfr_keys",
            ],
            Self::Mutex => &["owners", "reentrant"],
            Self::RwLock => &["owners"],
            Self::Stm => &["initial", "promise"],
            Self::DoubleBarrier | Self::CyclicBarrier => &["count"],
            Self::Etcd => &["values_repeat", "others_compact"],
            Self::Register | Self::CasRegister | Self::Counter | Self::MultiRegister => {
                &["initial"]
            }
            Self::Kv => &["absent"],
            Self::Semaphore => &["permits"],
            Self::FifoQueue
            | Self::ReliableQueue
            | Self::Election
            | Self::Barrier
            | Self::Set
            | Self::Membership
            | Self::SetFull
            | Self::LongFork => &[],
        }
    }

    /// What a system that keeps the model promises, in a sentence for people.
    pub fn promise(self) -> &'static str {
        match self {
            Self::FifoQueue => {
                "Values leave the queue in the order in which they were put in, each exactly once, \
                 and a dequeue finds the queue empty only when it is."
            }
            Self::PriorityQueue => {
                "Each dequeue takes the value with the smallest priority number that is inside, of \
                 equals the one that was put in first; every value leaves exactly once."
            }
            Self::ReliableQueue => {
                "No value is lost: it is in one consumer's hands at a time, comes back when that one \
                 gives up or dies, and is acknowledged once."
            }
            Self::Transactions => {
                "Every transaction takes effect at one instant between its start and its answer, as \
                 if they ran one by one."
            }
            Self::Bank => {
                "Transfers take effect as a whole or not at all, and whoever reads the accounts \
                 finds that they add up to the same total."
            }
            Self::MultiRegister => {
                "Every transaction takes effect at one instant between its start and its answer, as \
                 if they ran one by one."
            }
            Self::SetFull => {
                "No element that was acknowledged, or that somebody saw, is lost for good."
            }
            Self::LongFork => {
                "All who read see the writes happen in one and the same order, and nothing else."
            }
            Self::Mutex => {
                "One client holds a lock at a time while its lease lives, and a write with an old \
                 token is refused."
            }
            Self::RwLock => {
                "One writer alone, or any number of readers, hold a lock at a time while their \
                 leases live."
            }
            Self::Election => {
                "One candidate leads in each term, nobody acts as leader after its term has ended, \
                 and all who watch see the same leaders in the same order."
            }
            Self::Stm => {
                "Transactions are isolated from each other at the level that was promised, and no \
                 attempt sees a state that never was."
            }
            Self::Barrier => {
                "No wait returns while the barrier stands, and none is left behind once it has fallen."
            }
            Self::DoubleBarrier => {
                "Nobody enters before all participants of a round have come, and nobody leaves \
                 before all are ready to."
            }
            Self::CyclicBarrier => {
                "Nobody passes a round before all of its participants have come, round after round."
            }
            Self::Etcd => {
                "Every request takes effect at one instant between its start and its answer, in the \
                 order of revisions, and watches tell of every change once and in order."
            }
            Self::ListAppend | Self::RwRegister => {
                "Transactions keep the consistency model that was asked for; when none was, strict \
                 serializability: each takes effect at one instant between its start and its answer, \
                 as if they ran one by one."
            }
            // What linearizability means, whatever the object.
            _ => {
                "Every operation takes effect at one instant between its start and its answer, as \
                 if clients took turns."
            }
        }
    }

    /// The model that the history's header names.
    ///
    /// # Errors
    /// When there is no model of that name.
    pub fn of(history: &History) -> Result<Self, HistoryError> {
        let name = &history.header().model;
        name.parse().map_err(|_: UnknownModel| {
            let problem = if name.is_empty() {
                Problem::NoModel { known: names() }
            } else {
                Problem::UnknownModel {
                    name: name.clone(),
                    known: names(),
                }
            };
            history.with_column(HistoryError::at(1, problem))
        })
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        let found = Self::all().iter().find(|model| model.name() == name);
        found.copied().ok_or_else(|| UnknownModel {
            name: name.to_owned(),
        })
    }
}

/// There is no model of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown model {name:?}; known are {}", names())]
pub struct UnknownModel {
    /// What was asked for.
    pub name: String,
}

/// Decides whether the history keeps the model's promise.
///
/// # Errors
/// When the history is not one of this model, or contradicts itself. That says
/// nothing about the system under test.
pub fn check(history: &History, model: Model) -> Result<Verdict, HistoryError> {
    check_within(history, model, &Budget::default())
}

/// As [`check`], where a model that needs a search may take no more than this.
///
/// # Errors
/// As [`check`].
pub fn check_within(
    history: &History,
    model: Model,
    budget: &Budget,
) -> Result<Verdict, HistoryError> {
    let options = Options {
        budget: *budget,
        ..Options::default()
    };
    check_with(history, model, &options)
}

/// As [`check`], where the one who checks asks for something else than the header
/// does.
///
/// # Errors
/// As [`check`].
pub fn check_with(
    history: &History,
    model: Model,
    options: &Options,
) -> Result<Verdict, HistoryError> {
    let judged = judge(history, model, options);
    let judged = judged.map_err(|error| history.with_column(error));
    judged.map(|verdict| verdict.in_history(history))
}

fn judge(history: &History, model: Model, options: &Options) -> Result<Verdict, HistoryError> {
    let budget = &options.budget;
    repeats::check(history, model)?;
    match model {
        Model::FifoQueue => queue::check(history),
        Model::PriorityQueue => priority_queue::check(history, budget),
        Model::ReliableQueue => reliable_queue::check(history, budget),
        Model::Transactions => txn::check(history, options),
        Model::Bank if bank::is_of(history) => bank::check(history),
        Model::Bank => txn::check_bank(history, options),
        Model::ListAppend => isolation::check_list_append(history, options),
        Model::RwRegister => isolation::check_rw_register(history, options),
        Model::Mutex if mutex::is_of(history) => mutex::check(history, budget),
        Model::Mutex => lock::check_mutex(history),
        Model::RwLock if mutex::is_of(history) => rw_lock::check(history, budget),
        Model::RwLock => lock::check_rw_lock(history),
        Model::Election => election::check(history),
        Model::Stm => txn::check_levels(history, budget),
        Model::Barrier => barrier::check_barrier(history, budget),
        Model::DoubleBarrier => barrier::check_double(history, budget),
        Model::CyclicBarrier => barrier::check_cyclic(history, budget),
        Model::Etcd => etcd::check(history, budget),
        Model::Register | Model::CasRegister => register::check(history, budget),
        Model::Kv => kv::check(history, budget),
        Model::Semaphore => semaphore::check(history, budget),
        Model::Counter => counter::check(history, budget),
        Model::Set => set::check(history, budget),
        Model::Membership => membership::check(history, budget),
        Model::MultiRegister => multi_register::check(history, budget),
        Model::SetFull => set_full::check(history),
        Model::LongFork => long_fork::check(history),
    }
}

fn names() -> String {
    Model::all()
        .iter()
        .map(|model| model.name())
        .collect::<Vec<_>>()
        .join(", ")
}
