//! What is said of transactions that have no order: of a cycle, if there is one that takes all of
//! them, or else what no order explains.

use super::super::anomaly::{Anomaly, Order};
use super::super::cycle::{self, Answer};
use super::super::cycles;
use super::super::effort::Effort;
use super::super::explain::{self, Parties as _};
use super::super::options::KeyOrders;
use super::super::sentence::Sentence;
use super::super::txns::Txns;
use super::super::updates;
use super::edges::{self, Registers};
use super::orders::Ideal;
use super::succession::Successions;
use super::versions::Versions;

/// The sentence about some transactions, ascending, without the others.
pub(super) fn sentence(
    txns: &Txns<'_>,
    versions: &Versions,
    (ideal, order): (Ideal, Order),
    anomaly: Anomaly,
    core: &[u32],
) -> Sentence {
    cycle(txns, versions, anomaly, core).unwrap_or_else(|| unordered(txns, ideal, order, core))
}

fn cycle(txns: &Txns<'_>, versions: &Versions, anomaly: Anomaly, core: &[u32]) -> Option<Sentence> {
    let versions = &versions.among(core);
    let successions = Successions::of(txns, versions);
    let effort = Effort::none();
    let registers = Registers {
        txns,
        versions,
        successions: &successions,
        keys: KeyOrders::default(),
        effort: &effort,
    };
    let graph = edges::graph(txns, versions, &successions, registers.keys, &[]);
    let mut nodes = core.to_vec();
    nodes.extend(graph.txns()..graph.nodes());
    let small = graph.restricted(&nodes, |txn| txns.process(txn));
    let found = match anomaly {
        Anomaly::Cycle(dependencies, order) => {
            cycle::shortest(&small, dependencies, order, &effort)
        }
        Anomaly::GUpdate => {
            let only_reads = |node: u32| Txns::only_reads(txns, nodes[node as usize]);
            updates::shortest(&small, only_reads, &effort)
        }
        _ => return None,
    };
    let Answer::Cycle(steps) = found else {
        return None;
    };
    let steps = cycles::told(steps, &nodes, &registers);
    if let Anomaly::Cycle(dependencies, order) = anomaly
        && cycle::classify(&steps) != (dependencies, order)
    {
        return None;
    }
    let (sentence, members) = explain::cycle(txns, &registers, &steps);
    (members == core).then_some(sentence)
}

/// That these have no order.
fn unordered(txns: &Txns<'_>, ideal: Ideal, order: Order, core: &[u32]) -> Sentence {
    let what = match ideal {
        Ideal::Serial => "no order of these transactions explains what they read",
        Ideal::Snapshots => "no snapshots of what these transactions wrote explain what they read",
        Ideal::Updates => {
            "in each order of those of these transactions that wrote, one has read what it cannot have"
        }
        Ideal::View => {
            "in whatever order these transactions overwrote each other, one has seen the effects of \
             another and missed it"
        }
        Ideal::Atomic => {
            "in whatever order these transactions overwrote each other, one has seen one write of \
             another and missed a second one"
        }
    };
    explain::unordered(txns, what, order, core, &explain::keys_between(txns, core))
}
