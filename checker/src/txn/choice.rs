//! What a choice of who made which revision means: all anomalies that it has.

use std::collections::BTreeMap;

use super::edges::{Revisions, Sight};
use super::explain;
use super::extract::Txns;
use super::model::{Commits, Model, Unexplained};
use crate::isolation::anomaly::{Anomaly, Dependencies, Order};
use crate::isolation::components::Components;
use crate::isolation::cycle::{self, Answer, Step};
use crate::isolation::cycles;
use crate::isolation::explain as cases;
use crate::isolation::findings::Findings;
use crate::isolation::graph::{Graph, NONE, Why};
use crate::isolation::serial;
use crate::isolation::settle::open_questions;

const ABSENT: &str = "reads of absent keys that may have been deleted more than once, or unseen, can be explained in several ways";
const CHOICES: &str =
    "it depends on which of the transactions of unknown outcome took effect, and when";
const CYCLES: &str =
    "there are too many cycles to tell whether one of them is of the kind that is forbidden";

/// A choice, and what is wrong without a cycle.
pub(super) struct Choice<'t, 'h> {
    pub(super) revisions: Revisions<'t, 'h>,
    graph: Graph,
    pub(super) findings: Findings,
}

/// All that is wrong with a choice.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) findings: Findings,
    /// Anomalies of which it is not known whether they occur.
    pub(super) open: Vec<Anomaly>,
    pub(super) reason: &'static str,
}

impl Judged {
    /// What is open if this choice is but one of several, and why.
    pub(super) fn into_open(mut self) -> (Vec<Anomaly>, &'static str) {
        let found = self.findings.anomalies();
        let reason = match (self.open.is_empty(), found.count()) {
            (true, 0) => "",
            (true, _) => CHOICES,
            (false, _) => self.reason,
        };
        self.open.extend(self.findings.anomalies());
        (self.open, reason)
    }
}

impl<'t, 'h> Choice<'t, 'h> {
    pub(super) fn of(txns: &'t Txns<'h>, commits: &Commits) -> Self {
        let mut findings = Findings::default();
        if let Some(fault) = &txns.fault {
            findings.note(Anomaly::Internal, || fault.clone());
        }
        let model = Model::of(txns, commits, &mut findings);
        let revisions = Revisions::of(txns, model, commits);
        for reader in changed(&revisions) {
            explain::changed(txns, reader).note(&mut findings);
        }
        Self {
            graph: revisions.graph(),
            revisions,
            findings,
        }
    }

    /// The mildest anomaly that is asked about and that the choice certainly has.
    pub(super) fn breaks(&self, is_asked: &dyn Fn(Anomaly) -> bool) -> Option<Anomaly> {
        if let Some(local) = self.findings.anomalies().find(|found| is_asked(*found)) {
            return Some(local);
        }
        let mildest_first = Dependencies::ALL.into_iter().rev();
        let all = mildest_first.flat_map(|dependencies| {
            let orders = Order::ALL.into_iter().rev();
            orders.map(move |order| (dependencies, order))
        });
        let mut asked =
            all.filter(|(dependencies, order)| is_asked(Anomaly::Cycle(*dependencies, *order)));
        let found = asked.find(|(dependencies, order)| self.has_cycle(*dependencies, *order));
        found.map(|(dependencies, order)| Anomaly::Cycle(dependencies, order))
    }

    fn has_cycle(&self, dependencies: Dependencies, order: Order) -> bool {
        let with_processes;
        let graph = match order {
            Order::Process => {
                let process = |txn| cases::Parties::process(&self.revisions, txn);
                with_processes = self.graph.with_processes(process);
                &with_processes
            }
            _ => &self.graph,
        };
        if dependencies == Dependencies::GSingle {
            return matches!(
                cycle::shortest(graph, dependencies, order),
                Answer::Cycle(_)
            );
        }
        let rule = cycle::rule(dependencies, order);
        !Components::of(graph, rule).members.is_empty()
    }

    /// The first unexplained revision for which no blank transaction was invoked early
    /// enough. Invocations and deadlines are thresholds, so the earliest go together.
    pub(super) fn late_stand_in(&self, unexplained: &BTreeMap<i64, Unexplained>) -> Option<i64> {
        let txns = self.revisions.txns;
        if unexplained.is_empty() || txns.blank.is_empty() {
            return None;
        }
        let deadlines = deadlines(&self.graph);
        let stand_ins = (0..).zip(&deadlines).filter_map(|(txn, deadline)| {
            let revision = self.revisions.unreported_revision(txn)?;
            Some((*deadline, revision))
        });
        let mut stand_ins: Vec<(u32, i64)> = stand_ins.collect();
        stand_ins.sort_unstable();
        let invoked = txns
            .blank
            .iter()
            .map(|operation| txns.operations[*operation].invoked);
        let mut late = stand_ins.into_iter().zip(invoked);
        let late = late.find(|((deadline, _), invoked)| *invoked > *deadline as usize);
        late.map(|((_, revision), _)| revision)
    }

    /// The operations, each behind all that must come before it; none when that is not known.
    pub(super) fn serial_order(&self, order: Order) -> Option<Vec<usize>> {
        let revisions = &self.revisions;
        if revisions.is_ambiguous || !revisions.model.unexplained.is_empty() {
            return None;
        }
        let process = |txn| cases::Parties::process(revisions, txn);
        let sorted = serial::sorted_as(&self.graph, order, process)?;
        sorted
            .into_iter()
            .map(|txn| revisions.index_of(txn))
            .collect()
    }

    /// All anomalies.
    pub(super) fn judge(mut self) -> Judged {
        let revisions = &self.revisions;
        for (txn, sight) in revisions.all_sights() {
            note_lost_update(revisions, txn, sight, &mut self.findings);
            note_fractured_read(revisions, txn, sight, &mut self.findings);
        }
        let mut open = cycles::find(revisions, &self.graph, revisions, &mut self.findings);
        let mut reason = CYCLES;
        if revisions.is_ambiguous && open.is_empty() {
            reason = ABSENT;
            open = open_questions(&self.findings);
            open.retain(|anomaly| revisions.is_unseen || is_of_missed_writes(*anomaly));
        }
        Judged {
            findings: self.findings,
            open,
            reason,
        }
    }
}

/// By transaction: the first event by which it must have happened, because something that
/// comes after it had returned.
///
/// The real time between others does not matter: what is invoked after a return returns
/// later still.
fn deadlines(graph: &Graph) -> Vec<u32> {
    let nodes = graph.nodes();
    let mut before = vec![Vec::new(); nodes as usize];
    for from in 0..nodes {
        for edge in graph.range(from) {
            before[graph.edge(edge).0 as usize].push(from);
        }
    }
    let mut by_return: Vec<u32> = (0..graph.txns()).collect();
    by_return.sort_by_key(|txn| graph.spans[*txn as usize].returned);
    let mut deadlines = vec![NONE; nodes as usize];
    for txn in by_return {
        let returned = graph.spans[txn as usize].returned;
        let mut stack = vec![txn];
        while let Some(node) = stack.pop() {
            if deadlines[node as usize] == NONE && returned != NONE {
                deadlines[node as usize] = returned;
                stack.extend(&before[node as usize]);
            }
        }
    }
    deadlines
}

fn is_of_missed_writes(anomaly: Anomaly) -> bool {
    use Dependencies::{G0, G1c};
    !matches!(anomaly, Anomaly::Cycle(G0 | G1c, _))
}

/// The transactions that read a key in two versions.
fn changed<'r>(revisions: &'r Revisions<'_, '_>) -> impl Iterator<Item = usize> + 'r {
    let txns = revisions.txns;
    let taken = revisions.model.nodes.iter().filter_map(|node| node.txn);
    taken.filter(|txn| {
        let reads = &txns.txns[*txn].reads;
        let earlier = |at: usize| reads[..at].iter().map(|read| read.key);
        (0..reads.len()).any(|at| earlier(at).any(|key| key == reads[at].key))
    })
}

/// A transaction that read a version and overwrote a later one.
fn note_lost_update(
    revisions: &Revisions<'_, '_>,
    txn: u32,
    sight: Sight,
    findings: &mut Findings,
) {
    let Some(missed) = sight.missed else { return };
    let Some(own) = revisions.written(txn, sight.key) else {
        return;
    };
    let versions = &revisions.model.versions[sight.key];
    let Some(other) = revisions.writer(sight.key, Some(missed)) else {
        return;
    };
    if versions[missed].revision < versions[own].revision {
        let steps = [
            step(txn, other, Why::Missed, sight.key),
            step(other, txn, Why::Overwrote, sight.key),
        ];
        findings.add(revisions, Anomaly::LostUpdate, || {
            cases::cycle(revisions, revisions, &steps)
        });
    }
}

/// A transaction that saw one write of another, and missed a second one.
fn note_fractured_read(
    revisions: &Revisions<'_, '_>,
    txn: u32,
    sight: Sight,
    findings: &mut Findings,
) {
    let Some(writer) = revisions.writer(sight.key, sight.version) else {
        return;
    };
    if writer == txn || !revisions.model.versions[sight.key][sight.version.unwrap_or(0)].present {
        return;
    }
    for other in revisions.sights(txn) {
        let (Some(missed), Some(theirs)) = (other.missed, revisions.written(writer, other.key))
        else {
            continue;
        };
        let versions = &revisions.model.versions[other.key];
        if other.key != sight.key && versions[theirs].revision >= versions[missed].revision {
            let steps = [
                step(txn, writer, Why::Missed, other.key),
                step(writer, txn, Why::Read, sight.key),
            ];
            findings.add(revisions, Anomaly::FracturedRead, || {
                cases::cycle(revisions, revisions, &steps)
            });
            return;
        }
    }
}

fn step(from: u32, to: u32, why: Why, key: usize) -> Step {
    Step {
        from,
        to,
        why,
        key: u32::try_from(key).expect("keys are few"),
        assumes: Order::Any,
    }
}
