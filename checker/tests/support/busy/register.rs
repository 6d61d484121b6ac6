//! Registers that are read, written, and compared and set.

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json};
use serde_json::json;

use super::{Random, Server, json, run};

/// How many values are written.
const VALUES: usize = 5;

/// One register, as Jepsen's tests of etcd had it.
pub fn busy_register(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Register {
        value: None,
        asked: vec![Asked::Read; clients],
    };
    run(random, "cas-register", server, operations, clients)
}

struct Register {
    value: Option<usize>,
    asked: Vec<Asked>,
}

#[derive(Clone, Copy)]
enum Asked {
    Read,
    Write(usize),
    Cas(usize, usize),
}

impl Server for Register {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let (one, other) = (random.below(VALUES), random.below(VALUES));
        let (asked, f, value) = match random.below(3) {
            0 => (Asked::Read, "read", Json::NULL),
            1 => (Asked::Write(one), "write", json(&one)),
            _ => (Asked::Cas(one, other), "cas", json(&[one, other])),
        };
        self.asked[client] = asked;
        (f, value)
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let answer = match self.asked[client] {
            Asked::Read => json!(self.value),
            Asked::Write(value) => {
                self.value = Some(value);
                json!(value)
            }
            Asked::Cas(old, new) if self.value == Some(old) => {
                self.value = Some(new);
                json!([old, new])
            }
            Asked::Cas(..) => json!(false),
        };
        Some((json(&answer), Evidence::NONE))
    }
}
