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
//! repeat anything. The FIFO queue and the multi-register look themselves, on their way.
//!
//! O(n).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::history::{
    Event, EventKind, History, HistoryError, PerProcess, Problem, Process, Scanner,
};
use crate::keyed::{Keyed, text};
use crate::model::Model;
use crate::mutex;

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
    /// All micro-operations, but for the values of reads.
    MicroOperations,
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
        (Model::Mutex | Model::RwLock, _) => Repeated::Fields,
        (Model::ListAppend | Model::RwRegister | Model::LongFork, _) => Repeated::MicroOperations,
        _ => return None,
    })
}

/// Whether the model says of any completion what it repeats, in this history.
fn is_looked_at(history: &History, model: Model) -> bool {
    match model {
        Model::Mutex | Model::RwLock => mutex::is_of(history),
        model => repeated(model, "enqueue").or(repeated(model, "")).is_some(),
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
        kind == EventKind::Ok || kind == EventKind::Info && self == Self::MicroOperations
    }

    /// Whether the completion tells of something else than was asked. What has another shape
    /// than the model wants is not told here.
    fn is_another(self, model: Model, invoke: &Event, end: &Event) -> bool {
        let (asked, told) = (invoke.value().as_str(), end.value().as_str());
        match self {
            Self::MicroOperations => micro_operations_differ(asked, told),
            Self::Fields => fields_differ(asked, told),
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

/// Whether two values are the same to models, to which the number `1` and the string `"1"` are.
fn is_same(one: &str, other: &str) -> bool {
    if one == other || text(one) == text(other) {
        return true;
    }
    let lists: (Result<Vec<&RawValue>, _>, Result<Vec<&RawValue>, _>) =
        (serde_json::from_str(one), serde_json::from_str(other));
    if let (Ok(one), Ok(other)) = lists {
        let mut pairs = one.iter().zip(&other);
        return one.len() == other.len()
            && pairs.all(|(one, other)| is_same(one.get(), other.get()));
    }
    // Objects may be spaced in another way.
    let values: (Result<serde_json::Value, _>, Result<serde_json::Value, _>) =
        (serde_json::from_str(one), serde_json::from_str(other));
    matches!(values, (Ok(one), Ok(other)) if one == other)
}

/// Whether a field that both objects have differs.
fn fields_differ(asked: &str, told: &str) -> bool {
    type Fields<'t> = BTreeMap<Cow<'t, str>, &'t RawValue>;
    let fields = |text| serde_json::from_str::<Fields<'_>>(text);
    let (Ok(asked), Ok(told)) = (fields(asked), fields(told)) else {
        return false;
    };
    let mut both = told
        .iter()
        .filter_map(|(name, told)| Some((asked.get(name)?, told)));
    both.any(|(asked, told)| !is_same(asked.get(), told.get()))
}

const READ: &str = "r";

fn micro_operations_differ(asked: &str, told: &str) -> bool {
    if asked == "null" {
        return false;
    }
    let plain = plain_micro_operations_differ(&mut Scanner::new(asked), &mut Scanner::new(told));
    plain.unwrap_or_else(|| any_micro_operations_differ(asked, told))
}

/// The same of lists as almost every program writes them. Of others nothing is said.
fn plain_micro_operations_differ<'t>(
    asked: &mut Scanner<'t>,
    told: &mut Scanner<'t>,
) -> Option<bool> {
    both(asked, told, |list| list.expect(b'['))?;
    loop {
        both(asked, told, |list| list.expect(b'['))?;
        let kinds = both(asked, told, Scanner::string)?;
        both(asked, told, next_element)?;
        let keys = both(asked, told, Scanner::text)?;
        both(asked, told, next_element)?;
        let values = both(asked, told, Scanner::any)?;
        both(asked, told, |list| {
            list.skip_space();
            list.expect(b']')?;
            list.skip_space();
            Some(())
        })?;
        let is_same_value = kinds.0 == READ || is_same(values.0, values.1);
        if kinds.0 != kinds.1 || keys.0 != keys.1 || !is_same_value {
            return Some(true);
        }
        match both(asked, told, Scanner::next)? {
            (b',', b',') => {}
            (b']', b']') => return (asked.is_at_end() && told.is_at_end()).then_some(false),
            _ => return None,
        }
        both(asked, told, |list| {
            list.skip_space();
            Some(())
        })?;
    }
}

fn both<'t, T>(
    one: &mut Scanner<'t>,
    other: &mut Scanner<'t>,
    take: impl Fn(&mut Scanner<'t>) -> Option<T>,
) -> Option<(T, T)> {
    Some((take(one)?, take(other)?))
}

fn next_element(list: &mut Scanner<'_>) -> Option<()> {
    list.skip_space();
    list.expect(b',')?;
    list.skip_space();
    Some(())
}

fn any_micro_operations_differ(asked: &str, told: &str) -> bool {
    let lists = |text| serde_json::from_str::<Vec<Vec<&RawValue>>>(text);
    let (Ok(asked), Ok(told)) = (lists(asked), lists(told)) else {
        return false;
    };
    if asked.len() != told.len() {
        return true;
    }
    asked.iter().zip(&told).any(|(asked, told)| {
        let is_read = asked
            .first()
            .is_some_and(|kind| text(kind.get()).as_deref() == Some(READ));
        // What a read found stands behind its key.
        let compared = if is_read { 2 } else { 3 };
        let part = |list: &[&RawValue]| list.len().min(compared);
        let mut parts = asked.iter().zip(told).take(compared);
        part(asked) != part(told) || parts.any(|(asked, told)| !is_same(asked.get(), told.get()))
    })
}

/// How much of a value an error shows, in characters.
const SHOWN_MAX: usize = 200;

fn changed(invoke: &Event, end: &Event) -> HistoryError {
    let shown = |event: &Event| {
        let text = event.value().as_str();
        match text.char_indices().nth(SHOWN_MAX) {
            Some((cut, _)) => format!("{}..", &text[..cut]),
            None => text.to_owned(),
        }
    };
    let problem = Problem::ValueChanged {
        f: end.f().to_owned(),
        invoked: shown(invoke),
        since: invoke.line(),
        found: shown(end),
    };
    HistoryError::at(end.line(), problem)
}
