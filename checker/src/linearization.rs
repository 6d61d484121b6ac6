//! An order of the operations that explains a valid history.
//!
//! Whoever judges a history need not have found one: most checkers look for what cannot be,
//! and [`linearization`] builds the order only when it is asked for.

use std::borrow::Cow;

use crate::history::{History, HistoryError};
use crate::model::Model;
use crate::object::{self, Object};
use crate::search::Budget;
use crate::verdict::Verdict;
use crate::{
    bank, barrier, counter, election, etcd, isolation, kv, lock, long_fork, membership,
    multi_register, mutex, priority_queue, queue, register, reliable_queue, rw_lock, semaphore,
    set, set_full, txn,
};

/// What came of the question for an order of the operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linearization {
    /// The operations that took effect, by their index in [`History::operations`].
    Order(Vec<usize>),
    /// There is none to give.
    None {
        /// Why, in a sentence for people.
        reason: Cow<'static, str>,
    },
}

impl Linearization {
    /// The order, if there is one.
    pub fn order(self) -> Option<Vec<usize>> {
        match self {
            Self::Order(order) => Some(order),
            Self::None { .. } => None,
        }
    }

    pub(crate) fn none(reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self::None { reason }
    }

    /// Of a history that is not valid.
    pub(crate) fn of_no_valid(verdict: &Verdict) -> Self {
        Self::none(match verdict {
            Verdict::Violation(violation) => {
                format!("no order explains the history: {}", violation.kind.meaning)
            }
            Verdict::Unknown { reason } => reason.clone(),
            Verdict::Valid(_) => unreachable!("asked of what is not valid"),
        })
    }

    /// What was found, or that nothing was.
    pub(crate) fn found(order: Option<Vec<usize>>) -> Self {
        const NOT_FOUND: &str =
            "no order was found: there is none, or the search for it ran out of its budget";
        order.map_or(Self::none(NOT_FOUND), Self::Order)
    }
}

/// The operations that took effect in an order that explains all results: each lies between
/// its invocation and its return, and does what it did when all are done one after the other.
///
/// Those of unknown outcome that took effect are part of it. The module of each model says what
/// its order contains where that is not everything. Where no order is to be had, the answer
/// says why; so it does when the budget does not suffice to find one.
///
/// # Errors
/// As [`check`](crate::check).
pub fn linearization(
    history: &History,
    model: Model,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    order(history, model, budget).map_err(|error| history.with_column(error))
}

fn order(history: &History, model: Model, budget: &Budget) -> Result<Linearization, HistoryError> {
    match model {
        Model::Register | Model::CasRegister => {
            searched::<register::Registers<'_>>(history, budget)
        }
        Model::Kv => searched::<kv::Map<'_>>(history, budget),
        Model::Mutex if mutex::is_of(history) => searched::<mutex::Mutexes<'_>>(history, budget),
        Model::Mutex => lock::linearization_of_mutex(history),
        Model::RwLock if mutex::is_of(history) => searched::<rw_lock::RwLocks<'_>>(history, budget),
        Model::RwLock => lock::linearization_of_rw_lock(history),
        Model::Election => election::linearization(history),
        Model::Etcd => etcd::linearization(history, budget),
        Model::Barrier => barrier::linearization_of_barrier(history, budget),
        Model::DoubleBarrier => barrier::linearization_of_double(history, budget),
        Model::CyclicBarrier => barrier::linearization_of_cyclic(history, budget),
        Model::Semaphore => searched::<semaphore::Semaphores<'_>>(history, budget),
        Model::Counter => searched::<counter::Counters<'_>>(history, budget),
        Model::Set => searched::<set::Sets<'_>>(history, budget),
        Model::Membership => searched::<membership::Groups<'_>>(history, budget),
        Model::MultiRegister => searched::<multi_register::MultiRegister<'_>>(history, budget),
        Model::Transactions => txn::linearization(history, budget),
        Model::Bank if !bank::is_of(history) => txn::linearization(history, budget),
        Model::Stm => txn::linearization_of_stm(history, budget),
        Model::ListAppend => isolation::linearization_of_list_append(history, budget),
        Model::RwRegister => isolation::linearization_of_rw_register(history, budget),
        Model::FifoQueue => Ok(Linearization::found(queue::linearization(history)?)),
        Model::PriorityQueue => Ok(Linearization::found(priority_queue::linearization(
            history, budget,
        )?)),
        Model::ReliableQueue => Ok(Linearization::found(reliable_queue::linearization(
            history, budget,
        )?)),
        Model::SetFull => set_full::linearization(history, budget),
        Model::LongFork => long_fork::linearization(history),
        other => Ok(Linearization::none(why_not(other))),
    }
}

fn searched<'h, O: Object<'h>>(
    history: &'h History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    object::linearization::<O>(history, budget).map(Linearization::found)
}

fn why_not(model: Model) -> &'static str {
    match model {
        Model::Bank => {
            "transfers that are not told as transactions do not say what they moved, so nothing \
             tells their order"
        }
        _ => "this model gives no order",
    }
}
