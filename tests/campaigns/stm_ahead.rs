//! A transaction that begins with what the one before it has revealed promises
//! no less than one that reads anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use etcd_recipes::etcd_client::Client;
use etcd_recipes::stm::Committed;
use etcd_recipes::{Error, Stm};
use etcd_sim::simulation::Simulation;

use crate::support::quiet;

async fn increment(stm: &Stm, key: &'static str) -> Committed<u32> {
    let done = stm.run(|txn| async move {
        let value = number(txn.get(key).await?) + 1;
        txn.put(key, value.to_string());
        Ok::<_, Error>(value)
    });
    done.await.unwrap()
}

fn number(value: Option<Vec<u8>>) -> u32 {
    value.map_or(0, |value| {
        String::from_utf8(value).unwrap().parse().unwrap()
    })
}

async fn clients(simulation: &Simulation) -> (Client, Client) {
    (
        simulation.client(0).await.unwrap(),
        simulation.client(1).await.unwrap(),
    )
}

#[test]
fn a_transaction_that_only_reads_sees_what_others_wrote_before_it_began() {
    quiet(|simulation| async move {
        let (client, mut other) = clients(&simulation).await;
        let stm = Stm::new(&client);
        increment(&stm, "a").await;
        other.put("a", "7", None).await.unwrap();
        let done = stm.run(|txn| async move { Ok::<_, Error>(number(txn.get("a").await?)) });
        let done = done.await.unwrap();
        assert_eq!((done.value, done.read_revision), (7, Some(3)));
    });
}

#[test]
fn a_transaction_that_only_reads_says_a_revision_of_its_own_time() {
    quiet(|simulation| async move {
        let (client, mut other) = clients(&simulation).await;
        let stm = Stm::new(&client);
        increment(&stm, "a").await;
        other.put("elsewhere", "7", None).await.unwrap();
        let done = stm.run(|txn| async move { Ok::<_, Error>(number(txn.get("a").await?)) });
        let done = done.await.unwrap();
        assert_eq!((done.value, done.read_revision), (1, Some(3)));
    });
}

#[test]
fn an_update_of_what_others_wrote_is_not_lost() {
    quiet(|simulation| async move {
        let (client, mut other) = clients(&simulation).await;
        let stm = Stm::new(&client);
        increment(&stm, "a").await;
        other.put("a", "7", None).await.unwrap();
        let done = increment(&stm, "a").await;
        assert_eq!((done.value, done.attempts), (8, 2));
        // Between two changes of others as well.
        assert_eq!(increment(&stm, "a").await.attempts, 1);
    });
}

#[test]
fn an_abort_is_not_decided_by_what_is_out_of_date() {
    quiet(|simulation| async move {
        let (client, mut other) = clients(&simulation).await;
        let stm = Stm::new(&client);
        increment(&stm, "a").await;
        other.put("a", "7", None).await.unwrap();
        let runs = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&runs);
        let done = stm.run(|txn| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                match number(txn.get("a").await.map_err(|e| e.to_string())?) {
                    1 => Err("one is too little".to_owned()),
                    n => Ok(n),
                }
            }
        });
        assert_eq!(done.await.unwrap().value, 7);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn whoever_has_a_single_attempt_reads_anew() {
    quiet(|simulation| async move {
        let (client, mut other) = clients(&simulation).await;
        let stm = Stm::new(&client).max_attempts(1);
        increment(&stm, "a").await;
        other.put("a", "7", None).await.unwrap();
        assert_eq!(increment(&stm, "a").await.value, 8);
    });
}

#[test]
fn writes_without_reads_overwrite_whatever_is_there() {
    quiet(|simulation| async move {
        let (client, mut other) = clients(&simulation).await;
        let stm = Stm::new(&client);
        increment(&stm, "a").await;
        other.put("b", "theirs", None).await.unwrap();
        let done = stm.run(|txn| async move {
            txn.put("b", "ours");
            Ok::<_, Error>(())
        });
        assert_eq!(done.await.unwrap().attempts, 1);
    });
}

#[test]
fn a_transaction_that_only_reads_runs_twice_at_most() {
    quiet(|simulation| async move {
        let (client, other) = clients(&simulation).await;
        let stm = Stm::new(&client);
        increment(&stm, "a").await;
        let done = stm.run(|txn| {
            let mut other = other.clone();
            async move {
                let value = txn.get("a").await?;
                // Others write all the time.
                other.put("a", "7", None).await.unwrap();
                Ok::<_, Error>(number(value))
            }
        });
        let done = done.await.unwrap();
        assert_eq!((done.value, done.attempts), (7, 2));
    });
}
