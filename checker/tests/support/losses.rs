//! Cyclic barriers whose parties lose their sessions now and then.

use etcd_checker::history::{Json, Outcome};

use super::{Op, Random};

/// What is wrong with a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// A round is over with one participant less.
    Early,
    /// Who has closed its session is still counted.
    CountsDead,
}

/// Parties that wait for each other, and lose their session in one of so many steps; then they
/// close it and come back with another one.
#[derive(Clone, Copy, Debug)]
pub struct Losses {
    pub parties: usize,
    pub count: usize,
    /// Nobody ever does where it is 0.
    pub one_in: usize,
    pub fault: Fault,
}

#[derive(Clone, Copy)]
enum Stage {
    Idle,
    Asked(usize),
    /// It is counted.
    Arrived(usize),
    Tripped(usize),
    Lost,
    Closing(usize),
}

struct Run {
    ops: Vec<Op>,
    time: u64,
    stages: Vec<Stage>,
    leases: Vec<u64>,
    /// Who is counted, with which lease.
    arrived: Vec<(usize, u64)>,
    round: u64,
    /// How often something went wrong.
    faults: usize,
}

impl Losses {
    /// So many operations. Something goes wrong as soon as it can once there are more than so
    /// many, each time.
    pub fn run(&self, random: &mut Random, operations: usize, faults: &[usize]) -> Vec<Op> {
        let mut run = Run {
            ops: Vec::new(),
            time: 0,
            stages: vec![Stage::Idle; self.parties],
            leases: (0..self.parties as u64).collect(),
            arrived: Vec::new(),
            round: 1,
            faults: 0,
        };
        while run.ops.len() < operations {
            run.time += 10;
            let party = random.below(self.parties);
            let is_faulty = faults.get(run.faults).is_some_and(|at| run.ops.len() > *at);
            self.step(&mut run, random, party, is_faulty);
            let all_are_counted = !run.stages.iter().any(|one| matches!(one, Stage::Asked(_)));
            let one_less = run.arrived.len() + 1 == self.count;
            let is_early = self.fault == Fault::Early && is_faulty && one_less && all_are_counted;
            if run.arrived.len() == self.count || is_early {
                run.faults += usize::from(is_early);
                run.trip();
            }
        }
        run.ops
    }

    fn step(&self, run: &mut Run, random: &mut Random, party: usize, is_faulty: bool) {
        let is_lost = self.one_in > 0 && random.one_in(self.one_in);
        let lease = run.leases[party];
        run.stages[party] = match run.stages[party] {
            Stage::Idle => Stage::Asked(run.begin("wait", lease)),
            Stage::Asked(op) | Stage::Arrived(op) if is_lost => {
                if let Stage::Asked(_) = run.stages[party]
                    && random.one_in(2)
                {
                    run.arrived.push((party, lease));
                }
                run.end(op, Outcome::Info);
                Stage::Lost
            }
            Stage::Asked(op) => {
                run.arrived.push((party, lease));
                Stage::Arrived(op)
            }
            Stage::Arrived(op) => Stage::Arrived(op),
            Stage::Tripped(op) => {
                run.end(op, Outcome::Ok);
                Stage::Idle
            }
            Stage::Lost => Stage::Closing(run.begin("close", lease)),
            Stage::Closing(op) => {
                run.end(op, Outcome::Ok);
                run.leases[party] += self.parties as u64;
                let is_counted = run.arrived.iter().any(|(_, other)| *other == lease);
                if self.fault == Fault::CountsDead && is_faulty && is_counted {
                    run.faults += 1;
                } else {
                    run.arrived.retain(|(_, other)| *other != lease);
                }
                Stage::Idle
            }
        };
    }
}

impl Run {
    fn begin(&mut self, f: &'static str, lease: u64) -> usize {
        self.ops.push(Op {
            f,
            invoke: json(&serde_json::json!({"lease": lease})),
            result: Json::NULL,
            outcome: Outcome::Open,
            revision: None,
            invoked: self.time,
            returned: u64::MAX,
        });
        self.ops.len() - 1
    }

    fn end(&mut self, op: usize, outcome: Outcome) {
        self.ops[op].outcome = outcome;
        self.ops[op].returned = self.time;
    }

    /// The round is over.
    fn trip(&mut self) {
        for (index, (party, lease)) in std::mem::take(&mut self.arrived).into_iter().enumerate() {
            let is_there = self.leases[party] == lease;
            if let (Stage::Arrived(op), true) = (self.stages[party], is_there) {
                let place = serde_json::json!({"round": self.round, "index": index});
                self.ops[op].result = json(&place);
                self.stages[party] = Stage::Tripped(op);
            }
        }
        self.round += 1;
    }
}

fn json(value: &serde_json::Value) -> Json {
    Json::new(value).unwrap()
}
