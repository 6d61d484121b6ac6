//! One run in the simulation: plan in, history and verdict out.

use std::sync::{Arc, Mutex};

use etcd_checker::history::{Header, History, Json, Recorder, Source};
use etcd_checker::{HistoryError, Verdict};
use etcd_sim::bug::EtcdBug;
use etcd_sim::cluster::{ClusterEvent, ClusterObserver};
use etcd_sim::executor::Executor;
use etcd_sim::fault::FaultKind;
use etcd_sim::network::{FaultEvent, NetworkReport, Observer};
use etcd_sim::seed::Stream;
use etcd_sim::simulation::{Options, Simulation, run};
use serde::Serialize;

use super::plan::RunPlan;
use crate::runtime::{poll_limit, seed_thread};
use crate::workload::{Ended, Environment, Stage, StageOptions};

/// What a run gave.
#[derive(Debug)]
pub struct RunReport {
    /// What determined it.
    pub plan: RunPlan,
    /// What the clients saw.
    pub history: History,
    /// What the checker says about that.
    pub verdict: Verdict,
    /// What happened on the wire.
    pub network: NetworkReport,
    /// How long it took in simulated time, in nanoseconds.
    pub simulated_ns: u64,
}

/// Why there is no verdict on a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The recipe or the workload panicked.
    #[error(transparent)]
    Panicked(#[from] etcd_sim::executor::Panicked),
    /// The recipe refused to work at all.
    #[error("the workload could not start: {0}")]
    Recipe(#[from] crate::Error),
    /// The recorded history contradicts itself.
    #[error("the recorded history cannot be checked: {0}")]
    History(#[from] HistoryError),
}

/// Runs a plan and checks its history.
///
/// # Errors
///
/// When there is nothing to check; see [`RunError`].
pub fn simulate(plan: &RunPlan) -> Result<RunReport, RunError> {
    let recorder = Arc::new(Mutex::new(Recorder::new(header(plan))));
    let options = Options {
        executor: plan.executor,
        bug: plan.bug.and_then(|bug| EtcdBug::find(bug.name)),
        observer: Some(observer(&recorder)),
        cluster_observer: Some(cluster_observer(&recorder, plan.environment.members)),
        ..Options::new(plan.environment.clone())
    };
    let finished = {
        let (plan, recorder) = (plan.clone(), Arc::clone(&recorder));
        run(options, move |simulation| play(simulation, plan, recorder))??
    };
    let history = take_history(&recorder);
    let verdict = etcd_checker::check(&history, plan.workload.model())?;
    Ok(RunReport {
        plan: plan.clone(),
        history,
        verdict,
        network: finished.network,
        simulated_ns: finished.simulated_ns,
    })
}

/// How often the tasks that recipes start for themselves are polled in a run,
/// all together. More is a busy loop. A client's own task has a limit too
/// ([`Options::polls_max`]).
const SPAWNED_POLLS_MAX: u64 = 10_000_000;

struct Finished {
    network: NetworkReport,
    simulated_ns: u64,
}

async fn play(
    simulation: Simulation,
    plan: RunPlan,
    recorder: Arc<Mutex<Recorder>>,
) -> Result<Finished, crate::Error> {
    let seed = plan.environment.seed;
    // Inside madsim its own generator decides, from the stream of the schedule.
    let _seeded =
        (plan.executor == Executor::Tokio).then(|| seed_thread(Stream::Jitter.seed(seed)));
    let options = StageOptions {
        seed,
        prefix: String::new(),
        bug: plan.bug,
    };
    let environment = Environment::Simulated(simulation.clone());
    let stage = Stage::new(environment, recorder, options);
    let spawned = poll_limit::set(SPAWNED_POLLS_MAX);
    let ended = plan.workload.run(stage.clone(), plan.parameters).await?;
    match ended {
        _ if spawned.is_reached() => stage.record_stuck("a busy loop"),
        Ended::Finished => {}
        Ended::Stuck => stage.record_stuck("not finished in time"),
        Ended::BusyLoop => stage.record_stuck("a busy loop"),
    }
    Ok(Finished {
        network: simulation.report(),
        simulated_ns: stage.now_ns(),
    })
}

fn header(plan: &RunPlan) -> Header {
    let source = Source::Simulation {
        seed: plan.environment.seed,
        plan: plan.to_json_value(),
    };
    super::header(plan.workload, &plan.parameters, source)
}

pub(crate) fn take_history(recorder: &Mutex<Recorder>) -> History {
    let header = Header::new(
        "",
        "",
        Source::Other {
            description: String::new(),
        },
    );
    let mut recorder = recorder
        .lock()
        .expect("nothing panics while it holds the recorder");
    std::mem::replace(&mut *recorder, Recorder::new(header)).finish()
}

/// Writes each fault into the history, and what it means for the record: a dead
/// client's open operations will never be completed.
pub(crate) fn observer(recorder: &Arc<Mutex<Recorder>>) -> Observer {
    #[derive(Serialize)]
    struct Detail<'a> {
        client: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        member: Option<usize>,
        #[serde(skip_serializing_if = "str::is_empty")]
        call: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_ns: Option<u64>,
    }
    let recorder = Arc::clone(recorder);
    Arc::new(move |event: &FaultEvent| {
        let mut recorder = recorder
            .lock()
            .expect("nothing panics while it holds the recorder");
        let detail = Detail {
            client: event.client,
            member: event.member,
            call: &event.call,
            for_ns: u64::try_from(event.lasts.as_nanos())
                .ok()
                .filter(|lasts| *lasts > 0),
        };
        let detail = Json::new(&detail).expect("numbers and text have a JSON form");
        let time = event.at.as_nanos();
        recorder.nemesis(time, event.kind.replace(' ', "-"), detail);
        let kills = FaultKind::KillClient { client: 0 }.name();
        let restarts = FaultKind::RestartClient {
            client: 0,
            down_ms: 0,
        }
        .name();
        if let Some(client) = event.client
            && [kills, restarts].contains(&event.kind)
        {
            recorder.crash(u64::from(client), time, "the client's process died");
        }
    })
}

/// Writes into the history what the cluster did that no client was told of: who
/// led, where there are several, and which leases came and went. No checker reads it;
/// it explains.
pub(crate) fn cluster_observer(recorder: &Arc<Mutex<Recorder>>, members: usize) -> ClusterObserver {
    #[derive(Serialize)]
    struct Leader {
        member: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        term: Option<u64>,
    }
    #[derive(Serialize)]
    struct Lease {
        lease: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl_s: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<u32>,
    }
    let recorder = Arc::clone(recorder);
    Arc::new(move |at, event| {
        let (name, value) = match *event {
            ClusterEvent::Leads { .. } | ClusterEvent::LeaderLost if members == 1 => return,
            ClusterEvent::Leads { member, term } => {
                let (member, term) = (Some(member), Some(term));
                ("leader", Json::new(&Leader { member, term }))
            }
            ClusterEvent::LeaderLost => {
                let (member, term) = (None, None);
                ("leader", Json::new(&Leader { member, term }))
            }
            ClusterEvent::LeaseGranted { lease, ttl, client } => {
                let (lease, ttl_s) = (lease.0, Some(ttl));
                let value = Lease {
                    lease,
                    ttl_s,
                    client,
                };
                ("lease-granted", Json::new(&value))
            }
            ClusterEvent::LeaseEnded { lease, expired } => {
                let value = Lease {
                    lease: lease.0,
                    ttl_s: None,
                    client: None,
                };
                let name = if expired {
                    "lease-expired"
                } else {
                    "lease-revoked"
                };
                (name, Json::new(&value))
            }
            _ => return,
        };
        let mut recorder = recorder
            .lock()
            .expect("nothing panics while it holds the recorder");
        let value = value.expect("numbers have a JSON form");
        recorder.nemesis(at.as_nanos(), name, value);
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use etcd_checker::Model;
    use etcd_sim::plan::Plan;

    use super::*;
    use crate::runtime;
    use crate::workload::{Bug, Parameter, Parameters, Running, Workload};

    /// One client that begins an operation and never ends it, because it, or a
    /// task that it spawned, is always ready.
    struct Spinning {
        spawned: bool,
    }

    async fn spin() {
        loop {
            tokio::task::yield_now().await;
        }
    }

    impl Workload for Spinning {
        fn name(&self) -> &'static str {
            "spinning"
        }

        fn about(&self) -> &'static str {
            "a busy loop"
        }

        fn model(&self) -> Model {
            Model::FifoQueue
        }

        fn parameters(&self) -> &'static [Parameter] {
            &[]
        }

        fn bugs(&self) -> &'static [Bug] {
            &[]
        }

        fn clients(&self, _: &Parameters) -> u32 {
            1
        }

        fn lasts_ms(&self, _: &Parameters) -> u64 {
            10
        }

        fn run(&self, stage: Stage, _: Parameters) -> Running {
            let spawned = self.spawned;
            Box::pin(async move {
                stage.start(0, move |actor| async move {
                    let _open = actor.invoke("enqueue", "value");
                    if spawned {
                        let _task = runtime::spawn(spin());
                        std::future::pending::<()>().await;
                    }
                    spin().await;
                });
                Ok(stage.settle().await)
            })
        }
    }

    fn a_busy_loop_is_a_liveness_violation(workload: &'static Spinning, executor: Executor) {
        let plan = RunPlan {
            workload,
            parameters: Parameters::from_values(BTreeMap::new()),
            bug: None,
            executor,
            environment: Plan::quiet(1),
        };
        let report = simulate(&plan).unwrap();
        let violation = report.verdict.violation().expect("it never ended");
        assert_eq!(violation.class, etcd_checker::verdict::Class::Liveness);
        let mark = |event: &etcd_checker::history::Event| {
            event.f() == etcd_checker::history::LIVENESS_DEADLINE
                && event.value().as_str().contains("a busy loop")
        };
        assert!(report.history.events().iter().any(mark));
    }

    #[test]
    fn a_busy_loop_of_a_client_is_a_liveness_violation() {
        a_busy_loop_is_a_liveness_violation(&Spinning { spawned: false }, Executor::BEST);
    }

    #[test]
    fn a_busy_loop_in_a_task_that_a_recipe_spawned_is_a_liveness_violation() {
        // On madsim time creeps on; on tokio such a run would never end.
        a_busy_loop_is_a_liveness_violation(&Spinning { spawned: true }, Executor::Tokio);
    }

    /// A valid run in which one consumer waits for items that do not come, and
    /// meets a fault.
    fn lonely_consumer(executor: Executor, kind: FaultKind) -> RunReport {
        let workload = crate::workload::find("queue").unwrap();
        let plan = RunPlan::draw_adjusted(workload, 1, |parameters| {
            let parameters = parameters.with("producers", 1).with("consumers", 1);
            parameters.with("items", 0)
        });
        let faults = vec![etcd_sim::fault::Fault { at_ms: 5, kind }];
        let environment = Plan {
            faults,
            ..plan.environment
        };
        let plan = RunPlan {
            executor,
            environment,
            ..plan
        };
        let report = simulate(&plan).unwrap();
        assert!(report.verdict.is_valid(), "{}", report.verdict);
        report
    }

    #[test]
    fn a_consumer_that_comes_back_late_is_told_to_stop_too() {
        for executor in [Executor::BEST, Executor::Tokio] {
            let (client, down_ms) = (1, 5_000);
            let report = lonely_consumer(executor, FaultKind::RestartClient { client, down_ms });
            assert!(report.simulated_ns > 5_000_000_000);
        }
    }

    #[test]
    fn every_run_ends_with_a_look_at_what_is_left() {
        for seed in 0..5 {
            for (workload, last) in [("queue", "dequeue"), ("bank", "txn")] {
                let workload = crate::workload::find(workload).unwrap();
                let plan = RunPlan::draw(workload, seed);
                let driver = u64::from(workload.clients(&plan.parameters));
                let report = simulate(&plan).unwrap();
                let end = report.history.events().last().unwrap();
                assert_eq!((end.client(), end.f()), (Some(driver), last));
                assert_eq!(end.kind(), etcd_checker::history::EventKind::Ok);
                assert!(last != "dequeue" || end.value().is_null());
            }
        }
    }

    #[test]
    fn leaders_leases_and_how_long_faults_last_are_recorded() {
        let workload = crate::workload::find("mutex").unwrap();
        let plan = RunPlan::draw_adjusted(workload, 1, |parameters| {
            parameters.with("rounds", 12).with("hold_ms", 100)
        });
        let leader_dies = FaultKind::RestartMember { down_ms: 3_000 };
        let (client, for_ms) = (0, 9_000);
        let pause = FaultKind::PauseClient { client, for_ms };
        let faults = [(60, leader_dies), (80, pause)];
        let environment = Plan {
            members: 3,
            faults: faults
                .map(|(at_ms, kind)| etcd_sim::fault::Fault { at_ms, kind })
                .into(),
            ..plan.environment
        };
        let report = simulate(&RunPlan {
            environment,
            ..plan
        })
        .unwrap();
        let marks = |name: &str| -> Vec<String> {
            let events = report.history.events().iter();
            let named = events.filter(|event| event.f() == name);
            named.map(|event| event.value().to_string()).collect()
        };
        let leaders = marks("leader");
        assert!(leaders[0].starts_with(r#"{"member":"#), "{leaders:?}");
        assert!(
            leaders.contains(&r#"{"member":null}"#.to_owned()),
            "{leaders:?}"
        );
        assert!(leaders.len() >= 3, "{leaders:?}");
        let granted = marks("lease-granted");
        assert!(
            granted.iter().any(|lease| lease.contains(r#""client":0}"#)),
            "{granted:?}"
        );
        assert!(!marks("lease-expired").is_empty());
        assert!(!marks("lease-revoked").is_empty());
        let paused = marks("client-pause");
        assert!(paused[0].contains(r#""for_ns":9000000000"#), "{paused:?}");
    }

    #[test]
    fn what_a_client_was_doing_when_it_was_killed_ends_as_info_there_and_then() {
        for executor in [Executor::BEST, Executor::Tokio] {
            let report = lonely_consumer(executor, FaultKind::KillClient { client: 1 });
            let events = report.history.events();
            let killed = events.iter().position(|event| event.f() == "client-kill");
            let [fault, end, ..] = &events[killed.expect("the fault is recorded")..] else {
                panic!("the history ends with the fault");
            };
            assert_eq!(end.kind(), etcd_checker::history::EventKind::Info);
            assert_eq!((end.client(), end.time()), (Some(1), fault.time()));
            assert_eq!(end.error(), Some("the client's process died"));
        }
    }
}
