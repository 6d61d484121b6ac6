//! Events: one line of a history each.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Json, MicroOperation};

/// One event of a run: an operation begins, an operation ends, or the
/// environment did something.
#[derive(Clone, Debug, PartialEq, Eq)]
// Histories have millions of them. What almost every checker looks at stands together.
#[repr(C)]
pub struct Event {
    /// Argument or result; its shape depends on the model.
    pub value: Json,
    /// The operation, such as `enqueue`, or the kind of fault.
    pub f: Cow<'static, str>,
    /// Which end of an operation this is.
    pub kind: EventKind,
    /// Who.
    pub process: Process,
    /// The etcd revision that the operation took, or read at.
    pub revision: Option<i64>,
    /// Line of the file, counted from 1. The header is line 1.
    pub line: usize,
    /// Nanoseconds since the start of the run.
    pub time: u64,
    /// The logical client behind the process, when known. It survives the
    /// change of process that follows an unknown outcome.
    pub client: Option<u64>,
    /// Queue: the mod revision of the item that was dequeued.
    pub mod_revision: Option<i64>,
    /// Why the operation failed, or why its outcome is unknown.
    pub error: Option<String>,
}

impl Event {
    /// The value for people: the reads and writes of a transaction in words,
    /// anything else as the JSON that it is.
    pub fn value_text(&self) -> String {
        let text = self.value.as_str();
        match serde_json::from_str::<Vec<MicroOperation<'_>>>(text) {
            Ok(micro) if !micro.is_empty() => {
                let micro: Vec<String> = micro.iter().map(ToString::to_string).collect();
                format!("{{{}}}", micro.join(", "))
            }
            _ => text.to_owned(),
        }
    }
}

/// Who does an operation: a thread of control with at most one operation open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// A client's process. Never used again after an unknown outcome.
    Number(u64),
    /// The environment: faults, and marks such as
    /// [`LIVENESS_DEADLINE`].
    Nemesis,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "process {number}"),
            Self::Nemesis => f.write_str("the nemesis"),
        }
    }
}

/// Which end of an operation an event is, in Jepsen's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The operation begins.
    Invoke,
    /// It happened, between the two events.
    Ok,
    /// It certainly did not happen, and never will.
    Fail,
    /// Nobody knows: it may have happened, may happen later, or never.
    /// Also the kind of every event of the nemesis.
    Info,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        })
    }
}

/// Name of the nemesis event that says: every operation invoked before this
/// mark has had the time to finish. What is still open at the end of the
/// history then breaks liveness.
///
/// Its value may be an object with `bound_ns`, the time that was allowed since
/// the last fault healed.
pub const LIVENESS_DEADLINE: &str = "liveness-deadline";

/// The names that occur on almost every line, kept without an allocation.
pub(crate) fn known_name(name: Cow<'_, str>) -> Cow<'static, str> {
    match name.as_ref() {
        "enqueue" => Cow::Borrowed("enqueue"),
        "dequeue" => Cow::Borrowed("dequeue"),
        "txn" => Cow::Borrowed("txn"),
        "lock" => Cow::Borrowed("lock"),
        "unlock" => Cow::Borrowed("unlock"),
        "write" => Cow::Borrowed("write"),
        "watch" => Cow::Borrowed("watch"),
        "act" => Cow::Borrowed("act"),
        "read" => Cow::Borrowed("read"),
        "cas" => Cow::Borrowed("cas"),
        "get" => Cow::Borrowed("get"),
        "put" => Cow::Borrowed("put"),
        "append" => Cow::Borrowed("append"),
        "range" => Cow::Borrowed("range"),
        "delete" => Cow::Borrowed("delete"),
        "notice" => Cow::Borrowed("notice"),
        "attempt" => Cow::Borrowed("attempt"),
        "acquire" => Cow::Borrowed("acquire"),
        "release" => Cow::Borrowed("release"),
        "key" => Cow::Borrowed("key"),
        "campaign" => Cow::Borrowed("campaign"),
        "proclaim" => Cow::Borrowed("proclaim"),
        "leader" => Cow::Borrowed("leader"),
        "observe" => Cow::Borrowed("observe"),
        _ => Cow::Owned(name.into_owned()),
    }
}
