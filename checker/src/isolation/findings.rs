//! The anomalies of a history: the first of each sort, and how many there are.

use std::collections::BTreeMap;

use super::anomaly::Anomaly;
use super::txns::Txns;
use crate::verdict::{Class, Violation};

/// What was found so far.
#[derive(Default)]
pub(super) struct Findings {
    found: BTreeMap<Anomaly, Found>,
}

/// An anomaly that occurs.
pub(super) struct Found {
    /// How often it was noticed.
    pub(super) count: u64,
    /// Its first instance.
    pub(super) violation: Violation,
}

impl Findings {
    /// Notes an anomaly. The sentence and the transactions that prove it are only asked
    /// for the first time.
    pub(super) fn add(
        &mut self,
        txns: &Txns<'_>,
        anomaly: Anomaly,
        evidence: impl FnOnce() -> (String, Vec<u32>),
    ) {
        if let Some(found) = self.found.get_mut(&anomaly) {
            found.count += 1;
            return;
        }
        let (sentence, witness) = evidence();
        let witness = witness.into_iter().map(|txn| txns.operation(txn));
        let violation = Violation::new(Class::Safety, anomaly.kind(), sentence, witness);
        self.found.insert(
            anomaly,
            Found {
                count: 1,
                violation,
            },
        );
    }

    /// Whether it was noticed, or something that is a case of it.
    pub(super) fn imply(&self, anomaly: Anomaly) -> bool {
        self.anomalies()
            .any(|found| found.implied().contains(&anomaly))
    }

    pub(super) fn anomalies(&self) -> impl Iterator<Item = Anomaly> + '_ {
        self.found.keys().copied()
    }

    /// In the order in which reports name them.
    pub(super) fn into_vec(self) -> Vec<(Anomaly, Found)> {
        self.found.into_iter().collect()
    }
}
