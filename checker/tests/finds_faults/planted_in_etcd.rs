//! A large history of etcd is right, and then one thing in it is changed: the checker says
//! what doing all requests in the order of their revisions says.

use etcd_checker::history::Json;
use serde_json::{Value, json};

use crate::support::busy::etcd::busy_etcd;
use crate::support::etcd::etcd_history;
use crate::support::etcd_twin::is_right;
use crate::support::planted::{Tally, ops_of};
use crate::support::{Op, Random};

const OPERATIONS: usize = 800;
const TIMES: usize = 20;

type Plant = fn(&mut Vec<Op>, usize, usize);

/// The name of the fault, of which operation it is, and how it gets in. The other operation
/// is one of the same name a bit later.
const FAULTS: [(&str, &str, Plant); 11] = [
    ("stale read", "range", |ops, one, other| {
        if ops[one].invoke == ops[other].invoke {
            (ops[other].result, ops[other].revision) = (ops[one].result.clone(), ops[one].revision);
        }
    }),
    ("swap", "range", |ops, one, other| {
        if ops[one].invoke == ops[other].invoke {
            let result = ops[one].result.clone();
            ops[one].result = std::mem::replace(&mut ops[other].result, result);
        }
    }),
    ("wrong header", "range", |ops, one, _| {
        ops[one].revision = ops[one].revision.map(|revision| revision - 1);
    }),
    ("loss", "put", |ops, one, _| drop(ops.remove(one))),
    ("lost transaction", "txn", |ops, one, _| {
        drop(ops.remove(one));
    }),
    ("lost deletion", "delete", |ops, one, _| {
        drop(ops.remove(one));
    }),
    ("duplicate revision", "put", |ops, one, other| {
        ops[one].revision = ops[other].revision;
    }),
    ("early return", "put", |ops, one, _| {
        let before = &ops[one.saturating_sub(25)];
        let (invoked, returned) = (before.invoked + 1, before.invoked + 2);
        (ops[one].invoked, ops[one].returned) = (invoked, returned);
    }),
    ("lost event", "notice", |ops, one, _| {
        change_events(&mut ops[one], |events| drop(events.pop()));
    }),
    ("duplicate event", "notice", |ops, one, _| {
        change_events(&mut ops[one], |events| {
            let again = events.last().cloned();
            events.extend(again);
        });
    }),
    ("swapped events", "notice", |ops, one, _| {
        change_events(&mut ops[one], |events| events.reverse());
    }),
];

fn change_events(notice: &mut Op, change: impl Fn(&mut Vec<Value>)) {
    let told: Value = notice.result.parse().unwrap();
    let mut events = told["events"].as_array().unwrap().clone();
    change(&mut events);
    notice.result = Json::new(&json!({"watch": 1, "events": events})).unwrap();
}

#[test]
fn etcd() {
    let (mut random, mut tally) = (Random(3), Tally::default());
    let ops = ops_of(&busy_etcd(&mut random, OPERATIONS, 10));
    tally.compare("none", &etcd_history(&ops), true);
    assert!(is_right(&ops));
    for (fault, f, plant) in FAULTS {
        let alike: Vec<usize> = (0..ops.len()).filter(|index| ops[*index].f == f).collect();
        for _ in 0..TIMES {
            let mut changed = ops.clone();
            for _ in 0..20 {
                let one = random.below(alike.len() - 1);
                let other = (one + 1 + random.below(20)).min(alike.len() - 1);
                if changed == ops {
                    plant(&mut changed, alike[one], alike[other]);
                }
            }
            if changed != ops {
                tally.compare(fault, &etcd_history(&changed), is_right(&changed));
            }
        }
    }
    tally.assert_noticed(&FAULTS.map(|(fault, ..)| fault), 4);
}
