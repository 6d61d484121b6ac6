//! Orders of transactions that explain all reads: is there one?
//!
//! Each transaction has two points: its reads happen at the first, its writes at the second.
//! Where transactions are serializable the two are one.
//!
//! ```text
//! A writes x      ──w──────             either B comes before A, or behind A and all
//! R reads it           ──r────          that read what A wrote
//! B writes x         ─────w──
//! ```
//!
//! That is a choice for each two writers of a key. Under snapshot isolation, too, one of
//! the two must have written before the other read.
//!
//! Models that are weaker let transactions see different orders, but still there is one order
//! of the versions of each key. So `ww` and `wr` are drawn, and a missed write is not: what it
//! says is that the reader has seen nothing that came behind that write.
//!
//! - Consistent view: so it is for each missed write.
//! - Update serializability: for those that are missed by a transaction that only reads.
//! - Read atomicity asks least: who read a write of another has not missed a second one. From two
//!   reads follows the order of two versions, and there is nothing to choose.

use super::super::anomaly::Order;
use super::super::effort::{Effort, Shortage};
use super::super::order::{Arc, Problem, Side};
use super::super::txns::{NONE, Status, Txns, What};
use super::narrow::{Times, narrow};
use super::versions::{Version, Versions};
use crate::unsat_core::{Answer, Core, ONE_BY_ONE_MAX, core};

/// How many transactions may be put in an order if real time is of no help.
const AT_ONCE_MAX: usize = 10_000;

/// How many steps it takes to ask for an arc.
const STEPS_PER_ARC: u64 = 4;

/// After a key in so many it is guessed how many arcs all have.
const SAMPLE: usize = 8;

/// What the order must be like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ideal {
    Serial,
    Snapshots,
    /// Those that write are serial, and each of the others sees an order of them.
    Updates,
    /// Who has seen something has missed nothing that came before it.
    View,
    /// Who has seen a write has missed none of the same transaction.
    Atomic,
}

/// An order of the versions that is known: of a key, the places of two.
pub(super) type Known = (u32, usize, usize);

/// The event before which a transaction cannot have happened, and that by which it had.
pub(super) type Interval = (u32, u32);

pub(super) struct Orders<'t, 'h> {
    pub(super) txns: &'t Txns<'h>,
    pub(super) versions: &'t Versions,
    /// By transaction, ascending by where they begin: in real time.
    pub(super) times: Vec<Interval>,
    pub(super) known: &'t [Known],
    /// What the searches may take.
    effort: &'t Effort,
}

/// What became of the search for an order.
pub(super) struct Found {
    pub(super) answer: Answer,
    /// Transactions around which there is none.
    pub(super) conflict: Vec<u32>,
    /// One that there is, if it was asked for.
    pub(super) order: Option<Vec<u32>>,
}

/// A question as one about points.
struct Posed<'e> {
    problem: Problem<'e>,
    /// Whose points they are, in the order of the points.
    order: Vec<u32>,
}

/// What is asked of an order.
#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) ideal: Ideal,
    pub(super) order: Order,
    /// When transactions happened, where that counts.
    pub(super) times: Option<&'q [Interval]>,
}

impl<'t, 'h> Orders<'t, 'h> {
    pub(super) fn of(
        txns: &'t Txns<'h>,
        versions: &'t Versions,
        known: &'t [Known],
        effort: &'t Effort,
    ) -> Self {
        let invoked = txns.txns.iter().map(|txn| txn.invoked);
        Self {
            txns,
            versions,
            times: invoked.zip(ends(txns, versions)).collect(),
            known,
            effort,
        }
    }

    pub(super) fn question(&self, ideal: Ideal, order: Order) -> Question<'_> {
        let times = (order == Order::RealTime).then_some(self.times.as_slice());
        Question {
            ideal,
            order,
            times,
        }
    }

    /// The transactions that took effect.
    pub(super) fn all(&self) -> Vec<u32> {
        let count = u32::try_from(self.txns.len()).unwrap_or(NONE);
        let happened = |txn: &u32| self.versions.happened[*txn as usize];
        (0..count).filter(happened).collect()
    }

    /// Whether there is such an order of these transactions, ascending, all of which took
    /// effect: what they read of others counts for nothing.
    pub(super) fn exists(&self, question: Question<'_>, among: &[u32]) -> Found {
        self.effort.begin();
        self.solved(question, among, false)
    }

    /// As [`exists`](Self::exists), where it is of use to know and no more.
    pub(super) fn exists_nearby(&self, question: Question<'_>, among: &[u32]) -> Found {
        self.effort.begin_small();
        self.solved(question, among, false)
    }

    /// As [`exists`](Self::exists), and one that there is: with transactions that have one point
    /// each.
    pub(super) fn ordered(&self, question: Question<'_>, among: &[u32]) -> Found {
        self.effort.begin();
        self.solved(question, among, true)
    }

    fn solved(&self, question: Question<'_>, among: &[u32], in_order: bool) -> Found {
        let among = &self.with_effect(among);
        let Some(Posed { problem, order }) = self.problem(question, among) else {
            return Found {
                answer: Answer::Unknown,
                conflict: Vec::new(),
                order: None,
            };
        };
        let solution = match in_order {
            true => problem.solve_in_order(),
            false => problem.solve(),
        };
        let ends = solution.conflict.map(|(from, to)| [from, to]);
        let txn = |point: u32| order[point as usize / question.ideal.points()];
        let sorted = |points: Vec<u32>| points.into_iter().map(txn).collect();
        Found {
            answer: solution.answer,
            conflict: ends.into_iter().flatten().map(txn).collect(),
            order: solution.order.map(sorted),
        }
    }

    /// Those of these transactions that took effect as far as these tell. Of one whose outcome
    /// is not known, who read what it wrote does.
    fn with_effect(&self, among: &[u32]) -> Vec<u32> {
        let is_read = |txn: u32| {
            let mut readers = readers(self.txns, self.versions, txn);
            readers.any(|reader| among.binary_search(&reader).is_ok())
        };
        let took_effect = |txn: &u32| self.txns.committed(*txn) || is_read(*txn);
        among.iter().copied().filter(took_effect).collect()
    }

    /// Such a serial order of these transactions; none when none is found.
    pub(super) fn find(&self, question: Question<'_>, among: &[u32]) -> Option<Vec<u32>> {
        self.ordered(question, among).order
    }

    /// The question as one about points; none when it has too many arcs, or the time is over.
    fn problem(&self, question: Question<'_>, among: &[u32]) -> Option<Posed<'t>> {
        if self.effort.is_over() {
            return None;
        }
        if question.times.is_none() && among.len() > AT_ONCE_MAX {
            self.effort.lacks(Shortage::Transactions(AT_ONCE_MAX));
            return None;
        }
        let mut asked = Asked::new(self, question, among);
        asked.add_processes();
        asked.add_known();
        let keys = asked.keys();
        for (number, key) in keys.iter().copied().enumerate() {
            if number > 0 && number == keys.len() / SAMPLE {
                // And some more, for the others may have more.
                asked.problem.expect(SAMPLE + 1);
            }
            match question.ideal {
                Ideal::Atomic => asked.add_key_of_atoms(key),
                _ => asked.add_key(key),
            }
            if asked.is_too_large() {
                return None;
            }
        }
        Some(Posed {
            problem: asked.problem,
            order: asked.order,
        })
    }

    /// Of transactions that have no such order some that have none.
    pub(super) fn core(&self, question: Question<'_>, txns: Vec<u32>) -> Core<u32> {
        core(txns, ONE_BY_ONE_MAX, |txns| {
            self.exists_nearby(question, txns).answer
        })
    }
}

impl Ideal {
    /// How many points a transaction has.
    fn points(self) -> usize {
        match self {
            Self::Snapshots => 2,
            _ => 1,
        }
    }
}

/// By transaction: by when it had happened. Where it is not known, somebody had read its
/// writes by then.
fn ends(txns: &Txns<'_>, versions: &Versions) -> Vec<u32> {
    let all = (0..).zip(&txns.txns);
    all.map(|(number, txn)| match txn.status {
        Status::Committed => txn.returned,
        _ => end(txns, versions, number, |_| true),
    })
    .collect()
}

/// By when a transaction of unknown outcome had happened, as those of its readers tell that
/// count.
fn end(txns: &Txns<'_>, versions: &Versions, txn: u32, counts: impl Fn(u32) -> bool) -> u32 {
    let invoked = txns.txns[txn as usize].invoked;
    let readers = readers(txns, versions, txn).filter(|reader| counts(*reader));
    let ends = readers.map(|reader| txns.txns[reader as usize].returned);
    // A reader that had returned before the writer was invoked is a circle of its own.
    ends.filter(|end| *end > invoked).min().unwrap_or(NONE)
}

/// Who read what a transaction wrote.
fn readers<'t>(
    txns: &'t Txns<'_>,
    versions: &'t Versions,
    txn: u32,
) -> impl Iterator<Item = u32> + 't {
    let micro = txns.micro(txn).iter();
    let written = micro.filter_map(move |micro| match micro.what {
        What::Write(value) => versions.left_behind(micro.key, value),
        What::Read(_) => None,
    });
    written.flat_map(|version| version.readers.iter().copied())
}

struct Asked<'o, 't, 'h> {
    orders: &'o Orders<'t, 'h>,
    question: Question<'o>,
    among: &'o [u32],
    /// By transaction from the first on: its first point, or [`NONE`].
    points: Vec<u32>,
    /// Likewise: the event before which it cannot have happened, and that by which it had, as far
    /// as those tell that are in.
    spans: Vec<Interval>,
    /// The same transactions by where their spans begin.
    order: Vec<u32>,
    problem: Problem<'t>,
    /// How many arcs there were when steps were taken for them last.
    counted: usize,
}

impl<'o, 't, 'h> Asked<'o, 't, 'h> {
    fn new(orders: &'o Orders<'t, 'h>, question: Question<'o>, among: &'o [u32]) -> Self {
        let width = match (among.first(), among.last()) {
            (Some(first), Some(last)) => (last - first + 1) as usize,
            _ => 0,
        };
        let mut asked = Self {
            orders,
            question,
            among,
            points: vec![NONE; width],
            spans: vec![(0, NONE); width],
            order: among.to_vec(),
            problem: Problem::within(orders.effort),
            counted: 0,
        };
        let points = question.ideal.points();
        // Who is in has a point, whichever it will be.
        for txn in among {
            asked.points[(txn - among[0]) as usize] = 0;
        }
        for txn in among {
            asked.spans[(txn - among[0]) as usize] = asked.span_among(*txn);
        }
        asked.narrow();
        let spans = &asked.spans;
        let begin = |txn: &u32| spans[(txn - among[0]) as usize].0;
        asked.order.sort_by_key(begin);
        for (number, txn) in asked.order.iter().enumerate() {
            let point = u32::try_from(number * points).unwrap_or(NONE);
            asked.points[(txn - among[0]) as usize] = point;
        }
        for txn in asked.order.clone() {
            let (invoked, returned) = asked.span(txn);
            for _ in 0..points {
                asked.add_point(invoked, returned);
            }
            if question.ideal == Ideal::Snapshots {
                let arc = (asked.reads(txn), asked.writes(txn));
                asked.problem.arcs.push(arc);
            }
        }
        asked
    }

    /// Narrows the spans by what was read, if that tells when all happened and they stay spans.
    fn narrow(&mut self) {
        if self.question.times.is_none() || self.question.ideal != Ideal::Serial {
            return;
        }
        let all = &self.orders.versions.keys;
        let keys: Vec<&[Version]> = self.keys().iter().map(|key| &*all[*key]).collect();
        let is_in: Vec<bool> = self.points.iter().map(|point| *point != NONE).collect();
        let mut spans = self.spans.clone();
        let mut times = Times {
            spans: &mut spans,
            first: self.among.first().copied().unwrap_or(0),
            is_in: &is_in,
        };
        if narrow(&mut times, &keys) {
            self.spans = spans;
        }
    }

    /// Whether it takes more than there is.
    fn is_too_large(&mut self) -> bool {
        let size = self.problem.size();
        let new = size - std::mem::replace(&mut self.counted, size);
        let steps = 1 + STEPS_PER_ARC * new as u64;
        self.orders.effort.spend(steps) || self.problem.is_too_large()
    }

    fn point(&self, txn: u32) -> Option<u32> {
        let first = *self.among.first()?;
        let point = *self.points.get(txn.checked_sub(first)? as usize)?;
        (point != NONE).then_some(point)
    }

    fn is_in(&self, txn: u32) -> bool {
        self.point(txn).is_some()
    }

    /// The keys that matter.
    fn keys(&self) -> Vec<usize> {
        let keys = self.orders.versions.keys.len();
        if self.among.len() >= keys {
            return (0..keys).collect();
        }
        let micro = self
            .among
            .iter()
            .flat_map(|txn| self.orders.txns.micro(*txn));
        let mut keys: Vec<usize> = micro.map(|micro| micro.key as usize).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn add_point(&mut self, invoked: u32, returned: u32) {
        self.problem.invoked.push(invoked);
        self.problem.returned.push(returned);
    }

    /// When a transaction reads.
    fn reads(&self, txn: u32) -> u32 {
        self.point(txn)
            .expect("only those are asked about that are in")
    }

    /// When it writes.
    fn writes(&self, txn: u32) -> u32 {
        self.reads(txn) + u32::from(self.question.ideal == Ideal::Snapshots)
    }

    fn add_processes(&mut self) {
        if self.question.order != Order::Process {
            return;
        }
        let mut last = rustc_hash::FxHashMap::default();
        for txn in self.among {
            let process = self.orders.txns.operation(*txn).process();
            if let Some(before) = last.insert(process, *txn) {
                let arc = (self.writes(before), self.reads(*txn));
                self.problem.arcs.push(arc);
            }
        }
    }

    fn add_known(&mut self) {
        for (key, first, second) in self.orders.known {
            let versions = &self.orders.versions.keys[*key as usize];
            let (first, second) = (&versions[*first], &versions[*second]);
            let other = second.writer;
            if second.writer == NONE || !self.is_in(second.writer) {
                continue;
            }
            let to = second.writer;
            if first.writer != NONE && first.writer != other && self.is_in(first.writer) {
                let arc = (self.writes(first.writer), self.writes(to));
                self.problem.arcs.push(arc);
            }
            if self.question.ideal == Ideal::Atomic {
                continue;
            }
            for reader in first.readers.iter().filter(|reader| **reader != other) {
                if self.is_in(*reader) {
                    let arc = (self.reads(*reader), self.writes(to));
                    self.add_missed(*reader, arc);
                }
            }
        }
    }

    /// Whether it is no more than a bar that this one missed a write.
    fn is_barred(&self, reader: u32) -> bool {
        match self.question.ideal {
            Ideal::Serial | Ideal::Snapshots => false,
            Ideal::Updates => self.orders.txns.only_reads(reader),
            Ideal::View | Ideal::Atomic => true,
        }
    }

    fn add_missed(&mut self, reader: u32, arc: Arc) {
        match self.is_barred(reader) {
            true => self.problem.barred.push(arc),
            false => self.problem.arcs.push(arc),
        }
    }

    fn add_key(&mut self, key: usize) {
        let mut writers = self.add_reads(key);
        writers.sort_unstable_by_key(|(writer, _)| (self.span(*writer).0, *writer));
        self.add_before_all(key, &writers);
        self.add_behind(key, &writers);
        self.add_choices(key, &writers);
    }

    /// Who read a version comes after its writer. Returns the writers, and their places.
    fn add_reads(&mut self, key: usize) -> Vec<(u32, u32)> {
        let versions = &self.orders.versions.keys[key];
        let is_in = |txn: &u32| self.is_in(*txn);
        let (mut writers, mut arcs) = (Vec::new(), Vec::new());
        for (place, version) in (0_u32..).zip(versions) {
            if version.writer != NONE && is_in(&version.writer) {
                writers.push((version.writer, place));
                let wrote = self.writes(version.writer);
                let (_, end) = self.span(version.writer);
                // Who began after it had returned comes after it anyway.
                let is_near = |reader: &&u32| is_in(reader) && self.span(**reader).0 <= end;
                let readers = version.readers.iter().filter(is_near);
                arcs.extend(readers.map(|reader| (wrote, self.reads(*reader))));
            }
        }
        self.problem.arcs.append(&mut arcs);
        writers
    }

    /// Of who read the key from one transaction, and another key from a second one that wrote
    /// both, this write of the second is the earlier one.
    fn add_key_of_atoms(&mut self, key: usize) {
        self.add_reads(key);
        let versions = &self.orders.versions.keys[key];
        let of_key = u32::try_from(key).unwrap_or(NONE);
        for (place, version) in versions.iter().enumerate() {
            let is_first = place == 0;
            if !is_first && (version.writer == NONE || !self.is_in(version.writer)) {
                continue;
            }
            for reader in &version.readers {
                if !self.is_in(*reader) {
                    continue;
                }
                for other in self.seen_writers(*reader, of_key) {
                    let (wrote, read) = (self.writes(other), self.reads(*reader));
                    if is_first {
                        self.problem.barred.push((read, wrote));
                    } else if other != version.writer {
                        let arc = (wrote, self.writes(version.writer));
                        self.problem.arcs.push(arc);
                    }
                }
            }
        }
    }

    /// The others that a transaction has read from that wrote a key, too.
    fn seen_writers(&self, reader: u32, key: u32) -> Vec<u32> {
        let (txns, versions) = (self.orders.txns, self.orders.versions);
        let micro = txns.micro(reader).iter();
        let writer = |micro: &super::super::txns::MicroOp| {
            let What::Read(seen) = micro.what else {
                return None;
            };
            let place = versions.version_read(txns, seen)?;
            Some(versions.keys[micro.key as usize][place].writer)
        };
        let mut writers: Vec<u32> = micro
            .filter_map(writer)
            .filter(|writer| *writer != NONE && *writer != reader && self.is_in(*writer))
            .filter(|writer| versions.version_written(txns, *writer, key).is_some())
            .collect();
        writers.sort_unstable();
        writers.dedup();
        writers
    }

    fn span(&self, txn: u32) -> Interval {
        self.spans[(txn - self.among[0]) as usize]
    }

    /// When a transaction may have happened, as far as those tell that are in: who read it and
    /// is not says nothing of it.
    fn span_among(&self, txn: u32) -> Interval {
        let Some(times) = self.question.times else {
            return (0, NONE);
        };
        let (begin, by_all) = times[txn as usize];
        let Orders { txns, versions, .. } = self.orders;
        match txns.committed(txn) {
            true => (begin, by_all),
            false => (
                begin,
                by_all.max(end(txns, versions, txn, |reader| self.is_in(reader))),
            ),
        }
    }

    /// Who found nothing comes before all writers.
    fn add_before_all(&mut self, key: usize, writers: &[(u32, u32)]) {
        let nothing = &self.orders.versions.keys[key][0];
        for reader in &nothing.readers {
            if self.is_in(*reader) {
                self.come_before(*reader, writers);
            }
        }
    }

    /// A reader comes before all of these writers but itself. Those that began after it
    /// had returned do so anyway.
    fn come_before(&mut self, reader: u32, writers: &[(u32, u32)]) {
        let (_, end) = self.span(reader);
        let near = writers.partition_point(|(writer, _)| self.span(*writer).0 <= end);
        for (writer, _) in &writers[..near] {
            if *writer != reader {
                let arc = (self.reads(reader), self.writes(*writer));
                let is_hopeless = self.span(*writer).1 < self.span(reader).0;
                self.add_missed(reader, arc);
                if is_hopeless {
                    return;
                }
            }
        }
    }

    /// Who read a version comes before all writers that began after its own had returned.
    fn add_behind(&mut self, key: usize, writers: &[(u32, u32)]) {
        if self.question.times.is_none() {
            return;
        }
        for (writer, place) in writers {
            let (_, end) = self.span(*writer);
            let from = writers.partition_point(|(other, _)| self.span(*other).0 <= end);
            let versions = &self.orders.versions.keys[key];
            for reader in &versions[*place as usize].readers {
                if self.is_in(*reader) {
                    self.come_before(*reader, &writers[from..]);
                }
            }
        }
    }

    /// Of two writers whose spans overlap one is first.
    fn add_choices(&mut self, key: usize, writers: &[(u32, u32)]) {
        let met: Vec<Interval> = writers
            .iter()
            .map(|(_, place)| self.met(key, *place))
            .collect();
        let (mut first, mut second) = (Side::default(), Side::default());
        for (at, (one, place)) in writers.iter().enumerate() {
            let (_, end) = self.span(*one);
            if self.is_too_large() {
                return;
            }
            for (other_at, (other, other_place)) in (at + 1..).zip(&writers[at + 1..]) {
                if self.span(*other).0 > end {
                    break;
                }
                if self.span(*other).1 < self.span(*one).0 {
                    continue;
                }
                let (is_first, is_second) =
                    (met[at].1 < met[other_at].0, met[other_at].1 < met[at].0);
                if is_first || !is_second {
                    self.arcs(key, (*one, *place), *other, &mut first);
                }
                if is_second || !is_first {
                    self.arcs(key, (*other, *other_place), *one, &mut second);
                }
                if !is_first && !is_second {
                    self.problem.choose(&first, &second);
                    continue;
                }
                if is_first {
                    self.problem.arcs.extend(&first.arcs);
                }
                if is_second {
                    self.problem.arcs.extend(&second.arcs);
                }
            }
        }
    }

    /// When the last of those began who met a version, and when the first of them had happened:
    /// if that was before one began who met another version, this one was there before that.
    fn met(&self, key: usize, place: u32) -> Interval {
        let version = &self.orders.versions.keys[key][place as usize];
        let (mut begin, mut end) = self.span(version.writer);
        if !matches!(self.question.ideal, Ideal::Serial | Ideal::Snapshots) {
            return (0, NONE);
        }
        for reader in version.readers.iter().filter(|reader| self.is_in(**reader)) {
            let span = self.span(*reader);
            (begin, end) = (begin.max(span.0), end.min(span.1));
        }
        (begin, end)
    }

    /// What follows if one writer of a key, whose version has this place, comes before another.
    fn arcs(&self, key: usize, (one, place): (u32, u32), other: u32, side: &mut Side) {
        let readers = &self.orders.versions.keys[key][place as usize].readers;
        let others = readers
            .iter()
            .filter(|reader| **reader != other && self.is_in(**reader));
        let behind = match self.question.ideal {
            Ideal::Snapshots => self.reads(other),
            _ => self.writes(other),
        };
        let (_, end) = self.span(other);
        side.arcs.clear();
        side.barred.clear();
        side.arcs.push((self.writes(one), behind));
        for reader in others {
            // Who returned before the other began comes before it anyway.
            if self.span(*reader).1 < self.span(other).0 {
                continue;
            }
            let arc = (self.reads(*reader), self.writes(other));
            match self.is_barred(*reader) {
                true => side.barred.push(arc),
                false => side.arcs.push(arc),
            }
            // Those behind it began no earlier.
            let times = self.question.times;
            if times.is_some_and(|times| times[*reader as usize].0 > end) {
                break;
            }
        }
    }
}
