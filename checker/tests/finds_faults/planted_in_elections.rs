//! A large history of an election is right, and then one thing in it is changed: the checker
//! says what the times at which the revisions can have happened say.

use etcd_checker::history::Outcome;

use crate::support;
use crate::support::busy::election::busy_election;
use crate::support::election_twin::{explains_lazily, is_explained};
use crate::support::planted::{Tally, ops_of};
use crate::support::{Op, Random};

const OPERATIONS: usize = 1_000;
const TIMES: usize = 25;

type Plant = fn(&mut Vec<Op>, usize, usize);

/// The name of the fault, of which operation it is, and how it gets in. The other operation
/// is one of the same name a bit later.
const FAULTS: [(&str, &str, Plant); 8] = [
    ("early return of a campaign", "campaign", |ops, one, _| {
        ops[one].returned = ops[one].invoked + 1;
    }),
    ("late act", "act", |ops, one, other| {
        (ops[one].invoked, ops[one].returned) = (ops[other].returned + 1, ops[other].returned + 2);
    }),
    ("late write", "write", |ops, one, other| {
        ops[one].revision = ops[other].revision;
        (ops[one].invoked, ops[one].returned) = (ops[other].invoked + 1, ops[other].returned + 1);
    }),
    ("stale read", "leader", |ops, one, other| {
        (ops[other].result, ops[other].revision) = (ops[one].result.clone(), ops[one].revision);
    }),
    ("wrong read", "leader", |ops, one, other| {
        ops[other].result = ops[one].result.clone();
    }),
    ("swap", "observe", |ops, one, other| {
        let (result, revision) = (ops[one].result.clone(), ops[one].revision);
        (ops[one].result, ops[one].revision) = (ops[other].result.clone(), ops[other].revision);
        (ops[other].result, ops[other].revision) = (result, revision);
    }),
    // What was proposed has been proposed by nobody.
    ("loss", "proclaim", |ops, one, _| drop(ops.remove(one))),
    ("duplicate term", "campaign", |ops, one, other| {
        ops[other].result = ops[one].result.clone();
    }),
];

#[test]
fn elections() {
    let (mut random, mut tally) = (Random(3), Tally::default());
    let ops = ops_of(&busy_election(&mut random, OPERATIONS, 10));
    let mut compare = |fault, ops: &[Op]| {
        let history = support::history("election", "{}", ops);
        tally.compare(fault, &history, is_explained(ops, explains_lazily));
    };
    compare("none", &ops);
    for (fault, f, plant) in FAULTS {
        let is_alike = |index: &usize| ops[*index].f == f && ops[*index].outcome == Outcome::Ok;
        let alike: Vec<usize> = (0..ops.len()).filter(is_alike).collect();
        for _ in 0..TIMES {
            let one = random.below(alike.len() - 1);
            let other = (one + 1 + random.below(6)).min(alike.len() - 1);
            let mut changed = ops.clone();
            plant(&mut changed, alike[one], alike[other]);
            if changed != ops {
                compare(fault, &changed);
            }
        }
    }
    tally.assert_noticed(&FAULTS.map(|(fault, ..)| fault), 2);
}
