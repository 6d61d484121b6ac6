//! Sentences and witnesses.

use super::extract::{Read, Txns, Write};
use super::model::Node;
use crate::history::{Operation, Outcome};
use crate::isolation::anomaly::{Anomaly, Dependencies, Order};
use crate::isolation::findings::Findings;
use crate::verdict::{Class, Violation};

/// An anomaly that shows without a cycle.
pub(super) struct Local {
    pub(super) anomaly: Anomaly,
    pub(super) violation: Violation,
}

impl Local {
    fn new<'h>(
        anomaly: Anomaly,
        sentence: String,
        operations: impl IntoIterator<Item = &'h Operation<'h>>,
    ) -> Self {
        Self {
            anomaly,
            violation: Violation::new(Class::Safety, anomaly.kind(), sentence, operations),
        }
    }

    pub(super) fn note(self, findings: &mut Findings) {
        findings.note(self.anomaly, || self.violation);
    }
}

/// Two transactions that say to have written at the same revision.
pub(super) fn same_revision(txns: &Txns<'_>, revision: i64, nodes: [Node; 2]) -> Local {
    let operations = nodes
        .iter()
        .filter_map(|node| node.txn)
        .map(|txn| txns.operation(txn));
    let sentence = format!(
        "two transactions both committed at revision {revision}, but a revision belongs to one"
    );
    Local::new(Anomaly::SameRevision, sentence, operations)
}

/// A read of another value than its version holds. `writer` made that revision;
/// none when it was there before the run.
pub(super) fn other_value(
    txns: &Txns<'_>,
    reader: usize,
    read: &Read<'_>,
    writer: Option<usize>,
) -> Local {
    let saw = saw(txns, reader, read);
    let Some(writer) = writer else {
        let sentence = format!("{saw}, but before the run that revision held something else");
        return Local::new(Anomaly::GarbageRead, sentence, [txns.operation(reader)]);
    };
    let process = txns.operation(writer).process();
    let is_it =
        |write: &&super::extract::Write<'_>| write.key == read.key && write.value == read.value;
    let (anomaly, what) = match txns.txns[writer].intermediate.iter().find(is_it) {
        Some(_) => (
            Anomaly::G1b,
            "overwrote that value itself before it committed",
        ),
        None if writer == reader => (
            Anomaly::GarbageRead,
            "is itself what committed at that revision",
        ),
        None => (
            Anomaly::GarbageRead,
            "wrote something else at that revision",
        ),
    };
    let sentence = format!("{saw}, but the transaction by process {process} {what}");
    Local::new(
        anomaly,
        sentence,
        [txns.operation(reader), txns.operation(writer)],
    )
}

/// Two reads of the same version that saw different values.
pub(super) fn two_values(txns: &Txns<'_>, read: &Read<'_>, first: usize, second: usize) -> Local {
    let sentence = format!(
        "{}, but process {} saw another value there",
        saw(txns, second, read),
        txns.operation(first).process()
    );
    Local::new(
        Anomaly::GarbageRead,
        sentence,
        [txns.operation(first), txns.operation(second)],
    )
}

/// A read of a version that no transaction can have made.
pub(super) fn nobody_wrote(txns: &Txns<'_>, reader: usize, read: &Read<'_>) -> Local {
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
        return Local::new(Anomaly::GarbageRead, sentence, [txns.operation(reader)]);
    };
    let writer = &txns.operations[*failed];
    let whole = txns
        .runs
        .transaction_of(*failed)
        .map(|whole| &txns.operations[whole]);
    let (anomaly, sentence) = match whole {
        None => (
            Anomaly::G1a,
            format!("{saw}, but the transaction that wrote it had failed and so did not happen"),
        ),
        Some(whole) if whole.outcome() == Outcome::Ok => (
            Anomaly::CommittedTwice,
            format!(
                "{saw}; an attempt of the transaction by process {} wrote that, which was then run again and committed: it took effect twice",
                whole.process()
            ),
        ),
        Some(whole) => (
            Anomaly::G1a,
            format!(
                "{saw}, but that was written by an attempt of the transaction by process {} that had not committed",
                whole.process()
            ),
        ),
    };
    let operations = [writer, txns.operation(reader)].into_iter().chain(whole);
    Local::new(anomaly, sentence, operations)
}

/// A read of a version that only a transaction can have made that had not begun.
pub(super) fn too_late(
    txns: &Txns<'_>,
    revision: i64,
    reader: usize,
    read: &Read<'_>,
) -> Violation {
    let kind = Anomaly::Cycle(Dependencies::G2Item, Order::RealTime).kind();
    let sentence = format!(
        "{}, but whoever can have written at revision {revision} began only after that was acknowledged, or after what follows from it",
        saw(txns, reader, read)
    );
    Violation::new(Class::Safety, kind, sentence, [txns.operation(reader)])
}

/// A transaction that read one key in two versions.
pub(super) fn changed(txns: &Txns<'_>, reader: usize) -> Local {
    let reads = &txns.txns[reader].reads;
    let again = |at: &usize| reads[..*at].iter().any(|read| read.key == reads[*at].key);
    let at = (0..reads.len()).find(again).expect("a key was read twice");
    let sentence = format!(
        "{}, but it had read another version before",
        saw(txns, reader, &reads[at])
    );
    Local::new(Anomaly::Internal, sentence, [txns.operation(reader)])
}

/// A key that was found absent and never can have been.
pub(super) fn never_absent(txns: &Txns<'_>, reader: usize, key: usize) -> Local {
    let (process, key) = (txns.operation(reader).process(), txns.show_key(key));
    let sentence = format!(
        "a transaction by process {process} found {key} absent, but it was there before the run and nobody deleted it"
    );
    Local::new(Anomaly::GarbageRead, sentence, [txns.operation(reader)])
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
