//! What a completion repeats of its invocation.
//!
//! Most programs write the argument of an operation again where it completes, and may leave it
//! out. Where it is another one than was asked for, nobody knows what was done: such a history
//! contradicts itself, and is no evidence for or against anything.
//!
//! Said by a completion alone is what an operation read or was answered. Completions that are
//! `fail` or `info` may hold a reason in place of the value, as some programs write it; only of
//! transactions of unknown outcome checkers look at it.
//!
//! Models whose completions have answers of their own, such as those of etcd's requests, do not
//! repeat anything. The FIFO queue, the multi-register and locks with tokens look themselves, on
//! their way.
//!
//! O(n).

mod fields;
mod micro;

use crate::history::{Event, EventKind, History, HistoryError, PerProcess, Problem, Process};
use crate::keyed::{Keyed, text};
use crate::model::Model;
use crate::mutex;
use crate::told;

use fields::{fields_differ, is_same};
use micro::{Micros, micro_operations_differ};

/// The part of an invocation that its completion repeats, if it says anything of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeated {
    /// Which of several objects it is about.
    Key,
    /// And the value.
    Value,
    /// And the value, unless it is `true` or `false`: that is an answer.
    ValueOrAnswer,
    /// And the value, which belongs to a key; without one it is an answer.
    ValueOfKey,
    /// Each field of an object.
    Fields,
    /// This field of an object; its others are answers.
    Field(&'static str),
    /// Micro-operations, but for the values of reads.
    MicroOperations(Micros),
}

fn repeated(model: Model, f: &str) -> Option<Repeated> {
    Some(match (model, f) {
        (Model::Register | Model::CasRegister, "write")
        | (Model::Counter, "add")
        | (Model::PriorityQueue, "enqueue")
        | (Model::ReliableQueue, "enqueue" | "acknowledge" | "release") => Repeated::Value,
        (Model::Register | Model::CasRegister, "cas")
        | (Model::Set, "add" | "remove")
        | (Model::SetFull, "add")
        | (Model::Membership, "join" | "leave" | "expire")
        | (Model::Semaphore, _) => Repeated::ValueOrAnswer,
        (Model::Kv, "put" | "append" | "cas") => Repeated::ValueOfKey,
        (
            Model::Register
            | Model::CasRegister
            | Model::Counter
            | Model::Set
            | Model::SetFull
            | Model::Membership
            | Model::Kv,
            _,
        ) => Repeated::Key,
        (Model::Mutex | Model::RwLock, _)
        | (Model::Election, "proclaim" | "resign" | "act" | "write") => Repeated::Fields,
        // Whether it can be relied on is another thing at another time.
        (Model::DoubleBarrier, "enter" | "leave") | (Model::CyclicBarrier, "wait" | "close") => {
            Repeated::Field("lease")
        }
        (Model::ListAppend | Model::RwRegister | Model::LongFork, _) => {
            Repeated::MicroOperations(Micros::All)
        }
        // Who writes what it wants to write need not know what it will read for that.
        (Model::Transactions | Model::Bank | Model::Stm, "txn" | "attempt") => {
            Repeated::MicroOperations(Micros::AllButReads)
        }
        _ => return None,
    })
}

/// Whether the model says of any completion what it repeats, in this history.
fn is_looked_at(history: &History, model: Model) -> bool {
    match model {
        Model::Mutex | Model::RwLock => mutex::is_of(history),
        Model::FifoQueue | Model::MultiRegister | Model::Etcd | Model::Barrier => false,
        _ => true,
    }
}

/// Looks whether all completions repeat what was asked.
///
/// # Errors
/// When one does not.
pub(crate) fn check(history: &History, model: Model) -> Result<(), HistoryError> {
    if !is_looked_at(history, model) {
        return Ok(());
    }
    let mut open: PerProcess<Option<&Event>> = PerProcess::default();
    for event in history.events() {
        let Process::Number(process) = event.process() else {
            continue;
        };
        let invoke = match event.kind() {
            EventKind::Invoke => {
                *open.of(process) = Some(event);
                continue;
            }
            _ => open.of(process).take(),
        };
        if let Some(invoke) = invoke
            && !event.value().is_null()
            && event.value() != invoke.value()
            && let Some(repeated) = repeated(model, event.f())
            && repeated.is_said_by(event.kind())
            && repeated.is_another(model, invoke, event)
        {
            return Err(changed(invoke, event));
        }
    }
    Ok(())
}

impl Repeated {
    fn is_said_by(self, kind: EventKind) -> bool {
        let tells_though_unknown = matches!(self, Self::MicroOperations(_));
        kind == EventKind::Ok || kind == EventKind::Info && tells_though_unknown
    }

    /// Whether the completion tells of something else than was asked. What has another shape
    /// than the model wants is not told here.
    fn is_another(self, model: Model, invoke: &Event, end: &Event) -> bool {
        let (asked, told) = (invoke.value().as_str(), end.value().as_str());
        match self {
            Self::MicroOperations(which) => micro_operations_differ(asked, told, which),
            Self::Fields => fields_differ(asked, told, None),
            Self::Field(name) => fields_differ(asked, told, Some(name)),
            _ => {
                let (Ok(mut asked), Ok(told)) = (Keyed::of(invoke), Keyed::of(end)) else {
                    return false;
                };
                // A key may stand alone.
                if self == Self::Key && model == Model::Kv && asked.key.is_none() {
                    asked.key = text(asked.value);
                }
                let are_others = asked.key.is_some() && asked.key != told.key;
                are_others && told.key.is_some() || self.is_another_value(model, &asked, &told)
            }
        }
    }

    fn is_another_value(self, model: Model, asked: &Keyed<'_>, told: &Keyed<'_>) -> bool {
        let is_answer = matches!(told.value, "true" | "false");
        match self {
            Self::Key => return false,
            Self::ValueOrAnswer if is_answer => return false,
            Self::ValueOfKey if told.key.is_none() => return false,
            _ => {}
        }
        // One permit is what no number means.
        let asked = match (model, asked.value) {
            (Model::Semaphore, "null") => "1",
            (_, value) => value,
        };
        told.value != "null" && !is_same(asked, told.value)
    }
}

fn changed(invoke: &Event, end: &Event) -> HistoryError {
    let shown = |event: &Event| told::part(event.value().as_str()).into_owned();
    let problem = Problem::ValueChanged {
        f: end.f().to_owned(),
        invoked: shown(invoke),
        since: invoke.line(),
        found: shown(end),
    };
    HistoryError::at(end.line(), problem)
}
