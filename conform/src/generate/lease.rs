//! Leases.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::chance;
use crate::step::{Step, chosen_lease};

/// The leases that requests name.
const IDS: std::ops::Range<i64> = 1..8;

/// An id: mostly of a lease that there may be.
pub(super) fn lease() -> BoxedStrategy<i64> {
    prop_oneof![
        60 => IDS,
        2 => Just(-3),
        2 => Just(99),
        4 => (0..2i64).prop_map(chosen_lease),
    ]
    .boxed()
}

pub(super) fn step() -> BoxedStrategy<Step> {
    prop_oneof![
        3 => grant(),
        1 => short_grant(),
        3 => lease().prop_map(|id| Step::Revoke { id }),
        3 => (lease(), chance(50)).prop_map(|(id, keys)| Step::TimeToLive { id, keys }),
        2 => Just(Step::Leases),
        3 => vec(lease(), 1..4).prop_map(|ids| Step::KeepAlive { ids }),
    ]
    .boxed()
}

/// Times to live lie so far apart that the order in which leases end is the same
/// whether or not a run takes time.
fn grant() -> BoxedStrategy<Step> {
    let id = prop_oneof![8 => IDS, 1 => Just(-3), 1 => Just(0)];
    (id, 0..9i64)
        .prop_map(|(id, more)| {
            let ttl = 1_000_000 * (id.rem_euclid(16) + 1) + more * 100_000;
            Step::Grant { id, ttl }
        })
        .boxed()
}

/// Leases that would end soon are revoked at once; others are refused.
fn short_grant() -> BoxedStrategy<Step> {
    let ttl = proptest::sample::select(
        &[
            -5,
            0,
            1,
            2,
            9_000_000_000,
            9_000_000_001,
            i64::MAX,
            i64::MIN,
        ][..],
    );
    (IDS, ttl)
        .prop_map(|(id, ttl)| Step::ShortGrant { id, ttl })
        .boxed()
}
