//! What the environment says about a test.

use std::path::PathBuf;

use super::{SavedPlan, Seeds};
use crate::executor::Executor;

/// How many runs a failing plan is worth to make it smaller.
const SHRINK_RUNS: u32 = 300;

/// What the environment says about a test.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Instead of the test's own.
    pub(crate) seeds: Option<Seeds>,
    /// To be replayed instead of any seed.
    pub(crate) plan: Option<SavedPlan>,
    pub(crate) shrink_runs: Option<u32>,
    pub(crate) jobs: usize,
    pub(crate) executor: Option<Executor>,
}

impl Environment {
    /// What the variables of this process say.
    ///
    /// # Errors
    ///
    /// For people, when one of them cannot be understood.
    pub(crate) fn read() -> Result<Self, String> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str| -> Result<Option<u64>, String> {
            let Some(text) = variable(name) else {
                return Ok(None);
            };
            let wrong = |error| format!("{name} is {text:?}, which is no number: {error}");
            text.trim().parse().map(Some).map_err(wrong)
        };
        let seeds = match (number("ETCD_SIM_SEED")?, variable("ETCD_SIM_SEEDS")) {
            (Some(seed), _) => Some(Seeds::one(seed)),
            (None, Some(text)) => Some(text.parse().map_err(|error| {
                format!(
                    "ETCD_SIM_SEEDS is {text:?}, but it is a number or a range like 0..100: {error}"
                )
            })?),
            (None, None) => None,
        };
        let plan = match variable("ETCD_SIM_PLAN") {
            Some(path) => Some(SavedPlan::load(&PathBuf::from(path)).map_err(|e| e.to_string())?),
            None => None,
        };
        let executor = match variable("ETCD_SIM_EXECUTOR") {
            Some(name) => Some(Executor::find(&name).ok_or_else(|| {
                format!("ETCD_SIM_EXECUTOR is {name:?}, which this build does not have")
            })?),
            None => None,
        };
        Ok(Environment {
            seeds,
            executor: plan.as_ref().map(|plan| plan.executor).or(executor),
            plan,
            shrink_runs: number("ETCD_SIM_SHRINK")?
                .map(|runs| u32::try_from(runs).unwrap_or(u32::MAX)),
            jobs: number("ETCD_SIM_JOBS")?.map_or(1, |jobs| usize::try_from(jobs).unwrap_or(1)),
        })
    }

    pub(crate) fn shrink_runs(&self) -> u32 {
        self.shrink_runs.unwrap_or(SHRINK_RUNS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, String> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Environment::from_variables(|name| find(name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn one_seed_wins_over_many_and_ranges_are_understood() {
        let seeds = |variables| read(variables).unwrap().seeds;
        assert_eq!(seeds(&[]), None);
        assert_eq!(seeds(&[("ETCD_SIM_SEEDS", "5")]), Some(Seeds::from(0..5)));
        assert_eq!(
            seeds(&[("ETCD_SIM_SEEDS", "5..9")]),
            Some(Seeds::from(5..9))
        );
        let both = [("ETCD_SIM_SEEDS", "5"), ("ETCD_SIM_SEED", "77")];
        assert_eq!(seeds(&both), Some(Seeds::from(77..78)));
    }

    #[test]
    fn every_number_is_a_seed() {
        let last = u64::MAX.to_string();
        let seeds = read(&[("ETCD_SIM_SEED", &last)]).unwrap().seeds.unwrap();
        assert_eq!(seeds.iter().collect::<Vec<_>>(), [u64::MAX]);
        assert_eq!(seeds.first(), u64::MAX);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        for name in [
            "ETCD_SIM_SEED",
            "ETCD_SIM_SEEDS",
            "ETCD_SIM_JOBS",
            "ETCD_SIM_EXECUTOR",
        ] {
            let refused = read(&[(name, "many")]).unwrap_err();
            assert!(
                refused.contains(name) && refused.contains("\"many\""),
                "{refused}"
            );
        }
        let refused = read(&[("ETCD_SIM_PLAN", "/nowhere/plan.json")]).unwrap_err();
        assert!(refused.contains("/nowhere/plan.json"), "{refused}");
    }
}
