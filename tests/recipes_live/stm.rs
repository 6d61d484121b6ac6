use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_recipes::etcd_client::Client;
use etcd_recipes::runtime;
use etcd_recipes::stm::{Isolation, StmError, Transaction};
use etcd_recipes::{Error, Stm};

use super::proxy::Proxy;
use super::server::{Server, connect};
use super::{A_MINUTE, all, within};

async fn number(txn: &Transaction, key: &str) -> Result<i64, Error> {
    let value = txn.get(key).await?.unwrap_or_default();
    Ok(String::from_utf8(value).unwrap().parse().unwrap_or(0))
}

async fn put(client: &Client, key: &str, value: &str) {
    client.clone().put(key, value, None).await.unwrap();
}

#[tokio::test]
async fn money_is_neither_made_nor_lost() {
    let server = Server::shared();
    let client = server.client().await;
    let accounts: Vec<String> = (0..5).map(|n| format!("bank/{n}")).collect();
    for account in &accounts {
        put(&client, account, "100").await;
    }
    let clients = (0..10_usize).map(|worker| {
        let (stm, accounts) = (Stm::new(&client), accounts.clone());
        async move {
            let mut attempts = 0;
            for round in 0..20 {
                let from = accounts[(worker + round) % 5].clone();
                let to = accounts[(worker + round * 3 + 1) % 5].clone();
                let all = accounts.clone();
                if round % 4 == 3 {
                    let read = stm.run(|txn| {
                        let all = all.clone();
                        async move { txn.get_many(all).await }
                    });
                    let read = read.await.unwrap();
                    let sum = read.value.iter().flatten().map(|value| {
                        let text = String::from_utf8(value.clone()).unwrap();
                        text.parse::<i64>().unwrap()
                    });
                    assert_eq!(sum.sum::<i64>(), 500);
                    // Twice if it began with what an earlier commit had revealed.
                    assert!(read.revision.is_none() && read.attempts <= 2);
                    continue;
                }
                let done = stm.run(|txn| {
                    let (from, to) = (from.clone(), to.clone());
                    async move {
                        let amount = number(&txn, &from).await? / 2;
                        let left = number(&txn, &from).await? - amount;
                        txn.put(from.as_str(), left.to_string());
                        let sum = number(&txn, &to).await? + amount;
                        txn.put(to.as_str(), sum.to_string());
                        Ok::<_, Error>(())
                    }
                });
                attempts += done.await.unwrap().attempts;
            }
            attempts
        }
    });
    let start = runtime::now();
    let attempts = within(A_MINUTE, all(clients.collect())).await;
    let passed = (runtime::now() - start).as_secs_f64();
    let (attempts, transfers) = (attempts.iter().sum::<u32>(), 150);
    println!("{transfers} transfers in {passed:.2} s, {attempts} attempts");
    assert!(attempts >= transfers);
}

/// The closure never sees A and B differ, although they do change between its
/// reads, and also on the retry after a conflict.
#[tokio::test]
async fn an_attempt_sees_one_state_also_after_a_conflict() {
    let server = Server::shared();
    let client = server.client().await;
    for (n, isolation) in [Isolation::SerializableSnapshot, Isolation::Serializable]
        .into_iter()
        .enumerate()
    {
        let key = |name: &str| format!("pair{n}/{name}");
        for name in ["a", "b"] {
            put(&client, &key(name), "1").await;
        }
        let runs = AtomicU32::new(0);
        let stm = Stm::new(&client).isolation(isolation);
        let done = stm.run(|txn| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            let (a, b, out) = (key("a"), key("b"), key("out"));
            let client = client.clone();
            async move {
                // Odd runs read B first: on the retry it was not read before.
                let first = number(&txn, if run == 0 { &a } else { &b }).await?;
                if run < 2 {
                    let next = (run + 2).to_string();
                    put(&client, &a, &next).await;
                    put(&client, &b, &next).await;
                }
                let second = number(&txn, if run == 0 { &b } else { &a }).await?;
                assert_eq!(first, second, "run {run}");
                txn.put(out, first.to_string());
                Ok::<_, Error>(first)
            }
        });
        let done = within(A_MINUTE, done).await.unwrap();
        assert_eq!((done.value, done.attempts), (3, 3));
        assert!(done.revision > done.read_revision);
    }
}

#[tokio::test]
async fn a_compacted_snapshot_begins_anew_unseen() {
    let server = Server::own();
    let client = server.client().await;
    put(&client, "a", "1").await;
    let runs = AtomicU32::new(0);
    let done = Stm::new(&client)
        .run(|txn| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            let mut client = client.clone();
            async move {
                let a = number(&txn, "a").await?;
                if run == 0 {
                    put(&client, "a", "2").await;
                    let answer = client.put("b", "2", None).await.unwrap();
                    let revision = answer.header().unwrap().revision();
                    client.compact(revision, None).await.unwrap();
                }
                let b = number(&txn, "b").await;
                assert!(b.is_ok(), "{b:?}");
                Ok::<_, Error>((a, b?))
            }
        })
        .await
        .unwrap();
    assert_eq!((done.value, done.attempts), ((2, 2), 2));
}

#[tokio::test]
async fn a_transaction_reads_its_own_writes() {
    let server = Server::shared();
    let client = server.client().await;
    put(&client, "own-writes/a", "1").await;
    let kept = std::sync::Mutex::new(None);
    let done = Stm::new(&client)
        .run(|txn| {
            *kept.lock().unwrap() = Some(txn.clone());
            async move {
                let key = "own-writes/a";
                let revision = txn.rev(key).await?;
                txn.put(key, "2");
                assert_eq!(number(&txn, key).await?, 2);
                txn.del(key);
                assert_eq!(txn.get(key).await?, None);
                assert_eq!(txn.rev(key).await?, revision);
                assert_eq!(txn.rev("own-writes/none").await?, 0);
                Ok::<_, Error>(revision)
            }
        })
        .await
        .unwrap();
    assert_eq!(
        client
            .clone()
            .get("own-writes/a", None)
            .await
            .unwrap()
            .kvs()
            .len(),
        0
    );
    let txn = kept.lock().unwrap().take().unwrap();
    let (reads, writes) = (txn.reads(), txn.writes());
    assert_eq!((reads.len(), writes.len()), (2, 1));
    assert_eq!(
        (reads[0].mod_revision, reads[1].mod_revision),
        (done.value, 0)
    );
    assert_eq!(writes[0].value, None);
    assert!(done.revision.unwrap() > done.value);
    // Deleting what does not exist writes nothing.
    let stm = Stm::new(&client);
    let nothing = stm.run(|txn| async move {
        txn.del("own-writes/a");
        Ok::<_, Error>(())
    });
    assert_eq!(nothing.await.unwrap().revision, None);
}

#[tokio::test]
async fn an_abort_writes_nothing_and_is_handed_back() {
    #[derive(Debug)]
    enum Refusal {
        Poor(i64),
        Etcd(Error),
    }
    impl From<Error> for Refusal {
        fn from(error: Error) -> Self {
            Self::Etcd(error)
        }
    }
    let server = Server::shared();
    let client = server.client().await;
    put(&client, "abort/a", "7").await;
    for isolation in [
        Isolation::SerializableSnapshot,
        Isolation::RepeatableReads,
        Isolation::ReadCommitted,
    ] {
        let stm = Stm::new(&client).isolation(isolation);
        let aborted = stm.run(|txn| async move {
            txn.put("abort/a", "0");
            txn.get("abort/b").await?;
            txn.get("abort/c").await?;
            let mod_revision = txn.rev("abort/a").await?;
            assert!(mod_revision > 0);
            Err::<(), _>(Refusal::Poor(7))
        });
        match aborted.await {
            Err(StmError::Abort(Refusal::Poor(7))) => {}
            Err(StmError::Abort(Refusal::Etcd(error))) => panic!("{error}"),
            other => panic!("{other:?}"),
        }
    }
    let value = client.clone().get("abort/a", None).await.unwrap();
    assert_eq!(value.kvs()[0].value(), b"7");
}

/// A transaction that somebody else gets in the way of, every time.
async fn contended(stm: Stm, client: &Client, key: &str) -> Result<i64, StmError<Error>> {
    let done = stm.run(|txn| {
        let (client, key) = (client.clone(), key.to_owned());
        async move {
            let value = number(&txn, &key).await?;
            put(&client, &key, &(value + 10).to_string()).await;
            txn.put(key, (value + 1).to_string());
            Ok(value)
        }
    });
    done.await.map(|done| done.value)
}

#[tokio::test]
async fn attempts_and_time_are_bounded_on_request() {
    let server = Server::shared();
    let client = server.client().await;
    let stm = Stm::new(&client).max_attempts(3);
    let Err(StmError::Recipe(error)) = contended(stm, &client, "bounded/a").await else {
        panic!("it cannot commit");
    };
    assert!(
        error.is_too_many_attempts() && error.is_definite(),
        "{error}"
    );
    let limit = Duration::from_millis(200);
    let stm = Stm::new(&client).deadline(limit);
    let ends = runtime::timeout(Duration::from_secs(9), contended(stm, &client, "bounded/b"));
    let Err(StmError::Recipe(error)) = ends.await.expect("it has a deadline") else {
        panic!("it cannot commit");
    };
    // If the last request ran out of time, it had less than all of it.
    assert!(error.waited().is_some_and(|w| w <= limit), "{error}");
    let stm = Stm::new(&client).deadline(limit);
    let slow = stm.run(|_| async {
        runtime::sleep(Duration::from_secs(9)).await;
        Ok::<_, Error>(())
    });
    assert!(slow.await.is_err());
}

#[tokio::test]
async fn only_read_committed_loses_updates() {
    let server = Server::shared();
    let client = server.client().await;
    for (n, (isolation, lost)) in [
        (Isolation::SerializableSnapshot, false),
        (Isolation::Serializable, false),
        (Isolation::RepeatableReads, false),
        (Isolation::ReadCommitted, true),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("update/{n}");
        let stm = Stm::new(&client).isolation(isolation).max_attempts(2);
        let committed = contended(stm, &client, &key).await.is_ok();
        assert_eq!(committed, lost, "{isolation:?}");
    }
}

#[tokio::test]
async fn blind_writes_conflict_with_the_snapshot_only_where_promised() {
    let server = Server::shared();
    let client = server.client().await;
    for (n, (isolation, attempts)) in [
        (Isolation::SerializableSnapshot, 2),
        (Isolation::Serializable, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let runs = AtomicU32::new(0);
        let stm = Stm::new(&client).isolation(isolation);
        let done = stm.run(|txn| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            let client = client.clone();
            async move {
                number(&txn, &format!("blind{n}/read")).await?;
                if run == 0 {
                    put(&client, &format!("blind{n}/written"), "theirs").await;
                }
                txn.put(format!("blind{n}/written"), "ours");
                Ok::<_, Error>(())
            }
        });
        assert_eq!(done.await.unwrap().attempts, attempts, "{isolation:?}");
    }
}

#[tokio::test]
async fn a_snapshot_transaction_reads_and_writes_128_keys_in_all() {
    let server = Server::shared();
    let client = server.client().await;
    let touch = async |isolation, reads: usize, writes: usize| {
        let stm = Stm::new(&client).isolation(isolation);
        let done = stm.run(|txn| async move {
            txn.get_many((0..reads).map(|n| format!("many/r{n}")))
                .await?;
            (0..writes).for_each(|n| txn.put(format!("many/w{n}"), ""));
            Ok::<_, Error>(())
        });
        match done.await {
            Ok(_) => true,
            Err(StmError::Recipe(error)) if error.is_refused() => false,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(touch(Isolation::SerializableSnapshot, 64, 64).await);
    assert!(!touch(Isolation::SerializableSnapshot, 65, 64).await);
    assert!(touch(Isolation::Serializable, 128, 128).await);
    assert!(!touch(Isolation::Serializable, 129, 1).await);
}

#[tokio::test]
async fn the_deadline_of_a_transaction_bounds_its_commit_too() {
    let server = Server::shared();
    let direct = server.client().await;
    let proxy = Proxy::new(server.port());
    let client = connect(&proxy.endpoint()).await;
    let stm = Stm::new(&client).deadline(Duration::from_millis(900));
    let start = runtime::now();
    let proxy = &proxy;
    let error = stm
        .run(|txn| async move {
            txn.get("late/a").await?;
            runtime::sleep(Duration::from_millis(600)).await;
            proxy.lose_answers();
            txn.put("late/a", "x");
            Ok::<_, Error>(())
        })
        .await
        .unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    let took = runtime::now() - start;
    assert!(took < Duration::from_millis(1_300), "{took:?}");
    let kept = direct.kv_client().get("late/a", None).await.unwrap();
    assert_eq!(kept.kvs().len(), 1);
}
