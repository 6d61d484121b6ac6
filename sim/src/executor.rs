//! The executors that a simulated cluster runs on, behind one small face.
//!
//! | | madsim (`--cfg madsim`) | tokio |
//! |---|---|---|
//! | order of ready tasks | random, from the seed | the order in which they became ready |
//! | clock | nanoseconds, jumps to the next timer | paused tokio time, milliseconds |
//! | `tokio::spawn`, `tokio::time` in the program | panic | work |
//! | [`Node::kill`] | drops every task of the node | drops the tasks that were spawned through the node |
//! | [`Node::pause`] | freezes every task of the node | freezes the tasks that were spawned through the node |
//!
//! On both a timer fires no sooner than one millisecond after it was asked for.
//! On both a run uses one thread of its own, so that nothing that a thread
//! keeps leaks from one run into the next.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::ops::Add;
#[cfg(madsim)]
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
#[cfg(madsim)]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[cfg(madsim)]
use futures_util::FutureExt as _;

mod alarm;
#[cfg(madsim)]
mod madsim_sleep;
mod panics;
mod tokio_node;

pub(crate) use alarm::Alarm;

/// A point in simulated time: nanoseconds since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(u64);

impl SimTime {
    /// The start of the run.
    pub const ZERO: SimTime = SimTime(0);

    /// The time that lies `nanos` nanoseconds after the start of the run.
    pub const fn from_nanos(nanos: u64) -> Self {
        SimTime(nanos)
    }

    /// The time that lies `millis` milliseconds after the start of the run.
    pub const fn from_millis(millis: u64) -> Self {
        SimTime(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start of the run.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn saturating_sub(self, earlier: SimTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for SimTime {
    type Output = SimTime;

    fn add(self, duration: Duration) -> SimTime {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        SimTime(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} s", self.0 as f64 / 1e9)
    }
}

/// Which executor a run uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Executor {
    /// The deterministic executor madsim: random interleavings, a clock in
    /// nanoseconds, killed and paused nodes. Needs `--cfg madsim`.
    #[cfg(madsim)]
    Madsim,
    /// A tokio current-thread runtime with paused time.
    Tokio,
}

impl Executor {
    /// The most thorough executor of this build: madsim where it is compiled
    /// in, tokio elsewhere.
    #[cfg(madsim)]
    pub const BEST: Executor = Executor::Madsim;
    /// The most thorough executor of this build: madsim where it is compiled
    /// in, tokio elsewhere.
    #[cfg(not(madsim))]
    pub const BEST: Executor = Executor::Tokio;

    /// The executor of this name, if this build has it.
    pub fn find(name: &str) -> Option<Executor> {
        let all = [Executor::BEST, Executor::Tokio];
        all.into_iter().find(|executor| executor.name() == name)
    }

    /// The name that reports print.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(madsim)]
            Executor::Madsim => "madsim",
            Executor::Tokio => "tokio",
        }
    }

    /// What to say when the program calls tokio, and tokio is not there.
    fn advice(self) -> Option<&'static str> {
        match self {
            #[cfg(madsim)]
            Executor::Madsim => Some(WITHOUT_TOKIO),
            Executor::Tokio => None,
        }
    }
}

/// Tokio's tasks and timers are not simulated, those of `madsim-tokio` are.
#[cfg(madsim)]
const WITHOUT_TOKIO: &str =
    "the program calls tokio on madsim: depend on `madsim-tokio` under the name `tokio`";

/// What the current thread runs on.
#[derive(Clone)]
enum Clock {
    #[cfg(madsim)]
    Madsim(madsim::time::TimeHandle),
    Tokio(tokio::time::Instant),
}

impl Clock {
    /// A point in time as tokio counts it, where that is what the thread runs on.
    fn on_tokio(&self, at: SimTime) -> Option<tokio::time::Instant> {
        match self {
            #[cfg(madsim)]
            Clock::Madsim(_) => None,
            Clock::Tokio(start) => Some(*start + Duration::from_nanos(at.0)),
        }
    }
}

thread_local! {
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
    /// The machines of the run.
    #[cfg(madsim)]
    static NODES: RefCell<Vec<Node>> = const { RefCell::new(Vec::new()) };
}

/// Why a run ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulated program panicked: {message}")]
pub struct Panicked {
    /// The text of the panic.
    pub message: String,
    /// The line that panicked, `src/lib.rs:12:5`, where it is known.
    pub location: Option<String>,
}

/// Runs `body` to its end in a thread of its own, under `executor`.
///
/// # Errors
///
/// [`Panicked`] when `body` or any task of the run panics. On madsim that includes
/// a run in which every task waits for ever.
pub fn block_on<T, F, Fut>(executor: Executor, seed: u64, body: F) -> Result<T, Panicked>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T>,
    T: Send + 'static,
{
    block_on_with(executor, seed, Panics::Printed, body)
}

/// From now on, panics that the program of this run catches do not fail it.
pub(crate) fn panics_may_be_caught() {
    panics::may_be_caught();
}

/// What becomes of the message of a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Panics {
    /// It is printed, as everywhere.
    Printed,
    /// It is not: the same panic was seen before.
    Silent,
}

pub(crate) fn block_on_with<T, F, Fut>(
    executor: Executor,
    seed: u64,
    panics: Panics,
    body: F,
) -> Result<T, Panicked>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T>,
    T: Send + 'static,
{
    panics::watch();
    let thread = std::thread::Builder::new()
        .name(format!("simulation-{seed}"))
        .spawn(move || {
            panics::enter(panics, executor.advice());
            let run = std::panic::AssertUnwindSafe(|| match executor {
                #[cfg(madsim)]
                Executor::Madsim => madsim_block_on(seed, body),
                Executor::Tokio => tokio_block_on(seed, body),
            });
            std::panic::catch_unwind(run)
                .unwrap_or_else(|payload| Err(panics::panicked(payload.as_ref())))
        })
        .expect("the operating system gives a thread");
    thread.join().unwrap_or_else(|payload| {
        Err(Panicked {
            message: panics::message(payload.as_ref()),
            location: None,
        })
    })
}

#[cfg(madsim)]
fn madsim_block_on<T, F, Fut>(seed: u64, body: F) -> Result<T, Panicked>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    let runtime = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
    let run = || {
        runtime.block_on(async move {
            let clock = Clock::Madsim(madsim::time::TimeHandle::current());
            CLOCK.with_borrow_mut(|current| *current = Some(clock));
            let result = panics::until_panic(body()).await;
            kill_all_nodes();
            result
        })
    };
    seeded_thread(seed, run)
}

/// Drops the tasks of all machines: madsim does so for those that it knows to be killed, and
/// else leaves alone what waits for ever. Many wait for what they hold themselves, and would
/// never be freed.
#[cfg(madsim)]
fn kill_all_nodes() {
    let nodes = NODES.take();
    nodes.iter().for_each(Node::kill);
}

/// The same for a thread on which no tokio runtime runs: `tokio::select!` draws from
/// the generator of the runtime that the thread has entered.
#[cfg(all(madsim, tokio_unstable))]
fn seeded_thread<T>(seed: u64, run: impl FnOnce() -> T) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.on_task_spawn(|_| panic!("{WITHOUT_TOKIO}"));
    seeded_select(&mut builder, seed);
    let runtime = builder
        .build()
        .expect("a tokio runtime without drivers can always be built");
    // One poll is the whole run. Tokio lets one poll do 128 operations on its channels and
    // locks, and then says that they are not ready. What yields is woken when the runtime has
    // time, which is never; but one that is entered by its handle alone does so at once.
    let run = tokio::task::unconstrained(async { run() });
    runtime.handle().block_on(run)
}

#[cfg(all(madsim, not(tokio_unstable)))]
fn seeded_thread<T>(_: u64, run: impl FnOnce() -> T) -> T {
    run()
}

fn tokio_block_on<T, F, Fut>(seed: u64, body: F) -> Result<T, Panicked>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    seeded_select(&mut builder, seed);
    let runtime = builder
        .build()
        .expect("a tokio runtime without I/O can always be built");
    on_tokio(&runtime, body)
}

/// Runs `body` to its end in a thread of its own, on tokio, in real time and
/// with sockets: no simulation, but the same cluster.
///
/// # Errors
///
/// [`Panicked`] when `body`, or a task that it spawned through a [`Node`],
/// panics.
pub(crate) fn block_on_real_time<T, F, Fut>(body: F) -> Result<T, Panicked>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T>,
    T: Send + 'static,
{
    let thread = std::thread::Builder::new()
        .name("cluster".to_owned())
        .spawn(move || {
            // One thread: the clock belongs to it.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("the operating system gives what a runtime needs");
            on_tokio(&runtime, body)
        })
        .expect("the operating system gives a thread");
    match thread.join() {
        Ok(result) => result,
        Err(payload) => Err(Panicked {
            message: panics::message(payload.as_ref()),
            location: None,
        }),
    }
}

fn on_tokio<T, F, Fut>(runtime: &tokio::runtime::Runtime, body: F) -> Result<T, Panicked>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    runtime.block_on(async move {
        let clock = Clock::Tokio(tokio::time::Instant::now());
        CLOCK.with_borrow_mut(|current| *current = Some(clock));
        panics::until_panic(body()).await
    })
}

/// `tokio::select!` draws which branch it looks at first. Where tokio offers it
/// (`--cfg tokio_unstable`), that comes from the seed.
#[cfg(tokio_unstable)]
fn seeded_select(builder: &mut tokio::runtime::Builder, seed: u64) {
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
}

#[cfg(not(tokio_unstable))]
fn seeded_select(_: &mut tokio::runtime::Builder, _: u64) {}

fn with_clock<T>(f: impl FnOnce(&Clock) -> T) -> T {
    CLOCK.with_borrow(|clock| {
        f(clock
            .as_ref()
            .expect("simulated time is asked for inside a simulation"))
    })
}

/// The current simulated time.
///
/// # Panics
///
/// Outside a simulation.
pub fn now() -> SimTime {
    with_clock(|clock| {
        let elapsed = match clock {
            #[cfg(madsim)]
            Clock::Madsim(time) => time.elapsed(),
            Clock::Tokio(start) => start.elapsed(),
        };
        SimTime(u64::try_from(elapsed.as_nanos()).expect("a run is shorter than 500 years"))
    })
}

/// A future that waits for a point in simulated time.
pub(crate) enum Sleep {
    #[cfg(madsim)]
    Madsim(madsim_sleep::MadsimSleep),
    Tokio(std::pin::Pin<Box<tokio::time::Sleep>>),
}

impl Future for Sleep {
    type Output = ();

    fn poll(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        match self.get_mut() {
            #[cfg(madsim)]
            Sleep::Madsim(sleep) => std::pin::Pin::new(sleep).poll(context),
            Sleep::Tokio(sleep) => sleep.as_mut().poll(context),
        }
    }
}

impl Sleep {
    /// Waits for another time from now on.
    fn reset(&mut self, at: SimTime) {
        match self {
            #[cfg(madsim)]
            // Nothing of madsim's timers can be taken back or used again.
            Sleep::Madsim(_) => *self = timer(at),
            Sleep::Tokio(sleep) => {
                if let Some(deadline) = with_clock(|clock| clock.on_tokio(at)) {
                    sleep.as_mut().reset(deadline);
                }
            }
        }
    }
}

/// A timer for the time `at`.
pub(crate) fn timer(at: SimTime) -> Sleep {
    with_clock(|clock| match clock {
        #[cfg(madsim)]
        Clock::Madsim(time) => {
            let wait = Duration::from_nanos(at.0).saturating_sub(time.elapsed());
            Sleep::Madsim(madsim_sleep::MadsimSleep::new(time.sleep(wait)))
        }
        Clock::Tokio(start) => Sleep::Tokio(Box::pin(sleep_on_tokio(
            *start + Duration::from_nanos(at.0),
        ))),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the module that the others ask"
)]
fn sleep_on_tokio(deadline: tokio::time::Instant) -> tokio::time::Sleep {
    tokio::time::sleep_until(deadline)
}

/// Waits for `duration` of simulated time.
///
/// # Panics
///
/// Outside a simulation.
pub async fn sleep(duration: Duration) {
    sleep_until(now() + duration).await;
}

/// Waits until the simulated time `at`; returns at once when it has passed.
///
/// # Panics
///
/// Outside a simulation.
pub async fn sleep_until(at: SimTime) {
    if at > now() {
        timer(at).await;
    }
}

/// A simulated machine: the tasks of one process, which can be killed, paused
/// and started anew together.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

enum Inner {
    #[cfg(madsim)]
    Madsim(MadsimNode),
    Tokio(tokio_node::TokioNode),
}

#[cfg(madsim)]
struct MadsimNode {
    runtime: madsim::runtime::Handle,
    node: madsim::runtime::NodeHandle,
    killed: AtomicBool,
}

impl Node {
    /// A new machine without tasks.
    ///
    /// # Panics
    ///
    /// Outside a simulation.
    pub fn new(name: &str) -> Node {
        let inner = with_clock(|clock| match clock {
            #[cfg(madsim)]
            Clock::Madsim(_) => {
                let runtime = madsim::runtime::Handle::current();
                let node = runtime.create_node().name(name).build();
                Inner::Madsim(MadsimNode {
                    runtime,
                    node,
                    killed: false.into(),
                })
            }
            Clock::Tokio(_) => Inner::Tokio(tokio_node::TokioNode::new(name)),
        });
        let node = Node {
            inner: Arc::new(inner),
        };
        #[cfg(madsim)]
        if let Inner::Madsim(_) = &*node.inner {
            NODES.with_borrow_mut(|nodes| nodes.push(node.clone()));
        }
        node
    }

    /// Starts a task on this machine. On a killed machine it never runs.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match &*self.inner {
            #[cfg(madsim)]
            Inner::Madsim(madsim) => {
                if !madsim.killed.load(Ordering::Relaxed) {
                    // Caught: madsim would print a line of its own for each.
                    let caught = AssertUnwindSafe(future).catch_unwind();
                    drop(madsim.node.spawn(caught.map(|ended| {
                        if let Err(payload) = ended {
                            panics::report(payload.as_ref());
                        }
                    })));
                }
            }
            Inner::Tokio(node) => node.spawn(future),
        }
    }

    /// Drops every task of this machine; it never runs one again.
    pub fn kill(&self) {
        match &*self.inner {
            #[cfg(madsim)]
            Inner::Madsim(madsim) => {
                madsim.killed.store(true, Ordering::Relaxed);
                madsim.runtime.kill(madsim.node.id());
            }
            Inner::Tokio(node) => node.kill(),
        }
    }

    /// Freezes every task of this machine. Time runs on.
    pub fn pause(&self) {
        match &*self.inner {
            #[cfg(madsim)]
            Inner::Madsim(madsim) => madsim.runtime.pause(madsim.node.id()),
            Inner::Tokio(node) => node.pause(),
        }
    }

    /// Ends a [`pause`](Node::pause).
    pub fn resume(&self) {
        match &*self.inner {
            #[cfg(madsim)]
            Inner::Madsim(madsim) => madsim.runtime.resume(madsim.node.id()),
            Inner::Tokio(node) => node.resume(),
        }
    }
}
