//! What the workloads of the mutex and of the read-write lock have in common:
//! clients that lock, write to what the lock protects, and unlock.
//!
//! Each client has one session, which its tasks share, and opens another one
//! when it is lost. The locks have names that must not be mixed up: `lock`,
//! `lock2`, and `lock/nested`, which is sometimes taken together with `lock`,
//! always in this order.
//!
//! At the end the workload asks etcd when each key was deleted, and whether its
//! lease ended then ([`keys`]): that tells an overlap that a lease explains from
//! one that is a mistake of the recipe.

mod keys;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::PutOptions;
use etcd_sim::fault::ClientId;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use self::keys::KeyLog;
use self::worker::Worker;
use super::{Actor, Bug, Ended, Parameter, Parameters, Running, Stage};
use crate::{Error, Session, SessionOptions, runtime};

pub(super) use self::worker::Locks;

pub(super) const PARAMETERS: [Parameter; 7] = [
    Parameter {
        name: "clients",
        about: "clients, each with a session of its own",
        bounds: (1, 1_000),
        drawn: (2, 4),
        live: 5,
    },
    Parameter {
        name: "tasks",
        about: "tasks of each client, which share its session",
        bounds: (1, 100),
        drawn: (1, 2),
        live: 2,
    },
    Parameter {
        name: "rounds",
        about: "how often each client locks and unlocks",
        bounds: (0, 1_000_000),
        drawn: (3, 12),
        live: 100,
    },
    Parameter {
        name: "locks",
        about: "locks: `lock`, `lock2` and `lock/nested`",
        bounds: (1, 3),
        drawn: (1, 3),
        live: 3,
    },
    Parameter {
        name: "hold_ms",
        about: "the longest pause within a critical section, in milliseconds",
        bounds: (0, 60_000),
        drawn: (0, 100),
        live: 5,
    },
    Parameter {
        name: "think_ms",
        about: "the longest pause of a task between two rounds, in milliseconds",
        bounds: (0, 60_000),
        drawn: (0, 60),
        live: 5,
    },
    Parameter {
        name: "ttl_s",
        about: "the time to live of a session, in seconds",
        bounds: (1, 3_600),
        drawn: (2, 4),
        live: 5,
    },
];

/// A holder that is not careful: it writes without a guard, and does not look
/// whether its session is lost.
pub(super) const UNFENCED: Bug = Bug {
    name: "mutex-unfenced",
    about: "a holder writes without a guard: it overwrites what its successor wrote when its lease has ended unnoticed",
};

/// How long to wait for the answer to one request. Shorter than a lease, so that
/// an unknown outcome is met before the session is lost.
const REQUEST_DEADLINE: Duration = Duration::from_secs(1);

pub(super) fn lasts_ms(parameters: &Parameters) -> u64 {
    let section_ms = 20 + parameters.get("hold_ms") * 3 / 2 + parameters.get("think_ms") / 2;
    300 + parameters.get("rounds") * section_ms
}

/// Runs clients that lock with `locks`.
pub(super) fn run(stage: Stage, parameters: Parameters, locks: Locks) -> Running {
    Box::pin(async move {
        let clients = parameters.count("clients");
        let driver = stage.actor(clients).await?;
        let run = Run {
            locks: Arc::new(locks),
            rounds: parameters.get("rounds"),
            tasks: parameters.get("tasks"),
            names: parameters.get("locks"),
            hold_ms: parameters.get("hold_ms"),
            think_ms: parameters.get("think_ms"),
            ttl: Duration::from_secs(parameters.get("ttl_s")),
            stage: stage.clone(),
        };
        let log = KeyLog::begin(&stage, driver.etcd(), &run.prefix()).await?;
        for client in 0..clients {
            run.start_client(client);
        }
        let mut ended = stage.settle().await;
        if ended == Ended::Finished {
            ended = run.lock_each_once(&driver).await;
        }
        log.record(&stage).await;
        Ok(ended)
    })
}

/// What the clients of a run share.
#[derive(Clone)]
struct Run {
    stage: Stage,
    locks: Arc<Locks>,
    rounds: u64,
    tasks: u64,
    names: u64,
    hold_ms: u64,
    think_ms: u64,
    ttl: Duration,
}

impl Run {
    /// What the keys of all locks and sessions begin with.
    fn prefix(&self) -> String {
        format!("{}locks/", self.stage.prefix())
    }

    fn start_client(&self, client: ClientId) {
        let run = self.clone();
        // Outlives the process: a restarted client goes on where it was.
        let done = Arc::new(AtomicU64::new(0));
        self.stage.start(client, move |mut actor| {
            let (run, done) = (run.clone(), Arc::clone(&done));
            async move {
                while done.load(Ordering::Relaxed) < run.rounds {
                    run.work_until_the_session_is_lost(&mut actor, &done).await;
                }
            }
        });
    }

    async fn work_until_the_session_is_lost(&self, actor: &mut Actor, done: &AtomicU64) {
        let session = match self.open(actor).await {
            Ok(session) => session,
            Err(error) => {
                tracing::debug!(%error, "no session");
                actor.back_off().await;
                return;
            }
        };
        let seeds: Vec<ChaCha8Rng> = (0..self.tasks)
            .map(|_| ChaCha8Rng::from_rng(actor.rng()))
            .collect();
        let tasks = seeds.into_iter().map(|rng| {
            let worker = Worker::new(self, actor, &session, rng);
            async move {
                let mut worker = worker?;
                while session_is_fine(&worker) && done.fetch_add(1, Ordering::Relaxed) < self.rounds
                {
                    worker.round().await;
                }
                Ok::<_, Error>(())
            }
        });
        for ended in futures_util::future::join_all(tasks).await {
            ended.expect("the names of the locks are good");
        }
        // Every other time it is left to its time to live.
        if rand::RngExt::random_bool(actor.rng(), 0.5) {
            let _ = session.close().await;
        }
    }

    /// A session with a key of its own, whose deletion shows when the lease ended.
    async fn open(&self, actor: &Actor) -> Result<Session, Error> {
        let options = SessionOptions::new()
            .ttl(self.ttl)
            .request_deadline(REQUEST_DEADLINE);
        let session = Session::with_options(actor.etcd(), options).await?;
        let key = format!("{}sessions/{:x}", self.prefix(), session.lease_id());
        let attached = PutOptions::new().with_lease(session.lease_id());
        let mut kv = actor.etcd().kv_client();
        loop {
            session.check()?;
            // To put it twice does no harm: it lives and dies with the lease.
            let put = kv.put(key.as_str(), "", Some(attached.clone()));
            if let Ok(Ok(_)) = runtime::timeout(REQUEST_DEADLINE, put).await {
                return Ok(session);
            }
            runtime::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nothing is left in the way when everybody has gone.
    async fn lock_each_once(&self, driver: &Actor) -> Ended {
        let look = async {
            let session = loop {
                match self.open(driver).await {
                    Ok(session) => break session,
                    Err(_) => runtime::sleep(Duration::from_millis(200)).await,
                }
            };
            let rng = ChaCha8Rng::seed_from_u64(0);
            let mut worker = Worker::new(self, driver, &session, rng)?;
            worker.lock_each_once().await;
            let _ = session.close().await;
            Ok::<_, Error>(())
        };
        match self.stage.in_time(look).await {
            Some(looked) => {
                looked.expect("the names of the locks are good");
                Ended::Finished
            }
            None => Ended::Stuck,
        }
    }
}

fn session_is_fine(worker: &Worker<'_>) -> bool {
    worker.session().is_alive()
}
