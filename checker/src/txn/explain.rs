//! Sentences and witnesses.

use super::cycle::Cycle;
use super::extract::{Read, Txns, Write};
use super::graph::{Edge, Why};
use super::model::{Model, Node, What};
use crate::history::{Operation, Outcome};
use crate::verdict::{Class, Kind, Violation};

const ABORTED: Kind = Kind {
    name: "G1a",
    meaning: "aborted read: a value was seen whose writer had failed",
};
const INTERMEDIATE: Kind = Kind {
    name: "G1b",
    meaning: "intermediate read: a value was seen that its writer overwrote itself",
};
const GARBAGE: Kind = Kind {
    name: "garbage-read",
    meaning: "a value was seen that nobody wrote",
};
const MIXED: Kind = Kind {
    name: "mixed-snapshot",
    meaning: "an attempt saw parts of several states of the store that never were one",
};
const UNREPEATABLE: Kind = Kind {
    name: "unrepeatable-read",
    meaning: "a transaction read a key twice and saw it change",
};
const TWICE: Kind = Kind {
    name: "committed-twice",
    meaning: "a transaction took effect more than once",
};
const SAME_REVISION: Kind = Kind {
    name: "same-revision",
    meaning: "two transactions committed at one revision",
};

/// Two transactions that say to have written at the same revision.
pub(super) fn same_revision(txns: &Txns<'_>, revision: i64, nodes: [Node; 2]) -> Violation {
    let operations = nodes
        .iter()
        .filter_map(|node| node.txn)
        .map(|txn| txns.operation(txn));
    let sentence = format!(
        "two transactions both committed at revision {revision}, but a revision belongs to one"
    );
    Violation::new(Class::Safety, SAME_REVISION, sentence, operations)
}

/// A read of another value than its version holds. `writer` made that revision;
/// none when it was there before the run.
pub(super) fn other_value(
    txns: &Txns<'_>,
    reader: usize,
    read: &Read<'_>,
    writer: Option<usize>,
) -> Violation {
    let saw = saw(txns, reader, read);
    let Some(writer) = writer else {
        let sentence = format!("{saw}, but before the run that revision held something else");
        return Violation::new(Class::Safety, GARBAGE, sentence, [txns.operation(reader)]);
    };
    let process = txns.operation(writer).process();
    let is_it =
        |write: &&super::extract::Write<'_>| write.key == read.key && write.value == read.value;
    let (kind, what) = match txns.txns[writer].intermediate.iter().find(is_it) {
        Some(_) => (
            INTERMEDIATE,
            "overwrote that value itself before it committed",
        ),
        None if writer == reader => (GARBAGE, "is itself what committed at that revision"),
        None => (GARBAGE, "wrote something else at that revision"),
    };
    let sentence = format!("{saw}, but the transaction by process {process} {what}");
    Violation::new(
        Class::Safety,
        kind,
        sentence,
        [txns.operation(reader), txns.operation(writer)],
    )
}

/// Two reads of the same version that saw different values.
pub(super) fn two_values(
    txns: &Txns<'_>,
    read: &Read<'_>,
    first: usize,
    second: usize,
) -> Violation {
    let sentence = format!(
        "{}, but process {} saw another value there",
        saw(txns, second, read),
        txns.operation(first).process()
    );
    Violation::new(
        Class::Safety,
        GARBAGE,
        sentence,
        [txns.operation(first), txns.operation(second)],
    )
}

/// A read of a version that no transaction can have made.
pub(super) fn nobody_wrote(txns: &Txns<'_>, reader: usize, read: &Read<'_>) -> Violation {
    let saw = saw(txns, reader, read);
    let same = |(_, write): &&(usize, Write<'_>)| write.value == read.value;
    let mut failed = txns.failed.iter().filter(same);
    let there = failed.clone().find(|(_, write)| write.key == read.key);
    let Some((failed, _)) = there else {
        let written = txns.txns.iter().flat_map(|txn| &txn.writes);
        let elsewhere = written
            .filter(|write| write.value == read.value)
            .chain(failed.next().map(|(_, write)| write))
            .find(|write| write.key != read.key)
            .filter(|_| read.value.is_some())
            .map(|write| format!("; that value was written to {}", txns.show_key(write.key)));
        let sentence = format!(
            "{saw}, but no transaction that may have committed wrote it{}",
            elsewhere.unwrap_or_default()
        );
        return Violation::new(Class::Safety, GARBAGE, sentence, [txns.operation(reader)]);
    };
    let writer = &txns.operations[*failed];
    let whole = txns
        .runs
        .transaction_of(*failed)
        .map(|whole| &txns.operations[whole]);
    let (kind, sentence) = match whole {
        None => (
            ABORTED,
            format!("{saw}, but the transaction that wrote it had failed and so did not happen"),
        ),
        Some(whole) if whole.outcome() == Outcome::Ok => (
            TWICE,
            format!(
                "{saw}; an attempt of the transaction by process {} wrote that, which was then run again and committed: it took effect twice",
                whole.process()
            ),
        ),
        Some(whole) => (
            ABORTED,
            format!(
                "{saw}, but that was written by an attempt of the transaction by process {} that had not committed",
                whole.process()
            ),
        ),
    };
    let operations = [writer, txns.operation(reader)].into_iter().chain(whole);
    Violation::new(Class::Safety, kind, sentence, operations)
}

/// A transaction that read one key in two versions.
pub(super) fn changed(txns: &Txns<'_>, reader: usize) -> Violation {
    let reads = &txns.txns[reader].reads;
    let again = |at: &usize| reads[..*at].iter().any(|read| read.key == reads[*at].key);
    let at = (0..reads.len()).find(again).expect("a key was read twice");
    let sentence = format!(
        "{}, but it had read another version before",
        saw(txns, reader, &reads[at])
    );
    Violation::new(
        Class::Safety,
        UNREPEATABLE,
        sentence,
        [txns.operation(reader)],
    )
}

/// A key that was found absent and never can have been.
pub(super) fn never_absent(txns: &Txns<'_>, reader: usize, key: usize) -> Violation {
    let (process, key) = (txns.operation(reader).process(), txns.show_key(key));
    let sentence = format!(
        "a transaction by process {process} found {key} absent, but it was there before the run and nobody deleted it"
    );
    Violation::new(Class::Safety, GARBAGE, sentence, [txns.operation(reader)])
}

fn saw(txns: &Txns<'_>, reader: usize, read: &Read<'_>) -> String {
    let process = txns.operation(reader).process();
    let what = match txns.txns[reader].is_attempt {
        true => "an attempt",
        false => "a transaction",
    };
    let value = read.value.as_deref().unwrap_or("absent");
    let revision = read
        .revision
        .map(|revision| format!(" of revision {revision}"));
    format!(
        "{what} by process {process} read {} as `{value}`{}",
        txns.show_key(read.key),
        revision.unwrap_or_default()
    )
}

/// Transactions that each must come before the next.
pub(super) fn cycle(txns: &Txns<'_>, model: &Model, cycle: &Cycle) -> Violation {
    let mut members: Vec<usize> = cycle
        .edges
        .iter()
        .flat_map(|edge| [edge.from, edge.to])
        .collect();
    members.extend(versions_read(model, cycle));
    members.extend(sights(model, &members));
    members.sort_by_key(|node| (model.nodes[*node].invoked, *node));
    members.dedup();
    let named: Vec<usize> = members
        .iter()
        .copied()
        .filter(|node| model.nodes[*node].txn.is_some())
        .collect();
    let name = |node: usize| match named.iter().position(|other| *other == node) {
        Some(index) => format!("T{}", index + 1),
        None => format!(
            "an unseen transaction at revision {}",
            model.nodes[node].revision.unwrap_or_default()
        ),
    };
    let steps: Vec<String> = cycle
        .edges
        .iter()
        .map(|edge| step(txns, edge, &name))
        .collect();
    let operations: Vec<&Operation<'_>> = named
        .iter()
        .filter_map(|node| model.nodes[*node].txn)
        .map(|txn| txns.operation(txn))
        .collect();
    let who: Vec<String> = operations
        .iter()
        .enumerate()
        .map(|(index, operation)| who(index, operation))
        .collect();
    let (last, before) = steps.split_last().expect("a cycle has edges");
    let sentence = format!("{}, yet {last} ({})", before.join(", "), who.join(", "));
    let is_attempt = |operation: &&Operation<'_>| operation.invoke.f == "attempt";
    let is_mixed = operations.iter().any(is_attempt)
        && cycle.edges.iter().all(|edge| edge.why != Why::RealTime);
    let kind = if is_mixed { MIXED } else { cycle.kind };
    Violation::new(Class::Safety, kind, sentence, operations)
}

/// The writers of the versions that were read before they were overwritten: without
/// them the reads of a witness would be of nothing.
fn versions_read<'m>(model: &'m Model, cycle: &'m Cycle) -> impl Iterator<Item = usize> + 'm {
    let missed = cycle.edges.iter().filter(|edge| edge.why == Why::Missed);
    missed.filter_map(|edge| {
        let read = model
            .reads
            .iter()
            .filter(|read| read.node == edge.from && read.key == edge.key);
        let versions = &model.versions[edge.key];
        let version = read.filter_map(|read| match read.what {
            What::Version(version) => Some(version),
            What::Absent => None,
        });
        let is_before = |version: &usize| {
            let overwriter = model.nodes[edge.to].revision;
            overwriter.is_some_and(|revision| versions[*version].revision < revision)
        };
        let mut before = version.filter(is_before);
        before.next().and_then(|version| versions[version].writer)
    })
}

/// For each revision that nobody reported: somebody who saw it.
fn sights(model: &Model, members: &[usize]) -> Vec<usize> {
    let unseen = members
        .iter()
        .filter(|node| model.nodes[**node].txn.is_none());
    let revisions = unseen.filter_map(|node| model.nodes[*node].revision);
    let readers: Vec<usize> = revisions
        .filter_map(|revision| model.unexplained.get(&revision))
        .map(|unexplained| unexplained.seen[0].1)
        .collect();
    let is_reader = |node: &usize| {
        model.nodes[*node]
            .txn
            .is_some_and(|txn| readers.contains(&txn))
    };
    (0..model.nodes.len()).filter(is_reader).collect()
}

fn step(txns: &Txns<'_>, edge: &Edge, name: &impl Fn(usize) -> String) -> String {
    let (first, second) = (name(edge.from), name(edge.to));
    match edge.why {
        Why::Overwrote => format!(
            "{second} overwrote {} after {first} wrote it",
            txns.show_key(edge.key)
        ),
        Why::Read => format!(
            "{second} read {} as {first} wrote it",
            txns.show_key(edge.key)
        ),
        Why::Missed => format!(
            "{first} read {} before {second} wrote it",
            txns.show_key(edge.key)
        ),
        Why::RealTime => format!("{first} had been acknowledged before {second} began"),
    }
}

fn who(index: usize, operation: &Operation<'_>) -> String {
    let outcome = match operation.outcome() {
        _ if operation.invoke.f == "attempt" => ", an attempt",
        Outcome::Ok => "",
        _ => " with unknown outcome",
    };
    format!(
        "T{} by process {}, line {}{outcome}",
        index + 1,
        operation.process(),
        operation.invoke.line
    )
}
