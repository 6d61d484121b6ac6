//! Random transactions of the STM, at each isolation level.
//!
//! Clients run transactions over a few keys: gets, several keys at once,
//! revisions, puts, deletions, writes of keys that were not read, transactions
//! that only read, and closures that abort. What each *attempt* saw is recorded,
//! so that the checker can tell whether also those that did not commit saw
//! states of the store that there were; it names the strongest isolation level
//! that the history satisfies.
//!
//! A deletion leaves nothing to see. So each transaction that deletes also
//! writes a key of its own, and those whose outcome nobody knows are looked up
//! at the end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use etcd_checker::Model;
use etcd_checker::history::{Evidence, Json, MicroOperation};
use etcd_checker::txn::Level;
use serde::Serialize;

use self::script::{Script, Step};
use super::stage::OpenOperation;
use super::{Actor, Bug, Ended, Parameter, Parameters, Running, Stage, Workload};
use crate::stm::{Isolation, Stm, StmError, StmFault, Transaction};
use crate::{Error, runtime};

mod script;

/// See the [module](self).
pub struct StmWorkload;

/// The values of the parameter `level`, by their number.
const LEVELS: [&str; 4] = [
    "serializable-snapshot",
    "serializable",
    "repeatable-reads",
    "read-committed",
];

/// The isolation level of a run, and what it promises for histories.
fn level(parameters: &Parameters) -> (Isolation, Level) {
    match parameters.get("level") {
        0 => (Isolation::SerializableSnapshot, Level::Opaque),
        1 => (Isolation::Serializable, Level::Opaque),
        2 => (Isolation::RepeatableReads, Level::StrictSerializable),
        _ => (Isolation::ReadCommitted, Level::ReadCommitted),
    }
}

const BUGS: [(Bug, StmFault); 6] = [
    (
        Bug {
            name: "go-stm-mixed-snapshot",
            about: "a retry mixes what the failed commit has read with a newer snapshot",
        },
        StmFault::MixedSnapshot,
    ),
    (
        Bug {
            name: "go-stm-rev",
            about: "the revision of a key that was written leaves the snapshot open for good",
        },
        StmFault::RevLeavesBaseOpen,
    ),
    (
        Bug {
            name: "go-stm-get-many",
            about: "several keys read at once all get the value of one that is known already",
        },
        StmFault::OneValueForAll,
    ),
    (
        Bug {
            name: "stm-unvalidated-commit",
            about: "the commit does not compare what was read: updates are lost",
        },
        StmFault::UnvalidatedCommit,
    ),
    (
        Bug {
            name: "stm-blind-retry",
            about: "a commit that was not answered is sent again, and takes effect twice",
        },
        StmFault::BlindRetry,
    ),
    (
        Bug {
            name: "go-stm-abort",
            about: "an abort is handed back although what it is based on never held together",
        },
        StmFault::UnvalidatedAbort,
    ),
];

const BUG_NAMES: [Bug; 6] = [
    BUGS[0].0, BUGS[1].0, BUGS[2].0, BUGS[3].0, BUGS[4].0, BUGS[5].0,
];

impl Workload for StmWorkload {
    fn name(&self) -> &'static str {
        "stm"
    }

    fn about(&self) -> &'static str {
        "random transactions by STM at each isolation level, and what their attempts saw"
    }

    fn model(&self) -> Model {
        Model::Stm
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter {
                name: "level",
                about: "isolation level",
                bounds: (0, 3),
                drawn: (0, 3),
                live: 0,
            },
            Parameter {
                name: "keys",
                about: "keys",
                bounds: (2, 100),
                drawn: (2, 6),
                live: 5,
            },
            Parameter {
                name: "clients",
                about: "clients that run transactions",
                bounds: (1, 1_000),
                drawn: (2, 6),
                live: 10,
            },
            Parameter {
                name: "transactions",
                about: "transactions by each client",
                bounds: (0, 1_000_000),
                drawn: (10, 40),
                live: 100,
            },
            Parameter {
                name: "think_ms",
                about: "the longest pause of a client between two steps, in milliseconds",
                bounds: (0, 60_000),
                drawn: (0, 8),
                live: 2,
            },
        ]
    }

    fn choices(&self, parameter: &str) -> &'static [&'static str] {
        match parameter {
            "level" => &LEVELS,
            _ => &[],
        }
    }

    fn bugs(&self) -> &'static [Bug] {
        &BUG_NAMES
    }

    fn header_parameters(&self, parameters: &Parameters) -> Json {
        #[derive(Serialize)]
        struct Facts {
            level: &'static str,
            /// What the checker is to find at least.
            promise: &'static str,
            keys: u64,
            clients: u64,
            transactions: u64,
            think_ms: u64,
        }
        let number = usize::try_from(parameters.get("level")).unwrap_or_default();
        let facts = Facts {
            level: LEVELS[number.min(LEVELS.len() - 1)],
            promise: level(parameters).1.name(),
            keys: parameters.get("keys"),
            clients: parameters.get("clients"),
            transactions: parameters.get("transactions"),
            think_ms: parameters.get("think_ms"),
        };
        Json::new(&facts).expect("numbers and names have a JSON form")
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("clients")
    }

    fn has_watches(&self) -> bool {
        false
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        200 + parameters.get("transactions") * (parameters.get("think_ms") * 2 + 10)
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        Box::pin(async move { run(stage, &parameters).await })
    }
}

async fn run(stage: Stage, parameters: &Parameters) -> Result<Ended, Error> {
    let clients = parameters.count("clients");
    let work = Work {
        isolation: level(parameters).0,
        keys: parameters.count("keys"),
        transactions: parameters.get("transactions"),
        think_ms: parameters.get("think_ms"),
        unclear: Arc::default(),
        stage: stage.clone(),
    };
    let mut driver = stage.actor(clients).await?;
    for client in 0..clients {
        work.start_client(client);
    }
    let ended = stage.settle().await;
    if ended != Ended::Finished {
        return Ok(ended);
    }
    let read = async { while !work.read_all(&mut driver).await {} };
    match stage.in_time(read).await {
        Some(()) => Ok(Ended::Finished),
        None => Ok(Ended::Stuck),
    }
}

/// What clients do.
#[derive(Clone)]
struct Work {
    stage: Stage,
    isolation: Isolation,
    keys: u32,
    transactions: u64,
    think_ms: u64,
    /// The keys of transactions that delete and of whose end nobody has told.
    unclear: Arc<Mutex<BTreeSet<String>>>,
}

/// What the closure has done so far in its current run.
#[derive(Default)]
struct Progress {
    operation: Option<OpenOperation>,
    micro: Vec<MicroOperation<'static>>,
    latest: Option<Transaction>,
    runs: u64,
}

/// Why a closure ends without a commit.
enum Objection {
    /// It changed its mind.
    Abort,
    Failed(Error),
}

impl From<Error> for Objection {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Work {
    fn start_client(&self, client: u32) {
        let work = self.clone();
        // Outlives the process: a restarted client goes on where it was.
        let done = Arc::new(AtomicU64::new(0));
        self.stage.start(client, move |mut actor| {
            let (work, done) = (work.clone(), Arc::clone(&done));
            async move {
                loop {
                    let number = done.fetch_add(1, Ordering::Relaxed);
                    if number >= work.transactions {
                        return;
                    }
                    let script = Script::draw(actor.rng(), work.keys, work.think_ms);
                    let name = format!("c{client}-t{number}");
                    if !work.transact(&mut actor, script, name).await {
                        actor.back_off().await;
                    }
                    actor.think(work.think_ms).await;
                }
            }
        });
    }

    /// Reads every key, and those that tell what became of unclear deletions.
    async fn read_all(&self, driver: &mut Actor) -> bool {
        let keys = (0..self.keys).map(|key| format!("k{key}"));
        let unclear = self.unclear().clone();
        let script = Script::reading(keys.chain(unclear));
        self.transact(driver, script, "end".to_owned()).await
    }

    /// Runs and records one transaction; false when it failed.
    async fn transact(&self, actor: &mut Actor, script: Script, name: String) -> bool {
        let log = script.deletes().then(|| format!("deleted/{name}"));
        if let Some(log) = &log {
            self.unclear().insert(log.clone());
        }
        let progress: Arc<Mutex<Progress>> = Arc::default();
        let operation = actor.invoke("txn", ());
        let invoke = |f| actor.invoke(f, ());
        let result = self
            .stm(actor)
            .run(|transaction| {
                let run = Self::begin_attempt(&progress, invoke("attempt"), &transaction);
                let attempt = Attempt {
                    transaction,
                    progress: Arc::clone(&progress),
                    prefix: self.stage.prefix().to_owned(),
                    name: format!("{name}-a{run}"),
                };
                let (script, log) = (script.of_run(run), log.clone());
                async move {
                    let result = attempt.perform(&script, log).await;
                    attempt.end();
                    result
                }
            })
            .await;
        let mut last = progress.lock().expect("nothing panics here");
        // A run that was dropped because its snapshot was gone.
        end_attempt(&mut last);
        let micro = std::mem::take(&mut last.micro);
        let (ok, is_clear) = match result {
            Ok(committed) => {
                let evidence = Evidence {
                    revision: committed.revision,
                    mod_revision: None,
                };
                operation.ok(micro, evidence);
                (true, true)
            }
            // What a closure objects to is promised to have held together.
            Err(StmError::Abort(Objection::Abort)) => {
                operation.ok(reads_alone(micro), Evidence::NONE);
                (true, true)
            }
            Err(StmError::Abort(Objection::Failed(error)) | StmError::Recipe(error)) => {
                let is_clear = error.is_definite();
                operation.failed(&error, micro);
                (false, is_clear)
            }
        };
        if is_clear && let Some(log) = log {
            self.unclear().remove(&log);
        }
        ok
    }

    fn begin_attempt(
        progress: &Mutex<Progress>,
        operation: OpenOperation,
        transaction: &Transaction,
    ) -> u64 {
        let mut progress = progress.lock().expect("nothing panics here");
        end_attempt(&mut progress);
        progress.operation = Some(operation);
        progress.micro.clear();
        progress.latest = Some(transaction.clone());
        progress.runs += 1;
        progress.runs
    }

    fn stm(&self, actor: &Actor) -> Stm {
        let stm = Stm::new(actor.etcd()).isolation(self.isolation);
        let put_in = BUGS.iter().find(|(bug, _)| self.stage.has_bug(bug.name));
        match put_in {
            Some((_, fault)) => stm.fault(*fault),
            None => stm,
        }
    }

    fn unclear(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unclear.lock().expect("nothing panics here")
    }
}

/// One run of the closure.
struct Attempt {
    transaction: Transaction,
    progress: Arc<Mutex<Progress>>,
    prefix: String,
    /// Unique: part of every value that it writes.
    name: String,
}

impl Attempt {
    async fn perform(&self, script: &Script, log: Option<String>) -> Result<(), Objection> {
        if let Some(log) = log {
            self.put(&log, self.name.clone());
        }
        for (number, step) in script.steps().iter().enumerate() {
            match step {
                Step::Get(key) => {
                    let value = self.transaction.get(self.key(key)).await?;
                    self.saw(key, value);
                }
                Step::GetMany(keys) => {
                    let full = keys.iter().map(|key| self.key(key));
                    let values = self.transaction.get_many(full).await?;
                    for (key, value) in keys.iter().zip(values) {
                        self.saw(key, value);
                    }
                }
                Step::Rev(key) => {
                    self.transaction.rev(self.key(key)).await?;
                }
                Step::Put(key) => self.put(key, format!("{}-s{number}", self.name)),
                Step::Delete(key) => {
                    self.transaction.del(self.key(key));
                    self.did(MicroOperation::delete(key.clone()));
                }
                Step::Pause(time) => runtime::sleep(*time).await,
            }
        }
        match script.aborts() {
            true => Err(Objection::Abort),
            false => Ok(()),
        }
    }

    fn put(&self, key: &str, value: String) {
        self.transaction.put(self.key(key), value.as_str());
        self.did(MicroOperation::write(key.to_owned(), value));
    }

    /// Records what the closure was told, with the revision that the transaction
    /// knows for it.
    fn saw(&self, key: &str, value: Option<Vec<u8>>) {
        let full = self.key(key);
        let reads = self.transaction.reads();
        let revision = reads
            .iter()
            .find(|read| read.key == full.as_bytes())
            .map(|read| read.mod_revision);
        let text = value.map(|value| String::from_utf8_lossy(&value).into_owned());
        // 0 stands for an absent key; a value that was read as absent before it
        // was written has no revision.
        let mod_revision = match &text {
            Some(_) => revision.filter(|revision| *revision > 0),
            None => Some(0),
        };
        self.did(MicroOperation::Read {
            key: key.to_owned().into(),
            value: text.map(Into::into),
            mod_revision,
        });
    }

    fn did(&self, micro: MicroOperation<'static>) {
        let mut progress = self.progress.lock().expect("nothing panics here");
        progress.micro.push(micro);
    }

    /// The closure has ended; whether it commits is another matter.
    fn end(&self) {
        end_attempt(&mut self.progress.lock().expect("nothing panics here"));
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

fn end_attempt(progress: &mut Progress) {
    if let Some(operation) = progress.operation.take() {
        operation.ok(&progress.micro, Evidence::NONE);
    }
}

/// What a transaction saw that wrote nothing: of its own writes it may have read
/// some back.
fn reads_alone(micro: Vec<MicroOperation<'static>>) -> Vec<MicroOperation<'static>> {
    let mut written = BTreeSet::new();
    let mut reads = Vec::new();
    for micro in micro {
        match &micro {
            MicroOperation::Write { key, .. } => {
                written.insert(key.clone());
            }
            MicroOperation::Read { key, .. } if written.contains(key) => {}
            MicroOperation::Read { .. } => reads.push(micro),
        }
    }
    reads
}
