//! Reads, puts, deletes, compactions.

use etcd_client::proto::{
    PbCompactionRequest, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTxnOpRequest,
    PbTxnRequest, PbTxnRequestOp,
};
use etcd_sim::version::{UnknownSort, Version};
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::lease::lease;
use super::{chance, key, key_and_end, revision, sometimes, value};
use crate::step::{Step, from_compacted, from_current};

/// A range of five keys: up to six, every release of etcd keeps equals in order
/// when it sorts (the `sort` of the Go releases that they are built with).
const SORTABLE: (&[u8], &[u8]) = (b"a", b"b");

pub(super) fn range(version: Version) -> BoxedStrategy<PbRangeRequest> {
    let options = (chance(50), chance(15), chance(10));
    let limit = sometimes(40, prop_oneof![-1..6i64, Just(i64::MIN), Just(i64::MAX)]);
    (
        key_and_end(2),
        (bound(), bound(), bound(), bound()),
        limit,
        revision(),
        sort(version),
        options,
    )
        .prop_map(|(keys, bounds, limit, revision, sort, options)| {
            let (sort_order, sort_target) = sort;
            let (mut key, mut range_end) = keys;
            if sort_target != 0 && !range_end.is_empty() {
                key = SORTABLE.0.to_vec();
                range_end = SORTABLE.1.to_vec();
            }
            let (serializable, keys_only, count_only) = options;
            PbRangeRequest {
                key,
                range_end,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
                limit,
                revision,
                sort_order,
                sort_target,
                serializable,
                keys_only,
                count_only,
            }
        })
        .boxed()
}

fn bound() -> BoxedStrategy<i64> {
    let bound = prop_oneof![(-19..=0i64).prop_map(from_current), -2..5i64];
    sometimes(15, bound)
}

/// An order and a target. One that does not exist makes some releases crash.
fn sort(version: Version) -> BoxedStrategy<(i32, i32)> {
    let order = sometimes(40, prop_oneof![40 => 0..3i32, 1 => Just(3), 1 => Just(-1)]);
    let target = match version.profile().unknown_sort {
        UnknownSort::Refused => prop_oneof![40 => 0..5i32, 1 => Just(5), 1 => Just(-1)].boxed(),
        UnknownSort::Unsorted => (0..5i32).boxed(),
    };
    (order, sometimes(40, target)).boxed()
}

pub(super) fn put() -> BoxedStrategy<PbPutRequest> {
    (
        key(),
        value(),
        sometimes(25, lease()),
        chance(30),
        chance(8),
        chance(8),
        // Whether a value, a lease come with the wish to keep the old one.
        (chance(10), chance(20)),
    )
        .prop_map(
            |(
                key,
                value,
                lease,
                prev_kv,
                ignore_value,
                ignore_lease,
                (faulty_value, faulty_lease),
            )| {
                PbPutRequest {
                    key,
                    value: if ignore_value && !faulty_value {
                        Vec::new()
                    } else {
                        value
                    },
                    lease: if ignore_lease && !faulty_lease {
                        0
                    } else {
                        lease
                    },
                    prev_kv,
                    ignore_value,
                    ignore_lease,
                }
            },
        )
        .boxed()
}

pub(super) fn delete() -> BoxedStrategy<PbDeleteRequest> {
    (key_and_end(1), chance(40))
        .prop_map(|((key, range_end), prev_kv)| PbDeleteRequest {
            key,
            range_end,
            prev_kv,
        })
        .boxed()
}

pub(super) fn compact() -> BoxedStrategy<PbCompactionRequest> {
    let revision = prop_oneof![
        2 => (-1..2i64).prop_map(from_compacted),
        2 => (0..2i64).prop_map(from_current),
        4 => (-40..0i64).prop_map(from_current),
        1 => proptest::sample::select(&[0, -1, i64::MAX, i64::MIN][..]),
    ];
    (revision, chance(85))
        .prop_map(|(revision, physical)| PbCompactionRequest { revision, physical })
        .boxed()
}

/// A put around one of the two limits of size, alone or in a transaction.
pub(super) fn huge() -> BoxedStrategy<Step> {
    let limit = proptest::sample::select(&[3usize << 19, 4 << 19][..]);
    let beyond = proptest::sample::select(&[0usize, 60, 120, 200, 70_000][..]);
    (limit, beyond, any::<bool>())
        .prop_map(|(limit, beyond, in_txn)| {
            let put = PbPutRequest {
                key: b"c".to_vec(),
                value: vec![b'x'; limit - 100 + beyond],
                ..Default::default()
            };
            if !in_txn {
                return Step::Put(put);
            }
            let request = Some(PbTxnOpRequest::RequestPut(put));
            Step::Txn(PbTxnRequest {
                success: vec![PbTxnRequestOp { request }],
                ..Default::default()
            })
        })
        .boxed()
}
