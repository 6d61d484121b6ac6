//! A real etcd and a simulated one, side by side.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbHashKvRequest,
    PbHashKvResponse, PbPutRequest, PbPutResponse,
};
use etcd_sim::bug::EtcdBug;
use etcd_sim::version::Version;
use futures_util::future::{Either, select};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::transport::Channel;

use crate::api::Api;
use crate::campaign::Target;
use crate::listen::PATIENCE;
use crate::outcome::{Outcome, diff};
use crate::pursuit::Sides;
use crate::real::{self, ConformError, Process};
use crate::simulated::{Simulated, Taken};
use crate::step::Step;

/// How long an answer may take, beside what is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long an answer of a watch is waited for while a sequence is made shorter.
const SHORT_PATIENCE: Duration = Duration::from_millis(700);

/// A real etcd and a simulated one of the same release.
///
/// # Invariants
/// - Unless `is_even` is false, both have the same revision and the same last
///   compaction, and hold neither keys nor leases.
pub(crate) struct Pair {
    // Ends before the process that it talks to.
    api: Api<Channel>,
    process: Option<Process>,
    target: Target,
    simulated: Simulated,
    runtime: Runtime,
    version: Version,
    /// Of the simulated one.
    bug: Option<EtcdBug>,
    is_even: bool,
}

/// The step of a sequence that differed first.
#[derive(Clone, Debug)]
pub(crate) struct Differs {
    /// Beyond the last: what watches have to say afterwards, or what is left then.
    pub(crate) at: usize,
    /// The lines in which the answers differ.
    pub(crate) diff: String,
}

/// What came of a sequence.
pub(crate) struct Compared {
    pub(crate) taken: Vec<Taken>,
    pub(crate) differs: Option<Differs>,
}

impl Pair {
    pub(crate) fn new(target: &Target, bug: Option<EtcdBug>) -> Result<Pair, ConformError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| ConformError::CannotStart {
                program: "an executor".to_owned(),
                reason: error.to_string(),
            })?;
        let (process, mut api) = runtime.block_on(reach(target))?;
        let version = runtime.block_on(real::version(&mut api))?;
        Ok(Pair {
            api,
            is_even: process.is_some(),
            process,
            target: target.clone(),
            simulated: Simulated::start(version, bug),
            bug,
            runtime,
            version,
        })
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Takes the steps on both sides, which are empty before and are emptied after.
    pub(crate) fn compare(&mut self, steps: &[Step]) -> Result<Compared, ConformError> {
        if !self.is_even {
            self.even_out()?;
        }
        self.is_even = false;
        let taken = self.simulated.take(listened(steps))?;
        let mut differs = self.repeat(&taken)?;
        if differs.is_none() {
            let wiped = self.simulated.take(vec![Step::Wipe])?;
            let differing = self.repeat(&wiped)?;
            differs = differing.map(|differs| Differs {
                at: taken.len(),
                ..differs
            });
        }
        self.is_even = differs.is_none();
        Ok(Compared { taken, differs })
    }

    /// Takes the same steps with the real etcd, up to the first that differs.
    fn repeat(&mut self, taken: &[Taken]) -> Result<Option<Differs>, ConformError> {
        let Pair {
            api,
            process,
            target,
            runtime,
            ..
        } = self;
        runtime.block_on(async {
            for (
                at,
                Taken {
                    step,
                    lags,
                    outcome,
                },
            ) in taken.iter().enumerate()
            {
                let answer = api.perform(step, *lags, Some(outcome));
                let real = within(DEADLINE + step.waits(), answer).await;
                let real = real.unwrap_or_else(|| {
                    Outcome::Refusal(format!("no answer within {} s", DEADLINE.as_secs()))
                });
                if real != *outcome {
                    let real = match end(process, target, api, step).await? {
                        Some(end) => Outcome::Refusal(end),
                        None => real,
                    };
                    let diff = diff(outcome, &real);
                    return Ok(Some(Differs { at, diff }));
                }
            }
            let mut rest = api.rest().await;
            let nothing = Outcome::Watches(Default::default());
            let last = taken.last().map(|taken| &taken.step);
            let Some(last) = last.filter(|_| rest != nothing) else {
                return Ok(None);
            };
            if let Some(end) = end(process, target, api, last).await? {
                rest = Outcome::Refusal(end);
            }
            Ok(Some(Differs {
                at: taken.len() - 1,
                diff: diff(&nothing, &rest),
            }))
        })
    }

    /// Brings an empty simulated etcd to where the real one is, after having
    /// emptied and compacted that.
    fn even_out(&mut self) -> Result<(), ConformError> {
        let api = &mut self.api;
        let process = &mut self.process;
        let revision = self.runtime.block_on(async {
            match empty(api).await {
                Ok(revision) => Ok(revision),
                Err(status) => Err(not_emptied(process, &status).await),
            }
        })?;
        self.api.forget_leases();
        self.simulated = Simulated::start(self.version, self.bug);
        let (_, reached) = self.simulated.advance(revision)?;
        assert_eq!(
            reached, revision,
            "the simulated etcd is where the real one is"
        );
        self.is_even = true;
        Ok(())
    }

    /// Whether the real etcd is one of our own that has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.process.as_mut().and_then(Process::ended);
        ended.is_some()
    }
}

impl Sides for Pair {
    /// An etcd that has crashed is started anew before.
    fn differs(&mut self, steps: &[Step]) -> Result<Option<Differs>, ConformError> {
        if self.has_ended() {
            self.renew()?;
        }
        Ok(self.compare(steps)?.differs)
    }

    /// One that runs already cannot be: all of its past is compacted instead.
    fn renew(&mut self) -> Result<(), ConformError> {
        match &self.target {
            Target::Start { .. } => *self = Pair::new(&self.target.clone(), self.bug)?,
            Target::Running { .. } => self.is_even = false,
        }
        Ok(())
    }

    fn be_hasty(&mut self, is_hasty: bool) {
        let patience = match is_hasty {
            true => SHORT_PATIENCE,
            false => PATIENCE,
        };
        self.api.be_patient_for(patience);
    }
}

/// How the real etcd has ended, if it answers no more. Of one that is not ours nobody can
/// say that this step was the reason.
async fn end(
    process: &mut Option<Process>,
    target: &Target,
    api: &mut Api<Channel>,
    step: &Step,
) -> Result<Option<String>, ConformError> {
    let reason = match within(DEADLINE, api.size()).await {
        Some(Ok(_)) => return Ok(None),
        Some(Err(status)) => status.message().to_owned(),
        None => format!("no answer within {} s", DEADLINE.as_secs()),
    };
    match (process, target) {
        (Some(process), _) => {
            let end = process.ends().await;
            match process.killed() {
                Some(how) => Err(ConformError::Killed {
                    program: process.program.clone(),
                    how,
                    step: step.to_string(),
                }),
                None => Ok(end),
            }
        }
        (None, Target::Start { .. }) => Ok(None),
        (None, Target::Running { endpoint, .. }) => Err(ConformError::Lost {
            endpoint: endpoint.clone(),
            reason,
            step: step.to_string(),
        }),
    }
}

/// What a real etcd answers, if it does in time.
async fn within<T>(time: Duration, answer: impl Future<Output = T>) -> Option<T> {
    match select(pin!(answer), real::pause(time)).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

/// Why a real etcd could not be emptied.
async fn not_emptied(process: &mut Option<Process>, status: &Status) -> ConformError {
    if let Some(process) = process
        && let Some(how) = process.ends().await
    {
        return ConformError::Ended {
            program: process.program.clone(),
            how,
        };
    }
    ConformError::NotEmptied(status.to_string())
}

/// The steps, and at their end what the watches have to say.
pub(crate) fn listened(steps: &[Step]) -> Vec<Step> {
    let mut steps = steps.to_vec();
    let streams: BTreeSet<usize> = steps.iter().filter_map(Step::stream).collect();
    let listen = streams.into_iter().map(|stream| Step::Listen { stream });
    steps.extend(listen);
    steps
}

async fn reach(target: &Target) -> Result<(Option<Process>, Api<Channel>), ConformError> {
    match target {
        Target::Start { program } => {
            let (process, api) = Process::serving(program).await?;
            Ok((Some(process), api))
        }
        Target::Running {
            endpoint,
            destroy_data,
        } => {
            let mut api = real::connect(endpoint)?;
            let unreachable = |status: Status| ConformError::Unreachable {
                endpoint: endpoint.clone(),
                reason: status.message().to_owned(),
            };
            let (keys, _) = api.size().await.map_err(unreachable)?;
            let leases = api.leases().await.map_err(unreachable)?.len() as i64;
            if !destroy_data && (keys > 0 || leases > 0) {
                return Err(ConformError::InUse {
                    endpoint: endpoint.clone(),
                    keys,
                    leases,
                });
            }
            Ok((None, api))
        }
    }
}

/// Empties an etcd and compacts all of its past; its revision.
async fn empty(api: &mut Api<Channel>) -> Result<i64, Status> {
    real::wipe(api).await?;
    let mut revision = compact(api).await?;
    // What it remembers of a compaction at revision 0 it answers for all keys, until it has
    // compacted often enough.
    for _ in 0..REMEMBERED_MAX {
        let question = PbHashKvRequest { revision: 0 };
        let hash: PbHashKvResponse = api.call("Maintenance/HashKV", question).await?;
        if hash.compact_revision == revision {
            break;
        }
        revision = compact(api).await?;
    }
    Ok(revision)
}

/// How many hashes are remembered (`hashStorageMaxSize` in etcd's
/// `server/storage/mvcc/hash.go`).
const REMEMBERED_MAX: usize = 10;

/// Compacts all of an empty etcd's past; its revision.
async fn compact(api: &mut Api<Channel>) -> Result<i64, Status> {
    let key = b"a".to_vec();
    let put = PbPutRequest {
        key: key.clone(),
        ..Default::default()
    };
    api.call::<_, PbPutResponse>("KV/Put", put).await?;
    let delete = PbDeleteRequest {
        key,
        ..Default::default()
    };
    api.call::<_, PbDeleteResponse>("KV/DeleteRange", delete)
        .await?;
    let (_, revision) = api.size().await?;
    let compact = PbCompactionRequest {
        revision,
        physical: true,
    };
    api.call::<_, PbCompactionResponse>("KV/Compact", compact)
        .await?;
    Ok(revision)
}
