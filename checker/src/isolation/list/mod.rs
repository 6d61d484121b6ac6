//! Lists that only grow: the reads tell the order of the appends.
//!
//! # The question
//!
//! Transactions append values of their own to lists, and read lists as a whole. So each
//! read shows all versions that the list had until then, and who made them:
//!
//! ```text
//! T1  append x 1            |----|
//! T2  append x 2                |------|
//! T3  r x = [1, 2]                      |-----|       T1 ww T2, T2 wr T3
//! T4  r x = [1], append y 3          |----------|     T1 wr T4, T4 rw T2
//! ```
//!
//! # The versions
//!
//! The longest read of a key is the order of its appends, and each other read must be a
//! beginning of it (`versions`). What else can be wrong with a list or within one
//! transaction shows without a cycle (`local`).
//!
//! # The dependencies
//!
//! From a read of the first `p` elements follow `wr` from the writer of the last of them,
//! and `rw` to the writer of the next; neighbours in the order give `ww`. All other
//! dependencies are paths of these (`edges`).
//!
//! Appends that nobody read come after all that somebody did, in an order that nobody
//! knows. For all models but those that have to do with snapshots this is enough: if there
//! is no cycle, the transactions can be put in an order, and the unseen appends happen in
//! that order. For the others the order of the returns is tried, and then all orders
//! (`unseen`). Where these are too many, the verdict is *unknown*.
//!
//! # Unknown outcomes
//!
//! A transaction of unknown outcome took effect if somebody saw one of its elements. If
//! nobody did, it may be taken not to have happened: nothing comes after it.
//!
//! # Cost
//!
//! O(n) in the size of the history for the versions and dependencies: a read is compared as
//! text with the longest one.

mod by_themselves;
mod edges;
mod fractures;
mod local;
mod unseen;
mod versions;

use super::anomaly::{Anomaly, Dependencies, Order};
use super::consistency::Consistency;
use super::cycles;
use super::effort::Effort;
use super::explain::Parties as _;
use super::findings::Findings;
use super::judge::{self, Evidence};
use super::options::Options;
use super::serial;
use super::settle::{open_questions, settle};
use super::txns::{Names, Txns};
use crate::history::{History, HistoryError};
use crate::linearization::Linearization;
use crate::search::Budget;
use crate::verdict::Verdict;

use edges::{Lists, Unseen};
use versions::Versions;

const NAMES: Names = Names {
    model: "list-append",
    write: "append",
    reads_lists: true,
    expected: r#"a list of ["append", key, value] and ["r", key, [value, ..]]"#,
};

pub(super) fn check(history: &History, options: &Options) -> Result<Verdict, HistoryError> {
    let required = options.required(history)?;
    let effort = Effort::of(&options.budget);
    let mut txns = Txns::of(history, &NAMES)?;
    let versions = Versions::of(&mut txns);
    let evidence = evidence(&Lists::of(&txns, &versions), &required, &effort);
    Ok(judge::verdict(
        history,
        &txns.operations,
        &required,
        evidence,
    ))
}

/// A serial order of the transactions, if there is one.
pub(super) fn linearization(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    let effort = Effort::of(budget);
    let mut txns = Txns::of(history, &NAMES)?;
    let versions = Versions::of(&mut txns);
    let evidence = evidence(&Lists::of(&txns, &versions), &[], &effort);
    let Some(order) = serial::promised(&evidence) else {
        return Ok(serial::none(&evidence));
    };
    let graph = edges::graph(&txns, &versions, Unseen::InAnyOrder);
    let happened = edges::happened(&txns, &versions);
    let sorted = serial::sorted_as(&graph, order, |txn| txns.process(txn));
    let order = sorted.into_iter().flatten().map(|txn| txn as usize);
    Ok(Linearization::Order(
        order.filter(|txn| happened[*txn]).collect(),
    ))
}

fn evidence(lists: &Lists<'_, '_>, required: &[Consistency], effort: &Effort) -> Evidence {
    let Lists { txns, versions, .. } = *lists;
    let mut findings = Findings::default();
    local::find(txns, versions, &mut findings);
    if effort.is_over() {
        return Evidence {
            unknown: open_questions(&findings),
            found: findings.into_vec(),
            reason: too_late(effort),
        };
    }
    let graph = edges::graph(txns, versions, Unseen::InAnyOrder);
    let mut unknown = cycles::find(txns, &graph, lists, &mut findings, effort);
    let mut reason = match unknown.is_empty() || !effort.is_over() {
        true => {
            "there are too many cycles to tell whether one of them is of the kind that is forbidden"
                .to_owned()
        }
        false => too_late(effort),
    };
    if edges::is_order_open(txns, versions) {
        let mut open = open_questions(&findings);
        open.retain(|anomaly| !unknown.contains(anomaly) && depends_on_order(*anomaly, &findings));
        let as_returned = edges::graph(txns, versions, Unseen::AsReturned);
        settle(&as_returned, txns, &mut open, effort);
        if unknown.is_empty() {
            reason = "some appends were read by nobody, so nobody knows their order, and it matters; read all lists at the end".to_owned();
        }
        if !open.is_empty() {
            let asked = unseen::Asked {
                txns,
                versions,
                graph: &graph,
                as_returned: &as_returned,
                required,
                effort,
            };
            asked.settle(&mut open, &mut findings);
            if let Some(shortage) = effort.shortage().filter(|_| !open.is_empty()) {
                reason += &format!(": {shortage}");
            }
        }
        unknown.extend(open);
    }
    let skew = Anomaly::Cycle(Dependencies::GSingle, Order::Any);
    if findings.imply(skew) || unknown.contains(&skew) {
        fractures::find(txns, versions, &mut findings);
    }
    Evidence {
        found: findings.into_vec(),
        unknown,
        reason,
    }
}

/// That the time did not suffice.
fn too_late(effort: &Effort) -> String {
    let cycles = "whether there is a cycle of the kind that is forbidden is not known";
    let shortage = effort.shortage();
    shortage.map_or(cycles.to_owned(), |shortage| {
        format!("{cycles}: {shortage}")
    })
}

/// Whether the order of unseen appends may decide if there is such a cycle. It does not
/// where there is none of any dependencies: then all transactions can be put in an order, and
/// the unseen appends with them.
fn depends_on_order(anomaly: Anomaly, findings: &Findings) -> bool {
    match anomaly {
        Anomaly::Cycle(Dependencies::GSingle | Dependencies::GNonadjacent, order) => {
            findings.imply(Anomaly::Cycle(Dependencies::G2Item, order))
        }
        Anomaly::GUpdate => findings.imply(Anomaly::Cycle(Dependencies::G2Item, Order::Any)),
        _ => false,
    }
}
