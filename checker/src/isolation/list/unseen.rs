//! In which order appends happened that nobody has seen: is there one that serves?
//!
//! Each two transactions that made such appends to a key are a choice. Nobody has read what they
//! appended, so nothing follows but that one comes before the other. As for registers, arrows of
//! `ww` and `wr` are drawn, and a missed write says no more than that nothing leads back to who
//! missed it, if that model lets transactions see different orders. Where each reads from a
//! snapshot, a transaction has two points: it reads at the first and writes at the second.

use rustc_hash::FxHashMap;

use super::super::anomaly::{Anomaly, Dependencies, Order};
use super::super::components::{Components, Rule};
use super::super::consistency::Consistency;
use super::super::cycle;
use super::super::effort::{Effort, Shortage};
use super::super::explain::{self, Parties as _};
use super::super::findings::Findings;
use super::super::graph::{Graph, Why};
use super::super::judge::UNASKED_MAX;
use super::super::order::{Arc, Problem, Side};
use super::super::txns::{MicroOp, NONE, Txns, What};
use super::super::updates;
use super::edges::{self, Unseen};
use super::versions::{INCOMPATIBLE, Versions};
use crate::unsat_core::{Answer, ONE_BY_ONE_MAX, core};

/// How many transactions may be put in an order.
const AT_ONCE_MAX: usize = 10_000;
/// How many choices there may be.
const CHOICES_MAX: usize = 4_000_000;

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ideal {
    /// No `G-update`.
    Updates,
    /// No `G-single`.
    View,
    /// No `G-nonadjacent`, also if this order counts.
    Snapshots(Order),
}

/// Who asks for it, and what there is if it does not exist.
const IDEALS: [(Ideal, Consistency, Anomaly); 5] = [
    (
        Ideal::View,
        Consistency::ConsistentView,
        Anomaly::Cycle(Dependencies::GSingle, Order::Any),
    ),
    (
        Ideal::Updates,
        Consistency::UpdateSerializable,
        Anomaly::GUpdate,
    ),
    (
        Ideal::Snapshots(Order::Any),
        Consistency::SnapshotIsolation,
        Anomaly::Cycle(Dependencies::GNonadjacent, Order::Any),
    ),
    (
        Ideal::Snapshots(Order::Process),
        Consistency::StrongSessionSnapshotIsolation,
        Anomaly::Cycle(Dependencies::GNonadjacent, Order::Process),
    ),
    (
        Ideal::Snapshots(Order::RealTime),
        Consistency::StrongSnapshotIsolation,
        Anomaly::Cycle(Dependencies::GNonadjacent, Order::RealTime),
    ),
];

/// What is looked at.
pub(super) struct Asked<'t, 'h> {
    pub(super) txns: &'t Txns<'h>,
    pub(super) versions: &'t Versions,
    /// The dependencies, if unseen appends happened in any order.
    pub(super) graph: &'t Graph,
    /// The same, if they happened as their transactions returned.
    pub(super) as_returned: &'t Graph,
    pub(super) required: &'t [Consistency],
    pub(super) effort: &'t Effort,
}

impl<'t, 'h> Asked<'t, 'h> {
    /// Strikes out what some order of the appends avoids, and notes what none does.
    pub(super) fn settle(&self, open: &mut Vec<Anomaly>, findings: &mut Findings) {
        let mut choices = None;
        for (ideal, model, anomaly) in IDEALS {
            if self.effort.is_over() {
                break;
            }
            let is_broken = findings.anomalies().any(|found| model.forbids(found));
            if is_broken || !open.contains(&anomaly) {
                continue;
            }
            let found = match ideal {
                Ideal::Updates => updates::shortest(
                    self.as_returned,
                    |txn| self.txns.only_reads(txn),
                    self.effort,
                ),
                Ideal::View => cycle::shortest(
                    self.as_returned,
                    Dependencies::GSingle,
                    Order::Any,
                    self.effort,
                ),
                // Components have told that of all cycles.
                Ideal::Snapshots(_) => cycle::Answer::Unknown,
            };
            let is_avoided = matches!(found, cycle::Answer::None)
                || self.try_all(&mut choices, ideal, anomaly, findings) == Answer::Possible;
            if is_avoided {
                open.retain(|open| !open.implied().contains(&anomaly));
            }
        }
        open.retain(|anomaly| !findings.imply(*anomaly));
    }

    fn try_all(
        &self,
        choices: &mut Option<Choices<'t, 'h>>,
        ideal: Ideal,
        anomaly: Anomaly,
        findings: &mut Findings,
    ) -> Answer {
        let is_asked = findings.leave_open(self.required, anomaly);
        if !is_asked && self.txns.len() > UNASKED_MAX {
            return Answer::Unknown;
        }
        let choices = choices.get_or_insert_with(|| Choices::of(self));
        let members = choices.members(ideal.order());
        let answer = choices.exists(ideal, &members);
        if answer == Answer::Impossible {
            choices.note(ideal, members, anomaly, findings);
        }
        answer
    }
}

impl Ideal {
    /// The order that counts besides what was read and written.
    fn order(self) -> Order {
        match self {
            Self::Snapshots(order) => order,
            Self::Updates | Self::View => Order::Any,
        }
    }

    /// How many points a transaction has.
    fn points(self) -> u32 {
        match self {
            Self::Snapshots(_) => 2,
            Self::Updates | Self::View => 1,
        }
    }
}

struct Choices<'t, 'h> {
    txns: &'t Txns<'h>,
    versions: &'t Versions,
    /// As of [`Asked`].
    graph: &'t Graph,
    /// The dependencies, if each unseen append came before all others of its key.
    circular: Graph,
    /// By key: those whose appends nobody has seen.
    unseen: Vec<Vec<u32>>,
    effort: &'t Effort,
}

impl<'t, 'h> Choices<'t, 'h> {
    fn of(asked: &Asked<'t, 'h>) -> Self {
        let (txns, versions) = (asked.txns, asked.versions);
        Self {
            txns,
            versions,
            graph: asked.graph,
            circular: edges::graph(txns, versions, Unseen::InACircle),
            unseen: edges::unseen(txns, versions),
            effort: asked.effort,
        }
    }

    /// The transactions that come before themselves, if unseen appends may come in any order, and
    /// those without whose reads nobody would know how far the lists had grown.
    fn members(&self, order: Order) -> Vec<u32> {
        let with_processes;
        let graph = match order {
            Order::Process => {
                let process = |txn| self.txns.process(txn);
                with_processes = self.circular.with_processes(process);
                &with_processes
            }
            Order::Any | Order::RealTime => &self.circular,
        };
        let rule = Rule {
            whys: u8::MAX,
            order,
            assumes: Order::Any,
            nonadjacent: false,
        };
        let components = Components::of(graph, rule).members.into_iter();
        let mut members: Vec<u32> = components.flatten().collect();
        members.retain(|node| *node < graph.txns());
        let micro = members.iter().flat_map(|txn| self.txns.micro(*txn));
        let longest = micro.map(|micro| self.versions.longest_reader[micro.key as usize]);
        let longest: Vec<u32> = longest.filter(|reader| *reader != NONE).collect();
        members.extend(longest);
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Whether the appends of these transactions, ascending, have an order that serves.
    fn exists(&self, ideal: Ideal, among: &[u32]) -> Answer {
        let problem = self.problem(ideal, among);
        problem.map_or(Answer::Unknown, |problem| problem.solve().answer)
    }

    fn problem(&self, ideal: Ideal, among: &[u32]) -> Option<Problem<'t>> {
        self.effort.begin();
        if among.len() > AT_ONCE_MAX {
            self.effort.lacks(Shortage::Transactions(AT_ONCE_MAX));
            return None;
        }
        let seen = Seen::by(self, among);
        let among: Vec<u32> = among
            .iter()
            .copied()
            .filter(|txn| seen.happened(*txn))
            .collect();
        let mut points = Points::of(self, ideal, &among, seen);
        points.add_processes();
        points.add_edges();
        let mut choices = 0;
        for writers in &self.unseen {
            let is_in = |writer: &u32| points.first[*writer as usize] != NONE;
            let writers: Vec<u32> = writers.iter().copied().filter(is_in).collect();
            choices += writers.len() * writers.len() / 2;
            if choices > CHOICES_MAX {
                self.effort.lacks(Shortage::Arcs(CHOICES_MAX));
                return None;
            }
            points.add_choices(&writers);
            let steps = (writers.len() * writers.len()) as u64;
            if self.effort.spend(steps) || points.problem.is_too_large() {
                return None;
            }
        }
        Some(points.problem)
    }

    /// The transactions that come after one, also through junctions.
    fn each_edge(&self, txn: u32, mut found: impl FnMut(u32, Why, u32)) {
        let graph = &self.graph;
        for edge in graph.range(txn) {
            let (to, why, key) = graph.edge(edge);
            let mut stack = vec![to];
            while let Some(node) = stack.pop() {
                if node < graph.txns() {
                    found(node, why, key);
                } else {
                    stack.extend(graph.range(node).map(|edge| graph.edge(edge).0));
                }
            }
        }
    }

    /// Notes that there is none for these transactions, or some of them.
    fn note(&self, ideal: Ideal, txns: Vec<u32>, anomaly: Anomaly, findings: &mut Findings) {
        let core = core(txns, ONE_BY_ONE_MAX, |txns| self.exists(ideal, txns));
        findings.add_core(self.txns, anomaly, core, |txns| {
            let wrong = match ideal {
                Ideal::Updates => "one has read what no order of those that appended explains",
                Ideal::View => "one has seen the effects of another and missed it",
                Ideal::Snapshots(_) => "no snapshots explain what was read",
            };
            let what = format!(
                "in whatever order the appends of these transactions happened that nobody has read, {wrong}"
            );
            explain::unordered(self.txns, &what, ideal.order(), txns, "")
        });
    }
}

/// How much some transactions have read of each list: what others have read, these cannot tell.
struct Seen<'c, 't, 'h> {
    choices: &'c Choices<'t, 'h>,
    /// By key: how many elements.
    lengths: FxHashMap<u32, u32>,
}

impl<'c, 't, 'h> Seen<'c, 't, 'h> {
    fn by(choices: &'c Choices<'t, 'h>, readers: &[u32]) -> Self {
        let mut lengths = FxHashMap::default();
        for micro in readers.iter().flat_map(|txn| choices.txns.micro(*txn)) {
            let What::Read(seen) = micro.what else {
                continue;
            };
            let version = choices.versions.version[seen as usize];
            if version != INCOMPATIBLE {
                let length = lengths.entry(micro.key).or_insert(0);
                *length = version.max(*length);
            }
        }
        Self { choices, lengths }
    }

    /// Of what a transaction appended to lists: of each element the key, and the place if
    /// anybody at all has seen it.
    fn places(&self, txn: u32) -> impl Iterator<Item = (u32, u32)> {
        let place = |micro: &MicroOp| match micro.what {
            What::Write(value) => Some((micro.key, self.choices.versions.place[value as usize])),
            What::Read(_) => None,
        };
        let places = self.choices.txns.micro(txn).iter().filter_map(place);
        places.filter(|(_, place)| *place != NONE)
    }

    fn has(&self, key: u32, place: u32) -> bool {
        self.lengths.get(&key).is_some_and(|length| place < *length)
    }

    /// Whether a transaction took effect, as it knows or as one has seen.
    fn happened(&self, txn: u32) -> bool {
        self.choices.txns.committed(txn)
            || self.places(txn).any(|(key, place)| self.has(key, place))
    }

    /// Whether it is seen that what a transaction appended to a key was there before what another
    /// one appended later.
    fn was_before(&self, txn: u32, key: u32) -> bool {
        let places = self.places(txn).filter(|(of, _)| *of == key);
        let last = places.map(|(_, place)| place).max();
        last.is_some_and(|place| self.has(key, place))
    }
}

/// The points of some transactions, and what is known of them.
struct Points<'c, 't, 'h> {
    choices: &'c Choices<'t, 'h>,
    ideal: Ideal,
    among: &'c [u32],
    /// By transaction: its first point, or [`NONE`].
    first: Vec<u32>,
    seen: Seen<'c, 't, 'h>,
    problem: Problem<'t>,
}

impl<'c, 't, 'h> Points<'c, 't, 'h> {
    fn of(
        choices: &'c Choices<'t, 'h>,
        ideal: Ideal,
        among: &'c [u32],
        seen: Seen<'c, 't, 'h>,
    ) -> Self {
        let mut points = Self {
            choices,
            ideal,
            among,
            first: vec![NONE; choices.graph.txns() as usize],
            seen,
            problem: Problem::within(choices.effort),
        };
        let mut next = 0;
        for txn in among {
            points.first[*txn as usize] = next;
            let (invoked, returned) = points.span(*txn);
            let problem = &mut points.problem;
            for _ in 0..ideal.points() {
                problem.invoked.push(invoked);
                problem.returned.push(returned);
            }
            if ideal.points() == 2 {
                problem.arcs.push((next, next + 1));
            }
            next += ideal.points();
        }
        points
    }

    fn span(&self, txn: u32) -> (u32, u32) {
        match self.ideal.order() {
            Order::RealTime => {
                let span = self.choices.graph.spans[txn as usize];
                (span.invoked, span.returned)
            }
            Order::Any | Order::Process => (0, NONE),
        }
    }

    /// When a transaction reads.
    fn reads(&self, txn: u32) -> u32 {
        self.first[txn as usize]
    }

    /// When it writes.
    fn writes(&self, txn: u32) -> u32 {
        self.first[txn as usize] + self.ideal.points() - 1
    }

    /// One has seen the other, or wrote upon it.
    fn behind(&self, one: u32, other: u32) -> Arc {
        (self.writes(one), self.reads(other))
    }

    fn add_processes(&mut self) {
        if self.ideal.order() != Order::Process {
            return;
        }
        let mut last = rustc_hash::FxHashMap::default();
        for txn in self.among {
            let process = self.choices.txns.process(*txn);
            let before = process.and_then(|process| last.insert(process, *txn));
            let arc = before.map(|before| self.behind(before, *txn));
            self.problem.arcs.extend(arc);
        }
    }

    fn add_edges(&mut self) {
        let choices = self.choices;
        for txn in self.among {
            choices.each_edge(*txn, |to, why, key| {
                if self.first[to as usize] == NONE || to == *txn {
                    return;
                }
                if why == Why::Overwrote && !self.seen.was_before(*txn, key) {
                    return;
                }
                if why != Why::Missed {
                    let arc = self.behind(*txn, to);
                    self.problem.arcs.push(arc);
                    return;
                }
                let arc = (self.reads(*txn), self.writes(to));
                let is_barred = match self.ideal {
                    Ideal::View => true,
                    Ideal::Updates => choices.txns.only_reads(*txn),
                    Ideal::Snapshots(_) => false,
                };
                match is_barred {
                    true => self.problem.barred.push(arc),
                    false => self.problem.arcs.push(arc),
                }
            });
        }
    }

    /// Of each two of these one was first to append.
    fn add_choices(&mut self, writers: &[u32]) {
        for (at, one) in writers.iter().enumerate() {
            for other in &writers[at + 1..] {
                let side = |arc| Side {
                    arcs: vec![arc],
                    barred: Vec::new(),
                };
                let (first, second) = (self.behind(*one, *other), self.behind(*other, *one));
                self.problem.choose(&side(first), &side(second));
            }
        }
    }
}
