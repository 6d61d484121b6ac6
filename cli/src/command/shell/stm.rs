//! Transactions, by hand: step by step, and transfers as a whole.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use etcd_client::{Client, Compare, CompareOp, KvClient, Txn, TxnOp};
use etcd_recipes::stm::{Committed, Stm, StmError, Transaction};
use etcd_recipes::{Error, runtime};
use tokio::sync::{mpsc, oneshot};

use super::command::{Command, Line, Problem, number};
use super::recipe::{Recipe, Running, nothing, result};
use super::text;
use crate::output;

const COMMANDS: &[Command] = &[
    Command::new(
        "get",
        "KEY",
        "reads a key in the transaction; the first step begins one",
    ),
    Command::new(
        "put",
        "KEY VALUE",
        "writes a key when the transaction commits",
    ),
    Command::new("del", "KEY", "deletes a key when the transaction commits"),
    Command::new(
        "rev",
        "KEY",
        "the revision at which the key was last modified, 0 if it is not there",
    ),
    Command::new(
        "commit",
        "",
        "commits the transaction, unless what it read has changed",
    ),
    Command::new("abort", "", "forgets the transaction"),
    Command::new(
        "transfer",
        "FROM TO AMOUNT",
        "moves an amount between two numbers, as a transaction of its own",
    ),
    Command::new(
        "transfer-txn",
        "FROM TO AMOUNT",
        "the same as reads and a compare-and-swap txn of etcd",
    ),
];

pub(super) struct Shell {
    stm: Stm,
    kv: KvClient,
    /// What every key begins with.
    prefix: String,
    open: Option<Open>,
}

impl Shell {
    pub(super) fn new(client: &Client, name: &str) -> Self {
        let prefix = match name.trim_end_matches('/') {
            "" => String::new(),
            name => format!("{name}/"),
        };
        Shell {
            stm: Stm::new(client),
            kv: client.kv_client(),
            prefix,
            open: None,
        }
    }

    fn key(&self, key: &str) -> Vec<u8> {
        format!("{}{key}", self.prefix).into_bytes()
    }

    async fn answer(&mut self, line: &Line) -> Result<(), Problem> {
        match line.parts() {
            ("get", [key]) => {
                let key = self.key(key);
                match self.step(|answer| Step::Get(key, answer)).await? {
                    Some(value) => result(text::of(&value)),
                    None => nothing("there is no such key"),
                }
            }
            ("rev", [key]) => {
                let key = self.key(key);
                result(self.step(|answer| Step::Rev(key, answer)).await?)
            }
            ("put", [key, value]) => {
                let (key, value) = (self.key(key), value.clone().into_bytes());
                self.step(|answer| Step::Write(key, Some(value), answer))
                    .await?;
                nothing("written when the transaction commits")
            }
            ("del", [key]) => {
                let key = self.key(key);
                self.step(|answer| Step::Write(key, None, answer)).await?;
                nothing("deleted when the transaction commits")
            }
            ("commit", []) => self.commit().await,
            ("abort", []) => match self.open.take() {
                Some(_) => nothing("the transaction is forgotten"),
                None => Err(Problem::wrong("there is no transaction to forget")),
            },
            ("transfer", [from, to, amount]) => {
                let transfer = Transfer::new(self.key(from), self.key(to), amount)?;
                transfer.tell(&transfer.as_transaction(&self.stm).await?)
            }
            ("transfer-txn", [from, to, amount]) => {
                let transfer = Transfer::new(self.key(from), self.key(to), amount)?;
                transfer.tell(&transfer.as_txn(&self.kv).await?)
            }
            _ => Err(Problem::usage(line)),
        }
    }

    /// Does a step of the transaction that is open; begins one if none is.
    async fn step<T>(
        &mut self,
        step: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Step,
    ) -> Result<T, Problem> {
        let open = match &self.open {
            Some(open) => open,
            None => self.open.insert(Open::begin(&self.stm)),
        };
        let (answer, answered) = oneshot::channel();
        // Whoever does not take the step does not answer it either.
        open.steps.send(step(answer)).ok();
        match answered.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.open = None;
                output::note("the transaction is over, nothing was written");
                Err(error.into())
            }
            Err(_) => {
                self.open = None;
                Err(Problem::wrong(
                    "the transaction is over, nothing was written: etcd has compacted away what it reads; begin again",
                ))
            }
        }
    }

    async fn commit(&mut self) -> Result<(), Problem> {
        let Some(open) = self.open.take() else {
            return Err(Problem::wrong(
                "there is no transaction; get, put, del or rev begins one",
            ));
        };
        match open.commit().await {
            Ok(Committed {
                revision: Some(revision),
                ..
            }) => result(format_args!("committed at revision {revision}")),
            Ok(Committed { revision: None, .. }) => result("committed, nothing was written"),
            Err(StmError::Recipe(error)) if error.is_too_many_attempts() => result(
                "conflict: what was read or is written has changed meanwhile; nothing was written",
            ),
            Err(StmError::Recipe(error)) => Err(error.into()),
            Err(error) => Err(Problem::wrong(error.to_string())),
        }
    }
}

impl Recipe for Shell {
    fn commands(&self) -> &'static [Command] {
        COMMANDS
    }

    fn run<'a>(&'a mut self, line: &'a Line) -> Running<'a> {
        Box::pin(self.answer(line))
    }
}

/// A transaction in the making. The library runs a transaction as a closure;
/// this one's closure takes its steps from a channel and returns when it is to
/// commit. Dropping it forgets the transaction.
struct Open {
    steps: mpsc::UnboundedSender<Step>,
    outcome: oneshot::Receiver<Outcome>,
    _task: runtime::Task,
}

type Outcome = Result<Committed<()>, StmError<Infallible>>;

enum Step {
    Get(Vec<u8>, oneshot::Sender<Result<Option<Vec<u8>>, Error>>),
    Rev(Vec<u8>, oneshot::Sender<Result<i64, Error>>),
    /// No value is a deletion.
    Write(Vec<u8>, Option<Vec<u8>>, oneshot::Sender<Result<(), Error>>),
    Commit,
}

impl Open {
    fn begin(stm: &Stm) -> Self {
        // A person's steps cannot be repeated for him.
        let stm = stm.clone().max_attempts(1);
        let (steps, taken) = mpsc::unbounded_channel();
        let (done, outcome) = oneshot::channel();
        let task = runtime::spawn(async move {
            let taken = Arc::new(Mutex::new(Some(taken)));
            let run = stm.run(|txn| {
                let steps = taken.lock().ok().and_then(|mut steps| steps.take());
                async move {
                    if let Some(steps) = steps {
                        follow(&txn, steps).await;
                    }
                    Ok::<(), Infallible>(())
                }
            });
            done.send(run.await).ok();
        });
        Open {
            steps,
            outcome,
            _task: task,
        }
    }

    async fn commit(self) -> Outcome {
        self.steps.send(Step::Commit).ok();
        match self.outcome.await {
            Ok(outcome) => outcome,
            // The task ends with an outcome or not at all.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Does the steps until one says to commit.
async fn follow(txn: &Transaction, mut steps: mpsc::UnboundedReceiver<Step>) {
    while let Some(step) = steps.recv().await {
        match step {
            Step::Get(key, answer) => drop(answer.send(txn.get(key).await)),
            Step::Rev(key, answer) => drop(answer.send(txn.rev(key).await)),
            Step::Write(key, value, answer) => {
                match value {
                    Some(value) => txn.put(key, value),
                    None => txn.del(key),
                }
                answer.send(Ok(())).ok();
            }
            Step::Commit => return,
        }
    }
    // Forgotten: there is nobody to commit for.
    std::future::pending::<()>().await;
}

/// Moves an amount from one key to another; both hold a decimal number.
struct Transfer {
    from: Vec<u8>,
    to: Vec<u8>,
    amount: u64,
}

/// A transfer that was made.
struct Moved {
    from: i128,
    to: i128,
    attempts: u32,
    revision: i64,
}

/// Why a transfer cannot be made.
#[derive(Debug, thiserror::Error)]
enum Objection {
    #[error("{0}")]
    Account(String),
    #[error(transparent)]
    Read(#[from] Error),
}

impl Transfer {
    fn new(from: Vec<u8>, to: Vec<u8>, amount: &str) -> Result<Self, Problem> {
        if from == to {
            return Err(Problem::wrong("a transfer needs two different keys"));
        }
        let amount = number(amount, "a whole number from 0")?;
        Ok(Transfer { from, to, amount })
    }

    /// What the keys hold afterwards.
    fn apply(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<(i128, i128), Objection> {
        let from = balance(&self.from, from)?;
        let to = balance(&self.to, to)?;
        let left = from - i128::from(self.amount);
        if left < 0 {
            let what = format!(
                "{} holds {from}, less than {}",
                text::of(&self.from),
                self.amount
            );
            return Err(Objection::Account(what));
        }
        Ok((left, to + i128::from(self.amount)))
    }

    async fn as_transaction(&self, stm: &Stm) -> Result<Moved, Problem> {
        let done = stm
            .run(|txn| async move {
                let held = txn.get_many([self.from.as_slice(), &self.to]).await?;
                let value = |i: usize| held.get(i).and_then(Option::as_deref);
                let (from, to) = self.apply(value(0), value(1))?;
                txn.put(self.from.as_slice(), from.to_string());
                txn.put(self.to.as_slice(), to.to_string());
                Ok::<_, Objection>((from, to))
            })
            .await;
        match done {
            Ok(done) => Ok(Moved {
                from: done.value.0,
                to: done.value.1,
                attempts: done.attempts,
                revision: done.revision.unwrap_or(0),
            }),
            Err(StmError::Abort(Objection::Account(what))) => Err(Problem::wrong(what)),
            Err(StmError::Abort(Objection::Read(error)) | StmError::Recipe(error)) => {
                Err(error.into())
            }
            Err(error) => Err(Problem::wrong(error.to_string())),
        }
    }

    /// Reads both keys, and writes both if neither has changed since; as often
    /// as it takes.
    async fn as_txn(&self, kv: &KvClient) -> Result<Moved, Problem> {
        let mut kv = kv.clone();
        let failed = |error: etcd_client::Error| Problem::wrong(format!("etcd: {error}"));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let keys = [&self.from, &self.to];
            let gets = keys.map(|key| TxnOp::get(key.as_slice(), None));
            let read = kv.txn(Txn::new().and_then(gets)).await.map_err(failed)?;
            let versions: Vec<_> = read.op_responses().into_iter().map(version).collect();
            let [from, to] = versions
                .try_into()
                .map_err(|_| Problem::wrong("etcd: the answer does not fit the request"))?;
            let moved = self
                .apply(from.0.as_deref(), to.0.as_deref())
                .map_err(|objection| Problem::wrong(objection.to_string()))?;
            let unchanged = [(&self.from, from.1), (&self.to, to.1)].map(|(key, revision)| {
                Compare::mod_revision(key.as_slice(), CompareOp::Equal, revision)
            });
            let puts = [(&self.from, moved.0), (&self.to, moved.1)]
                .map(|(key, value)| TxnOp::put(key.as_slice(), value.to_string(), None));
            let txn = Txn::new().when(unchanged).and_then(puts);
            // Not sent again after an error: the first one may have been applied.
            let written = kv.txn(txn).await.map_err(|error| {
                Problem::wrong(format!(
                    "etcd: {error}; look before you transfer again, it may have happened"
                ))
            })?;
            if written.succeeded() {
                return Ok(Moved {
                    from: moved.0,
                    to: moved.1,
                    attempts,
                    revision: written
                        .header()
                        .map_or(0, etcd_client::ResponseHeader::revision),
                });
            }
            runtime::sleep(runtime::jittered(std::time::Duration::from_millis(2))).await;
        }
    }

    fn tell(&self, moved: &Moved) -> Result<(), Problem> {
        let Moved {
            from,
            to,
            attempts,
            revision,
        } = moved;
        let tries = if *attempts == 1 {
            "1 attempt".to_owned()
        } else {
            format!("{attempts} attempts")
        };
        result(format_args!(
            "{} holds {from}, {} holds {to}, at revision {revision} after {tries}",
            text::of(&self.from),
            text::of(&self.to),
        ))
    }
}

/// The value of a key and the revision of its last change.
fn version(answer: etcd_client::TxnOpResponse) -> (Option<Vec<u8>>, i64) {
    match answer {
        etcd_client::TxnOpResponse::Get(mut range) => match range.take_kvs().pop() {
            Some(kv) => (Some(kv.value().to_vec()), kv.mod_revision()),
            None => (None, 0),
        },
        _ => (None, 0),
    }
}

fn balance(key: &[u8], value: Option<&[u8]>) -> Result<i128, Objection> {
    let key = text::of(key);
    let value = value.ok_or_else(|| Objection::Account(format!("there is no key {key}")))?;
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| Objection::Account(format!("{key} does not hold a whole number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(amount: &str) -> Transfer {
        Transfer::new(b"a".to_vec(), b"b".to_vec(), amount).unwrap()
    }

    #[test]
    fn a_transfer_moves_what_is_there() {
        let apply = |amount, from: &str, to: &str| {
            transfer(amount)
                .apply(Some(from.as_bytes()), Some(to.as_bytes()))
                .ok()
        };
        assert_eq!(apply("30", "100", "0"), Some((70, 30)));
        assert_eq!(apply("100", "100", "-5"), Some((0, 95)));
        assert_eq!(apply("101", "100", "0"), None);
        assert_eq!(apply("1", "x", "0"), None);
        assert!(transfer("1").apply(None, Some(b"0")).is_err());
    }

    #[test]
    fn a_transfer_needs_two_keys_and_a_number() {
        assert!(Transfer::new(b"a".to_vec(), b"a".to_vec(), "1").is_err());
        assert!(Transfer::new(b"a".to_vec(), b"b".to_vec(), "-1").is_err());
    }
}
