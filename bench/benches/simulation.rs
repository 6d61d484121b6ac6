//! Requests per second through the unmodified client inside the simulation, on
//! one core: without and with delays, without and with a recorded history, on three
//! members under faults, and beside madsim-etcd-client on the same work. And events per
//! second to watches, which that does not have.
//!
//! Each of ten clients puts and gets its own key in turn. All contenders are
//! measured in turns within one run; the best of five rounds counts, and the
//! ratio is the median over the rounds.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use etcd_checker::history::{Evidence, Header, Json, Recorder, Source};
use etcd_client::Client;
use etcd_sim::executor::{Executor, now, sleep};
use etcd_sim::plan::{Faults, Latency, Plan};
use etcd_sim::simulation::{Incarnation, Options, Settled, Simulation, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLIENTS: u32 = 10;
const PAIRS_PER_CLIENT: u32 = 10_000;
const REQUESTS: u32 = CLIENTS * PAIRS_PER_CLIENT * 2;
const ROUNDS: usize = 5;

/// The peer's network draws its delays from the same range.
const DELAYS: Latency = Latency {
    min_us: 1_000,
    max_us: 10_000,
};

/// One way to do the work, and how long each round took.
struct Contender {
    name: String,
    work: Box<dyn Fn()>,
    rounds: Vec<Duration>,
}

impl Contender {
    fn new(name: impl Into<String>, work: impl Fn() + 'static) -> Self {
        Contender {
            name: name.into(),
            work: Box::new(work),
            rounds: Vec::new(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a benchmark measures real time, outside the simulation"
    )]
    fn play_round(&mut self) {
        let start = Instant::now();
        (self.work)();
        self.rounds.push(start.elapsed());
    }

    fn requests_per_second(&self) -> f64 {
        let best = self.rounds.iter().min().expect("there are rounds");
        f64::from(REQUESTS) / best.as_secs_f64()
    }

    /// How many times faster than `other`, in the median round.
    fn ratio_to(&self, other: &Contender) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        let mut ratios: Vec<f64> = rounds
            .map(|(mine, theirs)| theirs.as_secs_f64() / mine.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }
}

fn ours(executor: Executor, latency: Latency, record: bool) {
    let options = Options {
        executor,
        messages_max: u64::MAX,
        polls_max: u64::MAX,
        ..Options::new(Plan {
            latency,
            ..Plan::quiet(1)
        })
    };
    let settled = run(options, move |simulation| async move {
        let recorder = Arc::new(Mutex::new(recorder()));
        for client in 0..CLIENTS {
            let recorder = record.then(|| Arc::clone(&recorder));
            simulation.spawn(client, move |incarnation| {
                let recorder = recorder.clone();
                async move {
                    let client = incarnation.client();
                    let mut etcd = incarnation.connect().await.unwrap();
                    let key = format!("key-{client}");
                    for _ in 0..PAIRS_PER_CLIENT {
                        let record = Record::begin(recorder.as_deref(), client, "put");
                        etcd.put(key.clone(), "value", None).await.unwrap();
                        record.end();
                        let record = Record::begin(recorder.as_deref(), client, "get");
                        etcd.get(key.clone(), None).await.unwrap();
                        record.end();
                    }
                }
            });
        }
        simulation.settle(Duration::from_secs(1_000_000)).await
    });
    assert_eq!(settled.unwrap(), Settled::Finished);
}

/// How many runs a round of [`under_faults`] has, each with faults of its own.
const SWARMS: u32 = 20;

/// The same requests on three members under whatever faults the seeds draw, every
/// operation recorded, and each call with a deadline. Who is killed for good would leave
/// requests out.
fn under_faults(executor: Executor) {
    let pairs = PAIRS_PER_CLIENT / SWARMS;
    let faults = Faults::swarm().without(["client kill", "client restart"]);
    let (min, max) = (DELAYS.min_us, DELAYS.max_us);
    let builder = Simulation::builder()
        .executor(executor)
        .members(3)
        .clients(CLIENTS)
        .faults(faults)
        .lasts(Duration::from_secs(8))
        .latency(Duration::from_micros(min), Duration::from_micros(max))
        .timeout(Duration::from_secs(1))
        .time_limit(Duration::from_secs(1_000_000));
    for seed in 0..SWARMS {
        let settled = builder
            .clone()
            .seed(u64::from(seed))
            .run(move |simulation| async move {
                let recorder = Arc::new(Mutex::new(recorder()));
                for client in 0..CLIENTS {
                    let recorder = Arc::clone(&recorder);
                    simulation.spawn(client, move |process| {
                        let recorder = Arc::clone(&recorder);
                        async move { put_and_get(&process, pairs, &recorder).await }
                    });
                }
                simulation.settle(Duration::from_secs(1_000_000)).await
            });
        assert_eq!(settled, Ok(Settled::Finished));
    }
}

async fn put_and_get(process: &Incarnation, pairs: u32, recorder: &Mutex<Recorder>) {
    let client = process.client();
    let mut etcd = process.connect().await.unwrap();
    let key = format!("key-{client}");
    for _ in 0..pairs {
        let record = Record::begin(Some(recorder), client, "put");
        record.end_with(etcd.put(key.clone(), "value", None).await.is_ok());
        let record = Record::begin(Some(recorder), client, "get");
        record.end_with(etcd.get(key.clone(), None).await.is_ok());
    }
}

/// How many watches each client of [`fan_out`] has.
const WATCHES_PER_CLIENT: u32 = 10;
const PUTS: u32 = REQUESTS / (CLIENTS * WATCHES_PER_CLIENT);

/// One client puts a key that all others watch: as many events as elsewhere requests.
fn fan_out(executor: Executor) {
    let options = Options {
        executor,
        messages_max: u64::MAX,
        polls_max: u64::MAX,
        ..Options::new(Plan {
            latency: DELAYS,
            ..Plan::quiet(1)
        })
    };
    let settled = run(options, |simulation| async move {
        for client in 0..CLIENTS {
            simulation.spawn(client, |process| async move {
                let etcd = process.connect().await.unwrap();
                let watches = (0..WATCHES_PER_CLIENT).map(|_| hear_all(etcd.clone()));
                futures_util::future::join_all(watches).await;
            });
        }
        simulation.spawn(CLIENTS, |process| async move {
            let mut etcd = process.connect().await.unwrap();
            sleep(Duration::from_secs(1)).await;
            for _ in 0..PUTS {
                etcd.put("key", "value", None).await.unwrap();
            }
        });
        simulation.settle(Duration::from_secs(1_000_000)).await
    });
    assert_eq!(settled.unwrap(), Settled::Finished);
}

async fn hear_all(mut etcd: Client) {
    let mut watch = etcd.watch("key", None).await.unwrap();
    let mut heard = 0;
    while heard < PUTS as usize {
        heard += watch.message().await.unwrap().unwrap().events().len();
    }
}

fn recorder() -> Recorder {
    let source = Source::Other {
        description: "benchmark".to_owned(),
    };
    Recorder::new(Header::new("put-get", "none", source))
}

/// An operation that is recorded, or not.
struct Record<'a> {
    recorder: Option<(&'a Mutex<Recorder>, etcd_checker::history::OperationId)>,
}

impl<'a> Record<'a> {
    fn begin(recorder: Option<&'a Mutex<Recorder>>, client: u32, f: &'static str) -> Self {
        Record {
            recorder: recorder.map(|recorder| {
                let mut locked = recorder.lock().unwrap();
                let value = Json::new("value").unwrap();
                let id = locked.invoke(now().as_nanos(), u64::from(client), f, value);
                (recorder, id)
            }),
        }
    }

    fn end(self) {
        self.end_with(true);
    }

    fn end_with(self, is_known: bool) {
        if let Some((recorder, id)) = self.recorder {
            if !is_known {
                let mut recorder = recorder.lock().unwrap();
                return recorder.info(id, now().as_nanos(), "no answer");
            }
            let value = Json::new("value").unwrap();
            let mut recorder = recorder.lock().unwrap();
            recorder.ok(id, now().as_nanos(), value, Evidence::NONE);
        }
    }
}

/// The same work on madsim-etcd-client, with its default network.
#[cfg(madsim)]
fn peer() {
    use madsim_etcd_client::{Client, SimServer};

    let work = || {
        let runtime = madsim::runtime::Runtime::with_seed_and_config(1, madsim::Config::default());
        runtime.block_on(async {
            let handle = madsim::runtime::Handle::current();
            let server = handle.create_node().ip([10, 0, 0, 1].into()).build();
            drop(server.spawn(async {
                let address = "10.0.0.1:2379".parse().unwrap();
                SimServer::builder().serve(address).await.unwrap();
            }));
            madsim::time::sleep(Duration::from_secs(1)).await;
            let clients = (0..CLIENTS).map(|client| {
                let ip = [10, 0, 1, u8::try_from(client).unwrap()].into();
                let node = handle.create_node().ip(ip).build();
                node.spawn(async move {
                    let etcd = Client::connect(["10.0.0.1:2379"], None).await.unwrap();
                    let mut kv = etcd.kv_client();
                    let key = format!("key-{client}");
                    for _ in 0..PAIRS_PER_CLIENT {
                        kv.put(key.clone(), "value", None).await.unwrap();
                        kv.get(key.clone(), None).await.unwrap();
                    }
                })
            });
            let clients: Vec<_> = clients.collect();
            for client in clients {
                client.await.unwrap();
            }
        });
    };
    // As for ours: a thread of its own for each run.
    std::thread::spawn(work).join().unwrap();
}

fn contenders() -> Vec<Contender> {
    let mut contenders = Vec::new();
    #[cfg(madsim)]
    contenders.push(Contender::new("madsim-etcd-client 0.7.0, delays", peer));
    let mut executors = vec![Executor::BEST];
    if Executor::BEST != Executor::Tokio {
        executors.push(Executor::Tokio);
    }
    for executor in executors {
        for (latency, delays) in [(DELAYS, "delays"), (Latency::NONE, "no delays")] {
            for (record, recorded) in [(false, ""), (true, ", recorded")] {
                let name = format!("etcd-sim on {}, {delays}{recorded}", executor.name());
                let work = move || ours(executor, latency, record);
                contenders.push(Contender::new(name, work));
            }
        }
        let name = format!("etcd-sim on {}, three members, faults", executor.name());
        contenders.push(Contender::new(name, move || under_faults(executor)));
        let watches = CLIENTS * WATCHES_PER_CLIENT;
        let name = format!(
            "etcd-sim on {}, events to {watches} watches",
            executor.name()
        );
        contenders.push(Contender::new(name, move || fan_out(executor)));
    }
    contenders
}

fn main() {
    // `cargo test --benches` only asks whether it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    // `cargo bench -- TEXT` measures only what has the text at its name's end.
    let wanted = std::env::args().skip(1).find(|text| !text.starts_with('-'));
    let wanted = wanted.unwrap_or_default();
    let mut contenders = contenders();
    contenders.retain(|contender| contender.name.ends_with(&wanted));
    for _ in 0..ROUNDS {
        contenders.iter_mut().for_each(Contender::play_round);
    }
    println!(
        "{CLIENTS} clients, {REQUESTS} requests (or events), one core, best of {ROUNDS} rounds\n"
    );
    for contender in &contenders {
        println!(
            "{:<48} {:>8.0}/s   {:>5.2} times the first",
            contender.name,
            contender.requests_per_second(),
            contender.ratio_to(&contenders[0]),
        );
    }
}
