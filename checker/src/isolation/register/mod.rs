//! Registers: each value is written once, and the reads tell who came after whom.
//!
//! # The question
//!
//! Transactions write values of their own to registers and read them. Nobody says in which
//! order the values of a register came, and a read shows only one of them:
//!
//! ```text
//! T1  w x 1             |----|
//! T2  w x 2                |------|                  was 1 before 2, or 2 before 1?
//! T3  r x = 1                           |-----|      T1 wr T3: here 2 was over, or T2
//! T4  r x = 2, w x 3                 |-----|         comes behind T3; T4 rw whoever is next
//! ```
//!
//! # What is sound
//!
//! Facts are `wr` from who wrote to who read, `rw` from who found nothing to all writers, and
//! `rw` from who read a version to who read it too and wrote the next (`edges`). An order of
//! versions by process or real time is assumed for anomalies that need that order
//! anyway (`succession`): if it were another one, there would be read skew in it. With
//! [`KeyOrders`](super::KeyOrders) it is taken for granted, as Elle does.
//!
//! # What is complete
//!
//! No cycle among these does not mean that all is well. So the orders are looked for that
//! would explain all reads (`orders`): in real time first, which mostly exists, and then all
//! models hold. When a transaction can have happened is narrowed by what was read before a search
//! begins (`narrow`). Where there is no order, that is an anomaly, and the fewest transactions that have
//! none are its witness. `G0` and `G1c` need no such order: the versions may come as their
//! transactions do in any order that `wr` allows.
//!
//! # Unknown outcomes
//!
//! A transaction of unknown outcome took effect if somebody read what it wrote, and before
//! that one had returned. If nobody did, leaving it out is in nobody's way.
//!
//! # Values that nobody wrote
//!
//! Such a value may have been there before, somebody may have written it who is not part of the
//! history, or it was made up: which one is not known, and then nor is the verdict. Where an
//! order of versions is taken for granted they have a place in it all the same, as if an unknown
//! transaction had written them: a cycle of the others in which they take part is one in each
//! of these cases.
//!
//! # Cost
//!
//! O(n log n + n c) for n transactions of which c overlap once their times are narrowed, and the
//! square of that for those in doubt.
//! Without real time it is O(n^2) for those near what real time forbids (`nearby`), and only
//! where these do not decide, for all. What the required models depend on is asked first; when
//! that is known, the rest may take as long again, or a little. Whether transactions of registers
//! are serializable is NP-complete (Papadimitriou 1979): where the time or the memory of the budget
//! does not suffice, the verdict is *unknown*, and says which of them (`effort`). So it is where
//! what explains a violation would take more memory than there is.

mod edges;
mod local;
mod narrow;
mod nearby;
mod orders;
mod succession;
mod told;
mod versions;

use super::anomaly::{Anomaly, Dependencies, Order};
use super::components::{Components, Rule};
use super::consistency::Consistency;
use super::cycles;
use super::effort::Effort;
use super::explain::who;
use super::findings::Findings;
use super::graph::{Builder, Span, Why};
use super::judge::{self, Evidence, UNASKED_MAX};
use super::options::{KeyOrders, Options};
use super::serial;
use super::settle::open_questions;
use super::txns::{NONE, Names, Txns};
use crate::history::{History, HistoryError, Problem};
use crate::linearization::Linearization;
use crate::search::Budget;
use crate::unsat_core::{Answer, Core};
use crate::verdict::Verdict;

use edges::Registers;
use nearby::{BLOCKS_FIRST_MAX, BLOCKS_MAX, Nearby};
use orders::{Found, Ideal, Known, Orders};
use succession::Successions;
use versions::Versions;

const NAMES: Names = Names {
    model: "rw-register",
    write: "w",
    reads_lists: false,
    expected: r#"a list of ["w", key, value] and ["r", key, value]"#,
};

/// What is looked for, and what there is if it does not exist.
const IDEALS: [(Ideal, Dependencies); 2] = [
    (Ideal::Serial, Dependencies::G2Item),
    (Ideal::Snapshots, Dependencies::GNonadjacent),
];

/// What the models ask for that allow write skew, or more.
struct Weaker {
    model: Consistency,
    ideal: Ideal,
    /// What there is if it does not exist.
    anomaly: Anomaly,
}

const VIEW: Weaker = Weaker {
    model: Consistency::ConsistentView,
    ideal: Ideal::View,
    anomaly: Anomaly::Cycle(Dependencies::GSingle, Order::Any),
};

/// What breaks the first breaks the second, and the third only if it breaks the first.
const WEAKER: [Weaker; 3] = [
    VIEW,
    Weaker {
        model: Consistency::UpdateSerializable,
        ideal: Ideal::Updates,
        anomaly: Anomaly::GUpdate,
    },
    Weaker {
        model: Consistency::ReadAtomic,
        ideal: Ideal::Atomic,
        anomaly: Anomaly::FracturedRead,
    },
];

/// How many bytes the dependencies that are inferred take for each read and write, with the search
/// for cycles, as measured.
const INFERENCE_BYTES: usize = 150;

const NOT_KNOWN: &str =
    "whether there is an order of the transactions that explains all reads is not known";

pub(super) fn check(history: &History, options: &Options) -> Result<Verdict, HistoryError> {
    let required = options.required(history)?;
    let keys = options.key_orders(history)?;
    let effort = Effort::of(&options.budget);
    let (txns, versions) = read(history, keys)?;
    let (evidence, _) = registry(&txns, &versions, keys, &required, &effort).evidence();
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
    let keys = Options::default().key_orders(history)?;
    let effort = Effort::of(budget);
    let (txns, versions) = read(history, keys)?;
    let mut registry = registry(&txns, &versions, keys, &[], &effort);
    registry.wants_order = true;
    let (evidence, found) = registry.evidence();
    let Some(order) = serial::promised(&evidence) else {
        return Ok(serial::none(&evidence));
    };
    // Another question than those that were asked takes as much again.
    let effort = Effort::of(budget);
    let search = || {
        let orders = Orders::of(&txns, &versions, &[], &effort);
        let question = orders.question(Ideal::Serial, order);
        let all = orders.all();
        orders.find(question, &all)
    };
    Ok(match found.or_else(search) {
        Some(order) => Linearization::Order(order.into_iter().map(|txn| txn as usize).collect()),
        None => Linearization::none(not_known(&effort)),
    })
}

fn read(history: &History, keys: KeyOrders) -> Result<(Txns<'_>, Versions), HistoryError> {
    let mut txns = Txns::of(history, &NAMES)?;
    refuse_nothing(&txns)?;
    let versions = Versions::of(&mut txns, keys != KeyOrders::default());
    Ok((txns, versions))
}

fn registry<'t, 'h>(
    txns: &'t Txns<'h>,
    versions: &'t Versions,
    keys: KeyOrders,
    required: &'t [Consistency],
    effort: &'t Effort,
) -> Registry<'t, 'h> {
    Registry {
        required,
        txns,
        versions,
        keys,
        effort,
        findings: Findings::default(),
        wants_order: false,
        order: None,
    }
}

/// Who writes `null` leaves a key as if nobody had written it.
fn refuse_nothing(txns: &Txns<'_>) -> Result<(), HistoryError> {
    let nothing = txns
        .values
        .iter()
        .find(|value| value.text == "null" && value.writer != NONE);
    let Some(value) = nothing else {
        return Ok(());
    };
    let problem = Problem::Value {
        f: "txn".to_owned(),
        expected: NAMES.expected,
        detail: format!(
            "{:?} is set to null, which is what a key holds before anybody writes it",
            txns.keys[value.key as usize]
        ),
    };
    let line = txns.operation(value.writer).invoke.line();
    Err(HistoryError::at(line, problem))
}

struct Registry<'t, 'h> {
    txns: &'t Txns<'h>,
    versions: &'t Versions,
    keys: KeyOrders,
    required: &'t [Consistency],
    /// What the searches for orders may take.
    effort: &'t Effort,
    findings: Findings,
    /// Whether an order in real time is kept.
    wants_order: bool,
    order: Option<Vec<u32>>,
}

impl<'t, 'h> Registry<'t, 'h> {
    /// What the history shows; and the order in real time, if it is wanted and was found.
    fn evidence(mut self) -> (Evidence, Option<Vec<u32>>) {
        let perhaps_initial = local::find(self.txns, self.versions, &mut self.findings);
        let (mut unknown, mut reason) = self.find_cycles();
        if let Some((txn, value)) = perhaps_initial {
            reason = format!(
                "{} read {} as {}, which nobody wrote: either that was there before the history \
                 begins, or who wrote it is not in the history, or it was made up",
                who(self.txns, txn),
                self.txns.show_key(self.txns.values[value as usize].key),
                self.txns.show_value(value),
            );
            unknown.push(Anomaly::GarbageRead);
            let order = Anomaly::Cycle(Dependencies::G0, Order::Any);
            unknown.extend(order.implied());
        }
        let evidence = Evidence {
            found: self.findings.into_vec(),
            unknown,
            reason,
        };
        (evidence, self.order)
    }

    /// Notes the cycles. Returns those of which it is not known whether they exist, and
    /// why.
    fn find_cycles(&mut self) -> (Vec<Anomaly>, String) {
        let takes_order_for_granted = self.keys != KeyOrders::default();
        let (txns, versions) = (self.txns, self.versions);
        let mut in_real_time = None;
        if !takes_order_for_granted && !self.is_hopeless() {
            let found = self.in_real_time();
            if found.answer == Answer::Possible {
                self.order = found.order;
                return (Vec::new(), String::new());
            }
            in_real_time = Some(RealTime::of(found));
        }
        if self.effort.is_over() {
            return (open_questions(&self.findings), not_known(self.effort));
        }
        if self.effort.memory_bytes() / INFERENCE_BYTES < txns.micro.len() {
            self.effort.lacks_memory();
            return (open_questions(&self.findings), not_known(self.effort));
        }
        let successions = Successions::of(txns, versions);
        let known = self.known(&successions);
        let graph = edges::graph(txns, versions, &successions, self.keys, &known);
        let registers = Registers {
            txns,
            versions,
            successions: &successions,
            keys: self.keys,
            effort: self.effort,
        };
        let (findings, effort) = (&mut self.findings, self.effort);
        let unknown = cycles::find(txns, &graph, &registers, findings, effort);
        if !unknown.is_empty() {
            let reason = match effort.is_over() {
                true => not_known(effort),
                false => "there are too many cycles to tell whether one of them is of the kind that is forbidden".to_owned(),
            };
            return (unknown, reason);
        }
        let mut open = match self.is_hopeless() {
            // What else it asks for matters to no model any more.
            true => WEAKER.map(|weaker| weaker.anomaly).to_vec(),
            false => self.settle(&known, in_real_time),
        };
        let reason = self.settle_weaker(&known, &mut open);
        (open, reason)
    }

    /// Looks for the orders that models ask for which allow write skew and more. Returns why
    /// it is not known whether there are any.
    fn settle_weaker(&mut self, known: &[Known], open: &mut Vec<Anomaly>) -> String {
        let orders = self.orders(known);
        for weaker in &WEAKER {
            self.ask(&orders, weaker, open);
        }
        open.retain(|anomaly| !self.findings.imply(*anomaly));
        not_known(self.effort)
    }

    fn ask(&mut self, orders: &Orders<'_, '_>, weaker: &Weaker, open: &mut Vec<Anomaly>) {
        let breaks = |found: Anomaly| weaker.model.forbids(found);
        let is_open = open.contains(&weaker.anomaly) && !self.findings.anomalies().any(breaks);
        let is_asked = self.findings.leave_open(self.required, weaker.anomaly);
        if !is_open || !is_asked && self.txns.len() > UNASKED_MAX {
            return;
        }
        if !is_asked {
            self.leave_rest(open, std::iter::empty());
            self.effort.renew_rest();
        }
        let (ideal, anomaly) = (weaker.ideal, weaker.anomaly);
        match answer(orders, ideal, Order::Any, &mut None) {
            Nearby::Possible => open.retain(|open| !open.implied().contains(&anomaly)),
            Nearby::Impossible(txns) => {
                self.add_unordered(orders, ideal, anomaly, Order::Any, txns);
            }
            Nearby::Unknown => {}
        }
    }

    /// Whether no order can explain what was read, as is known already.
    fn is_hopeless(&self) -> bool {
        let breaks = |anomaly: Anomaly| {
            Consistency::SnapshotIsolation.forbids(anomaly)
                && Consistency::RepeatableRead.forbids(anomaly)
        };
        self.findings.anomalies().any(breaks)
    }

    fn orders<'o>(&self, known: &'o [Known]) -> Orders<'o, 'h>
    where
        't: 'o,
    {
        Orders::of(self.txns, self.versions, known, self.effort)
    }

    fn in_real_time(&self) -> Found {
        let orders = self.orders(&[]);
        let question = orders.question(Ideal::Serial, Order::RealTime);
        match self.wants_order {
            true => orders.ordered(question, &orders.all()),
            false => orders.exists(question, &orders.all()),
        }
    }

    /// Looks for orders that rule out what was not found. Where there is none, that is
    /// an anomaly too. Returns what stays open. `serial` is what is known of a serial order in
    /// real time.
    ///
    /// What was asked for comes first; the rest may take as long again.
    fn settle(&mut self, known: &[Known], serial: Option<RealTime>) -> Vec<Anomaly> {
        let mut open = open_questions(&self.findings);
        open.retain(|anomaly| is_of_snapshots(*anomaly));
        // Where something worse was found in an order, no model that is open asks for more.
        open.retain(|anomaly| !self.is_outdone(*anomaly));
        let orders = self.orders(known);
        let mut in_real_time = [serial, None];
        // The least that is asked for and cannot be, by ideal.
        let mut impossible: [Option<Lacking>; 2] = [None, None];
        // From the most to the least that is asked for.
        let all = (0..IDEALS.len()).flat_map(|ideal| {
            Order::ALL
                .into_iter()
                .rev()
                .map(move |order| (ideal, order))
        });
        let is_asked = |(ideal, order): &(usize, Order)| {
            let anomaly = Anomaly::Cycle(IDEALS[*ideal].1, *order);
            self.findings.leave_open(self.required, anomaly)
        };
        let (asked, rest): (Vec<_>, Vec<_>) = all.partition(is_asked);
        let rest_from = asked.len();
        for (turn, (at, order)) in asked.into_iter().chain(rest).enumerate() {
            let (ideal, dependencies) = IDEALS[at];
            let anomaly = Anomaly::Cycle(dependencies, order);
            let is_lacking = |lacking: &Lacking| lacking.order <= order;
            if !open.contains(&anomaly) || impossible[at].as_ref().is_some_and(is_lacking) {
                continue;
            }
            if turn >= rest_from {
                let lacking = impossible.iter().flatten();
                self.leave_rest(&open, lacking.map(|lacking| lacking.anomaly));
            }
            match answer(&orders, ideal, order, &mut in_real_time[at]) {
                Nearby::Possible => open.retain(|open| !open.implied().contains(&anomaly)),
                Nearby::Impossible(txns) => {
                    impossible[at] = Some(Lacking {
                        ideal,
                        order,
                        anomaly,
                        txns,
                    });
                }
                Nearby::Unknown => {}
            }
        }
        let lacking = impossible.iter().flatten();
        self.leave_rest(&open, lacking.map(|lacking| lacking.anomaly));
        // Who lacks snapshots lacks an order, too.
        for lacking in impossible.into_iter().flatten().rev() {
            self.effort.renew_rest();
            if !self.findings.imply(lacking.anomaly) {
                self.add_lacking(&orders, lacking, &mut open);
            }
        }
        open.retain(|anomaly| !self.findings.imply(*anomaly));
        open
    }

    /// Notes that transactions have no order; where they have no snapshots, whether they are
    /// skewed besides, which is worse.
    fn add_lacking(&mut self, orders: &Orders<'_, '_>, lacking: Lacking, open: &mut Vec<Anomaly>) {
        let Lacking {
            ideal,
            order,
            anomaly,
            txns,
        } = lacking;
        if (ideal, order) != (Ideal::Snapshots, Order::Any) {
            self.add_unordered(orders, ideal, anomaly, order, txns);
            return;
        }
        let asks_for_view =
            |model: &Consistency| model.forbids(VIEW.anomaly) && !model.forbids(anomaly);
        if self.txns.len() <= UNASKED_MAX || self.required.iter().any(asks_for_view) {
            self.ask(orders, &VIEW, open);
            if self.findings.imply(anomaly) {
                return;
            }
        }
        let core = orders.core(orders.question(ideal, order), txns);
        let view = orders.question(VIEW.ideal, Order::Any);
        match orders.exists_nearby(view, &core.things).answer {
            Answer::Impossible => self.add_core(VIEW.ideal, VIEW.anomaly, Order::Any, core),
            _ => self.add_core(ideal, anomaly, order, core),
        }
    }

    /// Bounds what is left to do, if it is known by now whether the models hold that are required:
    /// as far as what is open and what was found tell, with this besides.
    fn leave_rest(&self, open: &[Anomaly], besides: impl Iterator<Item = Anomaly>) {
        let found: Vec<Anomaly> = self.findings.anomalies().chain(besides).collect();
        if judge::is_known(self.required, &found, open) {
            self.effort.leave_rest();
        }
    }

    /// Whether a cycle without a missed write, in this order or none, was found.
    fn is_outdone(&self, anomaly: Anomaly) -> bool {
        let Anomaly::Cycle(_, order) = anomaly else {
            return false;
        };
        let is_worse = |found| matches!(found, Anomaly::Cycle(Dependencies::G0 | Dependencies::G1c, other) if other <= order);
        self.findings.anomalies().any(is_worse)
    }

    /// Notes that some transactions have no order.
    fn add_unordered(
        &mut self,
        orders: &Orders<'_, '_>,
        ideal: Ideal,
        anomaly: Anomaly,
        order: Order,
        txns: Vec<u32>,
    ) {
        let core = orders.core(orders.question(ideal, order), txns);
        self.add_core(ideal, anomaly, order, core);
    }

    fn add_core(&mut self, ideal: Ideal, anomaly: Anomaly, order: Order, core: Core<u32>) {
        let (txns, versions) = (self.txns, self.versions);
        self.findings.add_core(txns, anomaly, core, |core| {
            told::sentence(txns, versions, (ideal, order), anomaly, core)
        });
    }

    /// The order of versions that is taken for granted, source by source: one that
    /// contradicts the others is an anomaly, and left out.
    fn known(&mut self, successions: &Successions) -> Vec<Known> {
        let mut known = Vec::new();
        let mut sources: Vec<Vec<Known>> = Vec::new();
        if self.keys.writes_follow_reads {
            sources.push(successions.follow_reads(self.txns, self.versions));
        }
        for order in self.keys.orders() {
            sources.push(successions.by(order).to_vec());
        }
        for source in sources {
            let mut together = known.clone();
            together.extend(source);
            match self.circle(&together) {
                None => known = together,
                Some((key, places)) => self.add_cyclic_versions(key, &places),
            }
        }
        known
    }

    /// Versions of a key that come after each other in a circle, if there are any.
    fn circle(&self, known: &[Known]) -> Option<(u32, Vec<usize>)> {
        let mut starts = vec![0];
        for versions in &self.versions.keys {
            starts.push(starts[starts.len() - 1] + versions.len());
        }
        let node =
            |key: u32, place: usize| u32::try_from(starts[key as usize] + place).unwrap_or(NONE);
        let span = Span {
            invoked: 0,
            returned: NONE,
        };
        let mut builder = Builder::new(vec![span; starts[starts.len() - 1]], known.len());
        for (key, versions) in (0..).zip(&self.versions.keys) {
            for place in 1..versions.len() {
                builder.edge(node(key, 0), node(key, place), Why::Overwrote, key);
            }
        }
        for (key, first, second) in known {
            builder.edge(
                node(*key, *first),
                node(*key, *second),
                Why::Overwrote,
                *key,
            );
        }
        let rule = Rule {
            whys: Why::Overwrote.bit(),
            order: Order::Any,
            assumes: Order::Any,
            nonadjacent: false,
        };
        let circle = Components::of(&builder.finish(), rule).members.into_iter();
        let circle = circle.min_by_key(Vec::len)?;
        let key = starts.partition_point(|start| *start <= circle[0] as usize) - 1;
        let places = circle.iter().map(|node| *node as usize - starts[key]);
        Some((u32::try_from(key).unwrap_or(NONE), places.collect()))
    }

    fn add_cyclic_versions(&mut self, key: u32, places: &[usize]) {
        let (txns, versions) = (self.txns, &self.versions.keys[key as usize]);
        self.findings.add(txns, Anomaly::CyclicVersions, || {
            let values: Vec<String> = places
                .iter()
                .map(|place| local::show(txns, versions[*place].value))
                .collect();
            let sentence = format!(
                "the values {} of {} came after each other in a circle, as those tell who met them",
                values.join(", "),
                txns.show_key(key)
            );
            let mut who: Vec<u32> = places
                .iter()
                .map(|place| &versions[*place])
                .flat_map(|version| version.readers.iter().chain([&version.writer]))
                .copied()
                .filter(|txn| *txn != NONE)
                .collect();
            who.sort_unstable();
            who.dedup();
            (sentence, who)
        });
    }
}

/// That these transactions have no order of the kind.
struct Lacking {
    ideal: Ideal,
    order: Order,
    anomaly: Anomaly,
    txns: Vec<u32>,
}

/// What is known of an order in real time.
enum RealTime {
    Possible,
    /// Around these transactions there is none.
    Impossible(Vec<u32>),
    Unknown,
}

impl RealTime {
    fn of(found: Found) -> Self {
        match found.answer {
            Answer::Possible => Self::Possible,
            Answer::Impossible => Self::Impossible(found.conflict),
            Answer::Unknown => Self::Unknown,
        }
    }
}

/// Whether there is such an order. `in_real_time` keeps what is known of one in real time.
fn answer(
    orders: &Orders<'_, '_>,
    ideal: Ideal,
    order: Order,
    in_real_time: &mut Option<RealTime>,
) -> Nearby {
    let in_real_time = in_real_time.get_or_insert_with(|| {
        let question = orders.question(ideal, Order::RealTime);
        RealTime::of(orders.exists(question, &orders.all()))
    });
    let conflict = match in_real_time {
        // Then there is one that asks for less.
        RealTime::Possible => return Nearby::Possible,
        RealTime::Impossible(conflict) => Some(conflict.as_slice()),
        RealTime::Unknown => None,
    };
    let question = orders.question(ideal, order);
    let near = |search: &dyn Fn(&[u32]) -> Nearby| conflict.map_or(Nearby::Unknown, search);
    let window = near(&|conflict| nearby::window(orders, question, conflict));
    if order == Order::RealTime {
        return match window {
            Nearby::Unknown if conflict.is_some() => Nearby::Impossible(orders.all()),
            window => window,
        };
    }
    let blocks = |most| near(&|conflict| nearby::search(orders, question, conflict, most));
    let at_once = || {
        let all = orders.all();
        match orders.exists(question, &all).answer {
            Answer::Possible => Nearby::Possible,
            Answer::Impossible => Nearby::Impossible(all),
            Answer::Unknown => Nearby::Unknown,
        }
    };
    let found = window.or_else(|| blocks(BLOCKS_FIRST_MAX)).or_else(at_once);
    found.or_else(|| blocks(BLOCKS_MAX))
}

/// Why it is not known whether there is an order.
fn not_known(effort: &Effort) -> String {
    let easier = "it is easier to tell where keys are read more often";
    match effort.shortage() {
        Some(shortage) => format!("{NOT_KNOWN}: {shortage}; {easier}"),
        None => format!("{NOT_KNOWN}; {easier}"),
    }
}

/// Whether only an order of the versions can tell if there is such a cycle.
fn is_of_snapshots(anomaly: Anomaly) -> bool {
    !matches!(
        anomaly,
        Anomaly::Cycle(Dependencies::G0 | Dependencies::G1c, _)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who asks for the order need not search twice.
    #[test]
    fn the_order_that_is_found_first_is_kept() {
        let text = r#"{"format":"etcd-recipes-history","version":1,"workload":"test","model":"rw-register","source":{"kind":"other"}}
{"time":1,"process":0,"type":"invoke","f":"txn","value":null}
{"time":2,"process":1,"type":"invoke","f":"txn","value":null}
{"time":3,"process":0,"type":"ok","f":"txn","value":[["r","x",1]]}
{"time":4,"process":1,"type":"ok","f":"txn","value":[["w","x",1]]}"#;
        let history = History::read_from(text.as_bytes()).unwrap();
        let (txns, versions) = read(&history, KeyOrders::default()).unwrap();
        let effort = Effort::of(&Budget::default());
        for wants_order in [false, true] {
            let mut registry = registry(&txns, &versions, KeyOrders::default(), &[], &effort);
            registry.wants_order = wants_order;
            let (evidence, order) = registry.evidence();
            assert!(evidence.satisfies(Consistency::StrictSerializable));
            assert_eq!(order, wants_order.then(|| vec![1, 0]));
        }
    }

    /// The last read is stale: so the transactions are serializable, and more is to be told.
    #[test]
    fn when_what_was_asked_for_is_known_the_rest_is_bounded() {
        let text = r#"{"format":"etcd-recipes-history","version":1,"workload":"test","model":"rw-register","source":{"kind":"other"}}
{"time":1,"process":0,"type":"invoke","f":"txn","value":null}
{"time":2,"process":0,"type":"ok","f":"txn","value":[["w","x",1]]}
{"time":3,"process":1,"type":"invoke","f":"txn","value":null}
{"time":4,"process":1,"type":"ok","f":"txn","value":[["r","x",null]]}"#;
        let history = History::read_from(text.as_bytes()).unwrap();
        let (txns, versions) = read(&history, KeyOrders::default()).unwrap();
        for (required, is_bounded) in [(&[Consistency::Serializable][..], true), (&[], false)] {
            let effort = Effort::of(&Budget::default());
            let registry = registry(&txns, &versions, KeyOrders::default(), required, &effort);
            let (evidence, _) = registry.evidence();
            assert!(evidence.satisfies(Consistency::StrongSessionSerializable));
            assert_eq!(effort.leaves_rest(), is_bounded, "{required:?}");
        }
    }
}
