//! STM: the transactions that etcd's Go STM sends, with what ours does better.

use std::sync::atomic::{AtomicU32, Ordering};

use etcd_recipes::etcd_client::Client;
use etcd_recipes::stm::Isolation;
use etcd_recipes::{Error, Stm};
use etcd_sim::simulation::Simulation;

use super::tap::{Tap, quiet, stored};

/// A client that is read along with, and one that is not. `a` holds 1 since
/// revision 2.
async fn clients(simulation: &Simulation) -> (Tap, Client, Client) {
    let tap = Tap::default();
    let client = tap.client(simulation, 0).await;
    let other = simulation.client(1).await.unwrap();
    other.clone().put("a", "1", None).await.unwrap();
    (tap, client, other)
}

/// What a transaction sends that reads `a` and `b`, one after the other, and writes
/// `a` and `w`.
fn sent_at(isolation: Isolation) -> Vec<String> {
    quiet(move |simulation| async move {
        let (tap, client, _) = clients(&simulation).await;
        let stm = Stm::new(&client).isolation(isolation);
        let done = stm.run(|txn| async move {
            txn.get("a").await?;
            txn.get("b").await?;
            txn.put("a", "2");
            txn.put("w", "new");
            Ok::<_, Error>(())
        });
        assert_eq!(done.await.unwrap().revision, Some(3));
        assert_eq!(stored(&simulation), ["a \"2\"", "w \"new\""]);
        tap.take()
    })
}

#[test]
fn a_snapshot_is_what_the_first_read_says_and_blind_writes_count() {
    assert_eq!(
        sent_at(Isolation::SerializableSnapshot),
        [
            "if  then get a",
            "if  then get b at 2 serializable",
            "if a modified = 2, b modified = 0, w modified < 3 \
             then put a \"2\", put w \"new\" else get a, get b",
        ]
    );
}

#[test]
fn at_serializable_blind_writes_do_not_count() {
    assert_eq!(
        sent_at(Isolation::Serializable),
        [
            "if  then get a",
            "if  then get b at 2 serializable",
            "if a modified = 2, b modified = 0 \
             then put a \"2\", put w \"new\" else get a, get b",
        ]
    );
}

/// In Go these reads are serializable: a member that lags can make a transaction
/// conflict with the same stale value again and again.
#[test]
fn at_repeatable_reads_every_read_goes_through_the_cluster() {
    assert_eq!(
        sent_at(Isolation::RepeatableReads),
        [
            "if  then get a",
            "if  then get b",
            "if a modified = 2, b modified = 0 then put a \"2\", put w \"new\"",
        ]
    );
}

#[test]
fn at_read_committed_nothing_is_compared() {
    assert_eq!(
        sent_at(Isolation::ReadCommitted),
        [
            "if  then get a serializable",
            "if  then get b serializable",
            "if  then put a \"2\", put w \"new\"",
        ]
    );
}

#[test]
fn a_deletion_is_compared_and_written_like_a_put() {
    let sent = quiet(|simulation| async move {
        let (tap, client, _) = clients(&simulation).await;
        let stm = Stm::new(&client);
        let done = stm.run(|txn| async move {
            txn.rev("a").await?;
            txn.del("a");
            Ok::<_, Error>(())
        });
        done.await.unwrap();
        tap.take()
    });
    assert_eq!(
        sent,
        [
            "if  then get a",
            "if a modified = 2 then delete a else get a"
        ]
    );
}

/// What the failed commit has read serves the retry, which costs one request.
#[test]
fn a_retry_after_a_conflict_is_one_request() {
    let sent = quiet(|simulation| async move {
        let (tap, client, other) = clients(&simulation).await;
        let runs = AtomicU32::new(0);
        let stm = Stm::new(&client);
        let done = stm.run(|txn| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            let mut other = other.clone();
            async move {
                txn.get_many(["a", "b"]).await?;
                if run == 0 {
                    other.put("a", "theirs", None).await.unwrap();
                }
                txn.put("a", "ours");
                Ok::<_, Error>(())
            }
        });
        assert_eq!(done.await.unwrap().attempts, 2);
        tap.take()
    });
    let commit = |revision: u32| {
        format!("if a modified = {revision}, b modified = 0 then put a \"ours\" else get a, get b")
    };
    assert_eq!(
        sent,
        ["if  then get a, get b".to_owned(), commit(2), commit(3)]
    );
}

/// A snapshot needs no validation; several reads at different revisions do.
#[test]
fn a_transaction_that_only_reads_sends_no_commit_unless_it_must() {
    for (isolation, expected) in [
        (Isolation::SerializableSnapshot, None),
        (
            Isolation::RepeatableReads,
            Some("if a modified = 2, b modified = 0"),
        ),
        (Isolation::ReadCommitted, None),
    ] {
        let sent = quiet(move |simulation| async move {
            let (tap, client, _) = clients(&simulation).await;
            let stm = Stm::new(&client).isolation(isolation);
            let done = stm.run(|txn| async move { txn.get_many(["a", "b"]).await });
            done.await.unwrap();
            tap.take()
        });
        assert_eq!(sent.get(1).map(String::as_str), expected, "{isolation:?}");
    }
}

/// A txn that reads at a revision beside its writes can make members differ
/// (etcd-io/etcd 18667).
#[test]
fn no_request_reads_at_a_revision_and_writes() {
    for isolation in [
        Isolation::SerializableSnapshot,
        Isolation::Serializable,
        Isolation::RepeatableReads,
        Isolation::ReadCommitted,
    ] {
        for request in sent_at(isolation) {
            let writes = request.contains("put ") || request.contains("delete ");
            assert!(!(writes && request.contains(" at ")), "{request}");
        }
    }
}

/// What a commit has revealed serves the transaction that follows at once, which
/// so is one request; also what it has read beside its own keys.
#[test]
fn a_transaction_that_follows_at_once_is_its_commit_alone() {
    let sent = quiet(|simulation| async move {
        let (tap, client, _) = clients(&simulation).await;
        let stm = Stm::new(&client);
        for keys in [["a", "b"], ["b", "c"], ["a", "c"]] {
            let done = stm.run(|txn| async move {
                txn.get_many(keys).await?;
                txn.put(keys[1], "new");
                Ok::<_, Error>(())
            });
            assert_eq!(done.await.unwrap().attempts, 1);
        }
        tap.take()
    });
    assert_eq!(
        sent,
        [
            "if  then get a, get b",
            "if a modified = 2, b modified = 0 then put b \"new\" else get a, get b",
            // `c` was new here, and is read at the same revision.
            "if  then get c at 3 serializable",
            "if b modified = 3, c modified = 0 then put c \"new\", get a else get b, get c",
            "if a modified = 2, c modified = 4 then put c \"new\", get b else get a, get c",
        ]
    );
}
