//! The stage of a run: starts clients and records what they do, in a
//! simulation or on a real cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use etcd_checker::history::{Evidence, Json, OperationId, Recorder};
use etcd_client::Client;
use etcd_sim::clock::Clock;
use etcd_sim::executor::Node;
use etcd_sim::fault::ClientId;
use etcd_sim::seed::Stream;
use etcd_sim::simulation::{Incarnation, Settled, Simulation};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::sync::Notify;

use super::{Bug, Ended, LIVENESS_BOUND};
use crate::runtime::Either;
use crate::{Error, runtime};

/// Where a workload runs. Cheap to clone; clones are the same stage.
#[derive(Clone)]
pub struct Stage {
    shared: Arc<Shared>,
}

struct Shared {
    environment: Environment,
    recorder: Arc<Mutex<Recorder>>,
    options: StageOptions,
    start: Instant,
    /// Operations that happened, so far.
    done: AtomicU64,
}

/// What a stage is made with.
pub(crate) struct StageOptions {
    pub(crate) seed: u64,
    /// Every key of the run begins with this.
    pub(crate) prefix: String,
    pub(crate) bug: Option<Bug>,
}

/// What lies under a stage.
pub(crate) enum Environment {
    Simulated(Simulation),
    Live(Live),
}

/// What goes on beside the clients, for as long as this is there.
pub(crate) enum Apart {
    Simulated(Node),
    Live(#[expect(dead_code, reason = "the task ends when it is dropped")] runtime::Task),
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Self::Simulated(machine) = self {
            machine.kill();
        }
    }
}

/// Clients of a real cluster: tasks of this process.
pub(crate) struct Live {
    connect: Connect,
    /// Nobody else uses the cluster.
    is_own: bool,
    tasks: Mutex<BTreeMap<ClientId, runtime::Task>>,
    finished: Mutex<BTreeSet<ClientId>>,
    progress: Notify,
}

/// Makes a new connection to a cluster.
pub type Connect = Arc<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Client, etcd_client::Error>> + Send>>
        + Send
        + Sync,
>;

impl Live {
    pub(crate) fn new(connect: Connect, is_own: bool) -> Self {
        Live {
            connect,
            is_own,
            tasks: Mutex::default(),
            finished: Mutex::default(),
            progress: Notify::new(),
        }
    }
}

/// One client at work: its etcd client, its randomness, its record.
pub struct Actor {
    stage: Stage,
    client: ClientId,
    etcd: Client,
    rng: ChaCha8Rng,
}

/// An operation that was recorded as begun.
///
/// Dropped without an end it stays open in the history: nobody knows.
#[must_use]
pub struct OpenOperation {
    stage: Stage,
    id: OperationId,
}

impl Stage {
    pub(crate) fn new(
        environment: Environment,
        recorder: Arc<Mutex<Recorder>>,
        options: StageOptions,
    ) -> Self {
        Stage {
            shared: Arc::new(Shared {
                environment,
                recorder,
                options,
                start: runtime::now(),
                done: AtomicU64::new(0),
            }),
        }
    }

    /// What every key of the run begins with.
    pub fn prefix(&self) -> &str {
        &self.shared.options.prefix
    }

    /// Whether this is a real cluster.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.shared.environment, Environment::Live(_))
    }

    /// Whether others may use the cluster, and compact its history.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(&self.shared.environment, Environment::Live(live) if !live.is_own)
    }

    /// Whether the mistake of this name is put in.
    pub fn has_bug(&self, name: &str) -> bool {
        self.shared.options.bug.is_some_and(|bug| bug.name == name)
    }

    /// Nanoseconds since the start of the run.
    pub fn now_ns(&self) -> u64 {
        match &self.shared.environment {
            Environment::Simulated(_) => etcd_sim::executor::now().as_nanos(),
            Environment::Live(_) => {
                let elapsed = runtime::now().saturating_duration_since(self.shared.start);
                u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
            }
        }
    }

    /// Starts a client: `program` runs in a process of its own and begins anew
    /// when that is restarted.
    pub fn start<Fut>(
        &self,
        client: ClientId,
        program: impl Fn(Actor) -> Fut + Send + Sync + 'static,
    ) where
        Fut: Future<Output = ()> + Send + 'static,
    {
        match &self.shared.environment {
            Environment::Simulated(simulation) => {
                let stage = self.clone();
                let program = Arc::new(program);
                let clock = Clock::of(simulation.plan(), client).map(Arc::new);
                simulation.spawn(client, move |incarnation| {
                    let (stage, program) = (stage.clone(), Arc::clone(&program));
                    let life = async move {
                        let actor = stage.simulated_actor(&incarnation).await;
                        program(actor).await;
                    };
                    runtime::clock::read_by(clock.clone(), life)
                });
            }
            Environment::Live(live) => live.start(self, client, program),
        }
    }

    /// Runs something beside the clients, until what is returned is dropped.
    ///
    /// In a simulation it has a machine of its own: what it has started ends with it.
    pub(crate) fn run_apart(&self, work: impl Future<Output = ()> + Send + 'static) -> Apart {
        match &self.shared.environment {
            Environment::Simulated(_) => {
                let machine = Node::new("apart");
                machine.spawn(work);
                Apart::Simulated(machine)
            }
            Environment::Live(_) => Apart::Live(runtime::spawn(work)),
        }
    }

    /// A client for the workload itself, outside of every process.
    ///
    /// # Errors
    ///
    /// When the cluster cannot be reached.
    pub async fn actor(&self, client: ClientId) -> Result<Actor, Error> {
        let etcd = match &self.shared.environment {
            Environment::Simulated(simulation) => simulation.client(client).await,
            Environment::Live(live) => (live.connect)().await,
        };
        let etcd = etcd.map_err(|error| Error::read("connect to", "the cluster", error))?;
        Ok(self.make_actor(client, 0, etcd))
    }

    /// Records every change of the store from now on of which `describe` makes
    /// something, as an operation `watch` of this client, at the instant at which it
    /// happens. False on a real cluster, which tells nobody but who watches.
    pub(crate) fn record_changes(
        &self,
        client: ClientId,
        describe: impl Fn(&etcd_sim::store::Record) -> Option<Json> + Send + 'static,
    ) -> bool {
        let Environment::Simulated(simulation) = &self.shared.environment else {
            return false;
        };
        // Not the stage itself: it would never be freed.
        let recorder = Arc::clone(&self.shared.recorder);
        simulation.member().listen(move |change| {
            if let Some(described) = describe(change) {
                let now = etcd_sim::executor::now().as_nanos();
                let mut recorder = recorder
                    .lock()
                    .expect("nothing panics while it holds the recorder");
                let operation = recorder.invoke(now, u64::from(client), "watch", Json::NULL);
                let evidence = Evidence::revision(change.mod_revision());
                recorder.ok(operation, now, described, evidence);
            }
        });
        true
    }

    /// Waits for all clients. Given up is when the last fault has passed and no
    /// operation has succeeded for [`LIVENESS_BOUND`] since: a run that is long
    /// because there is much to do is not stuck.
    pub async fn settle(&self) -> Ended {
        let done = || self.shared.done.load(Ordering::Relaxed);
        match &self.shared.environment {
            Environment::Simulated(simulation) => loop {
                let before = done();
                match simulation.settle(LIVENESS_BOUND).await {
                    Settled::Finished => return Ended::Finished,
                    Settled::BusyLoop => return Ended::BusyLoop,
                    _ if done() == before => return Ended::Stuck,
                    _ => {}
                }
            },
            Environment::Live(live) => live.settle(done).await,
        }
    }

    /// Waits until no client of those that `which` names is at work.
    pub async fn finished(&self, which: impl Fn(ClientId) -> bool) {
        while self.running().into_iter().any(&which) {
            runtime::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The clients that are at work.
    pub fn running(&self) -> Vec<ClientId> {
        match &self.shared.environment {
            Environment::Simulated(simulation) => simulation.running(),
            Environment::Live(live) => live.running(),
        }
    }

    /// Waits until all faults have passed, where it is known when that is.
    pub(crate) async fn healed(&self) {
        if let Environment::Simulated(simulation) = &self.shared.environment {
            simulation.healed().await;
        }
    }

    /// Does what is the workload's own, beside all clients; what came of it, unless it has
    /// not ended [`LIVENESS_BOUND`] after all faults have passed.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let limit = async {
            self.healed().await;
            runtime::sleep(LIVENESS_BOUND).await;
        };
        match runtime::race(work, limit).await {
            Either::Left(done) => Some(done),
            Either::Right(()) => None,
        }
    }

    /// Whether more clients will come to work: some are down and restart.
    pub fn awaits_restart(&self) -> bool {
        match &self.shared.environment {
            Environment::Simulated(simulation) => !simulation.is_healed(),
            Environment::Live(_) => false,
        }
    }

    /// Stops every client of a real cluster where it stands; what it was doing
    /// stays open. The simulation ends its clients with the run.
    pub(crate) fn stop(&self) {
        if let Environment::Live(live) = &self.shared.environment {
            live.tasks().clear();
        }
    }

    /// Marks that the run was given up with operations still open.
    pub(crate) fn record_stuck(&self, why: &'static str) {
        #[derive(Serialize)]
        struct Mark {
            bound_ns: u128,
            why: &'static str,
        }
        let now = self.now_ns();
        let mark = Json::new(&Mark {
            bound_ns: LIVENESS_BOUND.as_nanos(),
            why,
        })
        .expect("numbers and text have a JSON form");
        let name = etcd_checker::history::LIVENESS_DEADLINE;
        self.recorder().nemesis(now, name, mark);
    }

    /// Records what the environment is seen to do: facts that no client knows.
    pub(crate) fn mark(&self, name: &'static str, value: &impl Serialize) {
        let now = self.now_ns();
        self.recorder().nemesis(now, name, json(value));
    }

    async fn simulated_actor(&self, incarnation: &Incarnation) -> Actor {
        let etcd = incarnation
            .connect()
            .await
            .expect("a simulated channel without a user is always made");
        self.make_actor(incarnation.client(), incarnation.number(), etcd)
    }

    fn make_actor(&self, client: ClientId, life: u64, etcd: Client) -> Actor {
        let mut rng = Stream::Workload.rng(self.shared.options.seed);
        rng.set_stream(u64::from(client) << 32 | life);
        Actor {
            stage: self.clone(),
            client,
            etcd,
            rng: ChaCha8Rng::from_rng(&mut rng),
        }
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.shared
            .recorder
            .lock()
            .expect("nothing panics while it holds the recorder")
    }
}

impl Live {
    fn start<Fut>(
        &self,
        stage: &Stage,
        client: ClientId,
        program: impl Fn(Actor) -> Fut + Send + Sync + 'static,
    ) where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (stage, connect) = (stage.clone(), Arc::clone(&self.connect));
        let task = runtime::spawn(async move {
            let etcd = loop {
                match connect().await {
                    Ok(etcd) => break etcd,
                    Err(error) => {
                        tracing::warn!(client, %error, "cannot connect, will try again");
                        runtime::sleep(Duration::from_millis(200)).await;
                    }
                }
            };
            program(stage.make_actor(client, 1, etcd)).await;
            if let Environment::Live(live) = &stage.shared.environment {
                live.finished().insert(client);
                live.progress.notify_waiters();
            }
        });
        self.tasks().insert(client, task);
    }

    fn running(&self) -> Vec<ClientId> {
        let finished = self.finished();
        let tasks = self.tasks();
        let running = tasks.keys().filter(|client| !finished.contains(client));
        running.copied().collect()
    }

    /// On a real cluster nobody knows when the last fault has passed: given up
    /// is when no operation has succeeded for the whole bound, so that a cluster
    /// that is gone for good does not keep the run for ever.
    async fn settle(&self, done: impl Fn() -> u64) -> Ended {
        loop {
            let before = done();
            match runtime::timeout(LIVENESS_BOUND, self.done()).await {
                Ok(()) => return Ended::Finished,
                Err(_) if done() == before => return Ended::Stuck,
                Err(_) => {}
            }
        }
    }

    async fn done(&self) {
        loop {
            // Made before the state is looked at: it sees every change since.
            let progress = self.progress.notified();
            if self.running().is_empty() {
                return;
            }
            progress.await;
        }
    }

    fn finished(&self) -> MutexGuard<'_, BTreeSet<ClientId>> {
        self.finished
            .lock()
            .expect("nothing panics while it holds the list")
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<ClientId, runtime::Task>> {
        self.tasks
            .lock()
            .expect("nothing panics while it holds the tasks")
    }
}

impl Actor {
    /// Its number.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// The ordinary etcd client that it works with.
    pub fn etcd(&self) -> &Client {
        &self.etcd
    }

    /// Its randomness: a function of the seed, the client and its life.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    /// Does nothing for a while, at most `max_ms` milliseconds.
    pub async fn think(&mut self, max_ms: u64) {
        let micros = self.rng.random_range(0..=max_ms * 1_000);
        if micros >= 1_000 {
            runtime::sleep(Duration::from_micros(micros)).await;
        }
    }

    /// Waits after an error, so that an outage is not filled with attempts.
    pub async fn back_off(&mut self) {
        let millis = self.rng.random_range(20..=200);
        runtime::sleep(Duration::from_millis(millis)).await;
    }

    /// Records that an operation begins: before its first request is sent.
    pub fn invoke(&self, f: &'static str, value: impl Serialize) -> OpenOperation {
        let now = self.stage.now_ns();
        let client = u64::from(self.client);
        let id = self.stage.recorder().invoke(now, client, f, json(value));
        OpenOperation {
            stage: self.stage.clone(),
            id,
        }
    }
}

impl OpenOperation {
    /// It happened, with this result.
    pub fn ok(self, value: impl Serialize, evidence: Evidence) {
        let now = self.stage.now_ns();
        self.stage.shared.done.fetch_add(1, Ordering::Relaxed);
        self.stage
            .recorder()
            .ok(self.id, now, json(value), evidence);
    }

    /// Nobody knows, because nobody waited for its end.
    pub fn unknown(self, why: &str) {
        let now = self.stage.now_ns();
        self.stage.recorder().info(self.id, now, why);
    }

    /// It certainly did not happen, for this reason.
    pub fn did_not_happen(self, why: &str) {
        let now = self.stage.now_ns();
        self.stage.recorder().fail(self.id, now, why);
    }

    /// It ended with an error of etcd's: it did not happen, or nobody knows, as
    /// [`Outcome::of_mutation`](crate::error::Outcome::of_mutation) judges. That is right
    /// for reads too.
    pub fn ended_with(self, error: &etcd_client::Error) {
        match crate::error::Outcome::of_mutation(error) {
            crate::error::Outcome::Unknown => self.unknown(&error.to_string()),
            _ => self.did_not_happen(&error.to_string()),
        }
    }

    /// It did not happen, or nobody knows, as the error says. What was
    /// attempted rides along where nobody knows.
    pub fn failed(self, error: &Error, attempted: impl Serialize) {
        let now = self.stage.now_ns();
        let mut recorder = self.stage.recorder();
        if error.is_outcome_unknown() {
            let attempted = json(attempted);
            recorder.info_attempted(self.id, now, error.to_string(), attempted, Evidence::NONE);
        } else {
            recorder.fail(self.id, now, error.to_string());
        }
    }
}

fn json(value: impl Serialize) -> Json {
    Json::new(&value).expect("what workloads record has a JSON form")
}

#[cfg(test)]
mod tests {
    use etcd_checker::history::{EventKind, Header, Source};
    use etcd_client::Error as EtcdError;

    use super::*;

    fn stage() -> (Stage, Arc<Mutex<Recorder>>) {
        let source = Source::Other {
            description: String::new(),
        };
        let recorder = Arc::new(Mutex::new(Recorder::new(Header::new("", "", source))));
        let connect: Connect =
            Arc::new(|| Box::pin(async { Err(EtcdError::InvalidArgs("nowhere".to_owned())) }));
        let options = StageOptions {
            seed: 1,
            prefix: String::new(),
            bug: None,
        };
        let environment = Environment::Live(Live::new(connect, false));
        let stage = Stage::new(environment, Arc::clone(&recorder), options);
        (stage, recorder)
    }

    /// How an operation that ended with this error is recorded.
    fn recorded(error: &Error) -> EventKind {
        let (stage, recorder) = stage();
        let id = stage.recorder().invoke(0, 0, "enqueue", "value");
        OpenOperation { stage, id }.failed(error, "value");
        let recorder = Arc::into_inner(recorder).unwrap().into_inner().unwrap();
        recorder.finish().events()[1].kind()
    }

    #[test]
    fn only_what_certainly_did_not_happen_is_recorded_as_failed() {
        let lost = Error::mutation_deadline("enqueue to", "jobs", Duration::from_secs(5));
        assert_eq!(recorded(&lost), EventKind::Info);
        let read = EtcdError::InvalidArgs("of a read".to_owned());
        assert_eq!(
            recorded(&Error::read("read", "jobs", read)),
            EventKind::Fail
        );
        let refused = Error::invalid_name("jobs//x", "empty part");
        assert_eq!(recorded(&refused), EventKind::Fail);
    }
}
