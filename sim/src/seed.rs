//! One seed, separate streams of randomness.
//!
//! Each part of a run draws from a stream of its own, so that taking one fault
//! away does not change what everything else draws. Without that no failing
//! run could be shrunk.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// Who draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stream {
    /// The order in which the executor runs ready tasks.
    Schedule,
    /// How long messages take, and which member a call goes to.
    Network,
    /// How long messages between members take, and when they elect a leader.
    Members,
    /// How many members a cluster has, where that is drawn.
    Cluster,
    /// Which faults happen, and when.
    Faults,
    /// What the clients do.
    Workload,
    /// Back-off and unique names inside the recipes.
    Jitter,
}

impl Stream {
    const fn tag(self) -> u64 {
        match self {
            Stream::Schedule => 0x5c4e_d01e,
            Stream::Network => 0x0e70_0c4b,
            Stream::Members => 0x3e3b_e75a,
            Stream::Cluster => 0xc1a5_7e30,
            Stream::Faults => 0xfa01_7500,
            Stream::Workload => 0x3074_10ad,
            Stream::Jitter => 0x3177_e400,
        }
    }

    /// The seed of this stream in a run with the seed `seed`.
    pub const fn seed(self, seed: u64) -> u64 {
        mix(seed ^ mix(self.tag()))
    }

    /// The generator of this stream in a run with the seed `seed`.
    pub fn rng(self, seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed(seed))
    }
}

/// Scrambles 64 bits: the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
///
/// A message's delay is a function of its place in its stream, not of a
/// generator that other messages have moved on.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
