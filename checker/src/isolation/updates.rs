//! Cycles of transactions that write, and at most one that only reads.
//!
//! Update serializability lets each transaction that only reads see an order of its own. So what
//! it forbids is `G-update` (Adya 1999): a cycle of missed writes in which no two transactions
//! only read.
//!
//! ```text
//! T1  w x 1                        R1 ─rw─▶ T2 ─wr─▶ R2 ─rw─▶ T1 ─wr─▶ R1: each of the two
//! T2  w y 1                        readers has seen another one first. That is a cycle, but
//! R1  r x = 1, r y = nothing       with two that only read
//! R2  r x = nothing, r y = 1
//! ```
//!
//! From each that only reads a breadth-first search goes through those that write until it comes
//! back. A cycle of these alone is looked for in the graph without the others.

use std::collections::VecDeque;

use super::anomaly::{Dependencies, Order};
use super::components::Components;
use super::cycle::{self, Answer, Step};
use super::effort::Effort;
use super::graph::Graph;
use super::txns::NONE;

/// How many edges the search may look at.
const STEPS_MAX: usize = 40_000_000;

/// A shortest such cycle.
pub(crate) fn shortest(graph: &Graph, only_reads: impl Fn(u32) -> bool, effort: &Effort) -> Answer {
    let rule = cycle::rule(Dependencies::G2Item, Order::Any);
    let mut inside = vec![false; graph.nodes() as usize];
    let Some(components) = Components::within(graph, rule, effort) else {
        return Answer::Unknown;
    };
    for node in components.members.into_iter().flatten() {
        inside[node as usize] = true;
    }
    let is_txn = |node: u32| node < graph.txns();
    let (readers, writers): (Vec<u32>, Vec<u32>) = (0..graph.nodes())
        .filter(|node| inside[*node as usize])
        .partition(|node| is_txn(*node) && only_reads(*node));
    let mut best = match among(graph, &writers, effort) {
        Answer::Unknown => return Answer::Unknown,
        Answer::Cycle(steps) => Some(steps),
        Answer::None => None,
    };
    let mut search = Search {
        graph,
        whys: rule.whys,
        is_open: vec![false; graph.nodes() as usize],
        reached: vec![(NONE, NONE, NONE); graph.nodes() as usize],
        steps: 0,
    };
    for node in &writers {
        search.is_open[*node as usize] = true;
    }
    for reader in readers {
        let cycle = search.around(reader);
        let is_shorter = |cycle: &Vec<Step>| {
            let known = best.as_ref().map(Vec::len);
            known.is_none_or(|known| cycle.len() < known)
        };
        if let Some(cycle) = cycle.filter(is_shorter) {
            best = Some(cycle);
        }
        if search.steps > STEPS_MAX || effort.is_over() {
            return best.map_or(Answer::Unknown, Answer::Cycle);
        }
    }
    best.map_or(Answer::None, Answer::Cycle)
}

/// A cycle of these alone.
fn among(graph: &Graph, nodes: &[u32], effort: &Effort) -> Answer {
    let small = graph.restricted(nodes, |_| None);
    let mut answer = cycle::shortest(&small, Dependencies::G2Item, Order::Any, effort);
    if let Answer::Cycle(steps) = &mut answer {
        for step in steps {
            (step.from, step.to) = (nodes[step.from as usize], nodes[step.to as usize]);
        }
    }
    answer
}

struct Search<'g> {
    graph: &'g Graph,
    whys: u8,
    /// By node: whether the way may lead through it.
    is_open: Vec<bool>,
    /// By node: for whom it was reached, from where, and by which edge.
    reached: Vec<(u32, u32, u32)>,
    steps: usize,
}

impl Search<'_> {
    /// A shortest way from a transaction back to itself.
    fn around(&mut self, reader: u32) -> Option<Vec<Step>> {
        let graph = self.graph;
        let mut queue = VecDeque::from([reader]);
        while let Some(node) = queue.pop_front() {
            for edge in graph.range(node) {
                let (to, why, _) = graph.edge(edge);
                self.steps += 1;
                let counts = self.whys & why.bit() != 0 && graph.assumes(edge) == Order::Any;
                if counts && to == reader {
                    return Some(self.walk_back(reader, node, edge));
                }
                let is_new = self.reached[to as usize].0 != reader;
                if !counts || !is_new || !self.is_open[to as usize] {
                    continue;
                }
                self.reached[to as usize] = (reader, node, edge);
                match to >= graph.txns() {
                    true => queue.push_front(to),
                    false => queue.push_back(to),
                }
            }
        }
        None
    }

    /// The steps of the way that ends with this edge, without the junctions.
    fn walk_back(&self, reader: u32, last: u32, edge: u32) -> Vec<Step> {
        let mut edges = vec![(last, edge)];
        let mut node = last;
        while node != reader {
            let (_, from, edge) = self.reached[node as usize];
            edges.push((from, edge));
            node = from;
        }
        edges.reverse();
        cycle::steps(self.graph, &edges)
    }
}
