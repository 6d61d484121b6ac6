//! One run on a real cluster: the same workload, the same checker.
//!
//! A run keeps to keys below its [prefixes](Workload::prefixes) and removes them at
//! the end. It uses nothing but reads, writes, transactions and watches on those
//! keys, so a user whose role is limited to them can run it, and it never compacts a
//! cluster that others may use, nor defragments or moves a leader.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_checker::Verdict;
use etcd_checker::history::{Header, History, Recorder, Source};
use etcd_client::{Client, DeleteOptions};

use crate::runtime;
use crate::workload::{
    Connect, Ended, Environment, Live, Parameters, Stage, StageOptions, Workload,
};

/// How long each request of set-up and clean-up may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How often in a row no keys are found before there are none.
const FINDS_NONE: u32 = 3;

/// How long cleaning up may take in all.
const CLEAN_UP_DEADLINE: Duration = Duration::from_secs(30);

/// A cluster, and where a run may write.
#[derive(Clone)]
pub struct Cluster {
    /// Makes a new connection, with everything that it needs: endpoints, user,
    /// certificates.
    pub connect: Connect,
    /// `host:port` of the members, for the record.
    pub endpoints: Vec<String>,
    /// What the keys of the run begin with, such as `etcd-recipes/5f3a/`; see
    /// [`Workload::prefixes`].
    pub prefix: String,
    /// Decides what clients do, as far as the cluster's timing allows.
    pub seed: u64,
    /// Whether nobody else uses the cluster, nor will: then clients may compact its
    /// history, and a run that is interrupted leaves its keys.
    pub is_own: bool,
}

/// What a run gave.
#[derive(Debug)]
pub struct LiveReport {
    /// What the clients saw.
    pub history: History,
    /// What the checker says about that.
    pub verdict: Verdict,
    /// The version that the cluster reported.
    pub etcd_version: String,
    /// Whether the run was interrupted; then the history ends early.
    pub interrupted: bool,
    /// Why keys of the run are left on the cluster, if so.
    pub left_behind: Option<String>,
}

/// Why a run gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The cluster did not answer, or refused.
    #[error("cannot use the cluster at {endpoints}: {reason}")]
    Unusable {
        /// Where it was looked for.
        endpoints: String,
        /// What came back.
        reason: String,
    },
    /// There are keys below the prefix already.
    #[error("there are already keys below `{prefix}`; choose another prefix with --prefix")]
    Occupied {
        /// Where the run was to write.
        prefix: String,
    },
    /// The recorded history contradicts itself.
    #[error("the recorded history cannot be checked: {0}")]
    History(#[from] etcd_checker::HistoryError),
}

/// Runs a workload with these parameters until it ends or `interrupt` is done.
///
/// # Errors
///
/// When the cluster cannot be used; see [`LiveError`]. Errors in the middle of
/// the run are part of the history instead.
pub async fn run(
    cluster: &Cluster,
    workload: &dyn Workload,
    parameters: &Parameters,
    interrupt: impl Future<Output = ()>,
) -> Result<LiveReport, LiveError> {
    let etcd_version = cluster.prepare(workload).await?;
    let header = header(cluster, workload, parameters, &etcd_version);
    let recorder = Arc::new(Mutex::new(Recorder::new(header)));
    let stage = cluster.stage(&recorder);
    let ended = {
        let run = std::pin::pin!(play(workload, parameters, stage.clone()));
        let interrupt = std::pin::pin!(interrupt);
        match futures_util::future::select(run, interrupt).await {
            futures_util::future::Either::Left((ended, _)) => Some(ended),
            futures_util::future::Either::Right(((), _)) => None,
        }
    };
    // Clients that are still at work would write below the prefix again.
    stage.stop();
    let interrupted = ended.is_none();
    // A cluster of its own is asked no more for anything, and may be gone already.
    let left_behind = if interrupted && cluster.is_own {
        None
    } else {
        cluster.clean_up(workload).await.err()
    };
    ended
        .unwrap_or(Ok(()))
        .map_err(|error| cluster.unusable(&error))?;
    let history = super::simulate::take_history(&recorder);
    let verdict = etcd_checker::check(&history, workload.model())?;
    Ok(LiveReport {
        history,
        verdict,
        etcd_version,
        interrupted,
        left_behind,
    })
}

async fn play(
    workload: &dyn Workload,
    parameters: &Parameters,
    stage: Stage,
) -> Result<(), crate::Error> {
    match workload.run(stage.clone(), parameters.clone()).await? {
        Ended::Finished => {}
        Ended::Stuck => stage.record_stuck("not finished in time"),
        Ended::BusyLoop => stage.record_stuck("a busy loop"),
    }
    Ok(())
}

fn header(
    cluster: &Cluster,
    workload: &dyn Workload,
    parameters: &Parameters,
    etcd_version: &str,
) -> Header {
    let source = Source::Live {
        endpoints: cluster.endpoints.clone(),
        etcd_version: etcd_version.to_owned(),
        prefix: cluster.prefix.clone(),
    };
    super::header(workload, parameters, source)
}

impl Cluster {
    fn stage(&self, recorder: &Arc<Mutex<Recorder>>) -> Stage {
        let options = StageOptions {
            seed: self.seed,
            prefix: self.prefix.clone(),
            bug: None,
        };
        let live = Live::new(Arc::clone(&self.connect), self.is_own);
        Stage::new(Environment::Live(live), Arc::clone(recorder), options)
    }

    /// Finds out whether the cluster can be used for this workload, and its version.
    ///
    /// # Errors
    ///
    /// [`LiveError::Unusable`] and [`LiveError::Occupied`].
    pub async fn prepare(&self, workload: &dyn Workload) -> Result<String, LiveError> {
        let mut client = self.client().await?;
        for prefix in workload.prefixes(&self.prefix) {
            let range = etcd_client::GetOptions::new()
                .with_prefix()
                .with_count_only();
            let count = client.get(prefix.as_str(), Some(range));
            let count = within_deadline(count)
                .await
                .map_err(|reason| self.unusable(&reason))?;
            if count.count() > 0 {
                return Err(LiveError::Occupied { prefix });
            }
        }
        // A user without any other permission may be refused this.
        Ok(match within_deadline(client.status()).await {
            Ok(status) => status.version().to_owned(),
            Err(_) => "unknown".to_owned(),
        })
    }

    /// Removes the keys of the run, until none are found for a while: a request that was
    /// on its way when its client was stopped may still land. Tries again after
    /// an error, because another member may do what one that died cannot.
    async fn clean_up(&self, workload: &dyn Workload) -> Result<(), String> {
        let mut problem = "it takes too long".to_owned();
        let attempts = async {
            let mut found_none = 0;
            while found_none < FINDS_NONE {
                match self.delete_all(workload).await {
                    Ok(0) => found_none += 1,
                    Ok(_) => found_none = 0,
                    Err(error) => problem = error,
                }
                runtime::sleep(Duration::from_millis(100)).await;
            }
        };
        let done = runtime::timeout(CLEAN_UP_DEADLINE, attempts).await;
        done.map_err(|runtime::Elapsed| problem)
    }

    /// Returns how many keys there were.
    async fn delete_all(&self, workload: &dyn Workload) -> Result<i64, String> {
        let mut client = within_deadline((self.connect)()).await?;
        let mut deleted = 0;
        for prefix in workload.prefixes(&self.prefix) {
            let all = DeleteOptions::new().with_prefix();
            let delete = client.delete(prefix, Some(all));
            deleted += within_deadline(delete).await?.deleted();
        }
        Ok(deleted)
    }

    async fn client(&self) -> Result<Client, LiveError> {
        within_deadline((self.connect)())
            .await
            .map_err(|reason| self.unusable(&reason))
    }

    fn unusable(&self, reason: &impl ToString) -> LiveError {
        LiveError::Unusable {
            endpoints: self.endpoints.join(","),
            reason: reason.to_string(),
        }
    }
}

async fn within_deadline<T>(
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, String> {
    match runtime::timeout(REQUEST_DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(runtime::Elapsed) => Err(format!(
            "no answer within {} s; is etcd running there?",
            REQUEST_DEADLINE.as_secs()
        )),
    }
}
