//! What is wrong with the reads.

use std::borrow::Cow;

use rustc_hash::{FxHashMap, FxHashSet};

use super::circle::Precedence;
use super::extract::{Read, Told};
use crate::history::Operation;
use crate::isolation::Anomaly;
use crate::verdict::{Class, Kind, Summary, Verdict, Violation};

const LONG_FORK: Kind = Kind {
    name: "long-fork",
    meaning: "reads saw writes in opposite orders",
};

impl<'o> Told<'o> {
    pub(super) fn verdict(&mut self, operations: &'o [Operation<'o>]) -> Verdict {
        let unwritten = self.unwritten(operations);
        if let (Some((violation, _)), None) = (&unwritten, self.blank) {
            return Verdict::Violation(violation.clone());
        }
        if let Some(violation) = self.fractured(operations) {
            return Verdict::Violation(violation);
        }
        let fork = self.groups.values_mut().find_map(|reads| fork(reads));
        if let Some((one, other)) = fork {
            let links = [only(&other, &one), only(&one, &other)].map(Link::of);
            return Verdict::Violation(self.forked(&[one, other], &links));
        }
        if let Some(violation) = self.unordered(operations) {
            return Verdict::Violation(violation);
        }
        match (unwritten, self.blank) {
            (Some((_, what)), Some(blank)) => Verdict::Unknown {
                reason: format!(
                    "{what}, unless the operation in line {} did, of which is not known what it \
                     was to write",
                    blank.invoke.line()
                ),
            },
            _ => Verdict::Valid(Summary::of(operations)),
        }
    }

    /// The first read of a value that nobody wrote, and what that is.
    fn unwritten(&self, operations: &[Operation<'_>]) -> Option<(Violation, String)> {
        let is_unwritten = |((key, value), _): &(&(u32, Cow<'_, str>), &usize)| {
            let written = self.written.get(key);
            written.is_none_or(|written| written.value.as_ref() != Some(value))
        };
        let all = self.values.iter().filter(is_unwritten);
        let ((key, value), reader) = all.min_by_key(|((key, _), reader)| (**reader, *key))?;
        let reader = &operations[*reader];
        let saw = format!(
            "process {} read {:?} in {:?}",
            reader.process(),
            value,
            self.keys.text(*key)
        );
        let failed = self.failed.get(&(*key, Some(value.clone())));
        let what = match failed {
            Some(_) => format!("{saw}, but the write of that had failed"),
            None => format!("{saw}, but nobody wrote it"),
        };
        let kind = match failed {
            Some(_) => Anomaly::G1a.kind(),
            None => Anomaly::GarbageRead.kind(),
        };
        let writer = failed.map(|writer| &operations[*writer]);
        let witness = writer.into_iter().chain([reader]);
        let violation = Violation::new(Class::Safety, kind, what.clone(), witness);
        Some((violation, what))
    }

    /// A read that has seen one of the keys that were written at once, and missed another one.
    fn fractured(&self, operations: &[Operation<'o>]) -> Option<Violation> {
        if self.writes_singly() {
            return None;
        }
        self.groups.iter().find_map(|(group, reads)| {
            reads.iter().find_map(|read| {
                let written = |key: &u32| Some(self.written.get(key)?.index);
                let missed = group.iter().filter(|key| !read.has_seen(**key));
                let missed: FxHashSet<usize> = missed.filter_map(written).collect();
                let mut seen = read.seen.iter().filter_map(written);
                let write = seen.find(|write| missed.contains(write))?;
                let link = self.link(group, read, operations, write, read);
                Some(self.forked(std::slice::from_ref(read), &[link]))
            })
        })
    }

    /// Whether no two keys were written at once.
    fn writes_singly(&self) -> bool {
        let mut writers = FxHashSet::default();
        let mut written = self.written.values();
        written.all(|written| writers.insert(written.index))
    }

    /// Whether each group of keys can be looked at by itself.
    fn is_apart(&self) -> bool {
        let mut keys = FxHashSet::default();
        let mut read = self.groups.keys().flatten();
        read.all(|key| keys.insert(*key)) && self.writes_singly()
    }

    /// Reads of several groups that have no order together.
    fn unordered(&self, operations: &[Operation<'o>]) -> Option<Violation> {
        if self.is_apart() {
            return None;
        }
        // Nobody is behind a write that nobody has seen.
        let seen = self
            .values
            .keys()
            .filter_map(|(key, _)| self.written.get(key));
        let seen: FxHashSet<usize> = seen.map(|written| written.index).collect();
        let reads = self.groups.iter().flat_map(|(group, reads)| {
            let with_group = move |read| (group, read);
            reads.iter().map(with_group)
        });
        let reads: FxHashMap<usize, (&Vec<u32>, &Read<'_>)> = reads
            .map(|(group, read)| (read.index, (group, read)))
            .collect();
        let precedence = Precedence::of(self.pairs(|write| seen.contains(&write)));
        let is_read = |index: u32| reads.contains_key(&(index as usize));
        let mut circle = precedence.circle(is_read)?;
        if !is_read(circle[0]) {
            circle.rotate_left(1);
        }
        let (mut members, mut links) = (Vec::new(), Vec::new());
        for at in (0..circle.len()).step_by(2) {
            let (group, read) = reads[&(circle[at] as usize)];
            let write = circle[at + 1] as usize;
            let (_, next) = reads[&(circle[(at + 2) % circle.len()] as usize)];
            members.push(read.clone());
            links.push(self.link(group, read, operations, write, next));
        }
        Some(self.forked(&members, &links))
    }

    /// The keys of a write that one read has missed, and another one seen: the same, if there is
    /// one.
    fn link<'l>(
        &self,
        group: &[u32],
        read: &Read<'_>,
        operations: &'l [Operation<'o>],
        write: usize,
        next: &Read<'_>,
    ) -> Link<'l, 'o> {
        let is_of = |key: &&u32| {
            let written = self.written.get(key);
            written.is_some_and(|written| written.index == write)
        };
        let missed = group.iter().filter(is_of);
        let mut missed = missed.filter(|key| !read.has_seen(**key));
        let seen = || next.seen.iter().filter(is_of);
        let both = missed.clone().find(|key| next.has_seen(**key));
        let first = both.or_else(|| missed.next()).copied().unwrap_or_default();
        Link {
            missed: first,
            seen: both.or_else(|| seen().next()).copied().unwrap_or(first),
            write: Some(&operations[write]),
        }
    }

    /// Each of these reads has missed what the next one has seen, and the last one what the first
    /// one has.
    fn forked(&self, reads: &[Read<'_>], links: &[Link<'_, '_>]) -> Violation {
        let name = |key: u32| self.keys.text(key);
        let told = reads.iter().enumerate().map(|(at, read)| {
            let seen = links[(at + links.len() - 1) % links.len()].seen;
            format!(
                "process {} {} {} and not that of {}",
                read.operation.process(),
                if at == 0 {
                    "saw the write of"
                } else {
                    "that of"
                },
                name(seen),
                name(links[at].missed)
            )
        });
        let told: Vec<String> = told.collect();
        let at_once = links.iter().filter(|link| link.missed != link.seen);
        let at_once: Vec<&Operation<'_>> = at_once.filter_map(|link| link.write).collect();
        let (kind, end) = match reads.len() {
            1 => (Anomaly::FracturedRead.kind(), ""),
            _ => (LONG_FORK, ": the writes have no order"),
        };
        let together = match at_once.is_empty() {
            true => "",
            false => ", although some of these were written at once",
        };
        let sentence = format!("{}{together}{end}", told.join(", "));
        let witness = reads.iter().map(|read| read.operation).chain(at_once);
        Violation::new(Class::Safety, kind, sentence, witness)
    }
}

/// A write that one read has missed, and the next one seen.
struct Link<'l, 'o> {
    /// The key that was missed.
    missed: u32,
    /// The one that was seen.
    seen: u32,
    /// Which write that is, where it may be of more than one key.
    write: Option<&'l Operation<'o>>,
}

impl Link<'_, '_> {
    fn of(key: u32) -> Self {
        Self {
            missed: key,
            seen: key,
            write: None,
        }
    }
}

/// Two reads of which neither saw all that the other one did.
fn fork<'o>(reads: &mut [Read<'o>]) -> Option<(Read<'o>, Read<'o>)> {
    reads.sort_by_key(|read| (read.seen.len(), read.operation.completed));
    let is_within =
        |one: &Read<'_>, other: &Read<'_>| one.seen.iter().all(|key| other.has_seen(*key));
    let mut pairs = reads.windows(2);
    let fork = pairs.find(|pair| !is_within(&pair[0], &pair[1]))?;
    Some((fork[0].clone(), fork[1].clone()))
}

/// A key that one of two such reads has seen and the other one not.
fn only(one: &Read<'_>, other: &Read<'_>) -> u32 {
    let mut seen = one.seen.iter();
    let only = seen.find(|key| !other.seen.contains(key));
    *only.expect("neither saw all that the other did")
}
