//! All sorts of cycles that a history has, each by its shortest.

use super::anomaly::{Anomaly, Dependencies, Order};
use super::components::{Components, Rule};
use super::cycle::{self, Answer, Step};
use super::effort::Effort;
use super::explain::{self, Clause, Parties};
use super::findings::Findings;
use super::graph::{Graph, Why};
use super::sentence::Sentence;
use super::settle::open_questions;
use super::updates;

/// The cycles with more transactions than this are shown as they were found.
const SHORTENED_MAX: usize = 64;

/// What a model knows of two transactions.
pub(crate) trait Relations {
    /// Why the first comes before the second, and by which key: also where others come in
    /// between.
    fn between(&self, first: u32, second: u32) -> Vec<(Why, u32)>;

    /// The transactions without which a step would not follow.
    fn evidence(&self, step: &Step) -> Vec<u32>;

    /// Fewer transactions that prove an anomaly, with a sentence about them, where some of
    /// those of a cycle and its evidence can be spared.
    fn fewer(&self, _anomaly: Anomaly, _members: &[u32]) -> Option<(Sentence, Vec<u32>)> {
        None
    }

    /// The step in words.
    fn say(&self, step: &Step) -> Clause;
}

/// Notes the cycles among the transactions. Returns those for which it cannot tell.
///
/// Whatever cycle there is lies within one component of all dependencies and real time,
/// which implies the order of the processes. Mostly there is none, and nothing else is to
/// do.
pub(crate) fn find(
    parties: &dyn Parties,
    graph: &Graph,
    relations: &dyn Relations,
    findings: &mut Findings,
    effort: &Effort,
) -> Vec<Anomaly> {
    find_named(parties, graph, |txn| txn, relations, findings, effort)
}

/// As [`find`], in a graph whose transactions have other numbers: `name` tells those that they
/// have elsewhere.
pub(crate) fn find_named(
    parties: &dyn Parties,
    graph: &Graph,
    name: impl Fn(u32) -> u32,
    relations: &dyn Relations,
    findings: &mut Findings,
    effort: &Effort,
) -> Vec<Anomaly> {
    let all = Rule {
        whys: u8::MAX,
        order: Order::RealTime,
        assumes: Order::RealTime,
        nonadjacent: false,
    };
    let Some(components) = Components::within(graph, all, effort) else {
        return open_questions(findings);
    };
    let mut nodes: Vec<u32> = components.members.into_iter().flatten().collect();
    if nodes.is_empty() {
        return Vec::new();
    }
    nodes.sort_unstable();
    let small = graph.restricted(&nodes, |txn| parties.process(name(txn)));
    // Steps begin and end with transactions.
    for node in nodes.iter_mut().filter(|node| **node < graph.txns()) {
        *node = name(*node);
    }
    let mut unknown = Vec::new();
    for order in Order::ALL {
        for dependencies in Dependencies::ALL {
            if findings.imply(Anomaly::Cycle(dependencies, order)) {
                continue;
            }
            match cycle::shortest(&small, dependencies, order, effort) {
                Answer::None => {}
                Answer::Unknown => unknown.push(Anomaly::Cycle(dependencies, order)),
                Answer::Cycle(steps) => {
                    let steps = told(steps, &nodes, relations);
                    let (dependencies, order) = cycle::classify(&steps);
                    let anomaly = Anomaly::Cycle(dependencies, order);
                    add(parties, relations, findings, anomaly, &steps);
                }
            }
        }
    }
    // It is a case of G2-item, and worth a name of its own only for who asks.
    let skew = Anomaly::Cycle(Dependencies::G2Item, Order::Any);
    let is_possible = findings.imply(skew) || unknown.contains(&skew);
    if is_possible && !findings.imply(Anomaly::GUpdate) {
        let only_reads = |node: u32| parties.only_reads(nodes[node as usize]);
        match updates::shortest(&small, only_reads, effort) {
            Answer::None => {}
            Answer::Unknown => unknown.push(Anomaly::GUpdate),
            Answer::Cycle(steps) => {
                let steps = told(steps, &nodes, relations);
                add(parties, relations, findings, Anomaly::GUpdate, &steps);
            }
        }
    }
    unknown
}

/// A cycle by the numbers that its transactions have in the whole graph, without those that can
/// be spared.
pub(super) fn told(mut steps: Vec<Step>, nodes: &[u32], relations: &dyn Relations) -> Vec<Step> {
    for step in &mut steps {
        (step.from, step.to) = (nodes[step.from as usize], nodes[step.to as usize]);
    }
    shorten(&mut steps, relations);
    steps
}

fn add(
    parties: &dyn Parties,
    relations: &dyn Relations,
    findings: &mut Findings,
    anomaly: Anomaly,
    steps: &[Step],
) {
    findings.add(parties, anomaly, || {
        let told = explain::cycle(parties, relations, steps);
        relations.fewer(anomaly, &told.1).unwrap_or(told)
    });
}

/// Leaves out the transactions between two of which one comes before the other anyway, as
/// long as the cycle stays what it is.
fn shorten(steps: &mut Vec<Step>, relations: &dyn Relations) {
    if steps.len() > SHORTENED_MAX {
        return;
    }
    let sort = cycle::classify(steps);
    let mut turn = 0;
    while turn < steps.len() {
        steps.rotate_left(1);
        turn += 1;
        let shorter = (1..steps.len()).rev().find_map(|end| {
            let (from, to) = (steps[0].from, steps[end].to);
            if from == to {
                return None;
            }
            relations
                .between(from, to)
                .into_iter()
                .find_map(|(why, key)| {
                    let assumes = Order::Any;
                    let direct = Step {
                        from,
                        to,
                        why,
                        key,
                        assumes,
                    };
                    let rest = steps[end + 1..].iter().copied();
                    let shorter: Vec<Step> = std::iter::once(direct).chain(rest).collect();
                    (cycle::classify(&shorter) == sort).then_some(shorter)
                })
        });
        if let Some(shorter) = shorter {
            *steps = shorter;
            turn = 0;
        }
    }
    // What gives the cycle its name comes first.
    let lead = |step: &Step| match step.why {
        Why::Missed => 0,
        Why::Read => 1,
        _ => 2,
    };
    let first = (0..steps.len()).min_by_key(|at| (lead(&steps[*at]), *at));
    steps.rotate_left(first.unwrap_or(0));
}
