//! Many runs of one test: seeds, what to do when one fails, how to run it again.
//!
//! What [`Builder::check`](crate::Builder::check) and the attribute
//! [`etcd_sim::test`](crate::test) do:
//!
//! 1. Each seed is a run of its own, until one fails: the body panics or returns an
//!    error, or the run does not end within its limits.
//! 2. Its plan is made smaller for as long as it fails in the same way.
//! 3. What happened, the seed, the smaller plan, and the commands that repeat both are
//!    printed; the plan is saved under `target/etcd-sim/`. The test fails with the
//!    message of its own panic.
//!
//! # Environment variables
//!
//! | variable | meaning |
//! |---|---|
//! | `ETCD_SIM_SEED` | run this seed and no other |
//! | `ETCD_SIM_SEEDS` | run so many seeds (`1000`), or these (`1000..2000`) |
//! | `ETCD_SIM_PLAN` | replay the plan in this file; seeds do not count then |
//! | `ETCD_SIM_SHRINK` | how many runs a failing plan is worth to make it smaller; 0: none; default: 300 |
//! | `ETCD_SIM_JOBS` | how many threads run seeds; default: 1, because tests run in parallel already |
//! | `ETCD_SIM_EXECUTOR` | `tokio`, also where madsim is compiled in |
//!
//! They apply to every test that runs, so name one test beside them.

use std::fmt;
use std::ops::{Range, RangeInclusive};

mod broken;
mod environment;
mod saved;
mod test_name;

pub use broken::{Broken, Checked};
pub use saved::{SavedPlan, WrongPlanFile};
pub use test_name::TestName;

pub(crate) use environment::Environment;
pub(crate) use saved::wrong_members;

/// The seeds of a test: so many from 0, or a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(Option<RangeInclusive<u64>>);

impl Seeds {
    /// The first of them; 0 where there is none.
    pub fn first(&self) -> u64 {
        self.iter().next().unwrap_or_default()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u64> + use<> {
        self.0.clone().into_iter().flatten()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// This one.
    pub(crate) fn one(seed: u64) -> Self {
        Seeds(Some(seed..=seed))
    }
}

impl From<u64> for Seeds {
    fn from(count: u64) -> Self {
        Seeds::from(0..count)
    }
}

impl From<Range<u64>> for Seeds {
    fn from(range: Range<u64>) -> Self {
        let last = range.end.checked_sub(1);
        let last = last.filter(|last| range.start <= *last);
        Seeds(last.map(|last| range.start..=last))
    }
}

impl From<RangeInclusive<u64>> for Seeds {
    fn from(range: RangeInclusive<u64>) -> Self {
        Seeds(Some(range).filter(|range| !range.is_empty()))
    }
}

impl std::str::FromStr for Seeds {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("..") {
            Some((from, to)) => Ok(Seeds::from(from.trim().parse()?..to.trim().parse()?)),
            None => Ok(Seeds::from(text.trim().parse::<u64>()?)),
        }
    }
}

/// What the body of a simulation may return: nothing, or a result.
pub trait Outcome {
    /// What went wrong, if anything did.
    fn error(self) -> Option<String>;
}

impl Outcome for () {
    fn error(self) -> Option<String> {
        None
    }
}

impl<T, E: fmt::Debug> Outcome for Result<T, E> {
    fn error(self) -> Option<String> {
        self.err().map(|error| format!("{error:?}"))
    }
}
