//! What one order of the versions proves: the cycles that it avoids need not be.

use super::anomaly::{Anomaly, Dependencies, Order};
use super::components::Components;
use super::cycle;
use super::effort::Effort;
use super::explain::Parties as _;
use super::findings::Findings;
use super::graph::Graph;
use super::txns::Txns;

/// The cycles of which it is not known whether the history has them.
pub(crate) fn open_questions(findings: &Findings) -> Vec<Anomaly> {
    let all = Order::ALL.into_iter().flat_map(|order| {
        Dependencies::ALL.map(|dependencies| Anomaly::Cycle(dependencies, order))
    });
    let all = all.chain([Anomaly::FracturedRead, Anomaly::GUpdate]);
    all.filter(|anomaly| !findings.imply(*anomaly)).collect()
}

/// Strikes out the cycles that one order of the versions avoids, all that are a case of
/// them included, as far as the time suffices.
pub(super) fn settle(graph: &Graph, txns: &Txns<'_>, open: &mut Vec<Anomaly>, effort: &Effort) {
    let mut with_processes = None;
    let mut settled: Vec<Anomaly> = Vec::new();
    let strongest_first = Order::ALL.into_iter().rev().flat_map(|order| {
        let mildest_first = Dependencies::ALL.into_iter().rev();
        mildest_first.map(move |dependencies| (dependencies, order))
    });
    for (dependencies, order) in strongest_first {
        let anomaly = Anomaly::Cycle(dependencies, order);
        if !open.contains(&anomaly) {
            continue;
        }
        let is_settled = settled
            .iter()
            .any(|other| anomaly.implied().contains(other));
        let graph = match order {
            Order::Process => {
                let processes = |txn| txns.process(txn);
                &*with_processes.get_or_insert_with(|| graph.with_processes(processes))
            }
            _ => graph,
        };
        let rule = cycle::rule(dependencies, order);
        let is_avoided = || {
            let components = Components::within(graph, rule, effort);
            components.is_some_and(|components| components.members.is_empty())
        };
        if is_settled || is_avoided() {
            settled.push(anomaly);
        }
    }
    open.retain(|anomaly| !settled.contains(anomaly));
}
