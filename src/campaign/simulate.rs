//! One run in the simulation: plan in, history and verdict out.

use std::sync::{Arc, Mutex};

use etcd_checker::history::{Header, History, Json, Recorder, Source};
use etcd_checker::{HistoryError, Verdict};
use etcd_sim::executor::Executor;
use etcd_sim::fault::FaultKind;
use etcd_sim::network::{FaultEvent, NetworkReport, Observer};
use etcd_sim::seed::Stream;
use etcd_sim::simulation::{Options, Simulation, run};
use serde::Serialize;

use super::plan::RunPlan;
use crate::runtime::seed_thread;
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
        observer: Some(observer(&recorder)),
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
    let ended = plan.workload.run(stage.clone(), plan.parameters).await?;
    match ended {
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

pub(super) fn take_history(recorder: &Mutex<Recorder>) -> History {
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
fn observer(recorder: &Arc<Mutex<Recorder>>) -> Observer {
    #[derive(Serialize)]
    struct Detail<'a> {
        client: Option<u32>,
        #[serde(skip_serializing_if = "str::is_empty")]
        call: &'a str,
    }
    let recorder = Arc::clone(recorder);
    Arc::new(move |event: &FaultEvent| {
        let mut recorder = recorder
            .lock()
            .expect("nothing panics while it holds the recorder");
        let detail = Detail {
            client: event.client,
            call: &event.call,
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
