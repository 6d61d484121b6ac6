//! Watches.

use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion};
use etcd_sim::version::Version;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::{STREAMS, chance, key_and_end, kv, lease, sometimes, txn};
use crate::exclusion::WATCH_ID;
use crate::step::{Step, from_compacted, from_current};

/// A request on a stream, or what a client does with the stream.
pub(super) fn step(version: Version) -> BoxedStrategy<Step> {
    let request = prop_oneof![
        10 => create(version),
        3 => cancel(),
        3 => Just(progress()),
        1 => Just(PbWatchRequest { request_union: None }),
    ];
    let stream = 0..STREAMS;
    prop_oneof![
        17 => (stream.clone(), request)
            .prop_map(|(stream, request)| Step::Watch { stream, requests: vec![request] }),
        4 => stream.clone().prop_map(|stream| Step::Listen { stream }),
        1 => stream.prop_map(|stream| Step::HalfClose { stream }),
    ]
    .boxed()
}

/// A request that watches may hear of.
pub(super) fn mutation(version: Version) -> BoxedStrategy<Step> {
    prop_oneof![
        4 => kv::put().prop_map(Step::Put),
        2 => kv::delete().prop_map(Step::Delete),
        3 => txn::flat(version).prop_map(Step::Txn),
        1 => lease::step(),
        1 => kv::compact().prop_map(Step::Compact),
    ]
    .boxed()
}

fn create(version: Version) -> BoxedStrategy<PbWatchRequest> {
    let odd_id = if WATCH_ID.applies_to(version) { -2 } else { -1 };
    let start = prop_oneof![
        4 => Just(0),
        1 => (1..4i64).prop_map(from_current),
        1 => (-1..2i64).prop_map(from_compacted),
        6 => (-30..=0i64).prop_map(from_current),
        1 => proptest::sample::select(&[-1, -2, i64::MIN, i64::MAX][..]),
    ];
    let id = prop_oneof![10 => 1..4i64, 1 => Just(odd_id), 1 => Just(-5), 1 => Just(i64::MAX)];
    let filters = vec(
        prop_oneof![10 => 0..2i32, 1 => Just(2), 1 => Just(-1)],
        1..3,
    );
    (
        key_and_end(2),
        start,
        (chance(50), chance(30), chance(20)),
        sometimes(30, id),
        sometimes(30, filters),
    )
        .prop_map(
            |((key, range_end), start_revision, options, watch_id, filters)| {
                let mut request = PbWatchRequestUnion::CreateRequest(Default::default());
                if let PbWatchRequestUnion::CreateRequest(create) = &mut request {
                    create.key = key;
                    create.range_end = range_end;
                    create.start_revision = start_revision;
                    (create.prev_kv, create.progress_notify, create.fragment) = options;
                    create.watch_id = watch_id;
                    create.filters = filters;
                }
                PbWatchRequest {
                    request_union: Some(request),
                }
            },
        )
        .boxed()
}

fn cancel() -> BoxedStrategy<PbWatchRequest> {
    prop_oneof![12 => 0..4i64, 1 => Just(-1), 1 => Just(77)]
        .prop_map(|watch_id| {
            let mut request = PbWatchRequestUnion::CancelRequest(Default::default());
            if let PbWatchRequestUnion::CancelRequest(cancel) = &mut request {
                cancel.watch_id = watch_id;
            }
            PbWatchRequest {
                request_union: Some(request),
            }
        })
        .boxed()
}

fn progress() -> PbWatchRequest {
    PbWatchRequest {
        request_union: Some(PbWatchRequestUnion::ProgressRequest(Default::default())),
    }
}
