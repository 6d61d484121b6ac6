//! Making a failing plan smaller: what is left is what the failure needs.
//!
//! Faults are taken away in ever smaller groups (Zeller and Hildebrandt,
//! "Simplifying and isolating failure-inducing input", 2002), then delays and
//! members; what is left is made shorter.

use crate::network::Endpoints;
use crate::plan::{Latency, Plan};

/// A plan that was made smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest failing plan that was found.
    pub plan: Plan,
    /// How many plans were tried.
    pub runs: u32,
    /// There were more to try than `runs_max`: what is left may be more than it needs.
    pub is_cut_off: bool,
}

/// Looks for a smaller plan that fails, with at most `runs_max` runs. `fails` runs a
/// plan and says whether it fails in the same way as the one that one began with.
///
/// The result depends on the plan, on `fails` and on `runs_max`, on nothing else.
///
/// ```
/// use etcd_sim::plan::{Plan, Profile};
/// use etcd_sim::shrink::shrink;
///
/// let profile = Profile { clients: 3, until_ms: 5_000, faults_max: 12, members: Some(3) };
/// let plan = (0..).map(|seed| Plan::draw(seed, &profile));
/// let has_pause = |plan: &Plan| plan.faults.iter().any(|f| f.kind.name() == "client pause");
/// let plan = plan.into_iter().find(has_pause).unwrap();
/// let shrunk = shrink(&plan, 500, has_pause);
/// assert_eq!(shrunk.plan.faults.len(), 1);
/// assert_eq!(shrunk.plan.members, 1);
/// ```
pub fn shrink(plan: &Plan, runs_max: u32, mut fails: impl FnMut(&Plan) -> bool) -> Shrunk {
    let mut shrunk = Shrunk {
        plan: plan.clone(),
        runs: 0,
        is_cut_off: false,
    };
    let Shrunk {
        plan,
        runs,
        is_cut_off,
    } = &mut shrunk;
    let mut fails = |candidate: &Plan| {
        if *runs >= runs_max {
            *is_cut_off = true;
            return false;
        }
        *runs += 1;
        fails(candidate)
    };
    while pass(plan, &mut fails) {}
    shrunk
}

/// One pass over everything that can be made smaller; whether anything was.
pub fn pass(plan: &mut Plan, fails: &mut dyn FnMut(&Plan) -> bool) -> bool {
    let mut search = Search { best: plan, fails };
    let faults = search.take_faults_away();
    let delays = search.take_delays_away();
    let members = search.take_members_away();
    let shorter = search.make_faults_shorter();
    faults || delays || members || shorter
}

struct Search<'a> {
    best: &'a mut Plan,
    fails: &'a mut dyn FnMut(&Plan) -> bool,
}

impl Search<'_> {
    /// Keeps the candidate when it fails in the same way.
    fn accept(&mut self, candidate: Plan) -> bool {
        let fails = (self.fails)(&candidate);
        if fails {
            *self.best = candidate;
        }
        fails
    }

    fn take_faults_away(&mut self) -> bool {
        let before = self.best.faults.len();
        let mut group = before;
        while group > 0 {
            let mut start = 0;
            while start < self.best.faults.len() {
                let mut candidate = self.best.clone();
                let end = candidate.faults.len().min(start + group);
                candidate.faults.drain(start..end);
                if !self.accept(candidate) {
                    start += group;
                }
            }
            group /= 2;
        }
        self.best.faults.len() < before
    }

    fn take_delays_away(&mut self) -> bool {
        if self.best.latency == Latency::NONE {
            return false;
        }
        let mut candidate = self.best.clone();
        candidate.latency = Latency::NONE;
        self.accept(candidate)
    }

    /// One member, or else three. Where all clients may know the same members,
    /// that is simpler too.
    fn take_members_away(&mut self) -> bool {
        let mut fewer = false;
        for members in [1, 3] {
            if members < self.best.members {
                let candidate = self.best.clone().with_members(members);
                fewer |= self.accept(candidate);
            }
        }
        if self.best.endpoints != Endpoints::All {
            let mut candidate = self.best.clone();
            candidate.endpoints = Endpoints::All;
            fewer |= self.accept(candidate);
        }
        fewer
    }

    /// Each fault lasts half as long, as often as that goes.
    fn make_faults_shorter(&mut self) -> bool {
        let mut shorter = false;
        for index in 0..self.best.faults.len() {
            while let Some(kind) = self.best.faults[index].kind.halved() {
                let mut candidate = self.best.clone();
                candidate.faults[index].kind = kind;
                if !self.accept(candidate) {
                    break;
                }
                shorter = true;
            }
        }
        shorter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Profile;

    #[test]
    fn a_search_that_is_cut_off_says_so() {
        let profile = Profile {
            clients: 3,
            until_ms: 5_000,
            faults_max: 12,
            members: Some(3),
        };
        let plans = (0..).map(|seed| Plan::draw(seed, &profile));
        let plan = plans.into_iter().find(|plan| plan.faults.len() > 8);
        let plan = plan.expect("some seed draws many faults");
        let needs_nothing = |runs_max| shrink(&plan, runs_max, |_| true);
        let all = needs_nothing(500);
        assert!(!all.is_cut_off && all.plan.faults.is_empty(), "{all:?}");
        assert!(!needs_nothing(all.runs).is_cut_off);
        assert!(needs_nothing(all.runs - 1).is_cut_off);
    }
}
