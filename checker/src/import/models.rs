//! Which model a history of another tool is for, judged by its operations.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::ImportError;
use super::collect::Collector;
use crate::history::{Event, EventKind, Header, History, Process, Source};

/// A history whose operations say what it is about.
pub(super) fn finish(mut collector: Collector<'_>, origin: &str) -> Result<History, ImportError> {
    let model = guess(collector.events()).unwrap_or("");
    if matches!(model, "register" | "cas-register") && is_independent(collector.events()) {
        take_apart(&mut collector)?;
    }
    finish_as(collector, model, origin)
}

/// Whether the registers are Jepsen's independent ones: each value is a tuple of a key
/// and the value itself, also that of a read that has not read yet.
fn is_independent(events: &[Event]) -> bool {
    let tuple = |event: &Event| -> bool {
        let value = event.value().as_str();
        let parts: Result<(&RawValue, &RawValue), _> = serde_json::from_str(value);
        match (event.f(), parts) {
            ("cas", Ok((_, second))) => second.get().starts_with('['),
            (_, parts) => parts.is_ok(),
        }
    };
    let mut invoked = events
        .iter()
        .filter(|event| event.process() != Process::Nemesis && event.kind() == EventKind::Invoke);
    // A register may hold lists, but a read begins with nothing.
    let is_read = |event: &&Event| event.f() == "read";
    match invoked.clone().find(is_read) {
        Some(read) => tuple(read),
        None => invoked.clone().next().is_some() && invoked.all(tuple),
    }
}

/// Turns tuples into objects with a key and a value.
fn take_apart(collector: &mut Collector<'_>) -> Result<(), ImportError> {
    for index in 0..collector.events().len() {
        let event = &collector.events()[index];
        if event.process() == Process::Nemesis || event.value().is_null() {
            continue;
        }
        let parts: Result<(&RawValue, &RawValue), _> = event.value().parse();
        let Ok((key, value)) = parts else {
            let detail = "the values of the other operations are tuples of a key and a value, but \
                          this one is not";
            return Err(collector.wrong_value(index, detail).into());
        };
        let text = format!("{{\"key\":{},\"value\":{}}}", key.get(), value.get());
        collector.set_value(index, super::jepsen::json(&text));
    }
    Ok(())
}

/// A history of this model.
#[expect(clippy::unnecessary_wraps, reason = "as its siblings")]
pub(super) fn finish_as(
    collector: Collector<'_>,
    model: &str,
    origin: &str,
) -> Result<History, ImportError> {
    let source = Source::Other {
        description: format!("read from {origin}"),
    };
    let header = Header::new("imported", model, source);
    Ok(collector.finish(header))
}

/// The model whose operations these are.
pub(super) fn guess(events: &[Event]) -> Option<&'static str> {
    let clients = || {
        let is_client = |event: &&Event| event.process() != Process::Nemesis;
        events.iter().filter(is_client)
    };
    // Collected at once they would be sorted first, all that there are.
    let mut names: BTreeSet<&str> = BTreeSet::new();
    clients().for_each(|event| {
        names.insert(event.f());
    });
    let are = |known: &[&str]| !names.is_empty() && names.iter().all(|name| known.contains(name));
    // What the first read that tells anything tells.
    let has_read = clients()
        .filter(|event| event.f() == "read" && event.kind() == EventKind::Ok)
        .map(|event| event.value().as_str())
        .find(|value| *value != "null");
    let begins = |values: &[&str]| {
        let begins = |event: &Event| {
            values
                .iter()
                .any(|value| event.value().as_str().starts_with(value))
        };
        clients().any(begins)
    };
    if are(&["read", "transfer"]) && has_read.is_some_and(is_balances) {
        return Some("bank");
    }
    if are(&["read", "write"]) && begins(&["[[\"r\",", "[[\"w\","]) {
        return Some("long-fork");
    }
    if are(&["read", "write"]) {
        return Some("register");
    }
    if are(&["read", "write", "cas"]) {
        return Some("cas-register");
    }
    if are(&["get", "put", "append", "delete"]) {
        return Some("kv");
    }
    if are(&["enqueue", "dequeue", "drain"]) {
        return Some("fifo-queue");
    }
    if are(&["acquire", "release"]) || are(&["lock", "unlock"]) {
        return Some("mutex");
    }
    if are(&["add", "read"]) {
        let is_list = has_read.is_none_or(|value| value.starts_with('['));
        return Some(if is_list { "set" } else { "counter" });
    }
    if are(&["txn"]) {
        let mentions = |what: &str| clients().any(|event| event.value().as_str().contains(what));
        return Some(if mentions("[\"append\"") {
            "list-append"
        } else if mentions("[\"read\"") || mentions("[\"write\"") {
            "multi-register"
        } else {
            "rw-register"
        });
    }
    None
}

/// Whether a value is an object, and not one that names a register.
fn is_balances(value: &str) -> bool {
    value.starts_with('{') && !value.starts_with("{\"key\":")
}
