//! Time, tasks and randomness, for whichever runtime the caller stands in.
//!
//! The recipes run unchanged on tokio and inside a [madsim] simulation. Where
//! they differ is decided at run time, by asking whether this thread is inside
//! a simulation; without `--cfg madsim` that question costs nothing and the
//! answer is always tokio. Code that uses the recipes and wants to be simulated
//! as well can use this module for itself.
//!
//! Outside a simulation, [`sleep`], [`timeout`] and [`spawn`] need a tokio
//! runtime with its timer enabled, and panic without one, as tokio does.
//!
//! [madsim]: https://docs.rs/madsim

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The time had run out before the future was done. See [`timeout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time ran out")]
pub struct Elapsed;

/// The current instant of the runtime: simulated time in a simulation, tokio's
/// (which can be paused) otherwise.
pub fn now() -> Instant {
    #[cfg(feature = "harness")]
    if let Some(shown) = clock::now() {
        return shown;
    }
    true_now()
}

fn true_now() -> Instant {
    #[cfg(madsim)]
    if in_simulation() {
        return simulated::now();
    }
    tokio::time::Instant::now().into_std()
}

/// Waits for `duration`. Both runtimes round up to a millisecond.
pub async fn sleep(duration: Duration) {
    #[cfg(feature = "harness")]
    let duration = clock::lasts(duration);
    #[cfg(madsim)]
    if in_simulation() {
        return simulated::sleep(duration).await;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the runtime module, and not in a simulation"
    )]
    tokio::time::sleep(duration).await;
}

/// Waits for `future` for at most `duration`, counted from the first poll.
///
/// The future is polled first, so one that is ready wins over a timer that has
/// run out too.
///
/// # Errors
///
/// [`Elapsed`] when the time ran out; the future is then dropped.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    match race(future, sleep(duration)).await {
        Either::Left(output) => Ok(output),
        Either::Right(()) => Err(Elapsed),
    }
}

/// Starts a task that lives no longer than the handle: dropping the [`Task`]
/// aborts it.
pub fn spawn<F>(future: F) -> Task
where
    F: Future<Output = ()> + Send + 'static,
{
    Task(start(future))
}

/// Starts a task that goes on until it is done.
pub(crate) fn spawn_detached<F>(future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    // Both kinds of handle leave the task alone when they are dropped.
    drop(start(future));
}

fn start<F>(future: F) -> Handle
where
    F: Future<Output = ()> + Send + 'static,
{
    #[cfg(feature = "harness")]
    let future = clock::inherited(poll_limit::limited(future));
    #[cfg(madsim)]
    if in_simulation() {
        return Handle::Simulated(madsim::task::spawn(future));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the runtime module, and not in a simulation"
    )]
    Handle::Tokio(tokio::spawn(future))
}

/// A task started by [`spawn`]. Dropping it aborts the task.
#[derive(Debug)]
#[must_use = "dropping the handle aborts the task"]
pub struct Task(Handle);

#[derive(Debug)]
enum Handle {
    Tokio(tokio::task::JoinHandle<()>),
    #[cfg(madsim)]
    Simulated(madsim::task::JoinHandle<()>),
}

impl Drop for Task {
    fn drop(&mut self) {
        match &self.0 {
            Handle::Tokio(handle) => handle.abort(),
            #[cfg(madsim)]
            Handle::Simulated(handle) => handle.abort(),
        }
    }
}

/// A random number: from the seed under [`seed_thread`], else from the
/// simulation's generator in a simulation, else from one that the operating
/// system seeded. Not for secrets.
pub fn random_u64() -> u64 {
    let seeded = SEEDED.with_borrow_mut(|seeded| seeded.as_mut().map(|s| s.random.u64(..)));
    if let Some(number) = seeded {
        return number;
    }
    #[cfg(madsim)]
    if in_simulation() {
        return madsim::rand::random();
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the runtime module, not in a simulation and not seeded"
    )]
    fastrand::u64(..)
}

/// `duration` with jitter: uniform between half of it and all of it, so that
/// clients that failed together do not come back together.
pub fn jittered(duration: Duration) -> Duration {
    let half = duration / 2;
    let span = u64::try_from(half.as_nanos())
        .unwrap_or(u64::MAX - 1)
        .saturating_add(1);
    half + Duration::from_nanos(random_u64() % span)
}

/// Nanoseconds since 1970 for a key that should be new: the wall clock (the
/// simulated one in a simulation, one derived from the seed under
/// [`seed_thread`]), with the part below a millisecond random, so that clients
/// whose clocks stand at the same instant rarely choose the same key.
pub(crate) fn unique_nanos() -> u64 {
    const MILLISECOND: u64 = 1_000_000;
    wall_clock_nanos() / MILLISECOND * MILLISECOND + random_u64() % MILLISECOND
}

fn wall_clock_nanos() -> u64 {
    let seeded = SEEDED.with_borrow_mut(|seeded| seeded.as_mut().map(Seeded::wall_clock_nanos));
    if let Some(nanos) = seeded {
        #[cfg(feature = "harness")]
        let nanos = clock::of_the_wall(nanos);
        return nanos;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the runtime module; madsim answers with simulated time"
    )]
    let now = std::time::SystemTime::now();
    // A clock before 1970 still gives a usable key.
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    #[cfg(feature = "harness")]
    let nanos = clock::of_the_wall(nanos);
    nanos
}

/// Takes randomness and the wall-clock part of generated keys on this thread
/// from `seed` until the guard is dropped.
///
/// With it, and on a current-thread tokio runtime with paused time, a run
/// depends on nothing but its seed: use one guard for one run, created on the
/// thread that runs it. Inside a madsim simulation it is not needed, because
/// there the simulation's own seed decides; where both exist, this one wins.
/// Guards do not nest: the latest one decides, and dropping any ends it.
///
/// ```
/// use etcd_recipes::runtime::{random_u64, seed_thread};
///
/// let first = {
///     let _seed = seed_thread(7);
///     random_u64()
/// };
/// let _seed = seed_thread(7);
/// assert_eq!(random_u64(), first);
/// ```
pub fn seed_thread(seed: u64) -> SeedGuard {
    SEEDED.set(Some(Seeded::new(seed)));
    SeedGuard(PhantomData)
}

/// Ends what [`seed_thread`] began.
#[derive(Debug)]
#[must_use = "dropping the guard ends the seeding"]
// Not Send: it belongs to its thread.
pub struct SeedGuard(PhantomData<*const ()>);

impl Drop for SeedGuard {
    fn drop(&mut self) {
        SEEDED.set(None);
    }
}

thread_local! {
    static SEEDED: RefCell<Option<Seeded>> = const { RefCell::new(None) };
}

struct Seeded {
    random: fastrand::Rng,
    /// The wall clock when it was first asked, and when that was. The first
    /// question decides, not the creation of the guard, because the guard may
    /// be older than the runtime whose time counts.
    wall_clock_start_nanos: u64,
    first_asked: Option<Instant>,
}

impl Seeded {
    fn new(seed: u64) -> Self {
        // 2022-01-01, plus up to a year.
        const BASE_NANOS: u64 = 1_640_995_200_000_000_000;
        const YEAR_NANOS: u64 = 31_536_000_000_000_000;
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            wall_clock_start_nanos: BASE_NANOS + random.u64(..YEAR_NANOS),
            random,
            first_asked: None,
        }
    }

    fn wall_clock_nanos(&mut self) -> u64 {
        let now = true_now();
        let start = *self.first_asked.get_or_insert(now);
        let elapsed = now.saturating_duration_since(start).as_nanos();
        self.wall_clock_start_nanos + u64::try_from(elapsed).unwrap_or(0)
    }
}

/// What [`race`] ended with.
#[derive(Debug)]
pub(crate) enum Either<L, R> {
    Left(L),
    Right(R),
}

/// The first of two futures to finish; the left one is always polled first, so
/// that the same schedule gives the same result. (`tokio::select!` draws the
/// order from a generator that the whole process shares.)
pub(crate) async fn race<L: Future, R: Future>(left: L, right: R) -> Either<L::Output, R::Output> {
    let mut left = pin!(left);
    let mut right = pin!(right);
    poll_fn(|cx| {
        if let Poll::Ready(output) = left.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(output));
        }
        right.as_mut().poll(cx).map(Either::Right)
    })
    .await
}

/// The clock that a simulated client's process reads, where it is not right: the
/// tasks of the process, and those that they start, see it instead of the true time.
#[cfg(feature = "harness")]
pub(crate) mod clock {
    use std::cell::RefCell;
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use etcd_sim::clock::Clock;
    use etcd_sim::executor::{self, SimTime};

    thread_local! {
        /// That of the process whose task is being polled.
        static CLOCK: RefCell<Option<Arc<Clock>>> = const { RefCell::new(None) };
    }

    /// Lets a task of a simulated process, and all that it spawns, read this clock.
    pub(crate) async fn read_by<F: Future>(clock: Option<Arc<Clock>>, task: F) -> F::Output {
        let mut task = pin!(task);
        poll_fn(|cx| {
            let before = CLOCK.replace(clock.clone());
            let polled = task.as_mut().poll(cx);
            CLOCK.set(before);
            polled
        })
        .await
    }

    /// The same with the clock of the task that is being polled.
    pub(super) fn inherited(
        task: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = ()> + Send {
        let clock = CLOCK.with_borrow(Clone::clone);
        async move {
            match clock {
                None => task.await,
                clock => read_by(clock, task).await,
            }
        }
    }

    fn read<T>(look: impl FnOnce(&Clock, SimTime) -> T) -> Option<T> {
        CLOCK.with_borrow(|clock| {
            let clock = clock.as_deref()?;
            Some(look(clock, executor::now()))
        })
    }

    pub(super) fn now() -> Option<Instant> {
        let (shown, now) = read(|clock, now| (clock.shows(now), now))?;
        let true_now = super::true_now();
        Some(true_now + shown.saturating_sub(now) - now.saturating_sub(shown))
    }

    /// How long it really takes until the clock has gone on by `duration`.
    pub(super) fn lasts(duration: Duration) -> Duration {
        let until = |clock: &Clock, now: SimTime| {
            clock.when(clock.shows(now) + duration).saturating_sub(now)
        };
        read(until).unwrap_or(duration)
    }

    /// What the clock of the wall shows when it is `nanos`.
    pub(super) fn of_the_wall(nanos: u64) -> u64 {
        let shown = |clock: &Clock, now: SimTime| {
            let start = nanos.saturating_sub(now.as_nanos());
            let set_back = u64::try_from(clock.set_back(now).as_nanos()).unwrap_or(u64::MAX);
            (start + clock.shows(now).as_nanos()).saturating_sub(set_back)
        };
        read(shown).unwrap_or(nanos)
    }
}

/// A limit to the polls of the tasks that [`spawn`] starts: in a simulation one
/// that is always ready to run again stops the clock, and the run with it.
#[cfg(feature = "harness")]
pub(crate) mod poll_limit {
    use std::cell::RefCell;
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Poll;

    thread_local! {
        static LEFT: RefCell<Option<Arc<AtomicU64>>> = const { RefCell::new(None) };
    }

    /// The limit of this thread, until it is dropped.
    pub(crate) struct PollLimit(Arc<AtomicU64>);

    /// Tasks that are spawned on this thread from now on are polled `polls`
    /// times in all, and then never again.
    pub(crate) fn set(polls: u64) -> PollLimit {
        let left = Arc::new(AtomicU64::new(polls));
        LEFT.set(Some(Arc::clone(&left)));
        PollLimit(left)
    }

    impl PollLimit {
        /// Whether all polls are used up.
        pub(crate) fn is_reached(&self) -> bool {
            self.0.load(Ordering::Relaxed) == 0
        }
    }

    impl Drop for PollLimit {
        fn drop(&mut self) {
            LEFT.set(None);
        }
    }

    pub(super) fn limited(
        future: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = ()> + Send {
        let left = LEFT.with_borrow(Clone::clone);
        async move {
            let mut future = pin!(future);
            poll_fn(|cx| match &left {
                Some(left) if !take_one(left) => Poll::Pending,
                _ => future.as_mut().poll(cx),
            })
            .await;
        }
    }

    /// Whether there was one left. Only one thread takes.
    fn take_one(left: &AtomicU64) -> bool {
        let before = left.load(Ordering::Relaxed);
        left.store(before.saturating_sub(1), Ordering::Relaxed);
        before > 0
    }
}

#[cfg(madsim)]
fn in_simulation() -> bool {
    madsim::time::TimeHandle::try_current().is_some()
}

#[cfg(madsim)]
mod simulated {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::{Poll, Waker};
    use std::time::{Duration, Instant};

    pub(super) fn now() -> Instant {
        madsim::time::TimeHandle::current().now_instant()
    }

    /// madsim adds one more timer at each poll of a `Sleep` and never takes one
    /// away, so this registers once for each waker.
    pub(super) async fn sleep(duration: Duration) {
        let mut sleep = pin!(madsim::time::sleep(duration));
        let mut registered: Option<Waker> = None;
        poll_fn(|cx| {
            let known = registered.as_ref().is_some_and(|w| w.will_wake(cx.waker()));
            if known && !sleep.is_elapsed() {
                return Poll::Pending;
            }
            registered = Some(cx.waker().clone());
            sleep.as_mut().poll(cx)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "harness")]
    #[test]
    fn a_simulated_process_and_its_tasks_read_a_clock_of_their_own() {
        use std::sync::Arc;

        use etcd_sim::clock::Clock;
        use etcd_sim::executor::{Executor, now as true_now};
        use etcd_sim::fault::{Fault, FaultKind};
        use etcd_sim::plan::Plan;
        use etcd_sim::simulation::{Options, run};

        async fn nap() -> (Duration, Duration) {
            let (start, true_start) = (now(), true_now());
            sleep(Duration::from_millis(100)).await;
            (now() - start, true_now().saturating_sub(true_start))
        }

        let kind = FaultKind::SkewClock {
            client: 0,
            permille: 2_000,
            for_ms: 10_000,
        };
        let plan = Plan {
            faults: vec![Fault { at_ms: 0, kind }],
            ..Plan::quiet(1)
        };
        for executor in [Executor::BEST, Executor::Tokio] {
            let options = Options {
                executor,
                ..Options::new(plan.clone())
            };
            let naps = run(options, |simulation| async move {
                let clock = Clock::of(simulation.plan(), 0).map(Arc::new);
                let spawned = async {
                    let (sender, receiver) = tokio::sync::oneshot::channel();
                    let task = spawn(async move {
                        let _ = sender.send(nap().await);
                    });
                    let slept = receiver.await.unwrap();
                    drop(task);
                    slept
                };
                let fast = clock::read_by(clock.clone(), nap()).await;
                let of_its_task = clock::read_by(clock, spawned).await;
                [fast, of_its_task, nap().await]
            });
            let [fast, of_its_task, right] = naps.unwrap();
            for (shown, took) in [fast, of_its_task] {
                assert!(shown >= Duration::from_millis(100) && shown < Duration::from_millis(104));
                assert!(took >= Duration::from_millis(50) && took < Duration::from_millis(52));
            }
            assert!(right.1 >= Duration::from_millis(100));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn timeout_prefers_a_ready_future_and_ends_a_slow_one() {
        assert_eq!(timeout(Duration::ZERO, async { 5 }).await, Ok(5));
        let start = now();
        let slow = timeout(Duration::from_secs(3), sleep(Duration::from_secs(9))).await;
        assert_eq!(slow, Err(Elapsed));
        assert_eq!(now() - start, Duration::from_secs(3));
    }

    #[tokio::test]
    async fn dropping_a_task_aborts_it() {
        let alive = std::sync::Arc::new(());
        let held = alive.clone();
        let task = spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(task);
        while std::sync::Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_seed_decides_randomness_and_generated_keys() {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let _seed = seed_thread(11);
            let first = unique_nanos();
            sleep(Duration::from_secs(2)).await;
            runs.push((random_u64(), first, unique_nanos()));
        }
        assert_eq!(runs[0], runs[1]);
        let gap = runs[0].2 - runs[0].1;
        assert!((1_999_000_000..=2_001_000_000).contains(&gap), "{gap}");
    }

    #[test]
    fn jitter_stays_between_half_and_whole() {
        let whole = Duration::from_millis(80);
        for _ in 0..1000 {
            let d = jittered(whole);
            assert!(whole / 2 <= d && d <= whole, "{d:?}");
        }
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
    }

    #[cfg(madsim)]
    #[test]
    fn in_a_simulation_time_and_randomness_are_simulated() {
        let run = |seed| {
            std::thread::spawn(move || {
                let runtime =
                    madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
                runtime.block_on(async {
                    let start = now();
                    let slow = timeout(Duration::from_secs(3), std::future::pending::<()>()).await;
                    assert_eq!(slow, Err(Elapsed));
                    assert!(now() - start >= Duration::from_secs(3));
                    (random_u64(), unique_nanos())
                })
            })
            .join()
            .unwrap()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
