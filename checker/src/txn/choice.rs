//! What a choice of who made which revision means: all anomalies that it has.

use std::collections::BTreeMap;

use super::edges::{Revisions, Sight};
use super::explain;
use super::extract::Txns;
use super::model::{Commits, Model, Unexplained};
use super::suspects;
use crate::isolation::anomaly::{Anomaly, Dependencies, Order};
use crate::isolation::components::Components;
use crate::isolation::cycle::{self, Answer, Step};
use crate::isolation::cycles;
use crate::isolation::effort::Effort;
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
    /// The transactions that can be part of a cycle.
    suspects: Vec<u32>,
    /// The dependencies among them.
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
        let model = Model::of(txns, commits, &mut findings);
        Self::with(txns, commits, model, findings)
    }

    /// The choice with this model, and what was found wrong with the versions.
    pub(super) fn with(
        txns: &'t Txns<'h>,
        commits: &Commits,
        model: Model,
        mut findings: Findings,
    ) -> Self {
        if let Some(fault) = &txns.fault {
            findings.note(Anomaly::Internal, || fault.clone());
        }
        let revisions = Revisions::of(txns, model, commits);
        for reader in changed(&revisions) {
            explain::changed(txns, reader).note(&mut findings);
        }
        let suspects = suspects::of(&revisions);
        Self::among(revisions, suspects, findings)
    }

    /// The choice in which the others are part of no cycle.
    fn among(revisions: Revisions<'t, 'h>, suspects: Vec<u32>, findings: Findings) -> Self {
        Self {
            graph: revisions.graph_of(&suspects),
            suspects,
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
                let process =
                    |at: u32| cases::Parties::process(&self.revisions, self.suspects[at as usize]);
                with_processes = self.graph.with_processes(process);
                &with_processes
            }
            _ => &self.graph,
        };
        if dependencies == Dependencies::GSingle {
            return matches!(
                cycle::shortest(graph, dependencies, order, &Effort::none()),
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
        let deadlines = deadlines(&self.revisions.graph());
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
        let sorted = serial::sorted_as(&revisions.graph(), order, process)?;
        sorted
            .into_iter()
            .map(|txn| revisions.index_of(txn))
            .collect()
    }

    /// All anomalies.
    pub(super) fn judge(mut self) -> Judged {
        let revisions = &self.revisions;
        // Both are cycles.
        for txn in &self.suspects {
            for sight in revisions.sights(*txn) {
                note_lost_update(revisions, *txn, *sight, &mut self.findings);
                note_fractured_read(revisions, *txn, *sight, &mut self.findings);
            }
        }
        let (graph, name) = (&self.graph, |at: u32| self.suspects[at as usize]);
        let (findings, effort) = (&mut self.findings, &Effort::none());
        let mut open = cycles::find_named(revisions, graph, name, revisions, findings, effort);
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::extract::Attempts;
    use super::*;
    use crate::history::History;
    use crate::isolation::Consistency;
    use crate::search::Budget;

    const KEYS: usize = 5;
    const CLIENTS: usize = 6;
    const TRANSACTIONS: usize = 150;

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (self.0 >> 33) as usize % end
        }

        fn one_in(&mut self, times: usize) -> bool {
            self.below(times) == 0
        }
    }

    /// A store under clients that are never idle, and how it goes wrong.
    struct Store {
        random: Random,
        /// By key: the values, none where it was deleted, and their revisions.
        versions: Vec<Vec<(Option<usize>, usize)>>,
        revision: usize,
        /// One read in so many is of another version.
        stale: usize,
        /// One transaction in so many says another revision.
        wrong: usize,
        deletes: bool,
    }

    impl Store {
        /// Executes a transaction. Returns what it is told, and its revision.
        fn execute(&mut self) -> (String, usize) {
            let (mut told, mut wrote) = (Vec::new(), false);
            for key in 0..KEYS {
                let versions = &mut self.versions[key];
                match self.random.below(6) {
                    0 | 1 => {
                        let back = match self.random.one_in(self.stale) {
                            true => 1 + self.random.below(3),
                            false => 1,
                        };
                        told.push(match versions.len().checked_sub(back) {
                            None => format!(r#"["r","{key}",null]"#),
                            Some(at) => match versions[at] {
                                (Some(value), at) => format!(r#"["r","{key}",{value},{at}]"#),
                                (None, _) => format!(r#"["r","{key}",null]"#),
                            },
                        });
                    }
                    2 => {
                        let is_deletion = self.deletes && self.random.one_in(4);
                        let value = (!is_deletion).then_some(self.revision);
                        versions.push((value, self.revision + 1));
                        wrote = true;
                        let value = value.map_or("null".to_owned(), |value| value.to_string());
                        told.push(format!(r#"["w","{key}",{value}]"#));
                    }
                    _ => {}
                }
            }
            self.revision += usize::from(wrote);
            let said = match self.random.one_in(self.wrong) {
                true => (self.revision + self.random.below(5)).saturating_sub(2),
                false => self.revision,
            };
            (
                format!("[{}]", told.join(",")),
                if wrote { said } else { 0 },
            )
        }
    }

    /// Mostly right, here and there wrong.
    fn history(seed: u64) -> History {
        let mut store = Store {
            random: Random(seed),
            versions: vec![Vec::new(); KEYS],
            revision: 1,
            stale: [40, 200, usize::MAX][seed as usize % 3],
            wrong: [usize::MAX, 200][seed as usize / 3 % 2],
            deletes: (seed / 6).is_multiple_of(2),
        };
        let mut text = r#"{"format":"etcd-recipes-history","version":1,"workload":"test","model":"transactions","source":{"kind":"other"}}"#.to_owned();
        let mut doing: Vec<Option<Option<(String, usize)>>> = vec![None; CLIENTS];
        let (mut ended, mut time) = (0, 0);
        while ended < TRANSACTIONS {
            time += 1;
            let client = store.random.below(CLIENTS);
            let (kind, value, revision) = match doing[client].take() {
                None => {
                    doing[client] = Some(None);
                    ("invoke", "null".to_owned(), 0)
                }
                Some(None) => {
                    doing[client] = Some(Some(store.execute()));
                    continue;
                }
                Some(Some((told, revision))) => {
                    ended += 1;
                    ("ok", told, revision)
                }
            };
            let revision = match revision {
                0 => String::new(),
                revision => format!(r#","revision":{revision}"#),
            };
            write!(text, "\n{{\"time\":{time},\"process\":{client},\"type\":\"{kind}\",\"f\":\"txn\",\"value\":{value}{revision}}}").unwrap();
        }
        History::read_from(text.as_bytes()).unwrap()
    }

    /// Cycles are found among the suspects as they are among all, and nothing else.
    #[test]
    fn nothing_is_missed_where_nothing_is_suspected() {
        let (mut fewer, mut wrong) = (0, 0);
        for seed in 0..600 {
            let history = history(seed);
            let txns = Txns::of(&history, Attempts::Refuse, &Budget::default()).unwrap();
            let commits: Commits = txns.txns.iter().map(|txn| txn.revision).collect();
            let choice = Choice::of(&txns, &commits);
            fewer += u32::from(choice.suspects.len() * 2 < TRANSACTIONS);
            let all = Choice::of(&txns, &commits);
            let suspects = (0..all.revisions.count()).collect();
            let all = Choice::among(all.revisions, suspects, all.findings);
            for model in Consistency::ALL {
                let is_asked = |anomaly| model.forbids(anomaly);
                assert_eq!(choice.breaks(&is_asked), all.breaks(&is_asked), "{seed}");
            }
            let (near, all) = (choice.judge(), all.judge());
            assert_eq!((near.open, near.reason), (all.open, all.reason), "{seed}");
            let told = |findings: Findings| {
                let found = findings.into_vec().into_iter();
                let found = found.map(|(anomaly, found)| (anomaly, found.count, found.violation));
                found.collect::<Vec<_>>()
            };
            let (near, all) = (told(near.findings), told(all.findings));
            wrong += u32::from(!near.is_empty());
            assert_eq!(near, all, "{seed}");
        }
        assert!(fewer > 200 && wrong > 200, "{fewer} {wrong}");
    }
}
