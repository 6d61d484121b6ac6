//! Sentences for people.

use super::cycle::Step;
use super::cycles::Relations;
use super::graph::Why;
use super::txns::{Status, Txns};

/// How many elements of a list are shown.
const SHOWN_MAX: usize = 12;

/// A transaction by its place in the history.
pub(super) fn who(txns: &Txns<'_>, txn: u32) -> String {
    let operation = txns.operation(txn);
    format!(
        "the transaction by process {} in line {}",
        operation.process(),
        operation.invoke.line
    )
}

/// A list, of which only the end is shown when it is long.
pub(super) fn shown(txns: &Txns<'_>, list: &[u32]) -> String {
    let left_out = list.len().saturating_sub(SHOWN_MAX);
    let ellipsis = (left_out > 0).then(|| format!("({left_out} more)"));
    let rest = list[left_out..]
        .iter()
        .map(|value| txns.values[*value as usize].text.to_string());
    let parts: Vec<String> = ellipsis.into_iter().chain(rest).collect();
    format!("[{}]", parts.join(", "))
}

/// The sentence about a cycle, and the transactions that prove it.
pub(super) fn cycle(
    txns: &Txns<'_>,
    relations: &dyn Relations,
    steps: &[Step],
) -> (String, Vec<u32>) {
    let mut members: Vec<u32> = steps.iter().map(|step| step.from).collect();
    let evidence: Vec<u32> = steps
        .iter()
        .flat_map(|step| relations.evidence(step))
        .collect();
    members.extend(evidence);
    members.sort_unstable();
    members.dedup();
    let name = |txn: u32| {
        let at = members.binary_search(&txn).expect("each is a member");
        format!("T{}", at + 1)
    };
    let said: Vec<String> = steps
        .iter()
        .map(|step| say(relations, step, &name))
        .collect();
    let (last, before) = said.split_last().expect("a cycle has steps");
    let who: Vec<String> = members
        .iter()
        .map(|txn| introduce(txns, *txn, &name(*txn)))
        .collect();
    let sentence = format!("{}, yet {last} ({})", before.join(", "), who.join(", "));
    (sentence, members)
}

fn say(relations: &dyn Relations, step: &Step, name: &impl Fn(u32) -> String) -> String {
    let (first, second) = (name(step.from), name(step.to));
    match step.why {
        Why::RealTime => format!("{first} had been acknowledged before {second} began"),
        Why::Process => format!("{second} was done by the process that had done {first}"),
        _ => relations.say(step, &first, &second),
    }
}

/// A transaction by its name here, and where it is found.
pub(super) fn introduce(txns: &Txns<'_>, txn: u32, name: &str) -> String {
    let operation = txns.operation(txn);
    let outcome = match txns.status(txn) {
        Status::Committed => "",
        _ => " with unknown outcome",
    };
    format!(
        "{name} by process {}, line {}{outcome}",
        operation.process(),
        operation.invoke.line
    )
}
