//! A bank: transfers among few accounts, so that transactions meet conflicts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etcd_client::Client;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::latency::Latency;
use super::place::{Place, each, since};
use super::{BenchError, Measured};
use crate::runtime;
use crate::stm::{Stm, StmError, Transaction};

const ACCOUNTS: u64 = 5;
const START: u64 = 1_000;

/// How a transfer reads its two accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    OneByOne,
    Together,
}

pub(super) async fn one_by_one(place: Place) -> Result<Measured, BenchError> {
    measure(place, Reads::OneByOne).await
}

pub(super) async fn together(place: Place) -> Result<Measured, BenchError> {
    measure(place, Reads::Together).await
}

async fn measure(place: Place, reads: Reads) -> Result<Measured, BenchError> {
    let load = place.load;
    let clients = place.clients(load.workers).await?;
    let mut bank = place.client().await?;
    for account in 0..ACCOUNTS {
        bank.put(name(&place, account), START.to_string(), None)
            .await?;
    }
    let latency = Arc::new(Latency::default());
    let tries = Arc::new(AtomicU64::new(0));
    let worker = |(number, client): (usize, &Client)| {
        let (stm, place) = (Stm::new(client), place.clone());
        let (latency, tries) = (Arc::clone(&latency), Arc::clone(&tries));
        async move {
            let mut random = ChaCha8Rng::seed_from_u64(place.seed ^ number as u64);
            for _ in 0..load.count {
                let from = random.random_range(0..ACCOUNTS);
                let to = (from + 1 + random.random_range(0..ACCOUNTS - 1)) % ACCOUNTS;
                let (from, to) = (name(&place, from), name(&place, to));
                let start = runtime::now();
                let done = stm.run(|txn| transfer(txn, reads, &from, &to)).await;
                let done = done.map_err(|error| match error {
                    StmError::Abort(error) => error,
                    StmError::Recipe(error) => error.into(),
                })?;
                latency.add(since(start));
                tries.fetch_add(u64::from(done.attempts), Ordering::Relaxed);
            }
            Ok(())
        }
    };
    let workers: Vec<_> = clients.iter().enumerate().map(worker).collect();
    let operations = load.count * u64::from(load.workers);
    let measured = place.timed(operations, each(workers)).await?;
    conserved(&place, &mut bank).await?;
    Ok(Measured {
        tries: Some(tries.load(Ordering::Relaxed)),
        ..measured.with("transaction", &latency)
    })
}

fn name(place: &Place, account: u64) -> String {
    place.name(&format!("account/{account}"))
}

/// Moves half of what is there.
async fn transfer(txn: Transaction, reads: Reads, from: &str, to: &str) -> Result<(), BenchError> {
    let (x, y) = match reads {
        Reads::OneByOne => (txn.get(from).await?, txn.get(to).await?),
        Reads::Together => {
            let mut both = txn.get_many([from, to]).await?;
            let second = both.pop().flatten();
            (both.pop().flatten(), second)
        }
    };
    let (x, y) = (balance(x)?, balance(y)?);
    txn.put(from, (x - x / 2).to_string());
    txn.put(to, (y + x / 2).to_string());
    Ok(())
}

fn balance(value: Option<Vec<u8>>) -> Result<u64, BenchError> {
    let text = value.and_then(|value| String::from_utf8(value).ok());
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| BenchError::Broken("an account does not hold a number".to_owned()))
}

async fn conserved(place: &Place, bank: &mut Client) -> Result<(), BenchError> {
    let mut sum = 0;
    for account in 0..ACCOUNTS {
        let answer = bank.get(name(place, account), None).await?;
        sum += balance(answer.kvs().first().map(|kv| kv.value().to_vec()))?;
    }
    if sum == ACCOUNTS * START {
        return Ok(());
    }
    let what = format!("the accounts hold {sum} in all, not {}", ACCOUNTS * START);
    Err(BenchError::Broken(what))
}
