//! A run: a cluster, a network, client processes and the faults of a plan.
//!
//! ```
//! use etcd_sim::Simulation;
//!
//! let revision = Simulation::builder().seed(7).run(|simulation| async move {
//!     let mut client = simulation.client(0).await.unwrap();
//!     client.put("key", "value", None).await.unwrap();
//!     let answer = client.get("key", None).await.unwrap();
//!     answer.kvs()[0].mod_revision()
//! });
//! assert_eq!(revision, Ok(2));
//! ```
//!
//! [`Simulation::builder`] sets a run up, and [`Builder::check`] does for many seeds what
//! tests need. [`run`] is what lies below: one plan, one run.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

use crate::bug::EtcdBug;
use crate::cluster::{
    AUTH_TOKEN_TTL, Cluster, ClusterObserver, ClusterOptions, Member, MemberOptions,
};
use crate::executor::{self, Executor, Node, Panicked, SimTime};
use crate::fault::{ClientId, MemberId};
use crate::network::{Channel, ChannelOptions, Network, NetworkOptions, NetworkReport, Observer};
use crate::plan::Plan;
use crate::seed::Stream;
use crate::store::StoreOptions;
use crate::version::Version;

mod builder;
mod by_hand;
mod in_force;
mod injector;

pub use builder::{Builder, Failure};
pub use by_hand::FaultGuard;

use in_force::InForce;

/// How to run a simulation.
#[derive(Clone)]
pub struct Options {
    /// What it runs on; default: [`Executor::BEST`].
    pub executor: Executor,
    /// Seed and faults.
    pub plan: Plan,
    /// A run that has sent more messages than this is in a busy loop: from
    /// then on nothing is answered. Default: two million.
    pub messages_max: u64,
    /// A client process that was polled more often than this is in a busy
    /// loop: it is stopped. Default: ten million. [`Builder`] counts the body too.
    pub polls_max: u64,
    /// How long a call of a client may take that is made by [`Simulation::client`] or
    /// [`Incarnation::connect`]; default: for ever.
    pub timeout: Option<Duration>,
    /// A known bug of etcd's that is put in; default: none.
    pub bug: Option<EtcdBug>,
    /// The release of etcd that the members are.
    pub version: Version,
    /// For how long a token of a user is good without being used
    /// (`--auth-token-ttl`); default: 300 s.
    pub auth_token_ttl: Duration,
    /// Told of each fault as it takes effect.
    pub observer: Option<Observer>,
    /// Told of each change of leaders and of each lease that comes or goes.
    pub cluster_observer: Option<ClusterObserver>,
}

impl Options {
    /// The defaults for a plan.
    pub fn new(plan: Plan) -> Self {
        Options {
            executor: Executor::BEST,
            plan,
            messages_max: 2_000_000,
            polls_max: 10_000_000,
            timeout: None,
            bug: None,
            version: Version::default(),
            auth_token_ttl: AUTH_TOKEN_TTL,
            observer: None,
            cluster_observer: None,
        }
    }
}

/// Runs a simulation to the end of `body`, in a thread of its own.
///
/// # Errors
///
/// [`Panicked`] when `body` or a process of the run panics.
pub fn run<T, F, Fut>(options: Options, body: F) -> Result<T, Panicked>
where
    F: FnOnce(Simulation) -> Fut + Send + 'static,
    Fut: Future<Output = T>,
    T: Send + 'static,
{
    let seed = Stream::Schedule.seed(options.plan.seed);
    executor::block_on(options.executor, seed, move || async move {
        let simulation = Simulation::start(options);
        let _ending = Ending(simulation.clone());
        body(simulation).await
    })
}

/// Ends a run when it is dropped: lets go of what holds the run in turn, such as programs that
/// hold the simulation, and calls on their way that hold the network. Else no run would ever
/// be freed, and a sweep over many seeds would need ever more memory.
struct Ending(Simulation);

impl Drop for Ending {
    fn drop(&mut self) {
        // A run that panics may have left anything locked.
        if !std::thread::panicking() {
            // Programs may drop what asks the simulation.
            let programs = std::mem::take(&mut *self.0.processes());
            drop(programs);
            self.0.network().close();
            self.0.cluster().forget_listeners();
        }
    }
}

/// A running simulation. Cheap to clone; clones are the same run.
#[derive(Clone)]
pub struct Simulation {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    network: Network,
    cluster: Cluster,
    /// The first of its members.
    member: Member,
    processes: Mutex<BTreeMap<ClientId, Process>>,
    servers: Mutex<Vec<Server>>,
    in_force: Mutex<InForce>,
    healed: AtomicBool,
    /// Something happened that [`Simulation::settle`] or
    /// [`Simulation::healed`] waits for.
    progress: Notify,
}

/// A member's process.
#[derive(Clone, Copy, Default)]
struct Server {
    /// It was removed from the cluster: it ends, and does not come back.
    is_removed: bool,
    /// When it comes back, if it is down.
    starts_at: SimTime,
    paused_until: SimTime,
    /// Until when answers to its watches are split early.
    fragments_until: SimTime,
}

/// A client process.
struct Process {
    program: Program,
    node: Node,
    state: ProcessState,
    paused_until: SimTime,
}

impl Process {
    /// Whether it is at work, or will be again.
    fn is_awaited(&self) -> bool {
        matches!(
            self.state,
            ProcessState::Running | ProcessState::Dead { starts_at: Some(_) }
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessState {
    Running,
    Finished,
    /// Killed; some are started again.
    Dead {
        starts_at: Option<SimTime>,
    },
    /// Stopped because it was polled too often.
    BusyLoop,
}

type ProgramFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
type Program = Arc<dyn Fn(Incarnation) -> ProgramFuture + Send + Sync>;

/// One life of a client process: what its program is started with.
#[derive(Clone)]
pub struct Incarnation {
    simulation: Simulation,
    client: ClientId,
    number: u64,
    node: Node,
}

impl Incarnation {
    /// Which client this is.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// Which life of it: 1 for the first.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The run that it belongs to.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// A channel to the member that lives and dies with this process.
    pub fn channel(&self, options: ChannelOptions) -> Channel {
        Channel::new(
            self.simulation.shared.network.clone(),
            self.client,
            self.number,
            self.node.clone(),
            options,
        )
    }

    /// The ordinary etcd client, with the timeout that the run's clients have.
    ///
    /// # Errors
    ///
    /// Those of [`etcd_client::Client::from_channel`]; without a user name
    /// there are none.
    pub async fn connect(&self) -> Result<etcd_client::Client, etcd_client::Error> {
        let timeout = self.simulation.shared.options.timeout;
        let channel = self.channel(ChannelOptions { timeout });
        etcd_client::Client::from_channel(channel.into_etcd_channel(), None).await
    }
}

/// How the processes of a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// Every process that lived to the end has finished.
    Finished,
    /// After the faults had passed and the stated time had gone by, some had
    /// not finished.
    Stuck,
    /// A process or the network was in a busy loop.
    BusyLoop,
}

impl Simulation {
    pub(crate) fn start(options: Options) -> Self {
        let network = Network::new(NetworkOptions {
            seed: options.plan.seed,
            latency: options.plan.latency,
            members: options.plan.members,
            endpoints: options.plan.endpoints,
            messages_max: options.messages_max,
            observer: options.observer.clone(),
        });
        let store = StoreOptions {
            bug: options.bug,
            ..StoreOptions::default()
        };
        let cluster = Cluster::new(&ClusterOptions {
            members: options.plan.members,
            seed: Stream::Members.seed(options.plan.seed),
            latency: options.plan.latency,
            member: MemberOptions {
                store,
                version: options.version,
                auth_token_ttl: options.auth_token_ttl,
                ..MemberOptions::default()
            },
        });
        let servers = vec![Server::default(); cluster.len()];
        let simulation = Simulation {
            shared: Arc::new(Shared {
                options,
                network,
                member: cluster.member(0),
                cluster,
                processes: Mutex::default(),
                servers: Mutex::new(servers),
                in_force: Mutex::default(),
                healed: AtomicBool::new(false),
                progress: Notify::new(),
            }),
        };
        if let Some(observer) = &simulation.shared.options.cluster_observer {
            simulation.cluster().observe(Arc::clone(observer));
        }
        let shared = Arc::downgrade(&simulation.shared);
        simulation.cluster().when_removed(move |member| {
            if let Some(shared) = shared.upgrade() {
                injector::retire(&Simulation { shared }, member);
            }
        });
        for member in 0..simulation.cluster().len() {
            simulation.start_member(member);
        }
        injector::start(&simulation);
        simulation
    }

    /// A simulation to be set up: members, seeds, faults, limits.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The plan of this run.
    pub fn plan(&self) -> &Plan {
        &self.shared.options.plan
    }

    pub(crate) fn network(&self) -> &Network {
        &self.shared.network
    }

    /// The seed of this run.
    pub fn seed(&self) -> u64 {
        self.plan().seed
    }

    /// A generator for what the test draws itself: a function of the seed and of the
    /// number, and of nothing else. Give each client a number of its own.
    pub fn rng(&self, number: u64) -> ChaCha8Rng {
        let mut rng = Stream::Workload.rng(self.seed());
        rng.set_stream(number);
        rng
    }

    /// The simulated time since the start of the run.
    pub fn now(&self) -> SimTime {
        executor::now()
    }

    /// Waits for so much simulated time.
    pub async fn sleep(&self, duration: Duration) {
        executor::sleep(duration).await;
    }

    /// Waits until the simulated time `at`.
    pub async fn sleep_until(&self, at: SimTime) {
        executor::sleep_until(at).await;
    }

    /// The simulated etcd, to look into.
    pub fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    /// Its first member.
    pub fn member(&self) -> &Member {
        &self.shared.member
    }

    /// Has one more observer told of each fault, as it takes effect, from now on.
    pub fn observe(&self, observer: Observer) {
        self.shared.network.observe(observer);
    }

    /// What has happened on the wire so far.
    pub fn report(&self) -> NetworkReport {
        self.shared.network.report()
    }

    /// Starts a client process that runs `program`; a restart starts it anew.
    ///
    /// # Panics
    ///
    /// When there is such a client already.
    pub fn spawn<Fut>(
        &self,
        client: ClientId,
        program: impl Fn(Incarnation) -> Fut + Send + Sync + 'static,
    ) where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let program: Program = Arc::new(move |incarnation| Box::pin(program(incarnation)));
        let node = self.launch(client, &program);
        let process = Process {
            program,
            node,
            state: ProcessState::Running,
            paused_until: SimTime::ZERO,
        };
        let before = self.processes().insert(client, process);
        assert!(before.is_none(), "client {client} was started twice");
    }

    /// A client for code that runs outside every client process, such as the
    /// body of the run: nothing kills or pauses it.
    ///
    /// # Errors
    ///
    /// As [`Incarnation::connect`].
    ///
    /// # Panics
    ///
    /// When a process of that number exists.
    pub async fn client(
        &self,
        client: ClientId,
    ) -> Result<etcd_client::Client, etcd_client::Error> {
        assert!(
            !self.processes().contains_key(&client),
            "client {client} is a process of the run"
        );
        self.incarnation(client).connect().await
    }

    /// The channel of such a client, for a client that is built in another way.
    ///
    /// # Panics
    ///
    /// When a process of that number exists.
    pub fn channel(&self, client: ClientId, options: ChannelOptions) -> Channel {
        assert!(
            !self.processes().contains_key(&client),
            "client {client} is a process of the run"
        );
        self.incarnation(client).channel(options)
    }

    /// Waits until the last fault of the plan has passed and the network is
    /// whole again.
    pub async fn healed(&self) {
        loop {
            // Made before the state is looked at: it sees every change since.
            let progress = self.shared.progress.notified();
            if self.is_healed() {
                return;
            }
            progress.await;
        }
    }

    /// Whether the last fault of the plan has passed.
    pub fn is_healed(&self) -> bool {
        self.shared.healed.load(Ordering::Relaxed)
    }

    /// Waits until every process has finished, for no longer than `bound`
    /// after the network has healed.
    pub async fn settle(&self, bound: Duration) -> Settled {
        let finished = self.done();
        let limit = async {
            self.healed().await;
            executor::sleep(bound).await;
        };
        match futures_util::future::select(Box::pin(finished), Box::pin(limit)).await {
            futures_util::future::Either::Left((settled, _)) => settled,
            futures_util::future::Either::Right(_) if self.in_busy_loop() => Settled::BusyLoop,
            futures_util::future::Either::Right(_) => Settled::Stuck,
        }
    }

    /// The clients whose processes run.
    pub fn running(&self) -> Vec<ClientId> {
        let processes = self.processes();
        let running = processes
            .iter()
            .filter(|(_, process)| process.state == ProcessState::Running);
        running.map(|(client, _)| *client).collect()
    }

    /// Waits until every process is done, or one is in a busy loop.
    async fn done(&self) -> Settled {
        loop {
            let progress = self.shared.progress.notified();
            if self.in_busy_loop() {
                return Settled::BusyLoop;
            }
            if !self.processes().values().any(Process::is_awaited) {
                return Settled::Finished;
            }
            progress.await;
        }
    }

    fn in_busy_loop(&self) -> bool {
        let looping = |process: &Process| process.state == ProcessState::BusyLoop;
        self.shared.network.exhausted() || self.processes().values().any(looping)
    }

    fn incarnation(&self, client: ClientId) -> Incarnation {
        Incarnation {
            simulation: self.clone(),
            client,
            number: self.shared.network.new_incarnation(client),
            node: Node::new(&format!("client-{client}")),
        }
    }

    fn launch(&self, client: ClientId, program: &Program) -> Node {
        let incarnation = self.incarnation(client);
        let node = incarnation.node.clone();
        let simulation = self.clone();
        let budgeted = Budgeted {
            polls_left: self.shared.options.polls_max,
            future: program(incarnation),
        };
        node.spawn(async move {
            let state = match budgeted.await {
                Ok(()) => ProcessState::Finished,
                Err(BusyLoop) => ProcessState::BusyLoop,
            };
            simulation.set_state(client, state);
        });
        node
    }

    fn set_state(&self, client: ClientId, state: ProcessState) {
        if let Some(process) = self.processes().get_mut(&client) {
            process.state = state;
        }
        self.progressed();
    }

    fn progressed(&self) {
        self.shared.progress.notify_waiters();
    }

    fn start_member(&self, member: MemberId) {
        let node = Node::new(&format!("member-{member}"));
        let started = self.shared.cluster.member(member);
        started.start(&node);
        self.shared
            .network
            .member_up(member, node, started.router());
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Server>> {
        self.shared
            .servers
            .lock()
            .expect("nothing panics while it holds the list")
    }

    fn in_force(&self) -> MutexGuard<'_, InForce> {
        self.shared
            .in_force
            .lock()
            .expect("nothing panics while it holds the faults")
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<ClientId, Process>> {
        self.shared
            .processes
            .lock()
            .expect("nothing panics while it holds the processes")
    }
}

/// A program, or the body, whose polls are counted: one that is always ready to run again
/// would otherwise stop the clock, and the run with it.
struct Budgeted<F> {
    polls_left: u64,
    future: F,
}

struct BusyLoop;

impl<F: Future + Unpin> Future for Budgeted<F> {
    type Output = Result<F::Output, BusyLoop>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left == 0 {
            return Poll::Ready(Err(BusyLoop));
        }
        self.polls_left -= 1;
        Pin::new(&mut self.future).poll(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;
    use crate::fault::FaultKind;

    /// A run whose programs hold the simulation, and that ends while one still waits for an
    /// answer that is late, and another one for events.
    fn run_to_an_early_end(executor: Executor) -> (Weak<Shared>, Cluster) {
        let builder = Simulation::builder().executor(executor).members(3);
        let ended = builder.run(|simulation| async move {
            simulation.member().listen({
                let simulation = simulation.clone();
                move |_| assert!(simulation.now() >= SimTime::ZERO)
            });
            for client in 0..2 {
                let own = simulation.clone();
                simulation.spawn(client, move |incarnation| {
                    let own = own.clone();
                    async move {
                        let mut etcd = incarnation.connect().await.unwrap();
                        if client == 0 {
                            etcd.put("key", "value", None).await.unwrap();
                        } else {
                            let mut watch = etcd.watch("key", None).await.unwrap();
                            while watch.message().await.is_ok() {}
                        }
                        drop(own);
                        executor::sleep(Duration::from_secs(1)).await;
                    }
                });
            }
            simulation.strike(&FaultKind::HoldRequest {
                client: 0,
                by_ms: 60_000,
            });
            executor::sleep(Duration::from_millis(100)).await;
            (
                Arc::downgrade(&simulation.shared),
                simulation.cluster().clone(),
            )
        });
        ended.unwrap()
    }

    #[test]
    fn nothing_of_a_run_outlives_it() {
        for executor in [Executor::BEST, Executor::Tokio] {
            let (shared, cluster) = run_to_an_early_end(executor);
            assert!(
                shared.upgrade().is_none(),
                "the simulation on {}",
                executor.name()
            );
            assert_eq!(cluster.holders(), 1, "the cluster on {}", executor.name());
        }
    }
}
