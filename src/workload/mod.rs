//! Workloads: what clients do with a recipe, and which checker judges it.
//!
//! A workload runs unchanged in the simulation and on a real cluster. It sees a
//! [`Stage`], on which it starts clients, and an [`Actor`] per client, which
//! records what the client does. Everything that is promised is decided
//! afterwards, from the recorded history alone.
//!
//! | workload | clients | judged by |
//! |---|---|---|
//! | [`queue`] | producers and blocking consumers, then a drain | FIFO linearizability, nothing lost, nothing twice |
//! | [`priority_queue`] | the same with priorities, beside queues of similar names | strict linearizability: the best at that moment, ties in order |
//! | [`reliable_queue`] | consumers that claim, die, give back or acknowledge | nothing lost, nothing acknowledged twice, nothing in two hands |
//! | [`bank`] | transfers by STM and reads of all accounts | strict serializability, the total never changes |
//! | [`mutex`] | critical sections under locks, leases that end | one holder at a time while its lease lives, fences that hold |
//! | [`rw_lock`] | readers and writers, leases that end | the same, with one writer or any number of readers |
//! | [`stm`] | random transactions at each isolation level | the level that is promised: opacity, strict serializability, or read committed |
//! | [`election`] | candidates that lead in turn, by hand or through `run`, and observers | one leader per term, seen by all in one order |
//! | [`barrier`] | holders with and without leases, waiters | no wait returns while the barrier stands, none is left behind |
//! | [`double_barrier`] | participants that enter and leave under one name | rounds are complete, end together and do not overlap |
//! | [`cyclic_barrier`] | participants that wait for each other, die and give up | rounds are complete and in order |
//! | [`kv`] | etcd's plain requests, without a recipe | linearizable by revision, leases that keep their time, states of old revisions |
//! | [`watch`] | watches that are dropped and taken up again | every change, in order, once, whole, and as it happened |
//!
//! A workload of your own, for a service of your own: [`custom`].
//!
//! Each workload has *broken twins*: the same work on a recipe with a typical
//! mistake put in. A checker that lets one pass proves nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use etcd_checker::Model;
use etcd_checker::history::Json;

pub mod bank;
pub mod barrier;
mod beside;
pub mod custom;
pub mod cyclic_barrier;
pub mod double_barrier;
pub mod election;
mod etcd;
mod items;
pub mod kv;
mod locks;
pub mod mutex;
mod parameters;
pub mod priority_queue;
pub mod queue;
pub mod reliable_queue;
pub mod rw_lock;
mod stage;
pub mod stm;
pub mod watch;

pub use parameters::{Parameter, Parameters, Value, WrongParameter};
pub use stage::{Actor, Connect, OpenOperation, Stage};
pub(crate) use stage::{Environment, Live, StageOptions};

/// How long open operations may take once every fault has passed. Well above
/// every deadline and lease of the recipes.
pub const LIVENESS_BOUND: Duration = Duration::from_secs(60);

/// How a workload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every client finished.
    Finished,
    /// Some client had not finished [`LIVENESS_BOUND`] after the last fault.
    Stuck,
    /// A client or the network was in a busy loop.
    BusyLoop,
}

/// The future that a workload runs as.
pub type Running = Pin<Box<dyn Future<Output = Result<Ended, crate::Error>> + Send>>;

/// What clients do with a recipe.
pub trait Workload: Send + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// One line for people.
    fn about(&self) -> &'static str;

    /// What judges the history.
    fn model(&self) -> Model;

    /// The numbers that size a run.
    fn parameters(&self) -> &'static [Parameter];

    /// The names of a parameter's values, from 0, where they stand for something
    /// that is no number; none for numbers.
    fn choices(&self, parameter: &str) -> &'static [&'static str] {
        let _ = parameter;
        &[]
    }

    /// The broken twins.
    fn bugs(&self) -> &'static [Bug];

    /// What the history's header tells the checker: the parameters, and what
    /// else the model wants to know.
    fn header_parameters(&self, parameters: &Parameters) -> Json {
        Json::new(parameters).expect("numbers have a JSON form")
    }

    /// How many clients a run with these parameters starts, numbered from 0.
    fn clients(&self, parameters: &Parameters) -> u32;

    /// Whether clients open watches. Of those that do not, none can break.
    fn has_watches(&self) -> bool {
        true
    }

    /// About how long a run takes without faults, in milliseconds: faults are
    /// drawn to strike before.
    fn lasts_ms(&self, parameters: &Parameters) -> u64;

    /// What the keys of a run on a real cluster begin with when the run is given
    /// this prefix.
    fn prefixes(&self, prefix: &str) -> Vec<String> {
        vec![prefix.to_owned()]
    }

    /// Runs it: starts the clients, waits for them, winds up.
    ///
    /// # Errors
    ///
    /// That of the recipe when the cluster cannot be used at all.
    fn run(&self, stage: Stage, parameters: Parameters) -> Running;
}

/// A mistake that can be put into a recipe, or into the simulated etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// The name on the command line.
    pub name: &'static str,
    /// What is wrong with it, in one line.
    pub about: &'static str,
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All workloads, in the order in which reports list them.
pub fn all() -> [&'static dyn Workload; ALL.len()] {
    let mut all = [ALL[0]; ALL.len()];
    all.copy_from_slice(ALL);
    all
}

const ALL: &[&dyn Workload] = &[
    &queue::QueueWorkload,
    &priority_queue::PriorityQueueWorkload,
    &reliable_queue::ReliableQueueWorkload,
    &bank::BankWorkload,
    &mutex::MutexWorkload,
    &rw_lock::RwLockWorkload,
    &stm::StmWorkload,
    &election::ElectionWorkload,
    &barrier::BarrierWorkload,
    &double_barrier::DoubleBarrierWorkload,
    &cyclic_barrier::CyclicBarrierWorkload,
    &kv::KvWorkload,
    &watch::WatchWorkload,
];

/// The workload of this name.
pub fn find(name: &str) -> Option<&'static dyn Workload> {
    all().into_iter().find(|workload| workload.name() == name)
}

/// The bug of this name, and the workload that has it.
pub fn find_bug(name: &str) -> Option<(&'static dyn Workload, Bug)> {
    all().into_iter().find_map(|workload| {
        let bug = workload.bugs().iter().find(|bug| bug.name == name)?;
        Some((workload, *bug))
    })
}

/// The parameters of a workload with their values on a real cluster.
pub fn live_parameters(workload: &dyn Workload) -> Parameters {
    let values: BTreeMap<String, u64> = workload
        .parameters()
        .iter()
        .map(|parameter| (parameter.name.to_owned(), parameter.live))
        .collect();
    Parameters::from_values(values)
}
