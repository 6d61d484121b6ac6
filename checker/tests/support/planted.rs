//! One fault in a large history that is right: who decides whether anybody could notice is
//! not the checker, and the checker agrees.

use std::collections::BTreeMap;

use etcd_checker::history::{Event, Json, Operation, Outcome};
use etcd_checker::{History, Model, Verdict, check};

use super::Op;
use super::frontier::spread;

/// How often a fault could not be noticed, and how often it could.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<&'static str, [usize; 2]>);

impl Tally {
    /// Compares the verdict with that of `is_right`, who does not know the checker. What is no
    /// history of the model any more, or contradicts itself, is not called valid either.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn compare(&mut self, fault: &'static str, history: &History, is_right: bool) {
        let Ok(verdict) = check(history, Model::of(history).unwrap()) else {
            return;
        };
        match &verdict {
            Verdict::Valid(_) => assert!(is_right, "{fault}: called valid"),
            Verdict::Violation(violation) => assert!(!is_right, "{fault}: {violation}"),
            other => panic!("{fault}: {other}"),
        }
        self.0.entry(fault).or_default()[usize::from(!is_right)] += 1;
    }

    /// Each of these faults could be noticed so often.
    ///
    /// # Panics
    /// When one could not.
    #[track_caller]
    pub fn assert_noticed(&self, faults: &[&str], times: usize) {
        println!("{:?}", self.0);
        for fault in faults {
            let noticed = self.0.get(fault).map_or(0, |[_, noticed]| *noticed);
            assert!(noticed >= times, "{fault}: {self:?}");
        }
    }
}

/// The operations of a history, each at times of its own.
pub fn ops_of(history: &History) -> Vec<Op> {
    let op = |operation: &Operation<'_>| {
        let f = operation.invoke.f().to_owned();
        let ok = operation.ok();
        Op {
            f: Box::leak(f.into_boxed_str()),
            invoke: operation.invoke.value().clone(),
            result: ok.map_or(Json::NULL, |ok| ok.value().clone()),
            outcome: ok.map_or(Outcome::Open, |_| Outcome::Ok),
            revision: ok.and_then(Event::revision),
            invoked: operation.invoked as u64,
            returned: ok.map_or(u64::MAX, |_| operation.completed as u64),
        }
    };
    let mut ops: Vec<Op> = history.operations().iter().map(op).collect();
    spread(&mut ops);
    ops
}
