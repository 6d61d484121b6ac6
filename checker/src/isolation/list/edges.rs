//! The dependencies that lists show.

use super::super::anomaly::Anomaly;
use super::super::cycle::Step;
use super::super::cycles::Relations;
use super::super::explain::Clause;
use super::super::graph::{Builder, Graph, Why};
use super::super::group::Group;
use super::super::sentence::Sentence;
use super::super::txns::{NONE, Status, Txns, What};
use super::by_themselves;
use super::versions::{INCOMPATIBLE, Versions};

/// The dependencies between all transactions that committed, or must have because
/// somebody saw what they did.
///
/// Those that appended what nobody has seen come after all others of the key, in an order
/// that nobody knows; or in that of their returns, if that is to be tried.
pub(super) fn graph(txns: &Txns<'_>, versions: &Versions, unseen: Unseen) -> Graph {
    let mut edges = Edges {
        txns,
        versions,
        builder: Builder::new(txns.spans(), txns.micro.len() * 3 / 2),
        happened: happened(txns, versions),
        unseen: Vec::new(),
    };
    edges.find_unseen(unseen);
    edges.add_overwrites();
    edges.add_reads();
    edges.builder.finish()
}

/// In which order unseen appends happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unseen {
    /// Nobody knows.
    InAnyOrder,
    /// As their transactions returned.
    AsReturned,
    /// Each before all others, which tells what may depend on it.
    InACircle,
}

/// Whether the order of some appends is not known.
pub(super) fn is_order_open(txns: &Txns<'_>, versions: &Versions) -> bool {
    let happened = happened(txns, versions);
    let mut writer_of = vec![NONE; txns.keys.len()];
    txns.values
        .iter()
        .zip(&versions.place)
        .any(|(value, place)| {
            if *place != NONE || value.writer == NONE || !happened[value.writer as usize] {
                return false;
            }
            let other = std::mem::replace(&mut writer_of[value.key as usize], value.writer);
            other != NONE && other != value.writer
        })
}

/// By key: those whose appends nobody has seen, each once.
pub(super) fn unseen(txns: &Txns<'_>, versions: &Versions) -> Vec<Vec<u32>> {
    let mut unseen = unseen_writers(txns, versions, &happened(txns, versions));
    for writers in &mut unseen {
        writers.sort_unstable();
        writers.dedup();
    }
    unseen
}

fn unseen_writers(txns: &Txns<'_>, versions: &Versions, happened: &[bool]) -> Vec<Vec<u32>> {
    let mut writers = vec![Vec::new(); txns.keys.len()];
    for (value, place) in txns.values.iter().zip(&versions.place) {
        if *place == NONE && value.writer != NONE && happened[value.writer as usize] {
            writers[value.key as usize].push(value.writer);
        }
    }
    writers
}

struct Edges<'t, 'h> {
    txns: &'t Txns<'h>,
    versions: &'t Versions,
    builder: Builder,
    happened: Vec<bool>,
    /// By key: those whose appends nobody has seen. All of them come after whoever wrote or
    /// read the longest list, in an order that nobody knows.
    unseen: Vec<Group>,
}

/// Who took effect: who knows it, and those of whom somebody has read an element.
pub(super) fn happened(txns: &Txns<'_>, versions: &Versions) -> Vec<bool> {
    let mut happened: Vec<bool> = txns
        .txns
        .iter()
        .map(|txn| txn.status == Status::Committed)
        .collect();
    for (value, place) in txns.values.iter().zip(&versions.place) {
        if *place != NONE && value.writer != NONE {
            let writer = value.writer as usize;
            happened[writer] |= txns.txns[writer].status != Status::Failed;
        }
    }
    happened
}

impl Edges<'_, '_> {
    fn find_unseen(&mut self, unseen: Unseen) {
        let writers = unseen_writers(self.txns, self.versions, &self.happened);
        for (key, mut writers) in (0..).zip(writers) {
            if unseen == Unseen::InACircle {
                let nexts = writers.iter().cycle().skip(1);
                for (one, next) in writers.iter().zip(nexts) {
                    self.builder.edge(*one, *next, Why::Overwrote, key);
                }
            }
            if unseen == Unseen::AsReturned {
                let spans = &self.txns.txns;
                writers.sort_by_key(|writer| (spans[*writer as usize].returned, *writer));
                for pair in writers.windows(2) {
                    self.builder.edge(pair[0], pair[1], Why::Overwrote, key);
                }
                writers.truncate(1);
            }
            writers.sort_unstable();
            self.unseen.push(Group::of(writers, &mut self.builder));
        }
    }

    /// Whoever appended comes after whoever appended before.
    fn add_overwrites(&mut self) {
        for key in 0..self.txns.keys.len() {
            let key = u32::try_from(key).expect("keys are few");
            let mut before = None;
            for value in self.versions.elements(key) {
                let writer = self.txns.writer(*value);
                let Some(writer) = writer.filter(|writer| self.happened[*writer as usize]) else {
                    continue;
                };
                if let Some(before) = before {
                    self.builder.edge(before, writer, Why::Overwrote, key);
                }
                before = Some(writer);
            }
            if let Some(last) = before {
                self.unseen[key as usize].after(last, Why::Overwrote, key, &mut self.builder);
            }
        }
    }

    /// Whoever read comes after the writer of what was read, and before the next one.
    fn add_reads(&mut self) {
        for txn in 0..self.txns.len() {
            let txn = u32::try_from(txn).expect("transactions are few");
            for micro in self.txns.micro(txn) {
                let What::Read(seen) = micro.what else {
                    continue;
                };
                let version = self.versions.version[seen as usize];
                if version == INCOMPATIBLE {
                    let last = self.versions.incompatible[&seen].last();
                    let writer = last.and_then(|value| self.txns.writer(*value));
                    self.add_read(writer, txn, micro.key);
                    continue;
                }
                let elements = self.versions.elements(micro.key);
                let (read, later) = elements.split_at(version as usize);
                let writer = read.last().and_then(|value| self.txns.writer(*value));
                self.add_read(writer, txn, micro.key);
                let mut later = later.iter().filter_map(|value| self.txns.writer(*value));
                match later.find(|writer| self.happened[*writer as usize]) {
                    Some(next) => self.builder.edge(txn, next, Why::Missed, micro.key),
                    None => {
                        let unseen = &self.unseen[micro.key as usize];
                        unseen.after(txn, Why::Missed, micro.key, &mut self.builder);
                    }
                }
            }
        }
    }

    fn add_read(&mut self, writer: Option<u32>, txn: u32, key: u32) {
        if let Some(writer) = writer.filter(|writer| self.happened[*writer as usize]) {
            self.builder.edge(writer, txn, Why::Read, key);
        }
    }
}

/// What the lists say of two transactions.
pub(super) struct Lists<'t, 'h> {
    pub(super) txns: &'t Txns<'h>,
    pub(super) versions: &'t Versions,
    /// Whether these are some of the transactions alone, to see what they show by themselves.
    pub(super) is_part: bool,
}

impl<'t, 'h> Lists<'t, 'h> {
    pub(super) fn of(txns: &'t Txns<'h>, versions: &'t Versions) -> Self {
        Self {
            txns,
            versions,
            is_part: false,
        }
    }

    /// The places of what a transaction appended to a key: the first and the last. What
    /// nobody saw is behind the end.
    fn places(&self, txn: u32, key: u32) -> Option<(u32, u32)> {
        let places = self
            .txns
            .micro(txn)
            .iter()
            .filter_map(|micro| match micro.what {
                What::Write(value) if micro.key == key => Some(self.versions.place[value as usize]),
                _ => None,
            });
        places.fold(None, |range: Option<(u32, u32)>, place| {
            let (first, last) = range.unwrap_or((place, place));
            Some((first.min(place), last.max(place)))
        })
    }

    /// The versions of a key that a transaction read: the first and the last.
    fn reads(&self, txn: u32, key: u32) -> Option<(u32, u32)> {
        let reads = self
            .txns
            .micro(txn)
            .iter()
            .filter_map(|micro| match micro.what {
                What::Read(seen) if micro.key == key => Some(self.versions.version[seen as usize]),
                _ => None,
            });
        let reads = reads.filter(|version| *version != INCOMPATIBLE);
        reads.fold(None, |range: Option<(u32, u32)>, version| {
            let (first, last) = range.unwrap_or((version, version));
            Some((first.min(version), last.max(version)))
        })
    }

    /// What a transaction appended to a key, as it is shown to people: the first element
    /// that is neither before `first` nor behind `last`.
    fn element(&self, txn: u32, key: u32, first: u32, last: u32) -> String {
        let micro = self.txns.micro(txn).iter();
        let values = micro.filter_map(|micro| match micro.what {
            What::Write(value) if micro.key == key => Some(value),
            _ => None,
        });
        let place = |value: u32| self.versions.place[value as usize];
        let within = values.filter(|value| (first..=last).contains(&place(*value)));
        let value = within.min_by_key(|value| place(*value));
        value.map_or_else(
            || "something".to_owned(),
            |value| self.txns.show_value(value),
        )
    }
}

impl Relations for Lists<'_, '_> {
    fn between(&self, first: u32, second: u32) -> Vec<(Why, u32)> {
        let mut found = Vec::new();
        for micro in self.txns.micro(first) {
            let key = micro.key;
            let (wrote, read) = (self.places(first, key), self.reads(first, key));
            let (writes, reads) = (self.places(second, key), self.reads(second, key));
            if let (Some((mine, _)), Some((_, theirs))) = (wrote, writes)
                && mine < theirs
            {
                found.push((Why::Overwrote, key));
            }
            if let (Some((mine, _)), Some((_, theirs))) = (wrote, reads)
                && mine < theirs
            {
                found.push((Why::Read, key));
            }
            if let (Some((mine, _)), Some((_, theirs))) = (read, writes)
                && mine <= theirs
            {
                found.push((Why::Missed, key));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn evidence(&self, step: &Step) -> Vec<u32> {
        match step.why {
            // Only who read both can tell which was first.
            Why::Overwrote => Some(self.versions.longest_reader[step.key as usize])
                .filter(|reader| *reader != NONE)
                .into_iter()
                .collect(),
            _ => Vec::new(),
        }
    }

    fn fewer(&self, anomaly: Anomaly, members: &[u32]) -> Option<(Sentence, Vec<u32>)> {
        if self.is_part {
            return None;
        }
        by_themselves::fewer(self.txns, anomaly, members)
    }

    fn say(&self, step: &Step) -> Clause {
        let key = step.key;
        let shown = self.txns.show_key(key);
        let (first, second) = (step.from, step.to);
        match step.why {
            Why::Overwrote => {
                let (earliest, _) = self.places(first, key).unwrap_or((0, NONE));
                let later = earliest.saturating_add(1);
                let (_, last) = self.places(second, key).unwrap_or((0, NONE));
                let later = self.element(second, key, later.min(last), NONE);
                let earlier = self.element(first, key, 0, NONE);
                let verb = format!("appended {later} to {shown} after");
                Clause::new(second, verb, first, format!(" had appended {earlier}"))
            }
            Why::Read => {
                let read = self.reads(second, key).map_or(NONE, |(_, version)| version);
                let element = self.element(first, key, 0, read.saturating_sub(1));
                let verb = format!("read {shown} with {element}, which");
                Clause::new(second, verb, first, " had appended")
            }
            _ => {
                let read = self.reads(first, key).map_or(0, |(version, _)| version);
                let element = self.element(second, key, read, NONE);
                let verb = format!("read {shown} before");
                Clause::new(first, verb, second, format!(" appended {element}"))
            }
        }
    }
}
