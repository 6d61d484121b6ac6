//! A priority queue of about 8 to 32 values.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json};

use super::{Random, Server, json, run};

/// How many priorities there are.
const PRIORITIES: usize = 10;

pub fn busy_priority_queue(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Queue {
        inside: BinaryHeap::new(),
        arrivals: 0,
        asked: vec![None; clients],
        values: 0,
    };
    run(random, "priority-queue", server, operations, clients)
}

struct Queue {
    /// Priority, when it was put in, and the value.
    inside: BinaryHeap<Reverse<(i64, u64, u64)>>,
    arrivals: u64,
    /// What each client wants to put in; none to take something out.
    asked: Vec<Option<(i64, u64)>>,
    values: u64,
}

impl Server for Queue {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let inside = self.inside.len();
        if inside < 8 || inside < 32 && random.one_in(2) {
            self.values += 1;
            let item = (random.below(PRIORITIES) as i64, self.values);
            self.asked[client] = Some(item);
            ("enqueue", shown(item))
        } else {
            self.asked[client] = None;
            ("dequeue", Json::NULL)
        }
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let value = match self.asked[client] {
            Some((priority, value)) => {
                self.arrivals += 1;
                self.inside.push(Reverse((priority, self.arrivals, value)));
                shown((priority, value))
            }
            None => match self.inside.pop() {
                Some(Reverse((priority, _, value))) => shown((priority, value)),
                None => Json::NULL,
            },
        };
        Some((value, Evidence::NONE))
    }
}

fn shown((priority, value): (i64, u64)) -> Json {
    json(&(format!("value-{value}"), priority))
}
