//! A workload of your own: what clients of *your* service do, recorded, and judged by a
//! checker.
//!
//! The simplest test of a service asserts what it sees. When several clients work at the
//! same time and answers get lost, it is easier to record what everybody saw, and to ask
//! afterwards whether that history can be explained. A [`Workload`] says what is set up,
//! what one step of a client is, and what judges the history; [`play`] runs it in a
//! simulation. Seeds, faults, shrinking, replay are those of [`etcd_sim::test`]; faults and
//! the ends of killed clients stand in the history.
//!
//! ```
//! use etcd_checker::history::Evidence;
//! use etcd_checker::{HistoryError, Model, Verdict, history::History};
//! use etcd_recipes::workload::Actor;
//! use etcd_recipes::workload::custom::{Broken, Next, Workload, play};
//! use etcd_sim::{Faults, Simulation};
//! use rand::RngExt as _;
//! use std::time::Duration;
//!
//! /// Clients read and write one register: a key of etcd.
//! struct Register;
//!
//! impl Workload for Register {
//!     fn name(&self) -> &'static str {
//!         "register"
//!     }
//!
//!     fn clients(&self) -> u32 {
//!         3
//!     }
//!
//!     async fn step(&self, actor: &mut Actor, step: u64) -> Next {
//!         let mut etcd = actor.etcd().clone();
//!         if actor.rng().random_bool(0.5) {
//!             let value = u64::from(actor.client()) * 1_000 + step;
//!             let write = actor.invoke("write", value);
//!             match etcd.put("register", value.to_string(), None).await {
//!                 Ok(_) => write.ok(value, Evidence::NONE),
//!                 Err(error) => write.ended_with(&error),
//!             }
//!         } else {
//!             let read = actor.invoke("read", ());
//!             match etcd.get("register", None).await {
//!                 Ok(answer) => {
//!                     let value = answer.kvs().first().map(|kv| kv.value_str().unwrap().to_owned());
//!                     read.ok(value, Evidence::NONE);
//!                 }
//!                 Err(error) => read.ended_with(&error),
//!             }
//!         }
//!         actor.think(50).await;
//!         Next::after(step, 20)
//!     }
//!
//!     fn check(&self, history: &History) -> Result<Verdict, HistoryError> {
//!         etcd_checker::check(history, Model::Register)
//!     }
//! }
//!
//! // In a test: #[etcd_sim::test(seeds = 10, members = 3, clients = 3, ..)]
//! let builder = Simulation::builder().seeds(10).members(3).clients(3);
//! let builder = builder.faults(Faults::swarm()).timeout(Duration::from_secs(1));
//! builder.check(|simulation| play(simulation, Register));
//! ```
//!
//! `ETCD_SIM_HISTORY=history.jsonl`, beside `ETCD_SIM_SEED` or `ETCD_SIM_PLAN`, saves what
//! the clients saw, for `etcd-recipes check` and for reading.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_checker::history::{Header, History, Json, Recorder, Source};
use etcd_checker::{HistoryError, Verdict};
use etcd_sim::Simulation;

use super::{Actor, Ended, Environment, Stage, StageOptions};
use crate::campaign::simulate::{cluster_observer, observer, take_history};
use crate::runtime::{self, seed_thread};

/// What clients of a service do, and what judges it.
///
/// Only [`name`](Workload::name), [`clients`](Workload::clients), [`step`](Workload::step)
/// and [`check`](Workload::check) must be given.
pub trait Workload: Send + Sync + 'static {
    /// Its name in the history's header.
    fn name(&self) -> &'static str;

    /// The name of the model in the history's header, by which `etcd-recipes check` judges
    /// a saved history. Default: the workload's name.
    fn model_name(&self) -> &'static str {
        self.name()
    }

    /// How many clients there are, numbered from 0. Each is a process of its own, which
    /// faults pause, kill and start again; tell the simulation's builder the same number.
    fn clients(&self) -> u32;

    /// Done once, before any client starts, by an actor of its own. Faults may strike
    /// already, but not this actor: what does not work is tried again here.
    fn set_up(&self, actor: &mut Actor) -> impl Future<Output = ()> + Send {
        let _ = actor;
        std::future::ready(())
    }

    /// One step of one client: usually one operation, recorded with [`Actor::invoke`].
    /// Steps are counted from 0, anew in each life of the client.
    fn step(&self, actor: &mut Actor, step: u64) -> impl Future<Output = Next> + Send;

    /// Done once, when all clients are done and all faults have passed, by the actor of
    /// [`set_up`](Workload::set_up): a last look, recorded too.
    fn wind_up(&self, actor: &mut Actor) -> impl Future<Output = ()> + Send {
        let _ = actor;
        std::future::ready(())
    }

    /// What the history's header tells the checker; see the
    /// [models](etcd_checker::Model). Default: nothing.
    fn header_parameters(&self) -> Json {
        Json::new(&std::collections::BTreeMap::<String, u64>::new())
            .expect("an empty object has a JSON form")
    }

    /// Judges what all clients saw, most often with [`etcd_checker::check`].
    ///
    /// # Errors
    ///
    /// When the history contradicts itself, or is none of the checker's model: a mistake
    /// of the workload.
    fn check(&self, history: &History) -> Result<Verdict, HistoryError>;
}

/// What a client does after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another step.
    Step,
    /// Nothing more.
    Done,
}

impl Next {
    /// Another step, unless that was the last of so many.
    pub fn after(step: u64, steps: u64) -> Next {
        if step + 1 < steps {
            Next::Step
        } else {
            Next::Done
        }
    }
}

/// What a run gave.
#[derive(Debug)]
pub struct Played {
    /// What the clients saw.
    pub history: History,
    /// What the checker says about it.
    pub verdict: Verdict,
}

/// Why a run counts as failed. Its text begins with the name of the violation.
pub enum Broken {
    /// The promise is broken, or some client never finished.
    Violation(Box<Played>),
    /// The checker ran out of its budget.
    Undecided(Box<Played>),
    /// The recorded history contradicts itself, or is none of the checker's model.
    History(HistoryError),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Violation(played) => match played.verdict.violation() {
                Some(violation) => write!(f, "{}: {violation}", violation.kind.name),
                None => write!(f, "{}", played.verdict),
            },
            Broken::Undecided(played) => write!(f, "undecided: {}", played.verdict),
            Broken::History(error) => write!(f, "history: cannot be checked: {error}"),
        }
    }
}

/// The same text: test runners print errors so.
impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Broken {}

/// Runs a workload in a simulation, to its end, and has its history judged.
///
/// Clients have finished, or the last fault has passed and no operation has succeeded for
/// [`LIVENESS_BOUND`](super::LIVENESS_BOUND): then the history says so
/// ([`LIVENESS_DEADLINE`](etcd_checker::history::LIVENESS_DEADLINE)), and checkers make a
/// liveness violation of what is still open.
///
/// # Errors
///
/// [`Broken`] unless the verdict is valid.
pub async fn play<W: Workload>(simulation: Simulation, workload: W) -> Result<Played, Broken> {
    let _seeded = seed_thread(etcd_sim::seed::Stream::Jitter.seed(simulation.seed()));
    let source = Source::Simulation {
        seed: simulation.seed(),
        plan: Json::new(simulation.plan()).expect("plans have a JSON form"),
    };
    let header = Header::new(workload.name(), workload.model_name(), source)
        .with_parameters(workload.header_parameters());
    let recorder = Arc::new(Mutex::new(Recorder::new(header)));
    simulation.observe(observer(&recorder));
    let members = simulation.plan().members;
    simulation
        .cluster()
        .observe(cluster_observer(&recorder, members));
    let options = StageOptions {
        seed: simulation.seed(),
        prefix: String::new(),
        bug: None,
    };
    let environment = Environment::Simulated(simulation);
    let stage = Stage::new(environment, Arc::clone(&recorder), options);
    let workload = Arc::new(workload);
    run(&stage, &workload).await;
    let history = take_history(&recorder);
    save(&history);
    let verdict = workload.check(&history).map_err(Broken::History)?;
    let played = Played { history, verdict };
    match played.verdict {
        Verdict::Valid(_) => Ok(played),
        Verdict::Violation(_) => Err(Broken::Violation(Box::new(played))),
        _ => Err(Broken::Undecided(Box::new(played))),
    }
}

/// How long after the last fault a leader may still be missing.
const ELECTS_WITHIN: Duration = Duration::from_secs(5);

async fn run<W: Workload>(stage: &Stage, workload: &Arc<W>) {
    let clients = workload.clients();
    let mut driver = stage
        .actor(clients)
        .await
        .expect("a simulated channel without a user is always made");
    workload.set_up(&mut driver).await;
    for client in 0..clients {
        let workload = Arc::clone(workload);
        stage.start(client, move |mut actor| {
            let workload = Arc::clone(&workload);
            async move {
                let mut step = 0;
                while workload.step(&mut actor, step).await == Next::Step {
                    step += 1;
                }
            }
        });
    }
    match stage.settle().await {
        Ended::Finished => {
            stage.healed().await;
            runtime::sleep(ELECTS_WITHIN).await;
            workload.wind_up(&mut driver).await;
        }
        Ended::Stuck => stage.record_stuck("not finished in time"),
        Ended::BusyLoop => stage.record_stuck("a busy loop"),
    }
}

/// Saves the history where the environment says so.
fn save(history: &History) {
    let Some(path) = std::env::var_os("ETCD_SIM_HISTORY") else {
        return;
    };
    let mut text = Vec::new();
    let written = history
        .write_to(&mut text)
        .and_then(|()| std::fs::write(&path, text));
    if let Err(error) = written {
        tracing::warn!(?path, %error, "the history cannot be saved");
    }
}

#[cfg(test)]
mod tests {

    use etcd_checker::Model;
    use etcd_checker::history::Evidence;
    use etcd_client::GetOptions;
    use etcd_sim::simulation::Builder;
    use etcd_sim::{Failure, Faults};
    use rand::RngExt as _;

    use super::*;

    /// Clients that write and read one key.
    #[derive(Clone, Copy)]
    struct Register {
        /// The broken twin: reads what a member shows, however old.
        reads_stale: bool,
        /// Client 0 begins a last write and never ends.
        gets_stuck: bool,
    }

    const SOUND: Register = Register {
        reads_stale: false,
        gets_stuck: false,
    };

    impl Workload for Register {
        fn name(&self) -> &'static str {
            "register"
        }

        fn clients(&self) -> u32 {
            3
        }

        async fn set_up(&self, actor: &mut Actor) {
            let write = actor.invoke("write", 0);
            while actor
                .etcd()
                .kv_client()
                .put("register", "0", None)
                .await
                .is_err()
            {}
            write.ok(0, Evidence::NONE);
        }

        async fn step(&self, actor: &mut Actor, step: u64) -> Next {
            let mut etcd = actor.etcd().clone();
            if self.gets_stuck && actor.client() == 0 && step == 9 {
                let _open = actor.invoke("write", 9);
                std::future::pending::<()>().await;
            }
            if actor.rng().random_bool(0.5) {
                let value = 1 + u64::from(actor.client()) * 1_000 + step;
                let write = actor.invoke("write", value);
                match etcd.put("register", value.to_string(), None).await {
                    Ok(_) => write.ok(value, Evidence::NONE),
                    Err(error) => write.ended_with(&error),
                }
            } else {
                let stale = self
                    .reads_stale
                    .then(|| GetOptions::new().with_serializable());
                let read = actor.invoke("read", ());
                match etcd.get("register", stale).await {
                    Ok(answer) => read.ok(answer.kvs()[0].value_str().unwrap(), Evidence::NONE),
                    Err(error) => read.ended_with(&error),
                }
            }
            actor.think(40).await;
            Next::after(step, 20)
        }

        async fn wind_up(&self, actor: &mut Actor) {
            let read = actor.invoke("read", ());
            let answer = actor
                .etcd()
                .kv_client()
                .get("register", None)
                .await
                .unwrap();
            read.ok(answer.kvs()[0].value_str().unwrap(), Evidence::NONE);
        }

        fn check(&self, history: &History) -> Result<Verdict, HistoryError> {
            etcd_checker::check(history, Model::Register)
        }
    }

    fn builder() -> Builder {
        let builder = Simulation::builder().members(3).clients(3).seeds(60);
        let faults = Faults::swarm().without(["client kill"]);
        let builder = builder.faults(faults).lasts(Duration::from_millis(600));
        builder.timeout(Duration::from_secs(1))
    }

    #[test]
    fn a_sound_workload_is_valid_and_the_same_seed_gives_the_same_history() {
        let checked = builder().try_check(|simulation| play(simulation, SOUND));
        assert_eq!(checked.unwrap().runs, 60);
        let history = |seed| {
            let played = builder()
                .seed(seed)
                .run(|simulation| play(simulation, SOUND));
            let mut text = Vec::new();
            played
                .unwrap()
                .unwrap()
                .history
                .write_to(&mut text)
                .unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!(history(7), history(7));
        assert_ne!(history(7), history(8));
        assert!((0..10).any(|seed| history(seed).contains("\"process\":\"nemesis\"")));
    }

    #[test]
    fn the_broken_twin_is_caught_and_what_is_left_of_its_plan_is_small() {
        let stale = Register {
            reads_stale: true,
            ..SOUND
        };
        let folder = tempfile::tempdir().unwrap();
        let builder = builder().save_plans_in(folder.path());
        let broken = builder
            .try_check(move |simulation| play(simulation, stale))
            .unwrap_err();
        let Failure::Returned(text) = &broken.failure else {
            panic!("{broken}");
        };
        assert!(text.starts_with("stale-read: "), "{text}");
        assert!(
            broken.shrunk.as_ref().unwrap().faults.len() <= 2,
            "{broken}"
        );
    }

    #[test]
    fn a_client_that_never_ends_is_a_liveness_violation() {
        let stuck = Register {
            gets_stuck: true,
            ..SOUND
        };
        let quiet = Simulation::builder();
        let run = quiet.run(move |simulation| play(simulation, stuck));
        let Err(Broken::Violation(played)) = run.unwrap() else {
            panic!("it never ended");
        };
        let class = played.verdict.violation().unwrap().class;
        assert_eq!(class, etcd_checker::verdict::Class::Liveness);
    }
}
