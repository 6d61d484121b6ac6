//! Sentences for people.

use std::collections::BTreeMap;

use super::anomaly::{Anomaly, Order};
use super::cycle::Step;
use super::cycles::Relations;
use super::graph::Why;
use super::sentence::Sentence;
use super::txns::{Txns, What};
use crate::history::{Operation, Outcome};
use crate::verdict::Kind;

/// How many elements of a list are shown.
const SHOWN_MAX: usize = 12;

/// Those who take part in anomalies: transactions by their number.
pub(crate) trait Parties {
    /// The operation of a transaction; none when nobody reported it.
    fn operation(&self, txn: u32) -> Option<&Operation<'_>>;

    /// The process that did it one after its others, if there is one.
    fn process(&self, txn: u32) -> Option<u64> {
        self.operation(txn).map(Operation::process)
    }

    /// Whether it is known to have written nothing.
    fn only_reads(&self, txn: u32) -> bool;

    /// What a transaction is called that nobody reported.
    fn unreported(&self, _txn: u32) -> String {
        "an unseen transaction".to_owned()
    }

    /// What is said of a transaction besides its place.
    fn remark(&self, txn: u32) -> &'static str {
        match self.operation(txn).map(Operation::outcome) {
            None | Some(Outcome::Ok) => "",
            Some(_) => " with unknown outcome",
        }
    }

    /// What an anomaly is called that these transactions prove.
    fn kind(&self, anomaly: Anomaly, _witness: &[u32]) -> Kind {
        anomaly.kind()
    }
}

impl Parties for Txns<'_> {
    fn operation(&self, txn: u32) -> Option<&Operation<'_>> {
        Some(Txns::operation(self, txn))
    }

    fn only_reads(&self, txn: u32) -> bool {
        Txns::only_reads(self, txn)
    }
}

/// A transaction by its place in the history.
pub(super) fn who(txns: &Txns<'_>, txn: u32) -> String {
    let operation = txns.operation(txn);
    format!(
        "the transaction by process {} in line {}",
        operation.process(),
        operation.invoke.line()
    )
}

/// A list, of which only the end is shown when it is long.
pub(super) fn shown(txns: &Txns<'_>, list: &[u32]) -> String {
    let left_out = list.len().saturating_sub(SHOWN_MAX);
    let ellipsis = (left_out > 0).then(|| format!("({left_out} more)"));
    let rest = list[left_out..]
        .iter()
        .map(|value| txns.values[*value as usize].text.to_string());
    let parts: Vec<String> = ellipsis.into_iter().chain(rest).collect();
    format!("[{}]", parts.join(", "))
}

/// How one transaction of two depends on the other, in words.
pub(crate) struct Clause {
    /// Whom it is said of.
    pub(crate) subject: u32,
    /// What stands between the two.
    pub(crate) verb: String,
    pub(crate) object: u32,
    /// What stands behind them.
    pub(crate) rest: String,
}

impl Clause {
    pub(crate) fn new(
        subject: u32,
        verb: impl Into<String>,
        object: u32,
        rest: impl Into<String>,
    ) -> Self {
        Self {
            subject,
            verb: verb.into(),
            object,
            rest: rest.into(),
        }
    }
}

/// The sentence about a cycle, and the transactions that prove it.
pub(crate) fn cycle(
    parties: &dyn Parties,
    relations: &dyn Relations,
    steps: &[Step],
) -> (Sentence, Vec<u32>) {
    let mut members: Vec<u32> = steps.iter().map(|step| step.from).collect();
    let evidence: Vec<u32> = steps
        .iter()
        .flat_map(|step| relations.evidence(step))
        .collect();
    members.extend(evidence);
    members.sort_unstable();
    members.dedup();
    let mut said: Vec<Sentence> = steps
        .iter()
        .map(|step| say(parties, relations, steps, step))
        .collect();
    let last = said.pop().expect("a cycle has steps");
    let sentence = Sentence::default().join(said, ", ").then(", yet ");
    let sentence = introduce(sentence.join([last], ""), parties, &members);
    (sentence, members)
}

fn say(parties: &dyn Parties, relations: &dyn Relations, steps: &[Step], step: &Step) -> Sentence {
    let (first, second) = (step.from, step.to);
    let (clause, others) = match step.why {
        Why::RealTime => {
            let said = Clause::new(first, "had been acknowledged before", second, " began");
            (said, Vec::new())
        }
        Why::Process => {
            let verb = "was done by the process that had done";
            (Clause::new(second, verb, first, ""), Vec::new())
        }
        _ => (relations.say(step), shown_by(relations, steps, step)),
    };
    let sentence = Sentence::default()
        .name(parties, clause.subject)
        .then(format!(" {} ", clause.verb))
        .name(parties, clause.object)
        .then(clause.rest);
    if others.is_empty() {
        return sentence;
    }
    let others = others
        .into_iter()
        .map(|txn| Sentence::default().name(parties, txn));
    sentence.then(", as ").join(others, " with ").then(" shows")
}

/// Who else it takes to know of a step, besides those of the cycle.
fn shown_by(relations: &dyn Relations, steps: &[Step], step: &Step) -> Vec<u32> {
    let mut others = relations.evidence(step);
    let mut named: Vec<u32> = steps.iter().map(|step| step.from).collect();
    others.retain(|txn| {
        let is_new = !named.contains(txn);
        named.push(*txn);
        is_new
    });
    others
}

/// The sentence about transactions for which no order serves: what is wrong with each, and the
/// order that counts besides what they read and wrote.
pub(super) fn unordered(
    txns: &Txns<'_>,
    what: &str,
    order: Order,
    core: &[u32],
    keys: &str,
) -> Sentence {
    let kept = match order {
        Order::Any => "",
        Order::Process => ", if each process does one after the other",
        Order::RealTime => ", if what was acknowledged comes before what began later",
    };
    introduce(Sentence::from(format!("{what}{kept}{keys}")), txns, core)
}

/// Which keys some transactions have to do with that others of them wrote.
pub(super) fn keys_between(txns: &Txns<'_>, members: &[u32]) -> String {
    let mut touched: BTreeMap<u32, (bool, Vec<u32>)> = BTreeMap::new();
    for txn in members {
        for micro in txns.micro(*txn) {
            let (is_written, by) = touched.entry(micro.key).or_default();
            *is_written |= matches!(micro.what, What::Write(_));
            if by.last() != Some(txn) {
                by.push(*txn);
            }
        }
    }
    touched.retain(|_, (is_written, by)| *is_written && by.len() > 1);
    let shown: Vec<String> = touched.keys().map(|key| txns.show_key(*key)).collect();
    match shown.len() {
        0 => String::new(),
        1 => format!("; the key is {}", shown[0]),
        2..=SHOWN_MAX => format!("; the keys are {}", shown.join(", ")),
        more => format!(
            "; {more} keys, among them {}",
            shown[..SHOWN_MAX].join(", ")
        ),
    }
}

/// The sentence, and where those are found that have names in it: in the order of their lines.
fn introduce(sentence: Sentence, parties: &dyn Parties, txns: &[u32]) -> Sentence {
    let reported = txns
        .iter()
        .filter_map(|txn| Some((*txn, parties.operation(*txn)?)));
    let mut reported: Vec<(u32, &Operation<'_>)> = reported.collect();
    reported.sort_by_key(|(_, operation)| operation.invoke.line());
    let who = reported.into_iter().map(|(txn, operation)| {
        Sentence::default().name(parties, txn).then(format!(
            " by process {}, line {}{}",
            operation.process(),
            operation.invoke.line(),
            parties.remark(txn)
        ))
    });
    sentence.then(" (").join(who, ", ").then(")")
}
