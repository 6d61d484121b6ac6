//! One fault in a large history that is right: who decides whether anybody could notice is
//! not the checker, and the checker agrees.

use std::collections::BTreeMap;

use etcd_checker::{History, Model, Verdict, check};

/// How often a fault could not be noticed, and how often it could.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<&'static str, [usize; 2]>);

impl Tally {
    /// Compares the verdict with that of `is_right`, who does not know the checker.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn compare(&mut self, fault: &'static str, history: &History, is_right: bool) {
        let verdict = check(history, Model::of(history).unwrap()).unwrap();
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
