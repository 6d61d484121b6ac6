//! The simulated etcd, in a thread and a time of its own.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbPutRequest,
    PbPutResponse,
};
use etcd_sim::bug::EtcdBug;
use etcd_sim::cluster::{Member, MemberOptions, Router};
use etcd_sim::executor::{self, Executor, Node, Panicked};
use etcd_sim::store::{Record, Store};
use etcd_sim::version::Version;
use tonic::Status;

use crate::api::Api;
use crate::exclusion::COMPACTION_OF_RECREATED;
use crate::outcome::Outcome;
use crate::real::ConformError;
use crate::step::{Horizon, Step};

/// What was done, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    /// With absolute revisions.
    pub(crate) step: Step,
    /// Whether it created a watch that had to catch up.
    pub(crate) lags: bool,
    pub(crate) outcome: Outcome,
}

enum Command {
    /// Take the steps.
    Take(Vec<Step>),
    /// Bring an empty store to this revision, with everything before compacted.
    Advance(i64),
}

enum Answer {
    Taken(Vec<Taken>),
    Size(Result<(i64, i64), Status>),
}

/// A simulated etcd with one member.
pub(crate) struct Simulated {
    commands: Option<Sender<Command>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<Result<(), Panicked>>>,
}

impl Simulated {
    /// Starts one that is empty.
    pub(crate) fn start(version: Version, bug: Option<EtcdBug>) -> Simulated {
        let mut options = MemberOptions {
            version,
            ..MemberOptions::default()
        };
        options.store.bug = bug;
        let (commands, receiver) = channel();
        let (sender, answers) = channel();
        // Its thread waits for commands, and meanwhile its time stands still.
        let serve = move || {
            executor::block_on(Executor::Tokio, 1, move || serve(options, receiver, sender))
        };
        Simulated {
            commands: Some(commands),
            answers,
            thread: Some(std::thread::spawn(serve)),
        }
    }

    pub(crate) fn take(&mut self, steps: Vec<Step>) -> Result<Vec<Taken>, ConformError> {
        match self.ask(Command::Take(steps))? {
            Answer::Taken(taken) => Ok(taken),
            Answer::Size(_) => unreachable!("steps are answered by what came of them"),
        }
    }

    /// Brings it to this revision; how many keys it holds then, and its revision.
    pub(crate) fn advance(&mut self, revision: i64) -> Result<(i64, i64), ConformError> {
        match self.ask(Command::Advance(revision))? {
            Answer::Size(size) => {
                size.map_err(|status| ConformError::NotEmptied(status.to_string()))
            }
            Answer::Taken(_) => unreachable!("only steps are answered by what came of them"),
        }
    }

    fn ask(&mut self, command: Command) -> Result<Answer, ConformError> {
        if let Some(commands) = &self.commands
            && commands.send(command).is_ok()
            && let Ok(answer) = self.answers.recv()
        {
            return Ok(answer);
        }
        Err(self.why_it_ended().into())
    }

    fn why_it_ended(&mut self) -> Panicked {
        self.commands = None;
        let thread = self.thread.take().map(JoinHandle::join);
        match thread {
            Some(Ok(Err(panicked))) => panicked,
            _ => Panicked {
                message: "it has ended".to_owned(),
                location: None,
            },
        }
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn serve(options: MemberOptions, commands: Receiver<Command>, answers: Sender<Answer>) {
    let member = Member::new(options);
    member.start(&Node::new("member"));
    let mut api = Api::new(member.router(), |time| Box::pin(executor::sleep(time)));
    let mut is_compaction_over = true;
    while let Ok(command) = commands.recv() {
        let answer = match command {
            Command::Take(steps) => {
                let mut taken = Vec::new();
                for step in steps {
                    let horizon = horizon(&member, is_compaction_over);
                    let one = take(&member, &mut api, &step, horizon).await;
                    if let (Step::Compact(compact), Outcome::Answer(_)) = (&one.step, &one.outcome)
                    {
                        is_compaction_over = compact.physical;
                    }
                    taken.push(one);
                }
                Answer::Taken(taken)
            }
            Command::Advance(revision) => Answer::Size(advance(&mut api, revision).await),
        };
        if answers.send(answer).is_err() {
            return;
        }
        // Tasks that ended streams run before time stands still again.
        executor::sleep(Duration::from_millis(1)).await;
    }
}

fn horizon(member: &Member, is_compaction_over: bool) -> Horizon {
    member.with_store(|store| Horizon {
        current: store.revision(),
        compacted: store.compacted_revision(),
        is_compaction_over,
    })
}

/// A step, or nothing in its place where it is one that is never sent.
fn sent(member: &Member, step: Step) -> Step {
    let is_excluded = match &step {
        Step::Compact(compact) => {
            COMPACTION_OF_RECREATED.applies_to(member.version())
                && member.with_store(|store| recreates(store, compact.revision))
        }
        _ => false,
    };
    if is_excluded {
        Step::Wait(Duration::ZERO)
    } else {
        step
    }
}

/// Whether a key was deleted and created anew at this revision.
fn recreates(store: &Store, revision: i64) -> bool {
    let of_revision = |record: &&Record| record.mod_revision() == revision;
    let records: Vec<&Record> = store.events(revision).take_while(of_revision).collect();
    let is_created_after = |number: usize, deleted: &Record| {
        let mut later = records[number + 1..].iter();
        later.any(|record| record.key() == deleted.key() && !record.is_tombstone())
    };
    let mut deletions = records.iter().enumerate();
    deletions.any(|(number, record)| record.is_tombstone() && is_created_after(number, record))
}

async fn take(member: &Member, api: &mut Api<Router>, step: &Step, horizon: Horizon) -> Taken {
    let step = sent(member, step.resolved(horizon));
    let lags = step.lags(horizon);
    let outcome = api.perform(&step, lags, None).await;
    Taken {
        step,
        lags,
        outcome,
    }
}

async fn advance(api: &mut Api<Router>, revision: i64) -> Result<(i64, i64), Status> {
    loop {
        let (_, current) = api.size().await?;
        let missing = revision - current;
        if missing <= 0 {
            break;
        }
        for _ in 1..missing {
            let put = PbPutRequest {
                key: b"a".to_vec(),
                ..Default::default()
            };
            api.call::<_, PbPutResponse>("KV/Put", put).await?;
        }
        let delete = PbDeleteRequest {
            key: b"a".to_vec(),
            ..Default::default()
        };
        api.call::<_, PbDeleteResponse>("KV/DeleteRange", delete)
            .await?;
    }
    let compact = PbCompactionRequest {
        revision,
        physical: true,
    };
    api.call::<_, PbCompactionResponse>("KV/Compact", compact)
        .await?;
    api.size().await
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::{PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp};

    use super::*;

    fn op(request: PbTxnOpRequest) -> PbTxnRequestOp {
        PbTxnRequestOp {
            request: Some(request),
        }
    }

    fn put(key: &str) -> PbPutRequest {
        PbPutRequest {
            key: key.into(),
            ..Default::default()
        }
    }

    fn delete(key: &str) -> PbDeleteRequest {
        PbDeleteRequest {
            key: key.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_compaction_is_left_out_only_where_a_key_was_deleted_and_created_anew() {
        let all_after = PbDeleteRequest {
            range_end: vec![0],
            ..delete("a")
        };
        let anew = PbTxnRequest {
            success: vec![
                op(PbTxnOpRequest::RequestDeleteRange(all_after)),
                op(PbTxnOpRequest::RequestPut(put("a"))),
            ],
            ..Default::default()
        };
        let compact = |revision: i64| {
            Step::Compact(PbCompactionRequest {
                revision,
                physical: true,
            })
        };
        // At revision 2 it is created, at 3 created anew, at 4 deleted.
        let steps = |version: Version| {
            let mut simulated = Simulated::start(version, None);
            let mut steps = vec![Step::Put(put("a")), Step::Txn(anew.clone())];
            steps.push(Step::Delete(delete("a")));
            steps.extend([2, 3, 4].map(compact));
            let taken = simulated.take(steps).expect("it lives");
            taken.into_iter().skip(3).map(|taken| taken.step)
        };
        let nothing = Step::Wait(Duration::ZERO);
        let loses = steps(Version::new(3, 5, 16));
        assert!(loses.eq([compact(2), nothing, compact(4)]));
        let keeps = steps(Version::new(3, 5, 1));
        assert!(keeps.eq([compact(2), compact(3), compact(4)]));
    }
}
