//! Large valid histories: what real objects answer to clients that are never idle.

pub mod barrier;
pub mod election;
pub mod etcd;
pub mod lock;
pub mod plain;
pub mod priority_queue;
pub mod register;
pub mod turns;

use std::collections::BTreeMap;

use etcd_checker::History;
use etcd_checker::history::{Event, EventKind, Evidence, Json, OperationId, Process, Recorder};

use super::{Random, header};

/// An object that clients ask.
pub trait Server {
    /// What this client asks next.
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json);

    /// What the client asked takes effect: the answer, or none while it has to wait.
    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)>;

    /// What is told besides when the run ends. Operations that are open stay open.
    fn end(&mut self, _: &mut Run<'_>) {}
}

/// A run of an object.
pub struct Run<'r> {
    random: &'r mut Random,
    pub recorder: Recorder,
    pub time: u64,
    doing: Vec<Doing>,
}

enum Doing {
    Nothing,
    Asked(OperationId),
    Done(OperationId, Json, Evidence),
}

/// The history of so many operations. Each client has one open all the time.
pub fn run(
    random: &mut Random,
    model: &str,
    mut server: impl Server,
    operations: usize,
    clients: usize,
) -> History {
    let mut run = Run {
        random,
        recorder: Recorder::new(header(model)),
        time: 0,
        doing: (0..clients).map(|_| Doing::Nothing).collect(),
    };
    for client in 0..clients {
        run.step(&mut server, client);
    }
    let mut ended = 0;
    while ended < operations {
        let client = run.random.below(clients);
        if run.step(&mut server, client) {
            ended += 1;
            run.step(&mut server, client);
        }
    }
    server.end(&mut run);
    run.recorder.finish()
}

impl Run<'_> {
    /// Goes on with what a client does. Returns whether an operation has ended.
    pub fn step(&mut self, server: &mut impl Server, client: usize) -> bool {
        let doing = std::mem::replace(&mut self.doing[client], Doing::Nothing);
        let (next, has_ended) = match doing {
            Doing::Nothing => {
                let (f, value) = server.ask(self.random, client);
                let time = self.now();
                let id = self.recorder.invoke(time, client as u64, f, value);
                (Doing::Asked(id), false)
            }
            Doing::Asked(id) => match server.answer(client) {
                Some((value, evidence)) => (Doing::Done(id, value, evidence), false),
                None => (Doing::Asked(id), false),
            },
            Doing::Done(id, value, evidence) => {
                let time = self.now();
                self.recorder.ok(id, time, value, evidence);
                (Doing::Nothing, true)
            }
        };
        self.doing[client] = next;
        has_ended
    }

    fn now(&mut self) -> u64 {
        self.time += 100 + self.random.below(1_000) as u64;
        self.time
    }
}

fn json<T: serde::Serialize>(value: &T) -> Json {
    Json::new(value).unwrap()
}

/// One in so many operations but these looks has an unknown outcome, and its client goes on as
/// another process.
pub fn with_unknown(random: &mut Random, history: History, look: &str, one_in: usize) -> History {
    let (header, events) = history.into_parts();
    let mut processes: BTreeMap<u64, u64> = BTreeMap::new();
    let mut next = 1_000_000;
    let mut all = Vec::new();
    for event in events {
        let Process::Number(client) = event.process() else {
            continue;
        };
        let process = processes.get(&client).copied().unwrap_or(client);
        let is_lost = event.kind() == EventKind::Ok && event.f() != look && random.one_in(one_in);
        if is_lost {
            processes.insert(client, next);
            next += 1;
        }
        let kind = if is_lost {
            EventKind::Info
        } else {
            event.kind()
        };
        let event = Event::new(event.time(), Process::Number(process), kind, event.f())
            .with_value(event.value().clone());
        all.push(event);
    }
    History::new(header, all).unwrap()
}
