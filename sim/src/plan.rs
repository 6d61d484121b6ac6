//! The plan of a run's faults: data that prints, saves, loads and shrinks.
//!
//! A run is a function of its seed and its plan. [`Plan::draw`] makes a plan
//! from a seed; a plan that was saved and changed by hand runs just as well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::{ClientId, Fault, MemberId};
use crate::network::Endpoints;

mod faults;
mod sense;
mod swarm;

pub use faults::Faults;
pub(crate) use faults::Setting;
pub use sense::Senseless;
pub use swarm::{Profile, Swarm};

/// How long messages take when nothing is wrong, in microseconds.
///
/// Drawn for each message; below 1000 µs counts as no delay, because that is
/// the resolution of the executors' timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// The shortest delay.
    pub min_us: u64,
    /// The longest delay.
    pub max_us: u64,
}

impl Latency {
    /// No delay at all.
    pub const NONE: Latency = Latency {
        min_us: 0,
        max_us: 0,
    };

    /// The delay of one message that drew this number.
    pub(crate) fn draw(self, drawn: u64) -> Duration {
        if self.max_us == 0 {
            return Duration::ZERO;
        }
        let span = self.max_us.saturating_sub(self.min_us).saturating_add(1);
        timed(self.min_us + drawn % span)
    }

    /// The shortest delay of a message.
    pub(crate) fn shortest(self) -> Duration {
        timed(self.min_us.min(self.max_us))
    }
}

/// A delay that is below the resolution of the timers is none.
fn timed(micros: u64) -> Duration {
    Duration::from_micros(if micros < 1_000 { 0 } else { micros })
}

/// Everything that the network and the machines do to a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Where everything that is not written down in the plan is drawn from:
    /// the order of tasks, the delay of each message, back-off.
    pub seed: u64,
    /// How long messages take.
    pub latency: Latency,
    /// How many members the cluster has: 1 to 5.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub members: usize,
    /// Which of them clients know.
    #[serde(default, skip_serializing_if = "is_default")]
    pub endpoints: Endpoints,
    /// What goes wrong, ordered by time.
    pub faults: Vec<Fault>,
}

pub(crate) fn one() -> usize {
    1
}

pub(crate) fn is_one(members: &usize) -> bool {
    *members == 1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Plan {
    /// A run with one member, without faults and without delays.
    pub fn quiet(seed: u64) -> Self {
        Plan {
            seed,
            latency: Latency::NONE,
            members: 1,
            endpoints: Endpoints::All,
            faults: Vec::new(),
        }
    }

    /// Draws the faults of a run from its seed; see [`Swarm`].
    pub fn draw(seed: u64, profile: &Profile) -> Self {
        Swarm::draw(seed, profile).plan(seed, profile)
    }

    /// The same with another number of members: faults of members that are not
    /// there go with them.
    #[must_use]
    pub fn with_members(mut self, members: usize) -> Self {
        let exists = |member: MemberId| member < members;
        self.members = members;
        if members == 1 {
            self.endpoints = Endpoints::All;
        }
        self.faults
            .retain_mut(|fault| fault.kind.restrict(|_| true, exists));
        self
    }

    /// The same without the faults of clients from `clients` on.
    #[must_use]
    pub fn with_clients(mut self, clients: ClientId) -> Self {
        self.faults
            .retain_mut(|fault| fault.kind.restrict(|client| client < clients, |_| true));
        self
    }

    /// When the last fault has passed, and what was sent under it has arrived, in
    /// milliseconds of simulated time: then the network heals. Zero without faults.
    pub fn heals_at_ms(&self) -> u64 {
        let end = |fault: &Fault| fault.at_ms.saturating_add(fault.kind.lasts_ms());
        let settled = |fault: &Fault| {
            let at = end(fault);
            // What slows down the same link adds up.
            let in_force = self.faults.iter().filter(|f| f.at_ms <= at && at <= end(f));
            let lingers = in_force.map(|other| other.kind.lingers_ms());
            lingers.fold(at, u64::saturating_add)
        };
        self.faults.iter().map(settled).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Party;

    const PROFILE: Profile = Profile {
        clients: 4,
        until_ms: 1_000,
        faults_max: 12,
        members: Some(3),
    };

    #[test]
    fn the_same_seed_draws_the_same_plan() {
        assert_eq!(Plan::draw(7, &PROFILE), Plan::draw(7, &PROFILE));
        assert_ne!(
            Plan::draw(7, &PROFILE).faults,
            Plan::draw(8, &PROFILE).faults
        );
    }

    #[test]
    fn every_kind_of_fault_is_drawn_by_some_seed() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..400 {
            seen.extend(
                Plan::draw(seed, &PROFILE)
                    .faults
                    .iter()
                    .map(|f| f.kind.name()),
            );
        }
        let all: std::collections::BTreeSet<_> = Profile::kinds(None).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn a_plan_survives_being_saved_and_loaded() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, &PROFILE);
            let text = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        }
    }

    #[test]
    fn a_plan_without_members_is_one_of_a_single_member() {
        let text = r#"{"seed":1,"latency":{"min_us":0,"max_us":0},"faults":[]}"#;
        let plan: Plan = serde_json::from_str(text).unwrap();
        assert_eq!(plan, Plan::quiet(1));
        assert_eq!(serde_json::to_string(&plan).unwrap(), text);
    }

    #[test]
    fn with_fewer_members_no_fault_names_one_that_is_gone() {
        for seed in 0..50 {
            let profile = Profile {
                members: Some(5),
                ..PROFILE
            };
            let plan = Plan::draw(seed, &profile).with_members(1).with_clients(1);
            let parties = plan.faults.iter().flat_map(|fault| fault.kind.parties());
            for party in parties {
                assert!([Party::Client(0), Party::Member(0)].contains(&party));
            }
        }
    }

    #[test]
    fn faults_are_ordered_and_name_existing_clients() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, &PROFILE);
            assert!(plan.faults.is_sorted_by_key(|fault| fault.at_ms));
            let parties = plan.faults.iter().flat_map(|fault| fault.kind.parties());
            for party in parties {
                assert!(match party {
                    Party::Client(client) => client < 4,
                    Party::Member(member) => member < plan.members,
                });
            }
        }
    }
}
