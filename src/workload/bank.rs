//! Transfers between the accounts of a bank, each a transaction of the STM.
//!
//! A transfer moves half of one account to another one; in between, clients
//! read all accounts. Money is neither made nor lost: each reading adds up to
//! the same total, in every order in which transactions could have happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etcd_checker::Model;
use etcd_checker::history::{Evidence, Json, MicroOperation};
use rand::RngExt as _;
use serde::Serialize;

use super::{Actor, Bug, Ended, Parameter, Parameters, Running, Stage, Workload};
use crate::Error;
use crate::stm::{Isolation, Stm, StmError, Transaction};

/// See the [module](self).
pub struct BankWorkload;

const READ_COMMITTED: Bug = Bug {
    name: "stm-read-committed",
    about: "transfers run at ReadCommitted: nothing checks that what was read still holds",
};

impl Workload for BankWorkload {
    fn name(&self) -> &'static str {
        "bank"
    }

    fn about(&self) -> &'static str {
        "transfers between accounts by STM, and readings of all accounts that must add up"
    }

    fn model(&self) -> Model {
        Model::Bank
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter {
                name: "accounts",
                about: "accounts",
                bounds: (2, 100),
                drawn: (5, 5),
                live: 5,
            },
            Parameter {
                name: "balance",
                about: "what each account holds at the start",
                bounds: (1, 1_000_000_000),
                drawn: (100, 100),
                live: 100,
            },
            Parameter {
                name: "clients",
                about: "clients that transfer",
                bounds: (1, 1_000),
                drawn: (10, 10),
                live: 10,
            },
            Parameter {
                name: "transfers",
                about: "transfers by each client",
                bounds: (0, 1_000_000),
                drawn: (100, 100),
                live: 100,
            },
            Parameter {
                name: "think_ms",
                about: "the longest pause of a client between two transactions, in milliseconds",
                bounds: (0, 60_000),
                drawn: (0, 40),
                live: 5,
            },
        ]
    }

    fn bugs(&self) -> &'static [Bug] {
        &[READ_COMMITTED]
    }

    fn header_parameters(&self, parameters: &Parameters) -> Json {
        #[derive(Serialize)]
        struct Facts {
            accounts: Vec<String>,
            total: u64,
            clients: u64,
            transfers: u64,
            think_ms: u64,
        }
        let accounts = parameters.count("accounts");
        let facts = Facts {
            accounts: (0..accounts).map(account_key).collect(),
            total: u64::from(accounts) * parameters.get("balance"),
            clients: parameters.get("clients"),
            transfers: parameters.get("transfers"),
            think_ms: parameters.get("think_ms"),
        };
        Json::new(&facts).expect("numbers and keys have a JSON form")
    }

    fn clients(&self, parameters: &Parameters) -> u32 {
        parameters.count("clients")
    }

    fn has_watches(&self) -> bool {
        false
    }

    fn lasts_ms(&self, parameters: &Parameters) -> u64 {
        500 + parameters.get("transfers") * parameters.get("think_ms")
    }

    fn run(&self, stage: Stage, parameters: Parameters) -> Running {
        Box::pin(async move { run(stage, &parameters).await })
    }
}

async fn run(stage: Stage, parameters: &Parameters) -> Result<Ended, Error> {
    let bank = Bank {
        accounts: parameters.count("accounts"),
        balance: parameters.get("balance"),
        transfers: parameters.get("transfers"),
        think_ms: parameters.get("think_ms"),
        stage: stage.clone(),
    };
    let clients = parameters.count("clients");
    let mut driver = stage.actor(clients).await?;
    let opened = stage.in_time(bank.open_accounts(&mut driver)).await;
    if opened.is_none() {
        return Ok(Ended::Stuck);
    }
    for client in 0..clients {
        bank.start_client(client);
    }
    let ended = stage.settle().await;
    if ended == Ended::Finished {
        let read = async { while !bank.read_all(&mut driver).await {} };
        if stage.in_time(read).await.is_none() {
            return Ok(Ended::Stuck);
        }
    }
    Ok(ended)
}

/// The key of an account, below the prefix of the run.
fn account_key(account: u32) -> String {
    format!("accounts/{account}")
}

/// The bank that a run works with.
#[derive(Clone)]
struct Bank {
    stage: Stage,
    accounts: u32,
    balance: u64,
    transfers: u64,
    think_ms: u64,
}

impl Bank {
    fn start_client(&self, client: u32) {
        let bank = self.clone();
        // Outlives the process: a restarted client goes on where it was.
        let done = Arc::new(AtomicU64::new(0));
        self.stage.start(client, move |mut actor| {
            let (bank, done) = (bank.clone(), Arc::clone(&done));
            async move {
                while done.fetch_add(1, Ordering::Relaxed) < bank.transfers {
                    bank.transfer(&mut actor).await;
                    if actor.rng().random_bool(0.2) {
                        bank.read_all(&mut actor).await;
                    }
                    actor.think(bank.think_ms).await;
                }
            }
        });
    }

    async fn open_accounts(&self, driver: &mut Actor) {
        let bank = self.clone();
        let open = move |transaction: Transaction| {
            let bank = bank.clone();
            async move {
                for account in 0..bank.accounts {
                    let key = bank.key(account);
                    if transaction.get(key.as_str()).await?.is_none() {
                        transaction.put(key, bank.balance.to_string());
                    }
                }
                Ok(())
            }
        };
        while !self.transact(driver, open.clone()).await {}
    }

    async fn transfer(&self, actor: &mut Actor) -> bool {
        let from = actor.rng().random_range(0..self.accounts);
        let to = (from + actor.rng().random_range(1..self.accounts)) % self.accounts;
        let (from, to) = (self.key(from), self.key(to));
        self.transact(actor, move |transaction| {
            let (from, to) = (from.clone(), to.clone());
            async move {
                let from_balance = balance(&transaction, &from).await?;
                let to_balance = balance(&transaction, &to).await?;
                let amount = from_balance / 2;
                transaction.put(from, (from_balance - amount).to_string());
                transaction.put(to, (to_balance + amount).to_string());
                Ok(())
            }
        })
        .await
    }

    async fn read_all(&self, actor: &mut Actor) -> bool {
        let bank = self.clone();
        self.transact(actor, move |transaction| {
            let bank = bank.clone();
            async move {
                for account in 0..bank.accounts {
                    balance(&transaction, &bank.key(account)).await?;
                }
                Ok(())
            }
        })
        .await
    }

    /// Runs and records one transaction; true when it committed.
    async fn transact<F, Fut>(&self, actor: &mut Actor, body: F) -> bool
    where
        F: Fn(Transaction) -> Fut,
        Fut: Future<Output = Result<(), Error>>,
    {
        let latest: Arc<std::sync::Mutex<Option<Transaction>>> = Arc::default();
        let operation = actor.invoke("txn", ());
        let result = self
            .stm(actor)
            .run(|transaction| {
                *latest.lock().expect("nothing panics here") = Some(transaction.clone());
                body(transaction)
            })
            .await;
        let attempt = latest.lock().expect("nothing panics here").take();
        let micro = attempt.map(|attempt| self.micro_operations(&attempt));
        match result {
            Ok(committed) => {
                let evidence = Evidence {
                    revision: committed.revision,
                    mod_revision: None,
                };
                operation.ok(micro.unwrap_or_default(), evidence);
                true
            }
            Err(StmError::Abort(error) | StmError::Recipe(error)) => {
                operation.failed(&error, micro.unwrap_or_default());
                actor.back_off().await;
                false
            }
        }
    }

    fn stm(&self, actor: &Actor) -> Stm {
        let isolation = if self.stage.has_bug(READ_COMMITTED.name) {
            Isolation::ReadCommitted
        } else {
            Isolation::SerializableSnapshot
        };
        Stm::new(actor.etcd()).isolation(isolation)
    }

    fn key(&self, account: u32) -> String {
        format!("{}{}", self.stage.prefix(), account_key(account))
    }

    /// What an attempt read and wrote, as histories have it.
    fn micro_operations(&self, attempt: &Transaction) -> Vec<MicroOperation<'static>> {
        let short = |key: &[u8]| {
            let key = String::from_utf8_lossy(key);
            let short = key.strip_prefix(self.stage.prefix()).unwrap_or(&key);
            short.to_owned()
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let reads = attempt.reads().into_iter().map(|read| match read.value {
            Some(value) => MicroOperation::read(short(&read.key), text(&value), read.mod_revision),
            None => MicroOperation::read_absent(short(&read.key)),
        });
        let writes = attempt.writes().into_iter().map(|write| match write.value {
            Some(value) => MicroOperation::write(short(&write.key), text(&value)),
            None => MicroOperation::delete(short(&write.key)),
        });
        reads.chain(writes).collect()
    }
}

async fn balance(transaction: &Transaction, key: &str) -> Result<u64, Error> {
    let value = transaction.get(key).await?;
    let text = value.as_deref().map(String::from_utf8_lossy);
    let number = text.as_deref().and_then(|text| text.parse().ok());
    Ok(number.unwrap_or_default())
}
