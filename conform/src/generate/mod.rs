//! Makes up sequences of requests: most of them meaningful, some hostile.

mod kv;
mod lease;
mod txn;
mod watch;

use etcd_sim::version::Version;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use crate::step::{Step, from_compacted, from_current};

/// How many steps a sequence has at most.
const STEPS_MAX: usize = 60;

/// How many streams of watches a sequence uses.
const STREAMS: usize = 2;

/// Few keys, so that requests meet.
const KEYS: [&[u8]; 10] = [
    b"a",
    b"a\0",
    b"a/1",
    b"a/2",
    b"a/3",
    b"b",
    b"b/1",
    b"c",
    b"\xff",
    b"\xff\xff",
];

/// A sequence of requests that an etcd of this release can stand.
pub(crate) fn sequence(version: Version) -> BoxedStrategy<Vec<Step>> {
    prop_oneof![6 => plain(version), 1 => watching(version)].boxed()
}

/// A sequence that compacts nothing. Watches take more of it than of others: it is they that
/// a compaction matters to.
pub(crate) fn uncompacted(version: Version) -> BoxedStrategy<Vec<Step>> {
    let keeps = |step: &Step| !matches!(step, Step::Compact(_));
    prop_oneof![1 => plain(version), 1 => watching(version)]
        .prop_map(move |steps| steps.into_iter().filter(keeps).collect())
        .boxed()
}

fn plain(version: Version) -> BoxedStrategy<Vec<Step>> {
    vec(step(version), 1..STEPS_MAX).boxed()
}

fn watching(version: Version) -> BoxedStrategy<Vec<Step>> {
    let step = prop_oneof![
        2 => step(version),
        1 => watch::mutation(version),
        2 => watch::step(version),
    ];
    vec(step, 1..STEPS_MAX / 2).boxed()
}

/// A request that is about no watch.
fn step(version: Version) -> BoxedStrategy<Step> {
    prop_oneof![
        300 => kv::range(version).prop_map(Step::Range),
        220 => kv::put().prop_map(Step::Put),
        80 => kv::delete().prop_map(Step::Delete),
        230 => txn::txn(version).prop_map(Step::Txn),
        20 => kv::compact().prop_map(Step::Compact),
        140 => lease::step(),
        25 => revision().prop_map(|revision| Step::Hash { revision }),
        3 => kv::huge(),
        3 => (1..130usize, kv::put()).prop_map(|(levels, put)| Step::Nested { levels, put }),
        4 => proptest::sample::select(&METHODS[..]).prop_map(Step::Method),
    ]
    .boxed()
}

/// Methods that no release before 3.7 has, or none at all.
const METHODS: [&str; 4] = [
    "KV/RangeStream",
    "KV/Nonsense",
    "Lease/Nonsense",
    "Nonsense/Range",
];

fn key() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        99 => proptest::sample::select(&KEYS[..]).prop_map(<[u8]>::to_vec),
        1 => Just(Vec::new()),
    ]
    .boxed()
}

/// The end of a range that begins with a key; sometimes before it.
fn key_and_end(from_key: u32) -> BoxedStrategy<(Vec<u8>, Vec<u8>)> {
    let end = prop_oneof![
        4 => Just(End::None),
        from_key => Just(End::FromKey),
        2 => Just(End::Prefix),
        2 => key().prop_map(End::Key),
    ];
    let with_end = |(key, end): (Vec<u8>, End)| {
        let end = match end {
            End::None => Vec::new(),
            End::FromKey => vec![0],
            End::Prefix => [&key[..], &[0xff]].concat(),
            End::Key(end) => end,
        };
        (key, end)
    };
    (key(), end).prop_map(with_end).boxed()
}

#[derive(Clone, Debug)]
enum End {
    None,
    FromKey,
    Prefix,
    Key(Vec<u8>),
}

fn value() -> BoxedStrategy<Vec<u8>> {
    (0..5u8).prop_map(|digit| vec![b'0' + digit]).boxed()
}

/// A revision to read at: mostly the present, sometimes long past or yet to come.
fn revision() -> BoxedStrategy<i64> {
    prop_oneof![
        9 => Just(0),
        6 => (-9..=0i64).prop_map(from_current),
        1 => (1..3i64).prop_map(from_current),
        2 => (-2..3i64).prop_map(from_compacted),
        1 => -3..3i64,
        1 => proptest::sample::select(&[i64::MAX, i64::MIN, 1][..]),
    ]
    .boxed()
}

/// True in so many of a hundred cases.
fn chance(percent: u32) -> BoxedStrategy<bool> {
    prop_oneof![100 - percent => Just(false), percent => Just(true)].boxed()
}

/// Something in so many of a hundred cases, else the default.
fn sometimes<T>(percent: u32, strategy: impl Strategy<Value = T> + 'static) -> BoxedStrategy<T>
where
    T: Clone + Default + std::fmt::Debug + 'static,
{
    prop_oneof![100 - percent => Just(T::default()), percent => strategy].boxed()
}
