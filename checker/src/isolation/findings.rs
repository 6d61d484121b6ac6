//! The anomalies of a history: the first of each sort, and how many there are.

use std::collections::BTreeMap;

use super::anomaly::Anomaly;
use super::consistency::Consistency;
use super::explain::Parties;
use super::sentence::{Names, Sentence};
use crate::unsat_core::Core;
use crate::verdict::{Class, MAY_BE_FEWER, Violation};

/// What was found so far.
#[derive(Default)]
pub(crate) struct Findings {
    found: BTreeMap<Anomaly, Found>,
}

/// An anomaly that occurs.
#[derive(Clone)]
pub(crate) struct Found {
    /// How often it was noticed.
    pub(crate) count: u64,
    /// What is said of its first instance; not yet with the names that transactions have where
    /// more is told.
    pub(crate) sentence: Sentence,
    /// That instance by itself.
    pub(crate) violation: Violation,
}

impl From<Violation> for Found {
    /// In its sentence nobody has a name.
    fn from(violation: Violation) -> Self {
        Found {
            count: 1,
            sentence: violation.sentence.clone().into(),
            violation,
        }
    }
}

impl Findings {
    /// Notes an anomaly. The sentence and the transactions that prove it are only asked
    /// for the first time.
    pub(crate) fn add<S: Into<Sentence>>(
        &mut self,
        parties: &dyn Parties,
        anomaly: Anomaly,
        evidence: impl FnOnce() -> (S, Vec<u32>),
    ) {
        if let Some(found) = self.found.get_mut(&anomaly) {
            found.count += 1;
            return;
        }
        let (sentence, witness) = evidence();
        let sentence = sentence.into();
        let kind = parties.kind(anomaly, &witness);
        let witness = witness.into_iter().filter_map(|txn| parties.operation(txn));
        let violation = Violation::new(
            Class::Safety,
            kind,
            Names::default().fill(&sentence),
            witness,
        );
        self.found.insert(
            anomaly,
            Found {
                count: 1,
                sentence,
                violation,
            },
        );
    }

    /// Notes that transactions have no order that serves. The sentence is about those that are
    /// needed for that.
    pub(super) fn add_core(
        &mut self,
        parties: &dyn Parties,
        anomaly: Anomaly,
        core: Core<u32>,
        sentence: impl FnOnce(&[u32]) -> Sentence,
    ) {
        let is_first = !self.found.contains_key(&anomaly);
        let Core {
            things: txns,
            is_least,
        } = core;
        self.add(parties, anomaly, || (sentence(&txns), txns));
        if let Some(found) = self.found.get_mut(&anomaly)
            && is_first
            && !is_least
        {
            found.violation.also.push(MAY_BE_FEWER.to_owned());
        }
    }

    /// Notes an anomaly that is explained already.
    pub(crate) fn note<F: Into<Found>>(&mut self, anomaly: Anomaly, found: impl FnOnce() -> F) {
        if let Some(found) = self.found.get_mut(&anomaly) {
            found.count += 1;
            return;
        }
        self.found.insert(anomaly, found().into());
    }

    /// Whether it was noticed, or something that is a case of it.
    pub(crate) fn imply(&self, anomaly: Anomaly) -> bool {
        self.anomalies()
            .any(|found| found.implied().contains(&anomaly))
    }

    /// Whether it depends on an anomaly if one of these models holds.
    pub(crate) fn leave_open(&self, models: &[Consistency], anomaly: Anomaly) -> bool {
        let is_broken = |model: &Consistency| self.anomalies().any(|found| model.forbids(found));
        let mut open = models.iter().filter(|model| !is_broken(model));
        open.any(|model| model.forbids(anomaly))
    }

    /// The first anomaly, in the order in which reports name them, that is asked for.
    pub(crate) fn first(&self, is_asked: impl Fn(Anomaly) -> bool) -> Option<Found> {
        let mut found = self.found.iter();
        let found = found.find(|(anomaly, _)| is_asked(**anomaly));
        found.map(|(_, found)| Found {
            count: 1,
            ..found.clone()
        })
    }

    pub(crate) fn anomalies(&self) -> impl Iterator<Item = Anomaly> + '_ {
        self.found.keys().copied()
    }

    /// In the order in which reports name them.
    pub(crate) fn into_vec(self) -> Vec<(Anomaly, Found)> {
        self.found.into_iter().collect()
    }
}
