//! A serial order of the transactions, where there is one.
//!
//! It is that of the strongest model that holds: with real time, with the order of each
//! process, or with neither.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::anomaly::Order;
use super::consistency::Consistency;
use super::graph::{Graph, NONE};
use super::judge::Evidence;
use crate::linearization::Linearization;

/// The models that promise a serial order, the strongest first, and what it respects.
pub(crate) const SERIAL: [(Consistency, Order); 3] = [
    (Consistency::StrictSerializable, Order::RealTime),
    (Consistency::StrongSessionSerializable, Order::Process),
    (Consistency::Serializable, Order::Any),
];

/// What the serial order of a history respects.
pub(crate) fn promised(evidence: &Evidence) -> Option<Order> {
    let mut promises = SERIAL.into_iter();
    let held = promises.find(|(model, _)| evidence.satisfies(*model));
    held.map(|(_, order)| order)
}

/// The answer where no model holds that promises a serial order.
pub(crate) fn none(evidence: &Evidence) -> Linearization {
    let strongest = evidence.strongest();
    let names: Vec<&str> = strongest.iter().map(|model| model.name()).collect();
    Linearization::none(match names.as_slice() {
        [] => "the history is not known to be serializable, so there is no order of its \
               transactions to give"
            .to_owned(),
        names => format!(
            "the strongest model that is known to hold is {}, and only serializable transactions \
             have an order",
            names.join(", ")
        ),
    })
}

/// The transactions, each behind all that must come before it: as far as the graph says, and
/// if asked for, in real time. None when there is no such order.
///
/// With real time each takes its place at the last invocation of itself and of those before
/// it, and must not have returned by then.
pub(crate) fn sorted(graph: &Graph, in_real_time: bool) -> Option<Vec<u32>> {
    let nodes = graph.nodes() as usize;
    let mut waits_for = vec![0_u32; nodes];
    for edge in (0..graph.nodes()).flat_map(|node| graph.range(node)) {
        waits_for[graph.edge(edge).0 as usize] += 1;
    }
    let mut points: Vec<u32> = graph.spans.iter().map(|span| span.invoked).collect();
    points.resize(nodes, 0);
    let is_next = |node: &u32| waits_for[*node as usize] == 0;
    let mut next: BinaryHeap<Reverse<u32>> =
        (0..graph.nodes()).filter(is_next).map(Reverse).collect();
    let mut sorted = Vec::with_capacity(nodes);
    while let Some(Reverse(node)) = next.pop() {
        sorted.push(node);
        for edge in graph.range(node) {
            let (to, ..) = graph.edge(edge);
            points[to as usize] = points[to as usize].max(points[node as usize]);
            waits_for[to as usize] -= 1;
            if waits_for[to as usize] == 0 {
                next.push(Reverse(to));
            }
        }
    }
    if sorted.len() < nodes {
        return None;
    }
    sorted.retain(|node| *node < graph.txns());
    if in_real_time {
        sorted.sort_by_key(|txn| points[*txn as usize]);
        let is_late = |txn: &u32| {
            let returned = graph.spans[*txn as usize].returned;
            returned != NONE && points[*txn as usize] >= returned
        };
        if sorted.iter().any(is_late) {
            return None;
        }
    }
    Some(sorted)
}

/// As [`sorted`], with the order that was promised.
pub(crate) fn sorted_as(
    graph: &Graph,
    order: Order,
    process: impl Fn(u32) -> Option<u64>,
) -> Option<Vec<u32>> {
    match order {
        Order::Process => sorted(&graph.with_processes(process), false),
        Order::RealTime => sorted(graph, true),
        Order::Any => sorted(graph, false),
    }
}
