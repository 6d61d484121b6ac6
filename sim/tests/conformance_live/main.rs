//! The simulated etcd answers as a real one does.
//!
//! Random requests, many of them hostile, go to the simulated member and to a
//! real etcd, as the same protobuf messages; each answer is compared field by
//! field. What differs by nature is evened out: ids of cluster and member, the
//! term, and the seconds that a lease has left.
//!
//! The real etcd is `$ETCD`, or `etcd` on the `PATH`. It is started for the
//! test, on a free port and in a folder of its own, and killed at the end.
//! `CONFORMANCE_SEED` and `CONFORMANCE_STEPS` ask for other and longer runs.
//!
//! Not compared, because the releases of etcd differ or leave it open:
//! requests for progress while watches lag behind, watches from exactly the
//! compacted revision, negative start revisions, unknown sort options, and the
//! order of equals in a sorted read.

mod api;
mod generate;
mod real;

use std::collections::BTreeMap;
use std::time::Duration;

use api::{Api, Outcome};
use etcd_client::proto::{PbPutRequest, PbWatchRequest, PbWatchRequestUnion};
use etcd_sim::cluster::{Member, MemberOptions};
use etcd_sim::executor::{self, Executor, Node};
use etcd_sim::store::Store;
use generate::{Generator, Step, WatchScript};

const SEED: u64 = 1;
const STEPS: u64 = 1_300;

#[test]
fn every_answer_equals_that_of_a_real_etcd() {
    let seed = variable("CONFORMANCE_SEED").unwrap_or(SEED);
    let steps = variable("CONFORMANCE_STEPS").unwrap_or(STEPS);
    let mut generator = Generator::new(seed);
    compare(
        &format!("seed {seed}"),
        (0..steps).map(|_| None),
        move |store| generator.next(store),
    );
}

#[test]
fn an_expired_lease_takes_its_keys_in_one_revision() {
    let put = |key: &[u8]| {
        let lease = 7;
        Step::Put(PbPutRequest {
            key: key.to_vec(),
            lease,
            ..Default::default()
        })
    };
    let steps = [
        Step::Grant { id: 7, ttl: 1 },
        put(b"b"),
        put(b"a"),
        put(b"c"),
        Step::TimeToLive { id: 7, keys: true },
        Step::Wait(Duration::from_millis(3500)),
        watch_all_from(2),
        Step::TimeToLive { id: 7, keys: true },
        Step::KeepAlive { id: 7 },
        put(b"d"),
        Step::Leases,
    ];
    compare("expiry", steps.into_iter().map(Some), |_| {
        unreachable!("the steps are given")
    });
}

#[test]
fn a_watch_from_long_ago_hears_a_thousand_revisions_at_a_time() {
    let put = Step::Put(PbPutRequest {
        key: b"a".to_vec(),
        ..Default::default()
    });
    let puts = std::iter::repeat_n(put, 2100);
    let steps = puts.chain([watch_all_from(2)]).map(Some);
    compare("old watch", steps, |_| unreachable!("the steps are given"));
}

#[test]
fn a_large_answer_is_split_where_a_real_etcd_splits_it() {
    let put = |size: usize| {
        let (key, value) = (b"a".to_vec(), vec![0; size]);
        Step::Put(PbPutRequest {
            key,
            value,
            ..Default::default()
        })
    };
    let sizes = [900_000, 900_000, 100, 900_000, 100, 100];
    let mut watch = watch_all_from(2);
    if let Step::Watch(script) = &mut watch
        && let Some(PbWatchRequestUnion::CreateRequest(create)) =
            &mut script.creates[0].request_union
    {
        create.fragment = true;
        create.prev_kv = false;
    }
    let steps = sizes.into_iter().map(put).chain([watch]).map(Some);
    compare("fragments", steps, |_| unreachable!("the steps are given"));
}

fn watch_all_from(start_revision: i64) -> Step {
    let mut create = PbWatchRequestUnion::CreateRequest(Default::default());
    if let PbWatchRequestUnion::CreateRequest(create) = &mut create {
        create.range_end = vec![0];
        create.start_revision = start_revision;
        create.prev_kv = true;
    }
    let creates = vec![PbWatchRequest {
        request_union: Some(create),
    }];
    Step::Watch(WatchScript {
        creates,
        mutations: Vec::new(),
        cancels: Vec::new(),
    })
}

/// Takes the steps, those that are not given being made up, on both sides.
fn compare(
    what: &str,
    steps: impl Iterator<Item = Option<Step>> + Send + 'static,
    make_up: impl FnMut(&Store) -> Step + Send + 'static,
) {
    let expected = real::Etcd::start().expect("a real etcd is needed");
    let simulated = simulate(steps, make_up);
    let real = expected.replay(simulated.iter().map(|(step, _)| step.clone()).collect());
    let mut refusals: BTreeMap<&str, u64> = BTreeMap::new();
    for (number, ((step, ours), theirs)) in simulated.iter().zip(&real).enumerate() {
        if let Outcome::Refusal(text) = ours {
            *refusals.entry(text).or_default() += 1;
        }
        assert!(
            ours == theirs,
            "{what}: step {number} differs\n\nrequest: {step:#?}\n\nsimulated: {ours}\n\nreal: {theirs}"
        );
    }
    assert_eq!(
        real.len(),
        simulated.len(),
        "the real etcd stopped answering"
    );
    println!(
        "{what}: {} steps agree; refusals among them: {refusals:#?}",
        real.len()
    );
}

/// Takes the steps with a simulated member.
fn simulate(
    steps: impl Iterator<Item = Option<Step>> + Send + 'static,
    mut make_up: impl FnMut(&Store) -> Step + Send + 'static,
) -> Vec<(Step, Outcome)> {
    let run = async move || {
        let member = Member::new(MemberOptions::default());
        member.start(&Node::new("member"));
        let mut api = Api::new(member.router(), |time| Box::pin(executor::sleep(time)));
        let mut transcript = Vec::new();
        for step in steps {
            let step = step.unwrap_or_else(|| member.with_store(&mut make_up));
            let outcome = api.perform(&step).await;
            transcript.push((step, outcome));
        }
        transcript
    };
    executor::block_on(Executor::Tokio, 1, run).expect("the simulated member does not panic")
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is not a number")),
    )
}
