//! In which order appends happened that nobody has seen: is there one that serves?
//!
//! Each two transactions that made such appends to a key are a choice. Nobody has read what they
//! appended, so nothing follows but that one comes before the other. As for registers, arrows of
//! `ww` and `wr` are drawn, and a missed write says no more than that nothing leads back to who
//! missed it, if that model lets transactions see different orders.

use super::super::anomaly::{Anomaly, Dependencies, Order};
use super::super::components::{Components, Rule};
use super::super::consistency::Consistency;
use super::super::cycle;
use super::super::explain;
use super::super::findings::Findings;
use super::super::graph::{Graph, Why};
use super::super::judge::UNASKED_MAX;
use super::super::order::{Answer, Problem, Side};
use super::super::txns::{NONE, Txns};
use super::super::updates;
use super::edges::{self, Unseen};
use super::versions::Versions;

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
}

/// Who asks for it, and what there is if it does not exist.
const IDEALS: [(Ideal, Consistency, Anomaly); 2] = [
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
];

/// What is looked at.
pub(super) struct Asked<'t, 'h> {
    pub(super) txns: &'t Txns<'h>,
    pub(super) versions: &'t Versions,
    pub(super) required: &'t [Consistency],
    pub(super) memory_bytes: usize,
}

impl Asked<'_, '_> {
    /// Strikes out what some order of the appends avoids, and notes what none does.
    pub(super) fn settle(&self, open: &mut Vec<Anomaly>, findings: &mut Findings) {
        let as_returned = edges::graph(self.txns, self.versions, Unseen::AsReturned);
        for (ideal, model, anomaly) in IDEALS {
            let is_broken = findings.anomalies().any(|found| model.forbids(found));
            if is_broken || !open.contains(&anomaly) {
                continue;
            }
            let found = match ideal {
                Ideal::Updates => updates::shortest(&as_returned, |txn| self.txns.only_reads(txn)),
                Ideal::View => cycle::shortest(&as_returned, Dependencies::GSingle, Order::Any),
            };
            let is_avoided = matches!(found, cycle::Answer::None)
                || self.try_all(ideal, anomaly, findings) == Answer::Possible;
            if is_avoided {
                open.retain(|open| !open.implied().contains(&anomaly));
            }
        }
        open.retain(|anomaly| !findings.imply(*anomaly));
    }

    fn try_all(&self, ideal: Ideal, anomaly: Anomaly, findings: &mut Findings) -> Answer {
        let is_asked = findings.leave_open(self.required, anomaly);
        if !is_asked && self.txns.len() > UNASKED_MAX {
            return Answer::Unknown;
        }
        let choices = Choices::of(self.txns, self.versions, self.memory_bytes);
        let answer = choices.exists(ideal, &choices.members);
        if answer == Answer::Impossible {
            choices.note(ideal, anomaly, findings);
        }
        answer
    }
}

struct Choices<'t, 'h> {
    txns: &'t Txns<'h>,
    graph: Graph,
    /// By key: those whose appends nobody has seen.
    unseen: Vec<Vec<u32>>,
    /// The transactions that come before themselves, if unseen appends may come in any order.
    members: Vec<u32>,
    memory_bytes: usize,
}

impl<'t, 'h> Choices<'t, 'h> {
    fn of(txns: &'t Txns<'h>, versions: &Versions, memory_bytes: usize) -> Self {
        let circular = edges::graph(txns, versions, Unseen::InACircle);
        let rule = Rule {
            whys: u8::MAX,
            order: Order::Any,
            assumes: Order::Any,
            nonadjacent: false,
        };
        let components = Components::of(&circular, rule).members.into_iter();
        let mut members: Vec<u32> = components.flatten().collect();
        members.retain(|node| *node < circular.txns());
        members.sort_unstable();
        Self {
            txns,
            graph: edges::graph(txns, versions, Unseen::InAnyOrder),
            unseen: edges::unseen(txns, versions),
            members,
            memory_bytes,
        }
    }

    /// Whether the appends of these transactions, ascending, have an order that serves.
    fn exists(&self, ideal: Ideal, among: &[u32]) -> Answer {
        let problem = self.problem(ideal, among);
        problem.map_or(Answer::Unknown, |problem| problem.solve().answer)
    }

    fn problem(&self, ideal: Ideal, among: &[u32]) -> Option<Problem> {
        if among.len() > AT_ONCE_MAX {
            return None;
        }
        let mut points = vec![NONE; self.graph.txns() as usize];
        let mut problem = Problem::within(self.memory_bytes);
        for (point, txn) in (0..).zip(among) {
            points[*txn as usize] = point;
            problem.invoked.push(0);
            problem.returned.push(NONE);
        }
        for txn in among {
            let from = points[*txn as usize];
            self.each_edge(*txn, |to, why| {
                let to = points[to as usize];
                let is_barred =
                    why == Why::Missed && (ideal == Ideal::View || self.txns.only_reads(*txn));
                if to == NONE || to == from {
                    return;
                }
                match is_barred {
                    true => problem.barred.push((from, to)),
                    false => problem.arcs.push((from, to)),
                }
            });
        }
        let mut choices = 0;
        for writers in &self.unseen {
            let writers = writers.iter().map(|writer| points[*writer as usize]);
            let writers: Vec<u32> = writers.filter(|point| *point != NONE).collect();
            choices += writers.len() * writers.len() / 2;
            if choices > CHOICES_MAX {
                return None;
            }
            for (at, one) in writers.iter().enumerate() {
                for other in &writers[at + 1..] {
                    let side = |arc| Side {
                        arcs: vec![arc],
                        barred: Vec::new(),
                    };
                    problem.choose(side((*one, *other)), side((*other, *one)));
                }
            }
        }
        Some(problem)
    }

    /// The transactions that come after one, also through junctions.
    fn each_edge(&self, txn: u32, mut found: impl FnMut(u32, Why)) {
        let graph = &self.graph;
        for edge in graph.range(txn) {
            let (to, why, _) = graph.edge(edge);
            let mut stack = vec![to];
            while let Some(node) = stack.pop() {
                if node < graph.txns() {
                    found(node, why);
                } else {
                    stack.extend(graph.range(node).map(|edge| graph.edge(edge).0));
                }
            }
        }
    }

    /// Notes that there is none.
    fn note(&self, ideal: Ideal, anomaly: Anomaly, findings: &mut Findings) {
        let mut core = self.members.clone();
        let mut chunk = core.len().div_ceil(2);
        while chunk > 0 {
            let mut at = 0;
            while at < core.len() {
                let mut rest = core.clone();
                rest.drain(at..core.len().min(at + chunk));
                match self.exists(ideal, &rest) {
                    Answer::Impossible => core = rest,
                    _ => at += chunk,
                }
            }
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
        }
        core.sort_by_key(|txn| self.txns.operation(*txn).invoke.line());
        findings.add(self.txns, anomaly, || {
            let who = (1..).zip(&core).map(|(number, txn)| {
                explain::introduce(self.txns, *txn, &format!("T{number}"))
            });
            let who: Vec<String> = who.collect();
            let what = match ideal {
                Ideal::Updates => "one has read what no order of those that appended explains",
                Ideal::View => "one has seen the effects of another and missed it",
            };
            let sentence = format!(
                "in whatever order the appends of these transactions happened that nobody has read, {what} ({})",
                who.join(", ")
            );
            (sentence, core.clone())
        });
    }
}
