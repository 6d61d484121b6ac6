//! A barrier that everybody raises and takes down.

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json};

use super::{Random, Server, json, run};

pub fn busy_barrier(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Barrier {
        stands: false,
        asked: vec!["wait"; clients],
    };
    run(random, "barrier", server, operations, clients)
}

struct Barrier {
    stands: bool,
    asked: Vec<&'static str>,
}

impl Server for Barrier {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        self.asked[client] = ["hold", "hold", "release", "release", "wait"][random.below(5)];
        (self.asked[client], Json::NULL)
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let stood = self.stands;
        let answer = match self.asked[client] {
            "hold" => {
                self.stands = true;
                json(&!stood)
            }
            "release" => {
                self.stands = false;
                json(&stood)
            }
            _ if stood => return None,
            _ => Json::NULL,
        };
        Some((answer, Evidence::NONE))
    }
}
