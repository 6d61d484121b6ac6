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

use api::{Api, Outcome};
use etcd_sim::cluster::{Member, MemberOptions};
use etcd_sim::executor::{self, Executor, Node};
use generate::{Generator, Step};

const SEED: u64 = 1;
const STEPS: u64 = 2_000;

#[test]
fn every_answer_equals_that_of_a_real_etcd() {
    let seed = variable("CONFORMANCE_SEED").unwrap_or(SEED);
    let steps = variable("CONFORMANCE_STEPS").unwrap_or(STEPS);
    let expected = real::Etcd::start().expect("a real etcd is needed");
    let simulated = simulate(seed, steps);
    let mut refused = 0;
    let real = expected.replay(simulated.iter().map(|(step, _)| step.clone()).collect());
    for (number, ((step, ours), theirs)) in simulated.iter().zip(&real).enumerate() {
        refused += u64::from(ours.is_refusal());
        assert!(
            ours == theirs,
            "step {number} of seed {seed} differs\n\nrequest: {step:#?}\n\nsimulated: {ours}\n\nreal: {theirs}"
        );
    }
    assert_eq!(
        real.len(),
        simulated.len(),
        "the real etcd stopped answering"
    );
    println!("{steps} steps of seed {seed} agree, {refused} of them refusals");
}

/// Makes up the steps while the simulated member answers them.
fn simulate(seed: u64, steps: u64) -> Vec<(Step, Outcome)> {
    let run = async move || {
        let member = Member::new(MemberOptions::default());
        member.start(&Node::new("member"));
        let mut api = Api::new(member.router(), |time| Box::pin(executor::sleep(time)));
        let mut generator = Generator::new(seed);
        let mut transcript = Vec::new();
        for _ in 0..steps {
            let step = member.with_store(|store| generator.next(store));
            let outcome = api.perform(&step).await;
            transcript.push((step, outcome));
        }
        transcript
    };
    executor::block_on(Executor::Tokio, seed, run).expect("the simulated member does not panic")
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is not a number")),
    )
}
