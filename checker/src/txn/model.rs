//! Versions: what each key held after which revision, who wrote it and who saw it.

use std::collections::BTreeMap;

use super::absence::Deletable;
use super::explain;
use super::extract::{Read, Txns};
use crate::isolation::findings::Findings;

/// Revision by transaction: at which revision each is taken to have committed.
/// None for those that only read, whose revision is unknown, or that are taken not
/// to have committed.
pub(super) type Commits = Vec<Option<i64>>;

/// What a set of commits means.
pub(super) struct Model {
    /// Transactions that take part, then one node for each unexplained revision.
    pub(super) nodes: Vec<Node>,
    /// The versions of each key in the order of their revisions.
    pub(super) versions: Vec<Vec<Version>>,
    /// Reads of one version that is known, or of an absent key.
    pub(super) reads: Vec<Seen>,
    /// Revisions that somebody saw and that no transaction is known to have made.
    pub(super) unexplained: BTreeMap<i64, Unexplained>,
    /// Whether several transactions are taken to have committed at the same revision.
    pub(super) shares_revisions: bool,
}

/// A transaction, or a stand-in for one that nobody reported.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) txn: Option<usize>,
    /// Revision of its writes.
    pub(super) revision: Option<i64>,
    /// Index of the event before which it cannot have happened.
    pub(super) invoked: usize,
    /// Index of the event by which it had happened, or [`usize::MAX`].
    pub(super) returned: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Version {
    pub(super) revision: i64,
    /// None for what was there before the run.
    pub(super) writer: Option<usize>,
    /// Whether the key was present.
    pub(super) present: bool,
    /// The last revision of the store at which somebody who committed saw it.
    pub(super) seen_until: i64,
}

/// A read that is tied to the versions of its key.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) node: usize,
    pub(super) key: usize,
    pub(super) what: What,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    /// Index among the key's versions.
    Version(usize),
    Absent,
}

/// What is known of a revision that no transaction is known to have made.
#[derive(Clone, Default)]
pub(super) struct Unexplained {
    /// Key, and transaction that read it and index of its read, for each key.
    pub(super) seen: Vec<(usize, usize, usize)>,
    /// Index of the first event by which somebody had seen it.
    pub(super) seen_by: usize,
}

impl Model {
    /// Builds the versions, and notes what no order can explain.
    pub(super) fn of(txns: &Txns<'_>, commits: &Commits, findings: &mut Findings) -> Self {
        let mut model = Self {
            nodes: Vec::with_capacity(txns.txns.len()),
            versions: vec![Vec::new(); txns.keys.len()],
            reads: Vec::new(),
            unexplained: BTreeMap::new(),
            shares_revisions: false,
        };
        model.add_nodes(txns, commits);
        model.reserve(txns);
        let by_revision = model.add_versions(txns, findings);
        model.find_unexplained(txns, &by_revision, findings);
        model.add_stand_ins();
        model.sort_versions();
        model.tie_reads(txns);
        model.check_absences(txns, commits, findings);
        model
    }

    /// The gap-free range of store revisions at which this version was current.
    pub(super) fn window(&self, key: usize, version: usize) -> (i64, i64) {
        let versions = &self.versions[key];
        let next = versions
            .get(version + 1)
            .map_or(i64::MAX, |next| next.revision);
        (versions[version].revision, next - 1)
    }

    /// The first version of the key that is later than `revision`.
    pub(super) fn next_after(&self, key: usize, revision: i64) -> Option<&Version> {
        let versions = &self.versions[key];
        versions.get(versions.partition_point(|version| version.revision <= revision))
    }

    /// Whether the key was still seen as it was before `revision` at that revision or
    /// later.
    pub(super) fn seen_unchanged(&self, key: usize, revision: i64) -> bool {
        let versions = &self.versions[key];
        let before = versions
            .partition_point(|version| version.revision < revision)
            .checked_sub(1);
        before.is_some_and(|before| versions[before].seen_until >= revision)
    }

    /// The first range of store revisions, from `revision` on, at which the key was
    /// absent.
    pub(super) fn absent_from(&self, key: usize, revision: i64) -> Option<(i64, i64)> {
        let versions = &self.versions[key];
        let mut index = versions.partition_point(|version| version.revision <= revision);
        let current = index.checked_sub(1).map(|index| &versions[index]);
        if current.is_none_or(|version| !version.present) {
            let end = versions.get(index).map_or(i64::MAX, |next| next.revision);
            return Some((revision, end - 1));
        }
        index += versions[index..]
            .iter()
            .position(|version| !version.present)?;
        Some(self.window(key, index))
    }

    /// Makes room: lists that grow touch far more memory than they need in the end.
    fn reserve(&mut self, txns: &Txns<'_>) {
        let mut versions = vec![0; txns.keys.len()];
        let mut reads = 0;
        for txn in self.nodes.iter().filter_map(|node| node.txn) {
            let txn = &txns.txns[txn];
            reads += txn.reads.len();
            for write in &txn.writes {
                versions[write.key] += 1;
            }
        }
        self.reads.reserve_exact(reads);
        for (of_key, more) in self.versions.iter_mut().zip(versions) {
            of_key.reserve_exact(more);
        }
    }

    fn add_nodes(&mut self, txns: &Txns<'_>, commits: &Commits) {
        for (index, txn) in txns.txns.iter().enumerate() {
            if !txn.committed && commits[index].is_none() {
                continue;
            }
            let (invoked, returned) = (txn.invoked, txns.returned(index));
            self.nodes.push(Node {
                txn: Some(index),
                revision: commits[index],
                invoked,
                returned,
            });
        }
    }

    /// Adds what is known to have been written. Returns who made each revision, by
    /// revision.
    fn add_versions(&mut self, txns: &Txns<'_>, findings: &mut Findings) -> Vec<(i64, usize)> {
        for initial in &txns.initial {
            self.versions[initial.key].push(Version {
                revision: initial.revision,
                writer: None,
                present: true,
                seen_until: 0,
            });
        }
        let mut writers: Vec<(i64, usize)> = (0..)
            .zip(&self.nodes)
            .filter_map(|(at, node)| Some((node.revision?, at)))
            .collect();
        writers.sort_unstable();
        self.shares_revisions = writers.windows(2).any(|pair| pair[0].0 == pair[1].0);
        let puts = |at: usize| {
            self.nodes[at]
                .txn
                .is_some_and(|txn| !txns.txns[txn].only_deletes())
        };
        for pair in writers.windows(2) {
            // Of several that only deleted, all but one found nothing to delete.
            if pair[0].0 == pair[1].0 && (puts(pair[0].1) || puts(pair[1].1)) {
                let nodes = [self.nodes[pair[0].1], self.nodes[pair[1].1]];
                explain::same_revision(txns, pair[0].0, nodes).note(findings);
            }
        }
        for (revision, at) in &writers {
            let txn = self.nodes[*at].txn.expect("stand-ins come later");
            for write in &txns.txns[txn].writes {
                let version = Version {
                    revision: *revision,
                    writer: Some(*at),
                    present: write.value.is_some(),
                    seen_until: 0,
                };
                self.versions[write.key].push(version);
            }
        }
        self.sort_versions();
        // Of several that have one revision the last counts.
        writers.reverse();
        writers.dedup_by_key(|(revision, _)| *revision);
        writers.reverse();
        writers
    }

    /// Compares what was read with what was written, and notes the revisions that
    /// nobody is known to have made.
    fn find_unexplained(
        &mut self,
        txns: &Txns<'_>,
        by_revision: &[(i64, usize)],
        findings: &mut Findings,
    ) {
        for node in &self.nodes {
            let txn = node.txn.expect("stand-ins come later");
            for (index, read) in txns.txns[txn].reads.iter().enumerate() {
                let Some(revision) = read.revision.filter(|revision| *revision > 0) else {
                    continue;
                };
                if let Some(version) = find(&self.versions[read.key], revision) {
                    let version = &self.versions[read.key][version];
                    let writer = version.writer.and_then(|writer| self.nodes[writer].txn);
                    if writer == Some(txn)
                        || written(txns, &self.nodes, version, read) != read.value.as_deref()
                    {
                        explain::other_value(txns, txn, read, writer).note(findings);
                    }
                } else if let Ok(place) =
                    by_revision.binary_search_by_key(&revision, |(revision, _)| *revision)
                {
                    let writer = self.nodes[by_revision[place].1].txn;
                    explain::other_value(txns, txn, read, writer).note(findings);
                } else {
                    let entry = self
                        .unexplained
                        .entry(revision)
                        .or_insert_with(|| Unexplained {
                            seen: Vec::new(),
                            seen_by: usize::MAX,
                        });
                    entry.see(txns, read, (txn, index), findings);
                    entry.seen_by = entry.seen_by.min(node.returned);
                }
            }
        }
    }

    fn add_stand_ins(&mut self) {
        for (revision, unexplained) in &self.unexplained {
            let writer = self.nodes.len();
            self.nodes.push(Node {
                txn: None,
                revision: Some(*revision),
                invoked: 0,
                returned: usize::MAX,
            });
            for (key, ..) in &unexplained.seen {
                let at =
                    self.versions[*key].partition_point(|version| version.revision < *revision);
                self.versions[*key].insert(
                    at,
                    Version {
                        revision: *revision,
                        writer: Some(writer),
                        present: true,
                        seen_until: 0,
                    },
                );
            }
        }
    }

    fn sort_versions(&mut self) {
        for versions in &mut self.versions {
            versions.sort_by_key(|version| version.revision);
        }
    }

    fn tie_reads(&mut self, txns: &Txns<'_>) {
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(txn) = node.txn else { continue };
            for read in &txns.txns[txn].reads {
                let what = match read.revision {
                    None => continue,
                    Some(0) => What::Absent,
                    Some(revision) => {
                        let versions = &mut self.versions[read.key];
                        // There is none where who committed at that revision did not write
                        // the key.
                        let Some(version) = find(versions, revision) else {
                            continue;
                        };
                        let seen_until = &mut versions[version].seen_until;
                        *seen_until = node.revision.map_or(0, |own| own - 1).max(*seen_until);
                        What::Version(version)
                    }
                };
                self.reads.push(Seen {
                    node: at,
                    key: read.key,
                    what,
                });
            }
        }
    }
}

impl Model {
    /// A key that was there before the run can only be absent if somebody may have
    /// deleted it.
    fn check_absences(&self, txns: &Txns<'_>, commits: &Commits, findings: &mut Findings) {
        let deletable = Deletable::of(txns, commits);
        for read in self
            .reads
            .iter()
            .filter(|read| matches!(read.what, What::Absent))
        {
            let versions = &self.versions[read.key];
            let was_there = versions.first().is_some_and(|first| first.writer.is_none());
            if was_there
                && versions.iter().all(|version| version.present)
                && !deletable.may_be(read.key)
            {
                let reader = self.nodes[read.node].txn.expect("only transactions read");
                explain::never_absent(txns, reader, read.key).note(findings);
            }
        }
    }
}

impl Unexplained {
    fn see(
        &mut self,
        txns: &Txns<'_>,
        read: &Read<'_>,
        by: (usize, usize),
        findings: &mut Findings,
    ) {
        let Some((_, txn, index)) = self.seen.iter().find(|(key, ..)| *key == read.key) else {
            self.seen.push((read.key, by.0, by.1));
            return;
        };
        if txns.txns[*txn].reads[*index].value != read.value {
            explain::two_values(txns, read, *txn, by.0).note(findings);
        }
    }
}

fn find(versions: &[Version], revision: i64) -> Option<usize> {
    versions
        .binary_search_by_key(&revision, |version| version.revision)
        .ok()
}

/// What the version of the read's key holds.
fn written<'t>(
    txns: &'t Txns<'_>,
    nodes: &[Node],
    version: &Version,
    read: &Read<'_>,
) -> Option<&'t str> {
    match version.writer.and_then(|writer| nodes[writer].txn) {
        Some(txn) => txns.txns[txn]
            .writes
            .iter()
            .find(|write| write.key == read.key)?
            .value
            .as_deref(),
        None => {
            let is_it = |initial: &&super::extract::Initial| {
                initial.key == read.key && initial.revision == version.revision
            };
            txns.initial
                .iter()
                .find(is_it)
                .map(|initial| initial.value.as_str())
        }
    }
}
