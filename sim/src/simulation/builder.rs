//! A simulation, set up step by step.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::{Budgeted, BusyLoop, Ending, Options, Simulation};
use crate::bug::EtcdBug;
use crate::executor::{self, Executor, Panicked, Panics};
use crate::fault::ClientId;
use crate::harness::{
    Broken, Checked, Environment, Outcome, SavedPlan, Seeds, TestName, wrong_members,
};
use crate::network::{Endpoints, Observer};
use crate::plan::{Faults, Latency, Plan, Setting};
use crate::seed::Stream;
use crate::shrink::shrink;
use crate::sweep;

/// How long a run may take in simulated time, unless the test says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// A simulation that is being set up; begin with [`Simulation::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`members`](Builder::members) | 1 |
/// | [`seed`](Builder::seed), [`seeds`](Builder::seeds) | 0 alone |
/// | [`faults`](Builder::faults) | none |
/// | [`clients`](Builder::clients), [`lasts`](Builder::lasts): whom and when drawn faults strike | 1 client, before 10 s |
/// | [`latency`](Builder::latency) | none; with [`Faults::swarm`], drawn |
/// | [`endpoints`](Builder::endpoints) | all members; with [`Faults::swarm`], drawn |
/// | [`timeout`](Builder::timeout) of clients' calls | none |
/// | [`time_limit`](Builder::time_limit) | 10 minutes of simulated time |
/// | [`messages_max`](Builder::messages_max), [`polls_max`](Builder::polls_max) | two million, ten million |
/// | [`catches_panics`](Builder::catches_panics) | no: any panic fails the run |
/// | [`executor`](Builder::executor) | the most thorough of this build |
///
/// [`run`](Builder::run) runs it once and gives what the body gives;
/// [`check`](Builder::check) runs each seed, and makes a failing test of the first that
/// fails.
#[derive(Clone)]
pub struct Builder {
    setting: Setting,
    seeds: Seeds,
    faults: Faults,
    plan: Option<Plan>,
    executor: Option<Executor>,
    timeout: Option<Duration>,
    time_limit: Duration,
    messages_max: u64,
    polls_max: u64,
    bug: Option<EtcdBug>,
    observer: Option<Observer>,
    catches_panics: bool,
    test: Option<TestName>,
    folder: Option<PathBuf>,
}

/// Why a run counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The body, or a task of the run, panicked.
    #[error("panicked{}: {}", at(.0.location.as_deref()), .0.message)]
    Panicked(Panicked),
    /// The body returned an error; its text.
    #[error("returned an error: {0}")]
    Returned(String),
    /// The body had not ended after this much simulated time: something waits for what
    /// never comes.
    #[error(
        "had not ended after {0:?} of simulated time: it waits for something that never comes (Builder::time_limit)"
    )]
    TimeLimit(Duration),
    /// So many messages were sent, or the body or a client process was polled so often, that
    /// this is taken for a busy loop.
    #[error(
        "was in a busy loop: the body, a client process or the network did more than Builder::messages_max or Builder::polls_max allow"
    )]
    BusyLoop,
    /// It cannot be run at all.
    #[error("cannot be simulated: {0}")]
    Refused(String),
}

fn at(location: Option<&str>) -> String {
    location.map(|at| format!(" at {at}")).unwrap_or_default()
}

impl Failure {
    /// Whether another failure is the same mistake: the same line panicked, or the error
    /// begins with the same word.
    pub fn is_like(&self, other: &Failure) -> bool {
        match (self, other) {
            (Failure::Panicked(a), Failure::Panicked(b)) => match (&a.location, &b.location) {
                (Some(a), Some(b)) => a == b,
                _ => a.message == b.message,
            },
            (Failure::Returned(a), Failure::Returned(b)) => first_word(a) == first_word(b),
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }

    /// The text that a failing test ends with: that of its own panic, if it was one.
    fn into_message(self) -> String {
        match self {
            Failure::Panicked(panicked) => panicked.message,
            other => format!("the simulated test {other}"),
        }
    }
}

fn first_word(text: &str) -> &str {
    let ends = |letter: char| !letter.is_alphanumeric() && letter != '-' && letter != '_';
    text.split(ends)
        .find(|word| !word.is_empty())
        .unwrap_or_default()
}

/// How a run ended, on its own thread.
enum Ended<T> {
    Done(T),
    TimeLimit,
    BusyLoop,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            setting: Setting {
                members: 1,
                endpoints: None,
                latency: None,
                clients: 1,
                lasts: Duration::from_secs(10),
            },
            seeds: Seeds::one(0),
            faults: Faults::none(),
            plan: None,
            executor: None,
            timeout: None,
            time_limit: TIME_LIMIT,
            messages_max: 2_000_000,
            polls_max: 10_000_000,
            bug: None,
            observer: None,
            catches_panics: false,
            test: None,
            folder: None,
        }
    }

    /// How many members the cluster has: 1 to 5.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.setting.members = members;
        self
    }

    /// The one seed: everything that is not written down is drawn from it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seeds = Seeds::one(seed);
        self
    }

    /// The seeds that [`check`](Builder::check) runs, one after the other: so many from
    /// 0, or a range.
    #[must_use]
    pub fn seeds(mut self, seeds: impl Into<Seeds>) -> Self {
        self.seeds = seeds.into();
        self
    }

    /// Where the faults come from: nowhere, a list, rates, or the seed.
    #[must_use]
    pub fn faults(mut self, faults: impl Into<Faults>) -> Self {
        self.faults = faults.into();
        self
    }

    /// This plan and no other: instead of seeds, members, faults, latency and endpoints.
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = Some(plan);
        self
    }

    /// How many clients drawn faults strike: those numbered below.
    #[must_use]
    pub fn clients(mut self, clients: ClientId) -> Self {
        self.setting.clients = clients;
        self
    }

    /// About how long a run takes in simulated time: drawn faults strike before. A body
    /// that waits until the cluster has [healed](Simulation::healed) takes a little longer.
    #[must_use]
    pub fn lasts(mut self, lasts: Duration) -> Self {
        self.setting.lasts = lasts;
        self
    }

    /// How long each message takes, drawn from between these two.
    #[must_use]
    pub fn latency(mut self, min: Duration, max: Duration) -> Self {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        self.setting.latency = Some(Latency {
            min_us: micros(min),
            max_us: micros(max),
        });
        self
    }

    /// Which members clients know.
    #[must_use]
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.setting.endpoints = Some(endpoints);
        self
    }

    /// How long a call of a client may take until its response begins, as
    /// `etcd_client::ConnectOptions::with_timeout` says on a real connection. Without one,
    /// a call whose request is lost waits for ever, as it would there.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long a run may take in simulated time.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// A run that has sent more messages than this is in a busy loop.
    #[must_use]
    pub fn messages_max(mut self, messages: u64) -> Self {
        self.messages_max = messages;
        self
    }

    /// A body or a client process that was polled more often than this is in a busy loop.
    /// Tasks that they spawn are not counted.
    #[must_use]
    pub fn polls_max(mut self, polls: u64) -> Self {
        self.polls_max = polls;
        self
    }

    /// Whether the program catches panics, by `catch_unwind` or by looking at a
    /// `JoinError`: then only a panic fails the run that ends the body or a process.
    ///
    /// Otherwise any panic does, at once. When a task panics, nobody knows whether
    /// somebody will ask for its result: if nobody did, the test would pass although
    /// the service had broken. On madsim a panic of a spawned task ends the run either
    /// way; what `catch_unwind` catches does not.
    #[must_use]
    pub fn catches_panics(mut self, catches: bool) -> Self {
        self.catches_panics = catches;
        self
    }

    /// What it runs on.
    #[must_use]
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = Some(executor);
        self
    }

    /// A known bug of etcd's that is put in: to see that the test would notice it.
    #[must_use]
    pub fn bug(mut self, bug: EtcdBug) -> Self {
        self.bug = Some(bug);
        self
    }

    /// Told of each fault as it takes effect.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Which test this is, for the commands of its report.
    #[doc(hidden)]
    #[must_use]
    pub fn test(mut self, test: TestName) -> Self {
        self.test = Some(test);
        self
    }

    /// Where the plans of failing runs are saved; default: `etcd-sim` in cargo's target
    /// directory.
    #[must_use]
    pub fn save_plans_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// The plan of a seed.
    pub fn plan_of(&self, seed: u64) -> Plan {
        match &self.plan {
            Some(plan) => plan.clone(),
            None => self.faults.plan(seed, &self.setting),
        }
    }

    /// Runs it once, with the first of its seeds, in a thread of its own, and gives what
    /// the body gives. Looks at no environment variable.
    ///
    /// ```
    /// use etcd_sim::Simulation;
    ///
    /// let revision = Simulation::builder().members(3).seed(7).run(|simulation| async move {
    ///     let mut client = simulation.client(0).await.unwrap();
    ///     client.put("key", "value", None).await.unwrap().header().unwrap().revision()
    /// });
    /// assert_eq!(revision, Ok(2));
    /// ```
    ///
    /// # Errors
    ///
    /// [`Failure`] when the body panics, or the run does not end within its limits. What
    /// the body returns is passed on as it is.
    pub fn run<T, F, Fut>(&self, body: F) -> Result<T, Failure>
    where
        F: FnOnce(Simulation) -> Fut + Send + 'static,
        Fut: Future<Output = T>,
        T: Send + 'static,
    {
        self.refuse_nonsense()?;
        self.run_plan(self.plan_of(self.seeds.first()), Panics::Printed, body)
    }

    /// Runs each seed; the first that fails is shrunk and reported, and fails the test
    /// with the message of its own panic. See [`harness`](crate::harness) for that, and for
    /// the environment variables.
    ///
    /// ```
    /// use etcd_sim::{Faults, Simulation};
    ///
    /// let builder = Simulation::builder().members(3).seeds(5).faults(Faults::swarm());
    /// builder.check(|simulation| async move {
    ///     let mut client = simulation.client(0).await.unwrap();
    ///     simulation.healed().await;
    ///     client.put("key", "value", None).await.unwrap();
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// When a seed fails.
    pub fn check<F, Fut>(&self, body: F)
    where
        F: Fn(Simulation) -> Fut + Send + Sync + 'static,
        Fut: Future,
        Fut::Output: Outcome,
    {
        if let Err(broken) = self.try_check(body) {
            eprintln!("\n{broken}");
            // The panic itself was printed where it happened.
            std::panic::resume_unwind(Box::new(broken.failure.into_message()));
        }
    }

    /// The same for programs: prints nothing of its own.
    ///
    /// # Errors
    ///
    /// The first seed that failed.
    pub fn try_check<F, Fut>(&self, body: F) -> Result<Checked, Box<Broken>>
    where
        F: Fn(Simulation) -> Fut + Send + Sync + 'static,
        Fut: Future,
        Fut::Output: Outcome,
    {
        let body = Arc::new(move |simulation: Simulation| {
            let body = body(simulation);
            async move { body.await.error() }
        });
        let try_plan = |builder: &Builder, plan: &Plan, panics: Panics| {
            let body = Arc::clone(&body);
            match builder.run_plan(plan.clone(), panics, move |simulation| body(simulation)) {
                Ok(None) => None,
                Ok(Some(error)) => Some(Failure::Returned(error)),
                Err(failure) => Some(failure),
            }
        };
        let (builder, environment) = match self.with_environment() {
            Ok(both) => both,
            Err(refused) => return Err(Box::new(self.refused(refused))),
        };
        let plans: Vec<Plan> = match &builder.plan {
            Some(plan) => vec![plan.clone()],
            None => builder
                .seeds
                .iter()
                .map(|seed| builder.plan_of(seed))
                .collect(),
        };
        let (mut passed, mut failed) = (0, None);
        let run = |plan: &Plan| try_plan(&builder, plan, Panics::Printed);
        sweep::in_order(&plans, environment.jobs, run, |plan, failure| {
            passed += u64::from(failure.is_none());
            failed = failure.map(|failure| (plan.clone(), failure));
            failed.is_none()
        });
        let Some((plan, failure)) = failed else {
            return Ok(Checked { runs: passed });
        };
        let mut broken = builder.broken(plan, failure, passed);
        broken.is_replay = environment.plan.is_some();
        let fails = |candidate: &Plan| {
            let failure = try_plan(&builder, candidate, Panics::Silent);
            failure.is_some_and(|failure| failure.is_like(&broken.failure))
        };
        let runs_max = environment.shrink_runs();
        if !broken.is_replay && runs_max > 0 {
            let shrunk = fails(&broken.plan).then(|| shrink(&broken.plan, runs_max, fails));
            broken.shrink_runs = Some(1 + shrunk.as_ref().map_or(0, |shrunk| shrunk.runs));
            broken.is_cut_off = shrunk.as_ref().is_some_and(|shrunk| shrunk.is_cut_off);
            broken.shrunk = shrunk.map(|shrunk| shrunk.plan);
        }
        builder.save(&mut broken, environment.plan.is_some());
        Err(Box::new(broken))
    }

    fn run_plan<T, F, Fut>(&self, plan: Plan, panics: Panics, body: F) -> Result<T, Failure>
    where
        F: FnOnce(Simulation) -> Fut + Send + 'static,
        Fut: Future<Output = T>,
        T: Send + 'static,
    {
        let seed = Stream::Schedule.seed(plan.seed);
        let limit = self.time_limit;
        let options = Options {
            executor: self.executor.unwrap_or(Executor::BEST),
            messages_max: self.messages_max,
            polls_max: self.polls_max,
            timeout: self.timeout,
            bug: self.bug,
            observer: self.observer.clone(),
            ..Options::new(plan)
        };
        let (catches_panics, polls_max) = (self.catches_panics, self.polls_max);
        let ended = executor::block_on_with(options.executor, seed, panics, move || async move {
            if catches_panics {
                executor::panics_may_be_caught();
            }
            let simulation = Simulation::start(options);
            let _ending = Ending(simulation.clone());
            let body = Budgeted {
                polls_left: polls_max,
                future: pin!(body(simulation.clone())),
            };
            let limit = pin!(executor::sleep(limit));
            match select(body, limit).await {
                Either::Left((Ok(result), _)) => Ended::Done(result),
                Either::Left((Err(BusyLoop), _)) => Ended::BusyLoop,
                Either::Right(_) if simulation.in_busy_loop() => Ended::BusyLoop,
                Either::Right(_) => Ended::TimeLimit,
            }
        });
        match ended {
            Ok(Ended::Done(result)) => Ok(result),
            Ok(Ended::TimeLimit) => Err(Failure::TimeLimit(limit)),
            Ok(Ended::BusyLoop) => Err(Failure::BusyLoop),
            Err(panicked) => Err(Failure::Panicked(panicked)),
        }
    }

    /// The same with what the environment says.
    fn with_environment(&self) -> Result<(Builder, Environment), Failure> {
        let environment = Environment::read().map_err(Failure::Refused)?;
        let mut builder = self.clone();
        if let Some(seeds) = &environment.seeds {
            builder.seeds = seeds.clone();
        }
        if let Some(saved) = &environment.plan {
            builder.plan = Some(saved.plan.clone());
        }
        builder.executor = environment.executor.or(builder.executor);
        builder.refuse_nonsense()?;
        Ok((builder, environment))
    }

    /// Refuses what no run could be made of.
    fn refuse_nonsense(&self) -> Result<(), Failure> {
        let members = self
            .plan
            .as_ref()
            .map_or(self.setting.members, |plan| plan.members);
        if !(1..=5).contains(&members) {
            let what = format!("a cluster has 1 to 5 members, not {members}");
            return Err(Failure::Refused(what));
        }
        if self.seeds.is_empty() && self.plan.is_none() {
            let what = "there are no seeds to run: a check that cannot fail".to_owned();
            return Err(Failure::Refused(what));
        }
        if self.timeout == Some(Duration::ZERO) {
            let what = "a timeout of zero lets no call be answered: leave it out, or give \
                        calls the time that they have in production";
            return Err(Failure::Refused(what.to_owned()));
        }
        self.refuse_senseless_faults().map_err(Failure::Refused)
    }

    /// Faults that do not come, or cannot.
    fn refuse_senseless_faults(&self) -> Result<(), String> {
        if self.plan.is_none() {
            self.faults.check_sense(&self.setting)?;
        }
        // What is drawn makes sense for every seed or for none.
        let plan = self.plan_of(self.seeds.first());
        match wrong_members(&plan) {
            Some(wrong) => Err(wrong),
            None => plan.check_sense().map_err(|wrong| wrong.to_string()),
        }
    }

    fn broken(&self, plan: Plan, failure: Failure, passed: u64) -> Broken {
        Broken {
            drawn: match self.plan {
                Some(_) => None,
                None => self.faults.swarm_of(plan.seed, &self.setting),
            },
            failure,
            executor: self.executor.unwrap_or(Executor::BEST),
            plan,
            shrunk: None,
            saved: None,
            test: self.test.clone().unwrap_or_else(TestName::of_thread),
            passed,
            shrink_runs: None,
            is_cut_off: false,
            is_replay: false,
        }
    }

    fn refused(&self, failure: Failure) -> Broken {
        self.broken(Plan::quiet(self.seeds.first()), failure, 0)
    }

    /// Saves the smallest plan. One that is replayed stays where it is.
    fn save(&self, broken: &mut Broken, is_replay: bool) {
        if is_replay {
            broken.saved = std::env::var_os("ETCD_SIM_PLAN").map(PathBuf::from);
            return;
        }
        let Some(shrunk) = &broken.shrunk else { return };
        let saved = SavedPlan {
            test: broken.test.path().to_owned(),
            executor: broken.executor,
            plan: shrunk.clone(),
        };
        let folder = self.folder.clone().unwrap_or_else(default_folder);
        match saved.save(&folder) {
            Ok(path) => broken.saved = Some(path),
            Err(error) => tracing::warn!(%error, "the plan cannot be saved"),
        }
    }
}

/// `etcd-sim` in the target directory, which cargo marks with a file of a known name;
/// or in the working directory.
fn default_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let mut folders = program.ancestors().skip(1);
    let target = folders.find(|folder| folder.join("CACHEDIR.TAG").exists());
    target
        .map_or_else(PathBuf::new, PathBuf::from)
        .join("etcd-sim")
}
