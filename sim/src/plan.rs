//! The plan of a run's faults: data that prints, saves, loads and shrinks.
//!
//! A run is a function of its seed and its plan. [`Plan::draw`] makes a plan
//! from a seed; a plan that was saved and changed by hand runs just as well.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::fault::{ClientId, Fault, FaultKind};
use crate::seed::Stream;

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
    /// What goes wrong, ordered by time.
    pub faults: Vec<Fault>,
}

/// What [`Plan::draw`] draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How many clients there are to strike.
    pub clients: ClientId,
    /// Faults strike before this time, in milliseconds.
    pub until_ms: u64,
    /// No more faults than this.
    pub faults_max: usize,
}

impl Plan {
    /// A run without faults and without delays.
    pub fn quiet(seed: u64) -> Self {
        Plan {
            seed,
            latency: Latency::NONE,
            faults: Vec::new(),
        }
    }

    /// Draws the faults of a run from its seed.
    ///
    /// The seed also decides *which kinds* of fault this run has and how often
    /// each: runs in which a few faults pile up find more than runs in which a
    /// little of everything happens (Groce and others, "Swarm testing", 2012).
    pub fn draw(seed: u64, profile: &Profile) -> Self {
        let mut rng = Stream::Faults.rng(seed);
        let max_us = [0, 3_000, 8_000, 30_000][rng.random_range(0..4)];
        let weights = swarm_weights(&mut rng);
        let count = rng.random_range(1..=profile.faults_max);
        let mut faults: Vec<Fault> = (0..count)
            .map(|_| Fault {
                at_ms: rng.random_range(5..profile.until_ms),
                kind: draw_kind(&mut rng, &weights, profile),
            })
            .collect();
        faults.sort_by_key(|fault| fault.at_ms);
        Plan {
            seed,
            latency: Latency { min_us: 0, max_us },
            faults,
        }
    }

    /// When the last fault has passed, in milliseconds of simulated time: then
    /// the network heals. Zero without faults.
    pub fn heals_at_ms(&self) -> u64 {
        let ends = |fault: &Fault| fault.at_ms.saturating_add(fault.kind.lasts_ms());
        self.faults.iter().map(ends).max().unwrap_or(0)
    }
}

const KINDS: usize = FaultKind::NAMES.len();

/// For each kind of fault how often it is drawn; some are never.
fn swarm_weights(rng: &mut ChaCha8Rng) -> [u32; KINDS] {
    let mut weights = [0; KINDS];
    for weight in &mut weights {
        if rng.random_bool(0.6) {
            *weight = rng.random_range(1..=100);
        }
    }
    // A lost answer leaves an unknown outcome, the most telling fault of all.
    weights[1] = weights[1].max(rng.random_range(10..=100));
    weights
}

fn draw_kind(rng: &mut ChaCha8Rng, weights: &[u32; KINDS], profile: &Profile) -> FaultKind {
    let client = rng.random_range(0..profile.clients.max(1));
    // Both sides of every limit that clients have: request deadlines and
    // leases are counted in seconds.
    let short_ms = rng.random_range(1..=200);
    let long_ms = rng.random_range(200..=8_000);
    let lasts_ms = if rng.random_bool(0.5) {
        short_ms
    } else {
        long_ms
    };
    let mut ticket = rng.random_range(0..weights.iter().sum::<u32>());
    let mut index = 0;
    while ticket >= weights[index] {
        ticket -= weights[index];
        index += 1;
    }
    match index {
        0 => FaultKind::LoseRequest { client },
        1 => FaultKind::LoseResponse { client },
        2 => FaultKind::Delay {
            client,
            by_ms: short_ms,
            for_ms: lasts_ms,
        },
        3 => FaultKind::Reset { client },
        4 => FaultKind::Partition {
            client,
            for_ms: lasts_ms,
        },
        5 => FaultKind::RestartMember {
            down_ms: short_ms * 5,
        },
        6 => FaultKind::PauseClient {
            client,
            for_ms: lasts_ms,
        },
        7 => FaultKind::KillClient { client },
        8 => FaultKind::RestartClient {
            client,
            down_ms: lasts_ms,
        },
        _ => FaultKind::Compact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: Profile = Profile {
        clients: 4,
        until_ms: 1_000,
        faults_max: 12,
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
        for seed in 0..100 {
            seen.extend(
                Plan::draw(seed, &PROFILE)
                    .faults
                    .iter()
                    .map(|f| f.kind.name()),
            );
        }
        let all: std::collections::BTreeSet<_> = FaultKind::NAMES.into_iter().collect();
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
    fn faults_are_ordered_and_name_existing_clients() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, &PROFILE);
            assert!(plan.faults.is_sorted_by_key(|fault| fault.at_ms));
            assert!(
                plan.faults
                    .iter()
                    .all(|f| f.kind.client().is_none_or(|c| c < 4))
            );
        }
    }
}
