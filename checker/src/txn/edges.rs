//! The dependencies that revisions show.
//!
//! As the versions of each key are in the order of their revisions, all dependencies are
//! known, but for reads of absent keys that can be explained in several ways: of these the
//! edges are drawn that follow from all explanations.

use super::absence::Deletable;
use super::extract::Txns;
use super::model::{Commits, Model, Node, What};
use crate::history::Operation;
use crate::isolation::anomaly::Anomaly;
use crate::isolation::cycle::Step;
use crate::isolation::cycles::Relations;
use crate::isolation::explain::{Clause, Parties};
use crate::isolation::graph::{Builder, Graph, NONE, Span, Why};
use crate::verdict::Kind;

/// The anomaly of attempts that saw no state that ever was, by whatever cycle that shows.
const MIXED: Kind = Kind {
    name: "mixed-snapshot",
    meaning: "an attempt saw parts of several states of the store that never were one",
};

/// A read between two versions of its key.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    pub(super) key: usize,
    /// The version that was seen, or one before; none for the time before the first.
    pub(super) version: Option<usize>,
    /// A version that was missed.
    pub(super) missed: Option<usize>,
}

/// What is known of the transactions of a model. They are numbered by their invocations.
pub(super) struct Revisions<'t, 'h> {
    pub(super) txns: &'t Txns<'h>,
    pub(super) model: Model,
    /// The node of each number.
    nodes: Vec<u32>,
    /// The number of each node.
    numbers: Vec<u32>,
    /// The reads, node by node.
    sights: Vec<Sight>,
    /// By node: where its reads begin; and the end.
    starts: Vec<usize>,
    /// Whether some read has several explanations.
    pub(super) is_ambiguous: bool,
    /// Whether some read may have seen what nobody knows of.
    pub(super) is_unseen: bool,
}

impl<'t, 'h> Revisions<'t, 'h> {
    pub(super) fn of(txns: &'t Txns<'h>, model: Model, commits: &Commits) -> Self {
        let count = u32::try_from(model.nodes.len()).expect("nodes are few");
        let mut nodes: Vec<u32> = (0..count).collect();
        nodes.sort_by_key(|node| model.nodes[*node as usize].invoked);
        let mut numbers = vec![0; nodes.len()];
        for (number, node) in (0..).zip(&nodes) {
            numbers[*node as usize] = number;
        }
        let mut revisions = Self {
            txns,
            sights: Vec::with_capacity(model.reads.len()),
            starts: Vec::with_capacity(model.nodes.len() + 1),
            model,
            nodes,
            numbers,
            is_ambiguous: false,
            is_unseen: false,
        };
        revisions.add_sights(&Deletable::of(txns, commits));
        revisions
    }

    fn add_sights(&mut self, deletable: &Deletable) {
        // Reads come in the order of their nodes.
        for read in &self.model.reads {
            while self.starts.len() <= read.node {
                self.starts.push(self.sights.len());
            }
            let versions = &self.model.versions[read.key];
            let (version, missed) = match read.what {
                What::Version(version) => {
                    let next = Some(version + 1).filter(|next| *next < versions.len());
                    (Some(version), next)
                }
                What::Absent => {
                    let Some(absence) = deletable.absence(&self.model, read.key) else {
                        continue;
                    };
                    self.is_ambiguous |= absence.is_ambiguous;
                    self.is_unseen |= absence.is_unseen;
                    (absence.after, absence.before)
                }
            };
            self.sights.push(Sight {
                key: read.key,
                version,
                missed,
            });
        }
        self.starts
            .resize(self.model.nodes.len() + 1, self.sights.len());
    }

    /// Index of the operation of a transaction; none when nobody reported it.
    pub(super) fn index_of(&self, number: u32) -> Option<usize> {
        let node = self.node(number);
        Some(self.txns.txns[node.txn?].operation)
    }

    /// The dependencies among all.
    pub(super) fn graph(&self) -> Graph {
        let all: Vec<u32> = (0..self.count()).collect();
        self.graph_of(&all)
    }

    /// The dependencies among some, ascending. They are numbered anew.
    pub(super) fn graph_of(&self, some: &[u32]) -> Graph {
        let as_u32 = |moment: usize| u32::try_from(moment).unwrap_or(NONE);
        let spans = some.iter().map(|txn| {
            let node = self.node(*txn);
            Span {
                invoked: as_u32(node.invoked),
                returned: as_u32(node.returned),
            }
        });
        let mut builder = Builder::new(spans.collect(), some.len() * 5);
        if some.is_empty() {
            return builder.finish();
        }
        let mut names = vec![NONE; self.nodes.len()];
        for (name, txn) in (0..).zip(some) {
            names[*txn as usize] = name;
        }
        self.each_edge(|from, to, why, key| {
            let (from, to) = (names[from as usize], names[to as usize]);
            if from != NONE && to != NONE {
                builder.edge(from, to, why, key);
            }
        });
        builder.finish()
    }

    /// Calls `found` with each dependency.
    pub(super) fn each_edge(&self, mut found: impl FnMut(u32, u32, Why, u32)) {
        for (key, versions) in (0..).zip(&self.model.versions) {
            // Of deletions at one revision only one found something; which, and so
            // which came first, is not known.
            let pairs = versions.windows(2);
            for pair in pairs.filter(|pair| pair[0].revision < pair[1].revision) {
                if let (Some(from), Some(to)) = (pair[0].writer, pair[1].writer) {
                    found(self.numbers[from], self.numbers[to], Why::Overwrote, key);
                }
            }
        }
        for (txn, sight) in self.all_sights() {
            let key = u32::try_from(sight.key).expect("keys are few");
            if let Some(writer) = self.writer(sight.key, sight.version) {
                found(writer, txn, Why::Read, key);
            }
            if let Some(writer) = self.writer(sight.key, sight.missed) {
                found(txn, writer, Why::Missed, key);
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.nodes.len()).expect("nodes are few")
    }

    /// The index among the model's nodes.
    pub(super) fn node_index(&self, number: u32) -> usize {
        self.nodes[number as usize] as usize
    }

    /// The number of a node, by its index.
    pub(super) fn number(&self, node: usize) -> u32 {
        self.numbers[node]
    }

    pub(super) fn node(&self, number: u32) -> Node {
        self.model.nodes[self.node_index(number)]
    }

    /// All reads, each with the number of its transaction.
    pub(super) fn all_sights(&self) -> impl Iterator<Item = (u32, Sight)> + '_ {
        (0..).zip(&self.nodes).flat_map(|(txn, node)| {
            let sights = self.sights_of(*node).iter();
            sights.map(move |sight| (txn, *sight))
        })
    }

    /// The reads of a transaction.
    pub(super) fn sights(&self, txn: u32) -> &[Sight] {
        self.sights_of(self.nodes[txn as usize])
    }

    fn sights_of(&self, node: u32) -> &[Sight] {
        let node = node as usize;
        &self.sights[self.starts[node]..self.starts[node + 1]]
    }

    /// Who wrote a version, if it was written in the run.
    pub(super) fn writer(&self, key: usize, version: Option<usize>) -> Option<u32> {
        let writer = self.model.versions[key][version?].writer?;
        Some(self.numbers[writer])
    }

    /// The version of a key that a transaction wrote.
    pub(super) fn written(&self, txn: u32, key: usize) -> Option<usize> {
        let node = self.node_index(txn);
        let revision = self.model.nodes[node].revision?;
        let versions = &self.model.versions[key];
        let first = versions.partition_point(|version| version.revision < revision);
        let mut own = (first..versions.len()).take_while(|at| versions[*at].revision == revision);
        own.find(|at| versions[*at].writer == Some(node))
    }

    /// The transaction of the history; none when nobody reported it.
    pub(super) fn txn(&self, txn: u32) -> Option<usize> {
        self.node(txn).txn
    }

    /// The revision of a transaction that nobody reported.
    pub(super) fn unreported_revision(&self, txn: u32) -> Option<i64> {
        let node = self.node(txn);
        node.revision.filter(|_| node.txn.is_none())
    }

    /// The keys that a transaction wrote.
    pub(super) fn keys_written(&self, txn: u32) -> impl Iterator<Item = usize> + '_ {
        let writes = self.txn(txn).map(|txn| &self.txns.txns[txn].writes);
        writes.into_iter().flatten().map(|write| write.key)
    }

    fn revision(&self, key: usize, version: usize) -> i64 {
        self.model.versions[key][version].revision
    }

    /// Somebody who saw what an unreported transaction wrote.
    fn seen_by(&self, txn: u32) -> Option<u32> {
        let node = self.node(txn);
        if node.txn.is_some() {
            return None;
        }
        let (_, reader, _) = self.model.unexplained[&node.revision?].seen[0];
        let is_reader = |number: &u32| self.txn(*number) == Some(reader);
        (0..).take(self.nodes.len()).find(is_reader)
    }
}

impl Parties for Revisions<'_, '_> {
    fn operation(&self, txn: u32) -> Option<&Operation<'_>> {
        Some(self.txns.operation(self.txn(txn)?))
    }

    fn process(&self, txn: u32) -> Option<u64> {
        let known = self.txn(txn)?;
        // Attempts are parts of what their process does.
        let is_attempt = self.txns.txns[known].is_attempt;
        (!is_attempt).then(|| self.txns.operation(known).process())
    }

    fn only_reads(&self, txn: u32) -> bool {
        let known = self.txn(txn);
        known.is_some_and(|known| self.txns.txns[known].writes.is_empty())
    }

    fn unreported(&self, txn: u32) -> String {
        let node = self.node(txn);
        let revision = node.revision.unwrap_or_default();
        format!("an unseen transaction at revision {revision}")
    }

    fn remark(&self, txn: u32) -> &'static str {
        match self.txn(txn) {
            Some(txn) if self.txns.txns[txn].is_attempt => ", an attempt",
            Some(txn) if self.txns.returned(txn) == usize::MAX => " with unknown outcome",
            _ => "",
        }
    }

    fn kind(&self, anomaly: Anomaly, witness: &[u32]) -> Kind {
        let is_attempt = |txn: &u32| {
            self.txn(*txn)
                .is_some_and(|txn| self.txns.txns[txn].is_attempt)
        };
        if witness.iter().any(is_attempt) && anomaly.needs_no_order() {
            return MIXED;
        }
        anomaly.kind()
    }
}

impl Relations for Revisions<'_, '_> {
    fn between(&self, first: u32, second: u32) -> Vec<(Why, u32)> {
        let mut found = Vec::new();
        let as_u32 = |key: usize| u32::try_from(key).expect("keys are few");
        for key in self.keys_written(first) {
            let Some(mine) = self.written(first, key) else {
                continue;
            };
            let revision = self.revision(key, mine);
            let is_later = |theirs: usize| self.revision(key, theirs) > revision;
            if self.written(second, key).is_some_and(is_later) {
                found.push((Why::Overwrote, as_u32(key)));
            }
            let sights = self.sights(second).iter();
            let mut versions = sights
                .filter(|sight| sight.key == key)
                .map(|sight| sight.version);
            if versions.any(|version| version == Some(mine)) {
                found.push((Why::Read, as_u32(key)));
            }
        }
        for sight in self.sights(first) {
            let key = sight.key;
            if let (Some(missed), Some(theirs)) = (sight.missed, self.written(second, key))
                && self.revision(key, theirs) >= self.revision(key, missed)
            {
                found.push((Why::Missed, as_u32(key)));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The writers of what was read before it was overwritten: without them the reads of a
    /// witness would be of nothing. And for each transaction that nobody reported, somebody
    /// who saw it.
    fn evidence(&self, step: &Step) -> Vec<u32> {
        let ends = [step.from, step.to].into_iter();
        let mut evidence: Vec<u32> = ends.filter_map(|txn| self.seen_by(txn)).collect();
        if step.why == Why::Missed {
            let key = step.key as usize;
            let overwritten = self.written(step.to, key);
            let until = overwritten.map_or(i64::MAX, |version| self.revision(key, version));
            let sights = self.sights(step.from).iter();
            let versions = sights.filter(|sight| sight.key == key);
            let mut before = versions
                .filter_map(|sight| sight.version)
                .filter(|version| self.revision(key, *version) < until);
            let version = before.next();
            evidence.extend(self.writer(key, version).filter(|_| version.is_some()));
        }
        evidence
    }

    fn say(&self, step: &Step) -> Clause {
        let key = self.txns.show_key(step.key as usize);
        let (first, second) = (step.from, step.to);
        let (subject, verb, object) = match step.why {
            Why::Overwrote => (second, format!("overwrote {key} after"), first),
            Why::Read => (second, format!("read {key} as"), first),
            _ => (first, format!("read {key} before"), second),
        };
        Clause::new(subject, verb, object, " wrote it")
    }
}
